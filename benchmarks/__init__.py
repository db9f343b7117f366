"""Measurements of the compiler beside the public one's published counts; `make bench` runs them."""
