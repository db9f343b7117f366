"""What a manifest of a program folder looks like, field by field; `check_manifest` names the first that is not so.

The schema says which values are there and of what kind. Whether they fit together (a placement its memory, an index
its list) is for those who read them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from plena.errors import PlenaError

HINT = "Compile the program again."


class Schema(ABC):
    """What a value must be."""

    @abstractmethod
    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        """The path of the first value that is wrong, and what is; None if all is as it must be."""


def _is(path: str, wanted: str, value: object) -> tuple[str, str]:
    shown = repr(value)
    return path, f"must be {wanted}, not {shown if len(shown) <= 60 else shown[:60] + '...'}"


@dataclass(frozen=True)
class Kind(Schema):
    """A plain value of one of some types; a truth value is no number. `least` bounds integers from below."""

    wanted: str
    types: tuple[type, ...]
    least: int | None = None

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        is_kind = isinstance(value, self.types) and (bool in self.types or not isinstance(value, bool))
        if is_kind and (self.least is None or cast("int", value) >= self.least):
            return None
        return _is(path, self.wanted, value)


@dataclass(frozen=True)
class Constant(Schema):
    """One certain word."""

    word: str

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        return None if value == self.word else _is(path, repr(self.word), value)


@dataclass(frozen=True)
class Maybe(Schema):
    """A value or null."""

    schema: Schema

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        return None if value is None else self.schema.problem(value, path)


@dataclass(frozen=True)
class Either(Schema):
    """One of several forms."""

    wanted: str
    schemas: tuple[Schema, ...]

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        return _is(path, self.wanted, value) if all(s.problem(value, path) for s in self.schemas) else None


@dataclass(frozen=True)
class Each(Schema):
    """A list of alike values."""

    schema: Schema

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if not isinstance(value, list):
            return _is(path, "a list", value)
        found = (self.schema.problem(item, f"{path}[{i}]") for i, item in enumerate(cast("list[Any]", value)))
        return next((problem for problem in found if problem), None)


@dataclass(frozen=True)
class Row(Schema):
    """A list of a fixed length, every place of its own kind."""

    places: tuple[Schema, ...]

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if not isinstance(value, list) or len(cast("list[Any]", value)) != len(self.places):
            return _is(path, f"a list of {len(self.places)}", value)
        places = enumerate(zip(self.places, cast("list[Any]", value), strict=True))
        found = (schema.problem(item, f"{path}[{i}]") for i, (schema, item) in places)
        return next((problem for problem in found if problem), None)


@dataclass(frozen=True)
class Named(Schema):
    """Any names, their values alike."""

    schema: Schema

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if not isinstance(value, dict):
            return _is(path, "an object", value)
        items = cast("dict[str, Any]", value).items()
        found = (self.schema.problem(item, f"{path}.{name}") for name, item in items)
        return next((problem for problem in found if problem), None)


@dataclass(frozen=True)
class Record(Schema):
    """Names that must be there and names that may; others are left to newer compilers."""

    needed: Mapping[str, Schema]
    optional: Mapping[str, Schema] = field(default_factory=dict[str, Schema])

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        if not isinstance(value, dict):
            return _is(path or "the manifest", "an object", value)
        record = cast("dict[str, Any]", value)
        for name, schema in {**self.needed, **self.optional}.items():
            at = f"{path}.{name}" if path else name
            if name in record:
                if problem := schema.problem(record[name], at):
                    return problem
            elif name in self.needed:
                return at, "is missing"
        return None


class _Anything(Schema):
    """Whatever; its reader has its own errors."""

    def problem(self, value: object, path: str) -> tuple[str, str] | None:
        return None


TEXT = Kind("a string", (str,))
TRUTH = Kind("true or false", (bool,))
FLAG = Kind("true or false, or 0 or 1", (bool, int))
WHOLE = Kind("a whole number", (int,))
COUNT = Kind("a whole number of at least 0", (int,), least=0)
NUMBER = Kind("a number", (int, float))
FIGURE = Kind("a number, true or false", (int, float, bool))
ANYTHING = _Anything()

PORT = Record({"name": TEXT, "shape": Each(COUNT), "dtype": TEXT})

REGION = Record({"name": TEXT, "memory": TEXT, "address": COUNT, "size": COUNT, "role": TEXT})

SOURCE = Either(
    "data, host, input, output, state or scratch",
    (
        Constant("scratch"),
        *(Record({kind: TEXT}) for kind in ("data", "host", "state")),
        *(Record({kind: COUNT}) for kind in ("input", "output")),
    ),
)

PLACEMENT = Record(
    {"name": TEXT, "memory": TEXT, "address": COUNT, "shape": Each(COUNT), "layout": TEXT, "format": TEXT},
    {
        "source": SOURCE,
        "padded": Each(COUNT),
        "view": Each(Each(ANYTHING)),
        "scale": NUMBER,
        "order": TEXT,
        "batch_pitch": COUNT,
        "base": COUNT,
        "scale_offset": COUNT,
        "floor": Maybe(NUMBER),
        "limit": COUNT,
        "residual": FLAG,
        "staging": TEXT,
        "routed": FLAG,
    },
)

RATIONALE = Record(
    {
        "model": TEXT,
        "options": Named(TEXT),
        "attempts": Each(
            Record({"schedule": TEXT, "static": COUNT, "cycles": COUNT, "runs": TRUTH, "taken": TRUTH})
        ),
        "curve": Each(Record({"static": COUNT, "cycles": COUNT})),
        "loops": Each(
            Record(
                {
                    "number": COUNT,
                    "depth": COUNT,
                    "trips": COUNT,
                    "choice": TEXT,
                    "why": TEXT,
                    "module": TEXT,
                    "steps": Each(TEXT),
                }
            )
        ),
    }
)

FIGURES = Record(
    {"static": COUNT, "dynamic": COUNT, "cycles": Named(COUNT)},
    {"dma_cycles": NUMBER, "utilization": Named(NUMBER)},
)

STATISTICS = Record(
    FIGURES.needed,
    {
        **FIGURES.optional,
        "loop_starts": COUNT,
        "hbm_bytes": Named(COUNT),
        "matrix_share": Named(NUMBER),
        "unsupported": Named(NUMBER),
        "unavailable": Named(TEXT),
        "modules": Named(FIGURES),
        "steps": Named(FIGURES),
        "opcodes": Named(Each(NUMBER)),
    },
)

SHARED_IMAGE = Record(
    {
        "folder": TEXT,
        "bytes": COUNT,
        "crc32": TEXT,
        "segments": Each(Row((COUNT, COUNT, COUNT))),
        "private": Each(Row((COUNT, COUNT))),
    }
)

COMPARED = Maybe(Named(FIGURE))

NEAR_TIE = Record({"where": TEXT, "token": COUNT, "expert": COUNT, "instead": COUNT, "gap": FIGURE})

GROWTH = Record({"where": TEXT, "before": FIGURE, "after": FIGURE})

CHECK = Record(
    {
        **dict.fromkeys(("machine", "quantized", "float32", "formats", "added"), COMPARED),
        "thresholds": Named(Maybe(NUMBER)),
        "changed": Each(TEXT),
    },
    {
        "magnified": COMPARED,
        "growth": Maybe(GROWTH),
        "classes": Named(Named(FIGURE)),
        "choices": Each(NEAR_TIE),
    },
)

HOST_VALUES = Record(
    {
        "values": Named(Each(Row((TEXT, Each(COUNT), Named(ANYTHING), TEXT, Each(COUNT))))),
        "constants": Each(Record({"symbol": TEXT, "dtype": TEXT, "shape": Each(COUNT), "offset": COUNT})),
    }
)

MANIFEST = Record(
    {
        "format": WHOLE,
        "files": Named(Record({"bytes": COUNT, "crc32": TEXT})),
        "target": Named(ANYTHING),
        "timing": TEXT,
        "inputs": Each(PORT),
        "outputs": Each(PORT),
        "host_values": HOST_VALUES,
        "fixed_results": Each(Row((COUNT, Maybe(FIGURE)))),
        "placements": Each(PLACEMENT),
        "memory_map": Each(REGION),
        "hbm_size": COUNT,
        "provenance": Each(Row((COUNT, TEXT, TEXT))),
        "useful_macs": Maybe(Named(COUNT)),
        "decisions": Each(TEXT),
        "rationale": Maybe(RATIONALE),
        "check": Maybe(CHECK),
    },
    {
        "compiler": Record({"name": TEXT, "version": TEXT}),
        "has_inputs": TRUTH,
        "states": Each(PORT),
        "thresholds": Named(Maybe(NUMBER)),
        "statistics": STATISTICS,
        "shared_image": SHARED_IMAGE,
    },
)
"""Every field that `save_program` writes."""


def check_manifest(manifest: object, where: str) -> None:
    """Refuses a manifest with a field that is missing or of the wrong kind.

    Raises:
        PlenaError: naming the path of the field, as in ``placements[3].shape``.
    """
    problem = MANIFEST.problem(manifest, "")
    if problem is not None:
        path, what = problem
        raise PlenaError(f"`{path}` {what}", where, HINT)
