"""The conformance vectors: real results of the public emulator (vectors/README.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plena.machine.target import Target

VECTORS = Path(__file__).parent / "vectors"


@lru_cache(maxsize=1)
def index() -> dict[str, dict[str, Any]]:
    """Every case's description by name."""
    text = (VECTORS / "index.json").read_text(encoding="utf-8")
    return {case["name"]: case for case in json.loads(text)["cases"]}


@lru_cache(maxsize=16)
def _arrays(file: str) -> Mapping[str, NDArray[Any]]:
    return np.load(VECTORS / file)


@dataclass(frozen=True)
class Case:
    """One conformance case."""

    info: Mapping[str, Any]

    @staticmethod
    def named(name: str) -> Case:
        return Case(index()[name])

    @property
    def target(self) -> Target:
        return Target().with_settings(self.info["settings"])

    def array(self, name: str, dtype: type = np.uint8) -> NDArray[Any]:
        """An array of the case; absent ones are empty."""
        arrays = self.info["arrays"]
        return _arrays(self.info["npz"])[arrays[name]] if name in arrays else np.zeros(0, dtype)

    def inputs(self) -> dict[str, Any]:
        """Keyword arguments of ``emulate`` besides the words."""
        return {
            "hbm": self.array("hbm"),
            "fp_sram": self.array("fp_sram_init", np.float16),
            "int_sram": self.array("int_sram_init", np.uint32),
            "vram": self.array("vram_init", np.uint16),
            "target": self.target,
        }

    def final_vram(self) -> NDArray[np.uint16]:
        """Expected vector memory, bf16 bits ``[rows, VLEN]``."""
        target = self.target
        flat = np.zeros(target.vector_sram_size * target.vlen, np.uint16)
        initial = self.array("vram_init", np.uint16)[: flat.size]
        flat[: initial.size] = initial
        rows = flat.reshape(-1, target.vlen)
        if "vram_rows" in self.info["arrays"]:
            rows[self.array("vram_rows")] = self.array("vram_values")
        return rows

    def final_mram(self) -> NDArray[np.uint16]:
        """Expected matrix memory dump, bf16 bits ``[tiles, MLEN, MLEN]``."""
        target = self.target
        tiles = np.zeros((target.matrix_tiles, target.mlen, target.mlen), np.uint16)
        if "mram_tiles" in self.info["arrays"]:
            tiles[self.array("mram_tiles")] = self.array("mram_values").reshape(-1, target.mlen, target.mlen)
        return tiles

    def final_hbm(self) -> NDArray[np.uint8]:
        """Expected HBM."""
        memory = np.zeros(self.target.hbm_size, np.uint8)
        initial = self.array("hbm")
        memory[: initial.size] = initial
        after, start = self.array("hbm_after"), self.info.get("hbm_after_start", 0)
        memory[start : start + after.size] = after
        return memory
