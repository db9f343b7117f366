"""IRDL constraints in words, for the dialect reference."""

from __future__ import annotations

from xdsl.ir import Attribute
from xdsl.irdl import (
    AllOf,
    AnyAttr,
    AnyOf,
    AttrConstraint,
    BaseAttr,
    EqAttrConstraint,
    MessageConstraint,
    ParamAttrConstraint,
    RangeConstraint,
    RangeLengthConstraint,
    RangeOf,
    VarConstraint,
)


def constraint_text(constraint: AttrConstraint | RangeConstraint) -> str:
    """What a value or attribute must be, as short as a table cell."""
    match constraint:
        case RangeLengthConstraint():
            return constraint_text(constraint.constraint)
        case RangeOf():
            return constraint_text(constraint.constr)
        case VarConstraint():
            return f"{constraint_text(constraint.constraint)} ({constraint.name})"
        case MessageConstraint():
            return constraint_text(constraint.constr)
        case AnyAttr():
            return "any"
        case EqAttrConstraint():
            return f"`{constraint.attr}`"
        case BaseAttr():
            return attribute_name(constraint.attr)
        case ParamAttrConstraint():
            return _with_parameters(constraint)
        case AnyOf():
            return " or ".join(constraint_text(c) for c in constraint.attr_constrs)
        case AllOf():
            return " and ".join(constraint_text(c) for c in constraint.attr_constrs)
        case _:
            return f"{type(constraint).__name__.removesuffix('Constraint')}"


def _with_parameters(constraint: ParamAttrConstraint) -> str:
    exact = [str(c.attr) for c in constraint.param_constrs if isinstance(c, EqAttrConstraint)]
    name = attribute_name(constraint.base_attr)
    return f"{name} of `{'`, `'.join(exact)}`" if exact else name


def attribute_name(attribute: type[Attribute]) -> str:
    """The name of an attribute or type class as the IR writes it."""
    return str(getattr(attribute, "name", attribute.__name__)).removeprefix("builtin.")
