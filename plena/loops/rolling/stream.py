"""Straight-line code as arrays, and rolled code as a tree over their positions.

A *token* is an instruction, or the begin or the end of a loop that is already there. Two tokens with the same signature
may be the same instruction of a loop body in two iterations; what may differ between them is in the constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """Tokens of one block in order; n tokens, w address operands at most.

    Attributes:
        signature: int64[n], equal numbers for tokens that differ at most in the constants below: mnemonic, register
            cells, flags, the variable part of every address, and the trip count for a loop's begin.
        constants: int64[n, w], the constant part of every address operand (its immediate added), zero where a token
            has fewer.
        symbols: int64[n, s], for addresses with numbers loaded in this block (S_LD_INT): the position of the token
            that loads it, -1 elsewhere. Their coefficients are part of the signature.
        depth: int64[n], open loops before the token; a new loop can only begin and end at depth 0.
        weight: float64[n], what the token costs in straight-line code, in static instructions: itself and its share
            of pointer updates (see `weights`).
    """

    signature: Ints
    constants: Ints
    symbols: Ints
    depth: Ints
    weight: NDArray[np.float64]

    @staticmethod
    def of(
        signature: Sequence[int] | Ints,
        constants: Ints,
        *,
        symbols: Ints | None = None,
        depth: Sequence[int] | Ints | None = None,
        weight: NDArray[np.float64] | None = None,
    ) -> Stream:
        """A stream with the optional parts filled in: no symbols, no loops, weights from the constants' width."""
        ids = np.asarray(signature, dtype=np.int64)
        count = len(ids)
        if weight is None:
            weight = weights(np.full(count, constants.shape[1]))
        return Stream(
            ids,
            np.ascontiguousarray(constants, dtype=np.int64),
            np.full((count, 0), -1, dtype=np.int64) if symbols is None else symbols,
            np.zeros(count, dtype=np.int64) if depth is None else np.asarray(depth, dtype=np.int64),
            weight,
        )

    def __len__(self) -> int:
        return len(self.signature)


def weights(pointers: Ints) -> NDArray[np.float64]:
    """Static instructions of tokens in straight-line code: one, and half an update per operand without an immediate.

    Args:
        pointers: how many address operands of each token cannot take their constant from an immediate field.
    """
    return np.asarray(1.0 + 0.5 * pointers, dtype=np.float64)


@dataclass(frozen=True)
class Span:
    """The tokens `start` to `stop - 1` as they are."""

    start: int
    stop: int


@dataclass(frozen=True)
class Repeat:
    """A loop of `count` iterations; `body` covers the first one, tokens `start` to `start + period - 1`.

    Every constant of token x advances by `constants[x + period] - constants[x]` per iteration.
    """

    start: int
    period: int
    count: int
    body: tuple[Node, ...]

    @property
    def stop(self) -> int:
        """One past the last token of the last iteration."""
        return self.start + self.period * self.count


Node: TypeAlias = Span | Repeat


def static_size(nodes: Sequence[Node]) -> int:
    """Static tokens of rolled code: every token once, two for each loop."""
    return sum(n.stop - n.start if isinstance(n, Span) else 2 + static_size(n.body) for n in nodes)


@dataclass(frozen=True)
class Replay:
    """What rolled code executes: the first-iteration token of every step, its constants and its symbols."""

    token: Ints
    constants: Ints
    symbols: Ints


def replay(stream: Stream, nodes: Sequence[Node]) -> Replay:
    """Runs rolled code over a stream: equal to the stream itself when the rolling is exact."""
    parts = [_replay_node(stream, node) for node in nodes]
    if not parts:
        return Replay(np.zeros(0, np.int64), stream.constants[:0], stream.symbols[:0])
    return Replay(
        np.concatenate([p.token for p in parts]),
        np.concatenate([p.constants for p in parts]),
        np.concatenate([p.symbols for p in parts]),
    )


def _replay_node(stream: Stream, node: Node) -> Replay:
    if isinstance(node, Span):
        places = slice(node.start, node.stop)
        return Replay(np.arange(node.start, node.stop), stream.constants[places], stream.symbols[places])
    once = replay(stream, node.body)
    step = stream.constants[once.token + node.period] - stream.constants[once.token]
    iteration = np.arange(node.count)[:, None, None]
    size = node.count * len(once.token)
    constants = (once.constants + iteration * step).reshape(size, step.shape[1])
    inside = once.symbols >= node.start
    symbols = np.where(inside, once.symbols + iteration * node.period, once.symbols)
    return Replay(np.tile(once.token, node.count), constants, symbols.reshape(size, once.symbols.shape[1]))


def is_exact(stream: Stream, nodes: Sequence[Node]) -> bool:
    """Whether rolled code executes exactly the tokens of the stream."""
    run = replay(stream, nodes)
    return (
        len(run.token) == len(stream)
        and bool(np.array_equal(stream.signature[run.token], stream.signature))
        and bool(np.array_equal(run.constants, stream.constants))
        and bool(np.array_equal(run.symbols, stream.symbols))
    )
