"""A model of a family with random weights, and inputs for its forward."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from benchmarks.coverage.sizes import Size, small_fields


@dataclass(frozen=True)
class Built:
    """A module in evaluation mode, and the keyword arguments of a call."""

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]


def build(family: str, size: Size, overrides: Mapping[str, Any], shapes: Mapping[str, Any]) -> Built:
    """The model of a family, small.

    Args:
        family: a model type of transformers.
        overrides: fields of its configuration that differ from `small_fields`; a dictionary changes a part.
        shapes: of arguments that do not follow from the configuration, "ids" for token ids; empty if all follow.
    """
    module, config = model_of(family, size, overrides)
    generator = torch.Generator().manual_seed(1)
    if shapes:
        return Built(module, {name: _given(shape, size, generator) for name, shape in shapes.items()})
    return Built(module, inputs_of(module, config, size, generator))


def model_of(
    family: str, size: Size, overrides: Mapping[str, Any], kind: Any = transformers.AutoModel
) -> tuple[Any, Any]:
    """A model with random weights in evaluation mode, made by an automatic class of transformers, and its
    configuration."""
    configuration = transformers.CONFIG_MAPPING[family]
    fields = merged(small_fields(configuration, size), overrides)
    torch.manual_seed(0)
    config = configuration(**fields)
    module = kind.from_config(config).eval()
    _vary(module)
    return module, config


def merged(fields: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with what `overrides` has instead, part by part."""
    result = dict(fields)
    for name, value in overrides.items():
        old = result.get(name)
        if isinstance(value, Mapping) and isinstance(old, dict):
            result[name] = merged(old, value)
        else:
            result[name] = value
    return result


def _vary(module: torch.nn.Module) -> None:
    """Gains, biases and statistics that a program could not leave out unnoticed."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1 and parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        for part in module.modules():
            if (
                isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
                and part.running_mean is not None
            ):
                assert part.running_var is not None
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator) * 0.1)
                part.running_var.copy_(1 + 0.2 * torch.rand(part.running_var.shape, generator=generator))


def inputs_of(
    module: torch.nn.Module, config: Any, size: Size, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """What the forward must be given."""
    arguments = inspect.signature(module.forward).parameters
    main: Any = module.main_input_name
    names = [str(main)] if main in arguments else []
    names += [
        name
        for name, p in arguments.items()
        if p.default is inspect.Parameter.empty and p.kind is p.POSITIONAL_OR_KEYWORD and name not in names
    ]
    if "decoder_input_ids" in arguments and getattr(config, "is_encoder_decoder", False):
        names.append("decoder_input_ids")
    return {name: _input(name, config, size, generator) for name in dict.fromkeys(names)}


def _given(shape: Any, size: Size, generator: torch.Generator) -> torch.Tensor:
    return _ids(size, generator) if shape == "ids" else torch.randn(shape, generator=generator)


def _ids(size: Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(3, 100, (size.batch, size.length), generator=generator)


def _input(name: str, config: Any, size: Size, generator: torch.Generator) -> torch.Tensor:
    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    vision = getattr(config, "vision_config", config)
    channels = getattr(vision, "num_channels", 3)
    channels = channels if isinstance(channels, int) else 3
    image = getattr(vision, "image_size", size.image)
    height, width = image if isinstance(image, list | tuple) else (image, image)
    match name:
        case "input_ids" | "decoder_input_ids":
            return _ids(size, generator)
        case "pixel_values":
            return noise(size.batch, channels, height, width)
        case "pixel_values_videos":
            return noise(size.batch, getattr(config, "num_frames", 4), channels, height, width)
        case "input_values":
            return noise(size.batch, 800)
        case "input_features":
            bins = getattr(config, "num_mel_bins", 80)
            return noise(size.batch, bins, 64)
        case "inputs_embeds" | "hidden_states":
            return noise(size.batch, size.length, size.hidden)
        case "attention_mask":
            return torch.ones(size.batch, size.length, dtype=torch.long)
        case _:
            raise ValueError(f"no input named {name}")
