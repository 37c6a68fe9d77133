"""The recorded graph and the walk back through it.

A :class:`Node` is one recorded call: the tensors that need a gradient and, for each, a rule (a
*pullback*) from the gradient of the value to the gradient of that argument. :func:`walk` goes from
the output to the leaves. Two promises are kept here and nowhere else:

* **Order.** A node is visited once, after everything that used its value has sent its gradient.
  Visiting it earlier would pass on a sum that is still missing terms.
* **Honest memory.** A rule holds on to the arrays it needs (its closure is the list). As long as it
  does, ``tensor.data`` is lent out read-only (:class:`Memory`), so that nobody can change a number
  between the forward and the backward and get a silently wrong gradient; an optimiser that writes
  past that door is noticed by a version count.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinysmooth.tensor import Tensor

__all__ = ["Array", "Memory", "Node", "Pullback", "copied", "fresh", "set_movers", "store", "walk"]

Array: TypeAlias = NDArray[Any]
Pullback: TypeAlias = Callable[[Array], Any]

_lock = threading.Lock()
_dropped: deque[Memory] = deque()


def _settle() -> None:
    """Take back the holds of nodes that died, unless the lock is held: its holder does it then.

    A node may die anywhere, even inside the locked code below when the garbage collector starts
    there. To wait for the lock would be to wait for oneself; appending to a deque needs no lock.
    """
    while _dropped and _lock.acquire(blocking=False):
        try:
            while _dropped:
                _dropped.popleft()._count(-1)
        finally:
            _lock.release()


def _renew_lock() -> None:
    """Replace the lock in a forked child, where its holder may no longer exist."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Memory:
    """Who may write to the numbers of one or several tensors (views share one ``Memory``)."""

    __slots__ = ("handles", "holds", "version")

    def __init__(self) -> None:
        self.holds = 0
        self.version = 0
        self.handles: list[tuple[weakref.ref[Array], bool]] = []

    def lend(self, array: Array) -> Array:
        """Return a view of ``array`` that is read-only for as long as a graph needs it."""
        handle = array.view()
        with _lock:
            self.handles = [entry for entry in self.handles if entry[0]() is not None]
            self.handles.append((weakref.ref(handle), array.flags.writeable))
            if self.holds:
                handle.flags.writeable = False
        _settle()
        return handle

    @staticmethod
    def hold(memories: Iterable[Memory]) -> None:
        """Note that rules have saved the numbers of each."""
        with _lock:
            for memory in memories:
                memory._count(1)
        _settle()

    @staticmethod
    def release(memories: Iterable[Memory]) -> None:
        """Undo one ``hold`` of each, now or as soon as nobody is in here."""
        _dropped.extend(memories)
        _settle()

    def _count(self, change: int) -> None:
        """Change the number of holds; only the first and the last matter. Needs the lock."""
        before, self.holds = self.holds, self.holds + change
        if not (before and self.holds):
            for reference, writeable in self.handles:
                handle = reference()
                if handle is not None:
                    handle.flags.writeable = writeable and not self.holds


class Node:
    """One recorded call: its name, the tensors that need a gradient, and their rules."""

    __slots__ = ("__weakref__", "name", "parents", "rules", "saved", "watcher")

    def __init__(
        self,
        name: str,
        parents: tuple[Tensor | tuple[Tensor | None, ...], ...],
        rules: tuple[Pullback, ...],
        saved: tuple[tuple[Memory, int], ...],
    ) -> None:
        self.name = name
        self.parents = parents
        self.rules: tuple[Pullback, ...] | None = rules
        self.saved = saved
        self.watcher: weakref.ref[Tensor] | None = None

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor this node sends a gradient to, in order, repeats included.

        A sequence has None in the place of an item that needed none in the forward.
        """
        for parent in self.parents:
            if not isinstance(parent, tuple):
                yield parent
            else:
                yield from (tensor for tensor in parent if tensor is not None)

    def check_saved(self) -> None:
        """Refuse to use arrays that were changed since the forward."""
        for memory, version in self.saved:
            if memory.version != version:
                raise RuntimeError(
                    f"backward: an array saved by {self.name} in the forward was changed in place "
                    "since; its gradient would be wrong. Call backward() before the change (an "
                    "optimiser's step, for example) or repeat the forward"
                )

    def free(self) -> None:
        """Drop the rules and all they captured; the parents stay, to tell a freed graph."""
        self.rules = None
        saved, self.saved = self.saved, ()
        Memory.release([memory for memory, _ in saved])

    def __del__(self) -> None:
        if self.saved:
            self.free()


def walk(root: Node, seed: Array, retain_graph: bool) -> None:
    """Send ``seed`` from ``root`` to the leaves, each node once, after all its consumers."""
    waiting = _count_consumers(root)
    sums = _Sums()
    sums.add(root, seed)
    leaves: dict[int, Tensor] = {}
    ready = [root]
    while ready:
        node = ready.pop()
        grad = sums.take(node)
        node.check_saved()
        if node.watcher is not None and (watcher := node.watcher()) is not None:
            store(watcher, grad)
        for tensor, part, given in _parts(node, grad):
            own = given and not retain_graph
            if tensor._node is None:
                leaves[id(tensor)] = tensor
                sums.add(tensor, part, own)
                continue
            sums.add(tensor._node, part, own)
            waiting[tensor._node] -= 1
            if not waiting[tensor._node]:
                ready.append(tensor._node)
        if not retain_graph:
            node.free()
    for tensor in leaves.values():
        own = sums.owns(tensor)
        store(tensor, sums.take(tensor), own)


def _count_consumers(root: Node) -> dict[Node, int]:
    """How many gradients each node below ``root`` is going to receive."""
    counts = {root: 0}
    stack = [root]
    while stack:
        node = stack.pop()
        if node.rules is None:
            raise RuntimeError(
                f"backward: the graph was already walked and its memory freed (at {node.name}). "
                "Pass retain_graph=True to the first backward(), or repeat the forward"
            )
        for tensor in node.tensors():
            child = tensor._node
            if child is None:
                continue
            if child not in counts:
                counts[child] = 0
                stack.append(child)
            counts[child] += 1
    return counts


def fresh(rule: Pullback) -> Pullback:
    """Mark a rule that gives its result away: an array nobody else holds once the rule is freed.

    Such a gradient becomes the ``.grad`` of a leaf as it is; others are copied first, because a
    rule may return the array it was given, a view of it, or the same array twice.
    """
    rule.fresh = True  # type: ignore[attr-defined]
    return rule


def _parts(node: Node, grad: Array) -> Iterator[tuple[Tensor, Array, bool]]:
    """Call the rules of a node; yield each tensor with its gradient, shape and dtype checked.

    The rules cannot write to the gradient they are given. The third item says whether what they
    return was given away (`fresh`).
    """
    assert node.rules is not None
    lent = np.asarray(grad).view()
    lent.flags.writeable = False  # the other rules read it too, and so may other branches
    for parent, rule in zip(node.parents, node.rules, strict=True):
        try:
            result = rule(lent)
        except Exception as error:
            error.add_note(f"raised by a rule of {node.name}, whose grad is read-only")
            raise
        if not isinstance(parent, tuple):
            yield parent, _fitted(node, parent, result), getattr(rule, "fresh", False)
        else:
            if len(result) != len(parent):
                raise ValueError(
                    f"backward: a rule of {node.name} returned {len(result)} gradients; expected "
                    f"{len(parent)}, one for each item of the sequence"
                )
            for tensor, part in zip(parent, result, strict=True):
                if tensor is not None:
                    yield tensor, _fitted(node, tensor, part), False


def _fitted(node: Node, tensor: Tensor, part: Any) -> Array:
    array = np.asarray(part)
    if array.shape != tensor.shape:
        raise ValueError(
            f"backward: a rule of {node.name} returned a gradient of shape {array.shape}; expected "
            f"{tensor.shape}, the shape of its argument. Is an unbroadcast missing?"
        )
    return array.astype(tensor.dtype, copy=False)


class _Sums:
    """Running sums of gradients by node or leaf; writes only to arrays it made or was given."""

    def __init__(self) -> None:
        self._sums: dict[int, Array] = {}
        self._own: set[int] = set()

    def add(self, key: object, part: Array, own: bool = False) -> None:
        before = self._sums.get(id(key))
        if before is None:
            self._sums[id(key)] = part
            if own:
                self._own.add(id(key))
        elif id(key) in self._own:
            _add(before, part, before)
        else:
            self._sums[id(key)] = _add(before, part, part if own else None)
            self._own.add(id(key))

    def owns(self, key: object) -> bool:
        """Whether the sum is in memory that nobody else holds."""
        return id(key) in self._own

    def take(self, key: object) -> Array:
        self._own.discard(id(key))
        return self._sums.pop(id(key))


Adder: TypeAlias = Callable[[Array, Array, Array | None], Array]
Copier: TypeAlias = Callable[[Array], Array]

_add: Adder = np.add
_copy: Copier = functools.partial(np.array, order="K")


def set_movers(add: Adder, copy: Copier) -> None:
    """Choose who adds and copies the arrays of the graph.

    ``add(one, other, out)`` does as ``numpy.add``: `out` may be one of the two, and if it is None
    the sum is a new array. ``copy(array)`` does as ``numpy.array(array, order="K")``.
    """
    global _add, _copy
    _add, _copy = add, copy


def copied(array: Array) -> Array:
    """Return a copy of what a caller may change, its axes in the same order in memory."""
    return _copy(array)


def store(tensor: Tensor, grad: Array, own: bool = False) -> None:
    """Add to ``tensor.grad``, in memory that nobody else holds (``own``: ``grad`` is such)."""
    if tensor.grad is not None:
        tensor.grad = np.asarray(tensor.grad + grad)
        return
    tensor.grad = grad if own else copied(grad)
