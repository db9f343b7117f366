"""The HBM device of the published emulators, cycle by cycle, and what its transfers take."""
