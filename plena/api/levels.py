"""A model at one level of the compiler, by the pipeline that compiles it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from plena.api.compile import compile
from plena.driver import parsed_pipeline, run_pipeline, verified_passes
from plena.errors import CompileError
from plena.machine.target import Target
from plena.passes.pipelines import BUFFER_PIPELINE, REGISTER_PIPELINE, TENSOR_PIPELINE

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

Level: TypeAlias = Literal["aten", "plena", "tile", "affine", "register"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From what torch.export gave to what assembly is printed from."""


def module_at(
    level: Level,
    module: Any,
    example_inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: Target | None = None,
    verify_passes: bool | None = None,
    **options: Any,
) -> ModuleOp:
    """The module of a model at a level; the rest of `Program.pipeline` makes the program of it.

    Args:
        level: aten as imported; plena after recognising kernels; tile with buffers placed; affine with loops as the
            compiler chose; register with addresses and registers.
        module, example_inputs, kwargs, target, verify_passes, options: as of `plena.compile`.

    Raises:
        PlenaError: as of `plena.compile`, or an unknown level.
    """
    from plena.frontend import import_module
    from plena.host.call_inputs import example_call

    if level not in LEVELS:
        raise CompileError(f"there is no level {level!r}", "options", f"The levels are {', '.join(LEVELS)}.")
    passes: Sequence[str | ModulePass] = TENSOR_PIPELINE if level == "plena" else ()
    if level not in ("aten", "plena"):
        options |= {"target": target, "verify_passes": verify_passes}
        passes = _until(level, compile(module, example_inputs, kwargs, **options).pipeline)
    args, keywords = example_call(module, example_inputs, kwargs)
    imported = import_module(module, args, keywords).module
    (target or Target()).attach(imported)
    with verified_passes(verify_passes):
        run_pipeline(imported, passes)
    return imported


def _until(level: Level, pipeline: str) -> Sequence[ModulePass]:
    """The passes that lead to a level below the tensors."""
    passes = parsed_pipeline(pipeline)
    names = [p.name for p in passes]
    match level:
        case "tile":
            return passes[: names.index(BUFFER_PIPELINE[-1]) + 1]
        case "affine":
            return passes[: names.index(REGISTER_PIPELINE[0])]
        case _:
            return passes
