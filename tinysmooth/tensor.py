"""Tensor: an array that remembers how it was computed.

Arithmetic, indexing and the methods ``sum``, ``exp`` and so on are bound in
:mod:`tinysmooth.ops.operators`, one visible table; the walk itself is in :mod:`tinysmooth.graph`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinysmooth.graph import Array, Memory, Node, store, walk

__all__ = ["Array", "Tensor", "nested_tensors"]

_NUMBERS = frozenset({int, float, bool})
"""Types of what most lists hold, which are long."""


class Tensor:
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array_like
        Numbers of any shape. They are copied, so that a later change of the original cannot
        falsify a gradient. The dtype is kept (a list of Python floats gives float64, as in NumPy).
    requires_grad : bool
        Whether ``backward`` should leave a gradient in ``.grad``. Needs a floating dtype; bare
        Python integers become float64, integer *arrays* are refused.

    Attributes
    ----------
    grad : ndarray or None
        Sum of the gradients of all ``backward`` calls since ``zero_grad``; same shape and dtype.

    Raises
    ------
    TypeError
        If the data are not numbers, or a gradient is asked of an integer array.

    Examples
    --------
    >>> x = Tensor(3.0, requires_grad=True)
    >>> y = x * x + x
    >>> y.backward()
    >>> print(x.grad)
    7.0
    """

    __slots__ = (
        "__weakref__",
        "_computed",
        "_data",
        "_handle",
        "_memory",
        "_node",
        "_requires",
        "grad",
    )

    def __init__(self, data: ArrayLike | Tensor, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            data = data._data
        if isinstance(data, list | tuple) and any(each._requires for each in nested_tensors(data)):
            raise TypeError(
                "Tensor: data holds Tensors that require a gradient, of which a new Tensor knows "
                "nothing; expected numbers. Join them with ts.stack, or detach() them"
            )
        if isinstance(data, np.ma.MaskedArray):
            raise TypeError(
                "Tensor: data is a masked array; expected one without a mask, as data.filled(0) "
                "gives"
            )
        try:
            array = np.array(data, order="K")
        except ValueError as error:
            raise ValueError(f"Tensor: data is not a rectangular array ({error})") from None
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"Tensor: data has dtype {array.dtype}; expected real numbers (float or integer)"
            )
        if (
            requires_grad
            and array.dtype.kind in "iu"
            and not isinstance(data, np.ndarray | np.generic)
        ):
            array = array.astype(np.float64)
        self._setup(array, None)
        self.requires_grad = requires_grad

    def _setup(self, array: Array, node: Node | None, computed: bool = False) -> None:
        self._data = array
        self._computed = computed
        self._node = node
        self._requires = node is not None
        self._memory: Memory | None = None
        self._handle: Array | None = None
        self.grad: Array | None = None

    @classmethod
    def _wrap(cls, array: Array, node: Node | None = None) -> Tensor:
        """Make a tensor of an array that something computed, without copying it."""
        tensor = cls.__new__(cls)
        tensor._setup(array, node, computed=True)
        return tensor

    # What it is

    @property
    def data(self) -> Array:
        """The numbers: a view that may be changed in place, unless a graph has saved them.

        While an operation holds them for its backward the view is read-only, and writing raises
        ``ValueError``; it is writeable again after ``backward()`` or when the graph is dropped.
        Views taken of this view before the forward (``w = x.data[0]``) are not covered: NumPy has
        no list of them.
        Assigning an array of the same shape replaces the numbers (the dtype is kept).
        """
        if self._handle is None:
            self._handle = self._shared_memory().lend(self._data)
        return self._handle

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if value is self._handle:  # the end of an augmented assignment: already written
            return
        array = np.array(value, dtype=self._data.dtype, order="K")
        if array.shape != self._data.shape:
            raise ValueError(f"Tensor.data: shape {array.shape} came; expected {self._data.shape}")
        self._rebind(array)

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to this tensor."""
        return self._requires

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"Tensor: requires_grad is {value!r}; expected True or False")
        if value and self._data.dtype.kind != "f":
            raise TypeError(
                f"Tensor: requires_grad=True came with dtype {self._data.dtype}; expected a "
                "floating dtype. Convert with array.astype(numpy.float32)"
            )
        if self._node is not None and not value:
            raise RuntimeError("Tensor: requires_grad of a computed tensor is fixed; use detach()")
        self._requires = bool(value)

    shape = property(lambda self: self._data.shape, doc="Lengths of the axes.")
    ndim = property(lambda self: self._data.ndim, doc="Number of axes.")
    size = property(lambda self: self._data.size, doc="Number of elements.")
    dtype = property(lambda self: self._data.dtype, doc="NumPy dtype of the elements.")

    def numpy(self) -> Array:
        """Return the numbers as an ndarray that shares memory (see ``data``)."""
        return self.data

    def item(self) -> float | int | bool:
        """Return the only element as a Python number; ``ValueError`` if there are several."""
        if self._data.size != 1:
            raise ValueError(f"Tensor.item: shape is {self.shape}; expected exactly one element")
        value: float | int | bool = self._data.item()
        return value

    def detach(self) -> Tensor:
        """Return a tensor with the same memory and no history."""
        tensor = Tensor._wrap(self._data)
        tensor._memory = self._shared_memory()
        return tensor

    def zero_grad(self) -> None:
        """Forget the gradient: ``grad`` becomes ``None``."""
        self.grad = None

    def retain_grad(self) -> Tensor:
        """Ask ``backward`` to leave a gradient in this computed tensor too; returns the tensor."""
        if not self._requires:
            raise RuntimeError("Tensor.retain_grad: this tensor does not require a gradient")
        if self._node is not None:
            self._node.watcher = weakref.ref(self)
        return self

    def mark_changed(self) -> None:
        """Tell that the numbers were written in place past ``data``; backward then refuses."""
        if self._memory is not None:
            self._memory.version += 1

    def _rebind(self, array: Array) -> None:
        """Use other memory from now on; a graph that saved the old one keeps it unchanged."""
        self._data, self._memory, self._handle = array, None, None

    def _shared_memory(self) -> Memory:
        if self._memory is None:
            self._memory = Memory()
        return self._memory

    # Python's protocols

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Let ``numpy.asarray(tensor)`` work."""
        return np.array(self.data, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        """Length of the first axis."""
        if not self._data.ndim:
            raise TypeError("len() of a Tensor without axes")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over the first axis, recorded like any indexing."""
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        """Return the only element as a float."""
        return float(self.item())

    def __int__(self) -> int:
        """Return the only element as an integer, cut off towards 0."""
        return int(self.item())

    def __format__(self, spec: str) -> str:
        """Format the only element as a Python number, as in ``f"{loss:.3f}"``; or show all."""
        if spec and self._data.size != 1:
            raise TypeError(
                f"Tensor: the format {spec!r} came for shape {self.shape}; expected one element. "
                "Format its numbers one by one"
            )
        return format(self.item(), spec) if spec else str(self)

    def __bool__(self) -> bool:
        """Truth of the only element."""
        if self._data.size != 1:
            raise ValueError(f"the truth of a Tensor of shape {self.shape} is ambiguous")
        return bool(self._data)

    def __repr__(self) -> str:
        """Show the numbers, the dtype and where they came from."""
        body = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=50)
        origin = f", from {self._node.name}" if self._node else ""
        leaf = ", requires_grad=True" if self._requires and not self._node else ""
        return f"Tensor({body}, dtype={self.dtype}{leaf}{origin})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the numbers; history stays behind."""
        if self._node is not None:
            raise RuntimeError("Tensor: only leaves can be copied or pickled; use detach()")
        return (Tensor, (self._data, self._requires))

    def __setitem__(self, key: object, value: object) -> None:
        """Refuse: an assignment cannot be differentiated."""
        raise TypeError(
            "Tensor does not support item assignment: it could not be differentiated. "
            "Use ts.where, or write to .data where no gradient is needed"
        )

    if TYPE_CHECKING:  # bound at run time in ops/operators.py

        def __neg__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...

        T: Tensor
        sum: Callable[..., Tensor]
        mean: Callable[..., Tensor]
        max: Callable[..., Tensor]
        min: Callable[..., Tensor]
        exp: Callable[[], Tensor]
        log: Callable[[], Tensor]
        sqrt: Callable[[], Tensor]
        abs: Callable[[], Tensor]
        relu: Callable[[], Tensor]
        reshape: Callable[..., Tensor]
        transpose: Callable[..., Tensor]

    # The walk

    def backward(self, grad: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it was computed from.

        Parameters
        ----------
        grad : array_like, optional
            Gradient arriving from above, of this tensor's shape; may be left out for one element,
            where it is 1. It is read where it lies, and not written to.
        retain_graph : bool
            Keep what the rules saved, so that a second ``backward`` is possible.

        Raises
        ------
        RuntimeError
            If no gradient is required here, the graph was already freed, or a saved array changed.
        ValueError
            If ``grad`` is missing for several elements or has another shape.
        """
        if not self._requires:
            raise RuntimeError(
                "backward: this tensor does not require a gradient; expected one computed, outside "
                "no_grad, from a Tensor with requires_grad=True"
            )
        if grad is None:
            if self._data.size != 1:
                raise ValueError(
                    f"backward: shape is {self.shape}; expected one element, or a grad of that "
                    "shape. Reduce first, for example with .sum()"
                )
            seed = np.ones(self.shape, self.dtype)
        else:
            seed = np.asarray(grad._data if isinstance(grad, Tensor) else grad, self.dtype)
            if seed.shape != self.shape:
                raise ValueError(f"backward: grad has shape {seed.shape}; expected {self.shape}")
        if self._node is None:
            store(self, seed)
        else:
            walk(self._node, seed, retain_graph)


def nested_tensors(value: object) -> Iterator[Tensor]:
    """Find the Tensors in lists and tuples, however deep they lie."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple) and not _NUMBERS.issuperset(map(type, value)):
        for item in value:
            yield from nested_tensors(item)
