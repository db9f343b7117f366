"""The plot of a size curve."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from torch import nn

import plena
from plena.api.plots import curve_figure, save_figure
from plena.errors import PlenaError

SMALL = plena.Target().with_settings({"MLEN": 16, "VLEN": 16, "HLEN": 4, "HBM_M_Prefetch_Amount": 16})


def test_the_figure_shows_both_ends_and_is_the_same_again(tmp_path: Path) -> None:
    module = nn.Linear(32, 32, bias=False)
    program = plena.compile(module, (torch.zeros(16, 32),), target=SMALL, matmul="mm")
    curve = plena.size_curve(program)
    save_figure(curve_figure(curve, "one layer"), tmp_path / "curve.svg")
    text = " ".join(ET.parse(tmp_path / "curve.svg").getroot().itertext())
    assert all(word in text for word in ("one layer", "rolled:", "chosen:", "expanded:"))
    before = (tmp_path / "curve.svg").read_bytes()
    save_figure(curve_figure(curve, "one layer"), tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_bytes() == before
    save_figure(curve_figure(curve), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PlenaError, match="cannot be written"):
        save_figure(curve_figure(curve), tmp_path / "nowhere" / "curve.png")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plena.api.plots.find_spec", lambda name: None)
    from plena.api.plots import require_matplotlib

    with pytest.raises(PlenaError, match=r"plena\[plots\]"):
        require_matplotlib()
