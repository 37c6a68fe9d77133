"""``@primitive``: how a function on arrays becomes a recorded operation on tensors."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ContextDecorator
from typing import Any, TypeAlias

import numpy as np

from tinysmooth.arguments import Parameters, has_tensor, tensors_in
from tinysmooth.captured import captured_arrays
from tinysmooth.checks import describe
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

    Parameters
    ----------
    function : callable, optional
        What to decorate, where it is written as ``@no_grad`` without parentheses.

    Raises
    ------
    TypeError
        If it is no function, or a generator.

    Examples
    --------
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def __new__(cls, function: Any = None) -> Any:
        """Return a context, or the function decorated."""
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self, function: Any = None) -> None:
        self._before: list[bool] = []

    def __call__(self, function: Any) -> Any:
        """Decorate a function, so that nothing is recorded while it runs."""
        if not callable(function) or inspect.isgeneratorfunction(function):
            raise TypeError(
                f"no_grad: {describe(function)} came; expected a function that is no generator, "
                "whose body runs after the call. Write `with no_grad():` inside it"
            )
        return super().__call__(function)

    def _recreate_cm(self) -> no_grad:
        return no_grad()  # one for each call: calls overlap in other threads

    def __enter__(self) -> no_grad:
        """Stop recording."""
        self._before.append(is_grad_enabled())
        _state.recording = False
        return self

    def __exit__(self, *exc: object) -> None:
        """Go back to what was before."""
        _state.recording = self._before.pop()


_NO_TENSORS = frozenset({int, float, bool, str, type(None), np.ndarray})
"""Types that most arguments have which are no Tensors; asked first, because every call asks."""


def primitive(function: Callable[..., Recorded]) -> Callable[..., Tensor]:
    """Turn a function on arrays, with its gradient rules, into an operation on tensors.

    The function returns its value and a dictionary of *pullbacks*, one for each argument that can
    have a gradient, by the argument's name: functions from the gradient of the value to the
    gradient of the argument. A pullback may capture whatever arrays it needs; the gradient that it
    is given is read-only, because others read it too. Inside the function arguments are arrays;
    outside they may be tensors or arrays, and in arguments annotated ``Array`` also numbers or
    lists (a number takes the dtype of the others and never widens it). An argument may be a list
    or tuple of tensors; its pullback then returns a sequence.

    The operation is entered in ``PRIMITIVES`` under the function's name. What it raises when it is
    called wrongly names the argument; see `tinysmooth.arguments` for what may come.

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
        If the function takes ``*arguments``, or arguments by position alone.

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
    parameters = Parameters(function)
    name = function.__name__

    @functools.wraps(function)
    def operation(*args: Any, **kwargs: Any) -> Tensor:
        given = parameters.bind(args, kwargs)
        inputs = {n: v for n, v in given.items() if type(v) not in _NO_TENSORS and has_tensor(v)}
        recording = is_grad_enabled() and any(map(_requires_grad, inputs.values()))
        arrays = parameters.unwrap(given, own=recording)
        out, pullbacks = _checked(name, function(**arrays))
        if not recording:
            out = _apart(out, given)
        node = None
        if recording and out.dtype.kind == "f":
            node = _record(name, inputs, pullbacks)
        result = Tensor._wrap(out, node)
        if out.base is not None or any(value is out for value in arrays.values()):
            _share_memory(result, inputs)
        if node is not None:
            node.saved = _hold_saved(node, inputs, result)
        return result

    operation.__annotations__ = {**function.__annotations__, "return": "Tensor"}
    PRIMITIVES[function.__name__] = operation
    return operation


def _checked(where: str, recorded: Any) -> Recorded:
    """Return what a function on arrays returned; refuse what is no value with its rules."""
    pair = isinstance(recorded, tuple) and len(recorded) == 2
    if not pair or not isinstance(recorded[1], dict | Mapping):
        raise TypeError(
            f"{where}: returned {describe(recorded)}; expected (value, rules), where rules is a "
            'dictionary such as {"x": lambda grad: ...}'
        )
    return np.asarray(recorded[0]), recorded[1]


def _requires_grad(value: Any) -> bool:
    """Tell whether a Tensor, or one in a sequence, needs a gradient."""
    if isinstance(value, Tensor):
        return value._requires
    return any(tensor._requires for tensor in tensors_in(value))


def _record(where: str, inputs: dict[str, Any], pullbacks: Mapping[str, Pullback]) -> Node:
    """Make the node of a call, some argument of which needs a gradient."""
    parents: list[Tensor | tuple[Tensor | None, ...]] = []
    rules: list[Pullback] = []
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            if not value._requires:
                continue
            parent: Tensor | tuple[Tensor | None, ...] = value
        else:
            parent = tuple(
                item if isinstance(item, Tensor) and item._requires else None for item in value
            )
            if all(item is None for item in parent):
                continue
        if name not in pullbacks:
            raise NotImplementedError(
                f"{where}: {name} requires a gradient, but {where} has no rule for it. "
                "Pass it detached: x.detach()"
            )
        parents.append(parent)
        rules.append(pullbacks[name])
    return Node(where, tuple(parents), tuple(rules), ())


def _apart(out: Array, given: Mapping[str, Any]) -> Array:
    """Return a copy of what looks into an array of the caller's, who may change it later."""
    for value in given.values():
        if isinstance(value, np.ndarray) and (value is out or out.base is not None):
            if np.may_share_memory(out, value):
                return np.array(out, order="K")
    return out


def _share_memory(result: Tensor, inputs: dict[str, Any]) -> None:
    """Let a view share the write protection of the tensor it looks into."""
    for value in inputs.values():
        for tensor in tensors_in(value):
            if np.may_share_memory(result._data, tensor._data):
                result._memory = tensor._shared_memory()
                return


def _hold_saved(
    node: Node, inputs: dict[str, Any], result: Tensor
) -> tuple[tuple[Memory, int], ...]:
    """Protect every argument (or the value itself) whose array a rule has captured."""
    assert node.rules is not None
    captured = captured_arrays(node.rules)
    if not captured:
        return ()
    themselves = set(map(id, captured))
    views = [array for array in captured if not array.flags.owndata]
    memories: list[Memory] = []
    for tensor in itertools.chain((result,), *map(tensors_in, inputs.values())):
        data = tensor._data
        # Two arrays that own their memory share none.
        others = views if data.flags.owndata else captured
        if id(data) in themselves or (others and _may_share(data, others)):
            memory = tensor._shared_memory()
            if memory not in memories:
                memories.append(memory)
    Memory.hold(memories)
    return tuple([(memory, memory.version) for memory in memories])


def _may_share(array: Array, others: Sequence[Array]) -> bool:
    """Tell whether an array may overlap with one of others."""
    for other in others:  # any() takes three times as long for the few that there are
        if np.may_share_memory(array, other):
            return True
    return False


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
