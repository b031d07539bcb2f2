"""Papers: their figures made again, one file per paper; each figure is curves, and claims that were checked."""

from groktimizer.papers import beyond_l2, ridge

PAPERS = {"ridge": ridge.PAPER, "beyond-l2": beyond_l2.PAPER}

__all__ = ["PAPERS"]
