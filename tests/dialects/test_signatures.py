"""Type checkers see the slots of every instruction: the written signatures are those of the declarations."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import plena
from plena.cli.signatures import FILES
from plena.dialects.loop import Linear
from plena.dialects.plena_isa import build
from plena.instructions.instruction_builder import InstructionBuilder
from plena.machine.target import Target


@pytest.mark.parametrize(("name", "text"), FILES.items(), ids=FILES)
def test_the_written_file_is_current(name: str, text: Callable[[], str]) -> None:
    assert (Path(plena.__file__).parent / name).read_text() == text(), "run python -m plena.cli.signatures"


def test_wrong_calls() -> None:
    """pyright fails where one of these calls is right in its eyes (`reportUnnecessaryTypeIgnoreComment`)."""
    builder = InstructionBuilder(Target())
    f = builder.f_cell()
    with pytest.raises(TypeError, match="V_EXP_V needs a"):
        builder.emit("V_EXP_V", dst=0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TypeError, match="V_EXP_V has no b"):
        builder.emit("V_EXP_V", dst=0, a=0, b=f)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(KeyError):
        builder.emit("V_EXPV", dst=0, a=0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(AssertionError):
        builder.emit("S_EXP_FP", dst=f, a=Linear(3))  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(TypeError, match="S_EXP_FP needs a"):
        build("S_EXP_FP", dst=f)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_right_calls() -> None:
    builder = InstructionBuilder(Target())
    f = builder.f_cell()
    masked = builder.emit("V_ADD_VF", dst=Linear(64), a=0, b=f, mask=1, v_mask=5)
    assert masked.address("dst") == Linear(64)
    assert masked.operand_named("v_mask") is not None
    assert builder.emit("V_ADD_VF", dst=0, a=0, b=f, v_mask=None).operand_named("v_mask") is None
    loaded = builder.emit("S_LD_INT", base=7)
    assert [result.type for result in loaded.results] == [loaded.operands[0].type]
