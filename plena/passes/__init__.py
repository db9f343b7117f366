"""The passes, one per file, and the named pipelines."""
