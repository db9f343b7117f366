"""What generating tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GIGAHERTZ = 1e9
"""Cycles in a second at 1 GHz."""


@dataclass(frozen=True)
class LanguageReport:
    """The cost of the last `generate`, prefill included.

    Attributes:
        tokens: new ones.
        runs: how often each program ran.
        cycles: per new token by timing profile that has cycles for all of these programs; waits for HBM are apart.
        dma_cycles: waits for HBM per new token.
        payload_read, payload_written: bytes of HBM per new token, elements and scales of the rows that were moved.
        read, written: the same in words of 64 bytes, as the emulator counts them: all words that were touched.
    """

    tokens: int
    runs: Mapping[str, int]
    cycles: Mapping[str, float]
    dma_cycles: float
    payload_read: float
    payload_written: float
    read: float
    written: float

    def latency(self, profile: str, *, dma: bool = True) -> float:
        """Cycles per new token, waits for HBM added or not."""
        return self.cycles[profile] + (self.dma_cycles if dma else 0.0)

    def tokens_per_second(self, profile: str, *, dma: bool = True) -> float:
        """At 1 GHz, waits for HBM added or not."""
        cycles = self.latency(profile, dma=dma)
        return GIGAHERTZ / cycles if cycles else 0.0

    def __str__(self) -> str:
        ran = ", ".join(f"{count} x {name}" for name, count in self.runs.items())
        lines = [f"{self.tokens} tokens ({ran})"]
        for profile in self.cycles:
            cycles, waiting = (self.latency(profile, dma=dma) for dma in (False, True))
            alone, slower = (self.tokens_per_second(profile, dma=dma) for dma in (False, True))
            lines.append(
                f"{profile}: {cycles:,.0f} cycles a token, {alone:,.1f} tokens/s at 1 GHz; with DMA "
                f"{waiting:,.0f}, {slower:,.1f}"
            )
        lines.append(
            f"HBM: {self.payload_read:,.0f} bytes read and {self.payload_written:,.0f} written a token; "
            f"{self.read:,.0f} and {self.written:,.0f} in words of 64"
        )
        return "\n".join(lines)
