"""Where tensors are while kernels are built: on the host's side, to be staged, or in vector SRAM."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from plena.host.layout import Source
from plena.host.view import Step
from plena.integers import ceil_div


@dataclass(frozen=True)
class HostTensor:
    """A tensor that the host stages: an input, or data (parameters and constants), seen through a view.

    Each kernel that reads one has it placed in the layout it likes best, so layouts cost nothing at run time.
    """

    source: Source
    shape: tuple[int, ...]
    view: tuple[Step, ...] = ()
    integer: bool = False
    """Whether the elements are integers, and no booleans."""
    precise: bool = False
    """Whether the elements are real numbers that keep bf16 precision wherever they are staged."""
    stack: tuple[Source, ...] = ()
    """Inside a repetition: the sources of all iterations, placed one behind the other; `source` is the first."""

    @property
    def counts(self) -> bool:
        """Whether the elements are integers that mean numbers: no test has made zeros and ones of them."""
        return self.integer and not any(step.reads_numbers for step in self.view)

    def through(self, *steps: Step) -> HostTensor:
        """The tensor after more view steps."""
        shape = self.shape
        for step in steps:
            shape = step.result_shape(shape)
        integer = self.integer and not any(step.makes_booleans for step in steps)
        return replace(self, view=(*self.view, *steps), shape=shape, integer=integer)


@dataclass(frozen=True)
class PanelShape:
    """The columns of a matrix [rows, groups * group_columns] in lanes.

    Each of the `groups` of columns (the heads) starts at a multiple of `group_pitch` lanes.
    """

    rows: int
    groups: int
    group_columns: int
    group_pitch: int

    @property
    def columns(self) -> int:
        """Columns that mean something."""
        return self.groups * self.group_columns

    @property
    def lanes(self) -> int:
        """Lanes from the first column to the end of the last group's."""
        return self.groups * self.group_pitch

    def blocks(self, vlen: int) -> int:
        """Column blocks."""
        return ceil_div(self.lanes, vlen)

    @property
    def is_packed(self) -> bool:
        """Whether its lanes are its columns without gaps."""
        return self.group_pitch == self.group_columns


@dataclass(frozen=True)
class Panel:
    """A matrix [rows, groups * group_columns] in vector SRAM, column-block major (plena_isa.md section 9.2).

    Each of the `groups` of columns (the heads) starts at a multiple of `group_pitch` lanes; `block` elements lie
    between column blocks, so there are block / VLEN rows of which `rows` mean something. Lanes between groups and
    rows after `rows` hold finite numbers.
    """

    buffer: SSAValue
    rows: int
    groups: int
    group_columns: int
    group_pitch: int
    block: int

    @property
    def shape(self) -> PanelShape:
        """Its columns in lanes."""
        return PanelShape(self.rows, self.groups, self.group_columns, self.group_pitch)

    @property
    def columns(self) -> int:
        """Columns that mean something."""
        return self.shape.columns

    @property
    def lanes(self) -> int:
        """Lanes from the first column to the end of the last group's."""
        return self.shape.lanes

    def blocks(self, vlen: int) -> int:
        """Column blocks."""
        return self.shape.blocks(vlen)

    def physical_rows(self, vlen: int) -> int:
        """Rows of a column block, padding included."""
        return self.block // vlen

    @property
    def is_packed(self) -> bool:
        """Whether its lanes are its columns without gaps."""
        return self.shape.is_packed


@dataclass(frozen=True)
class Scalars:
    """A tensor [rows, groups] in FP SRAM, row-major: few numbers per row, for the scalar unit."""

    buffer: SSAValue
    rows: int
    groups: int

    @property
    def is_one(self) -> bool:
        """Whether it is a single number."""
        return (self.rows, self.groups) == (1, 1)


@dataclass(frozen=True)
class PackedPanel:
    """A panel packed for broadcast products: [groups][column blocks][BROADCAST slices][rows][VLEN lanes].

    A slice has MLEN rows for products of matrices, one for products of vectors: `slice_size` elements.
    """

    buffer: SSAValue
    groups: int
    blocks: int
    slice_size: int
    slots: int

    @property
    def block(self) -> int:
        """Elements from one column block to the next."""
        return self.slots * self.slice_size

    @property
    def group(self) -> int:
        """Elements from one group of BROADCAST row blocks, or rows, to the next."""
        return self.blocks * self.block


@dataclass(frozen=True)
class StateRows:
    """A state in HBM: a matrix [rows, groups * group_columns], `row` bytes from row to row, column blocks side by side.

    Attributes:
        group_pitch: lanes from one group of columns (a head) to the next.
        kv: the precision bit of its transfers.
        rest: bytes from its beginning to a second matrix of what the type of the first one loses; 0: there is none.
    """

    buffer: SSAValue
    rows: int
    groups: int
    group_columns: int
    group_pitch: int
    row: int
    kv: int
    rest: int

    @property
    def columns(self) -> int:
        """Columns that mean something."""
        return self.groups * self.group_columns

    @property
    def is_packed(self) -> bool:
        """Whether its lanes are its columns without gaps."""
        return self.group_pitch == self.group_columns


TensorLocation = HostTensor | Panel | Scalars | StateRows
