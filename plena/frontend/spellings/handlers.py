"""What a handler of an operator is.

A handler takes the builder and the bound arguments (values or Python numbers by schema name) and returns the
value of the node, or NotImplemented to leave it to the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from xdsl.dialects.builtin import DenseArrayBase, IntegerType, i64
from xdsl.ir import Attribute

if TYPE_CHECKING:
    from plena.frontend.graph_builder import GraphBuilder

Arguments: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[["GraphBuilder", Arguments], Any]

BOOLEAN = IntegerType(1)


def reads_first_alone(g: GraphBuilder) -> bool:
    """Whether nothing that is needed reads another result of the current node than the first one."""
    return not any(user.args[1] != 0 and user in g.plan.needed for user in g.node.users)


def ints(values: Sequence[int]) -> Attribute:
    """Numbers as a property of an op."""
    return DenseArrayBase.from_list(i64, list(values))
