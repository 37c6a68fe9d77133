"""``@primitive``: how a function on arrays becomes a recorded operation on tensors."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ContextDecorator
from functools import wraps
from types import CellType, FunctionType
from typing import Any, TypeAlias

import numpy as np

from tinysmooth.graph import Array, Memory, Node, Pullback
from tinysmooth.tensor import Tensor

__all__ = ["PRIMITIVES", "Recorded", "is_grad_enabled", "no_grad", "primitive", "unbroadcast"]

Recorded: TypeAlias = tuple[Array, Mapping[str, Pullback]]

PRIMITIVES: dict[str, Callable[..., Tensor]] = {}
"""Every differentiable operation by name; ``@primitive`` fills it."""

_state = threading.local()


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded in this thread."""
    return getattr(_state, "recording", True)


class no_grad(ContextDecorator):  # noqa: N801  (PyTorch's spelling)
    """Stop recording, as a context manager or a decorator; per thread, nestable.

    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> no_grad:
        """Stop recording."""
        self._before.append(is_grad_enabled())
        _state.recording = False
        return self

    def __exit__(self, *exc: object) -> None:
        """Go back to what was before."""
        _state.recording = self._before.pop()


def primitive(function: Callable[..., Recorded]) -> Callable[..., Tensor]:
    """Turn a function on arrays, with its gradient rules, into an operation on tensors.

    The function returns its value and a dictionary of *pullbacks*, one for each argument that can
    have a gradient, by the argument's name: functions from the gradient of the value to the
    gradient of the argument. A pullback may capture whatever arrays it needs. Inside the function
    arguments are arrays; outside they may be tensors or arrays, and in arguments annotated
    ``Array`` also numbers or lists (a number takes the dtype of the others and never widens it).
    An argument may be a list or tuple of tensors; its pullback then returns a sequence.

    The operation is entered in ``PRIMITIVES`` under the function's name.

    Parameters
    ----------
    function : callable
        From arrays to ``(value, pullbacks)``.

    Returns
    -------
    callable
        The same, from tensors or arrays to a Tensor.

    Raises
    ------
    TypeError
        If the function takes ``*arguments``.

    Examples
    --------
    >>> @primitive
    ... def cube(x: Array):
    ...     return x**3, {"x": lambda grad: grad * 3 * x**2}
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    array([ 3., 12.])
    >>> _ = PRIMITIVES.pop("cube")
    """
    signature = inspect.signature(function)
    names = tuple(signature.parameters)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"primitive: {function.__name__} takes *{parameter.name}; expected named "
                "arguments. Take a sequence of tensors as one argument instead"
            )
    numeric = frozenset(
        name for name, p in signature.parameters.items() if p.annotation in ("Array", Array)
    )

    @wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Tensor:
        if len(args) > len(names):
            signature.bind(*args, **kwargs)  # raises Python's own message
        given = dict(zip(names, args, strict=False))
        if given.keys() & kwargs.keys():
            signature.bind(*args, **kwargs)
        given.update(kwargs)
        inputs = {name: value for name, value in given.items() if _has_tensor(value)}
        arrays = _unwrap(function.__name__, given, inputs, numeric)
        out, pullbacks = function(**arrays)
        out = np.asarray(out)
        node = None
        if is_grad_enabled() and out.dtype.kind == "f":
            node = _record(function.__name__, inputs, arrays, out, pullbacks)
        result = Tensor._wrap(out, node)
        if out.base is not None or any(value is out for value in arrays.values()):
            _share_memory(result, inputs)
        if node is not None:
            node.saved = _hold_saved(node, inputs, arrays, result)
        return result

    operation.__annotations__ = {**function.__annotations__, "return": "Tensor"}
    PRIMITIVES[function.__name__] = operation
    return operation


def _has_tensor(value: object) -> bool:
    if isinstance(value, Tensor):
        return True
    return isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value)


def _unwrap(
    where: str, given: dict[str, Any], inputs: dict[str, Any], numeric: frozenset[str]
) -> dict[str, Any]:
    """Replace tensors by their arrays, and numbers in array arguments by weakly typed arrays."""
    arrays: dict[str, Any] = {}
    weak: list[str] = []
    for name, value in given.items():
        if isinstance(value, Tensor):
            arrays[name] = value._data
        elif name in inputs:
            arrays[name] = [t._data if isinstance(t, Tensor) else np.asarray(t) for t in value]
        elif name in numeric and not isinstance(value, np.ndarray):
            if isinstance(value, bool | int | float | np.generic):
                weak.append(name)
                arrays[name] = value.item() if isinstance(value, np.generic) else value
            elif value is not None:
                arrays[name] = _as_array(where, name, value)
            else:
                arrays[name] = None
        else:
            arrays[name] = value
    if weak:
        strong = [a.dtype for n, a in arrays.items() if n in numeric and isinstance(a, np.ndarray)]
        for name in weak:
            value = arrays[name]
            arrays[name] = np.asarray(value, np.result_type(*strong, value) if strong else None)
    return arrays


def _as_array(where: str, name: str, value: object) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{where}: {name} is not a rectangular array ({error})") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{where}: {name} is {value!r} ({type(value).__name__}); expected a Tensor, an array "
            "or a number"
        )
    return array


def _record(
    where: str,
    inputs: dict[str, Any],
    arrays: dict[str, Any],
    out: Array,
    pullbacks: Mapping[str, Pullback],
) -> Node | None:
    """Make the node of a call, or ``None`` if no argument needs a gradient."""
    parents: list[Tensor | tuple[Tensor, ...]] = []
    rules: list[Pullback] = []
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            if not value._requires:
                continue
            parent: Tensor | tuple[Tensor, ...] = value
        else:
            parent = tuple(
                item if isinstance(item, Tensor) else Tensor._wrap(np.asarray(item))
                for item in value
            )
            if not any(tensor._requires for tensor in parent):
                continue
        if name not in pullbacks:
            raise NotImplementedError(
                f"{where}: {name} requires a gradient, but {where} has no rule for it. "
                "Pass it detached: x.detach()"
            )
        parents.append(parent)
        rules.append(pullbacks[name])
    return Node(where, tuple(parents), tuple(rules), ()) if parents else None


def _share_memory(result: Tensor, inputs: dict[str, Any]) -> None:
    """Let a view share the write protection of the tensor it looks into."""
    for value in inputs.values():
        for tensor in (value,) if isinstance(value, Tensor) else value:
            if isinstance(tensor, Tensor) and np.may_share_memory(result._data, tensor._data):
                result._memory = tensor._shared_memory()
                return


def _hold_saved(
    node: Node, inputs: dict[str, Any], arrays: dict[str, Any], result: Tensor
) -> tuple[tuple[Memory, int], ...]:
    """Protect every argument (or the value itself) whose array a rule has captured."""
    captured: dict[int, Array] = {}
    assert node.rules is not None
    for rule in node.rules:
        _collect_arrays(rule, captured, depth=4)
    if not captured:
        return ()
    tensors = [result]
    for value in inputs.values():
        tensors.extend((value,) if isinstance(value, Tensor) else value)
    memories: dict[int, Memory] = {}
    for tensor in tensors:
        if isinstance(tensor, Tensor) and any(
            array is tensor._data or np.may_share_memory(array, tensor._data)
            for array in captured.values()
        ):
            memory = tensor._shared_memory()
            memories[id(memory)] = memory
    for memory in memories.values():
        memory.hold()
    return tuple((memory, memory.version) for memory in memories.values())


_HOLD_NOTHING = frozenset({int, float, bool, str, bytes, type(None), np.dtype})
"""Types that most cells of a closure have; asked first, because every operation asks."""


def _collect_arrays(value: object, found: dict[int, Array], depth: int) -> None:
    """Find the arrays that a rule's closure reaches, through other functions and containers."""
    if isinstance(value, np.ndarray):
        found[id(value)] = value
    elif depth == 0 or type(value) in _HOLD_NOTHING:
        return
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            _collect_arrays(_cell_content(cell), found, depth - 1)
        for default in value.__defaults__ or ():
            _collect_arrays(default, found, depth - 1)
    elif isinstance(value, tuple | list | Sequence) and not isinstance(value, str | bytes):
        for item in value:
            _collect_arrays(item, found, depth - 1)
    elif isinstance(value, Mapping):
        for item in value.values():
            _collect_arrays(item, found, depth - 1)


def _cell_content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that was never assigned
        return None


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes that broadcasting added or stretched.

    The adjoint of repeating a number is adding up what came back from the copies.

    Parameters
    ----------
    grad : ndarray
        Of the shape that broadcasting made.
    shape : tuple of int
        Of the array that was broadcast.

    Returns
    -------
    ndarray, shape ``shape``

    Examples
    --------
    >>> unbroadcast(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and grad.shape[extra + i] != 1
    )
    if math.prod(grad.shape) == 0:
        return np.zeros(shape, grad.dtype)
    total: Array = grad.sum(axis=axes)
    return total.reshape(shape)
