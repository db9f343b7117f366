"""Models by name: `model.py:factory` is a function of a file that makes a module and its example inputs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from plena.errors import PlenaError


def is_model(text: str) -> bool:
    """Whether an argument names a factory rather than a file or folder."""
    path, colon, name = text.rpartition(":")
    return bool(colon) and name.isidentifier() and (path.endswith(".py") or not Path(text).exists())


def load_model(text: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The module, the example inputs and keyword arguments that ``model.py:factory`` makes.

    Raises:
        PlenaError: there is no such file or function, it fails, or it returns something else.
    """
    path, _, name = text.rpartition(":")
    if not is_model(text):
        raise PlenaError(f"{text!r} does not name a factory", hint="Write model.py:factory.")
    factory = getattr(_imported(path), name, None)
    if not callable(factory):
        raise PlenaError(f"has no function `{name}`", path, "It must return (module, example_inputs).")
    return made_by(factory, path, name)


def made_by(factory: Callable[[], Any], path: str, name: str) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """What a factory makes; `path` and `name` say where it is.

    Raises:
        PlenaError: it fails, or it returns something else.
    """
    result = _guarded(factory, path, f"{name}()")
    if not isinstance(result, tuple | list) or len(result) not in (2, 3) or not _is_model(result[0]):
        raise PlenaError(f"`{name}` must return (module, example_inputs), not {type(result).__name__}", path)
    module, inputs, kwargs = (*result, {})[:3]
    if not isinstance(kwargs, dict):
        raise PlenaError(
            f"`{name}` must return keyword arguments as a dictionary, not {type(kwargs).__name__}", path
        )
    return module, tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,), kwargs


def _is_model(value: Any) -> bool:
    from torch.export import ExportedProgram

    return callable(value) or isinstance(value, ExportedProgram)


def _imported(path: str) -> ModuleType:
    if not path.endswith(".py"):
        return _guarded(lambda: importlib.import_module(path), path, "the import")
    file = Path(path)
    if not file.is_file():
        raise PlenaError("no such file", path)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.resolve().parent))
    _guarded(lambda: spec.loader.exec_module(module), path, "the import")  # type: ignore[union-attr]
    return module


def _guarded(call: Any, path: str, what: str) -> Any:
    """The result of the user's code; what it raises becomes one message with the line."""
    try:
        return call()
    except PlenaError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).name == Path(path).name]
        where = f"{path}:{own[-1].lineno}" if own else path
        if isinstance(error, SyntaxError) and error.lineno is not None:
            where = f"{error.filename or path}:{error.lineno}"
        said = " ".join(str(error).split())
        name = type(error).__name__
        raise PlenaError(
            f"{what} failed: {name}: {said}" if said else f"{what} failed: {name}", where
        ) from error
