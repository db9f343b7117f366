"""What every `aten` op shares: tensor operands named as in the operator's schema, and its torch overload."""

from __future__ import annotations

from typing import ClassVar

from xdsl.irdl import IRDLOperation, ParsePropInAttrDict, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException


class AtenOp(IRDLOperation):
    """An ATen operator on static tensors.

    Operand and property names are the argument names of the operator's schema (`self` is called `input`), so
    the importer and the interpreter are derived from the definition: OVERLOAD is the operator it means.
    """

    OVERLOAD: ClassVar[str] = ""

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(Pure())

    def require(self, condition: bool, message: str) -> None:
        """Raise a VerifyException with the op's name unless `condition` holds."""
        if not condition:
            raise VerifyException(f"{self.name}: {message}")
