"""What every `plena` op shares."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, DenseArrayBase, Float32Type, IntegerAttr, TensorType, i64
from xdsl.irdl import IRDLOperation, ParsePropInAttrDict, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException


class PlenaOp(IRDLOperation):
    """A kernel on static tensors. Floating-point values are f32 here; number formats are decided below."""

    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(Pure())

    def require(self, condition: bool, message: str) -> None:
        """Raise a VerifyException with the op's name unless `condition` holds."""
        if not condition:
            raise VerifyException(f"{self.name}: {message}")


def real(*shape: int) -> TensorType[Float32Type]:
    """The type of a floating-point tensor of this shape."""
    return TensorType(Float32Type(), shape)


def integer(value: int) -> IntegerAttr[I64]:
    """A number as an attribute."""
    return IntegerAttr(value, i64)


def integers(values: Sequence[int]) -> DenseArrayBase[I64]:
    """Numbers as an attribute."""
    return DenseArrayBase.from_list(i64, list(values))
