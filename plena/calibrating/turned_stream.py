"""The weights around a residual stream, turned: the second half of `residual`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from plena.calibrating.hadamard import matrix_of
from plena.calibrating.residual import NotTurnable, Stream, Use


@dataclass(frozen=True)
class TurnedStream:
    """A residual stream that is turned.

    Attributes:
        features: of a row.
        writers, readers: how many layers write and read it.
        norms: how many gains moved into readers.
        untied: parameters that were shared and are not any more: their layers need different ones.
    """

    features: int
    writers: int
    readers: int
    norms: int
    untied: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = (
            f"a residual stream of {self.features} features, written by {self.writers} layers, read by "
            f"{self.readers}, {self.norms} gains in the weights"
        )
        return said + (f"; no longer shared: {', '.join(self.untied)}" if self.untied else "")


@torch.no_grad()
def turn_stream(module: nn.Module, stream: Stream) -> TurnedStream:
    """Changes the parameters of a module in place.

    Raises:
        NotTurnable: a layer has two parts in it; nothing is changed then.
    """
    matrix = matrix_of(stream.features)
    gains = {name: module.get_parameter(name).double() for use in stream.uses for name in use.gains}
    places: dict[tuple[str, str], Use] = {}
    for use in stream.uses:
        place = _place(module, use)
        known = places.setdefault(place, use)
        if (known.kind, known.gains) != (use.kind, use.gains):
            raise NotTurnable(f"{use.parameter} is used in two ways by one layer")
    found = {place: _turned(_at(module, place), use, matrix, gains) for place, use in places.items()}
    shared: dict[int, set[tuple[str, tuple[str, ...]]]] = {}
    for place, use in places.items():
        kind = "rows" if use.kind == "inputs" and not use.gains else use.kind
        shared.setdefault(id(_at(module, place)), set()).add((kind, use.gains))
    separate = {place: len(shared[id(_at(module, place))]) > 1 for place in places}
    untied = [".".join(filter(None, place)) for place, apart in separate.items() if apart]
    for place, tensor in found.items():
        parameter = _at(module, place)
        if separate[place]:
            owner, name = place
            setattr(
                module.get_submodule(owner), name, nn.Parameter(tensor, requires_grad=parameter.requires_grad)
            )
        else:
            parameter.copy_(tensor)
    kinds = [use.kind for use in stream.uses]
    return TurnedStream(
        stream.features,
        len({place[0] for place, use in places.items() if use.kind in ("rows", "outputs")}),
        kinds.count("inputs"),
        len({use.parameter for use in stream.uses if use.kind == "gain"}),
        tuple(untied),
    )


def _turned(
    parameter: torch.Tensor, use: Use, matrix: torch.Tensor, gains: dict[str, torch.Tensor]
) -> torch.Tensor:
    """A parameter as it must be where rows of the stream are multiplied by the matrix."""
    exact = parameter.double()
    match use.kind:
        case "gain":
            found = torch.ones_like(exact)
        case "outputs":
            found = matrix.T @ exact
        case _:
            for gain in use.gains:
                exact = exact * gains[gain]
            found = exact @ matrix
    return found.to(parameter.dtype)


def _place(module: nn.Module, use: Use) -> tuple[str, str]:
    """The module that reads a parameter, and what it calls it: a shared one has several names."""
    parameter = module.get_parameter(use.parameter)
    owner, _, name = use.parameter.rpartition(".")
    try:
        own = dict(module.get_submodule(use.owner).named_parameters(recurse=False))
    except AttributeError:
        own = {}
    return next(((use.owner, n) for n, p in own.items() if p is parameter), (owner, name))


def _at(module: nn.Module, place: tuple[str, str]) -> nn.Parameter:
    found = module.get_submodule(place[0]).get_parameter(place[1])
    assert isinstance(found, nn.Parameter)
    return found
