"""How far ahead the clocks look."""

LATEST = 2**53  # up to here a float64 counts every step; where a mode still moves then, nothing is said of what follows
