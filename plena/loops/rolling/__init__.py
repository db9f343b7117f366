"""Finding loops in straight-line code."""
