"""`torch.compile(module, backend="plena")`: the graphs that torch._dynamo captures run on the emulator."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._guards import CompileContext
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.traceback import preserve_node_meta

from plena.api.compile import check_options, compile
from plena.api.program import Program
from plena.errors import CompileError, PlenaError

Runner = Callable[..., Sequence[Any]]
"""Takes what the graph takes and gives what it gives."""

Signature = tuple[Any, ...]
"""What the inputs of a graph must have in common to share a program: shapes, element types, numbers, parameters."""


def plena_backend(
    graph: GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Runner:
    """The backend "plena" of torch.compile.

    Programs are compiled when a graph is first called with inputs of new shapes, and again when a parameter has
    changed. Results carry no gradients. A graph that cannot be compiled runs eagerly, after one warning that says why.

    Args:
        graph: what torch._dynamo captured.
        example_inputs: its first inputs.
        options: options of `plena.compile` (target, max_instructions, objective, timing, matmul, attention, staging).
        mode: torch.compile's presets for inductor; there are none here.

    Raises:
        PlenaError: an option that `plena.compile` does not have, or not with this value; a mode.
    """
    if mode not in (None, "default"):
        raise PlenaError(f"there is no mode {mode!r}", "torch.compile", 'Use options={"objective": ...}.')
    given = dict(options or {})
    check_options(given)
    return CapturedGraph(graph, given, _static_inputs(graph), Complaints.of_current_frame())


def _static_inputs(graph: GraphModule) -> frozenset[int]:
    """Positions of the inputs that are parameters and buffers of the module."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    return frozenset(
        index
        for index, node in enumerate(placeholders)
        if "_dynamo_static_input_type" in (node.meta.get("tensor_dict") or {})
    )


@dataclass
class Complaints:
    """What was said about the graphs of one Python frame: torch.compile captures it anew for new shapes."""

    said: set[str] = field(default_factory=set[str])

    @staticmethod
    def of_current_frame() -> Complaints:
        """Those about the frame that is being captured."""
        captured = CompileContext.current_compile_id()
        if captured is None or captured.frame_id is None:
            return Complaints()
        if captured.frame_compile_id == 0:
            _complaints[captured.frame_id] = Complaints()
        return _complaints.setdefault(captured.frame_id, Complaints())

    def say(self, error: PlenaError) -> None:
        """Warn that a graph runs eagerly, once for each reason, whatever the shapes."""
        reason = _SHAPE.sub("", str(error))
        if reason not in self.said:
            self.said.add(reason)
            warnings.warn(f"plena runs a graph eagerly: {error}", RuntimeWarning, stacklevel=2)


_complaints: dict[int, Complaints] = {}
_SHAPE = re.compile(r"\[[^]]*\]|\([^)]*\)")


@dataclass
class CapturedGraph:
    """A graph with the programs compiled for it so far.

    Attributes:
        options: of `plena.compile`.
        static: positions of the inputs that are the module's own tensors.
        complaints: why it ran eagerly.
        runners: by signature of the inputs, the versions of the module's own tensors and what was made of them.
    """

    graph: GraphModule
    options: Mapping[str, Any]
    static: frozenset[int]
    complaints: Complaints
    runners: dict[Signature, tuple[Signature, Runner]] = field(
        default_factory=dict[Signature, tuple[Signature, Runner]]
    )

    def __call__(self, *args: Any) -> Sequence[Any]:
        """The results of the graph."""
        key = tuple(self._signature(index, arg) for index, arg in enumerate(args))
        versions = tuple(args[index]._version for index in sorted(self.static))
        found = self.runners.get(key)
        if found is None or found[0] != versions:
            found = self.runners[key] = versions, self._compiled(args)
        return found[1](*args)

    def _signature(self, index: int, arg: Any) -> Any:
        if not isinstance(arg, torch.Tensor):
            return arg
        wants_gradient = index not in self.static and torch.is_grad_enabled() and arg.requires_grad
        identity = (id(arg), arg.data_ptr()) if index in self.static else None
        return tuple(arg.shape), arg.dtype, identity, wants_gradient

    def _compiled(self, args: tuple[Any, ...]) -> Runner:
        try:
            _require_inference(args, self.static)
            return CompiledGraph.of(self.graph, args, self.static, self.options)
        except PlenaError as error:
            self.complaints.say(error)
            return self.graph.forward


def _require_inference(args: tuple[Any, ...], static: frozenset[int]) -> None:
    """Raises CompileError if gradients of inputs are wanted."""
    inputs = (arg for index, arg in enumerate(args) if index not in static)
    if torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in inputs):
        raise CompileError(
            "an input wants gradients, programs compute none", hint="Call the module under torch.no_grad()."
        )


@dataclass
class CompiledGraph:
    """A program for a graph with inputs of certain shapes.

    Attributes:
        free: positions of the inputs that are the program's.
        bound: the graph's other inputs; they live as long as their identity is part of a signature.
        results: per result of the graph, whether the program computes it; otherwise its value.
    """

    program: Program
    free: tuple[int, ...]
    bound: tuple[Any, ...]
    results: tuple[tuple[bool, Any], ...]

    @staticmethod
    def of(
        graph: GraphModule, args: tuple[Any, ...], static: frozenset[int], options: Mapping[str, Any]
    ) -> CompiledGraph:
        """Compile a graph.

        Raises:
            PlenaError: an operator without a kernel, a result that is no tensor.
        """
        free = tuple(i for i, arg in enumerate(args) if i not in static and isinstance(arg, torch.Tensor))
        results = _results(graph)
        module = _Bound(graph, args, free)
        program = compile(module, [args[i].detach() for i in free], **options)
        if program.kept is not None:
            raise CompileError(f"the graph changes {', '.join(program.kept.ports)} in place")
        bound = tuple(arg for i, arg in enumerate(args) if i not in free)
        return CompiledGraph(program, free, bound, results)

    def __call__(self, *args: Any) -> Sequence[Any]:
        """Run the program."""
        found = self.program.run(*(args[i].detach() for i in self.free))
        tensors = (
            x for x in (found if isinstance(found, tuple) else (found,)) if isinstance(x, torch.Tensor)
        )
        dtypes = iter(port.dtype for port in self.program.outputs)
        return [
            next(tensors).to(getattr(torch, next(dtypes))) if computed else value
            for computed, value in self.results
        ]


def _results(graph: GraphModule) -> tuple[tuple[bool, Any], ...]:
    (output,) = (node for node in graph.graph.nodes if node.op == "output")
    results: list[tuple[bool, Any]] = []
    for value in output.args[0]:
        if isinstance(value, Node) and not isinstance(value.meta.get("example_value"), torch.Tensor):
            raise CompileError(f"the graph returns {value.name}, which is no tensor")
        results.append((isinstance(value, Node), None if isinstance(value, Node) else value))
    return tuple(results)


class _Bound(torch.nn.Module):
    """A graph of its free inputs: parameters are the module's again, numbers are constants."""

    def __init__(self, graph: GraphModule, args: tuple[Any, ...], free: tuple[int, ...]) -> None:
        super().__init__()
        self.graph_module = graph
        self.free = free
        self.bound: list[Any] = list(args)
        names = [str(node.target) for node in graph.graph.nodes if node.op == "placeholder"]
        for index, (name, arg) in enumerate(zip(names, args, strict=True)):
            if isinstance(arg, torch.Tensor):
                self.bound[index] = None
                if index not in free:
                    attribute = name.strip("_").replace(".", "_")
                    if isinstance(arg, torch.nn.Parameter):
                        self.register_parameter(attribute, torch.nn.Parameter(arg.detach(), False))
                    else:
                        self.register_buffer(attribute, arg.detach())
                    self.bound[index] = attribute

    def forward(self, *inputs: torch.Tensor) -> Any:
        args = [getattr(self, value) if isinstance(value, str) else value for value in self.bound]
        for index, value in zip(self.free, inputs, strict=True):
            args[index] = value
        # Interpreted, so that operators keep the lines of the user's model.
        with preserve_node_meta():
            return Interpreter(self.graph_module).run(*args)
