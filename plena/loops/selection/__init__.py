"""Choosing how far every loop is expanded: an abstract loop tree, its costs, and the search for the best choice."""
