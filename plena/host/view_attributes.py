"""Views of tensors as attributes, and back."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr

from plena.dialects.views import StepAttr
from plena.host import view as views
from plena.host.step import Step


def steps_of(attributes: ArrayAttr[StepAttr], where: str) -> views.View:
    """The steps that attributes stand for.

    Raises:
        PlenaError: at `where`: a step that takes other numbers.
    """
    return views.from_json([[step.kind.data, *step.values] for step in attributes], where)


def step_attribute(step: Step) -> StepAttr:
    """The attribute of a step."""
    kind, *arguments = step.to_json()
    return StepAttr.of(kind, arguments)
