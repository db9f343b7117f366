"""Kernels: how each tensor-level operation becomes tile operations on buffers."""
