"""Tensors that the host computes of inputs and constants, and the operation that stands for one.

The attribute says the computation, operation by operation; what each computes is in plena.host.values.operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from xdsl.dialects.builtin import (
    I64,
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    f64,
    i64,
)
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue
from xdsl.irdl import (
    irdl_attr_definition,
    irdl_op_definition,
    param_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from plena.dialects.plena.base import PlenaOp

Setting = int | float | str | tuple[int, ...]


@irdl_attr_definition
class HostNodeAttr(ParametrizedAttribute):
    """One operation of a host value on earlier ones.

    `#plena.host_node<cumsum(2) {dim = 1 : i64} : tensor<2x4xi64>>`.
    """

    name = "plena.host_node"
    operation: StringAttr = param_def()
    operands: DenseArrayBase[I64] = param_def()
    settings: DictionaryAttr = param_def()
    result: TensorType[Attribute] = param_def()

    @staticmethod
    def of(
        operation: str,
        operands: Sequence[int],
        settings: Mapping[str, Setting],
        result: TensorType[Attribute],
    ) -> HostNodeAttr:
        """The attribute of plain data."""
        named = DictionaryAttr({name: _setting(value) for name, value in settings.items()})
        return HostNodeAttr(
            StringAttr(operation), DenseArrayBase.from_list(i64, list(operands)), named, result
        )

    @property
    def plain_settings(self) -> dict[str, Setting]:
        """The settings as plain data."""
        return {name: _plain(value) for name, value in self.settings.data.items()}

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_node(printer, self)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            return list(_parse_node(parser).parameters)


@irdl_attr_definition
class HostValueAttr(ParametrizedAttribute):
    """A tensor that the host computes: operations in order, the last one is the value.

    `#plena.host_value<[input {index = 0 : i64} : tensor<4xi64>, cumsum(0) {dim = 0 : i64} : tensor<4xi64>]>`. Operands
    are places in the list, `input` those of the operation, `constant` a tensor beside the module.
    """

    name = "plena.host_value"
    nodes: ArrayAttr[HostNodeAttr] = param_def()

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string("[")
            printer.print_list(self.nodes.data, lambda node: _print_node(printer, node))
            printer.print_string("]")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            return [
                ArrayAttr(
                    parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_node(parser))
                )
            ]

    def verify(self) -> None:
        if not self.nodes.data:
            raise VerifyException("plena.host_value: needs an operation")
        for number, node in enumerate(self.nodes.data):
            if any(not 0 <= operand < number for operand in node.operands.get_values()):
                raise VerifyException(
                    f"plena.host_value: operands of {node.operation.data} do not come before it"
                )

    @property
    def symbols(self) -> list[str]:
        """The constants that it reads."""
        return [
            str(n.plain_settings.get("symbol")) for n in self.nodes.data if n.operation.data == "constant"
        ]


def _setting(value: Setting) -> Attribute:
    match value:
        case str():
            return StringAttr(value)
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f64)
        case _:
            return DenseArrayBase.from_list(i64, list(value))


def _plain(attribute: Attribute) -> Setting:
    match attribute:
        case StringAttr():
            return attribute.data
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case DenseArrayBase():
            return tuple(int(n) for n in cast("DenseArrayBase[I64]", attribute).get_values())
        case _:
            raise VerifyException(f"plena.host_value: {attribute} is no setting")


def _print_node(printer: Printer, node: HostNodeAttr) -> None:
    printer.print_string(node.operation.data)
    operands = node.operands.get_values()
    if operands:
        printer.print_string(f"({', '.join(str(n) for n in operands)})")
    if node.settings.data:
        printer.print_string(" ")
        printer.print_attribute(node.settings)
    printer.print_string(" : ")
    printer.print_attribute(node.result)


def _parse_node(parser: AttrParser) -> HostNodeAttr:
    operation = parser.parse_identifier()
    operands = parser.parse_optional_comma_separated_list(parser.Delimiter.PAREN, parser.parse_integer) or []
    settings = parser.parse_optional_dictionary_attr_dict()
    parser.parse_punctuation(":")
    result = parser.parse_type()
    if not isinstance(result, TensorType):
        parser.raise_error("a host value is a tensor")
    return HostNodeAttr(
        StringAttr(operation), DenseArrayBase.from_list(i64, operands), DictionaryAttr(settings), result
    )


@irdl_op_definition
class HostOp(PlenaOp):
    """A tensor that the host computes of the program's inputs and of constants, exactly, before the program runs.

    The machine finds it staged, as it does an input; as a mask, bias, table or list of ids it is treated like one.
    """

    name = "plena.host"
    value = prop_def(HostValueAttr)
    inputs = var_operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$value (`(` $inputs^ `)`)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, value: HostValueAttr, inputs: Sequence[SSAValue]) -> None:
        super().__init__(
            operands=[list(inputs)], properties={"value": value}, result_types=[value.nodes.data[-1].result]
        )

    def verify_(self) -> None:
        self.require(
            self.value.nodes.data[-1].result == self.result.type, "the result is the value's last operation"
        )
        for node in self.value.nodes.data:
            if node.operation.data == "input":
                index = node.plain_settings.get("index")
                self.require(
                    isinstance(index, int) and 0 <= index < len(self.inputs),
                    "an input is none of the operands",
                )
