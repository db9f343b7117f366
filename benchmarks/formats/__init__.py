"""What number formats and staging cost a real language model."""
