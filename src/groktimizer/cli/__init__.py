"""Command line: text becomes calls, values become text; the only room that prints."""

from groktimizer.cli.main import main
from groktimizer.cli.parser import build_parser

__all__ = ["build_parser", "main"]
