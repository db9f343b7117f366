"""Driving the compiled loop: chunks, progress, abort messages, counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from plena.assembly import columns, decode
from plena.dialects.plena_isa import OPCODES
from plena.emulator import aborts
from plena.emulator.decoding import DecodedProgram
from plena.emulator.extensions import EXTENSIONS
from plena.emulator.result import EmulationResult, LoopCount
from plena.emulator.run_loop import (
    CYCLES,
    DEADLINE,
    DEPTH,
    EXECUTED,
    EXTENSION,
    MORE,
    MORE_LOOPS,
    NEVER,
    PC,
    Progress,
    run,
)
from plena.emulator.state import (
    BYTES_READ,
    BYTES_WRITTEN,
    DMA_PS,
    LOOP_BEGAN,
    LOOP_CYCLES,
    LOOP_ENTERED,
    LOOP_PC,
    State,
    lazy_zeros,
)
from plena.errors import EmulatorError
from plena.machine.scalar_codes import bf16_bits
from plena.machine.target import Target
from plena.timing.run import Registers, Run
from plena.timing.with_memory import Latencies

ProgressCallback: TypeAlias = Callable[[int, int], None]
"""Called several times a second with the instructions executed and the cycles spent so far."""

_FIRST_CHUNK = 20_000
_CHUNK_SECONDS = 0.2
_LOOP_COLUMNS = 5
_PS_PER_CYCLE = 1000


class ProgramRun:
    """One run of a program on a state: the counters and the chunks of the compiled loop."""

    def __init__(self, state: State, program: DecodedProgram, target: Target) -> None:
        self._state = state
        self._target = target
        self._program = program
        self._extended = False
        n = len(program.words)
        counters = [np.zeros(n, np.int64) for _ in range(5)]
        position = np.zeros(5, np.int64)
        position[DEADLINE] = NEVER
        self._progress = Progress(position, np.zeros((16, _LOOP_COLUMNS), np.int64), *counters)

    def until_end(self, progress: ProgressCallback | None = None) -> None:
        """Run to the end of the program; between chunks call ``progress`` and let signals through.

        Raises:
            EmulatorError: the program aborts.
        """
        program, state = self._program, self._state
        chunk = _FIRST_CHUNK
        while True:
            started = time.perf_counter()
            limit = int(self._progress.position[EXECUTED]) + chunk
            status = int(run(program.rows, program.cycles, state, self._progress, limit))
            if status == aborts.OK:
                return
            if status == MORE_LOOPS:
                self._grow_loops()
            elif status == EXTENSION:
                self._extension()
            elif status != MORE:
                raise self._abort(status)
            else:
                seconds = max(time.perf_counter() - started, 1e-4)
                chunk = max(1000, min(chunk * 4, int(chunk * _CHUNK_SECONDS / seconds)))
                if progress is not None:
                    progress(self._position(EXECUTED), self._position(CYCLES))

    def _extension(self) -> None:
        """Executes the instruction at the pc by its own kernel and goes on behind it."""
        word = int(self._program.words[self._position(PC)])
        spec = OPCODES[word & 63]
        if not self._extended:  # Which may write anywhere.
            self._state.hbm_touched[:] = 1
            self._extended = True
        status = EXTENSIONS[spec.semantics](self._state, spec.fields_of(word))
        if status != aborts.OK:
            raise self._abort(status)
        self._progress.position[PC] += 1

    def _position(self, which: int) -> int:
        return int(self._progress.position[which])

    def _grow_loops(self) -> None:
        more = np.zeros((len(self._progress.loops), _LOOP_COLUMNS), np.int64)
        self._progress = self._progress._replace(loops=np.concatenate([self._progress.loops, more]))

    def _abort(self, status: int) -> EmulatorError:
        index = self._position(PC)
        facts = tuple(int(fact) for fact in self._state.facts)
        if status == aborts.LOOP_WATCHDOG:
            opened = self._progress.loops[: self._position(DEPTH)]
            culprit = opened[np.argmin(opened[:, LOOP_BEGAN])]
            facts = (int(culprit[LOOP_PC]), self._target.max_loop_instructions)
        elif status == aborts.BAD_OPCODE:
            facts = (int(self._program.words[index]) & 63,)
        return aborts.abort_error(status, facts, index, self._program.mnemonic(index))

    def _loops(self) -> dict[int, LoopCount]:
        p = self._progress
        for opened in p.loops[: self._position(DEPTH)]:
            p.instructions[opened[LOOP_PC]] += self._position(EXECUTED) - opened[LOOP_ENTERED]
            p.cycles[opened[LOOP_PC]] += self._position(CYCLES) - opened[LOOP_CYCLES]
        return {
            int(start): LoopCount(int(p.iterations[start]), int(p.instructions[start]), int(p.cycles[start]))
            for start in np.flatnonzero(p.iterations)
        }

    def _counters(self) -> dict[str, int]:
        opcodes = self._program.words & np.uint32(63)
        by_opcode = np.bincount(opcodes, weights=self._progress.executed)
        return {OPCODES[int(opcode)].mnemonic: int(by_opcode[opcode]) for opcode in np.flatnonzero(by_opcode)}

    def result(self, before: Registers) -> EmulationResult:
        """The machine's memories and registers now, with the counts of this run, which began with some registers."""
        state, p = self._state, self._progress
        touched = np.flatnonzero(state.vram_touched.view(np.bool_))
        vram_bits = lazy_zeros(state.vram.shape, np.uint16)
        vram_bits[touched] = state.vram_bits[touched] >> np.uint32(16)
        tiles = np.flatnonzero(state.mram_touched.view(np.bool_))
        mram_bits = lazy_zeros(state.mram.shape, np.uint16)
        mram_bits[tiles] = bf16_bits(state.mram[tiles])
        return EmulationResult(
            vram_bits=vram_bits,
            mram_bits=mram_bits,
            hbm=state.hbm,
            fp_sram_bits=bf16_bits(state.fp_sram),
            int_sram=state.int_sram.copy(),
            gp=state.gp.copy(),
            fp=state.fp.copy(),
            hb=state.hb.copy(),
            cycles=self._position(CYCLES),
            dma_cycles=-(-int(state.traffic[DMA_PS]) // _PS_PER_CYCLE),
            executed=self._position(EXECUTED),
            counters=self._counters(),
            hbm_bytes_read=int(state.traffic[BYTES_READ]),
            hbm_bytes_written=int(state.traffic[BYTES_WRITTEN]),
            loops=self._loops(),
            executed_at=p.executed,
            cycles_at=self._program.cycles,
            dma_cycles_at=p.dma_ps / _PS_PER_CYCLE,
            hbm_written=np.flatnonzero(state.hbm_touched),
            vram_touched=touched,
            latency=Latencies(lambda: self._as_run(before)),
        )

    def _as_run(self, before: Registers) -> Run:
        """The program as timing profiles see it."""
        table = columns(decode(self._program.words))
        return Run(table.opcodes, table.values, self._progress.executed, (), self._target, before)


def integers_of(state: State) -> Registers:
    """What addresses are computed from, as it is now."""
    return Registers(
        gp=state.gp.astype(np.int64),
        bases=state.hb.astype(np.int64),
        sticky=state.sticky[:2].astype(np.int64),
        int_sram=state.int_sram.astype(np.int64),
    )
