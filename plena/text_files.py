"""Text files that users name: read with one clear error, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from plena.errors import PlenaError


def read_text(path: Path) -> str:
    """A text file, without the byte order mark that some editors put first.

    Raises:
        PlenaError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", str(path)) from None
    except UnicodeDecodeError as error:
        raise PlenaError(f"not a text file: byte {error.start} is not UTF-8", str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        PlenaError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PlenaError(f"cannot be written: {error.strerror}", str(path)) from None
