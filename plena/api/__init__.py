"""What the user holds: `plena` takes its names from here."""
