"""Making a value that no track holds: the cheapest way, and its instructions."""

from __future__ import annotations

from typing import Any

from plena.jit import Int, compiled
from plena.machine.constants import IMMEDIATE_LIMIT, INT_LIMIT
from plena.registers.addressing.belady.contents import emit, leader, put
from plena.registers.addressing.belady.future import build_cost
from plena.registers.addressing.belady.tables import (
    ADD,
    ADDI,
    BUILD,
    COMBINE,
    LOAD,
    LUI,
    NEVER,
    NONE,
    RELOAD,
    SHIFT,
    SUB,
    ZERO,
    Registers,
    Times,
)
from plena.registers.addressing.belady.victims import choose, evict
from plena.registers.addressing.values import CONSTANT


@compiled
def recipe(f: Registers, cls: Int, constant: Int) -> Any:
    """The cheapest way to make a value: cost in instructions, kind, source track, number (gap or slot)."""
    ages = f.counts[0].ages
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls and 0 <= constant - f.constant[track] < IMMEDIATE_LIMIT:
            return 1, ADDI, track, constant - f.constant[track]
    if cls == CONSTANT and build_cost(constant) == 1:
        return 1, BUILD, ZERO, constant
    slot = f.slot[cls]
    if slot >= 0 and f.saved[cls] == constant:
        return 1, LOAD, ZERO, slot
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls:
            gap = constant - f.constant[track]
            if leader(f, CONSTANT, abs(gap) % INT_LIMIT) >= 0:
                return 1, COMBINE, track, gap
    if cls == CONSTANT:
        return 2, BUILD, ZERO, constant
    cost, kind, source, number = NEVER, SHIFT, ZERO, 0
    for i in range(ages):
        track = f.order[i]
        if f.cls[track] == cls:
            gap = constant - f.constant[track]
            this = 1 + build_cost(abs(gap) % INT_LIMIT)
            if this < cost or (this == cost and abs(gap) < abs(number)):
                cost, source, number = this, track, gap
    if slot >= 0:
        gap = constant - f.saved[cls]
        this = 2 if 0 <= gap < IMMEDIATE_LIMIT else 2 + build_cost(abs(gap) % INT_LIMIT)
        if this < cost or (this == cost and abs(gap) < abs(number)):
            cost, kind, source, number = this, RELOAD, ZERO, gap
    return cost, kind, source, number


@compiled
def create(f: Registers, t: Times, cls: Int, constant: Int, time: Int, locked: Int, target: Int) -> Int:
    """Emits the instructions that make a value, in `target` or (-2) a track chosen by Belady's rule."""
    while True:
        _, kind, source, number = recipe(f, cls, constant)
        if kind == RELOAD:
            slot, held = f.slot[cls], f.saved[cls]
            near = 0 <= number < IMMEDIATE_LIMIT
            spare = target if near else NONE
            if spare < 0:
                blocked = locked | 1 << target if target >= 0 else locked
                spare = choose(f, t, cls, held, time, blocked)
            evict(f, t, spare, time, cls)
            emit(f, LOAD, spare, ZERO, ZERO, slot)
            put(f, spare, cls, held)
            if near:
                emit(f, ADDI, spare, spare, ZERO, number)
                put(f, spare, cls, constant)
                return spare
            continue
        if kind in (SHIFT, COMBINE):
            return _create_by_step(f, t, cls, constant, time, locked, target, kind, source, number)
        if target < 0:
            target = choose(f, t, cls, constant, time, locked)
        evict(f, t, target, time, cls)
        if kind == ADDI:
            emit(f, ADDI, target, source, ZERO, number)
        elif kind == LOAD:
            emit(f, LOAD, target, ZERO, ZERO, number)
        else:
            _build(f, target, number)
        put(f, target, cls, constant)
        return target


@compiled
def _create_by_step(
    f: Registers,
    t: Times,
    cls: Int,
    constant: Int,
    time: Int,
    locked: Int,
    target: Int,
    kind: Int,
    source: Int,
    gap: Int,
) -> Int:
    """Makes a value from a track with a number in another one: it lies below, or out of an immediate's reach."""
    magnitude = abs(gap) % INT_LIMIT
    mnemonic = ADD if gap > 0 else SUB
    if kind == COMBINE:
        helper = leader(f, CONSTANT, magnitude)
        if target < 0:
            target = choose(f, t, cls, constant, time, locked)
        evict(f, t, target, time, cls)
    else:
        f.wanted[f.counts[0].wanted] = magnitude
        f.counts[0].wanted += 1
        if target < 0:
            target = choose(f, t, cls, constant, time, locked | 1 << source)
        if target == source:
            helper = choose(f, t, CONSTANT, magnitude, time, locked | 1 << source)
            evict(f, t, helper, time, -1)
        else:
            helper = target
            evict(f, t, target, time, cls)
        _build(f, helper, magnitude)
        if helper != target:
            put(f, helper, CONSTANT, magnitude)
    emit(f, mnemonic, target, source, helper, 0)
    put(f, target, cls, constant)
    return target


@compiled
def _build(f: Registers, track: Int, constant: Int) -> None:
    """Emits the one or two instructions that make a number from nothing."""
    if constant < IMMEDIATE_LIMIT:
        emit(f, ADDI, track, ZERO, ZERO, constant)
        return
    emit(f, LUI, track, ZERO, ZERO, constant % INT_LIMIT >> 12)
    if constant % 4096:
        emit(f, ADDI, track, track, ZERO, constant % 4096)
