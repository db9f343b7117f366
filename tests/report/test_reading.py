"""Reports on what is damaged, foreign or not compiled: what is missing is named, the rest is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plena.assembly import encode, parse_asm, print_mem
from plena.errors import PlenaError
from plena.machine.target import Target
from plena.report import page_of
from plena.report.reading import (
    contents_of_failure,
    contents_of_file,
    contents_of_folder,
    measure_curve,
)
from tests.program_samples import LINEAR, SMALL
from tests.report.samples import Page, saved_program


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_program(tmp_path / "linear")


def edit(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


@pytest.mark.parametrize(
    ("damage", "missing", "shown"),
    [
        (remove("hbm_for_behave_sim.bin"), {"whole program"}, {"modules", "loops", "curve", "memory-hbm"}),
        (remove("generated_machine_code.mem"), {"generated_machine_code.mem"}, {"modules", "hottest"}),
        (remove("manifest.json"), {"manifest"}, {"loops", "hottest", "memory-vector"}),
        (write("manifest.json", "{"), {"manifest"}, {"loops", "hottest", "memory-vector"}),
        (write("manifest.json", "[]"), {"manifest"}, {"loops", "hottest"}),
        (edit(format=1), {"whole program"}, {"modules", "loops", "curve", "memory-hbm"}),
        (edit(rationale={"model": 3}), {"rationale"}, {"modules", "loops", "memory-hbm"}),
        (edit(memory_map=3), {"memory map"}, {"modules", "loops", "curve", "memory-vector"}),
        (edit(provenance=[[5, "", ""]]), {"provenance"}, {"loops", "curve", "memory-hbm"}),
        (edit(useful_macs={"linear": "x"}), {"useful macs"}, {"modules", "loops", "curve"}),
        (edit(target={"MLEM": 3}), {"target"}, {"loops", "curve", "hottest"}),
        (edit(timing=None), {"timing"}, {"modules", "loops", "curve"}),
        (edit(check=[]), {"check"}, {"modules", "loops", "curve"}),
        (
            lambda folder: (
                remove("generated_machine_code.mem")(folder),
                remove("generated_asm_code.asm")(folder),
            ),
            {"generated_machine_code.mem", "generated_asm_code.asm"},
            {"curve", "loops", "memory-hbm", "check"},
        ),
    ],
)
def test_damaged_folders(
    folder: Path, damage: Callable[[Path], None], missing: set[str], shown: set[str]
) -> None:
    damage(folder)
    contents = contents_of_folder(folder)
    page = Page(page_of(contents))
    assert missing <= {entry.part for entry in contents.missing}
    assert all(part in page.sections["missing"] for part in missing)
    assert shown <= page.ids


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(PlenaError, match="no such program folder"):
        contents_of_folder(tmp_path / "none")
    with pytest.raises(PlenaError, match="nothing of a program can be read"):
        contents_of_folder(tmp_path)


def test_a_program_without_a_check_says_how_to_make_one(folder: Path) -> None:
    edit(check=None)(folder)
    page = Page(page_of(contents_of_folder(folder)))
    assert "plena report DIR --module model.py:factory" in page.sections["missing"]
    assert "Not known" in page.sections["check"]


@pytest.mark.parametrize("suffix", ["asm", "mem"])
def test_code_of_any_origin(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"code.{suffix}"
    path.write_text(LINEAR if suffix == "asm" else print_mem(encode(parse_asm(LINEAR))))
    contents = contents_of_file(path, SMALL)
    page = Page(page_of(contents))
    assert {m.part for m in contents.missing} == {"modules", "choices", "buffers", "check", "curve"}
    assert {"loops", "hottest", "memory-vector", "memory-matrix"} <= page.ids
    assert "touched: 0 to 127" in page.sections["memory"], "x and the result in vector SRAM"
    assert "touched: 0 to 319 touched: 512 to 551" in page.sections["memory"], "elements and scales in HBM"
    assert "Nobody knows which timing profile" in page.sections[""]


def test_the_curve_of_code_of_any_origin(tmp_path: Path) -> None:
    path = tmp_path / "code.asm"
    path.write_text(LINEAR)
    contents = contents_of_file(path, SMALL)
    measure_curve(contents)
    page = Page(page_of(contents))
    assert contents.curve is not None and "curve" in page.ids
    assert "curve" not in {m.part for m in contents.missing}
    assert f"{contents.curve.expanded.static} static instructions" in page.sections["curve"]


def test_code_that_cannot_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "code.asm"
    path.write_text("C_LOOP_START gp1, 4\nS_ADDI_INT gp2, gp2, 1\nC_LOOP_END gp3\n")
    contents = contents_of_file(path, Target())
    page = Page(page_of(contents))
    assert "counts" in {m.part for m in contents.missing}
    assert "it ends no loop" in page.sections["missing"]


class Unsupported(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cummax(self.first(x), 1).values


def test_a_model_that_was_not_compiled() -> None:
    error = PlenaError("no kernel for `cummax`", "model.py:9", "Leave it to the host.")
    contents = contents_of_failure(error, Unsupported(), (torch.randn(4, 8),), {}, "model.py:f", Target())
    page = Page(page_of(contents))
    failure = page.sections["failure"]
    assert (
        "no kernel for cummax" in failure and "model.py:9" in failure and "Leave it to the host." in failure
    )
    assert "first Linear 72" in failure, "weight and bias"
    assert "Not compiled." in page.sections[""]
    assert "There is no program to check." in page.sections["check"]
