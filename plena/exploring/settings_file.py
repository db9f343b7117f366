"""A machine as a settings file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from plena.machine.number_formats import scalar_table
from plena.machine.target import CONFIG_FIELDS, Target


def settings_text(target: Target, title: str, options: Mapping[str, Any]) -> str:
    """Section TRANSACTIONAL as `Target.from_toml` reads it, with the options that go with it as comments."""
    return "\n".join(_lines(target, title, options)) + "\n"


def _lines(target: Target, title: str, options: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {' '.join(title.split())}"
    for name, value in options.items():
        yield f"# {name} = {'none' if value is None else _value(value)}"
    for key, name in CONFIG_FIELDS.items():
        yield f"\n[TRANSACTIONAL.CONFIG.{key}]\nvalue = {_value(getattr(target, name))}"
    for key, latency in target.latency.items():
        yield f"\n[TRANSACTIONAL.LATENCY.{key}]\ndc_lib_en = {latency.en}\ndc_lib_dis = {latency.dis}"
    for key, number_format in target.precision.items():
        table = scalar_table(number_format.element) if key == "SCALAR_FP" else number_format.table()
        yield f"\n[TRANSACTIONAL.PRECISION.{key}]"
        yield from (f"{name} = {_value(value)}" for name, value in table.items())


def _value(value: Any) -> str:
    """A TOML value; tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(entry)}" for key, entry in value.items()) + " }"
    return json.dumps(value)
