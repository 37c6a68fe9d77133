"""Draw a recorded computation: every tensor with its operation, its value and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tinysmooth.plots.style import GROUND, INK, MUTED, new_figure
from tinysmooth.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["graph"]

LARGEST = 40  # boxes; more cannot be read
WIDTH, HEIGHT = 0.8, 0.64  # of a box, where columns and rows are 1 apart
GRADIENT = "#A34A7C"  # the purple of the series, dark enough for small letters
LETTERS = 14  # that fit into a box at full size
SHOWN = 3  # numbers of an array that are written out


@dataclass
class _Box:
    """A tensor on the drawing board; or, without one, a place that an arrow passes on its way."""

    tensor: Tensor | None
    parents: list[_Box] = field(default_factory=list)
    consumers: list[_Box] = field(default_factory=list)
    column: int = 0
    row: float = 0.0

    @property
    def room(self) -> float:
        """Half the height that it needs in its column."""
        return 0.25 if self.tensor is None else 0.5


def graph(tensor: Tensor, names: Mapping[str, Tensor] | None = None) -> Figure:
    """Draw the graph that leads to a tensor, leaves on the left, the tensor on the right.

    A box shows the operation (or the name of a leaf), the value and, in another colour, the
    gradient if there is one. Computed tensors have a gradient only if ``retain_grad()`` was called
    on them before ``backward()``. Inputs that need no gradient are not recorded and not drawn. A
    graph that has been walked, and so freed, can still be drawn.

    Parameters
    ----------
    tensor : Tensor
        One that requires a gradient.
    names : mapping of str to Tensor, optional
        Names for some of the tensors, leaves or not.

    Raises
    ------
    TypeError
        If ``tensor`` is no Tensor.
    ValueError
        If nothing was recorded for it, or the graph has more than 40 tensors.

    Examples
    --------
    >>> x = Tensor(3.0, requires_grad=True)
    >>> y = x * x + x
    >>> y.backward()
    >>> figure = graph(y, {"x": x})
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"graph: tensor is {tensor!r}; expected a Tensor")
    if not tensor.requires_grad:
        raise ValueError(
            "graph: tensor does not require a gradient, so nothing was recorded; expected one "
            "computed from a Tensor with requires_grad=True"
        )
    boxes = _collect(tensor)
    columns = _choose_columns(boxes)
    arrows = [(_arrow(box, place), place) for box in boxes for place in range(len(box.parents))]
    passed = [stop for arrow, _ in arrows for stop in arrow[1:-1]]
    _choose_rows(boxes + passed, columns)
    called = {id(value): name for name, value in (names or {}).items()}
    low = min(box.row - box.room for box in boxes + passed)
    high = max(box.row + box.room for box in boxes + passed)
    figure, axes = new_figure(width=1.4 * columns + 0.2, height=1.1 * (high - low) + 0.2)
    axis = axes[0, 0]
    axis.axis("off")
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(low, high))
    for arrow, place in arrows:
        _draw_arrow(axis, arrow, place)
    for box in boxes:
        _draw_box(axis, box, called.get(id(box.tensor), ""))
    return figure


def _collect(tensor: Tensor) -> list[_Box]:
    """Return a box for every tensor, each one before its parents (the output comes first)."""
    boxes: dict[int, _Box] = {}
    order: list[_Box] = []
    stack: list[tuple[Tensor, bool]] = [(tensor, False)]
    while stack:
        current, parents_done = stack.pop()
        key = id(current)
        node = current._node
        parents = [] if node is None else list(node.tensors())
        if parents_done:
            if key not in boxes:
                boxes[key] = _Box(current, [boxes[id(parent)] for parent in parents])
                order.append(boxes[key])
            continue
        if key in boxes:
            continue
        stack.append((current, True))
        stack += [(parent, False) for parent in reversed(parents) if id(parent) not in boxes]
        if len(stack) + len(order) > 20 * LARGEST:
            break
    if len(order) > LARGEST or not order or order[-1].tensor is not tensor:
        raise ValueError(
            f"graph: tensor comes from more than {LARGEST} others; expected a graph that can be "
            "read. Draw a smaller computation"
        )
    order.reverse()
    return order


def _choose_columns(boxes: list[_Box]) -> int:
    """Put each tensor just left of the first that uses it; return the number of columns."""
    for box in boxes:  # consumers come before their parents
        for parent in box.parents:
            parent.column = min(parent.column, box.column - 1)
    leftmost = min(box.column for box in boxes)
    for box in boxes:
        box.column -= leftmost
    return boxes[0].column + 1


def _arrow(box: _Box, place: int) -> list[_Box]:
    """Return the boxes that an arrow joins, with a place for it in every column between them."""
    parent = box.parents[place]
    stops = [_Box(None, column=column) for column in range(parent.column + 1, box.column)]
    arrow = [parent, *stops, box]
    for stop, following in zip(arrow, arrow[1:], strict=False):
        stop.consumers.append(following)
    return arrow


def _choose_rows(boxes: list[_Box], columns: int) -> None:
    """Put each box near the middle of its consumers, without overlap in a column."""
    for column in range(columns - 1, -1, -1):
        here = [box for box in boxes if box.column == column]
        wish = {id(box): _middle(box) for box in here}
        here.sort(key=lambda box: -wish[id(box)])
        top = float(np.mean(list(wish.values()))) + sum(box.room for box in here)
        for box in here:
            box.row = top - box.room
            top -= 2 * box.room


def _middle(box: _Box) -> float:
    """Return the mean row of the consumers; an earlier argument wants to be a little higher."""
    if not box.consumers:
        return 0.0
    rows = []
    for consumer in box.consumers:
        places = [i for i, parent in enumerate(consumer.parents) if parent is box]
        middle = (len(consumer.parents) - 1) / 2
        rows.append(
            consumer.row + 0.1 * (middle - float(np.mean(places))) if places else consumer.row
        )
    return float(np.mean(rows))


def _draw_arrow(axis: Axes, arrow: list[_Box], place: int) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    start, end = arrow[0], arrow[-1]
    points = [(start.column + WIDTH / 2, start.row)]
    for stop in arrow[1:-1]:
        points += [(stop.column - WIDTH / 2, stop.row), (stop.column + WIDTH / 2, stop.row)]
    points.append((end.column - WIDTH / 2, end.row))
    # The same tensor twice, as in x * x: two arrows, drawn apart.
    twins = [i for i, parent in enumerate(end.parents) if parent is start]
    shift = 0.2 * ((len(twins) - 1) / 2 - twins.index(place))
    points = [(x, y + shift) for x, y in points]
    # Bend horizontally out of each point and into the next.
    path, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        reach = 0.45 * (x1 - x0)
        path += [(x0 + reach, y0), (x1 - reach, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
    axis.add_patch(
        FancyArrowPatch(
            path=Path(path, codes),
            arrowstyle="-|>",
            mutation_scale=10,
            color=MUTED,
            linewidth=1.3,
            fill=False,
        )
    )


def _draw_box(axis: Axes, box: _Box, name: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    tensor = box.tensor
    assert tensor is not None
    node = tensor._node
    leaf = node is None
    axis.add_patch(
        FancyBboxPatch(
            (box.column - WIDTH / 2, box.row - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor="#EAF3F9" if leaf else GROUND,
            edgecolor=INK,
            linewidth=1.2,
        )
    )
    operation = "" if node is None else node.name
    title = f"{name} = {operation}" if name and operation else name or operation or "leaf"
    lines = [(title, INK, "bold"), (_numbers(tensor.data), INK, "normal")]
    if tensor.grad is not None:
        lines.append(("grad " + _numbers(tensor.grad).removeprefix("shape "), GRADIENT, "normal"))
    for place, (text, colour, weight) in enumerate(lines):
        axis.text(
            box.column,
            box.row + 0.19 * ((len(lines) - 1) / 2 - place),
            text,
            color=colour,
            weight=weight,
            fontsize=9.0 * min(1.0, LETTERS / len(text)),
            ha="center",
            va="center",
        )


def _numbers(array: Any) -> str:
    """Write a small array out, a larger one as its shape."""
    values = np.asarray(array)
    if values.ndim == 0:
        return f"{values:.4g}"
    if values.ndim == 1 and values.size <= SHOWN:
        return "[" + " ".join(f"{value:.3g}" for value in values) + "]"
    sizes = " x ".join(map(str, values.shape))
    return f"shape {sizes}" if values.ndim > 1 else f"shape ({sizes},)"
