"""Generates docs/reference/ from the definitions: instructions, dialects, passes.

python -m plena.cli.reference docs/reference
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from xdsl.ir import Dialect, Operation
from xdsl.irdl import IRDLOperation, OpDef, OptOperandDef, OptPropertyDef, OptResultDef
from xdsl.parser import Parser
from xdsl.passes import ModulePass, get_pass_option_infos
from xdsl.traits import IsTerminator, Pure

from plena.assembly.instruction import is_omissible
from plena.cli.constraint_text import constraint_text
from plena.cli.pass_examples import pass_examples, prose
from plena.dialects.plena_isa import OP_OF_MNEMONIC, Instruction, InstructionSpec, Kind, Slot
from plena.driver import context
from plena.machine.target import Target
from plena.passes.pipelines import PIPELINES
from plena.timing.profile import Profile, TableProfile
from plena.timing.registry import profiles
from plena.universe import DIALECTS, PASSES, load_dialect, load_pass
from plena.verification.rtl import RULES

UNITS = {
    "matrix": "Matrix unit",
    "vector": "Vector unit",
    "scalar": "Scalar unit",
    "transfer": "HBM transfers",
    "control": "Control",
}
"""Modules of the plena_isa dialect and their titles, in the order of the page."""

_DIALECT = Instruction.__module__.rpartition(".")[0]

_PREFIX = {Kind.GP: "gp", Kind.F: "f", Kind.A: "a"}


def instructions_page() -> str:
    """Every instruction by unit: syntax, effect, encoding, cycles."""
    lines = [
        "# Instructions",
        "",
        "Generated from the `plena_isa` dialect by `plena.cli.reference`. Cycles are at the shipped settings;",
        "transfers wait for HBM besides. Fields are bit ranges of the 32-bit word; the opcode is in bits 5..0.",
        "",
        *_table(("timing profile", "is", "its cycles"), map(_profile_row, profiles())),
    ]
    for title, ops in _by_unit().items():
        lines += ["", f"## {title}"]
        for op in ops:
            lines += ["", *_instruction(op)]
    return _page(lines)


def _profile_row(profile: Profile) -> tuple[str, str, str]:
    kind = "a table" if isinstance(profile, TableProfile) else "a simulation"
    return profile.name, kind, _escaped(profile.summary)


def _by_unit() -> dict[str, list[type[Instruction]]]:
    """The instructions under the title of their unit; those that other packages declare come last."""
    found: dict[str, list[type[Instruction]]] = {title: [] for title in UNITS.values()}
    for op in OP_OF_MNEMONIC.values():
        package, _, module = op.__module__.rpartition(".")
        title = UNITS[module] if package == _DIALECT and module in UNITS else "Others"
        found.setdefault(title, []).append(op)
    return found


def _instruction(op: type[Instruction]) -> Iterator[str]:
    spec = op.SPEC
    yield f"### {spec.mnemonic}"
    yield ""
    yield f"    {_syntax(spec)}"
    yield ""
    yield _escaped(inspect.getdoc(op) or "")
    yield ""
    cost = ", ".join(f"{p.name} {p.cycles(spec, Target())}" for p in profiles())
    notes = [
        f"Opcode 0x{spec.opcode:02X}",
        f"cost `{spec.cost.value}`",
        f"cycles: {cost}" if spec.executable else "no emulator executes it",
    ]
    if spec.free_if_f0:
        notes.append("a destination of f0 makes it a free no-op")
    yield "; ".join(notes) + "."
    yield from _effects(spec)
    if spec.slots:
        yield ""
        yield from _table(("operand", "is", "bits"), (_slot_row(slot) for slot in spec.slots))


def _effects(spec: InstructionSpec) -> Iterator[str]:
    """What it touches besides registers, when it aborts, what the static check warns about."""
    if spec.touches is None:
        touched = "not declared, so it counts as touching everything"
    else:
        touched = "; ".join(map(str, spec.touches))
    demanded = "; ".join([*(r.text for r in spec.requirements), *map(str, spec.demands)])
    warned = ", ".join(dict.fromkeys(caution.code for caution in spec.cautions))
    rows = [("Touches", touched), ("Demands", demanded), ("Warnings", warned), ("On the RTL", str(spec.rtl))]
    for title, text in rows:
        if text:
            yield ""
            yield f"{title}: {_escaped(text)}."


def _syntax(spec: InstructionSpec) -> str:
    operands = ""
    for position, slot in enumerate(spec.slots):
        comma = ", " if position else " "
        name = "0" if slot.kind is Kind.ZERO else _PREFIX.get(slot.kind, "") + _operand_name(slot)
        operands += f"[{comma}{name}]" if is_omissible(spec, slot) else comma + name
    return spec.mnemonic + operands


def _operand_name(slot: Slot) -> str:
    return slot.name.capitalize() if slot.is_register else slot.name


def _slot_row(slot: Slot) -> tuple[str, str, str]:
    mode = f", {'/'.join(flag.name.lower() for flag in slot.mode if flag.name)}" if slot.is_register else ""
    meaning = f"{slot.kind.value}{' register' if slot.is_register else ''}{mode}"
    if slot.offsets or slot.adds_to:
        meaning += f", added to {slot.offsets or slot.adds_to}"
    if slot.gp0_means is not None:
        meaning += f"; gp0 means {slot.gp0_means}"
    if slot.upstream_drops:
        meaning += "; dropped by the public assembler"
    elif slot.upstream is not None:
        meaning += f"; the public assembler puts it at {_bits(slot.upstream.value)}"
    return slot.name, meaning, _bits(slot.field.value)


def _bits(field: tuple[int, int]) -> str:
    return f"{field[0] + field[1] - 1}..{field[0]}"


def dialects_page() -> str:
    """Every operation, type and attribute of every dialect."""
    lines = ["# Dialects", "", "Generated from the IRDL definitions by `plena.cli.reference`."]
    for name in DIALECTS:
        loaded = load_dialect(name)
        lines += ["", f"## {name}", "", _escaped(_package_doc(name))]
        for attribute in loaded.attributes:
            lines += ["", f"### `{attribute.name}`", "", _escaped(inspect.getdoc(attribute) or "")]
        lines += _operations(loaded)
    return _page(lines)


def _package_doc(name: str) -> str:
    return inspect.getdoc(sys.modules[f"plena.dialects.{name}"]) or ""


def _operations(dialect: Dialect) -> Iterator[str]:
    for operation in dialect.operations:
        yield ""
        yield f"### `{operation.name}`"
        yield ""
        yield _escaped(inspect.getdoc(operation) or "")
        yield from _members(operation)


def _members(operation: type[Operation]) -> Iterator[str]:
    assert issubclass(operation, IRDLOperation)
    definition = operation.get_irdl_definition()
    rows = list(_member_rows(operation, definition))
    if rows:
        yield ""
        yield from _table(("", "name", "is"), rows)
    traits = [t.__name__ for t in (Pure, IsTerminator) if operation.has_trait(t)]
    if traits:
        yield ""
        yield f"Traits: {', '.join(traits)}."


def _member_rows(operation: type[IRDLOperation], definition: OpDef) -> Iterator[tuple[str, str, str]]:
    slots = operation.SPEC.by_name if issubclass(operation, Instruction) else {}
    for name, operand in definition.operands:
        meaning = _isa_operand(slots.get(name)) if slots else constraint_text(operand.constr)
        yield "operand", f"`{name}`", _optional(meaning, isinstance(operand, OptOperandDef))
    for name, declared in definition.properties.items():
        if name not in ("operandSegmentSizes", "resultSegmentSizes"):
            optional = isinstance(declared, OptPropertyDef)
            yield "property", f"`{name}`", _optional(constraint_text(declared.constr), optional)
    for name, _ in definition.regions:
        yield "region", f"`{name}`", ""
    for name, result in definition.results:
        meaning = constraint_text(result.constr)
        yield "result", f"`{name}`", _optional(meaning, isinstance(result, OptResultDef))


def _isa_operand(slot: Slot | None) -> str:
    """What an operand of an instruction is in the two forms."""
    if slot is None:
        return "index, sticky state of the affine form"
    cell = f"{slot.kind.value} cell"
    if slot.is_address:
        return f"index (affine form) or {cell}"
    return f"{cell}, {'/'.join(flag.name.lower() for flag in slot.mode if flag.name)}"


def _optional(text: str, optional: bool) -> str:
    return f"{text}, optional" if optional else text


def passes_page() -> str:
    """Every pass: options, what it does, an example."""
    lines = [
        "# Passes",
        "",
        "Generated from the pass classes by `plena.cli.reference`; the examples are run as tests. `plena-opt` and",
        "`plena-gui` run passes by these names. First those of the named pipelines (`-p tensor,tile,affine,register`)",
        "in their order, then the others: `roll-layers` and `select-loops` are part of every compilation too.",
        "",
    ]
    ordered = dict.fromkeys(name for pipeline in PIPELINES.values() for name in pipeline)
    names = [*ordered, *sorted(set(PASSES) - set(ordered))]
    lines += _table(("pass", "pipeline", "what it does"), map(_pass_row, names))
    for name in names:
        lines += ["", *_pass(name, load_pass(name))]
    return _page(lines)


def _pass_row(name: str) -> tuple[str, str, str]:
    pipelines = ", ".join(pipeline for pipeline, passes in PIPELINES.items() if name in passes)
    first = re.split(r"\.(?:\s+(?=[A-Z])|$)", " ".join(prose(load_pass(name)).split()), maxsplit=1)[0]
    return f"[{name}](#{name})", pipelines, _escaped(first)


def _pass(name: str, pass_class: type[ModulePass]) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield _escaped(prose(pass_class))
    if dataclasses.fields(pass_class):
        yield ""
        rows = (
            (f"`{o.name}`", f"`{o.expected_type.strip(chr(39))}`", o.default_value or "")
            for o in get_pass_option_infos(pass_class)
        )
        yield from _table(("option", "type", "default"), rows)
    for example in pass_examples(pass_class):
        for title, text in (("Before", example.before), ("After", example.after)):
            yield from ("", f"{title}:", "", "```mlir", str(Parser(context(), text).parse_module()), "```")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def _escaped(text: str) -> str:
    """A docstring as Markdown: outside of code spans, * and _ are meant literally."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("*", r"\*").replace("_", r"\_") for piece in pieces[::2]]
    return "`".join(pieces)


def _page(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def rtl_page() -> str:
    """The rules for programs on the public RTL."""
    rows = (
        (r.code, r.severity.value, r.title, r.evidence.value)
        for r in sorted(RULES.values(), key=lambda r: r.code)
    )
    lines = [
        "# Rules of the RTL",
        "",
        "Generated from `plena.verification.rtl` by `plena.cli.reference`; [how to check a program](../rtl.md).",
        "",
        *_table(("rule", "breaking it is", "it demands", "evidence"), rows),
    ]
    return _page(lines)


PAGES: dict[str, Callable[[], str]] = {
    "instructions.md": instructions_page,
    "rtl_rules.md": rtl_page,
    "dialects.md": dialects_page,
    "passes.md": passes_page,
}
"""File name -> what makes the page."""


def main(folder: str) -> None:
    """Writes the pages into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (Path(folder) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
