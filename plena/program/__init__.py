"""A compiled program: its data, its folder, how to run and check it."""
