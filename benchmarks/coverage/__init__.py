"""Which model families of transformers compile: small configurations of each, one process each."""
