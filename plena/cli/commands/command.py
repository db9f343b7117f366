"""What a subcommand is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A subcommand of `plena`.

    Attributes:
        name: how it is called.
        summary: one line for `plena --help`.
        examples: shown under its own help.
        arguments: adds its arguments to a parser.
        run: does the work; the result is the exit code.
    """

    name: str
    summary: str
    examples: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
