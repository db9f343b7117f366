"""Schedules that are known to be good: how they are written down, kept, used again and improved.

`recipe` is a schedule without its module, `kernel_shape` what it is kept under, `database` where, `reuse` decides
whether a compilation takes it, `tuner` looks for a better one.
"""
