"""Papers, each a list of figures that are made again: curves, and checked claims."""

from groktimizer.papers import beyond_l2, flat_minima, gauss_newton, pinned_norm, ridge

PAPERS = {
    "ridge": ridge.PAPER,
    "beyond-l2": beyond_l2.PAPER,
    "flat-minima": flat_minima.PAPER,
    "pinned-norm": pinned_norm.PAPER,
    "gauss-newton": gauss_newton.PAPER,
}

__all__ = ["PAPERS"]
