"""Host values: sharing, errors of numbers, and graphs from outside."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from plena.errors import PlenaError
from plena.host.values import build, codec
from plena.host.values.evaluation import evaluate
from plena.host.values.graph import HostValue


def _constant(symbol: str) -> Any:
    return {"table": np.arange(12, dtype=np.float32).reshape(6, 2)}[symbol]


def positions(pad: int = 1) -> HostValue:
    """RoBERTa's: cumsum(ids != pad) * (ids != pad) + pad."""
    ids = build.host_input(0, "int64", (2, 4))
    kept = build.cast(build.binary("ne", ids, build.full(pad, "int64")), "int64")
    counted = build.binary("mul", build.running("cumsum", kept, 1), kept)
    return build.binary("add", counted, build.full(pad, "int64"))


def test_nodes_that_operands_share_stand_once() -> None:
    value = positions()
    assert [node.operation for node in value.nodes].count("ne") == 1
    assert value.inputs == {0}
    assert len({value, positions(), positions(2)}) == 2


def test_positions_of_padded_ids() -> None:
    ids = np.array([[5, 6, 7, 1], [1, 1, 8, 9]])
    found = evaluate(positions(), [ids], _constant)
    kept = torch.from_numpy(ids) != 1
    assert np.array_equal(found, (kept.cumsum(1) * kept + 1).numpy())


def test_an_index_beyond_a_table_is_named_with_its_input_and_place() -> None:
    table = build.host_constant("table", "float32", (6, 2))
    value = build.index(table, [0], [positions()])
    assert evaluate(value, [np.ones((2, 4), int)], _constant).shape == (2, 4, 2)
    shifted = build.index(table, [0], [build.binary("add", positions(), build.full(2, "int64"))])
    with pytest.raises(PlenaError) as error:
        evaluate(shifted, [np.array([[5, 6, 7, 1], [5, 6, 7, 8]])], _constant, ["input_ids"])
    assert (
        "input_ids" in str(error.value)
        and "6 at [0, 2]" in str(error.value)
        and "from -6 to 5" in str(error.value)
    )


def test_whole_numbers_divided_by_zero_are_named() -> None:
    lengths = build.host_input(0, "int64", (3,))
    value = build.binary("floor_div", build.full(7, "int64"), lengths)
    with pytest.raises(PlenaError, match=r"lengths.*divided by zero at \[1\]"):
        evaluate(value, [np.array([1, 0, 2])], _constant, ["lengths"])


def test_masks_hold_zeros_and_ones() -> None:
    value = HostValue.of("bits", (build.host_input(0, "int64", (3,)),), "bool", (3,))
    assert evaluate(value, [np.array([0, 1, 1])], _constant).tolist() == [False, True, True]
    with pytest.raises(PlenaError, match=r"7 at \[2\] is no element of a mask"):
        evaluate(value, [np.array([0, 1, 7])], _constant)


def test_inputs_of_another_width_become_what_the_graph_says() -> None:
    value = build.binary("add", build.host_input(0, "int64", (2,)), build.full(200, "int64"))
    assert evaluate(value, [np.array([100, 120], np.int8)], _constant).tolist() == [300, 320]


def _damaged(change: Any) -> list[Any]:
    document = json.loads(json.dumps(codec.to_json(positions())))
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.clear(), "a list of operations"),
        (lambda d: d.__setitem__(1, "ne"), "needs a name"),
        (lambda d: d[2].__setitem__(0, "system"), "unknown operation 'system'"),
        (lambda d: d[2].__setitem__(1, [2, 1]), "do not come before"),
        (lambda d: d[2].__setitem__(1, [0, 7]), "do not come before"),
        (lambda d: d[2].__setitem__(1, [0]), "1 operands instead of 2"),
        (lambda d: d[2].__setitem__(4, [2, 5]), "it gives"),
        (lambda d: d[2].__setitem__(4, [-2, 5]), "is no shape"),
        (lambda d: d[0].__setitem__(4, [1 << 40]), "is no shape"),
        (lambda d: d[0].__setitem__(3, "object"), "unknown type 'object'"),
        (lambda d: d[3].__setitem__(3, "int32"), "it gives int32"),
        (lambda d: d[4][2].__setitem__("dim", 5), "no dimension"),
        (lambda d: d[4][2].__setitem__("dim", "1"), "must be integer"),
        (lambda d: d[4][2].__setitem__("dim", True), "must be integer"),
        (lambda d: d[4][2].__setitem__("code", "1"), "takes dim"),
    ],
)
def test_graphs_that_are_none_are_refused(change: Any, says: str) -> None:
    with pytest.raises(PlenaError) as error:
        codec.from_json(_damaged(change), "manifest")
    assert says in str(error.value)


def test_a_graph_does_not_make_more_elements_than_it_says() -> None:
    """Sizes are told before anything is computed: a manifest cannot ask for terabytes."""
    ids = build.host_input(0, "int64", (4,))
    hot = HostValue.of("one_hot", (ids,), "int64", (4, 8), classes=1 << 45)
    padded = HostValue.of("pad", (ids,), "int64", (8,), dim=0, before=0, after=1 << 45, value=0)
    column = build.reshape(build.host_input(0, "int64", (1 << 20,)), (1 << 20, 1))
    outer = HostValue.of("add", (column, build.reshape(column, (1, 1 << 20))), "int64", (1 << 20,))
    for value in (hot, padded, outer):
        with pytest.raises(PlenaError, match="another number of elements"):
            codec.from_json(codec.to_json(value), "manifest")
