"""Views: applying, writing back, text."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plena.errors import PlenaError
from plena.host import view as views
from plena.host.mask_steps import Relative, RelativeNumber, Sighted
from plena.host.view import Bits, Compare, Expand, Pad, Permute, Reshape, Slice

HEADS = (Reshape((2, 3, 4, 5)), Permute((0, 2, 1, 3)))


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], views.View]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    steps: list[views.Step] = []
    now = shape
    for _ in range(draw(st.integers(0, 4))):
        dim = draw(st.integers(0, len(now) - 1))
        match draw(st.sampled_from(["reshape", "permute", "slice", "pad", "expand"])):
            case "reshape":
                step: views.Step = Reshape((*now[:dim], 1, *now[dim:]))
            case "permute":
                step = Permute(tuple(draw(st.permutations(range(len(now))))))
            case "slice":
                start = draw(st.integers(0, now[dim] - 1))
                step = Slice(dim, start, draw(st.integers(start + 1, now[dim])), draw(st.integers(1, 2)))
            case "pad":
                step = Pad(dim, draw(st.integers(0, 2)), draw(st.integers(0, 2)))
            case _:
                step = Expand((2, *[3 if n == 1 else n for n in now]))
        steps.append(step)
        now = step.result_shape(now)
    return shape, tuple(steps)


@given(chains())
def test_scatter_undoes_apply_and_keeps_the_rest(chain: tuple[tuple[int, ...], views.View]) -> None:
    shape, view = chain
    tensor = np.arange(1, 1 + np.prod(shape), dtype=np.int64).reshape(shape)
    matrices = views.apply(view, tensor)
    assert matrices.shape == views.result_shape(view, shape)
    blank = np.zeros(shape, np.int64)
    written = views.scatter(view, matrices, blank)
    reached = np.isin(tensor, matrices)
    np.testing.assert_array_equal(written, np.where(reached, tensor, 0))
    np.testing.assert_array_equal(views.scatter(view, matrices, tensor), tensor)


def test_numbers_relative_to_the_highest_keep_the_bits_that_staging_leaves() -> None:
    biases = np.array([[-7000.3, -7001.7, -np.inf], [-1e9, -1e9, -2e9], [0.5, 0.25, -3.0]], np.float32)
    view: views.View = (Relative(1),)
    staged = views.apply(view, biases)
    np.testing.assert_array_equal(staged[0], biases[0] - biases[0, 0])
    assert (staged[1] <= -(2.0**13)).all(), "float32 loses scores beside -1e9: bf16 loses them beside this"
    np.testing.assert_array_equal(staged[2], [0, -0.25, -3.5])
    np.testing.assert_array_equal(views.scatter(view, staged, biases), biases)
    staged[0, 1] = -1.5
    assert views.scatter(view, staged, biases)[0, 1] == biases[0, 0] - np.float32(1.5)
    assert views.from_json(json.loads(json.dumps(views.to_json(view))), "here") == view
    with pytest.raises(ValueError, match="no axis 1"):
        views.result_shape(view, (3,))


def test_multiples_relative_to_their_highest_and_a_number_relative_to_the_same() -> None:
    biases = np.array([[2000.5, 2001.0, 1999.0], [-1.0, 4.0, 0.0]], np.float32)
    line, number = Relative(1, -2.0, 3.0), RelativeNumber(1, -2.0, 3.0, -4000.0)
    staged = views.apply((line,), biases)
    np.testing.assert_array_equal(staged, [[-3, -4, 0], [0, -10, -2]])
    np.testing.assert_array_equal(views.apply((number,), biases), [[-5], [-4096]])
    np.testing.assert_array_equal(views.scatter((line,), staged, biases), biases)
    staged[1, 0] = -2
    assert views.scatter((line,), staged, biases)[1, 0] == 0
    np.testing.assert_array_equal(views.scatter((number,), np.zeros((2, 1)), biases), biases)
    assert views.result_shape((number,), (2, 3)) == (2, 1)
    assert views.from_json(json.loads(json.dumps(views.to_json((line, number)))), "here") == (line, number)
    for wrong in (["relative", 1], ["relative_near", 1, "2", 3.0], ["relative_number", 1, 2.0, "3", 4.0]):
        with pytest.raises(PlenaError, match="unknown view step"):
            views.from_json([wrong], "here")


@given(chains())
def test_text_round_trip(chain: tuple[tuple[int, ...], views.View]) -> None:
    _, view = chain
    assert views.from_json(json.loads(json.dumps(views.to_json(view))), "here") == view


def test_where_a_mask_is_zero() -> None:
    mask = np.array([[0, 1, 2], [3, 0, 0]])
    view = (Compare("eq", 0.0), Reshape((3, 2)))
    seen = views.apply(view, mask)
    assert seen.tolist() == [[1, 0], [0, 0], [1, 1]] and views.result_shape(view, mask.shape) == (3, 2)
    np.testing.assert_array_equal(views.scatter(view, seen, mask), mask)
    assert views.apply(view, mask > 0).tolist() == seen.tolist()
    assert views.from_json(json.loads(json.dumps(views.to_json(view))), "here") == view


@given(
    st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]),
    st.sampled_from([-1.0, 0.0, 0.5, 1.0, 7.0]),
    st.lists(st.integers(-9, 9), min_size=1),
)
def test_comparisons_are_torchs(predicate: str, number: float, values: list[int]) -> None:
    """Written back, a truth that has not changed leaves the element, another one gives an element with that truth."""
    view = (Compare(predicate, number),)
    for array in (np.array(values), np.array(values, np.float32)):
        truth = views.apply(view, array)
        expected = getattr(torch, predicate)(torch.from_numpy(array), number)
        assert truth.tolist() == expected.tolist()
        np.testing.assert_array_equal(views.scatter(view, truth, array), array)
    np.testing.assert_array_equal(views.apply(view, views.scatter(view, ~truth, array)), ~truth)


def test_bits() -> None:
    view = (Bits(),)
    mask = np.array([[0, 1], [1, 0]])
    assert views.apply(view, mask).tolist() == [[False, True], [True, False]]
    np.testing.assert_array_equal(views.scatter(view, views.apply(view, mask), mask), mask)
    with pytest.raises(ValueError, match="5 is no element of a mask"):
        views.apply(view, np.array([0, 1, 5]))
    assert views.from_json(views.to_json(view), "here") == view


def test_heads_of_a_projection() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 20))
    heads = views.apply(HEADS, x)
    for b in range(2):
        for h in range(4):
            np.testing.assert_array_equal(heads[b, h], x[b, :, 5 * h : 5 * h + 5])


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        (Reshape((3, 3)), (2, 4)),
        (Permute((0, 0)), (2, 4)),
        (Slice(1, 2, 5), (2, 4)),
        (Slice(1, 3, 2), (2, 4)),
        (Slice(2, 0, 1), (2, 4)),
        (Pad(0, -1, 0), (2, 4)),
        (Expand((3, 4)), (2, 4)),
    ],
)
def test_a_step_that_does_not_fit_is_refused(step: views.Step, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        views.result_shape((step,), shape)


@pytest.mark.parametrize("text", ["reshape", [["turn", 1]], [["reshape"]], [["slice", 0, "a", 1, 1]], [[]]])
def test_malformed_text_is_refused(text: object) -> None:
    with pytest.raises(PlenaError, match="here"):
        views.from_json(text, "here")


@given(st.data())
def test_masks_that_no_query_may_be_blind_in(data: st.DataObject) -> None:
    """They come through as they are, back too; their text is read back; one that blinds a query is refused."""
    batch, heads, queries, keys = (data.draw(st.integers(1, 4)) for _ in range(4))
    real, rows = data.draw(st.booleans()), data.draw(st.sampled_from([1, queries]))
    seen = np.array(
        data.draw(st.lists(st.booleans(), min_size=(n := batch * heads * rows * keys), max_size=n))
    ).reshape(batch, heads, rows, keys)
    upper = data.draw(st.sampled_from([(), (0,), (1,)]))
    view = (Sighted((), upper, queries, int(real)),)
    mask = np.where(seen, 0.0, -np.inf).astype(np.float32) if real else seen
    assert views.from_json(json.loads(json.dumps(views.to_json(view))), "here") == view
    assert views.result_shape(view, mask.shape) == mask.shape
    far = keys if not upper else upper[0] + 1
    visible = (
        np.arange(keys)[None, :] < np.arange(queries)[:, None] + far
        if upper
        else np.ones((queries, keys), bool)
    )
    if (seen & visible).any(-1).all():
        np.testing.assert_array_equal(views.apply(view, mask), mask)
        np.testing.assert_array_equal(views.scatter(view, views.apply(view, mask), mask), mask)
    else:
        with pytest.raises(PlenaError, match="sees no key"):
            views.apply(view, mask)
