"""What each track holds: looking a value up, changing what is held, logging an instruction."""

from __future__ import annotations

from plena.jit import Int, compiled
from plena.machine.constants import IMMEDIATE_LIMIT
from plena.registers.addressing.belady.tables import NONE, ZERO, Registers
from plena.registers.addressing.values import CONSTANT


@compiled
def put(f: Registers, track: Int, cls: Int, constant: Int) -> None:
    """Records that a track now holds a value; class -1: nothing."""
    old, was = f.cls[track], f.constant[track]
    if old >= 0:
        count, kept, heir = f.counts[0].ages, 0, NONE
        for i in range(count):
            other = f.order[i]
            if other == track:
                continue
            f.order[kept] = other
            kept += 1
            if f.cls[other] == old and f.constant[other] == was:
                heir = other
        f.counts[0].ages = kept
        if f.lead[track]:
            f.lead[track] = False
            if heir >= 0:
                f.lead[heir] = True
    f.cls[track], f.constant[track] = cls, constant
    f.next_exact[track] = -1
    if cls >= 0:
        f.touched[track] = True
        f.lead[track] = leader(f, cls, constant) < 0
        f.order[f.counts[0].ages] = track
        f.counts[0].ages += 1


@compiled
def leader(f: Registers, cls: Int, constant: Int) -> Int:
    """The first track with exactly this value."""
    for track in range(f.cls.shape[0]):
        if f.lead[track] and f.cls[track] == cls and f.constant[track] == constant:
            return track
    return NONE


@compiled
def find(f: Registers, cls: Int, constant: Int, has_immediate: Int, excluded: Int) -> Int:
    """A track that serves a read, the zero register included; `excluded` is a set of tracks."""
    if cls == CONSTANT and constant == 0:
        return ZERO
    track = leader(f, cls, constant)
    if track >= 0 and not excluded >> track & 1:
        return track
    if has_immediate and cls == CONSTANT and 0 <= constant < IMMEDIATE_LIMIT:
        return ZERO
    for i in range(f.counts[0].ages):
        track = f.order[i]
        if f.cls[track] != cls or excluded >> track & 1:
            continue
        gap = constant - f.constant[track]
        if gap == 0 or (has_immediate and 0 < gap < IMMEDIATE_LIMIT):
            return track
    return NONE


@compiled
def constant_of(f: Registers, track: Int) -> Int:
    """The constant part of what a track holds; 0 for the zero register."""
    return f.constant[track] if track != ZERO else 0


@compiled
def emit(f: Registers, mnemonic: Int, dst: Int, a: Int, b: Int, imm: Int) -> None:
    """Logs an instruction."""
    action = f.actions[f.counts[0].actions]
    action.mnemonic, action.dst, action.a, action.b, action.imm = mnemonic, dst, a, b, imm
    f.counts[0].actions += 1
