"""From one order in memory to another: the same numbers, for any number of channels and pixels."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth import kernels
from tinysmooth.kernels import jit, layout, thread_count

# images, channels, height, width
SHAPES = [
    (7, 3, 41, 40),
    (64, 16, 6, 6),
    (5, 20, 37, 19),
    (2, 64, 32, 32),
    (1, 33, 1, 1001),
    (3, 15, 31, 33),
    (40, 1, 30, 30),
    (1, 1000, 1, 40),
    (2, 17, 1, 1),
]

compiled = pytest.mark.skipif(not jit.ENABLED, reason="NumPy copies everything")


def numbers(shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.fixture(params=["reference", "compiled"])
def kernel_set(request):
    with kernels.use_kernels(request.param):
        yield request.param


@pytest.mark.usefixtures("kernel_set")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_move_their_channels_to_the_end_and_back(shape, threads, dtype):
    first = numbers(shape, dtype)
    with thread_count.use_threads(threads):
        last = kernels.contiguous(first.transpose(0, 2, 3, 1))
        back = kernels.contiguous(last.transpose(0, 3, 1, 2))
    assert last.flags.c_contiguous and back.flags.c_contiguous
    np.testing.assert_array_equal(last, np.moveaxis(first, 1, 3))
    np.testing.assert_array_equal(back, first)


@pytest.mark.usefixtures("kernel_set")
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.T,
        lambda x: x[:, ::-1],
        lambda x: x[::2].transpose(1, 0, 2),
        lambda x: x[::2].transpose(0, 2, 1),
        lambda x: x.transpose(1, 0, 2),
        lambda x: x.transpose(0, 2, 1)[1:],
        lambda x: x.transpose(0, 2, 1)[:, 1:],
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.broadcast_to(x[:, :, :1], x.shape),
    ],
)
def test_any_other_array_is_copied_too(change):
    array = change(numbers((64, 41, 52)))
    found = kernels.contiguous(array)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array)


def test_what_is_in_order_is_returned_as_it_is(kernel_set):
    array = numbers((40, 50, 60))
    assert kernels.contiguous(array) is array


@compiled
def test_images_of_either_order_are_stacks_of_matrices_and_others_are_not():
    def stack(array):
        return layout.as_stack(array.shape, array.strides, array.itemsize)

    x = numbers((5, 8, 9, 3))
    assert stack(x.transpose(0, 3, 1, 2)) == (5, 72, 3)
    assert stack(x.transpose(0, 2, 3, 1)) == (5, 8, 27)
    assert stack(x[0].transpose(2, 0, 1)) == (1, 72, 3)
    assert stack(x.reshape(40, 27).T) == (1, 40, 27)
    gaps = x[::2].transpose(0, 3, 1, 2), x[:, ::2].transpose(0, 3, 1, 2), x[..., 1:].T
    for other in (x, x.transpose(3, 0, 2, 1), *gaps):
        assert stack(other) is None


@compiled
def test_large_images_are_not_left_to_numpy(monkeypatch):
    monkeypatch.setattr(layout, "reference", None)
    x = numbers((64, 3, 32, 32)).transpose(0, 2, 3, 1)
    with pytest.raises(AttributeError):
        kernels.contiguous(x[:, ::2])
    kernels.contiguous(x)


def test_a_reshaped_tensor_is_a_view_where_there_is_one():
    images = ts.Tensor(np.ascontiguousarray(numbers((4, 40, 40, 16)))).transpose((0, 3, 1, 2))
    joined = images.reshape((4, 16, 1600))
    assert np.shares_memory(joined.data, images.data)
    flat = images.reshape((4, -1))
    assert not np.shares_memory(flat.data, images.data)
    np.testing.assert_array_equal(flat.data, np.ascontiguousarray(images.data).reshape(4, -1))
