"""Assembly text to instructions (plena_isa.md section 6.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from plena.assembly.dropped import Dropped, DroppedOperands
from plena.assembly.encoding import decode_word, encode_values
from plena.assembly.instruction import AsmInstruction, is_omissible
from plena.assembly.lines import source_lines, statement_of
from plena.dialects.plena_isa import INSTRUCTIONS
from plena.dialects.plena_isa.spec import InstructionSpec, Kind, Slot
from plena.errors import AssemblyError, did_you_mean

UPSTREAM_OPERANDS = 6
"""The public assembler reads up to six operands and ignores those that the instruction has no field for."""

REGISTER_OPERANDS = 3
"""It reads the first three as a register or a number, each by its prefix; the rest as numbers."""

REGISTERS = 16

_PREFIXES = {"gp": Kind.GP, "f": Kind.F, "a": Kind.A}
_REGISTER = re.compile(r"(gp|f|a)\s*([0-9]+)\Z")
_NUMBER = re.compile(r"[+-]?[0-9]+\Z")
_LITERAL = re.compile(r"0x0*([0-9a-fA-F]{1,8})\Z")


def parse_asm(text: str, upstream_quirks: bool = False, file: str | None = None) -> list[AsmInstruction]:
    """The instructions of an assembly text.

    One instruction a line; `//` and `;` start comments; operands are separated by commas. `.word 0x...` is a
    literal word. A final mask or policy may be left out where the public assembler allows it. Operands behind the
    last one, up to the sixth, are dropped as the public assembler does: a literal 0 silently, anything else with an
    `AssemblyWarning`, one for each instruction and position.

    Args:
        upstream_quirks: read the text as the public assembler does: operands that it misplaces or drops have
            the effect of the word it makes, and a warning says what that is.
        file: the name to show in errors.

    Raises:
        AssemblyError: with line and column: unknown mnemonic, wrong register kind, register out of range,
            missing operand, more than six, an immediate that is negative, not decimal or too large.
    """
    reader = _TextReader(upstream_quirks)
    dropped = DroppedOperands(file)
    seen: dict[str, AsmInstruction | None] = {}
    noted: dict[str, list[Dropped]] = {}
    program: list[AsmInstruction] = []
    for number, line in enumerate(source_lines(text), 1):
        if line in seen:
            instruction = seen[line]
        else:
            try:
                instruction = seen[line] = reader.line(line)
            except _Fault as fault:
                raise AssemblyError(fault.what, number, fault.column, fault.hint, file) from None
            if reader.dropped:
                noted[line], reader.dropped = reader.dropped, []
        if instruction is not None:
            program.append(instruction)
        if noted and line in noted:
            for operand in noted[line]:
                dropped.add(operand, number)
    dropped.warn(stacklevel=2)
    return program


class _Fault(Exception):
    """What is wrong in a line, with its 1-based column."""

    def __init__(self, what: str, column: int, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.column = column
        self.hint = hint


class _BadOperand(Exception):
    """What is wrong with an operand."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@dataclass(slots=True)
class _Form:
    """How to read the operands of one mnemonic: a table of the tokens met so far, per slot."""

    spec: InstructionSpec
    known: list[dict[str, int]]
    required: int
    misplaced: list[int]
    """Slots whose value the public assembler misplaces or drops."""


@dataclass(slots=True)
class _TextReader:
    upstream_quirks: bool
    forms: dict[str, _Form] = field(default_factory=dict[str, _Form])
    tokens: dict[tuple[Kind, int], dict[str, int]] = field(
        default_factory=dict[tuple[Kind, int], dict[str, int]]
    )
    """Shared by all slots that read alike."""
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    """Operands of the last line that have no effect."""

    def __post_init__(self) -> None:
        for spec in INSTRUCTIONS.values():
            known = [self.tokens.setdefault((slot.kind, self.limit(slot)), {}) for slot in spec.slots]
            required = sum(not is_omissible(spec, slot) for slot in spec.slots)
            misplaced = [i for i, s in enumerate(spec.slots) if s.upstream is not None or s.upstream_drops]
            self.forms[spec.mnemonic] = _Form(
                spec, known, required, misplaced if self.upstream_quirks else []
            )

    def limit(self, slot: Slot) -> int:
        """One past the largest value that a slot accepts."""
        return ((slot.upstream if self.upstream_quirks else None) or slot.field).limit

    def line(self, line: str) -> AsmInstruction | None:
        """The instruction of a line; None for a blank or a comment."""
        statement = statement_of(line)
        words = statement.split(None, 1)
        if not words:
            return None
        form = self.forms.get(words[0])
        operands = words[1] if len(words) > 1 else ""
        if form is None:
            return _other(words[0], operands, statement)
        tokens = operands.split(",") if operands else []
        surplus: list[str] = []
        if len(tokens) != len(form.known):
            self._check_count(form, tokens, statement)
            surplus = tokens[len(form.known) :]
        values: list[int] = []
        for position, (token, known) in enumerate(zip(tokens, form.known, strict=False)):
            value = known.get(token)
            if value is None:
                try:
                    value = known[token] = self._operand(form.spec.slots[position], token.strip())
                except _BadOperand as bad:
                    column = _column(statement, tokens, position)
                    raise _Fault(f"{form.spec.mnemonic}: {bad.what}", column, bad.hint) from None
            values.append(value)
        values.extend([0] * (len(form.known) - len(values)))
        for position in range(len(form.known), len(form.known) + len(surplus)):
            self._drop(form, values, statement, tokens, position)
        if form.misplaced and any(values[position] for position in form.misplaced):
            instruction = decode_word(encode_values(form.spec, values, upstream_quirks=True))
            self._displace(form, values, instruction, statement, tokens)
            return instruction
        return AsmInstruction(form.spec, tuple(values))

    def _drop(self, form: _Form, values: list[int], statement: str, tokens: list[str], position: int) -> None:
        """Notes an operand behind the last one; a third number replaces an immediate in the second place."""
        spec, token = form.spec, tokens[position].strip()
        column = _column(statement, tokens, position)
        if position < REGISTER_OPERANDS and token.startswith(tuple(_PREFIXES)) and not _REGISTER.match(token):
            raise _Fault(f"{spec.mnemonic}: {_shown(token)} is no operand", column, _usage(spec))
        replaces = len(spec.slots) == position == 2 and spec.slots[1].kind is Kind.IMMEDIATE
        if replaces and _NUMBER.match(token):
            try:
                replaced, values[1] = values[1], self._operand(spec.slots[1], token)
            except _BadOperand as bad:
                raise _Fault(f"{spec.mnemonic}: {bad.what}", column, bad.hint) from None
            if replaced != values[1]:
                name = spec.slots[1].name
                why = (
                    f"{name} = {replaced} is dropped: the public assembler takes the third operand, "
                    f"{values[1]}, for {name}"
                )
                self.dropped.append(Dropped(spec.mnemonic, 2, _column(statement, tokens, 1), why))
        elif not token or token.strip("0"):
            why = f"operand {position + 1}, {_shown(token)}, is dropped: there is no field for it. {_usage(spec)}"
            self.dropped.append(Dropped(spec.mnemonic, position + 1, column, why))

    def _displace(
        self, form: _Form, values: list[int], read: AsmInstruction, statement: str, tokens: list[str]
    ) -> None:
        """Notes the operands whose value the public assembler puts where the machine does not look for it."""
        for position in form.misplaced:
            name, given, effect = form.spec.slots[position].name, values[position], read.values[position]
            if given != effect:
                why = f"{name} = {given} has the effect of {effect}: the public assembler misplaces it"
                column = _column(statement, tokens, position)
                self.dropped.append(Dropped(form.spec.mnemonic, position + 1, column, why))

    def _check_count(self, form: _Form, tokens: list[str], statement: str) -> None:
        spec = form.spec
        if len(tokens) < form.required:
            for position, token in enumerate(tokens):
                if len(token.split()) > 1:
                    column = _column(statement, tokens, position)
                    raise _Fault(f"{spec.mnemonic}: a comma is missing", column, _usage(spec))
            missing = spec.slots[len(tokens)].name
            raise _Fault(f"{spec.mnemonic}: operand {missing} is missing", _end(statement), _usage(spec))
        if len(tokens) > UPSTREAM_OPERANDS:
            raise _Fault(
                f"{spec.mnemonic}: too many operands ({len(tokens)})",
                _column(statement, tokens, UPSTREAM_OPERANDS),
                _usage(spec),
            )

    def _operand(self, slot: Slot, token: str) -> int:
        if not token:
            raise _BadOperand(f"operand {slot.name} is missing")
        if slot.is_register:
            return _register(slot.name, slot.kind, token)
        if slot.kind is Kind.ZERO and token.startswith("gp"):
            return _register(slot.name, Kind.GP, token)
        if token.startswith("-") and token[1:].isdigit():
            raise _BadOperand(
                f"{slot.name} = {_shown(token)} is negative",
                "Immediates are unsigned; subtract with S_SUB_INT.",
            )
        if not (token.isascii() and token.isdigit()):
            raise _BadOperand(f"{slot.name} must be a decimal number, not {_shown(token)}")
        number = _number(token)
        if number >= self.limit(slot):
            raise _BadOperand(f"{slot.name} = {_shown(token)} does not fit: at most {self.limit(slot) - 1}")
        return number


def _register(name: str, kind: Kind, token: str) -> int:
    all_of_kind = f"{kind.value}0 .. {kind.value}{REGISTERS - 1}"
    register = _REGISTER.match(token)
    if register is None or _PREFIXES[register[1]] is not kind:
        raise _BadOperand(f"{name} must be a register {all_of_kind}, not {_shown(token)}")
    number = _number(register[2])
    if number >= REGISTERS:
        raise _BadOperand(f"there is no register {_shown(token)}", f"Registers are {all_of_kind}.")
    return number


def _other(mnemonic: str, operands: str, statement: str) -> AsmInstruction:
    """A literal word, or the error for an unknown mnemonic."""
    column = len(statement) - len(statement.lstrip()) + 1
    if mnemonic != ".word":
        hint = did_you_mean(mnemonic, INSTRUCTIONS).rstrip() or None
        raise _Fault(f"unknown mnemonic {_shown(mnemonic)}", column, hint)
    token = operands.strip()
    literal = _LITERAL.match(token)
    if literal is None:
        column = statement.index(".word") + len(".word") + 1 if not token else statement.rindex(token) + 1
        raise _Fault(".word takes one number of up to 32 bits as in .word 0x00010801", column)
    return decode_word(int(literal[1], 16))


def _number(digits: str) -> int:
    """The value of decimal digits; anything long is just too large."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 12 else 10**12


def _usage(spec: InstructionSpec) -> str:
    names = ", ".join("0" if slot.kind is Kind.ZERO else slot.name for slot in spec.slots)
    return f"It takes: {spec.mnemonic} {names}".rstrip() + "."


def _shown(token: str) -> str:
    """A token for a message: quoted, and cut when it is long."""
    return repr(token if len(token) <= 40 else token[:40] + "...")


def _end(statement: str) -> int:
    return len(statement.rstrip()) + 1


def _column(statement: str, tokens: list[str], position: int) -> int:
    """The 1-based column of an operand."""
    start = len(statement) - sum(len(token) + 1 for token in tokens) + 1
    start += sum(len(token) + 1 for token in tokens[:position])
    return start + len(tokens[position]) - len(tokens[position].lstrip()) + 1
