"""Rotation that the machine makes: inputs of linear layers, turned at run time and back in the layer's weight.

What an activation, a product of branches, or an attention over a cache gives cannot be turned in the weights before
it. So blocks of its features are multiplied by a Hadamard matrix, and the weight that reads them by its inverse: the
function is the same, with a product for every tile of features more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from plena.calibrating.graph import LINEAR, name_of, owner_of, source_of
from plena.calibrating.hadamard import signs

_ACTIVATIONS = frozenset(
    [
        "relu",
        "gelu",
        "silu",
        "sigmoid",
        "tanh",
        "square",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "elu",
        "mish",
    ]
)


@dataclass(frozen=True)
class TurnedInput:
    """A linear layer whose input is turned.

    Args:
        layer: its path.
        features: of its input.
        size: of the Hadamard matrices.
    """

    layer: str
    features: int
    size: int


class BlockHadamard(nn.Module):
    """Features [..., F] by a Hadamard matrix in blocks of `size`: ones of both signs times a power of two, which every
    format has.

    Args:
        width: features of a product, whole blocks; divides F.
        size: a power of two.
    """

    matrix: Tensor

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.scale = 2.0 ** -(size.bit_length() // 2)
        blocks = torch.kron(torch.eye(width // size), signs(size).float() * self.scale)
        self.register_buffer("matrix", blocks, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x.unflatten(-1, (-1, len(self.matrix))) @ self.matrix).flatten(-2)


class TurnedLinear(nn.Linear):
    """A linear layer whose input is turned; what it computes is the same."""

    def __init__(self, layer: nn.Linear, width: int, size: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.turn = BlockHadamard(width, size)
        self.bias = layer.bias
        exact = layer.weight.detach().double().unflatten(1, (-1, size))
        back = signs(size) / (size * self.turn.scale)
        turned = (exact @ back).flatten(1).to(layer.weight.dtype)
        self.weight = nn.Parameter(turned, requires_grad=layer.weight.requires_grad)
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(self.turn(input), self.weight, self.bias)


def inputs_to_turn(
    program: ExportedProgram, module: nn.Module, done: Collection[str], width: int, least: int
) -> list[TurnedInput | str]:
    """Linear layers that read what no weight can turn before, or why one of them is left as it is.

    Args:
        done: weights whose inputs are turned already.
        width: features that are turned together, at most.
        least: at least.
    """
    found: list[TurnedInput | str] = []
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target == LINEAR and _is_computed(source_of(node.args[0])):
            weight = program.graph_signature.inputs_to_parameters.get(getattr(node.args[1], "name", ""))
            if weight in done:
                continue
            site = _site(node, weight, module, width, least)
            turned = isinstance(site, TurnedInput)
            found.append(site if turned else f"the input of {node.name} is left as it is: {site}")
    return found


def turn_inputs(module: nn.Module, sites: list[TurnedInput], width: int) -> None:
    """Replaces these layers of a module in place."""
    for site in sites:
        layer = module.get_submodule(site.layer)
        assert isinstance(layer, nn.Linear)
        whole = max(w for w in range(site.size, width + 1, site.size) if site.features % w == 0)
        module.set_submodule(site.layer, TurnedLinear(layer, whole, site.size))


def _site(node: Node, name: str | None, module: nn.Module, width: int, least: int) -> TurnedInput | str:
    """A linear layer whose weight has this name, or why its input cannot be turned."""
    path = owner_of(node)
    try:
        layer = module.get_submodule(path)
    except AttributeError:
        layer = None
    if not path or type(layer) is not nn.Linear or name is None:
        return "it is no torch.nn.Linear"
    names = [n for n, p in module.named_parameters(remove_duplicate=False) if p is layer.weight]
    readers: Any = node.args[1]
    if names != [name] or len(readers.users) > 1:
        return "its weight has other readers"
    size = min(layer.in_features & -layer.in_features, 1 << (width.bit_length() - 1))
    if size < least:
        return f"no power of two of at least {least} divides its {layer.in_features} features"
    return TurnedInput(path, layer.in_features, size)


def _is_computed(node: Node) -> bool:
    """Whether a node is what an attention, an activation, or a product of two branches gives."""
    name = name_of(node)
    if name in ("scaled_dot_product_attention", *_ACTIVATIONS):
        return True
    factors: tuple[Any, ...] = node.args[:2]
    return name == "mul" and all(
        isinstance(f, Node) and f.op == "call_function" and f.meta["val"].shape == node.meta["val"].shape
        for f in factors
    )
