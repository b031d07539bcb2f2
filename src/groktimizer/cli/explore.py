"""``groktimizer explore``: a page with sliders that computes the clocks of ridge and sparse problems by itself."""

import argparse
import shlex

from groktimizer.cli.explore_ridge import ridge
from groktimizer.cli.explore_sparse import sparse
from groktimizer.cli.explored import predicted
from groktimizer.cli.files import check_json
from groktimizer.cli.lines import Told
from groktimizer.cli.publish import placed
from groktimizer.results import make_directory, write_bytes


def explore(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer explore``: make the page of a kind, and write it.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    told, kind = Told(arguments.json), arguments.kind
    given = None if arguments.source is None else predicted(arguments.source, kind)
    words, content, methods = {"ridge": ridge, "sparse": sparse}[kind](arguments, given)
    from groktimizer.report.explorer import page

    folder, name = placed(arguments.out, f"explore-{kind}", ".html")
    place = make_directory(folder) / f"{name}.html"
    write_bytes(place, page(kind, words, content, methods))
    told.say(f"{words['title']}; {len(content['sizes'])} sizes of the problem are in the page")
    told.say(f"page         {place}")
    told.finish({"command": shlex.join(["groktimizer", *arguments.words]), "kind": kind, "page": str(place)})
    return 0
