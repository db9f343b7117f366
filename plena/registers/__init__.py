"""Registers: address planning, allocation, spilling, sticky machine state."""
