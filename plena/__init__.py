"""Compiler from PyTorch models to the PLENA accelerator."""
