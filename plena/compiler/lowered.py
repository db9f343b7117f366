"""What a tile-level module says about its program: placements, constants, memory map, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import IntAttr, ModuleOp

from plena.dialects.tile import BufferOp, ConstantOp
from plena.dialects.tile.placements import from_attribute, source_kind
from plena.host import view as views
from plena.host.layout import TensorPlacement
from plena.host.ports import Region
from plena.host.view import Array
from plena.passes.convert_tile_to_isa import SCALE_PLANE

if TYPE_CHECKING:
    import torch

    from plena.program.data import ProgramData


def placements_of(tiles: ModuleOp) -> Iterator[TensorPlacement]:
    """Where inputs, data and outputs lie, from the allocated buffers."""
    plane = tiles.attributes[SCALE_PLANE]
    assert isinstance(plane, IntAttr)
    for op in tiles.body.block.ops:
        if isinstance(op, BufferOp) and op.placements is not None and op.address is not None:
            for attribute in op.placements:
                placement = TensorPlacement.from_json(from_attribute(attribute))
                address = op.address.data + placement.address
                yield placement.at(address, plane.data if op.space == "hbm" else 0)


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
            role = "scratch" if op.placements is None else source_kind(op.placements.data[0])
            yield Region(op.symbol.data, op.space, op.address.data, op.size.data, role)


def machine_reference(program: ProgramData, tiles: ModuleOp) -> Any:
    """A function of the inputs that interprets the tile level (plena.interpreters.tile)."""

    def reference(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        import torch

        from plena.interpreters.tile import run_tiles

        def source(placement: TensorPlacement) -> Array:
            if placement.source.kind == "input":
                return _array(inputs[placement.source.index])
            assert program.data is not None
            return _array(program.data(placement.source.symbol))

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
