"""The machine a program is compiled for and run on: dimensions, memories, number formats, latencies."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from plena.errors import SettingsError, did_you_mean
from plena.machine.constants import INT_LIMIT
from plena.machine.formats import Formats, FormatsLike, class_types
from plena.machine.number_formats import (
    BF16,
    MX_E4M3,
    PLAIN_BF16,
    Int,
    Mx,
    NumberFormat,
    Plain,
    Table,
    scalar_from_table,
    scalar_table,
)

if TYPE_CHECKING:
    from xdsl.dialects.builtin import DictionaryAttr, ModuleOp
    from xdsl.ir import Attribute

V = TypeVar("V")

FORMATS = "FORMATS"
"""Setting that stands for those of all HBM types."""

TARGET_ATTRIBUTE = "plena.target"
"""Name of the discardable module attribute that carries a target's overrides."""


class Latency(NamedTuple):
    """Cycles of an operation with (``en``) and without (``dis``) the DesignWare library."""

    en: int
    dis: int


class FrozenMap(Mapping[str, V]):
    """An immutable, hashable, picklable mapping with string keys."""

    def __init__(self, items: Mapping[str, V]) -> None:
        self._items: dict[str, V] = items._items if isinstance(items, FrozenMap) else dict(items)

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self is other or self._items == cast("FrozenMap[Any]", other)._items
        return super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(frozenset(self._items.items()))

    def __reduce__(self) -> tuple[type[FrozenMap[V]], tuple[dict[str, V]]]:
        return FrozenMap, (self._items,)  # without the hash, which another process has otherwise

    def __repr__(self) -> str:
        return repr(self._items)


SHIPPED_LATENCY: FrozenMap[Latency] = FrozenMap(
    {
        "SYSTOLIC_PROCESSING_OVERHEAD": Latency(0, 0),
        "VECTOR_LONGEST_OPERATE_CYCLES": Latency(10, 20),
        "VECTOR_BASIC_CYCLES": Latency(1, 2),
        "VECTOR_ADD_CYCLES": Latency(1, 2),
        "VECTOR_MUL_CYCLES": Latency(1, 5),
        "VECTOR_EXP_CYCLES": Latency(1, 6),
        "VECTOR_PREFIX_SCAN_CYCLES": Latency(9, 9),
        "VECTOR_SHIFT_CYCLES": Latency(1, 1),
        "VECTOR_RECI_CYCLES": Latency(2, 7),
        "VECTOR_MAX_CYCLES": Latency(4, 4),
        "VECTOR_SUM_CYCLES": Latency(8, 20),
        "SCALAR_FP_LONGEST_OPERATE_CYCLES": Latency(4, 4),
        "SCALAR_FP_BASIC_CYCLES": Latency(1, 1),
        "SCALAR_FP_EXP_CYCLES": Latency(1, 2),
        "SCALAR_FP_SQRT_CYCLES": Latency(1, 2),
        "SCALAR_FP_RECI_CYCLES": Latency(1, 2),
        "SCALAR_INT_BASIC_CYCLES": Latency(1, 1),
    }
)
"""The shipped latency columns (isa/plena_isa.md section 1.2)."""

SHIPPED_PRECISION: FrozenMap[NumberFormat] = FrozenMap(
    {
        "MATRIX_SRAM_TYPE": PLAIN_BF16,
        "VECTOR_SRAM_TYPE": PLAIN_BF16,
        "HBM_M_WEIGHT_TYPE": MX_E4M3,
        "HBM_M_KV_TYPE": MX_E4M3,
        "HBM_V_ACT_TYPE": MX_E4M3,
        "HBM_V_KV_TYPE": MX_E4M3,
        "HBM_V_INT_TYPE": Plain(Int(32)),
        "SCALAR_FP": Plain(BF16),
    }
)
"""The shipped number formats. ``SCALAR_FP`` is a bare scalar type in the settings file, Plain here."""

MOST = 1 << 48
"""Largest number of the configuration: squares of tile sizes and sums of addresses stay countable."""

MOST_ROWS = INT_LIMIT // 8
"""Most rows of an on-chip memory: an address has 32 bits and counts elements, a row has at least 8 of them."""

MOST_CYCLES = 1 << 20
"""Longest latency of one instruction."""

_OPTIONAL_LATENCY = frozenset({"VECTOR_LONGEST_OPERATE_CYCLES", "VECTOR_BASIC_CYCLES"})


def _setting(default: int, key: str, low: int = 1, optional: bool = False, most: int = MOST) -> Any:
    return field(default=default, metadata={"key": key, "low": low, "optional": optional, "most": most})


@dataclass(frozen=True)
class Target:
    """A PLENA machine; the defaults are the shipped settings (isa/plena_isa.md section 1.2).

    Sizes: ``matrix_sram_size`` and ``vector_sram_size`` in rows of MLEN and VLEN elements, ``hbm_size`` in
    bytes, ``fp_sram_size`` and ``int_sram_size`` in words, the prefetch and writeback amounts in rows.
    ``hbm_channels`` (a power of two) and ``hbm_generation`` (HBM2, HBM3) describe the device that transfers run on.

    DMA model (ours: the public emulator simulates DRAM; fitted to its times, section 5.6), in picoseconds,
    1000 to a cycle. A load takes ``dma_load_latency_ps`` plus ``dma_load_word_ps`` for every 64-byte word
    requested plus ``dma_load_gap_ps`` for every row that does not start where the row before it ended. A
    store takes ``dma_store_word_ps`` for every word it reads and writes back.
    """

    mlen: int = _setting(64, "MLEN")
    vlen: int = _setting(64, "VLEN")
    blen: int = _setting(4, "BLEN")
    hlen: int = _setting(16, "HLEN")
    broadcast_amount: int = _setting(4, "BROADCAST_AMOUNT")
    matrix_sram_size: int = _setting(4096, "MATRIX_SRAM_SIZE", low=0, most=MOST_ROWS)
    vector_sram_size: int = _setting(4194304, "VECTOR_SRAM_SIZE", low=0, most=MOST_ROWS)
    hbm_size: int = _setting(17179869184, "HBM_SIZE", low=0)
    hbm_width: int = _setting(512, "HBM_WIDTH", optional=True)
    hbm_m_prefetch_amount: int = _setting(64, "HBM_M_Prefetch_Amount", low=0)
    hbm_v_prefetch_amount: int = _setting(4, "HBM_V_Prefetch_Amount", low=0)
    hbm_v_writeback_amount: int = _setting(4, "HBM_V_Writeback_Amount", low=0)
    hbm_channels: int = _setting(8, "HBM_CHANNELS", optional=True)
    hbm_generation: str = field(
        default="HBM2", metadata={"key": "HBM_GEN", "choices": ("HBM2", "HBM3"), "optional": True}
    )
    dc_en: int = _setting(1, "DC_EN", low=0)
    max_loop_instructions: int = _setting(100000, "MAX_LOOP_INSTRUCTIONS")
    dma_load_latency_ps: int = _setting(18000, "DMA_LOAD_LATENCY_PS", low=0, optional=True)
    dma_load_word_ps: int = _setting(812, "DMA_LOAD_WORD_PS", low=0, optional=True)
    dma_load_gap_ps: int = _setting(889, "DMA_LOAD_GAP_PS", low=0, optional=True)
    dma_store_word_ps: int = _setting(13750, "DMA_STORE_WORD_PS", low=0, optional=True)
    latency: Mapping[str, Latency] = SHIPPED_LATENCY
    precision: Mapping[str, NumberFormat] = SHIPPED_PRECISION

    fp_sram_size = 1024
    int_sram_size = 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, "latency", FrozenMap(self.latency))
        object.__setattr__(self, "precision", FrozenMap(self.precision))

    @property
    def tile(self) -> int:
        """Elements of one matrix tile, MLEN * MLEN."""
        return self.mlen * self.mlen

    @property
    def matrix_tiles(self) -> int:
        """Tiles that matrix memory holds."""
        return self.matrix_sram_size // self.mlen

    @property
    def m_prefetch_tiles(self) -> int:
        """Tiles that one H_PREFETCH_M fills: the amount in rows, rounded up to whole tiles, at least one."""
        return max(1, -(-self.hbm_m_prefetch_amount // self.mlen))

    @property
    def has_broadcast(self) -> bool:
        """Whether the broadcast matrix instructions work: BROADCAST_AMOUNT * HLEN == MLEN, HLEN > 1."""
        return self.broadcast_amount * self.hlen == self.mlen and self.hlen > 1

    def cycles(self, key: str) -> int:
        """Cycles of a latency key in the column that DC_EN selects."""
        latency = self.latency[key]
        return latency.en if self.dc_en else latency.dis

    @staticmethod
    def from_toml(path: str | Path) -> Target:
        """Read section TRANSACTIONAL of a settings file; keys beyond the known ones are ignored.

        Raises:
            SettingsError: the file cannot be read, a required key is missing, or a value is malformed.
        """
        where = str(path)
        try:
            document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"cannot read the settings file: {error.strerror}", where) from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"not a TOML file: {error}", where) from None
        return _from_sections(document, where)

    def with_settings(self, settings: Mapping[str, object]) -> Target:
        """A copy with overrides, keys as in the settings file.

        A CONFIG key takes an int; a LATENCY key an int (both columns) or
        ``{"dc_lib_en": n, "dc_lib_dis": n}``; a PRECISION key the whole table. Dots reach inside:
        ``"PRECISION.HBM_M_WEIGHT_TYPE.block": 16``,
        ``"LATENCY.VECTOR_ADD_CYCLES.dc_lib_en": 3``; the section names may be left out. ``"FORMATS"`` sets
        the four HBM types by the name of a preset or by class (plena.machine.formats), ``"FORMATS.weights"`` those of
        one class.

        Raises:
            SettingsError: an unknown key (with close matches) or a malformed value.
        """
        target = self
        for key, value in settings.items():
            if key == FORMATS:
                target = target.with_formats(_text(key, value))
            elif key.startswith(f"{FORMATS}."):
                types = class_types(key.removeprefix(f"{FORMATS}."), _text(key, value))
                target = replace(target, precision={**target.precision, **types})
            else:
                target = _override(target, key, value)
        return target

    @property
    def formats(self) -> Formats:
        """The number formats of the HBM types by class of tensors.

        Raises:
            SettingsError: keys and values have two types, or a type is none that the machine can hold.
        """
        return Formats.of_types(self.precision)

    def with_formats(self, formats: FormatsLike) -> Target:
        """A copy with these formats of the HBM types.

        Raises:
            SettingsError: no formats of that name.
        """
        return replace(self, precision={**self.precision, **Formats.of(formats).types})

    def settings(self) -> dict[str, int | str | Table]:
        """The overrides over the shipped settings: ``Target().with_settings(t.settings()) == t``."""
        shipped = Target()
        overrides: dict[str, int | str | Table] = {}
        for key, name in CONFIG_FIELDS.items():
            if getattr(self, name) != getattr(shipped, name):
                overrides[key] = getattr(self, name)
        for key, latency in self.latency.items():
            if latency != SHIPPED_LATENCY[key]:
                overrides[key] = {"dc_lib_en": latency.en, "dc_lib_dis": latency.dis}
        for key, number_format in self.precision.items():
            if number_format != SHIPPED_PRECISION[key]:
                overrides[key] = _precision_table(key, number_format)
        return overrides

    def attach(self, module: ModuleOp) -> None:
        """Record this target on a module as the attribute ``plena.target``; the shipped one leaves none."""
        overrides = self.settings()
        if overrides:
            module.attributes[TARGET_ATTRIBUTE] = _to_attribute(overrides)
        else:
            module.attributes.pop(TARGET_ATTRIBUTE, None)

    @staticmethod
    def from_module(module: ModuleOp) -> Target:
        """The target a module was made for; the shipped one if it carries none.

        Raises:
            SettingsError: the attribute is not a dictionary of known settings.
        """
        attribute = module.attributes.get(TARGET_ATTRIBUTE)
        if attribute is None:
            return Target()
        return _of_attribute(attribute)

    def validate(self) -> None:
        """Check that a compiler can use this machine.

        Raises:
            SettingsError: all the dimensions that do not fit together, in one message.
        """
        problems = list(self._problems())
        if problems:
            raise SettingsError("; ".join(problems), "target", "Change the settings so that these hold.")

    def _problems(self) -> Iterator[str]:
        if self.vlen != self.mlen:
            yield f"VLEN must equal MLEN (VLEN = {self.vlen}, MLEN = {self.mlen})"
        if self.mlen % self.blen:
            yield f"BLEN must divide MLEN (BLEN = {self.blen}, MLEN = {self.mlen})"
        if self.vlen % self.hlen:
            yield f"HLEN must divide VLEN (HLEN = {self.hlen}, VLEN = {self.vlen})"
        if self.vlen < 8:
            yield f"VLEN must be at least 8 (VLEN = {self.vlen})"
        if self.matrix_tiles < self.m_prefetch_tiles:
            yield (
                f"matrix memory must hold one prefetch of {self.m_prefetch_tiles} tiles "
                f"(MATRIX_SRAM_SIZE = {self.matrix_sram_size} rows is {self.matrix_tiles} tiles)"
            )
        if self.vector_sram_size < 1:
            yield "VECTOR_SRAM_SIZE must be at least one row"
        if self.hbm_size % 64:
            yield f"HBM_SIZE must be a multiple of 64 bytes (HBM_SIZE = {self.hbm_size})"
        for key in ("hbm_v_prefetch_amount", "hbm_v_writeback_amount"):
            if getattr(self, key) < 1:
                yield f"{FIELD_KEYS[key]} must be at least one row"
        for key in ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"):
            yield from self._format_problems(key, self.precision[key])

    def _format_problems(self, key: str, number_format: NumberFormat) -> Iterator[str]:
        if number_format.element_bits not in (8, 16):
            yield f"{key}: elements must have 8 or 16 bits (they have {number_format.element_bits})"
        if isinstance(number_format, Mx):
            if self.mlen % number_format.block:
                yield f"{key}: block must divide MLEN (block = {number_format.block}, MLEN = {self.mlen})"
            elif number_format.scale_bytes(self.mlen) > 64:
                yield f"{key}: the scales of one row must fit in 64 bytes (block = {number_format.block})"


CONFIG_FIELDS: dict[str, str] = {f.metadata["key"]: f.name for f in fields(Target) if "key" in f.metadata}
"""Settings key -> field of Target, for the integer settings."""

FIELD_KEYS: dict[str, str] = {name: key for key, name in CONFIG_FIELDS.items()}

_FIELDS = {f.name: f for f in fields(Target)}


def _from_sections(document: Mapping[str, object], where: str) -> Target:
    section = _table(document, "TRANSACTIONAL", where)
    config = _table(section, "CONFIG", f"{where}: TRANSACTIONAL")
    latency = _table(section, "LATENCY", f"{where}: TRANSACTIONAL")
    precision = _table(section, "PRECISION", f"{where}: TRANSACTIONAL")
    overrides: dict[str, object] = {}
    for key, name in CONFIG_FIELDS.items():
        if key in config or not _FIELDS[name].metadata["optional"]:
            entry = _table(config, key, f"{where}: TRANSACTIONAL.CONFIG")
            overrides[key] = _present(entry, "value", f"{where}: TRANSACTIONAL.CONFIG.{key}")
    for key in SHIPPED_LATENCY:
        if key in latency or key not in _OPTIONAL_LATENCY:
            columns = _table(latency, key, f"{where}: TRANSACTIONAL.LATENCY")
            for column in ("dc_lib_en", "dc_lib_dis"):
                _present(columns, column, f"{where}: TRANSACTIONAL.LATENCY.{key}")
            overrides[key] = columns
    for key in SHIPPED_PRECISION:
        overrides[key] = _table(precision, key, f"{where}: TRANSACTIONAL.PRECISION")
    try:
        return Target().with_settings(overrides)
    except SettingsError as error:
        raise SettingsError(error.what, f"{where}: {error.where}", error.hint) from None


def _present(table: Mapping[str, object], key: str, where: str) -> object:
    if key not in table:
        raise SettingsError(f"`{key}` is missing", where)
    return table[key]


def _table(parent: Mapping[str, object], key: str, where: str) -> dict[str, object]:
    value = _present(parent, key, where)
    if not isinstance(value, dict):
        raise SettingsError(f"`{key}` must be a table, not {value!r}", where)
    return {str(name): entry for name, entry in value.items()}


def _override(target: Target, key: str, value: object) -> Target:
    parts = key.split(".")
    if parts[0] == "TRANSACTIONAL":
        parts = parts[1:]
    section = parts[0] if len(parts) > 1 and parts[0] in ("CONFIG", "LATENCY", "PRECISION") else None
    name, inner = (parts[1], parts[2:]) if section else (parts[0] if parts else "", parts[1:])
    if name in CONFIG_FIELDS and not inner and section in (None, "CONFIG"):
        return replace(target, **{CONFIG_FIELDS[name]: _config_value(name, value)})
    if name in target.latency and len(inner) <= 1 and section in (None, "LATENCY"):
        column = {inner[0]: value} if inner else value
        return replace(target, latency={**target.latency, name: _latency(target.latency[name], key, column)})
    if name in target.precision and section in (None, "PRECISION"):
        table: object = value
        if inner:
            table = _replaced(_precision_table(name, target.precision[name]), inner, value, key)
        return replace(target, precision={**target.precision, name: _precision(name, table)})
    raise _unknown(key, name)


def _unknown(key: str, name: str) -> SettingsError:
    known = [FORMATS, *CONFIG_FIELDS, *SHIPPED_LATENCY, *SHIPPED_PRECISION]
    hint = did_you_mean(name, known, 3) or "See the keys of plena_settings.toml."
    return SettingsError(f"unknown setting `{key}`", "settings", hint.rstrip())


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"must be text, not {value!r}", key)
    return value


def _config_value(key: str, value: object) -> int | str:
    metadata = _FIELDS[CONFIG_FIELDS[key]].metadata
    choices: tuple[str, ...] = metadata.get("choices", ())
    if choices:
        if value not in choices:
            raise SettingsError(f"must be {' or '.join(choices)}, not {value!r}", key)
        return str(value)
    low: int = metadata["low"]
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"must be an integer, not {value!r}", key)
    if value < low:
        raise SettingsError(f"must be at least {low}, not {value}", key)
    most: int = metadata["most"]
    if value > most:
        raise SettingsError(f"must be at most {most}, not {value}", key)
    return value


def _latency(old: Latency, key: str, value: object) -> Latency:
    columns: dict[str, object] = {"dc_lib_en": old.en, "dc_lib_dis": old.dis}
    if isinstance(value, Mapping):
        given = {str(name): cycles for name, cycles in value.items()}
        inside = {name: cycles for name, cycles in given.items() if name in columns}
        if not inside:
            raise SettingsError(f"needs `dc_lib_en` and `dc_lib_dis`, not {sorted(given)}", key)
        columns.update(inside)
    else:
        columns = dict.fromkeys(columns, value)
    for name, cycles in columns.items():
        if isinstance(cycles, bool) or not isinstance(cycles, int) or cycles < 0:
            raise SettingsError(f"`{name}` must be a number of cycles, not {cycles!r}", key)
        if cycles > MOST_CYCLES:
            raise SettingsError(f"`{name}` must be at most {MOST_CYCLES} cycles, not {cycles}", key)
    return Latency(int(str(columns["dc_lib_en"])), int(str(columns["dc_lib_dis"])))


def _precision_table(key: str, number_format: NumberFormat) -> Table:
    return scalar_table(number_format.element) if key == "SCALAR_FP" else number_format.table()


def _precision(key: str, table: object) -> NumberFormat:
    if not isinstance(table, Mapping):
        raise SettingsError(f"must be a table, not {table!r}", key)
    if key == "SCALAR_FP" and "DATA_TYPE" not in table:
        return Plain(scalar_from_table(table, key))
    return NumberFormat.from_table(table, key)


def _replaced(table: Table, path: list[str], value: object, key: str) -> dict[str, object]:
    copy: dict[str, object] = dict(table)
    if path[0] not in copy:
        raise SettingsError(f"unknown setting `{key}`", "settings", f"It has {', '.join(sorted(copy))}.")
    inside = copy[path[0]]
    if len(path) == 1:
        copy[path[0]] = value
    elif isinstance(inside, dict):
        copy[path[0]] = _replaced(inside, path[1:], value, key)
    else:
        raise SettingsError(f"`{path[0]}` has no parts", f"settings `{key}`")
    return copy


def _to_attribute(value: Mapping[str, Any]) -> DictionaryAttr:
    from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, i64

    entries: dict[str, Attribute] = {}
    for key, entry in value.items():
        if isinstance(entry, bool):
            entries[key] = IntegerAttr.from_bool(entry)
        elif isinstance(entry, int):
            entries[key] = IntegerAttr(entry, i64)
        elif isinstance(entry, str):
            entries[key] = StringAttr(entry)
        else:
            entries[key] = _to_attribute(entry)
    return DictionaryAttr(entries)


@lru_cache(maxsize=32)
def _of_attribute(attribute: Attribute) -> Target:
    """The target that a module's attribute describes: every pass asks for it."""
    overrides = _from_attribute(attribute, TARGET_ATTRIBUTE)
    if not isinstance(overrides, dict):
        raise SettingsError("must be a dictionary of settings", TARGET_ATTRIBUTE)
    return Target().with_settings(overrides)


def _from_attribute(attribute: Attribute, where: str) -> int | str | dict[str, object]:
    from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, StringAttr, i1

    match attribute:
        case DictionaryAttr():
            return {key: _from_attribute(entry, f"{where}.{key}") for key, entry in attribute.data.items()}
        case IntegerAttr():
            return bool(attribute.value.data) if attribute.type == i1 else attribute.value.data
        case StringAttr():
            return attribute.data
        case _:
            raise SettingsError(f"unexpected attribute {attribute}", where)
