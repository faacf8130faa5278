"""Hawkes processes: events that excite or inhibit later ones; classical point processes and what is asked of them.

`process` has the linear process and the baselines, `linked` the one with inhibition; `intervals` says how well they are
known, `influence` who excites whom, `backtest` whether that helps to foresee anything.
"""
