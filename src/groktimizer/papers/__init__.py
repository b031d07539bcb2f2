"""Papers: `ridge` and its neighbours list the figures of a paper each, made again: curves, checked claims."""

from groktimizer.papers import beyond_l2, gauss_newton, pinned_norm, ridge

PAPERS = {
    "ridge": ridge.PAPER,
    "beyond-l2": beyond_l2.PAPER,
    "pinned-norm": pinned_norm.PAPER,
    "gauss-newton": gauss_newton.PAPER,
}

__all__ = ["PAPERS"]
