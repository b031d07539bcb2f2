"""Options of ``predict`` and ``reproduce``. Nothing heavy is imported here."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from groktimizer.cli.words import OUT, Parser, names, whole


class Commands(Protocol):
    """What `add_subparsers` gives."""

    def add_parser(self, name: str, *, help: str) -> Parser:
        """Add a command."""
        ...


def add_clocks(commands: Commands) -> None:
    """Add ``predict`` with its kinds, and ``reproduce``.

    Args:
        commands: The program's subcommands.
    """
    parser = commands.add_parser("predict", help="say when it will memorise and generalise, before any training")
    parser.description = (
        "Say when training will memorise and when it will generalise, without training. `predict TASK --set …` takes a "
        "task and its options as `run` does."
    )
    parser.allow_abbrev = False
    kinds = parser.add_subparsers(dest="kind", metavar="KIND|TASK", required=True)
    for name, (summary, add) in PREDICTIONS.items():
        add(kinds.add_parser(name, help=summary))
    _reproduce(commands.add_parser("reproduce", help="a paper's figures, with a verdict for each claim"))


def _ridge(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Exact memorising, generalising and settling times of gradient descent, heavy ball and critically damped "
        "momentum (CDM) on ridge regression, the bounds of arXiv 2601.19791 with their conditions, and advice. Draws "
        "the problem that `run ridge` trains, or takes yours from .npy files."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--n", type=whole(1), metavar="N", help="samples drawn (default: 100)")
    add("--m", type=whole(1), metavar="M", help="features drawn (default: 1000)")
    add("--nu", type=float, metavar="X", help="standard deviation of the initial parameters (default: 1)")
    add("--teacher-norm", type=float, metavar="X", help="norm of the drawn teacher (default: 1)")
    add("--features", type=Path, metavar="FILE", help=".npy, n × m: your features instead of drawn ones")
    add("--teacher", type=Path, metavar="FILE", help=".npy, m: your teacher, with --features")
    add("--targets", type=Path, metavar="FILE", help=".npy, n: your labels instead of a teacher, with a test set")
    add(
        "--test-features", type=Path, metavar="FILE", help=".npy, N × m: on it the second clock is read, with --targets"
    )
    add("--test-targets", type=Path, metavar="FILE", help=".npy, N: its labels")
    add("--covariance", type=Path, metavar="FILE", help=".npy, m or m × m (default: isotropic, of the samples' size)")
    add("--theta0", type=Path, metavar="FILE", help=".npy, m: your initial parameters (default: drawn)")
    add("--noise", type=float, default=0.0, metavar="X", help="standard deviation of the label noise")
    add("--lr", type=float, default=1.0, metavar="X", help="step size η")
    add("--weight-decay", type=float, default=1e-4, metavar="X", help="λ, above 0")
    add("--momentum", type=float, default=0.9, metavar="X", help="μ of the heavy ball; CDM has its own")
    add("--switch", type=whole(0), metavar="STEP", help="step from which decay and momentum act (default: 0)")
    add("--tolerance", type=float, default=0.01, metavar="X", help="memorised means train loss ≤ X")
    add("--test-tolerance", type=float, metavar="X", help="generalised: population (test) loss ≤ X (default: as above)")
    _task(parser, "ridge")
    add("--max-delay", type=whole(0), metavar="D", help="ask for the λ with settled − t1 ≤ D (default: CDM's)")
    _common(parser)


def _linear(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train and generalisation accuracy of a linear student of a linear teacher (arXiv 2310.16441): the times at "
        "which both reach 95 %, and the formula for the delay."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--ratio", type=float, default=0.9, metavar="X", help="inputs per training sample, not 1")
    add("--lr", type=float, default=0.01, metavar="X", help="step size η")
    add("--weight-decay", type=float, default=0.0, metavar="X", help="γ, 0 or more")
    add("--outputs", type=whole(1), default=1, metavar="N", help="outputs of teacher and student")
    add("--tolerance", type=float, default=1e-3, metavar="X", help="correct means squared error ≤ X")
    add("--inputs", type=whole(0), default=1000, metavar="D", help="also draw a data set with D inputs (0: do not)")
    _common(parser)


def _network(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The first-passage law of arXiv 2605.18845, delay = ln(V_mem / V*) / (2 κ η λ), calibrated on recorded runs; "
        "its leave-one-out error is printed with it."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--from", dest="runs", type=Path, required=True, metavar="RUNS", help="directory with records (--out of runs)")
    add("--optimizer", metavar="NAME", help="only runs of this optimizer")
    add("--lr", type=float, metavar="X", help="predict for this step size (with --weight-decay)")
    add("--weight-decay", type=float, metavar="X", help="predict for this decay (with --lr)")
    add("--memorised-norm", type=float, metavar="V", help="squared norm when memorised (default: the runs' median)")
    _common(parser)


def _sparse(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Whether an s-sparse vector can be found from N samples, and when: exact times of proximal descent (ISTA) and "
        "of the accelerated method, which phase 2 of GROKtimizer is, with the laws of arXiv 2506.05718. Draws the "
        "problem that `run sparse-recovery` trains, or takes yours from .npy files."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--n", type=whole(1), metavar="N", help="unknowns (default: 100)")
    add("--s", type=whole(1), metavar="S", help="non-zero ones (default: 5)")
    add("--N", type=whole(1), metavar="N", help="samples (default: 40)")
    add("--features", choices=("gaussian", "coherent"), help="which are drawn (default: gaussian)")
    add("--tau", type=float, metavar="T", help="part of the coherent samples that sees one unknown each (default: 0)")
    add("--features-file", type=Path, metavar="FILE", help=".npy, N × n: your features instead of drawn ones")
    add("--targets", type=Path, metavar="FILE", help=".npy, N: your targets (default: features times teacher)")
    add("--teacher", type=Path, metavar="FILE", help=".npy, n: your a* (default: the fit of least l1 norm)")
    _task(parser, "sparse-recovery")
    _descent(parser, weight=1e-5)
    _common(parser)


def _low_rank(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Whether a matrix of rank r can be found from N of its entries or inner products, and when: the verdict, the "
        "time law of arXiv 2506.05718 with bounds, and the times of the accelerated method and of singular value "
        "thresholding (SVT), step by step. Draws the problem that `run matrix-completion` trains, or takes yours from "
        ".npy files."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--kind", choices=("completion", "sensing"), dest="seen", help="what is seen (default: completion)")
    add("--n1", type=whole(1), metavar="N", help="rows drawn (default: 10)")
    add("--n2", type=whole(1), metavar="N", help="columns drawn (default: 10)")
    add("--r", type=whole(1), metavar="R", help="rank drawn (default: 2)")
    add("--N", type=whole(1), metavar="N", help="entries or inner products that are seen (default: 80)")
    add("--tau", type=float, metavar="T", help="part of the entries that has the highest leverage (default: 0)")
    add("--matrix", type=Path, metavar="FILE", help=".npy, n1 × n2: your matrix, NaN where an entry is not seen")
    add(
        "--measurements", type=Path, metavar="FILE", help=".npy, N × n1 × n2: or matrices whose inner products are seen"
    )
    add("--targets", type=Path, metavar="FILE", help=".npy, N: those products, with --measurements")
    add("--truth", type=Path, metavar="FILE", help=".npy, n1 × n2: your A* (default: the fit of least nuclear norm)")
    add("--iterate", action="store_true", help="take the steps of SVT even if they are more than 200,000")
    _task(parser, "matrix-completion")
    _descent(parser, weight=1e-4)
    _common(parser)


def _random_features(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train and test error of ridge regression on random features over their number, or over the number of samples, "
        "in the limit of large sizes: what the test error consists of, its peaks (double descent over the features, "
        "triple over the samples, arXiv 2006.03509), the weight decay under which it has none; simulations beside it. "
        "With --output-scale the features are those of the network's tangent kernel, of both layers: triple descent "
        "over its parameters (arXiv 2008.06786)."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("--n", type=whole(1), default=200, metavar="N", help="samples (with --over samples: not used)")
    add("--d", type=whole(1), default=100, metavar="D", help="inputs of a sample")
    add("--over", choices=("features", "samples"), default="features", help="whose number varies")
    add("--width", type=whole(1), metavar="N", help="features, with --over samples")
    add("--activation", default="relu", metavar="NAME", help="of the features: linear, relu, tanh, erf, sign or square")
    add(
        "--output-scale",
        type=float,
        default=0.0,
        metavar="S",
        help="size of the second layer's weights: the tangent kernel of both layers (default: 0, the second alone)",
    )
    add("--signal", type=float, default=1.0, metavar="X", help="norm of the linear part of the labels")
    add("--nonlinear", type=float, default=0.0, metavar="X", help="standard deviation of the rest of the labels")
    add("--noise", type=float, default=0.5, metavar="X", help="standard deviation of the label noise")
    add("--weight-decay", type=float, default=1e-6, metavar="X", help="λ, above 0")
    add("--draws", type=whole(0), default=5, metavar="K", help="simulations at each of a few sizes (0: none)")
    _common(parser)


def _task(parser: argparse.ArgumentParser, usual: str) -> None:
    add = parser.add_argument
    add("--task", metavar="TASK", help=f"whose problem is drawn, perhaps your own module:Name (default: {usual})")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="options as in `run TASK --set`")


def _descent(parser: argparse.ArgumentParser, weight: float) -> None:
    add = parser.add_argument
    add("--lr", type=float, metavar="X", help="step size α (default: 0.1, or the largest stable one below it)")
    add("--weight", type=float, default=weight, metavar="X", help="weight β of the norm")
    add("--tolerance", type=float, default=1e-3, metavar="X", help="memorised means relative train error ≤ X")
    add("--test-tolerance", type=float, default=1e-2, metavar="X", help="generalised means recovery error ≤ X")


def _reproduce(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Redo a paper's figures: curves as PNG, and a table of all claims with what was measured. Exit 1 if a claim "
        "fails that is not known as not reproduced, or if a known one is missing. Figures and networks are records in "
        "OUT and are not made twice, so the same command goes on where it was stopped."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("name", metavar="NAME", help="a name of `groktimizer list studies`, or all")
    add("--figures", type=names, metavar="A,B", help="only these figures, such as 2,4 (default: all)")
    add("--quick", action="store_true", help="fewer seeds, runs and cells, marked as such: minutes")
    add("--full", action="store_true", help="the papers' whole grids of networks: days, not hours")
    add("--workers", type=whole(1), metavar="N", help="processes that train at a time (default: one per core)")
    add("--fresh", action="store_true", help="make everything again, even where a record exists")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of everything drawn")
    add("--out", type=Path, default=OUT, metavar="DIR", help="where pictures (and records) go")
    add("--json", type=Path, metavar="FILE", help="write the whole result as JSON")


# What can be predicted, with one line and its options; `groktimizer list predictions` shows them.
PREDICTIONS: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "ridge": ("ridge regression: exact times, bounds, advice", _ridge),
    "linear-estimator": ("teacher and student, both linear, Gaussian inputs", _linear),
    "network": ("networks, from recorded runs of the same kind", _network),
    "sparse": ("sparse vectors under the l1 norm: exact times, laws, verdict", _sparse),
    "low-rank": ("low-rank matrices under the nuclear norm: verdict, law, times", _low_rank),
    "random-features": (
        "ridge on random or tangent features: errors over their number, peaks, the decay without",
        _random_features,
    ),
}
