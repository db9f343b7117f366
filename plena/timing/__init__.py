"""How long things take: timing profiles, one a file, and a model of the transfers to and from HBM.

`profile.py` says what a profile is, `registry.py` lists those there are, `run.py` is what a simulating profile is
given, `latencies.py` holds formulas that tables share.
"""
