"""What a program's results are compared with.

* The *machine reference* computes what the program computes, in its order and with its roundings. It is the
  interpreter of the tile level; the compiler attaches it to the program.
* The *quantised reference* is the user's module in float32, run by torch from the graph that torch.export made of it,
  on what the machine sees: parameters and inputs MX-rounded as they are staged, each use of a parameter as it is
  staged for that use, and keys, values and right-hand sides of products rounded as they pass through HBM.
* The *float reference* is the user's module in float32 on the original inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from plena.checking.bf16_arithmetic import GRIDS, MORE_GRIDS, Bf16Arithmetic
from plena.checking.choices import Choices, follow
from plena.checking.growing import SideBySide
from plena.checking.module_graph import ModuleGraph, Replacement
from plena.checking.plain_torch import plain_torch
from plena.checking.rounding_sites import rounding_sites, staged_operands
from plena.checking.staged_biases import StagedApart, staged_biases
from plena.checking.staged_values import (
    FORMATS,
    choose,
    is_bias,
    only,
    quantized_inputs,
    read_by_host,
    rounded_expressions,
    staged_apart,
    staged_for_products,
)
from plena.checking.uses import Uses, values_by_reader
from plena.errors import PlenaError
from plena.host import view as views
from plena.host.call_inputs import CallSignature
from plena.host.image import ImageMemory, unstage
from plena.host.layout import Source
from plena.host.staged_data import StagedData, data_of_module, is_weight
from plena.machine.formats import CLASS_OF, CLASSES
from plena.machine.target import Target
from plena.program.comparison import CheckReport
from plena.program.growth import Growth
from plena.program.near_ties import NearTie
from plena.program.thresholds import Comparison, Thresholds

if TYPE_CHECKING:
    from plena.frontend.program import ImportedProgram
    from plena.program.data import ProgramData, SourceReferences

Step: TypeAlias = Callable[[Sequence[torch.Tensor], dict[str, torch.Tensor]], tuple[torch.Tensor, ...]]
"""Gives the outputs for inputs and for states, which it updates."""

KEY_VALUE_TYPE = "HBM_M_KV_TYPE"
"""The format in which keys and values lie in HBM."""


def check_program(
    program: ProgramData,
    run: Callable[..., Any],
    inputs: Sequence[torch.Tensor],
    module: torch.nn.Module | ExportedProgram | None = None,
    signature: CallSignature | None = None,
    by_class: bool = False,
) -> CheckReport:
    """Run a program and compare it with every reference that there is; see ``Program.check``.

    Args:
        run: gives its results for inputs.
        inputs: the tensors, in the order of the program's inputs.
        module: of a program that was loaded from a folder.
        signature: how the module takes them.
        by_class: whether to say what the formats of each class of tensors cost.

    Raises:
        PlenaError: there is none.
    """
    source = program.source
    if module is not None and source is None:
        source = ModuleReferences.of(
            program, module, signature or CallSignature.positional(len(inputs)), inputs
        )
    floating, rounded = program.float_reference, program.quantized_reference
    if source is not None:
        floating, rounded = floating or source.float32, rounded or source.quantized
    machine = program.machine_reference
    if floating is None and rounded is None and machine is None:
        raise PlenaError(
            "there is nothing to compare with", "check", "Give the module: program.check(*inputs, module=m)."
        )
    results = as_tensors(run(*inputs))
    of_machine, of_formats, exact = (
        None if reference is None else as_tensors(reference(*inputs))
        for reference in (machine, rounded, floating)
    )
    if source is not None and exact is not None:
        _require_same_graph(source, exact, inputs)
    changed = tuple(program.changed_data())
    if source is not None:
        changed = tuple(dict.fromkeys([*changed, *source.changed()]))
    choices, ties = None, ()
    if source is not None and rounded == source.quantized and source.graph.chooses:
        alone = CheckReport.of(results, of_machine, of_formats, exact, program.thresholds)
        if alone.is_unusual or any(bool(result.isnan().any()) for result in results):
            of_formats, choices, ties = source.following(results, *inputs)
    runs = ()
    if source is not None:
        runs = (
            partial(source.rounded, *inputs, choices=choices, grids=grids) for grids in (GRIDS, MORE_GRIDS)
        )
    report = CheckReport.of(results, of_machine, of_formats, exact, program.thresholds, changed, runs)
    grown = None if source is None or report.magnified is None else source.grown(*inputs, choices=choices)
    report = replace(report, choices=ties, growth=grown)
    if not by_class or source is None or exact is None:
        return report
    alone = {name: as_tensors(source.simulated(classes=(name,))(*inputs)) for name in CLASSES}
    compared = {name: Comparison.of(found, exact, program.thresholds) for name, found in alone.items()}
    return replace(report, classes=compared)


def _require_same_graph(
    source: SourceReferences, exact: Sequence[torch.Tensor], inputs: Sequence[torch.Tensor]
) -> None:
    """What torch.export captured computes what the module computes; else no reference can be trusted.

    Raises:
        PlenaError: it does not.
    """
    captured = source.graph.outputs([x.detach() for x in inputs], states=source.states)
    found = Comparison.of(captured, exact, Thresholds())
    if not found.relative_rms <= SAME_GRAPH:
        raise PlenaError(
            f"the graph that torch.export made of the module computes something else than the module "
            f"(relative RMS {found.relative_rms:.2%})",
            "check",
            "The forward must not depend on the values of its inputs or on what changes between calls.",
        )


SAME_GRAPH = 1e-3
"""Largest relative RMS difference between a module and its exported graph, both in float32."""


def as_tensors(outputs: Any) -> tuple[torch.Tensor, ...]:
    """The tensors of whatever a module returns, in the order of torch.export."""
    return tuple(leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor))


class ModuleReferences:
    """The user's module as reference of a program.

    Args:
        program: says how tensors are staged.
        imported: the module at the tensor level, with the graph that it was made of.
        module: the user's; its parameters are read when a reference runs.
        signature: how it takes the program's inputs.
    """

    def __init__(
        self,
        program: ProgramData,
        imported: ImportedProgram,
        module: torch.nn.Module | ExportedProgram,
        signature: CallSignature,
    ) -> None:
        self.program = program
        self.imported = imported
        self.module = module if isinstance(module, torch.nn.Module) else None
        self.signature = signature
        self.graph = ModuleGraph(imported.exported, self.module)

    @staticmethod
    def of(
        program: ProgramData,
        module: torch.nn.Module | ExportedProgram,
        signature: CallSignature,
        inputs: Sequence[torch.Tensor],
    ) -> ModuleReferences:
        """The references of a program that was loaded from a folder: its module is captured again.

        Raises:
            PlenaError: the module cannot be captured.
        """
        from plena.driver import run_pipeline
        from plena.frontend import import_module
        from plena.passes.pipelines import TENSOR_PIPELINE

        args, kwargs = signature.arguments(inputs)
        imported = import_module(module, args, kwargs)
        program.target.attach(imported.module)
        run_pipeline(imported.module, TENSOR_PIPELINE)
        return ModuleReferences(program, imported, module, signature)

    def float32(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The module in float32: itself, or its graph if it is of another precision or no module."""
        if self.module is None or _other_precision(self.module, inputs):
            return self.graph.outputs(inputs, states=self.states)
        args, kwargs = self.signature.arguments(inputs)
        return as_tensors(_call(self.module, args, kwargs, self.states))

    def quantized(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The module on what the machine sees."""
        return self.simulated()(*inputs)

    def quantized_steps(self) -> Step:
        """As `quantized`, for many calls: parameters are rounded once for all of them."""
        seen = self._seeing(self.program.target, tuple(CLASSES))
        return lambda inputs, states: self.graph.outputs(*seen(inputs), states)

    def simulated(
        self, target: Target | None = None, classes: Collection[str] = tuple(CLASSES)
    ) -> Callable[..., tuple[torch.Tensor, ...]]:
        """The module on what a machine sees, prepared once for many calls.

        Args:
            target: a machine with other number formats; by default the program's.
            classes: of tensors that are rounded (plena.machine.formats).
        """
        seen = self._seeing(target or self.program.target, classes)
        return lambda *inputs: self.graph.outputs(*seen(inputs), self.states)

    def following(
        self, results: Sequence[torch.Tensor], *inputs: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor], Choices, tuple[NearTie, ...]]:
        """`quantized`, with experts chosen as a program chose them where scores are nearly equal; how, and where."""
        seen, replacement = self._seeing(self.program.target, tuple(CLASSES))(inputs)
        return follow(
            lambda choices: self.graph.outputs(seen, replace(replacement, choices=choices), self.states),
            results,
        )

    def rounded(
        self, *inputs: torch.Tensor, choices: Choices | None = None, grids: Sequence[float] = GRIDS
    ) -> list[tuple[torch.Tensor, ...]]:
        """The module on what the machine sees, in bf16 between operators, on some grids; with the same choices."""
        seen = self._chosen(inputs, choices)
        runs = list[tuple[torch.Tensor, ...]]()
        for grid in grids:
            with Bf16Arithmetic(grid, self.program.target.vlen):
                runs.append(self.graph.outputs(*seen, self.states))
        return runs

    def grown(self, *inputs: torch.Tensor, choices: Choices | None = None) -> Growth | None:
        """Where the first of the runs of `rounded` parts most from one that rounds nothing."""
        seen, replacement = self._chosen(inputs, choices)
        run = SideBySide(self.graph, replacement, self.program.target.vlen)
        self.graph.results(run, seen, self.states)
        return run.growth

    def _chosen(
        self, inputs: Sequence[torch.Tensor], choices: Choices | None
    ) -> tuple[list[torch.Tensor], Replacement]:
        """What the machine sees, and the experts that were chosen before, if any."""
        given, replacement = self._seeing(self.program.target, tuple(CLASSES))(inputs)
        return given, replace(replacement, choices=None if choices is None else Choices(forced=choices.ids))

    def _seeing(
        self, target: Target, classes: Collection[str]
    ) -> Callable[[Sequence[torch.Tensor]], tuple[list[torch.Tensor], Replacement]]:
        """A function of the inputs: these as a machine sees them, and what else is different there."""
        placements = tuple(p for p in self.program.placements if CLASS_OF.get(p.format, "") in classes)
        program = replace(self.program, target=target, placements=placements)
        data = self.staged()
        apart = staged_apart(program, data.expressions, self._shapes(data))
        plain = only(program, biases=False)
        twice = staged_for_products(plain)
        others = [p for p in program.placements if not (is_bias(p) and p.source in apart)]
        rounded = rounded_expressions(replace(program, placements=tuple(others)), data)
        replacement = self._replacement(target, data, rounded, "keys_values" in classes)
        given_apart = {source.index: axes for source, axes in apart.items() if source.kind == "input"}
        exact = read_by_host(program)
        constants: dict[str, StagedApart] = {}
        for source, axes in apart.items():
            if source.kind != "input":
                name = source.symbol
                of_axes = {
                    a: self._by_node({name: rounded_expressions(p, data)[name]}) for a, p in axes.items()
                }
                for node, as_numbers in self._by_node({name: rounded.get(name, data(name))}).items():
                    as_rows = {axis: of_axis[node] for axis, of_axis in of_axes.items()}
                    constants[node] = StagedApart(as_rows, as_numbers)

        def seeing(inputs: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], Replacement]:
            seen, operands = quantized_inputs(program, inputs), dict(replacement.operands)
            if apart or exact:
                as_they_are, biases = quantized_inputs(plain, inputs), dict(constants)
                seen = [as_they_are[n] if n in given_apart else x for n, x in enumerate(seen)]
                for n, axes in given_apart.items():
                    rows = {axis: quantized_inputs(of_axis, inputs)[n] for axis, of_axis in axes.items()}
                    biases[self.graph.input_names[n]] = StagedApart(rows, as_they_are[n])
                for n in exact:
                    as_given = {-1: inputs[n].detach().float()}
                    biases[self.graph.input_names[n]] = StagedApart(as_given, as_they_are[n])
                for node, staged in staged_biases(self.graph, biases).items():
                    operands[node] = {**operands.get(node, {}), **staged}
            if twice:
                of_products, of_others = (quantized_inputs(plain, inputs, formats) for formats in FORMATS)
                seen = [of_others[n] if n in twice else x for n, x in enumerate(seen)]
                leaves = {self.graph.input_names[n]: of_products[n] for n in twice}
                for node, staged in staged_operands(self.graph, self.imported.module, leaves).items():
                    operands[node] = {**operands.get(node, {}), **staged}
            return seen, replace(replacement, operands=operands)

        return seeing

    def _shapes(self, data: StagedData) -> dict[Source, tuple[int, ...]]:
        """Those of the inputs, and of what the host stages of parameters and constants."""
        inputs = {Source("input", n): tuple(x.shape) for n, x in enumerate(self.imported.inputs)}
        names = {p.source.symbol for p in self.program.placements_of("data") if is_bias(p)}
        return {**inputs, **{Source("data", symbol=name): tuple(data(name).shape) for name in names}}

    @property
    def states(self) -> dict[str, torch.Tensor]:
        """What the program's states hold, in float32, counters in their integers."""
        kept = self.program.kept
        return {} if kept is None else {n: torch.from_numpy(np.array(kept.array(n))) for n in kept.ports}

    def staged(self) -> StagedData:
        """The staging expressions of the program over the tensors that the module has now."""
        tensors = {**self.imported.tensors, **self._current()}
        data = self.program.data
        if not isinstance(data, StagedData):
            symbols = {placement.source.symbol for placement in self.program.placements_of("data")}
            data = data_of_module(tensors, symbols)
            data = replace(data, calibrated=_calibrated(self.program, data))
        return replace(data, tensors=tensors)

    def changed(self) -> list[str]:
        """The tensors that the program took from the module and that are different there now."""
        known = self.imported.tensors
        return [
            name
            for name, tensor in self._current().items()
            if name in known and not _same(tensor, known[name])
        ]

    def _current(self) -> dict[str, torch.Tensor]:
        """The tensors of the side table as the module has them now, shaped as there."""
        known, leaves = self.imported.tensors, self.imported.leaves
        values = self.graph.constants({node for node, symbol in leaves.items() if symbol in known})
        found: dict[str, torch.Tensor] = {}
        for node, value in values.items():
            shape = known[leaves[node]].shape
            found[leaves[node]] = value if value.shape == shape else _compact(value, shape)
        return found

    def _replacement(
        self, target: Target, data: StagedData, rounded: Mapping[str, torch.Tensor], keys_values: bool
    ) -> Replacement:
        """What is different on a machine for which expressions of staging are `rounded`, by their symbols."""
        level = self.imported.module
        choice = choose({name: data.expressions[name] for name in rounded}, rounded, data.tensors)
        uses = Uses()
        if choice.conflicts:
            uses = values_by_reader(
                self.imported, self.graph, target, choice.conflicts, rounded, data.tensors
            )
        nodes = self._by_node(choice.tensors)
        stored = target.precision[KEY_VALUE_TYPE]
        sites = rounding_sites(self.graph, level, stored) if keys_values else {}
        return Replacement(nodes, uses.edges, sites, uses.added)

    def _by_node(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The rounded tensors by the nodes that stand for them, in the nodes' shapes; masks stay masks."""
        values = {n.name: n.meta["val"] for n in self.graph.graph.nodes if _has_shape(n)}
        return {
            node: _as_mask(tensors[symbol], values[node]).expand(tuple(values[node].shape))
            for node, symbol in self.imported.leaves.items()
            if symbol in tensors
        }


def _calibrated(program: ProgramData, data: StagedData) -> dict[str, torch.Tensor]:
    """The weights in the image of a program that was loaded, if they were rounded for samples."""
    found: dict[str, torch.Tensor] = {}
    for placement in program.placements_of("data"):
        symbol = placement.source.symbol
        if placement.staging == "calibrated" and is_weight(placement) and symbol in data.expressions:
            seen = unstage(placement, ImageMemory(program.image.hbm), program.target)
            whole = found.get(symbol, data(symbol).float()).numpy()
            found[symbol] = torch.from_numpy(views.scatter(placement.view, seen, whole))
    return found


def _as_mask(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What is staged of a mask as 0 and 1 are booleans again."""
    return tensor != 0 if like.dtype == torch.bool else tensor


def _has_shape(node: Any) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _compact(value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor that repeats along some axes, without the repetition."""
    for axis, size in enumerate(shape):
        value = value.narrow(axis, 0, size)
    return value


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride():
        return True
    return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())


def _other_precision(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    tensors = [*module.parameters(), *module.buffers(), *inputs]
    return any(t.is_floating_point() and t.dtype != torch.float32 for t in tensors)


def _call(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    states: Mapping[str, torch.Tensor],
) -> Any:
    """The outputs of a module in evaluation mode, its buffers `states` having these values; it does not change."""
    training = {child: child.training for child in module.modules()}
    try:
        for child in training:
            child.training = False
        with plain_torch():
            if not states:
                return module(*args, **kwargs)
            return torch.func.functional_call(module, dict(states), tuple(args), dict(kwargs))
    finally:
        for child, mode in training.items():
            child.training = mode
