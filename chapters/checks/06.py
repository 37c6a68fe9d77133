"""Checks of chapter 06: counting work, four multiplications, blocks, and Amdahl's law."""

import numpy as np

from tinysmooth.chapters.expect import frozen, holds, same


def check_multiply_adds(attempt):
    for x_shape, weight_shape, stride, padding, out in [
        ((1, 3, 3, 1), (1, 1, 3, 3), 1, 0, (1, 1)),
        ((8, 32, 32, 32), (64, 32, 3, 3), 1, 1, (32, 32)),
        ((2, 7, 9, 3), (4, 3, 3, 2), 2, 1, (4, 5)),
        ((1, 8, 8, 5), (6, 5, 1, 1), 3, 0, (3, 3)),
    ]:
        inner = int(np.prod(weight_shape))
        want = x_shape[0] * out[0] * out[1] * inner
        same(
            attempt(x_shape, weight_shape, stride, padding),
            want,
            f"multiply_adds({x_shape}, {weight_shape}, {stride}, {padding})",
            mistakes=[
                (2 * want, "a multiplication and the addition after it count as one"),
                (
                    x_shape[0] * x_shape[1] * x_shape[2] * inner,
                    "count the pixels of the result, not those of the images",
                ),
                (want // x_shape[0], "there are several images"),
                (want // weight_shape[1], "each result adds up over the channels, too"),
            ],
            hint="numbers of the result times the products that each needs",
        )


class _Counted:
    """A number that counts how often two of its kind are multiplied."""

    products = 0

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return _Counted(self.value + _plain(other))

    def __sub__(self, other):
        return _Counted(self.value - _plain(other))

    def __rsub__(self, other):
        return _Counted(_plain(other) - self.value)

    def __neg__(self):
        return _Counted(-self.value)

    def __truediv__(self, other):
        if isinstance(other, _Counted):
            _Counted.products += 1
        return _Counted(self.value / _plain(other))

    def __mul__(self, other):
        if isinstance(other, _Counted):
            _Counted.products += 1
        return _Counted(self.value * _plain(other))

    __radd__, __rmul__ = __add__, __mul__


def _plain(number):
    return number.value if isinstance(number, _Counted) else number


def check_winograd_pair(attempt):
    rng = np.random.default_rng(3)
    for _ in range(3):
        d, g = rng.normal(size=4), rng.normal(size=3)
        want = [d[:3] @ g, d[1:] @ g]
        same(
            attempt(frozen(d), frozen(g)),
            want,
            "winograd_pair(d, g)",
            mistakes=[(want[::-1], "the two results are in the wrong order")],
            hint="compare m1 to m4 with the chapter, sign by sign",
        )
    _Counted.products = 0
    numbers = np.array([_Counted(value) for value in rng.normal(size=7)], dtype=object)
    attempt(numbers[:4], numbers[4:])
    used = _Counted.products
    holds(
        used <= 4,
        f"winograd_pair multiplied {used} times; four times is enough",
        "multiply sums of pixels with sums of weights",
    )


def check_blocked_matmul(attempt):
    rng = np.random.default_rng(4)
    for shape, block in [((4, 4, 4), 2), ((5, 7, 3), 2), ((3, 2, 6), 8), ((6, 5, 4), 1)]:
        a = rng.normal(size=shape[:2]).view(_Watched)
        b = rng.normal(size=shape[1:]).view(_Watched)
        _Watched.largest = 0
        call = f"blocked_matmul(a, b, {block}) with shapes {a.shape} and {b.shape}"
        want = np.asarray(a) @ np.asarray(b)
        whole = (shape[1] // block) * block
        only_whole = np.asarray(a)[:, :whole] @ np.asarray(b)[:whole]
        same(
            np.asarray(attempt(a, b, block)),
            want,
            call,
            mistakes=[(only_whole, "the last piece of the shared dimension is missing")],
            hint="each block of the result is a sum over the blocks of the shared dimension",
        )
        holds(
            _Watched.largest <= block,
            f"{call} multiplied a piece with a side of {_Watched.largest}",
            "cut rows, columns and the shared dimension",
        )


class _Watched(np.ndarray):
    """An array that remembers the largest side of a matrix product."""

    largest = 0

    @staticmethod
    def watch(factors):
        sides = [side for each in factors for side in each.shape]
        _Watched.largest = max(_Watched.largest, *sides)

    def __array_function__(self, function, types, args, kwargs):
        if function in (np.dot, np.einsum, np.inner, np.tensordot):
            _Watched.watch([each for each in args if isinstance(each, np.ndarray)])
        return super().__array_function__(function, types, args, kwargs)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [np.asarray(each) for each in inputs]
        if ufunc is np.matmul:
            _Watched.watch(plain)
        if "out" in options:
            options["out"] = tuple(np.asarray(each) for each in options["out"])
        return getattr(ufunc, method)(*plain, **options)


def check_whole_speedup(attempt):
    for shares, factors, want in [
        ([0.8], [10.0], 1 / 0.28),
        ([0.8], [np.inf], 5.0),
        ([0.5, 0.3], [2.0, 3.0], 1 / 0.55),
        ([0.25, 0.25, 0.5], [1.0, 1.0, 1.0], 1.0),
        ([], [], 1.0),
    ]:
        pairs = list(zip(shares, factors, strict=True))
        same(
            attempt(shares, factors),
            want,
            f"whole_speedup({shares}, {factors})",
            mistakes=[
                (sum(s * f for s, f in pairs) + 1 - sum(shares), "times add up, speeds do not"),
                (1 / want, "this is the time that is left; the speed-up is one over it"),
                (
                    1 / (sum(s / f for s, f in pairs) or 1.0),
                    "the parts that stay as they were take time, too",
                ),
            ],
            hint="add up the times that are left, then take one over it",
        )
