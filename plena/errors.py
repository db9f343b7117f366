"""The one family of exceptions for everything a user can cause: what happened, where, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST_NAME = 60
"""Characters of a name that are compared with names that there are."""


def did_you_mean(name: object, known: Iterable[str], count: int = 1) -> str:
    """`Did you mean X? ` with a space behind it, of what comes close to a name that there is not; else nothing.

    Args:
        known: the names that there are.
        count: how many of them at most.
    """
    by_case = {text.upper(): text for text in known}
    close = [by_case[k] for k in get_close_matches(str(name).upper()[:LONGEST_NAME], by_case, n=count)]
    return f"Did you mean {' or '.join(close)}? " if close else ""


class PlenaError(Exception):
    """An error with a user's cause: what went wrong, where, and what to do about it.

    Args:
        what: the fact, one sentence without a final period.
        where: the place (a line of the model, an IR location, an assembly line and column, a file, a pc).
        hint: what to do about it.

    ``str(error)`` is one clear text, ``where: what. hint.``, with the absent parts left out.
    """

    what: str
    where: str | None
    hint: str | None

    def __init__(self, what: str, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.hint is None:
            return text
        return f"{text.rstrip('.')}. {self.hint}"


class SettingsError(PlenaError):
    """A settings file or a set of overrides that does not describe a machine."""


class CompileError(PlenaError):
    """A model or a module that cannot be compiled for the target."""


class VerificationError(PlenaError):
    """A program that the static check proves would abort, or a result that differs from its reference."""


class AssemblyError(PlenaError):
    """Assembly text that cannot be read.

    Args:
        line: 1-based line number.
        column: 1-based column of the offending token.
    """

    line: int
    column: int

    def __init__(
        self, what: str, line: int, column: int = 1, hint: str | None = None, file: str | None = None
    ) -> None:
        super().__init__(what, f"{file or 'line'}{':' if file else ' '}{line}:{column}", hint)
        self.line = line
        self.column = column


class AssemblyWarning(UserWarning):
    """Assembly text has operands without effect, which the public assembler accepts and drops."""


class FullCacheWarning(UserWarning):
    """A text was cut off where its cache is full."""


class PositionsWarning(UserWarning):
    """The cache of a language model has more positions than the model was made for."""


class FullCacheError(PlenaError):
    """A text does not fit the cache of a language model.

    Args:
        what, where, hint: as of `PlenaError`.
        sequences: the tokens [batch, n] until then, prompts included.
    """

    def __init__(self, what: str, where: str, hint: str, sequences: Any) -> None:
        super().__init__(what, where, hint)
        self.sequences = sequences


class EmulatorError(PlenaError):
    """The program aborts on the machine.

    Args:
        abort_class: the name of the violated rule, as in tests/conformance/vectors/README.md
            (``unaligned-vram``, ``loop-watchdog``, ...).
        reason: the fact, with the offending values.
        index: position of the instruction in the program (words), None for a load-time error.
        mnemonic: its mnemonic, None for a load-time error.
        hint: what to do about it.
    """

    abort_class: str
    index: int | None
    mnemonic: str | None
    reason: str

    def __init__(
        self,
        abort_class: str,
        reason: str,
        index: int | None = None,
        mnemonic: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = "at load"
        if index is not None:
            where = f"instruction {index}" if mnemonic is None else f"instruction {index} ({mnemonic})"
        super().__init__(f"{reason} [{abort_class}]", where, hint)
        self.abort_class = abort_class
        self.index = index
        self.mnemonic = mnemonic
        self.reason = reason
