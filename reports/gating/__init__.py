"""The gate: a bundle held against a committed baseline, in tiers; its reasons for people, for CI servers and for programs.

`baseline.py` says what a bundle shows and what a team commits; `tiers.py` compares; `times.py` reads what another tool timed;
`told.py`, `junit.py` and `summary.py` say it. Nothing here runs a system, and nothing opens a history.
"""
