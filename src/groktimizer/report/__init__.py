"""Report: figures, tables and pages made from records alone; nothing here runs anything.

`pictures` chooses who draws: `two_clocks` a run, `comparison` a comparison, `descents` the predictions for ridge,
sparse and low-rank problems, `panels` linear estimators and the papers' figures.
"""
