"""GROKtimizer, the grokking clocks and the laboratory."""
