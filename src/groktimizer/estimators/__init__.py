"""scikit-learn: a network that interpolates and then has the least norm, for few samples and many features."""

from groktimizer.ground.extras import require

require("sklearn", extra="sklearn")

from groktimizer.estimators.scikit import GrokClassifier, GrokRegressor  # noqa: E402 (first say what is not installed)

__all__ = ["GrokClassifier", "GrokRegressor"]
