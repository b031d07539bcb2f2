"""stub replaced below"""

import argparse

from groktimizer.cli.explored import Page


def sparse(arguments: argparse.Namespace, given: argparse.Namespace | None) -> Page:
    raise NotImplementedError
