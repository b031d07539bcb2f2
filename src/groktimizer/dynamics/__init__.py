"""The idea itself: how one mode moves under heavy ball with decay. Pure functions, nothing of torch."""

from groktimizer.dynamics.damping import critical_momentum, fastest_curvature, stability_limit
from groktimizer.dynamics.modes import contraction_rate, envelope, is_stable, roots, state, transfer
from groktimizer.dynamics.rates import ModeRates, flow_rates, mode_rates
from groktimizer.dynamics.schedule import Phase, Segment, positions, solve

__all__ = [
    "ModeRates",
    "Phase",
    "Segment",
    "contraction_rate",
    "critical_momentum",
    "envelope",
    "fastest_curvature",
    "flow_rates",
    "is_stable",
    "mode_rates",
    "positions",
    "roots",
    "solve",
    "stability_limit",
    "state",
    "transfer",
]
