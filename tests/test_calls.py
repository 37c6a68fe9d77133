"""Calls of compiled code by address: arguments become numbers, and results come back."""

import numpy as np
import pytest

from tinysmooth.kernels import calls
from tinysmooth.kernels.jit import ENABLED, jit


def describe(array):
    return [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5, np.float32),
        np.zeros((2, 3, 4)),
        np.zeros((2, 3, 4))[:, ::2],
        np.zeros((3, 4), order="F"),
        np.zeros((0, 7), np.int64),
        np.array(3.0),
        np.frombuffer(b"12345678", np.uint8),
    ],
)
def test_an_array_is_its_numbers(array):
    key, numbers, alive = calls.take_apart((array,))
    assert numbers == describe(array)
    assert alive == []
    kind = calls.kinds_of(key)[0]
    assert (kind.ndim, kind.mutable, kind.aligned) == (array.ndim, True, True)
    assert str(kind.dtype) == str(array.dtype)


def test_layouts_have_types_of_their_own():
    square = np.zeros((4, 4))
    layouts = [calls.kinds_of(calls.take_apart((a,))[0])[0].layout for a in (square, square.T)]
    assert layouts == ["C", "F"]
    assert calls.kinds_of(calls.take_apart((square[:, ::2],))[0])[0].layout == "A"


def test_an_array_at_an_odd_address_is_copied_and_kept():
    odd = np.zeros(8 * 6 + 1, np.uint8)[1:].view(np.float64)
    _, numbers, alive = calls.take_apart((odd,))
    assert alive[0] is not odd and numbers == describe(alive[0])


def test_equal_types_have_equal_keys_and_others_do_not():
    key = calls.take_apart((np.zeros(3), 1, (2, 3), 0.5, True))[0]
    assert key == calls.take_apart((np.ones(9), 7, (0, 0), 1.5, False))[0]
    assert key == calls.take_apart((np.ones(9), np.int32(7), (0, 0), np.float64(2), False))[0]
    for other in (
        (np.zeros(3, np.float32), 1, (2, 3), 0.5, True),
        (np.zeros((3, 1)), 1, (2, 3), 0.5, True),
        (np.zeros(3), 1.0, (2, 3), 0.5, True),
        (np.zeros(3), 1, (2, 3, 4), 0.5, True),
        (np.zeros(3), 1, (2, 3), 0.5, 1),
        (np.zeros(3), 1, (2, 3), np.float32(0.5), True),
    ):
        assert calls.take_apart(other)[0] != key


@pytest.mark.parametrize("wrong", ["text", None, [1, 2], 1j])
def test_what_a_kernel_cannot_take_is_named(wrong):
    with pytest.raises(TypeError, match=f"cannot take {type(wrong).__name__}; expected an array"):
        calls.take_apart((np.zeros(3), wrong))


@jit
def mixture(values, scale, shape, flag, repeat):
    total = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            total += values[i, j] * scale
    if flag:
        total += shape[0] - shape[1]
    return total * repeat


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_argument_arrives(dtype, order):
    values = np.arange(6).reshape(2, 3).astype(dtype, order=order)
    assert mixture(values, 0.5, (9, 4), True, 2) == (7.5 + 5) * 2
    assert (
        mixture(values[:, ::2], np.float32(0.5), (9, 4), False, np.int8(-2)) == (0 + 2 + 3 + 5) * -1
    )
    values.flags.writeable = False
    assert mixture(values, -1.5, (-9, 4), np.True_, 1) == -22.5 - 13


@jit
def add_pair(values, pair, third, out):
    for i in range(values.size):
        out[i] = values[i] + pair[0] * pair[1] + third


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_keep_their_precision(dtype):
    values, out = np.ones(1, dtype), np.zeros(1)
    tiny = dtype(1e-10)
    add_pair(values, (tiny, dtype(1)), tiny, out)
    # In float32 a sum with 1 loses 1e-10; computed in float64 by mistake it would not.
    assert out[0] == float(dtype(1) + tiny + tiny)
    assert (out[0] == 1) == (dtype is np.float32)


@jit
def nothing(out):
    out[0] = 1


@jit
def whole(values):
    return values.size


@jit
def truth(values):
    return values.size > 2


@jit
def three(values):
    return values.size, 0.25, values.size == 0


def test_every_kind_of_result_comes_back():
    three_zeros = np.zeros(3)
    assert nothing(three_zeros) is None and three_zeros[0] == 1
    assert whole(three_zeros) == 3
    assert truth(three_zeros) and not truth(np.zeros(1))
    assert three(three_zeros) == (3, 0.25, False)


@jit
def constant():
    return 1.5, 2


def test_a_function_without_arguments_has_results_too():
    assert constant() == (1.5, 2)


@pytest.mark.skipif(not ENABLED, reason="nothing is compiled")
def test_a_failure_in_compiled_code_is_told():
    @jit
    def refuses(values):
        if values[0] == 0:
            raise ValueError("zero")

    refuses(np.ones(1))
    with pytest.raises(RuntimeError, match="refuses failed"):
        refuses(np.zeros(1))
