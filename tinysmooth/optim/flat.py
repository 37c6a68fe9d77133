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
    """Parameters of one dtype laid end to end; their tensors become views of ``values``.

    Arrays and tensors that shared memory with a parameter before no longer do.
    """

    def __init__(self, parameters: Sequence[Tensor], decays: Sequence[float]) -> None:
        self.parameters = list(parameters)
        sizes = [parameter.size for parameter in self.parameters]
        ends = [int(end) for end in np.cumsum(sizes)]
        self.pieces = [slice(e - n, e) for e, n in zip(ends, sizes, strict=True)]
        dtype = self.parameters[0].dtype
        self.values = np.empty(0, dtype)
        self.decays = np.array(decays, dtype)
        self._views: list[Array] = []
        self.gather()

    def gather(self) -> None:
        """Take in the parameters if the numbers of any were replaced since the last time.

        All go to new memory: a graph may still need the old numbers.
        """
        pairs = zip(self.parameters, self._views, strict=False)
        if self._views and all(parameter._data is view for parameter, view in pairs):
            return
        for parameter in self.parameters:
            if parameter.dtype != self.values.dtype:
                raise RuntimeError(
                    f"optimiser: a parameter of shape {parameter.shape} is {parameter.dtype} now; "
                    f"expected {self.values.dtype}, as before. Make the optimiser after astype"
                )
        self.values = memory.empty(self.pieces[-1].stop, self.values.dtype)
        self._views = []
        for parameter, piece in zip(self.parameters, self.pieces, strict=True):
            place = self.values[piece].reshape(parameter.shape)
            place[...] = parameter._data
            parameter._rebind(place)
            self._views.append(place)
