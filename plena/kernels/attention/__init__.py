"""Attention as tiles and loops: shapes, residency, and one module per form."""
