"""Rotation: orthogonal matrices on what passes between linear layers, and their inverses behind.

Attention adds values of keys up; what turns every value turns the result. So a Hadamard matrix moves into the weights
that make values and its inverse into those that read the result: the function is the same, no instruction is added, and
outliers of a few features, which cost all that share a block's scale their precision, are spread over all of them. What
layers hand on can be turned as well (`residual`), and what no weight can turn is turned by the machine (`online`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from plena.calibrating.graph import LINEAR, moves, source_of
from plena.calibrating.hadamard import hadamard
from plena.calibrating.online import TurnedInput, inputs_to_turn, turn_inputs
from plena.calibrating.residual import NotTurnable, streams_of
from plena.calibrating.turned_stream import TurnedStream, turn_stream
from plena.machine.choices import Turned

SMALLEST = 4
"""Features that are turned together, at least."""

EXACT = 1e-4
"""Relative error of the turned module against the module, both in float32, up to which it computes the same."""

_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


@dataclass(frozen=True)
class RotatedValues:
    """An attention whose values are turned.

    Args:
        values: parameters that make values, the weight first.
        result: the weight that reads the result of the attention.
        features: of a head.
        size: of the Hadamard matrices, the largest power of two that divides the features.
    """

    values: tuple[str, ...]
    result: str
    features: int
    size: int

    def __str__(self) -> str:
        return f"values of {self.values[0]}, turned back in {self.result}: Hadamard {self.size}"


@dataclass(frozen=True)
class Rotation:
    """A module with turned values or a turned residual stream, and what was turned.

    Attributes:
        module: a copy; the module itself where nothing is turned.
        sites: the attentions whose values are turned.
        skipped: why others, or the stream, are not.
        error: relative error of the turned module against the module in float32 on the example inputs.
        streams: the residual streams that are turned.
        inputs: the linear layers whose inputs the machine turns.
    """

    module: nn.Module = field(repr=False)
    sites: tuple[RotatedValues, ...] = ()
    skipped: tuple[str, ...] = ()
    error: float = 0.0
    streams: tuple[TurnedStream, ...] = ()
    inputs: tuple[TurnedInput, ...] = ()

    @property
    def turns(self) -> bool:
        """Whether anything is turned."""
        return bool(self.sites or self.streams or self.inputs)

    def __str__(self) -> str:
        sizes = sorted({site.size for site in self.sites})
        matrices = f" by Hadamard matrices of {', '.join(map(str, sizes))}, in the weights" if sizes else ""
        heads = [f"rotation: values of {len(self.sites)} attentions are turned{matrices}; 0 cycles"] * bool(
            self.sites
        )
        heads += [f"rotation: {stream} is turned; 0 cycles" for stream in self.streams]
        if self.inputs:
            by = ", ".join(map(str, sorted({site.size for site in self.inputs})))
            count = len(self.inputs)
            heads.append(
                f"rotation: inputs of {count} linear layers are turned at run time by Hadamard matrices of {by}"
            )
        return "\n".join(
            [*(heads or ["rotation: nothing is turned"]), *(f"rotation: {reason}" for reason in self.skipped)]
        )


def rotated(
    module: nn.Module,
    program: ExportedProgram,
    difference: Callable[[nn.Module], float],
    parts: Turned,
    width: int,
) -> Rotation:
    """A copy of a module that is turned where weights alone can do it, or with "online" where they cannot.

    Args:
        module: the user's; it stays as it is.
        program: its graph.
        difference: the relative error of a copy against the module, both in float32; a copy is given up if it
            gives something else.
        parts: what is turned.
        width: features that the machine turns together, at most: those of a tile.
    """
    found = Rotation(module)
    if parts in ("values", "all", "online"):
        found = _with_values(found, program, difference)
    if parts in ("residual", "all"):
        found = _with_streams(found, program, difference)
    if parts == "online":
        found = _with_inputs(replace(found, skipped=()), program, difference, width)
    return found


def _with_values(
    found: Rotation, program: ExportedProgram, difference: Callable[[nn.Module], float]
) -> Rotation:
    sites, skipped = list[RotatedValues](), list[str]()
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target == _ATTENTION:
            site = _site(node, program)
            if isinstance(site, str):
                skipped.append(f"{node.name} is left as it is: {site}")
            else:
                sites.append(site)
    taken = [name for site in sites for name in (*site.values, site.result)]
    if len(set(taken)) < len(taken):
        sites, skipped = [], [*skipped, "attentions share weights, none is turned"]
    if not sites:
        return replace(found, skipped=(*found.skipped, *skipped))
    turned = copy.deepcopy(found.module)
    with torch.no_grad():
        for site in sites:
            _turn(turned, site)
    error = difference(turned)
    if not error <= EXACT:
        why = "heads are no blocks of features"
        skipped.append(f"none is turned, that gives other results (relative error {error:.2g}): {why}")
        return replace(found, skipped=(*found.skipped, *skipped))
    return replace(found, module=turned, sites=tuple(sites), skipped=(*found.skipped, *skipped), error=error)


def _with_inputs(
    found: Rotation, program: ExportedProgram, difference: Callable[[nn.Module], float], width: int
) -> Rotation:
    """What the machine turns where weights do not."""
    done = frozenset(site.result for site in found.sites)
    seen = inputs_to_turn(program, found.module, done, width, SMALLEST)
    sites, skipped = [s for s in seen if isinstance(s, TurnedInput)], [s for s in seen if isinstance(s, str)]
    if not seen and not done:
        skipped.append("no linear layer reads what an activation, a product or an attention gives")
    if sites:
        turned = copy.deepcopy(found.module)
        turn_inputs(turned, sites, width)
        error = difference(turned)
        if error <= EXACT:
            found = replace(found, module=turned, inputs=tuple(sites), error=error)
        else:
            skipped.append(f"no input is turned, that gives other results (relative error {error:.2g})")
    return replace(found, skipped=(*found.skipped, *skipped))


def _with_streams(
    found: Rotation, program: ExportedProgram, difference: Callable[[nn.Module], float]
) -> Rotation:
    streams, skipped = list[TurnedStream](), list[str]()
    turned = copy.deepcopy(found.module)
    for stream in streams_of(program):
        try:
            if isinstance(stream, str):
                skipped.append(stream)
            else:
                streams.append(turn_stream(turned, stream))
        except NotTurnable as reason:
            skipped.append(f"a residual stream is left as it is: {reason}")
    if not streams and not skipped:
        skipped.append("there is no residual stream between embeddings or linear layers and RMS norms")
    error = difference(turned) if streams else found.error
    if not error <= EXACT:
        skipped.append(f"no stream is turned, that gives other results (relative error {error:.2g})")
        streams, error = [], found.error
    kept = turned if streams else found.module
    return replace(
        found, module=kept, streams=tuple(streams), skipped=(*found.skipped, *skipped), error=error
    )


def _turn(module: nn.Module, site: RotatedValues) -> None:
    matrix = hadamard(site.size)
    for name in site.values:
        parameter = module.get_parameter(name)
        rows = parameter.double().reshape(-1, site.size, *parameter.shape[1:])
        parameter.copy_(torch.einsum("ij,nj...->ni...", matrix, rows).reshape(parameter.shape))
    parameter = module.get_parameter(site.result)
    columns = parameter.double().reshape(len(parameter), -1, site.size)
    parameter.copy_((columns @ matrix).reshape(parameter.shape))


def _site(attention: Node, program: ExportedProgram) -> RotatedValues | str:
    """What is to be turned around an attention, or why it cannot be."""
    values: Node = source_of(attention.args[2])
    if values.op != "call_function" or values.target != LINEAR:
        return "its values are no result of a linear layer alone"
    readers = [attention]
    while len(readers) == 1 and (readers[0] is attention or moves(readers[0])):
        readers = list(readers[0].users)
    if len(readers) != 1 or readers[0].op != "call_function" or readers[0].target != LINEAR:
        return "its result is read by something else than one linear layer"
    made = [_parameter(argument, program) for argument in values.args[1:] if argument is not None]
    result = _parameter(readers[0].args[1], program)
    if None in made or result is None:
        return "a weight is computed, or has other readers"
    if not _alone(values, attention):
        return "its values are read by something else, too"
    features = attention.meta["val"].shape[-1]
    size = features & -features
    if size < SMALLEST:
        return f"no power of two of at least {SMALLEST} divides its {features} features"
    return RotatedValues(tuple(name for name in made if name is not None), result, features, size)


def _alone(values: Node, attention: Node) -> bool:
    """Whether all that reads some values is one attention, as its values."""
    left: list[tuple[Node, Node]] = [(values, user) for user in values.users]
    while left:
        read, reader = left.pop()
        if reader is attention:
            if [place for place, argument in enumerate(reader.args) if argument is read] != [2]:
                return False
        elif moves(reader):
            left += [(reader, user) for user in reader.users]
        else:
            return False
    return True


def _parameter(argument: Any, program: ExportedProgram) -> str | None:
    """The name of a parameter that one node reads; None if it is something else."""
    if not isinstance(argument, Node) or len(argument.users) != 1:
        return None
    signature = program.graph_signature
    return signature.inputs_to_parameters.get(argument.name)
