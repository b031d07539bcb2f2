"""The program: read the command line, do it, turn failures into one line."""

import sys
from collections.abc import Sequence

from groktimizer._names import MissingExtra, UnknownName, unknown
from groktimizer.cli.parser import build_parser

BAD_INPUT, INTERRUPTED = 2, 130
COMMANDS = ("run", "compare", "predict", "reproduce", "data")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes them from the system.

    Returns:
        0; 2 after bad input (one line on stderr); 130 after Ctrl-C, with everything finished kept.

    Raises:
        ModuleNotFoundError: if a part of this package itself is missing.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except KeyboardInterrupt as stop:
        told = f"{stop}; " if str(stop) else ""
        print(f"\ninterrupted: {told}what is finished is kept; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, MissingExtra, OSError) as error:
        return _complain(error)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("groktimizer"):
            raise
        return _complain(f"{error.name} is not installed: pip install 'groktimizer[lab]'")


def _complain(error: object) -> int:
    print(f"groktimizer: error: {' '.join(str(error).split())}", file=sys.stderr)
    return BAD_INPUT


def _dispatch(words: list[str]) -> int:
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise UnknownName(unknown("command", words[0], COMMANDS))
    arguments = build_parser().parse_args(words)
    arguments.words = words
    if arguments.command == "run":
        from groktimizer.cli.run import run

        return run(arguments)
    if arguments.command == "predict":
        from groktimizer.cli.predict import predict

        return predict(arguments)
    if arguments.command == "reproduce":
        from groktimizer.cli.reproduce import reproduce

        return reproduce(arguments)
    if arguments.command == "data":
        from groktimizer.cli.data import data

        return data(arguments)
    from groktimizer.cli.compare import compare

    return compare(arguments)
