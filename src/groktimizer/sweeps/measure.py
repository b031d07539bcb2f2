"""What a run can be asked to measure at its end, by name."""

from collections.abc import Mapping

import torch

from groktimizer.ground.errors import UserError
from groktimizer.ground.seeds import derive_seed
from groktimizer.peers import NORMALISATIONS, penalised
from groktimizer.sweeps.spec import RunSpec
from groktimizer.tasks import Problem, make_problem, make_task
from groktimizer.training.environment import PRECISIONS
from groktimizer.training.flatness import check_flatness, flatness_of_run
from groktimizer.training.gap import Reference, gap_of_run, gap_reference


def check_measure(spec: RunSpec) -> None:
    """Refuse to measure what a run does not have, before it begins.

    Args:
        spec: From `make_spec`.

    Raises:
        UserError: If it does not suit task, network, penalty or precision; one line.
    """
    if not spec.measure:
        return
    if spec.measure == "flatness":
        check_flatness(_problem(spec, PRECISIONS[spec.precision], "cpu"))
    _reference(spec, PRECISIONS[spec.precision], "cpu")


def measured(spec: RunSpec, problem: Problem) -> dict[str, Mapping[str, object]]:
    """Measure what a specification asks for.

    Args:
        spec: From `make_spec`, with a measure.
        problem: Its problem, the network trained.

    Returns:
        What was found, by the name of the measure.
    """
    param = next(problem.model.parameters())
    reference = _reference(spec, param.dtype, param.device)
    if spec.measure == "flatness":
        seed = derive_seed(spec.seed, spec.identity)
        return {spec.measure: flatness_of_run(problem, reference.level, penalised, seed)}
    return {spec.measure: gap_of_run(problem, reference, penalised, _penalty(spec))}


def _penalty(spec: RunSpec) -> str:
    return str(spec.optimizer_options.get("penalty", "l2"))


def _reference(spec: RunSpec, dtype: torch.dtype, device: str | torch.device) -> Reference:
    problem = _problem(spec, dtype, device)
    kinds = {type(module).__name__ for module in problem.model.modules() if isinstance(module, NORMALISATIONS)}
    if kinds:
        raise UserError(
            f"{spec.measure}: weights before {', '.join(sorted(kinds))} can shrink without the function changing, "
            "so no norm is the least; expected a network without normalisation"
        )
    return gap_reference(problem, penalised, _penalty(spec))


def _problem(spec: RunSpec, dtype: torch.dtype, device: str | torch.device) -> Problem:
    return make_problem(make_task(spec.task, spec.task_options), spec.seed, dtype=dtype, device=device)
