"""Operators that are other spellings of ops the dialect has, a file for each kind; `table` has them all."""
