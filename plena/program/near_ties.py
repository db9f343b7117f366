"""Choices of experts between which roundings decide."""

from __future__ import annotations

from dataclasses import dataclass

from plena.errors import PlenaError

NEAR = 0.03
"""Scores of a row are nearly equal if they differ by less than this part of the row's range."""

STEPS = 2.0**-6
"""So are scores that differ by less than this part of themselves, four steps of bf16: sigmoids of small numbers do."""


@dataclass(frozen=True)
class NearTie:
    """A token for which the quantised reference, left alone, chooses another expert than the program.

    Attributes:
        where: the router, by its place in the model.
        token: its row among the router's scores.
        expert: what the program chooses, an expert or a group of them.
        instead: what the reference would choose.
        gap: how far their scores are apart, as a part of the row's range.
    """

    where: str
    token: int
    expert: int
    instead: int
    gap: float

    def __str__(self) -> str:
        return (
            f"token {self.token} of {self.where}: number {self.expert}, not {self.instead} "
            f"({self.gap:.2%} of the range apart)"
        )

    @staticmethod
    def from_json(document: object, where: str) -> NearTie:
        """Inverse of dataclasses.asdict.

        Raises:
            PlenaError: not such a document.
        """
        kinds = {"where": str, "token": int, "expert": int, "instead": int, "gap": float}
        if not isinstance(document, dict) or set(document) != set(kinds):
            raise PlenaError(f"a near tie needs {', '.join(kinds)}", where)
        for name, kind in kinds.items():
            if not isinstance(document[name], kind) or isinstance(document[name], bool):
                raise PlenaError(f"`{name}` of a near tie must be {kind.__name__}", where)
        return NearTie(**document)
