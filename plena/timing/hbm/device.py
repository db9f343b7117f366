"""HBM as the emulators model it: channels with queues, banks with open rows, commands with minimum distances.

One tick is a nanosecond. The rules are those of the DRAM simulator under the public emulator as its branches patch it:
requests of 16 bytes, first-ready first-come scheduling, reads before writes, no refresh.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plena.errors import SettingsError
from plena.jit import Int, compiled
from plena.timing.stream.lines import I64

BANKS = 32
"""Of one channel: 2 pseudo channels of 4 bank groups of 4 banks."""

QUEUE = 33
"""Requests that a queue of a channel holds."""

DONE = 4096
"""Completions of a channel that may wait; a ring."""

READ, WRITE, ACTIVE = 0, 1, 2
"""The lists of a channel."""

BANK, ROW, ARRIVAL, ADDRESS, IS_WRITE, AGENT = range(6)
"""Columns of a request: its bank in the channel, its row, the cycle when it was accepted, its 16-byte address, whether
it writes, and which transfer waits for it."""

NO_COMMAND, ACT, PRE, RD, WR = range(5)

_CH_ACT, _CH_PRE = 0, 1
_PC, _PC_SIZE = 2, 8
_PC_ACT, _PC_RD, _PC_WR, _PC_WINDOW, _PC_NEXT = 0, 1, 2, 3, 7
_BG, _BG_SIZE = _PC + 2 * _PC_SIZE, 3
_BANK, _BANK_SIZE = _BG + 8 * _BG_SIZE, 4
TIMES = _BANK + BANKS * _BANK_SIZE
"""Numbers that say from when on a command may be issued, by channel, pseudo channel, bank group and bank."""
_U_ACT, _U_RD, _U_WR, _U_PRE = range(4)

READ_LATENCY = 11
"""Cycles from the read command to its data."""

HORIZON = 20
"""No minimum distance between two commands is longer."""

CLOCK, CHANNELS, BUS_GAP, WRITES_COMPLETE, WAITING, LAST = range(6)
"""Positions in `Device.facts`: the last cycle that was simulated; channels; cycles between two bursts of a pseudo
channel; whether a write is reported back; requests in queues and completions that were not taken; when the last
command was issued."""

GENERATIONS = {"HBM2": 2, "HBM3": 4}
"""Cycles between two bursts of a pseudo channel."""


class Device(NamedTuple):
    """State of the device, all int64.

    ``facts``; ``open_row[channels, BANKS]``, -1 = closed; ``times[channels, TIMES]``; ``lengths[channels, 3]``
    of ``queue[channels, 3, QUEUE, 6]``; ``writing[channels]``; the ring ``due[channels, DONE]`` and
    ``whose[channels, DONE]`` with ``done[channels, 2]`` = first and length; ``outstanding[agents]`` requests that a
    transfer waits for.
    """

    facts: I64
    open_row: I64
    times: I64
    lengths: I64
    queue: I64
    writing: I64
    due: I64
    whose: I64
    done: I64
    outstanding: I64


def new_device(channels: int, generation: str, writes_complete: bool) -> Device:
    """A device with all banks closed, at time 0.

    Args:
        generation: a key of GENERATIONS.
        writes_complete: whether the transfer that made a write request waits for it.

    Raises:
        SettingsError: the channels are no power of two.
    """
    if channels & (channels - 1):
        raise SettingsError(
            f"must be a power of two, not {channels}", "HBM_CHANNELS", "The mapping of addresses takes bits."
        )
    times = np.full((channels, TIMES), -1000, np.int64)
    times[:, [_PC + _PC_NEXT, _PC + _PC_SIZE + _PC_NEXT]] = 0
    return Device(
        np.array([-1, channels, GENERATIONS[generation], int(writes_complete), 0, -1000], np.int64),
        np.full((channels, BANKS), -1, np.int64),
        times,
        np.zeros((channels, 3), np.int64),
        np.zeros((channels, 3, QUEUE, 6), np.int64),
        np.zeros(channels, np.int64),
        np.zeros((channels, DONE), np.int64),
        np.zeros((channels, DONE), np.int64),
        np.zeros((channels, 2), np.int64),
        np.zeros(3, np.int64),
    )


@compiled
def place(address: Int, channels: Int) -> tuple[Int, Int, Int]:
    """Channel, bank in it and row of a 16-byte unit of memory."""
    a = address
    column = a & 3
    a >>= 2
    channel = a & (channels - 1)
    bits = 0
    while 1 << bits < channels:
        bits += 1
    a >>= bits
    pseudo = a & 1
    a >>= 1
    group = a & 3
    a >>= 2
    bank = a & 3
    a >>= 2
    column |= (a & 7) << 2
    a >>= 3
    channel ^= column & (channels - 1)
    pseudo ^= (column >> bits) & 1
    group ^= (column >> (bits + 1)) & 3
    bank ^= (column >> (bits + 3)) & 3
    return channel, pseudo * 16 + group * 4 + bank, a


@compiled
def offer(d: Device, address: Int, is_write: Int, agent: Int) -> bool:
    """Offers a request to its channel.

    Returns:
        Whether it was accepted: there is room in the queue, or a waiting write has the data that it reads.
    """
    channel, bank, row = place(address, d.facts[CHANNELS])
    if is_write == 0:
        for i in range(d.lengths[channel, WRITE]):
            if d.queue[channel, WRITE, i, ADDRESS] == address:
                return _complete_later(d, channel, d.facts[CLOCK] + 1, agent)
    length = d.lengths[channel, is_write]
    if length >= QUEUE:
        return False
    request = d.queue[channel, is_write, length]
    request[BANK], request[ROW], request[ARRIVAL] = bank, row, d.facts[CLOCK]
    request[ADDRESS], request[IS_WRITE], request[AGENT] = address, is_write, agent
    d.lengths[channel, is_write] = length + 1
    d.facts[WAITING] += 1
    return True


@compiled
def _complete_later(d: Device, channel: Int, due: Int, agent: Int) -> bool:
    length = d.done[channel, 1]
    if length == DONE:
        return False
    at = (d.done[channel, 0] + length) % DONE
    d.due[channel, at] = due
    d.whose[channel, at] = agent
    d.done[channel, 1] = length + 1
    d.facts[WAITING] += 1
    return True


@compiled
def _command(d: Device, channel: Int, request: I64) -> Int:
    opened = d.open_row[channel, request[BANK]]
    if opened < 0:
        return ACT
    if opened != request[ROW]:
        return PRE
    return WR if request[IS_WRITE] else RD


@compiled
def _issuable(times: I64, command: Int, bank: Int, clock: Int) -> bool:
    pseudo = _PC + (bank >> 4) * _PC_SIZE
    group = _BG + (bank >> 2) * _BG_SIZE
    own = _BANK + bank * _BANK_SIZE
    if command == RD:
        return (
            times[pseudo + _PC_RD] <= clock and times[group + _U_RD] <= clock and times[own + _U_RD] <= clock
        )
    if command == WR:
        return (
            times[pseudo + _PC_WR] <= clock and times[group + _U_WR] <= clock and times[own + _U_WR] <= clock
        )
    if command == PRE:
        return times[_CH_PRE] <= clock and times[own + _U_PRE] <= clock
    oldest = times[pseudo + _PC_WINDOW + times[pseudo + _PC_NEXT]]
    return (
        times[_CH_ACT] <= clock
        and times[pseudo + _PC_ACT] <= clock
        and oldest <= clock
        and times[group + _U_ACT] <= clock
        and times[own + _U_ACT] <= clock
    )


@compiled
def is_position(position: Int) -> bool:
    """Whether a number among `times` is a position, no time."""
    return position == _PC + _PC_NEXT or position == _PC + _PC_SIZE + _PC_NEXT


@compiled
def _later(times: I64, at: Int, clock: Int) -> None:
    times[at] = max(times[at], clock)


@compiled
def _note(times: I64, command: Int, bank: Int, clock: Int, gap: Int) -> None:
    """Enters the distances that an issued command demands of later ones."""
    pseudo = _PC + (bank >> 4) * _PC_SIZE
    group = _BG + (bank >> 2) * _BG_SIZE
    own = _BANK + bank * _BANK_SIZE
    if command == ACT:
        _later(times, _CH_ACT, clock + 2)
        _later(times, _CH_PRE, clock + 2)
        _later(times, pseudo + _PC_ACT, clock + 2)
        position = times[pseudo + _PC_NEXT]
        times[pseudo + _PC_WINDOW + position] = clock + 15
        times[pseudo + _PC_NEXT] = (position + 1) & 3
        _later(times, group + _U_ACT, clock + 3)
        _later(times, own + _U_ACT, clock + 19)
        _later(times, own + _U_RD, clock + 7)
        _later(times, own + _U_WR, clock + 7)
        _later(times, own + _U_PRE, clock + 17)
    elif command == PRE:
        _later(times, own + _U_ACT, clock + 7)
    elif command == RD:
        _later(times, pseudo + _PC_RD, clock + gap)
        _later(times, pseudo + _PC_WR, clock + 11)
        _later(times, group + _U_RD, clock + 2)
        _later(times, own + _U_PRE, clock + 3)
    else:
        _later(times, pseudo + _PC_WR, clock + gap)
        _later(times, pseudo + _PC_RD, clock + 9)
        _later(times, group + _U_WR, clock + 2)
        _later(times, group + _U_RD, clock + 10)
        _later(times, own + _U_PRE, clock + 14)


@compiled
def _best(d: Device, channel: Int, which: Int, clock: Int) -> tuple[Int, Int]:
    """The request of a list to go on with: its position and its command, or no command if it may not be issued."""
    best, command, arrival = -1, NO_COMMAND, 0
    for i in range(d.lengths[channel, which]):
        request = d.queue[channel, which, i]
        if command != NO_COMMAND and request[ARRIVAL] >= arrival:
            continue
        following = _command(d, channel, request)
        if _issuable(d.times[channel], following, request[BANK], clock):
            best, command, arrival = i, following, request[ARRIVAL]
    return best, command


@compiled
def _remove(d: Device, channel: Int, which: Int, position: Int) -> None:
    for i in range(position, d.lengths[channel, which] - 1):
        d.queue[channel, which, i] = d.queue[channel, which, i + 1]
    d.lengths[channel, which] -= 1


@compiled
def _next_queue(d: Device, channel: Int) -> Int:
    """The queue that is served now: reads, unless many writes wait or no read does."""
    reads, writes = d.lengths[channel, READ], d.lengths[channel, WRITE]
    if d.writing[channel]:
        if writes < 7 and reads > 0:
            d.writing[channel] = 0
    elif writes > 25 or reads == 0:
        d.writing[channel] = 1
    return WRITE if d.writing[channel] else READ


@compiled
def _serve(d: Device, channel: Int, clock: Int) -> None:
    """At most one command of a channel."""
    which = ACTIVE
    position, command = _best(d, channel, ACTIVE, clock)
    if command == NO_COMMAND:
        which = _next_queue(d, channel)
        position, command = _best(d, channel, which, clock)
        if command == NO_COMMAND:
            return
    request = d.queue[channel, which, position]
    bank = request[BANK]
    if command == PRE:
        for i in range(d.lengths[channel, ACTIVE]):
            if d.queue[channel, ACTIVE, i, BANK] == bank:
                return
    d.facts[LAST] = clock
    _note(d.times[channel], command, bank, clock, d.facts[BUS_GAP])
    if command == ACT:
        d.open_row[channel, bank] = request[ROW]
        length = d.lengths[channel, ACTIVE]
        if which != ACTIVE and length < QUEUE:
            d.queue[channel, ACTIVE, length] = request
            d.lengths[channel, ACTIVE] = length + 1
            _remove(d, channel, which, position)
    elif command == PRE:
        d.open_row[channel, bank] = -1
    else:
        agent, writes = request[AGENT], request[IS_WRITE]
        _remove(d, channel, which, position)
        d.facts[WAITING] -= 1
        if not writes:
            _complete_later(d, channel, clock + READ_LATENCY, agent)
        elif d.facts[WRITES_COMPLETE]:
            _complete_later(d, channel, clock + 1, agent)


@compiled
def tick(d: Device) -> None:
    """The next cycle of all channels."""
    clock = d.facts[CLOCK] + 1
    d.facts[CLOCK] = clock
    for channel in range(d.facts[CHANNELS]):
        first, length = d.done[channel, 0], d.done[channel, 1]
        if length and d.due[channel, first] <= clock:
            d.outstanding[d.whose[channel, first]] -= 1
            d.done[channel, 0] = (first + 1) % DONE
            d.done[channel, 1] = length - 1
            d.facts[WAITING] -= 1
        if d.lengths[channel, READ] + d.lengths[channel, WRITE] + d.lengths[channel, ACTIVE]:
            _serve(d, channel, clock)
        else:
            _next_queue(d, channel)


@compiled
def catch_up(d: Device, clock: Int) -> None:
    """The cycles up to `clock`; a device without requests only gets older."""
    while d.facts[CLOCK] < clock and d.facts[WAITING]:
        tick(d)
    if d.facts[CLOCK] < clock:
        for channel in range(d.facts[CHANNELS]):
            _next_queue(d, channel)
        d.facts[CLOCK] = clock
