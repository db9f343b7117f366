"""What a compiled program is: its code, where its tensors lie, and what its memories hold before it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.image import Memories, Preload, stage, unstage
from plena.host.infinities import may_be_infinite, require_finite, require_known_infinities
from plena.host.layout import SourceKind, TensorPlacement
from plena.host.lazy_tensor import LazyTensor
from plena.host.mapped_image import new_image, private_copy
from plena.host.ports import FixedResult, Port, Region
from plena.host.staged_data import StagedData, checksum, staged_tensor
from plena.host.staged_integers import warn_of_rounded_integers
from plena.host.values.program import HostProgram
from plena.host.view import Array
from plena.machine.target import Target
from plena.program.comparison import CheckReport
from plena.program.rationale import Rationale
from plena.program.state import KeptState
from plena.program.thresholds import Thresholds
from plena.program.working_memory import WorkingMemory
from plena.progress import instruction_progress, track
from plena.timing.registry import DEFAULT_TIMING, profiles

if TYPE_CHECKING:
    import torch
    from xdsl.dialects.builtin import ModuleOp

    from plena.assembly.stream import Provenance
    from plena.emulator import EmulationResult
    from plena.host.call_inputs import CallSignature
    from plena.program.growth import Growth
    from plena.program.near_ties import NearTie
    from plena.statistics.statistics import Statistics
    from plena.statistics.traffic import Moved
    from plena.timing.profile import Profile

DataSource: TypeAlias = Callable[[str], Any]
"""Gives the tensor (numpy or torch) that a data placement's symbol names; called when an image is written."""

Reference: TypeAlias = Callable[..., Any]
"""``reference(*inputs)`` gives the outputs: a tensor or a sequence of tensors."""


class SourceReferences(Protocol):
    """What the module that a program was made from says about it (plena.checking.reference)."""

    graph: Any
    module: Any
    signature: CallSignature

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """What the program's states hold."""
        ...

    def float32(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The module in float32."""
        ...

    def quantized(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The module on what the machine sees."""
        ...

    def simulated(self, target: Target | None = None, classes: Collection[str] = ...) -> Reference:
        """The module on what a machine sees of some classes of tensors."""
        ...

    def following(
        self, results: Sequence[torch.Tensor], *inputs: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor], Any, tuple[NearTie, ...]]:
        """The module on what the machine sees, with experts chosen as the results tell."""
        ...

    def rounded(
        self, *inputs: torch.Tensor, choices: Any = None, grids: Sequence[float] = ...
    ) -> Sequence[tuple[torch.Tensor, ...]]:
        """The same in bf16 between operators, rounded on some grids."""
        ...

    def grown(self, *inputs: torch.Tensor, choices: Any = None) -> Growth | None:
        """Where one of those parts most from the module on what the machine sees."""
        ...

    def changed(self) -> list[str]:
        """The tensors that are different in the module now."""
        ...


HBM_UNIT = 64
"""HBM sizes are multiples of it (plena_isa.md section 1.2)."""


def counter_symbol(name: str) -> str:
    """The host value that a counter becomes in a run."""
    return f"after {name}"


@dataclass(eq=False, frozen=True)
class ProgramData:
    """A program for one target, as every part of the compiler reads it; `plena.Program` is the handle on top.

    Attributes:
        words: machine code, uint32.
        target: the machine it was compiled for.
        inputs, outputs: the tensors that ``run`` takes and returns.
        kept: what it keeps from run to run; None without states.
        fixed_results: what the model returns beside tensors, None and numbers, with its place among the results.
        placements: where inputs, outputs and data lie; every tensor may have several.
        constants: the FP SRAM words from word 0 on (fp16 in the preload file, bf16 in the machine).
        int_sram: the INT SRAM words from word 0 on, before inputs are staged.
        hbm_size: bytes of HBM that the program needs; 0 means as far as its placements reach.
        memory_map: every buffer.
        provenance: per instruction, the module path of the model and the kernel step; empty if unknown.
        useful_macs: multiply-accumulates of the mathematical operations by module path, None if unknown.
        timing: the profile that the compiler's choices minimised.
        decisions: what the compiler chose and why, one line each.
        pipeline: the passes that made it of the imported module, as `plena-opt` takes them; "" if unknown.
        rationale: what it chose among and what became of its loops; None if unknown.
        thresholds: what ``check`` demands.
        data: where parameters and constants come from; None for a loaded program, which has its image.
        host_values: what the host computes of the inputs and stages with them.
        example_inputs: the tensors that the compiler was given; saved with the program.
        signature: how the module takes its inputs, if it is not one tensor after the other; not saved.
        source: the module, from which the two references after the first come.
        machine_reference, quantized_reference, float_reference: what ``check`` compares with.
        module: the IR in register form.
        last_run: the counters of the last run.
        last_check: the outcome of the last check, saved with the program.
        has_saved_inputs: whether the image of a loaded program still holds the inputs it was saved with.
        saved_counters: what a run on these inputs makes of its counters.
    """

    words: npt.NDArray[np.uint32]
    target: Target
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    fixed_results: tuple[FixedResult, ...] = ()
    placements: tuple[TensorPlacement, ...] = ()
    constants: tuple[float, ...] = ()
    int_sram: tuple[int, ...] = ()
    hbm_size: int = 0
    memory_map: tuple[Region, ...] = ()
    provenance: Sequence[Provenance] = ()
    useful_macs: Mapping[str, int] | None = None
    timing: str = DEFAULT_TIMING
    decisions: tuple[str, ...] = ()
    pipeline: str = ""
    rationale: Rationale | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    data: DataSource | None = None
    host_values: HostProgram = field(default_factory=HostProgram)
    example_inputs: Sequence[Any] | None = None
    signature: CallSignature | None = None
    source: SourceReferences | None = None
    machine_reference: Reference | None = None
    quantized_reference: Reference | None = None
    float_reference: Reference | None = None
    module: ModuleOp | None = None
    last_run: RunFigures | None = None
    last_check: CheckReport | None = None
    has_saved_inputs: bool = False
    saved_counters: Mapping[str, Array] = field(default_factory=dict[str, Array])
    kept: KeptState | None = None
    _marks: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]], repr=False)
    _counted: dict[tuple[Profile, ...], Statistics] = field(
        default_factory=dict[tuple["Profile", ...], "Statistics"], init=False, repr=False, compare=False
    )

    @classmethod
    def from_module(cls, module: ModuleOp, **parts: Any) -> Self:
        """The program of a module in allocated register form; ``parts`` are the other attributes.

        Raises:
            PlenaError: the module is not in that form, or a value does not fit its instruction field.
        """
        from plena.assembly import encode
        from plena.assembly.stream import stream_from_module

        stream = stream_from_module(module)
        return cls(
            words=encode(stream.instructions),
            target=Target.from_module(module),
            provenance=tuple(stream.provenance),
            module=module,
            **parts,
        )

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A program with states and memories of its own; what does not change is shared."""
        other = replace(self, kept=None if self.kept is None else self.kept.copy())
        if "image" in self.__dict__:
            other.__dict__["image"] = self.image
        return other

    def with_words(self, words: npt.NDArray[np.uint32]) -> Self:
        """The same tensors and memory image with other code that has the same effect."""
        other = replace(
            self,
            words=words,
            provenance=(),
            module=None,
            pipeline="",
            rationale=None,
            last_run=None,
            last_check=None,
            kept=None if self.kept is None else self.kept.copy(),
        )
        if "image" in self.__dict__:
            other.__dict__["image"] = self.image
        return other

    @cached_property
    def asm(self) -> str:
        """The assembly text; comments say which part of the model follows."""
        from plena.assembly import decode, print_asm

        return print_asm(decode(self.words), self.provenance)

    @property
    def executed(self) -> npt.NDArray[np.uint32]:
        """The words that run on the emulator: without the C_BREAK that ends a program for the RTL and aborts there."""
        from plena.assembly import decode
        from plena.dialects.plena_isa.control import CBreakOp

        last = decode(self.words[-1:])
        return self.words[:-1] if last and last[0].spec == CBreakOp.SPEC else self.words

    def stats(self) -> Statistics:
        """Static and dynamic instructions, cycles by timing profile, utilisation; computed once."""
        from plena.assembly import decode
        from plena.statistics.statistics import statistics_of

        registered = profiles()
        if registered not in self._counted:
            counted = statistics_of(
                decode(self.words),
                self.target,
                self.provenance or None,
                self.useful_macs,
                transfers=lambda: self.transfers,
            )
            self._counted.clear()
            self._counted[registered] = counted
        return self._counted[registered]

    @cached_property
    def transfers(self) -> dict[int, Moved]:
        """Position of each transfer -> (bytes of one execution, what they hold: `statistics.traffic.CLASSES`)."""
        from plena.lifting.preloaded import Preloaded
        from plena.program.traffic import classified

        preloaded = Preloaded.of(self.preloaded_spans())
        return classified(self.executed, self.target, self.placements, preloaded)

    @cached_property
    def _dynamic(self) -> int:
        """Instructions that a run executes."""
        from plena.assembly import decode
        from plena.statistics.statistics import statistics_of

        return statistics_of(decode(self.words), self.target, profiles=()).dynamic

    def results(self, memories: Memories) -> Any:
        """What the model returns, of what a run left in the memories: a tensor, or a tuple of several results."""
        outputs: list[Any] = [self._output(index, port, memories) for index, port in enumerate(self.outputs)]
        for position, value in self.fixed_results:
            outputs.insert(position, value)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def execute(self, preload: Preload, progress: bool | None = None) -> EmulationResult:
        """Run on memories as they are, and on the states. They stay so, unless HBM is the memory itself.

        Raises:
            EmulatorError: the program aborts.
        """
        from plena.emulator import emulate

        total = self._dynamic
        own = preload.hbm if preload.is_memory else self._own_hbm(preload.hbm)
        if self.kept is not None and not preload.is_memory:
            self.kept.write(preload.hbm if own is None else own)
        with instruction_progress(total, progress) as advance:
            return emulate(
                self.executed,
                hbm=preload.hbm if own is None else own,
                fp_sram=preload.fp,
                int_sram=preload.integers,
                vram=preload.vector if preload.vector.size else None,
                target=self.target.with_settings({"HBM_SIZE": self.hbm_bytes}),
                progress=advance,
                in_place=own is not None,
            )

    def _own_hbm(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
        """HBM on the file of an image, which stays as it is; None if there is no such file."""
        own = private_copy(image, self.hbm_bytes)
        if own is None:
            return None
        for placement in self._hbm_placements():
            # What calls write may be in the memory of this process alone.
            if placement.source.is_staged and placement.source.kind not in ("data", "state"):
                for start, end in placement.hbm_ranges(self.target):
                    own[start:end] = image[start:end]
        return own

    @cached_property
    def image(self) -> Preload:
        """The memories before the first instruction, without inputs and states; staged when first needed.

        Runs do not copy its HBM again: another one takes another image, `dataclasses.replace(program.image, hbm=...)`.
        """
        preload = self.empty_image(new_image(self.image_bytes, self.hbm_bytes))
        self.stage_data(preload)
        return preload

    @cached_property
    def memory(self) -> WorkingMemory:
        """What it runs in."""
        return WorkingMemory(self.hbm_bytes)

    def empty_image(self, hbm: npt.NDArray[np.uint8]) -> Preload:
        """Memories with the constants, HBM as given."""
        fp = np.zeros(self._words("fp", len(self.constants)), np.float16)
        with np.errstate(over="ignore"):
            fp[: len(self.constants)] = np.array(self.constants, np.float64).astype(np.float16)
        integers = np.zeros(self._words("int", len(self.int_sram)), np.uint32)
        integers[: len(self.int_sram)] = self.int_sram
        return Preload(hbm, np.zeros(self._words("vector", 0), np.uint16), fp, integers)

    def stage_data(self, preload: Preload) -> None:
        """Write parameters and constants into an image, one tensor at a time.

        Raises:
            PlenaError: a tensor that does not fit its placement.
        """
        ordered = sorted(self.placements_of("data"), key=lambda p: p.source.symbol)
        if ordered and self.data is None:
            raise PlenaError("the program has no tensors to stage", "program", "Give it a data source.")
        size = sum(p.elements for p in ordered)
        symbol, tensor = None, None
        known: dict[str, int] = {}
        for placement in track(ordered, "staging weights", size, lambda p: p.elements):
            assert self.data is not None
            if placement.source.symbol != symbol:
                symbol = placement.source.symbol
                tensor = self.data.lazy(symbol) if isinstance(self.data, StagedData) else self.data(symbol)
                self._marks[symbol] = self._mark(symbol, known, tensor)
            if isinstance(tensor, LazyTensor) and placement.view:
                tensor = tensor.whole()  # Once for all of its placements.
            stage(placement, staged_tensor(self.data, placement, tensor), preload, self.target)

    def given(self, inputs: Sequence[Any]) -> tuple[list[Any], list[str]]:
        """What is staged for a call, with the names: its inputs, and behind them what the counters hold."""
        counted = {} if self.kept is None else self.kept.counted
        return [*inputs, *counted.values()], [*(port.name for port in self.inputs), *counted]

    def counters_after(self, inputs: Sequence[Any]) -> dict[str, Array]:
        """What a run on these inputs makes of the counters.

        Raises:
            PlenaError: numbers that the host has no result for.
        """
        if self.kept is None:
            return {}
        after = self.host_values(*self.given(inputs))
        return {port.name: after(counter_symbol(port.name)) for port in self.kept.counters}

    def stage_inputs(self, inputs: Sequence[Any], preload: Preload) -> None:
        """Write input tensors, and what the host computes of them, into an image.

        Raises:
            PlenaError: a tensor that does not fit its placement, numbers that a host value has no result for.

        Warns:
            StagingWarning: numbers that the machine cannot hold.
        """
        inputs, names = self.given(inputs)
        computed = self.host_values(inputs, names)

        def computed_of(symbol: str) -> str:
            origin = ", ".join(names[n] for n in sorted(self.host_values.values[symbol].inputs))
            return f"what is computed of {origin}"

        def value(placement: TensorPlacement) -> tuple[Any, str]:
            """The tensor of a placement, and its name; whole numbers as integers, also those that became real ones."""
            if placement.source.kind == "input":
                index = placement.source.index
                return inputs[index], f"input {index} ({names[index]})"
            symbol = placement.source.symbol
            array, whole = computed(symbol), self.host_values.values[symbol].is_whole
            return array.astype(np.int64) if whole else array, computed_of(symbol)

        warn_of_rounded_integers(
            (*self.placements_of("input"), *self.placements_of("host")), value, self.target
        )
        infinite = [placement for placement in self.placements_of("host") if may_be_infinite(placement)]
        require_known_infinities((*self.placements_of("input"), *infinite), value, self.target)
        for placement in self.placements_of("input"):
            given, name = value(placement)
            stage(placement, given, preload, self.target, name)
        for placement in self.placements_of("host"):
            array, name = computed(placement.source.symbol), computed_of(placement.source.symbol)
            if not may_be_infinite(placement):
                require_finite(placement, array, name)
            stage(placement, array, preload, self.target, name)

    def input_tensors(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], signature: CallSignature | None = None
    ) -> list[Any]:
        """The tensors of a call, in the order of ``self.inputs``.

        Raises:
            PlenaError: the call is neither like the module's nor a list of tensors.
        """
        import torch

        signature = signature or self.signature
        flat = not kwargs and all(isinstance(value, torch.Tensor) for value in args)
        if signature is not None and not (flat and len(args) == len(self.inputs)):
            found = signature.tensors(args, kwargs)
            if found is not None:
                return found
        names = [port.name for port in self.inputs]
        rest = names[len(args) :]
        if kwargs and set(kwargs) == set(rest):
            return [*args, *(kwargs[name] for name in rest)]
        if kwargs:
            raise PlenaError(
                f"the program has no inputs called {', '.join(kwargs)} after {len(args)} others",
                "run",
                f"Call it as the module was called when it was compiled, or with {', '.join(names) or 'nothing'}.",
            )
        return list(args)

    def changed_data(self) -> Iterator[str]:
        """The tensors that are different now from what was written into the image."""
        known: dict[str, int] = {}
        for symbol, mark in self._marks.items():
            if self._mark(symbol, known) != mark:
                yield symbol

    def _mark(self, symbol: str, known: dict[str, int], tensor: Any = None) -> tuple[int, ...]:
        """Checksums of what a symbol stands for, which is `tensor` if it was asked for before."""
        assert self.data is not None
        if isinstance(self.data, StagedData):
            return self.data.marks(symbol, known)
        return (checksum(self.data(symbol) if tensor is None else tensor),)

    def require_inputs(self, inputs: Sequence[Any]) -> None:
        """Check number, shapes and dtype kinds of input tensors.

        Raises:
            PlenaError: naming the input.
        """
        if len(inputs) != len(self.inputs):
            ports = "; ".join(str(port) for port in self.inputs) or "none"
            raise PlenaError(
                f"the program takes {len(self.inputs)} inputs, not {len(inputs)}",
                "run",
                f"It takes: {ports}.",
            )
        for port, given in zip(self.inputs, inputs, strict=True):
            if not hasattr(given, "shape") or not hasattr(given, "dtype"):
                raise PlenaError(f"input {port.name} must be a tensor, not {type(given).__name__}", "run")
            layout = str(getattr(given, "layout", "torch.strided"))
            if layout != "torch.strided":
                raise PlenaError(f"input {port.name} is {layout}", "run", "Give it as a dense tensor.")
            if tuple(given.shape) != port.shape or not _fits(str(given.dtype), port.dtype):
                dtype = str(given.dtype).removeprefix("torch.")
                raise PlenaError(
                    f"input {port} was given as {dtype}{list(given.shape)}",
                    "run",
                    "Programs are compiled for fixed shapes.",
                )

    def placements_of(self, kind: SourceKind, index: int | None = None) -> Iterator[TensorPlacement]:
        """The placements whose source is an "input", "output" or "data", of one input or output if ``index``."""
        return (p for p in self.placements if p.source.kind == kind and index in (None, p.source.index))

    def preloaded_spans(self) -> dict[str, list[tuple[int, ...]]]:
        """What the host loads, for lift and verify: memory -> (start, stop), in INT SRAM with (low, high, step)."""
        spans: dict[str, list[tuple[int, ...]]] = {m: [] for m in ("hbm", "vector", "fp", "int")}
        if self.constants:
            spans["fp"].append((0, len(self.constants)))
        staged = [p for p in self.placements if p.source.is_staged]
        # What a folder's file holds there is of one call.
        inputs = {n for p in staged if p.memory == "int" for n in range(p.address, p.address + p.elements)}
        spans["int"].extend((n, n + 1, word, word) for n, word in enumerate(self.int_sram) if n not in inputs)
        for placement in staged:
            if placement.memory == "hbm":
                spans["hbm"].extend(placement.hbm_ranges(self.target))
                continue
            start, stop = placement.address, placement.address + placement.elements
            scale = int(placement.scale)
            bounds = (0, (placement.limit - 1) * scale, max(1, scale)) if placement.limit else ()
            spans[placement.memory].append((start, stop, *bounds))
        return {memory: [s for s in found if s[1] > s[0]] for memory, found in spans.items()}

    @property
    def image_bytes(self) -> int:
        """Bytes of HBM up to the last one that the host stages."""
        staged = [p for p in self._hbm_placements() if p.source.is_staged]
        ends = [end for p in staged for _, end in p.hbm_ranges(self.target)]
        return max(ends, default=0)

    @property
    def hbm_bytes(self) -> int:
        """Size of the HBM that the program runs in."""
        ends = [end for p in self._hbm_placements() for _, end in p.hbm_ranges(self.target)]
        size = max([self.hbm_size, HBM_UNIT, *ends])
        return -(-size // HBM_UNIT) * HBM_UNIT

    def _hbm_placements(self) -> Iterator[TensorPlacement]:
        return (p for p in self.placements if p.memory == "hbm")

    def _words(self, memory: str, least: int) -> int:
        staged = [p for p in self.placements if p.memory == memory and p.source.is_staged]
        return max([least, *(p.address + p.elements for p in staged)])

    def _output(self, index: int, port: Port, result: Memories) -> torch.Tensor:
        import torch

        dtype = getattr(torch, port.dtype)
        array: Array = np.zeros(port.shape, np.float32 if dtype.is_floating_point else np.int64)
        for placement in self.placements_of("output", index):
            matrices = unstage(placement, result, self.target)
            array = views.scatter(placement.view, matrices.astype(array.dtype, copy=False), array)
        return torch.from_numpy(np.array(array)).to(dtype)


@dataclass(frozen=True)
class RunFigures:
    """Counters of a run: cycles without DMA waits, DMA waits, executed instructions, bytes moved by class of data.

    `cycles_at` and `dma_cycles_at` are what each instruction took of the cycles.
    """

    cycles: int
    dma_cycles: int
    executed: int
    cycles_at: npt.NDArray[np.float64] = field(repr=False, compare=False)
    dma_cycles_at: npt.NDArray[np.float64] = field(repr=False, compare=False)
    hbm_traffic: Mapping[str, int]


def _fits(given: str, wanted: str) -> bool:
    """Widths of floating-point numbers and integers may stand for each other, and booleans for integers."""
    if "float" in given or "float" in wanted:
        return "float" in given and "float" in wanted
    return "bool" in given or "bool" not in wanted
