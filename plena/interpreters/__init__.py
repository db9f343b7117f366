"""Interpreters: every level can be executed on its own."""
