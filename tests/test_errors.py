"""Messages: where, what, what to do."""

from __future__ import annotations

from plena.errors import AssemblyError, CompileError, EmulatorError, PlenaError


def test_parts_of_a_message() -> None:
    assert str(PlenaError("it broke")) == "it broke"
    assert str(PlenaError("it broke", "model.py:3")) == "model.py:3: it broke"
    assert str(PlenaError("it broke", "model.py:3", "Mend it.")) == "model.py:3: it broke. Mend it."
    assert str(PlenaError("it broke.", hint="Mend it.")) == "it broke. Mend it."


def test_assembly_errors_name_the_place() -> None:
    error = AssemblyError("no such mnemonic", 3, 5)
    assert str(error) == "line 3:5: no such mnemonic"
    assert str(AssemblyError("no such mnemonic", 3, 5, file="a.asm")).startswith("a.asm:3:5: ")
    assert isinstance(error, PlenaError)


def test_emulator_errors_carry_their_parts() -> None:
    error = EmulatorError("vram-range", "address 70 is outside", 4, "M_MM", "Move it.")
    assert (error.abort_class, error.index, error.mnemonic) == ("vram-range", 4, "M_MM")
    assert error.reason == "address 70 is outside"
    assert str(error) == "instruction 4 (M_MM): address 70 is outside [vram-range]. Move it."
    assert str(EmulatorError("bad-token", "no word")) == "at load: no word [bad-token]"


def test_one_family() -> None:
    assert issubclass(CompileError, PlenaError)
