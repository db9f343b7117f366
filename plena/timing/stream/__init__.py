"""Programs as the stream of instructions that they run, with the addresses in their registers, without any data."""
