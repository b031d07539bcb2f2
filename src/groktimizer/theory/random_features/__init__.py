"""Ridge regression on random and tangent features: errors over their number (arXiv 2006.03509, 2008.06786)."""

from groktimizer.theory.random_features.activations import ACTIVATIONS, DERIVATIVES, Coefficients, coefficients
from groktimizer.theory.random_features.descent import Curve, curve, levelling_decay, peaks
from groktimizer.theory.random_features.equivalent import Errors, RandomFeatures
from groktimizer.theory.random_features.simulation import Setting, simulate

__all__ = [
    "ACTIVATIONS",
    "DERIVATIVES",
    "Coefficients",
    "Curve",
    "Errors",
    "RandomFeatures",
    "Setting",
    "coefficients",
    "curve",
    "levelling_decay",
    "peaks",
    "simulate",
]
