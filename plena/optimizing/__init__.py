"""Programs made better or compared: the optimiser, curves of size against cycles, exploration."""
