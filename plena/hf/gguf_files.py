"""What a GGUF file says of a model and transformers does not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plena.errors import PlenaError

DIVISORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
"""Tensors by which the frequencies of the rotary embedding are divided; Llama 3.1 and later have the first."""


def check_file(path: Path, model: Any) -> None:
    """Refuse a file that says what the model made of it does not do: positions, windows, tensors.

    Args:
        path: a GGUF file; the package gguf must be there.
        model: what transformers made of the file.

    Raises:
        PlenaError: the model that was loaded is not the one in the file.
    """
    from gguf import GGUFReader  # pyright: ignore[reportMissingImports]

    reader: Any = GGUFReader(path)
    config = model.config.get_text_config()
    lost = [
        *_scaling(reader, config),
        *_base(reader, config),
        *_window(reader, config),
        *_tensors(reader, model),
    ]
    if lost:
        raise PlenaError(
            f"transformers does not read all that it says: {'; '.join(lost)}",
            str(path),
            "Load the model from safetensors, or with config= of the original (AutoModelForCausalLM."
            "from_pretrained(folder, gguf_file=..., config=...)), and give the model.",
        )


def _scaling(reader: Any, config: Any) -> Iterator[str]:
    """Scaled rotary frequencies in the file if the configuration has none: far positions would be wrong."""
    rotary = list(_rotary(getattr(config, "rope_parameters", None)))
    if any(kind.get("rope_type", "default") != "default" for kind in rotary):
        return
    scaled = [t.name for t in reader.tensors if t.name in DIVISORS and (t.data != 1).any()]
    kind = _value(reader, ".rope.scaling.type")
    if kind is not None and bytes(kind) != b"none":
        scaled.append(f"rope.scaling.type = {bytes(kind).decode('utf-8', 'replace')}")
    if scaled:
        yield f"rotary frequencies are scaled ({', '.join(scaled)})"


def _base(reader: Any, config: Any) -> Iterator[str]:
    """A base of the rotary frequencies that no kind of layer has."""
    value = _value(reader, ".rope.freq_base")
    bases = [
        kind["rope_theta"]
        for kind in _rotary(getattr(config, "rope_parameters", None))
        if "rope_theta" in kind
    ]
    if value is not None and bases and not any(abs(base - value[0]) <= 1e-6 * base for base in bases):
        yield f"the rotary base is {value[0]:g}, not {bases[0]:g}"


def _window(reader: Any, config: Any) -> Iterator[str]:
    """A window of attention shorter than the context that the configuration does not have."""
    window, context = _value(reader, ".attention.sliding_window"), _value(reader, ".context_length")
    if window is None or window[0] == 0 or (context is not None and window[0] >= context[0]):
        return
    have = getattr(config, "sliding_window", None)
    if have != window[0]:
        yield f"attention has a window of {window[0]} tokens, not {have or 'all'}"


def _tensors(reader: Any, model: Any) -> Iterator[str]:
    """Tensors for which the model has no parameter, told by the count of numbers."""
    held = {tensor.data_ptr(): tensor.numel() for tensor in model.state_dict().values()}
    given = sum(int(t.n_elements) for t in reader.tensors if t.name not in DIVISORS)
    if given > sum(held.values()):
        yield f"its tensors have {given:,} numbers, the model {sum(held.values()):,}"


def _value(reader: Any, suffix: str) -> Any:
    """The array of a key of the architecture, None if the file does not have it."""
    for name, field in reader.fields.items():
        if name.endswith(suffix):
            return field.parts[field.data[0]]
    return None


def _rotary(parameters: Any) -> Iterator[Mapping[str, Any]]:
    """The rotary embeddings of a configuration, which may have one for each kind of layer."""
    if not isinstance(parameters, Mapping):
        return
    if "rope_type" in parameters or "rope_theta" in parameters:
        yield parameters
    inner: list[Any] = list(parameters.values())
    for value in inner:
        yield from _rotary(value)
