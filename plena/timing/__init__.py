"""Timing profiles: what instructions cost, one profile a file.

`profile.py` says what a profile is, `registry.py` lists those there are, `run.py` is what a simulating profile is
given, `latencies.py` holds formulas that tables share; every other file is a profile.
"""
