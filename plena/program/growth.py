"""Where in a module roundings grow most."""

from __future__ import annotations

from dataclasses import dataclass

from plena.errors import PlenaError


@dataclass(frozen=True)
class Growth:
    """The operator that makes most of what roundings to bf16 before it have made.

    Attributes:
        where: the operator, and its place in the model.
        before: relative RMS difference of its operands, of the one that differs most, with every result before rounded.
        after: of its result.
    """

    where: str
    before: float
    after: float

    def __str__(self) -> str:
        return f"most at {self.where}, where {self.before:.2%} become {self.after:.2%}"

    @staticmethod
    def from_json(document: object, where: str) -> Growth:
        """Inverse of dataclasses.asdict.

        Raises:
            PlenaError: not such a document.
        """
        if isinstance(document, dict) and set(document) == {"where", "before", "after"}:
            numbers = (document["before"], document["after"])
            if isinstance(document["where"], str) and all(isinstance(x, int | float) for x in numbers):
                return Growth(**document)
        raise PlenaError("`growth` needs where, before, after", where)
