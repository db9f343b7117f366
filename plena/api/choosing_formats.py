"""`formats="auto"`: the number formats that lose least for samples, at no more traffic than is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from plena.api.program import Program
from plena.api.sample_errors import Function, SampleErrors
from plena.errors import CompileError, SettingsError
from plena.machine.formats import CLASSES, Formats, bytes_per_element
from plena.machine.target import Target

if TYPE_CHECKING:
    import torch

CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "weights": ("e4m3", "e3m4", "e3m4/16", "e3m4/32", "bf16"),
    "keys_values": ("e4m3", "e3m4", "e3m4/32", "bf16"),
    "activations": ("e4m3", "e3m4", "bf16"),
}
"""Formats that are tried for each class of tensors."""

TOGETHER = 4
"""Of the formats that look best class by class so many are simulated together."""

ROUNDING = 1e-9
"""Relative, of sums of bytes."""

_WHERE = "formats"


@dataclass(frozen=True)
class Tried:
    """Formats with what they move, over the shipped ones, and what they lose.

    Attributes:
        traffic: bytes of a run over those of the shipped formats.
        expected: error if those of the classes add up.
        error: of the quantised reference; None if it was not run.
        emulator: error of the program on the emulator; None if it was not compiled.
    """

    formats: Formats
    traffic: float
    expected: float
    error: float | None = None
    emulator: float | None = None


@dataclass(frozen=True)
class FormatChoice:
    """The chosen formats, and what they were chosen among.

    Attributes:
        chosen: with its error as the quantised reference and as the emulator has it.
        measure: "KL" (nats for a row) or "relative squared error".
        alone: class -> format -> error if nothing else is rounded.
        tried: what was simulated as a whole, best first.
        program: compiled with the chosen formats.
    """

    chosen: Tried
    measure: str
    alone: Mapping[str, Mapping[str, float]]
    tried: tuple[Tried, ...]
    program: Program = field(repr=False)

    @property
    def formats(self) -> Formats:
        """The chosen ones."""
        return self.chosen.formats

    def __str__(self) -> str:
        lines = [
            f"{name} alone: " + ", ".join(f"{f} {e:.3g}" for f, e in found.items())
            for name, found in self.alone.items()
        ]
        for tried in self.tried:
            error = "not simulated" if tried.error is None else f"{self.measure} {tried.error:.3g}"
            lines.append(f"{tried.formats}: {tried.traffic:.3f} times the shipped bytes, {error}")
        return "\n".join([*lines, self.sentence])

    @property
    def sentence(self) -> str:
        """The choice in one line."""
        c = self.chosen
        return (
            f"formats {c.formats}: {self.measure} {c.error:.3g} (on the emulator {c.emulator:.3g}) at "
            f"{c.traffic:.3f} times the shipped bytes"
        )


def choose_formats(
    compiled: Callable[[Target], Program], target: Target, samples: Sequence[Any], traffic: float = 1.0
) -> FormatChoice:
    """Chooses the format of every class of tensors.

    Each candidate is simulated with nothing else rounded; the errors of classes about add up, so the best sums within
    the budget are simulated as a whole, and the best of those is compiled and run on the emulator. Where a module
    takes integers alone the rows of its first output are taken for logits and the error is their KL divergence from
    PyTorch's, else it is the squared error over PyTorch's squares.

    Args:
        compiled: the program for a machine.
        target: the machine; its HBM types do not matter.
        samples: inputs of calls, tensors or tuples of positional arguments.
        traffic: bytes that transfers may move, over those of the shipped formats.

    Raises:
        PlenaError: no samples, a budget that nothing meets, and as of ``plena.compile``.
    """
    calls = calls_of(samples)
    if isinstance(traffic, bool) or not isinstance(traffic, int | float) or not traffic > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise CompileError(
            f"traffic must be a number above 0, not {traffic!r}",
            _WHERE,
            "1.0 is what the shipped formats move.",
        )
    shipped = target.with_formats("shipped")
    program = compiled(shipped)
    moved = program.stats().hbm_bytes
    names = _candidates(shipped, moved)
    require_within(
        (Formats(**dict(zip(names, t, strict=True))) for t in product(*names.values())), moved, traffic
    )
    errors = SampleErrors(program, inputs_of(program, calls))
    error_of = errors.error
    source = program.source
    assert source is not None
    alone = {
        name: {
            text: error_of(source.simulated(shipped.with_formats(Formats(**{name: text})), (name,)))
            for text in texts
        }
        for name, texts in names.items()
    }
    ranked = sorted(_sums(alone, moved), key=lambda t: (t.expected, t.traffic))
    within = [tried for tried in ranked if tried.traffic <= traffic * (1 + ROUNDING)]
    whole = [
        Tried(t.formats, t.traffic, t.expected, error_of(source.simulated(shipped.with_formats(t.formats))))
        for t in within[:TOGETHER]
    ]
    whole.sort(key=lambda t: (t.error, t.traffic))
    refused: CompileError | None = None
    for best in [*whole, *within[TOGETHER:]]:
        try:
            chosen = compiled(shipped.with_formats(best.formats))
        except CompileError as error:
            refused = refused or error
            continue
        own = chosen.source
        assert own is not None
        found = Tried(
            best.formats,
            best.traffic,
            best.expected,
            error_of(own.simulated()),
            _on_emulator(chosen, error_of),
        )
        return FormatChoice(found, errors.measure, alone, tuple(whole), chosen)
    assert refused is not None
    raise refused


def require_within(candidates: Iterable[Formats], moved: Mapping[str, int], traffic: float) -> None:
    """Whether any of these formats moves so little.

    Args:
        moved: bytes by class of tensors with the shipped formats.
        traffic: that may be moved, over those.

    Raises:
        CompileError: none does; it says the least.
    """
    least, formats = min(((_traffic(f, moved), f) for f in candidates), key=lambda found: found[0])
    if least > traffic * (1 + ROUNDING):
        raise CompileError(
            f"no formats move {traffic:g} times the bytes of the shipped ones",
            _WHERE,
            f"The least is {least:.3f}, with {formats}.",
        )


def _traffic(formats: Formats, moved: Mapping[str, int]) -> float:
    """Bytes over those of the shipped formats: they go with those of an element."""
    size = sum(
        moved.get(name, 0) * bytes_per_element(own) / bytes_per_element(before)
        for (name, own), (_, before) in zip(formats.items(), Formats().items(), strict=True)
    )
    return size / (sum(moved.values()) or 1)


def calls_of(samples: Any) -> list[tuple[Any, ...]]:
    from plena.host.call_inputs import arguments_of

    if not isinstance(samples, list | tuple) or not samples:
        raise CompileError(
            "formats are chosen for samples, a list of inputs",
            _WHERE,
            "Give samples=[...]; better, inputs of the kind that will come.",
        )
    return [arguments_of(s) for s in samples]  # pyright: ignore[reportUnknownVariableType]


def _candidates(target: Target, moved: Mapping[str, int]) -> dict[str, list[str]]:
    """The formats that the machine takes, of classes that move anything."""
    found: dict[str, list[str]] = {}
    for name in CLASSES:
        texts: list[str] = []
        for text in CANDIDATES[name] if moved.get(name) else CANDIDATES[name][:1]:
            try:
                target.with_formats(Formats(**{name: text})).validate()
            except SettingsError:
                continue
            texts.append(text)
        found[name] = texts
    return found


def _sums(alone: Mapping[str, Mapping[str, float]], moved: Mapping[str, int]) -> Iterator[Tried]:
    """All combinations."""
    for texts in product(*alone.values()):
        formats = Formats(**dict(zip(alone, texts, strict=True)))
        error = sum(alone[name][text] for name, text in zip(alone, texts, strict=True))
        yield Tried(formats, _traffic(formats, moved), error)


def inputs_of(program: Program, calls: Sequence[tuple[Any, ...]]) -> list[tuple[torch.Tensor, ...]]:
    """What the program takes of every call."""
    source = program.source
    assert source is not None
    inputs = [tuple(program.input_tensors(call, {}, source.signature)) for call in calls]
    for tensors in inputs:
        program.require_inputs(tensors)
    return inputs


def _on_emulator(program: Program, error_of: Callable[[Function], float]) -> float:
    from plena.checking.reference import as_tensors

    def run(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        program.reset()
        return as_tensors(program.run(*inputs, progress=False))

    found = error_of(run)
    program.reset()
    return found
