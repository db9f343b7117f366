"""How long things take: a model of the transfers to and from HBM."""
