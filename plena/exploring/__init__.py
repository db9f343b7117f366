"""Searching for machines, formats and schedules: Optuna holds the points, Dask evaluates them.

`space` and `objectives` say what is searched for what, `explore` runs the search, `study` is what it finds, `worker` is
what runs in other processes. Optuna and Dask are imported when a search starts.
"""
