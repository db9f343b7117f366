"""`plena run`: a program folder on the emulator."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plena.cli.commands.command import Command
from plena.errors import PlenaError
from plena.text_files import write_text

if TYPE_CHECKING:
    from plena.api.program import Program


def arguments(parser: ArgumentParser) -> None:
    """The folder and the inputs."""
    parser.add_argument("folder", type=Path, help="program folder")
    parser.add_argument(
        "--inputs",
        default="saved",
        metavar="FILE.pt|random|saved",
        help="tensors saved by torch.save (one, a list, or a dict by input name), random ones, or those that the "
        "folder was saved with (default)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")
    parser.add_argument(
        "-o", "--output", metavar="FILE.pt", type=Path, help="save the outputs with torch.save"
    )
    parser.add_argument(
        "--trace", metavar="OUT.json", type=Path, help="write a Perfetto / Chrome trace of the run"
    )


def run(args: Namespace) -> int:
    """Load, run, print figures and a summary of the outputs."""
    from plena.api.program import Program
    from plena.checking.reference import as_tensors

    program = Program.load(args.folder)
    if args.inputs == "saved":
        results = program.run_saved()
    else:
        inputs = (
            random_inputs(program, args.seed)
            if args.inputs == "random"
            else read_inputs(program, args.inputs)
        )
        results = program.run(*inputs)
    figures = program.last_run
    assert figures is not None
    print(
        f"{figures.executed:,} instructions, {figures.cycles:,} cycles, {figures.dma_cycles:,} DMA cycles apart"
    )
    outputs = as_tensors(results)
    for port, tensor in zip(program.outputs, outputs, strict=True):
        print(f"{port}: {_summary(tensor)}")
    if args.output is not None:
        _save(results, args.output)
    if args.trace is not None:
        write_text(args.trace, json.dumps(program.trace()))
    return 0


def random_inputs(program: Program, seed: int) -> list[Any]:
    """Normal floats, integers below the limit of their placement, true booleans."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    inputs: list[Any] = []
    for index, port in enumerate(program.inputs):
        dtype = getattr(torch, port.dtype)
        if dtype.is_floating_point:
            inputs.append(torch.randn(port.shape, generator=generator).to(dtype))
        elif dtype == torch.bool:
            inputs.append(torch.ones(port.shape, dtype=dtype))
        else:
            limits = [p.limit for p in program.placements_of("input", index) if p.limit]
            high = min([*limits, 2 if not limits else limits[0]])
            inputs.append(torch.randint(high, port.shape, generator=generator).to(dtype))
    return inputs


def read_inputs(program: Program, path: str) -> Sequence[Any]:
    """The tensors of a file, in the order of the program's inputs.

    Raises:
        PlenaError: it cannot be read or does not hold them.
    """
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PlenaError(f"cannot be read: {error.strerror}", path) from None
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PlenaError(f"not a file of tensors: {first_line}", path, "Write it with torch.save.") from None
    if isinstance(loaded, torch.Tensor):
        return [loaded]
    if isinstance(loaded, dict):
        missing = [port.name for port in program.inputs if port.name not in loaded]
        if missing:
            raise PlenaError(f"has no tensor called {', '.join(missing)}", path)
        return [loaded[port.name] for port in program.inputs]
    if isinstance(loaded, list | tuple):
        return list(loaded)
    raise PlenaError(f"holds {type(loaded).__name__}, not tensors", path)


def _summary(tensor: Any) -> str:
    flat = tensor.flatten()
    first = ", ".join(f"{value:.4g}" for value in flat[:4].tolist())
    if not tensor.is_floating_point():
        return f"{first}{', ...' if flat.numel() > 4 else ''}"
    values = flat.double()
    return f"mean {values.mean():.4g}, deviation {values.std(correction=0):.4g}, first {first}"


def _save(results: Any, path: Path) -> None:
    import torch

    part = path.with_name(f".{path.name}.part")
    try:
        torch.save(results, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise PlenaError(f"cannot be written: {error}", str(path)) from None


COMMAND = Command(
    "run",
    "run a program folder on the emulator",
    """\
plena run out/one_head
plena run out/one_head --inputs random --seed 7
plena run out/one_head --inputs qkv.pt -o result.pt
plena run out/one_head --trace trace.json""",
    arguments,
    run,
)
