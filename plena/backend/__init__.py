"""From instructions to bits and back: assembly, encoding, numbers, programs, costs and the emulator."""
