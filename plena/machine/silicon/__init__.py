"""The silicon that a machine takes, by two public area models."""
