"""Bytes by class of data: what a program says it moves, what a run moved, what the tensors take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import plena
from plena.statistics.traffic import CLASSES
from tests.budgets.operators import RoutedExperts


def tile_bytes(target: plena.Target) -> int:
    """Elements and scales of a tile of weights."""
    number_format = target.precision["HBM_M_WEIGHT_TYPE"]
    return number_format.element_bytes(target.tile) + number_format.scale_bytes(target.tile)


def test_a_linear_layer_moves_each_weight_once() -> None:
    program = plena.compile(nn.Linear(128, 192, bias=False), (torch.randn(64, 128),), matmul="mm")
    traffic = program.stats().hbm_traffic
    assert tuple(traffic) == CLASSES
    assert traffic["weights"] == 2 * 3 * tile_bytes(program.target)
    assert tile_bytes(program.target) == 4608
    assert traffic["activations"] == 2 * tile_bytes(program.target)
    assert traffic["keys_values"] == traffic["experts"] == 0


def test_a_bias_is_a_weight_though_it_is_loaded_as_activations() -> None:
    with_bias, without = (
        plena.compile(nn.Linear(64, 64, bias=bias), (torch.randn(64, 64),)) for bias in (True, False)
    )
    more = with_bias.stats().hbm_traffic["weights"] - without.stats().hbm_traffic["weights"]
    assert 0 < more < tile_bytes(without.target)
    assert with_bias.stats().hbm_traffic["activations"] == without.stats().hbm_traffic["activations"]


class _Cached(nn.Module):
    keys: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(64, 64))

    def forward(self, query: Tensor, key: Tensor, position: Tensor) -> Tensor:
        self.keys.index_copy_(0, position, key)
        return query @ self.keys.T


def test_a_state_counts_as_keys_and_values() -> None:
    inputs = torch.randn(64, 64), torch.randn(1, 64), torch.tensor([3])
    program = plena.compile(_Cached(), inputs)
    assert program.stats().hbm_traffic["keys_values"] >= tile_bytes(program.target)


def test_a_run_moved_what_the_program_says() -> None:
    x = torch.randn(64, 64)
    program = plena.compile(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)), (x,))
    program.run(x)
    assert program.last_run is not None
    assert dict(program.last_run.hbm_traffic) == dict(program.stats().hbm_traffic)


def test_assembly_is_counted_by_the_types_of_its_transfers() -> None:
    text = (
        "C_LOOP_START gp1, 3\nH_PREFETCH_M gp0, gp0, a0, 0, 1\nC_LOOP_END gp1\nH_STORE_V gp0, gp0, a0, 0, 0"
    )
    traffic = plena.stats(text).hbm_traffic
    assert traffic["keys_values"] == 3 * 4608
    assert traffic["activations"] == 4 * 72


def test_no_such_class() -> None:
    with pytest.raises(KeyError):
        plena.stats("S_ADDI_INT gp1, gp0, 1").hbm_traffic["logits"]


def test_a_transfer_of_several_tensors_is_divided_among_them() -> None:
    """The router and the first matrices of all experts are one product."""
    program = plena.compile(RoutedExperts(64, 64), (torch.randn(16, 64),), target=plena.Target())
    moved, once = program.stats().hbm_traffic, 3 * 32 * tile_bytes(program.target)
    assert once <= moved["experts"] <= 1.02 * once
    assert sum(moved.values()) > moved["experts"] > moved["weights"] > 0
