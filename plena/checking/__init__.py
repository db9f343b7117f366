"""Whether what the machine computed is right: references, comparisons, verdicts."""
