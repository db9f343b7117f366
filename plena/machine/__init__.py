"""The machine in numbers: dimensions, memories, number formats, cycles, transfers, area."""
