"""Papers: `ridge` and `beyond_l2` list the figures of one paper each, made again: curves, and checked claims."""

from groktimizer.papers import beyond_l2, ridge

PAPERS = {"ridge": ridge.PAPER, "beyond-l2": beyond_l2.PAPER}

__all__ = ["PAPERS"]
