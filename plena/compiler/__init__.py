"""From a PyTorch module to a program: options, the levels in order, the search over schedules."""
