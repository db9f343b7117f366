"""How a module takes its inputs: positional and keyword arguments, nested, some of them no tensors.

A program takes tensors only, in the order in which torch.export numbers them: those of the positional arguments, then
those of the keyword arguments, dictionaries and lists from left to right. Numbers, None and strings are fixed when
the module is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from plena.errors import PlenaError


def arguments_of(sample: Any) -> tuple[Any, ...]:
    """The positional arguments of a sample: one tensor, or several arguments."""
    return (sample,) if isinstance(sample, torch.Tensor) else tuple(sample)


@dataclass(frozen=True)
class CallSignature:
    """What a call of the module looks like.

    Attributes:
        tree: of (args, kwargs).
        leaves: None for each tensor, else a tuple with the value that was compiled in.
        names: of the positional arguments, where the module's forward tells.
    """

    tree: pytree.TreeSpec
    leaves: tuple[tuple[Any] | None, ...]
    names: tuple[str, ...] = ()

    @staticmethod
    def of(args: Sequence[Any], kwargs: Mapping[str, Any], module: Any = None) -> CallSignature:
        """The signature of an example call."""
        leaves, tree = pytree.tree_flatten((tuple(args), dict(kwargs)))
        fixed = tuple(None if isinstance(leaf, torch.Tensor) else (leaf,) for leaf in leaves)
        return CallSignature(tree, fixed, _positional_names(module, len(args)))

    @staticmethod
    def positional(count: int) -> CallSignature:
        """So many tensors one after the other."""
        leaves, tree = pytree.tree_flatten(((0,) * count, {}))
        return CallSignature(tree, (None,) * len(leaves))

    def arguments(self, tensors: Sequence[torch.Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call with these tensors.

        Raises:
            PlenaError: not as many tensors as the call has.
        """
        wanted = sum(leaf is None for leaf in self.leaves)
        if len(tensors) != wanted:
            raise PlenaError(f"the module takes {wanted} tensors, not {len(tensors)}", "check")
        given = iter(tensors)
        values = [next(given) if leaf is None else leaf[0] for leaf in self.leaves]
        args, kwargs = pytree.tree_unflatten(values, self.tree)
        return tuple(args), dict(kwargs)

    def tensors(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any] | None:
        """The tensors of a call, None if it does not look like the one that was compiled.

        Raises:
            PlenaError: a number or another value that is not the one that was compiled in.
        """
        try:
            leaves = self.tree.flatten_up_to(self._arranged(args, kwargs))
        except ValueError:
            return None
        found: list[Any] = []
        for leaf, fixed in zip(leaves, self.leaves, strict=True):
            if fixed is None:
                found.append(leaf)
            elif isinstance(leaf, torch.Tensor):
                return None
            elif leaf != fixed[0]:
                raise PlenaError(
                    f"the program was compiled for the argument {fixed[0]!r}, not {leaf!r}",
                    "run",
                    "Compile again; values that change between calls must be tensors.",
                )
        return found

    def _arranged(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Keywords in the compiled order; those that were positional then are so again."""
        given, keywords = list(args), dict(kwargs)
        for name in self.names[len(given) :]:
            if name not in keywords:
                break
            given.append(keywords.pop(name))
        _, compiled = pytree.tree_unflatten([0] * self.tree.num_leaves, self.tree)
        order = [name for name in compiled if name in keywords]
        return tuple(given), {name: keywords[name] for name in [*order, *(set(keywords) - set(order))]}


def example_call(
    module: Any, args: Sequence[Any] | None, kwargs: object
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example call to compile for: an ExportedProgram has one of its own. The import judges what is no tuple.

    Raises:
        PlenaError: the keyword arguments are no dictionary.
    """
    given: Any = args
    if (
        isinstance(module, ExportedProgram)
        and isinstance(given, tuple | list)
        and not given
        and not kwargs
        and module.example_inputs
    ):
        given, kwargs = module.example_inputs
    if kwargs is None:
        kwargs = {}
    if not isinstance(kwargs, Mapping):
        raise PlenaError(
            f"the keyword arguments must be a dictionary, not {type(kwargs).__name__}",
            "compile",
            'Write plena.compile(module, args, {"name": tensor}).',
        )
    keywords: Mapping[str, Any] = kwargs
    return tuple(given) if isinstance(given, list) else given, dict(keywords)


def _positional_names(module: Any, count: int) -> tuple[str, ...]:
    from inspect import Parameter, signature

    forward = getattr(module, "forward", None) if isinstance(module, torch.nn.Module) else None
    if forward is None:
        return ()
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in signature(forward).parameters.values() if p.kind in kinds)[:count]
