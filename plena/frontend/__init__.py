"""From PyTorch to the `aten` dialect: the only package that imports torch eagerly."""

from plena.frontend.importer import import_module
from plena.frontend.program import ImportedProgram, TensorSpec
from plena.host.expressions import materialize

__all__ = ["ImportedProgram", "TensorSpec", "import_module", "materialize"]
