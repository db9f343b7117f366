"""Placements as attributes of the tile level, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, BoolAttr, FloatAttr, IntAttr, NoneAttr, StringAttr, f64
from xdsl.ir import Attribute

from plena.dialects.tile.placements import PlacementAttr, SourceAttr
from plena.dialects.views import integers
from plena.host import view as views
from plena.host.layout import Layout, Memory, Order, Source, SourceKind, TensorPlacement
from plena.host.staged_data import symbol_of
from plena.host.view import Array
from plena.host.view_attributes import step_attribute, steps_of
from plena.machine.number_formats import Staging


def placement_attribute(placement: TensorPlacement, data: Mapping[str, Attribute | Array]) -> PlacementAttr:
    """The attribute of a placement whose address is relative to its buffer.

    Args:
        placement: not at a place of its own yet: no base, scale offset or batch pitch.
        data: symbol of a "data" source -> staging expression, or a matrix (of a `tile.data` of that name).
    """
    assert not (placement.base or placement.scale_offset or placement.batch_pitch), placement.name
    return PlacementAttr(
        StringAttr(placement.name),
        _source_attribute(placement.source, data),
        StringAttr(placement.layout),
        integers(placement.shape),
        StringAttr(placement.format),
        integers(placement.padded),
        ArrayAttr([step_attribute(step) for step in placement.view]),
        IntAttr(placement.address),
        StringAttr(placement.order),
        FloatAttr(placement.scale, f64),
        IntAttr(placement.limit),
        BoolAttr.from_bool(placement.residual),
        StringAttr(placement.staging),
        BoolAttr.from_bool(placement.routed),
    )


def placement_of(attribute: PlacementAttr, memory: str) -> TensorPlacement:
    """The placement that an attribute of a buffer in `memory` stands for; its address is the offset in the buffer.

    Raises:
        PlenaError: a step of its view takes other numbers.
    """
    where = f"placement of {attribute.symbol.data}"
    return TensorPlacement(
        name=attribute.symbol.data,
        memory=cast(Memory, memory),
        address=attribute.offset.data,
        shape=attribute.shape.get_values(),
        layout=cast(Layout, attribute.layout.data),
        format=attribute.number_format.data,
        source=source_of(attribute.source),
        padded=attribute.padded.get_values(),
        view=steps_of(attribute.view, where),
        scale=attribute.scale.value.data,
        order=cast(Order, attribute.order.data),
        limit=attribute.limit.data,
        residual=bool(attribute.residual.value.data),
        staging=cast(Staging, attribute.staging.data),
        routed=bool(attribute.routed.value.data),
    )


def source_of(attribute: SourceAttr) -> Source:
    """The source that an attribute stands for."""
    kind, value = attribute.kind.data, attribute.value
    match value:
        case IntAttr():
            return Source(cast(SourceKind, kind), value.data)
        case StringAttr():
            return Source(cast(SourceKind, kind) if kind in ("host", "state") else "data", symbol=value.data)
        case NoneAttr():
            return Source("scratch")
        case _:
            return Source("data", symbol=symbol_of(value))


def with_infinities(attribute: PlacementAttr, infinite: Mapping[int | str, bool]) -> PlacementAttr:
    """The placement of an input among `infinite`, or of what the host computes, by its symbol, says that minus infinity
    is staged, and whether in whole rows.

    Masks of attention have steps of their own for it.
    """
    source = source_of(attribute.source)
    given = {"input": source.index, "host": source.symbol}.get(source.kind)
    steps = steps_of(attribute.view, attribute.symbol.data)
    if given is None or given not in infinite or not all(step.minds_infinity for step in steps):
        return attribute
    step = step_attribute(views.Infinite(int(infinite[given])))
    parameters = [
        ArrayAttr([*attribute.view, step]) if p is attribute.view else p for p in attribute.parameters
    ]
    return PlacementAttr.new(parameters)


def _source_attribute(source: Source, data: Mapping[str, Attribute | Array]) -> SourceAttr:
    match source.kind:
        case "scratch":
            return SourceAttr.scratch()
        case "host":
            return SourceAttr.host(source.symbol)
        case "state":
            return SourceAttr.state(source.symbol)
        case "data":
            value = data[source.symbol]
            constant = not isinstance(value, Attribute)
            return SourceAttr.constant(source.symbol) if constant else SourceAttr.data(value)
        case _:
            return SourceAttr.port(source.kind, source.index)


__all__ = ["placement_attribute", "placement_of", "source_of", "with_infinities"]
