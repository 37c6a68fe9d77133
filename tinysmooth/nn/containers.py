"""Modules made of modules. They also find what can run in one pass over memory.

A BatchNorm followed by ReLU and a 2x2 max-pool (and, at the end of a residual branch, by the
addition) reads and writes each activation several times when every layer works alone; a convolution
before it can take the statistics while it writes. The result is the same but for rounding when few
kernels do all of it, so ``Sequential`` does that unasked. It does the same with a convolution or a
linear layer and the ReLU behind it, and with a 2x2 max-pool behind a convolution and both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard, TypeVar, overload

import numpy as np

from tinysmooth.checks import describe
from tinysmooth.nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from tinysmooth.nn.module import Module
from tinysmooth.tensor import Tensor

__all__ = ["Residual", "Sequential"]

M = TypeVar("M", bound=Module)


class Sequential(Module):
    """Run modules one after the other; they are named "0", "1", ... as in PyTorch.

    Parameters
    ----------
    *modules : Module

    Raises
    ------
    TypeError
        If something that is not a Module comes.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: module {i} is {describe(module)}; expected a Module. "
                    "Unpack a list: Sequential(*modules)"
                )
            setattr(self, str(i), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """Return one module; or several, as a ``Sequential`` of the same modules."""
        modules = list(self)
        return Sequential(*modules[index]) if isinstance(index, slice) else modules[index]

    def forward(self, x: Tensor) -> Tensor:
        """Pass ``x`` through all modules."""
        return self._run(x, None)

    def _run(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """Pass ``x`` through all modules and add ``residual``, in as few passes as possible."""
        modules = list(self)
        i = 0
        while i < len(modules):
            shape = getattr(x, "shape", ())
            before = _plain_convolution(modules[i : i + 2]) if len(shape) == 4 else None
            if before is not None:
                shape = before.output_shape(shape)
                i += 1
            module = modules[i]
            if _is_plain(module, Linear) and _relu_follows(module, modules[i + 1 : i + 2], x):
                x = module.rectified(x)
                i += 2
                continue
            if before is not None and isinstance(module, ReLU):
                pool = i + 1 < len(modules) and _halves(modules[i + 1], shape)
                x = before.rectified(x, pool=pool)
                i += 2 if pool else 1
                continue
            if not _is_plain(module, BatchNorm2d):
                x = module(x)
                i += 1
                continue
            relu = i + 1 < len(modules) and _is_plain(modules[i + 1], ReLU)
            i += 2 if relu else 1
            pool = i < len(modules) and _halves(modules[i], shape)
            i += 1 if pool else 0
            here = None
            if i == len(modules) and not pool and _fits(residual, x, shape):
                here, residual = residual, None
            x = module.fused(x, relu=relu, pool=pool, residual=here, before=before)
        return x if residual is None else _add(residual, x)


class Residual(Module):
    """Add a branch to its input: ``x + module(x)`` (He et al. 2016).

    Parameters
    ----------
    module : Module
        The branch; its result must have the shape of its input.
    zero_init : bool
        Start the last BatchNorm scale of the branch at 0, so that the block begins as the identity
        and deep networks train from the first step (Goyal et al. 2017, section 5.1).

    Raises
    ------
    ValueError
        If ``zero_init`` is asked of a branch without BatchNorm.
    """

    def __init__(self, module: Module, zero_init: bool = False) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise TypeError(f"Residual: module is {describe(module)}; expected a Module")
        self.module = module
        if zero_init:
            norms = [part for part in module.modules() if isinstance(part, BatchNorm2d)]
            if not norms:
                raise ValueError("Residual: zero_init=True came; expected a branch with BatchNorm")
            norms[-1].weight.data[...] = 0

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not isinstance(x, Tensor):
            x = Tensor(x)
        if type(self.module) is Sequential and "forward" not in vars(self.module):
            return self.module._run(x, x)
        return _add(x, self.module(x))


def _add(x: Tensor, branch: Tensor) -> Tensor:
    """Return the sum, of equal shapes: broadcasting here would hide a mistake."""
    if branch.shape != x.shape:
        raise ValueError(
            f"Residual: the branch turned shape {x.shape} into {branch.shape}; expected a result "
            "of the input's shape"
        )
    return x + branch


def _is_plain(module: Module, kind: type[M]) -> TypeGuard[M]:
    """Tell whether a module is of this very class, and nobody gave it a ``forward`` of its own."""
    return type(module) is kind and "forward" not in vars(module)


def _plain_convolution(modules: list[Module]) -> Conv2d | None:
    """Return the first of two modules, if it can be run together with the second one."""
    if len(modules) < 2 or not _is_plain(modules[0], Conv2d):
        return None
    if not (_is_plain(modules[1], ReLU) or _is_plain(modules[1], BatchNorm2d)):
        return None
    bias = modules[0].bias
    return modules[0] if bias is None or bias.dtype == modules[0].weight.dtype else None


def _relu_follows(layer: Linear, following: list[Module], x: Tensor) -> bool:
    """Tell whether what follows a linear layer is a ReLU that can be run with it."""
    if not following or not _is_plain(following[0], ReLU):
        return False
    dtype = getattr(x, "dtype", None)
    alike = all(each is None or each.dtype == dtype for each in (layer.weight, layer.bias))
    return alike and dtype in (np.float32, np.float64)


def _halves(module: Module, shape: tuple[int, ...]) -> bool:
    """Tell whether ``module`` is the plain 2x2 max-pool that the fused kernel knows."""
    return (
        _is_plain(module, MaxPool2d)
        and module.kernel_size == module.stride == (2, 2)
        and module.padding == (0, 0)
        and len(shape) == 4
        and min(shape[2:]) >= 2
    )


def _fits(residual: Tensor | None, x: Tensor, shape: tuple[int, ...]) -> bool:
    """Tell whether a residual can be added to what has this shape and the dtype of ``x``."""
    return residual is not None and residual.shape == shape and residual.dtype == x.dtype
