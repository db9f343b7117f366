"""A machine with persistent state that runs programs or single words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plena.backend.assembly import encode, parse_asm
from plena.backend.emulator import aborts
from plena.backend.emulator.decoding import DecodedProgram, as_words, decode_program
from plena.backend.emulator.run_loop import (
    CYCLES,
    DEADLINE,
    DEPTH,
    EXECUTED,
    MORE,
    MORE_LOOPS,
    NEVER,
    PC,
    Progress,
    run,
)
from plena.backend.emulator.state import (
    BYTES_READ,
    BYTES_WRITTEN,
    DMA_PS,
    LOOP_BEGAN,
    LOOP_CYCLES,
    LOOP_ENTERED,
    LOOP_PC,
    State,
    lazy_zeros,
    reset_state,
)
from plena.backend.scalar_codes import bf16_bits, bf16_from_bits, bf16_round
from plena.errors import EmulatorError, PlenaError
from plena.target import Target

Words: TypeAlias = "Sequence[int] | NDArray[np.uint32] | str"
ProgressCallback: TypeAlias = Callable[[int, int], None]
"""Called several times a second with the instructions executed and the cycles spent so far."""

_FIRST_CHUNK = 20_000
_CHUNK_SECONDS = 0.2
_LOOP_COLUMNS = 5
_PS_PER_CYCLE = 1000


@dataclass(frozen=True)
class LoopCount:
    """What a hardware loop did in a run, inner loops included, DMA waits not."""

    iterations: int
    instructions: int
    cycles: int


@dataclass(frozen=True)
class EmulationResult:
    """The machine after a run, and what the run counted.

    Attributes:
        vram_bits: uint16 ``[rows, VLEN]``, bf16 bits.
        mram_bits: uint16 ``[tiles, MLEN, MLEN]``, bf16 bits of what the matrix memory dump shows.
        hbm: uint8 ``[HBM_SIZE]``; large memories are mapped lazily, look only at the parts you need.
        fp_sram_bits: uint16 ``[1024]``, bf16 bits.
        int_sram: uint32 ``[1024]``.
        gp, fp, hb: final registers: uint32 ``[16]``, float32 ``[8]`` holding bf16 values, uint64 ``[16]``.
        cycles: of all instructions but DMA, exact.
        dma_cycles: waits for HBM by the model stated in ``Target``.
        executed: dynamic instructions.
        counters: mnemonic -> dynamic instructions, only those that ran.
        hbm_bytes_read, hbm_bytes_written: 64 for each word access.
        loops: index of the C_LOOP_START -> what the loop did.
        executed_at: int64 ``[n]`` executions of each instruction.
        cycles_at: int64 ``[n]`` cycles of one execution of each instruction (0 for DMA).
        dma_cycles_at: float64 ``[n]`` DMA waits of each instruction over the run.
        vram_touched: indices of the vector rows ever written, preload included.
    """

    vram_bits: NDArray[np.uint16]
    mram_bits: NDArray[np.uint16]
    hbm: NDArray[np.uint8]
    fp_sram_bits: NDArray[np.uint16]
    int_sram: NDArray[np.uint32]
    gp: NDArray[np.uint32]
    fp: NDArray[np.float32]
    hb: NDArray[np.uint64]
    cycles: int
    dma_cycles: int
    executed: int
    counters: dict[str, int]
    hbm_bytes_read: int
    hbm_bytes_written: int
    loops: dict[int, LoopCount]
    executed_at: NDArray[np.int64]
    cycles_at: NDArray[np.int64]
    dma_cycles_at: NDArray[np.float64]
    vram_touched: NDArray[np.int64]


class Machine:
    """A machine whose registers and memories persist between runs.

    ``gp``, ``fp``, ``hb``, ``vram``, ``mram``, ``fp_sram``, ``int_sram`` and ``hbm`` are the live arrays (bf16 data
    as float32). Writing rows of ``vram`` directly does not mark them as touched: use ``write_vram``.

    Args:
        target: the machine's settings.
        hbm: bytes from address 0.
        fp_sram: floats, rounded through fp16 to bf16 as the preload file is.
        int_sram: words, modulo 2^32.
        vram: bf16 bits (uint16) or floats from element 0; excess is ignored.

    Raises:
        EmulatorError: a preload is larger than its memory, or HBM_SIZE is not a multiple of 64.
        SettingsError: the target's dimensions do not fit together.
    """

    target: Target
    state: State

    def __init__(
        self,
        target: Target | None = None,
        hbm: bytes | bytearray | memoryview | NDArray[Any] = b"",
        fp_sram: ArrayLike = (),
        int_sram: ArrayLike = (),
        vram: ArrayLike | None = None,
    ) -> None:
        self.target = target or Target()
        self.state = reset_state(self.target)
        self._preload_hbm(hbm)
        self._preload_fp_sram(fp_sram)
        self._preload_int_sram(int_sram)
        if vram is not None:
            self.write_vram(0, vram)

    @property
    def gp(self) -> NDArray[np.uint32]:
        """gp registers, uint32 ``[16]``."""
        return self.state.gp

    @property
    def fp(self) -> NDArray[np.float32]:
        """f registers, float32 ``[8]`` that bf16 holds exactly."""
        return self.state.fp

    @property
    def hb(self) -> NDArray[np.uint64]:
        """HBM base registers a0.., uint64 ``[16]``."""
        return self.state.hb

    @property
    def vram(self) -> NDArray[np.float32]:
        """Vector memory, float32 ``[rows, VLEN]``."""
        return self.state.vram

    @property
    def mram(self) -> NDArray[np.float32]:
        """Matrix memory, float32 ``[tiles, MLEN, MLEN]``."""
        return self.state.mram

    @property
    def fp_sram(self) -> NDArray[np.float32]:
        """FP SRAM, float32 ``[1024]``."""
        return self.state.fp_sram

    @property
    def int_sram(self) -> NDArray[np.uint32]:
        """INT SRAM, uint32 ``[1024]``."""
        return self.state.int_sram

    @property
    def hbm(self) -> NDArray[np.uint8]:
        """HBM, uint8 ``[HBM_SIZE]``."""
        return self.state.hbm

    def write_vram(self, address: int, values: ArrayLike) -> None:
        """Write bf16 bits (uint16) or floats to vector memory from an element address; excess is ignored."""
        array = np.asarray(values).reshape(-1)
        lanes = bf16_from_bits(array) if array.dtype == np.uint16 else bf16_round(array.astype(np.float32))
        flat = self.state.vram.reshape(-1)
        count = min(lanes.size, flat.size - address)
        if count > 0:
            flat[address : address + count] = lanes[:count]
            first, last = address // self.target.vlen, (address + count - 1) // self.target.vlen
            self.state.vram_touched[first : last + 1] = 1

    def execute(self, word: int) -> None:
        """Execute one instruction word on the present state; its cycles are not counted.

        Raises:
            EmulatorError: the instruction aborts. Loop instructions need a program: use ``run``.
        """
        program = decode_program(as_words([word]), self.target)
        mnemonic = program.mnemonic(0)
        if mnemonic in ("C_LOOP_START", "C_LOOP_END", "C_BREAK"):
            raise PlenaError(f"{mnemonic} cannot be executed alone", "emulator", "Run the whole program.")
        _Run(self, program).until_end(None)

    def run(self, words: Words, progress: ProgressCallback | None = None) -> EmulationResult:
        """Run a program from its first word on the present state.

        Args:
            words: 32-bit words, or assembly text.
            progress: called several times a second; an exception from it ends the run, state kept.

        Raises:
            EmulatorError: the program aborts, or a word cannot be loaded.
            AssemblyError: the text cannot be parsed.
        """
        program = decode_program(_assembled(words), self.target)
        self.state.traffic[:] = 0
        run = _Run(self, program)
        run.until_end(progress)
        return run.result()

    def _preload_hbm(self, hbm: bytes | bytearray | memoryview | NDArray[Any]) -> None:
        if isinstance(hbm, np.ndarray):
            data = np.ascontiguousarray(hbm).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(hbm, np.uint8)
        _require_room("HBM", data.size, self.state.hbm.size, "bytes")
        self.state.hbm[: data.size] = data

    def _preload_fp_sram(self, fp_sram: ArrayLike) -> None:
        with np.errstate(over="ignore"):
            values = np.asarray(fp_sram, dtype=np.float16).reshape(-1)
        _require_room("FP SRAM", values.size, self.state.fp_sram.size, "words")
        self.state.fp_sram[: values.size] = bf16_round(values.astype(np.float32))

    def _preload_int_sram(self, int_sram: ArrayLike) -> None:
        values = np.asarray(int_sram).reshape(-1)
        _require_room("INT SRAM", values.size, self.state.int_sram.size, "words")
        if values.size and values.dtype.kind not in "iu":
            raise PlenaError("INT SRAM takes whole numbers", "emulator")
        self.state.int_sram[: values.size] = values.astype(np.int64) & 0xFFFFFFFF


class _Run:
    """One run of a program: the counters and the compiled loop."""

    def __init__(self, machine: Machine, program: DecodedProgram) -> None:
        self._machine = machine
        self._program = program
        n = len(program.words)
        counters = [np.zeros(n, np.int64) for _ in range(5)]
        position = np.zeros(5, np.int64)
        position[DEADLINE] = NEVER
        self._progress = Progress(position, np.zeros((16, _LOOP_COLUMNS), np.int64), *counters)

    def until_end(self, progress: ProgressCallback | None) -> None:
        program, state = self._program, self._machine.state
        chunk = _FIRST_CHUNK
        while True:
            started = time.perf_counter()
            limit = int(self._progress.position[EXECUTED]) + chunk
            status = int(run(program.rows, program.cycles, state, self._progress, limit))
            if status == aborts.OK:
                return
            if status == MORE_LOOPS:
                self._grow_loops()
            elif status != MORE:
                raise self._abort(status)
            else:
                seconds = max(time.perf_counter() - started, 1e-4)
                chunk = max(1000, min(chunk * 4, int(chunk * _CHUNK_SECONDS / seconds)))
                if progress is not None:
                    progress(self._position(EXECUTED), self._position(CYCLES))

    def _position(self, which: int) -> int:
        return int(self._progress.position[which])

    def _grow_loops(self) -> None:
        more = np.zeros((len(self._progress.loops), _LOOP_COLUMNS), np.int64)
        self._progress = self._progress._replace(loops=np.concatenate([self._progress.loops, more]))

    def _abort(self, status: int) -> EmulatorError:
        index = self._position(PC)
        facts = tuple(int(fact) for fact in self._machine.state.facts)
        if status == aborts.LOOP_WATCHDOG:
            opened = self._progress.loops[: self._position(DEPTH)]
            culprit = opened[np.argmin(opened[:, LOOP_BEGAN])]
            facts = (int(culprit[LOOP_PC]), self._machine.target.max_loop_instructions)
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
        by_opcode = np.bincount(self._program.words & np.uint32(63), weights=self._progress.executed)
        first = {int(word) & 63: index for index, word in reversed(list(enumerate(self._program.words)))}
        names = {opcode: self._program.mnemonic(index) for opcode, index in first.items()}
        return {names[opcode] or "INVALID": int(count) for opcode, count in enumerate(by_opcode) if count > 0}

    def result(self) -> EmulationResult:
        state, target, p = self._machine.state, self._machine.target, self._progress
        touched = np.flatnonzero(state.vram_touched)
        vram_bits = lazy_zeros(state.vram.shape, np.uint16)
        vram_bits[touched] = state.vram_bits[touched] >> np.uint32(16)
        tiles = np.flatnonzero(state.mram_touched)
        mram_bits = lazy_zeros((target.matrix_tiles, target.mlen, target.mlen), np.uint16)
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
            vram_touched=touched,
        )


def _require_room(memory: str, size: int, capacity: int, unit: str) -> None:
    if size > capacity:
        raise EmulatorError(
            "preload-too-large", f"the preload of {size} {unit} does not fit {memory}, which holds {capacity}"
        )


def _assembled(words: Words | Iterable[int]) -> NDArray[np.uint32]:
    if isinstance(words, str):
        return encode(parse_asm(words))
    return as_words(words)


def emulate(
    words_or_asm: Words,
    hbm: bytes | bytearray | memoryview | NDArray[Any] = b"",
    fp_sram: ArrayLike = (),
    int_sram: ArrayLike = (),
    vram: ArrayLike | None = None,
    target: Target | None = None,
    progress: ProgressCallback | None = None,
) -> EmulationResult:
    """Run a program on a freshly reset machine; arguments as of ``Machine`` and ``Machine.run``.

    Raises:
        EmulatorError: the program aborts: ``abort_class``, ``index``, ``mnemonic`` and ``reason`` say how.
        AssemblyError: the text cannot be parsed.
        SettingsError: the target's dimensions do not fit together.
    """
    return Machine(target, hbm, fp_sram, int_sram, vram).run(words_or_asm, progress)
