"""All parameters of one dtype in one array, so that an update is a single pass over memory.

    values   [ conv1.weight | bn1.weight | bn1.bias | ... ]     parameter._data is a view of a piece

Gradients stay where the walk leaves them: an update reads each but once.
"""

from __future__ import annotations

from collections.abc import Sequence

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
            if view is None:
                self._views.append(place)
            else:
                self._views[i] = place
