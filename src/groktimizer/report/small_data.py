"""The small-data benchmark on a page: scores, ranks, paired differences, and one figure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.ground.extras import require
from groktimizer.report.style import BLUE, GREY, INK, headline, house_style, look, panels_below
from groktimizer.report.tables import markdown

FEWEST = 3  # sets and methods from which ranks can be compared
Content = Mapping[str, Any]


def page(content: Content, picture: str, command: str) -> str:
    """Write the benchmark as a page in Markdown.

    Args:
        content: Of the benchmark.
        picture: Path of the figure, relative to the page.
        command: The command that makes it again.

    Returns:
        The page.
    """
    parts = [
        f"# Small data: {len(content['methods'])} methods on {len(content['sets'])} sets",
        f"Made by\n\n    {command}",
        "\n".join(f"- {told}" for told in sentences(content)),
        f"![Ranks and paired differences]({picture})",
        "## Scores\n\nBalanced accuracy × 100, R² × 100 where the set is marked: means over the divisions.",
        markdown(*scores_table(content)),
        "## Paired differences",
        *notes(content),
        *(_pair(pair) for pair in content["pairs"]),
        "## Cost\n\nMean seconds to fit and predict, inner folds included, one thread; fits: how many models.",
        markdown(*cost_table(content)),
        "## Methods",
        markdown(("method", "family", "what it is"), [list(each.values()) for each in content["methods"]]),
        "classical-cv: of the classical methods, on each division the one that is best on its inner folds.",
    ]
    return "\n\n".join(parts) + "\n"


def sentences(content: Content) -> list[str]:
    """Say the outcome.

    Args:
        content: Of the benchmark.

    Returns:
        Sentences: of each pair, and of the ranks.
    """
    told = [f"{pair['ours']} against {pair['theirs']}: {counts_text(pair)}" for pair in content["pairs"]]
    ranks = content["ranks"]
    first = sorted(ranks, key=ranks.__getitem__)
    if len(first) > 1:
        told.append("mean ranks: " + ", ".join(f"{name} {ranks[name]:.1f}" for name in first))
    return told


def counts_text(pair: Content) -> str:
    """How often a method is better, level and worse than another, under both intervals; on one set by how much."""
    if len(pair["sets"]) == 1:
        (found,) = pair["sets"].values()
        (here, judged), (other, level) = _interval(found["here"]), _interval(found["corrected"])
        told = f"{100 * found['difference']:+.1f}, on these rows {here}: {judged}"
        return f"{told}; for other rows of the same kind {other}: {level}"
    here, corrected = (
        ", ".join(f"{word} {count}" for word, count in pair["counts"][kind].items()) for kind in ("here", "corrected")
    )
    return f"on these rows {here}; for other rows of the same kind {corrected}"


def scores_table(content: Content) -> tuple[Sequence[str], list[list[str]]]:
    """Mean score of each method on each set, the best of each set in bold, and mean ranks."""
    names = [each["name"] for each in content["methods"]]
    rows = []
    for which, sizes in content["sets"].items():
        means = {name: content["means"][name][which] for name in names}
        best = max(means.values())
        cells = [f"**{100 * mean:.1f}**" if mean == best else f"{100 * mean:.1f}" for mean in means.values()]
        kind = "" if sizes["classes"] else ", R²"
        rows.append([f"{which} ({sizes['n']} × {sizes['p']:,}{kind})", *cells])
    ranks = ["mean rank", *(f"{content['ranks'][name]:.1f}" for name in names)]
    return ("balanced accuracy × 100, n × p", *names), [*rows, ranks]


def cost_table(content: Content) -> tuple[Sequence[str], list[list[str]]]:
    """Mean seconds of each method on each set, and its fits."""
    names = [each["name"] for each in content["methods"]]
    seconds = [
        [
            which,
            *(f"{sum(content['seconds'][name][which]) / len(content['seconds'][name][which]):.1f}" for name in names),
        ]
        for which in content["sets"]
    ]
    return ("set", *names), [["fits", *(str(content["fits"][name]) for name in names)], *seconds]


def notes(content: Content) -> list[str]:
    """Say how the differences are to be read."""
    return [
        "Differences × 100 on the same divisions. *On these rows*: 95 % interval of Student's t over the divisions, "
        "which speaks of these rows alone. *Other rows*: the same with the variance of Nadeau and Bengio, (1/J + m/n) "
        "s² for J divisions with m rows to test on and n to train on; it is wide where n is a small part of the set. "
        "Better and worse: the interval of six divisions and more does not hold 0. Nothing is corrected for the number "
        "of sets."
    ]


def _pair(pair: Content) -> str:
    rows = [
        [
            which,
            f"{100 * found['difference']:+.1f}",
            *(cell for kind in ("here", "corrected") for cell in _interval(found[kind])),
        ]
        for which, found in pair["sets"].items()
    ]
    heads = ("set", "difference", "on these rows", "", "other rows", "")
    return f"### {pair['ours']} − {pair['theirs']}\n\n{counts_text(pair).capitalize()}.\n\n{markdown(heads, rows)}"


def _interval(found: Content) -> tuple[str, str]:
    return f"{100 * found['low']:+.1f} … {100 * found['high']:+.1f}", found["verdict"]


def frame(content: Content, title: str) -> dict[str, Any]:
    """Take from the content what the figure shows.

    Args:
        content: Of the benchmark.
        title: Of the figure.

    Returns:
        The frame that `plot` draws.
    """
    pairs = content["pairs"][:1] + [pair for pair in content["pairs"][1:] if pair["ours"] == "grok-l2"][:1]
    told = (
        f"{pairs[0]['ours']} against {pairs[0]['theirs']}: {counts_text(pairs[0]).partition(';')[0]}" if pairs else ""
    )
    shown = [{key: pair[key] for key in ("ours", "theirs", "sets")} for pair in pairs]
    means = {each["name"]: content["means"][each["name"]] for each in content["methods"]}
    return {
        "painter": "small_data",
        "title": title,
        "sentence": told,
        "means": means,
        "ranks": content["ranks"],
        "pairs": shown,
    }


def plot(picture: Mapping[str, Any]) -> Figure:
    """Draw mean ranks with what no test tells apart, and below the paired differences on each set; else the scores.

    Args:
        picture: From `frame`.

    Returns:
        The figure.
    """
    pairs: Sequence[Content] = picture["pairs"]
    sets = list(next(iter(picture["means"].values())))
    ranked = len(sets) >= FEWEST and len(picture["means"]) >= FEWEST
    with house_style():
        lower = bool(pairs) or not ranked
        figure = panels_below(11, 2.0 + 3.2 * ranked + (0.36 * len(sets) + 1.0) * lower)
        parts = figure.subfigures(
            ranked + lower, squeeze=False, height_ratios=[3.2] * ranked + [0.36 * len(sets) + 1.0] * lower
        )
        if ranked:
            _ranks(parts[0, 0].subplots(), picture)
        if pairs:
            row = parts[-1, 0].subplots(1, len(pairs), sharey=True, squeeze=False)[0]
            for axes, pair in zip(row, pairs, strict=True):
                _differences(axes, pair, sets)
        elif not ranked:
            _scores(parts[0, 0].subplots(), picture["means"], sets)
        headline(figure, picture["title"], picture["sentence"])
    return figure


def _ranks(axes: Axes, picture: Mapping[str, Any]) -> None:
    """A critical-difference diagram (Demšar 2006): bars join what Nemenyi's test at 5 % cannot tell apart."""
    posthocs, pandas = require("scikit_posthocs", extra="bench"), require("pandas", extra="bench")
    scores = pandas.DataFrame(picture["means"])
    tested = posthocs.posthoc_nemenyi_friedman(scores.to_numpy())
    tested.index = tested.columns = scores.columns
    colours = {name: BLUE if name.startswith("grok") else INK for name in scores.columns}
    with mpl.rc_context({"font.size": 9}):
        posthocs.critical_difference_diagram(
            picture["ranks"], tested, ax=axes, color_palette=colours, crossbar_props={"color": GREY, "linewidth": 2.5}
        )
    axes.set_title("mean rank over the sets (1 is best); bars join what Nemenyi's test cannot tell apart", fontsize=10)
    axes.grid(visible=False)


def _scores(axes: Axes, means: Mapping[str, Mapping[str, float]], sets: Sequence[str]) -> None:
    for name, scores in means.items():
        colour, marker = look(name)
        at = [100 * scores[which] for which in sets]
        axes.plot(at, range(len(sets)), marker, color=colour, label=name)
    axes.set_yticks(range(len(sets)), sets)
    axes.set(ylim=(len(sets) - 0.5, -0.5), xlabel="score × 100, mean over the divisions")
    axes.legend()


def _differences(axes: Axes, pair: Content, sets: Sequence[str]) -> None:
    axes.axvline(0, color=GREY, lw=0.8)
    for place, which in enumerate(sets):
        found = pair["sets"][which]
        for kind, width, colour in (("corrected", 1.0, GREY), ("here", 3.0, BLUE)):
            low, high = (100 * float(found[kind][end]) for end in ("low", "high"))
            if math.isfinite(low):
                axes.plot([low, high], [place, place], color=colour, lw=width, solid_capstyle="butt")
        axes.plot([100 * found["difference"]], [place], "o", color=BLUE, ms=5)
    axes.set_yticks(range(len(sets)), sets)
    axes.set(ylim=(len(sets) - 0.5, -0.5), xlabel="points, 95 % intervals; thick: on these rows, thin: for other rows")
    ends = [abs(100 * float(found["here"][end])) for found in pair["sets"].values() for end in ("low", "high")]
    widest = 1.3 * max([5.0, *filter(math.isfinite, ends)])  # of the thick lines; the thin ones may leave
    axes.set_xlim(-widest, widest)
    axes.set_title(f"{pair['ours']} − {pair['theirs']}", fontsize=10)
    axes.grid(visible=False, axis="y")
