"""What the public RTL does with an instruction (PLENA_RTL df23fe5, plena_rtl.md sections 2 and 7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Support(Enum):
    """How far an instruction can be relied on there."""

    VERIFIED = "a passing workload of the RTL runs it"
    BY_CODE = "implemented; no passing workload checks its result"
    OWN = "means something else than on the emulator"
    WRONG = "decoded, but its result cannot be used"
    HANGS = "the unit never answers"
    NOTHING = "not decoded: it does nothing"


@dataclass(frozen=True)
class OnRtl:
    """What the RTL does with an instruction; `note` says how it differs from the emulator.

    Without `adds` it ignores an immediate that the emulator adds to an address.
    """

    support: Support
    note: str = ""
    adds: bool = True

    def __str__(self) -> str:
        return f"{self.support.value} ({self.note})" if self.note else self.support.value


VERIFIED = OnRtl(Support.VERIFIED)
VERIFIED_WITHOUT_IMMEDIATE = OnRtl(Support.VERIFIED, adds=False)
BY_CODE = OnRtl(Support.BY_CODE)
NOTHING = OnRtl(Support.NOTHING)


def own(note: str) -> OnRtl:
    """It means something else there."""
    return OnRtl(Support.OWN, note)


def wrong(note: str) -> OnRtl:
    """Its result cannot be used there."""
    return OnRtl(Support.WRONG, note)


def hangs(note: str) -> OnRtl:
    """It never ends there."""
    return OnRtl(Support.HANGS, note)
