"""Views of tensors as attributes, and back."""

from __future__ import annotations

from xdsl.dialects.builtin import ArrayAttr
from xdsl.ir import Attribute

from plena.dialects.plena.staging import ViewAttr
from plena.dialects.views import StepAttr
from plena.host import view as views
from plena.host.step import Step


def steps_of(attributes: ArrayAttr[StepAttr], where: str) -> views.View:
    """The steps that attributes stand for.

    Raises:
        PlenaError: at `where`: a step that takes other numbers.
    """
    return views.from_json([[step.kind.data, *step.values] for step in attributes], where)


def view_of(expression: Attribute) -> views.View:
    """The steps of a view of a tensor; none of what is no view.

    Raises:
        PlenaError: a step that takes other numbers.
    """
    return steps_of(expression.steps, str(expression)) if isinstance(expression, ViewAttr) else ()


def step_attribute(step: Step) -> StepAttr:
    """The attribute of a step."""
    kind, *arguments = step.to_json()
    return StepAttr.of(kind, arguments)
