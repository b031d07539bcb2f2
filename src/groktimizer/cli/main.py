"""The program: read the command line, do it, turn failures into one line."""

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Sequence
from importlib import import_module

from groktimizer.cli.clocks_parser import PREDICTIONS
from groktimizer.cli.failures import explain
from groktimizer.cli.parser import COMMANDS, build_parser
from groktimizer.ground.errors import FAILURES, UnknownName, UserError
from groktimizer.ground.names import unknown

INTERRUPTED, UNREAD = 130, 141
ENDINGS = ("SIGTERM", "SIGHUP")  # sent when a job is pre-empted and when a terminal closes; Windows has no SIGHUP
LISTS = ("overrides", "filters")  # of words, at the end of a command
TWICE = {"penalty": "penalty", "weight": "weight_decay"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; None takes them from the system.

    Returns:
        0; 1 if a run or a claim failed; 2 after bad input or where the machine is too small (one line on stderr); 70
        after a mistake of ours (one line that says where); 130 after Ctrl-C, SIGTERM or SIGHUP, with everything
        finished kept; 141 if nobody reads standard output any more.
    """
    with _streams():
        return _done(list(sys.argv[1:] if argv is None else argv))


def _done(words: list[str]) -> int:
    try:
        with _stoppable(), _flushed():
            return _dispatch(words)
    except KeyboardInterrupt as stop:
        told = f"{stop}; " if str(stop) else ""
        again = "the same command without --fresh" if "--fresh" in words else "the same command again"
        _complain(f"\ninterrupted: {told}what is finished is kept; run {again} to go on")
        return INTERRUPTED
    except BrokenPipeError:
        return UNREAD
    except FAILURES as error:
        if sys.flags.dev_mode:
            traceback.print_exception(error)
        told, code = explain(error, words)
        _complain(f"groktimizer: {told}")
        return code


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed
        print(text, file=sys.stderr)


@contextlib.contextmanager
def _streams() -> Generator[None]:
    """Let output degrade rather than fail: what an encoding lacks is written as its number, a closed stream is none."""
    with contextlib.ExitStack() as opened:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                setattr(sys, name, opened.enter_context(open(os.devnull, "w", encoding="utf-8")))
                opened.callback(setattr, sys, name, None)
            elif isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        yield


@contextlib.contextmanager
def _flushed() -> Generator[None]:
    """Write out what was printed while a failure can still be told; what cannot be written is dropped."""
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            raise


@contextlib.contextmanager
def _stoppable() -> Generator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, unless they are ignored (nohup) or taken already."""
    before: dict[int, signal.Handlers] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in ENDINGS if name in signal.Signals.__members__):
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.SIG_DFL
                signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_conflicts(arguments: argparse.Namespace) -> None:
    """Refuse a value that is given twice in two ways."""
    if arguments.command not in {"run", "compare"}:
        return
    for option, key in TWICE.items():
        value = getattr(arguments, option, None)
        for pair in getattr(arguments, "set", ()):
            if value is not None and pair.partition("=")[0].strip().removeprefix("optimizer.") == key:
                raise UserError(f"--{option} {value}: --set {pair} says it as well; give one of them")


def _as_kind(words: list[str]) -> list[str]:
    """`predict TASK` is one of the kinds of prediction; which, is known once the task is."""
    if words[:1] != ["predict"] or len(words) == 1 or words[1].startswith("-") or words[1] in PREDICTIONS:
        return words
    from groktimizer.cli.predict_task import as_kind

    return as_kind(words)


def _parsed(words: list[str]) -> argparse.Namespace:
    """Read the words; those of a list of words at the end of a command may stand after its options, too."""
    parser = build_parser()
    arguments, others = parser.parse_known_args(words)
    for name in LISTS:
        if name in arguments and not any(word.startswith("-") for word in others):
            getattr(arguments, name).extend(others)
            return arguments
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    return arguments


def _dispatch(words: list[str]) -> int:
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise UnknownName(unknown("command", words[0], COMMANDS))
    arguments = _parsed(_as_kind(words))
    arguments.words = words
    _check_conflicts(arguments)
    name = COMMANDS[arguments.command]
    return getattr(import_module(f"groktimizer.cli.{name}"), name)(arguments)
