"""All parameters of one dtype in one array, so that an update is a single pass over memory.

    values   [ conv1.weight | bn1.weight | bn1.bias | ... ]     parameter._data is a view of a piece
    grads    [      .       |     .      |    .     | ... ]     parameter.grad likewise

The walk asks a parameter's home for the place of its gradient and writes it there, so nothing is
gathered before a step. A new gradient buffer is taken after ``zero_grad``; a gradient that somebody
still holds is therefore never overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinysmooth.graph import Array
from tinysmooth.kernels import memory
from tinysmooth.tensor import Tensor

__all__ = ["FlatParameters"]


class FlatParameters:
    """Parameters of one dtype laid end to end; their tensors become views of ``values``."""

    def __init__(self, parameters: Sequence[Tensor], decays: Sequence[float]) -> None:
        self.parameters = list(parameters)
        sizes = [parameter.size for parameter in self.parameters]
        ends = [int(end) for end in np.cumsum(sizes)]
        self.pieces = [slice(e - n, e) for e, n in zip(ends, sizes, strict=True)]
        dtype = self.parameters[0].dtype
        self.values = memory.empty((ends[-1],), dtype)
        if len(set(decays)) == 1:  # one number for all need not be read from memory
            self.decay = np.broadcast_to(np.array(decays[0], dtype), self.values.shape)
        else:
            self.decay = np.repeat(np.array(decays, dtype), sizes)
        self._views: list[Array] = []
        self._grads: Array | None = None
        self._given: dict[int, Array] = {}
        self.gather()

    def gather(self) -> None:
        """Take in every parameter whose numbers were replaced since the last time."""
        for i, parameter in enumerate(self.parameters):
            view = self._views[i] if self._views and i < len(self._views) else None
            if view is not None and parameter._data is view:
                continue
            if parameter.dtype != self.values.dtype:
                raise RuntimeError(
                    f"optimiser: a parameter of shape {parameter.shape} is {parameter.dtype} now; "
                    f"expected {self.values.dtype}, as before. Make the optimiser after astype"
                )
            place = self.values[self.pieces[i]].reshape(parameter.shape)
            place[...] = parameter._data
            parameter._rebind(place)
            parameter._home = partial(self._place, i)
            if view is None:
                self._views.append(place)
            else:
                self._views[i] = place

    def _place(self, i: int) -> Array:
        """Return the piece of the gradient buffer for parameter ``i``, never the same one twice."""
        if self._grads is None or i in self._given:
            self._grads, self._given = memory.empty(self.values.shape, self.values.dtype), {}
        parameter = self.parameters[i]
        view = self._grads[self.pieces[i]].reshape(parameter.shape)
        self._given[i] = view
        return view

    def release_grads(self) -> None:
        """Let go of the gradient buffer; who still holds a gradient keeps it."""
        self._grads, self._given = None, {}

    def whole_gradient(self) -> Array | None:
        """Return the flat gradient if every parameter's gradient lies in it, else ``None``."""
        if self._grads is None or len(self._given) != len(self.parameters):
            return None
        for i, parameter in enumerate(self.parameters):
            if parameter.grad is not self._given[i]:
                return None
        return self._grads
