"""Ridge regression on random features: train and test errors over the number of features (arXiv 2006.03509)."""

from groktimizer.theory.random_features.activations import ACTIVATIONS, Coefficients, coefficients
from groktimizer.theory.random_features.descent import Curve, curve, levelling_decay, peaks
from groktimizer.theory.random_features.equivalent import Errors, RandomFeatures
from groktimizer.theory.random_features.simulation import Setting, simulate

__all__ = [
    "ACTIVATIONS",
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
