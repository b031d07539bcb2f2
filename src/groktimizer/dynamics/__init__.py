"""The idea itself: how one mode moves under heavy ball with decay. Pure functions, nothing of torch."""

from groktimizer.dynamics.damping import critical_momentum, fastest_curvature, stability_limit

__all__ = ["critical_momentum", "fastest_curvature", "stability_limit"]
