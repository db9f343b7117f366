"""A machine with persistent state that runs programs or single words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plena.assembly import encode, parse_asm
from plena.dialects.plena_isa import OPCODES, Integer
from plena.emulator.decoding import DecodedProgram, as_words, decode_program
from plena.emulator.program_run import ProgramRun, ProgressCallback, integers_of
from plena.emulator.result import EmulationResult
from plena.emulator.state import State, reset_state
from plena.errors import EmulatorError, PlenaError
from plena.host.mapped_image import copy_written
from plena.machine.scalar_codes import bf16_from_bits, bf16_round, scalar_bf16_round
from plena.machine.target import Target

Words: TypeAlias = "Sequence[int] | NDArray[np.uint32] | str"


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
        in_place: whether `hbm`, an array of HBM_SIZE bytes that may be written, is the memory itself and not copied.

    Raises:
        EmulatorError: a preload is larger than its memory, or HBM_SIZE is not a multiple of 64.
        PlenaError: `in_place` with anything else.
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
        *,
        in_place: bool = False,
    ) -> None:
        self.target = target or Target()
        self.state = reset_state(self.target)
        self._decoded: dict[int, DecodedProgram] = {}
        if in_place:
            self.state = self.state._replace(hbm=_memory(hbm, self.target.hbm_size))
        else:
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
        array = _numbers(values, "vector memory").reshape(-1)
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
        program = self._decoded.get(word)
        if program is None:
            program = self._decoded[word] = decode_program(as_words([word]), self.target)
        spec = OPCODES.get(word & 63)
        if spec is not None and spec.integer in (Integer.LOOP_START, Integer.LOOP_END, Integer.BREAK):
            raise PlenaError(
                f"{spec.mnemonic} cannot be executed alone", "emulator", "Run the whole program."
            )
        ProgramRun(self.state, program, self.target).until_end()

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
        self.state.hbm_touched[:] = 0
        run, before = ProgramRun(self.state, program, self.target), integers_of(self.state)
        run.until_end(progress)
        return run.result(before)

    def _preload_hbm(self, hbm: bytes | bytearray | memoryview | NDArray[Any]) -> None:
        if isinstance(hbm, np.ndarray):
            data = np.ascontiguousarray(hbm).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(hbm, np.uint8)
        _require_room("HBM", data.size, self.state.hbm.size, "bytes")
        copy_written(data, self.state.hbm)

    def _preload_fp_sram(self, fp_sram: ArrayLike) -> None:
        with np.errstate(over="ignore"):
            values = _numbers(fp_sram, "FP SRAM").astype(np.float16).reshape(-1)
        _require_room("FP SRAM", values.size, self.state.fp_sram.size, "words")
        self.state.fp_sram[: values.size] = scalar_bf16_round(values.astype(np.float32))

    def _preload_int_sram(self, int_sram: ArrayLike) -> None:
        values = _numbers(int_sram, "INT SRAM").reshape(-1)
        _require_room("INT SRAM", values.size, self.state.int_sram.size, "words")
        if values.size and values.dtype.kind not in "iu":
            raise PlenaError("INT SRAM takes whole numbers", "emulator")
        self.state.int_sram[: values.size] = values.astype(np.int64) & 0xFFFFFFFF


def _memory(hbm: Any, size: int) -> NDArray[np.uint8]:
    """An array as the memory itself."""
    if not (isinstance(hbm, np.ndarray) and hbm.dtype == np.uint8 and hbm.shape == (size,)):
        raise PlenaError(f"only an array of {size} bytes can be HBM itself", "emulator")
    if not (hbm.flags.writeable and hbm.flags.c_contiguous):
        raise PlenaError("an array that is HBM itself must be contiguous and may be written", "emulator")
    return np.asarray(hbm)


def _numbers(values: Any, memory: str) -> NDArray[Any]:
    """An array of whatever holds numbers, torch tensors of any type included.

    Raises:
        PlenaError: it holds something else.
    """
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise PlenaError(f"{memory} takes numbers, not {type(values).__name__}", "emulator")
    return array


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
    *,
    in_place: bool = False,
) -> EmulationResult:
    """Run a program on a freshly reset machine; arguments as of ``Machine`` and ``Machine.run``.

    Raises:
        EmulatorError: the program aborts: ``abort_class``, ``index``, ``mnemonic`` and ``reason`` say how.
        AssemblyError: the text cannot be parsed.
        SettingsError: the target's dimensions do not fit together.
    """
    return Machine(target, hbm, fp_sram, int_sram, vram, in_place=in_place).run(words_or_asm, progress)


def warm_up() -> None:
    """Compile the emulator, or load it from the disk cache: the first call after an installation takes long."""
    Machine(Target(vector_sram_size=1, hbm_size=0)).run([])
