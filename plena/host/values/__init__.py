"""Tensors that the host computes of inputs and constants: one small language of values (docs/host_integers.md)."""
