"""Exact dynamics and time laws: what a problem will do before anything is trained."""
