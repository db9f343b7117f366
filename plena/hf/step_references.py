"""What the programs of a language model are compared with: the cached step that they were compiled from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plena.checking.reference import ModuleReferences
from plena.host.call_inputs import CallSignature

if TYPE_CHECKING:
    from plena.hf.step_module import CachedStep
    from plena.program.data import ProgramData


def step_references(program: ProgramData, step: CachedStep) -> ModuleReferences:
    """The references of a decode program that was loaded from a folder; `step` takes a token of each sequence."""
    example = torch.zeros(step.batch, 1, dtype=torch.int64)
    return ModuleReferences.of(program, step, CallSignature.positional(2), (example, example.clone()))
