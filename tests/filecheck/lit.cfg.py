"""lit: runs the RUN lines of .mlir and .asm files with the tools of this Python environment."""

import os
import sys
from pathlib import Path
from typing import Any

import lit.formats

config: Any = globals()["config"]  # lit runs this file with it

_here = Path(__file__).parent

config.name = "plena"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".asm", ".py"]
config.excludes = ["lit.cfg.py"]
config.test_source_root = str(_here)
config.test_exec_root = str(_here.parents[1] / "build" / "lit")
config.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
# This tree, also where another one is installed; behind it what the caller has there, a second xDSL for example.
_path = [str(_here.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
config.environment["PYTHONPATH"] = os.pathsep.join(_path)
config.substitutions.append(("PLENA_ROUNDTRIP", "plena-opt %s --print-op-generic | plena-opt | filecheck %s"))
config.environment["PYTHONPATH"] = str(_here.parents[1])  # the tree that holds these files, installed or not
