"""Module: something with parameters, a state and a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import DTypeLike

from tinysmooth.checks import check_flag, describe
from tinysmooth.graph import Array
from tinysmooth.tensor import Tensor

__all__ = ["Module"]


class Module:
    """Base of every layer and model.

    Assign parameters (Tensors that require a gradient), buffers (ndarrays that are state but are
    not learnt) and other modules as attributes; they are found by walking the attributes in the
    order of their assignment, and named by the path to them: ``block.conv.weight``. Names of
    attributes that start with an underscore are private and left out; so is the result of an
    operation, such as an activation kept to look at, detached or not.

    Examples
    --------
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Tensor([2.0], requires_grad=True)
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    training: bool

    training = True  # also for a module that forgets to call ours

    def __init__(self) -> None:
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the result; every module writes its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method; write one")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run ``forward``."""
        return self.forward(*args, **kwargs)

    # What it contains

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the modules directly inside this one, with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module) and not name.startswith("_"):
                yield name, value

    def modules(self) -> Iterator[Module]:
        """Iterate over the module itself and all below it, each once."""
        seen: set[int] = set()
        stack: list[Module] = [self]
        while stack:
            module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield module
            stack.extend(reversed([child for _, child in module.named_children()]))

    def _named_state(
        self, prefix: str = "", above: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Tensor | Array]]:
        """Parameters and buffers in order, with their names; a shared one appears at each name."""
        above = (*above, self)
        for name, value in vars(self).items():
            if name.startswith("_"):
                continue
            if _is_state(value):
                yield prefix + name, value
            elif isinstance(value, Module):
                if any(value is module for module in above):
                    raise ValueError(
                        f"Module: {prefix}{name} is a {type(value).__name__} that contains this "
                        f"{type(self).__name__}; expected modules that form a tree. Keep the way "
                        f"back under a name that begins with an underscore: _{name}"
                    )
                yield from value._named_state(f"{prefix}{name}.", above)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over what is learnt, with its names; what modules share comes once."""
        seen: set[int] = set()
        for name, value in self._named_state():
            if isinstance(value, Tensor) and value.requires_grad and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Tensor]:
        """Iterate over what is learnt, for an optimiser."""
        return (parameter for _, parameter in self.named_parameters())

    # State

    def state_dict(self) -> dict[str, Array]:
        """Copy all parameters and buffers by name, in PyTorch's names and layout."""
        return {
            name: np.array(value._data if isinstance(value, Tensor) else value, order="C")
            for name, value in self._named_state()
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take over the numbers of a state dictionary; nothing changes if anything does not fit.

        Parameters
        ----------
        state : mapping from name to array
            As ``state_dict`` returns it, or from PyTorch (``tensor.numpy()``). The dtype of the
            module is kept.
        strict : bool
            Whether every name must be there and none may be left over. The counter
            ``num_batches_tracked`` may be missing in either case.

        Raises
        ------
        KeyError
            If names are missing or unknown (with ``strict``).
        TypeError, ValueError
            If ``state`` is no mapping, or a shape differs.
        """
        check_flag("load_state_dict", "strict", strict)
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: state is {describe(state)}; expected arrays by name")
        own = dict(self._named_state())
        missing = [name for name in own if name not in state and not _is_counter(name)]
        unknown = [name for name in state if name not in own and not _is_counter(name)]
        if strict and (missing or unknown):
            raise KeyError(
                f"load_state_dict: missing names {missing[:5]}, unknown names {unknown[:5]}; "
                f"expected exactly the {len(own)} names of this {type(self).__name__}"
            )
        arrays: dict[str, Array] = {}
        for name, value in own.items():
            if name not in state:
                continue
            array = np.asarray(state[name])
            if array.shape != value.shape or array.dtype.kind not in "fiub":
                raise ValueError(
                    f"load_state_dict: {name} is a {array.dtype} array of shape {array.shape}; "
                    f"expected {value.dtype} of shape {value.shape}"
                )
            arrays[name] = array
        for name, array in arrays.items():
            value = own[name]
            if isinstance(value, Tensor):
                value._data[...] = array
                value.mark_changed()
            else:
                value[...] = array

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all floating parameters and buffers in place; returns self.

        What modules share stays shared. An optimiser keeps numbers of the old dtype beside the
        parameters, so make it afterwards; its ``step`` refuses otherwise.
        """
        if np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise TypeError(f"astype: dtype is {np.dtype(dtype)}; expected float32 or float64")
        converted: dict[int, Array] = {}
        for module in self.modules():
            for name, value in vars(module).items():
                if not _is_state(value) or value.dtype.kind != "f":
                    continue
                if isinstance(value, np.ndarray):
                    array = converted.setdefault(id(value), value.astype(dtype))
                    setattr(module, name, array)
                elif value.dtype != dtype:
                    value._rebind(value._data.astype(dtype))
                    value.grad = None if value.grad is None else value.grad.astype(dtype)
        return self

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below to training (or, with ``False``, to evaluation)."""
        check_flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: running statistics, no dropout."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters, also of those that are not learnt now."""
        for module in self.modules():
            for name, value in vars(module).items():
                if not name.startswith("_") and _is_state(value) and isinstance(value, Tensor):
                    value.zero_grad()

    def __repr__(self) -> str:
        """Show the tree of modules."""
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self._details()})"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    def _details(self) -> str:
        return ""


def _is_state(value: object) -> TypeGuard[Tensor | Array]:
    """Tell whether an attribute is a parameter or a buffer, and not a result of an operation."""
    if not isinstance(value, Tensor):
        return isinstance(value, np.ndarray)
    return value._node is None and (value._requires or not value._computed)


def _is_counter(name: str) -> bool:
    return str(name).rpartition(".")[2] == "num_batches_tracked"
