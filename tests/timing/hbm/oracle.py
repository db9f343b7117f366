"""The HBM device once more, slowly: every rule as it is stated, on plain lists, for comparison."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

GAPS = {"HBM2": 2, "HBM3": 4}

WITHIN_CHANNEL = {("ACT", "ACT"): 2, ("ACT", "PRE"): 2}
WITHIN_GROUP = {("ACT", "ACT"): 3, ("RD", "RD"): 2, ("WR", "WR"): 2, ("WR", "RD"): 10}
WITHIN_BANK = {
    ("ACT", "ACT"): 19,
    ("ACT", "RD"): 7,
    ("ACT", "WR"): 7,
    ("ACT", "PRE"): 17,
    ("PRE", "ACT"): 7,
    ("RD", "PRE"): 3,
    ("WR", "PRE"): 14,
}


def within_pseudo_channel(generation: str) -> dict[tuple[str, str], int]:
    gap = GAPS[generation]
    return {("ACT", "ACT"): 2, ("RD", "RD"): gap, ("WR", "WR"): gap, ("RD", "WR"): 11, ("WR", "RD"): 9}


@dataclass
class Request:
    address: int
    kind: str
    arrival: int
    transfer: int
    pseudo: int
    group: int
    bank: int
    row: int

    @property
    def place(self) -> tuple[int, int, int]:
        return self.pseudo, self.group, self.bank


@dataclass
class Channel:
    generation: str
    reads: list[Request] = field(default_factory=list)
    writes: list[Request] = field(default_factory=list)
    active: list[Request] = field(default_factory=list)
    due: list[tuple[int, int]] = field(default_factory=list)
    rows: dict[tuple[int, int, int], int] = field(default_factory=dict)
    issued: list[tuple[int, str, tuple[int, int, int]]] = field(default_factory=list)
    write_mode: bool = False

    def command(self, request: Request) -> str:
        if request.place not in self.rows:
            return "ACT"
        if self.rows[request.place] != request.row:
            return "PRE"
        return request.kind

    def may_issue(self, command: str, place: tuple[int, int, int], clock: int) -> bool:
        recent = [entry for entry in self.issued if clock - entry[0] < 20]
        for when, before, where in recent:
            demands = [(WITHIN_CHANNEL, True), (within_pseudo_channel(self.generation), where[0] == place[0])]
            demands += [(WITHIN_GROUP, where[:2] == place[:2]), (WITHIN_BANK, where == place)]
            if any(same and clock - when < table.get((before, command), 0) for table, same in demands):
                return False
        if command == "ACT":
            activations = [when for when, c, where in recent if c == "ACT" and where[0] == place[0]]
            return len(activations) < 4 or clock - activations[-4] >= 15
        return True

    def best(self, requests: list[Request], clock: int) -> Request | None:
        ready = [r for r in requests if self.may_issue(self.command(r), r.place, clock)]
        return min(ready, key=lambda r: r.arrival, default=None)

    def tick(self, clock: int, completed: dict[int, int], writes_complete: bool) -> None:
        if self.due and self.due[0][0] <= clock:
            completed[self.due.pop(0)[1]] += 1
        source = self.active
        request = self.best(source, clock)
        if request is None:
            if self.write_mode:
                self.write_mode = not (len(self.writes) < 7 and self.reads)
            else:
                self.write_mode = len(self.writes) > 25 or not self.reads
            source = self.writes if self.write_mode else self.reads
            request = self.best(source, clock)
        if request is None:
            return
        command = self.command(request)
        if command == "PRE" and any(r.place == request.place for r in self.active):
            return
        self.issued.append((clock, command, request.place))
        if command == "ACT":
            self.rows[request.place] = request.row
            if source is not self.active and len(self.active) <= 32:
                source.remove(request)
                self.active.append(request)
        elif command == "PRE":
            del self.rows[request.place]
        else:
            source.remove(request)
            if command == "RD":
                self.due.append((clock + 11, request.transfer))
            elif writes_complete:
                self.due.append((clock + 1, request.transfer))


class Oracle:
    """A device, and transfers one at a time on it."""

    def __init__(self, channels: int, generation: str, writes_complete: bool) -> None:
        self.channels = [Channel(generation) for _ in range(channels)]
        self.writes_complete = writes_complete
        self.clock = -1
        self.completed: dict[int, int] = defaultdict(int)
        self.transfers = 0

    def tick(self) -> None:
        self.clock += 1
        for channel in self.channels:
            channel.tick(self.clock, self.completed, self.writes_complete)

    def channel_of(self, address: int) -> int:
        return self.located(address, "RD", 0)[0]

    def located(self, byte_address: int, kind: str, transfer: int) -> tuple[int, Request]:
        count = len(self.channels)
        bits = count.bit_length() - 1
        a = byte_address >> 4
        column, a = a & 3, a >> 2
        channel, a = a & (count - 1), a >> bits
        pseudo, a = a & 1, a >> 1
        group, a = a & 3, a >> 2
        bank, a = a & 3, a >> 2
        column, row = column | (a & 7) << 2, a >> 3
        channel ^= column & (count - 1)
        pseudo ^= column >> bits & 1
        group ^= column >> (bits + 1) & 3
        bank ^= column >> (bits + 3) & 3
        return channel, Request(byte_address, kind, self.clock, transfer, pseudo, group, bank, row)

    def accepts(self, byte_address: int, kind: str, transfer: int) -> bool:
        number, request = self.located(byte_address, kind, transfer)
        channel = self.channels[number]
        if kind == "RD" and any(w.address == byte_address for w in channel.writes):
            channel.due.append((self.clock + 1, transfer))
            return True
        queue = channel.reads if kind == "RD" else channel.writes
        if len(queue) > 32:
            return False
        queue.append(request)
        return True

    def start(self, at: int) -> int:
        while self.clock < at - 1:
            self.tick()
        self.transfers += 1
        return self.transfers

    def finish(self, pending: list[list[tuple[int, str]]], transfer: int, expected: int) -> None:
        """Offers the queues of requests, each in its order, until all are taken and `expected` are complete."""
        while True:
            for queue in pending:
                while queue and self.accepts(*queue[0], transfer):
                    queue.pop(0)
            if self.completed[transfer] == expected and not any(pending):
                return
            self.tick()

    def requests(self, words: list[int], kind: str) -> list[tuple[int, str]]:
        return [(word * 64 + part, kind) for word in words for part in (0, 16, 32, 48)]

    def load(self, words: list[int], at: int) -> int:
        self.finish([self.requests(words, "RD")], self.start(at), 4 * len(words))
        return max(self.clock, at)

    def store(self, words: list[int], at: int) -> int:
        self.start(at)
        for word in words:
            self.transfers += 1
            self.finish([self.requests([word], "RD")], self.transfers, 4)
            self.transfers += 1
            self.finish([self.requests([word], "WR")], self.transfers, 0)
        return max(self.clock, at)

    def at_once(self, words: list[int], kind: str, at: int) -> int:
        by_channel: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for address, _ in self.requests(words, kind):
            by_channel[self.channel_of(address)].append((address, kind))
        self.finish(list(by_channel.values()), self.start(at), 4 * len(words))
        return max(self.clock, at)
