"""The coefficients of both models, and the macros that memories are built of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CALIBRATION: dict[str, Any] = json.loads(
    (Path(__file__).parent / "calibration.json").read_text(encoding="utf-8")
)
"""`macros`: depth, width, um^2 of ASAP7 SRAM macros, BSD 3-Clause (`macros_notice`)."""
