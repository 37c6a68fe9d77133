"""Checks of chapter 04: the order of a walk, the way back from broadcasting, and from a product."""

import numpy as np

from tinysmooth.chapters.expect import Wrong, frozen, holds, numerical_gradient, same

GRAPHS = {
    "the doublings a + a, b + b": ({"b": ["a", "a"], "c": ["b", "b"]}, "c"),
    "b = x x, c = b + 1, d = c b": ({"b": ["x", "x"], "c": ["b"], "d": ["c", "b"]}, "d"),
    "the same with d = b c": ({"b": ["x", "x"], "c": ["b"], "d": ["b", "c"]}, "d"),
    "a long and a short way to a": (
        {"b": ["a"], "c": ["b"], "d": ["c"], "e": ["a", "d"], "f": ["e", "a"]},
        "f",
    ),
    "a graph with a value that was not used": ({"b": ["a"], "z": ["a", "b"], "c": ["b"]}, "c"),
    "a leaf alone": ({}, "x"),
}


def check_visiting_order(attempt):
    for name, (parents, output) in GRAPHS.items():
        _judge_order(attempt, name, parents, output)
    rng = np.random.default_rng(4)
    for _ in range(20):
        parents = {
            i: [int(each) for each in rng.integers(0, i, rng.integers(1, 4))] for i in range(3, 15)
        }
        _judge_order(attempt, f"the graph {parents}", parents, 14)
    chain = {i + 1: [i] for i in range(10_000)}
    try:
        order = list(attempt(chain, 10_000))  # a list by now: the small graphs came first
    except RecursionError:
        raise Wrong(
            "a chain of 10,000 values overflows Python's stack",
            "use a list of what is ready instead of recursion",
        ) from None
    holds(order == list(range(10_000, -1, -1)), "the order of a chain of 10,000 values is off")


def _judge_order(attempt, name, parents, output):
    order = attempt({key: list(value) for key, value in parents.items()}, output)
    holds(
        isinstance(order, list | tuple),
        f"{name}: visiting_order gave {type(order).__name__}, expected a list of values",
        "does the function return its result?",
    )
    reached, unseen = {output}, [output]
    while unseen:
        for parent in parents.get(unseen.pop(), []):
            if parent not in reached:
                reached.add(parent)
                unseen.append(parent)
    holds(len(set(order)) == len(order), f"{name}: {order} visits a value twice")
    missing, foreign = reached - set(order), set(order) - reached
    holds(not missing, f"{name}: {order} leaves out {sorted(missing, key=str)}")
    holds(
        not foreign,
        f"{name}: {order} visits {sorted(foreign, key=str)}, which {output} does not depend on",
    )
    place = {value: i for i, value in enumerate(order)}
    for value in order:
        for parent in parents.get(value, []):
            holds(
                place[parent] > place[value],
                f"{name}: {order} visits {parent} before {value}, which uses it and owes it a "
                "gradient",
                "count first how many gradients each value waits for",
            )


def check_unbroadcast(attempt):
    rng = np.random.default_rng(5)
    cases = [
        ((4, 3), (3,)),
        ((4, 3), (1, 3)),
        ((4, 3), (4, 1)),
        ((4, 3), ()),
        ((4, 3), (4, 3)),
        ((2, 5, 4, 3), (5, 1, 3)),
        ((2, 3), (1, 1)),
        ((2, 1), (2, 1)),
    ]
    for size, shape in cases:
        grad = frozen(rng.normal(size=size))
        # By definition: the slope of sum(grad * broadcast(v)) with respect to v.
        want = numerical_gradient(
            lambda v, g=grad: float((np.broadcast_to(v, g.shape) * g).sum()), np.zeros(shape)
        )
        same(
            attempt(grad, shape),
            want,
            f"unbroadcast(grad of shape {size}, {shape})",
            tolerance=1e-8,
            mistakes=[
                (want * np.prod(shape, initial=1.0) / grad.size, "add up; a mean is too small"),
                (np.squeeze(want), "keep the axes of size 1: keepdims=True"),
            ],
            hint="add up the axes that were put in front, then those that have size 1 in shape",
        )


def check_matmul_pullbacks(attempt):
    rng = np.random.default_rng(6)
    for left, right in [((2, 3), (3, 4)), ((1, 2), (2, 1)), ((5, 2, 3), (5, 3, 4))]:
        a, b = frozen(rng.normal(size=left)), frozen(rng.normal(size=right))
        grad = frozen(rng.normal(size=(*left[:-1], right[-1])))
        call = f"matmul_pullbacks(a, b, grad) with shapes {left} and {right}"
        answer = attempt(a, b, grad)
        holds(
            isinstance(answer, tuple | list) and len(answer) == 2,
            f"{call} gave {type(answer).__name__}, expected a pair of arrays",
        )
        wants = (
            numerical_gradient(lambda x, b=b, g=grad: float(((x @ b) * g).sum()), a),
            numerical_gradient(lambda x, a=a, g=grad: float(((a @ x) * g).sum()), b),
        )
        hint = "G B^T for a and A^T G for b, turning the last two axes only: np.swapaxes(b, -1, -2)"
        for name, got, want in zip("ab", answer, wants, strict=True):
            same(got, want, f"the gradient of {name} in {call}", tolerance=1e-8, hint=hint)
