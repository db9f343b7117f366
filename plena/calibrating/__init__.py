"""Rounding weights so that layers give what they gave, for inputs that were seen."""
