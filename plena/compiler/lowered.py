"""What a tile-level module says about its program: placements, constants, memory map, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, IntAttr, IntegerAttr, ModuleOp
from xdsl.ir import Attribute

from plena.dialects.plena import HostValueAttr
from plena.dialects.tile import CHOICES, BufferOp, ChoicesAttr, ConstantOp, DataOp, HostOp
from plena.host import view as views
from plena.host.layout import TensorPlacement
from plena.host.placement_attributes import placement_of
from plena.host.ports import Region
from plena.host.staged_data import StagedData, staged_tensor, symbol_of
from plena.host.values.attributes import value_of
from plena.host.values.program import HostProgram
from plena.host.view import Array
from plena.kernels.context import name_taken
from plena.passes.convert_plena_to_tile import USEFUL_MACS
from plena.passes.convert_tile_to_isa import HBM_SEGMENT, SCALE_PLANE

if TYPE_CHECKING:
    import torch

    from plena.program.data import ProgramData


def placements_of(tiles: ModuleOp) -> Iterator[TensorPlacement]:
    """Where inputs, data and outputs lie, from the allocated buffers."""
    plane, distance = tiles.attributes[SCALE_PLANE], tiles.attributes.get(HBM_SEGMENT)
    assert isinstance(plane, IntAttr)
    segment = distance.data if isinstance(distance, IntAttr) else 0
    for op in tiles.body.block.ops:
        if isinstance(op, BufferOp) and op.placements is not None and op.address is not None:
            for attribute in op.placements:
                placement = placement_of(attribute, op.space)
                address = op.address.data + placement.address
                if op.space != "hbm":
                    yield placement.at(address)
                    continue
                base = op.address.data // segment * segment if segment else 0
                yield placement.at(address - base, plane.data, base)


def constant_words(tiles: ModuleOp) -> tuple[float, ...]:
    """The FP SRAM words from word 0 on."""
    words: dict[int, float] = {}
    for op in tiles.body.block.ops:
        if isinstance(op, ConstantOp) and op.address is not None:
            words.update(enumerate(op.numbers, op.address.data))
    return tuple(words[i] for i in range(len(words)))


def memory_map_of(tiles: ModuleOp) -> Iterator[Region]:
    """Every buffer with its address."""
    for op in tiles.body.block.ops:
        if isinstance(op, BufferOp) and op.address is not None:
            role = {"constant": "data", "host": "input"}.get(op.source_kind, op.source_kind)
            yield Region(op.symbol.data, op.space, op.address.data, op.size.data, role)


def staged_data_of(tiles: ModuleOp, tensors: Mapping[str, torch.Tensor]) -> StagedData:
    """What placements name: staging expressions over the model's tensors, and the matrices of kernels.

    Raises:
        CompileError: a tensor of the model is called as one of those matrices.
    """
    expressions: dict[str, Attribute] = {}
    constants: dict[str, Array] = {}
    for op in tiles.body.block.ops:
        if isinstance(op, DataOp):
            constants[op.symbol.data] = op.value.values.copy()
        elif isinstance(op, BufferOp):
            for placement in op.placements or ():
                if placement.source.kind.data == "data":
                    expression = placement.source.value
                    expressions[symbol_of(expression)] = expression
    for name in expressions.keys() & constants.keys():
        raise name_taken(name)
    return StagedData(expressions, tensors, constants)


def host_values_of(tiles: ModuleOp, tensors: Mapping[str, torch.Tensor]) -> HostProgram:
    """What the host computes of inputs, over the constants of the imported module."""
    values = {
        op.symbol.data: value_of(op.value)
        for op in tiles.body.block.ops
        if isinstance(op, HostOp) and isinstance(op.value, HostValueAttr)
    }
    return HostProgram(values, tensors)


def useful_macs_of(tiles: ModuleOp) -> dict[str, int]:
    """Multiply-accumulates of the mathematical operations by module path of the model."""
    counted = tiles.attributes[USEFUL_MACS]
    assert isinstance(counted, DictionaryAttr)
    return {path: n.value.data for path, n in counted.data.items() if isinstance(n, IntegerAttr)}


def choices_of(tiles: ModuleOp) -> ChoicesAttr:
    """What the conversion chose."""
    choices = tiles.attributes[CHOICES]
    assert isinstance(choices, ChoicesAttr)
    return choices


def machine_reference(program: ProgramData, tiles: ModuleOp) -> Any:
    """A function of the inputs that interprets the tile level (plena.interpreters.tile)."""

    def reference(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        import torch

        from plena.interpreters.tile import run_tiles

        given, names = program.given(inputs)
        computed = program.host_values(given, names)

        def source(placement: TensorPlacement) -> Array:
            if placement.source.kind == "state":
                assert program.kept is not None
                return program.kept.matrices(placement)
            if placement.source.kind == "input":
                return _array(given[placement.source.index])
            if placement.source.kind == "host":
                return computed(placement.source.symbol)
            assert program.data is not None
            return _array(staged_tensor(program.data, placement))

        results = run_tiles(tiles, source)
        outputs: list[torch.Tensor] = []
        for index, port in enumerate(program.outputs):
            placement = next(program.placements_of("output", index))
            into = np.zeros(port.shape, np.float32 if placement.memory != "int" else np.int64)
            outputs.append(torch.from_numpy(np.array(views.scatter(placement.view, results[index], into))))
        return tuple(outputs)

    return reference


def _array(tensor: Any) -> Array:
    if isinstance(tensor, np.ndarray):
        return tensor
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
