"""Papers: `ridge`, `beyond_l2` and `flat_minima` list the figures of one paper each: curves, and checked claims."""

from groktimizer.papers import beyond_l2, flat_minima, ridge

PAPERS = {"ridge": ridge.PAPER, "beyond-l2": beyond_l2.PAPER, "flat-minima": flat_minima.PAPER}

__all__ = ["PAPERS"]
