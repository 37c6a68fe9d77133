"""Sums of gradients in all threads, and copies: NumPy's bits in any layout, also in place."""

import numpy as np
import pytest

import tinysmooth as ts
from tinysmooth.kernels import addition, ahead, jit, thread_count, threads

LARGE = (5, 37, 41, 19)  # enough for two threads, and no whole number of vectors


def numbers(seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(LARGE).astype(dtype)


@pytest.fixture(autouse=True)
def two_threads():
    thread_count.set_num_threads(2)


def arrange(array, layout):
    """Return the same numbers in another layout."""
    if layout == "channels last":
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "gaps":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 0] = array
        return wide[..., 0]
    return np.broadcast_to(array[:1], array.shape) if layout == "repeated" else array


@pytest.mark.parametrize("place", [None, 0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("second", ["plain", "channels last", "gaps", "repeated"])
@pytest.mark.parametrize("first", ["plain", "channels last", "gaps"])
def test_the_sum_has_numpys_bits(first, second, dtype, place):
    pair = [arrange(numbers(0, dtype), first), arrange(numbers(1, dtype), second)]
    if place == 1 and second == "repeated":
        place = 0
    expected = pair[0] + pair[1]
    kept = [array.copy() for array in pair]
    out = addition.add(*pair, None if place is None else pair[place])
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)
    for number, array in enumerate(pair):
        np.testing.assert_array_equal(array, expected if number == place else kept[number])


@pytest.fixture
def rehearsed(monkeypatch):
    """Copy as on a machine where all kernels are compiled."""
    monkeypatch.setattr(addition, "is_rehearsed", lambda: True)


@pytest.mark.usefixtures("rehearsed")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">f4"])
@pytest.mark.parametrize("layout", ["plain", "channels last", "gaps", "repeated"])
def test_a_copy_is_numpys(layout, dtype):
    array = arrange((1000 * numbers(0)).astype(dtype), layout)
    kept, ours, theirs = array.copy(), addition.copy(array), np.array(array, order="K")
    assert ours.dtype == theirs.dtype and not np.shares_memory(ours, array)
    np.testing.assert_array_equal(ours, theirs)
    if layout != "repeated":  # a gradient goes on quicker in the order that it came in
        assert ours.strides == theirs.strides
    ours[...] = 7
    np.testing.assert_array_equal(array, kept)


@pytest.mark.usefixtures("rehearsed")
def test_a_copy_keeps_every_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, LARGE, np.uint32)
    special = [0x80000000, 0x7FC00001, 0xFFC12345, 0x7F800000, 1]  # -0, NaN twice, infinity, tiny
    bits.reshape(-1)[:5] = special
    copy = addition.copy(bits.view(np.float32)).view(np.uint32)
    np.testing.assert_array_equal(copy, bits)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 1, 2)])
def test_small_and_empty_arrays_are_copied_and_no_cache_is_looked_for(shape, monkeypatch):
    monkeypatch.setattr(addition, "is_rehearsed", lambda: pytest.fail("makes a folder"))
    array = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_array_equal(addition.copy(array), array)


@pytest.mark.skipif(not jit.ENABLED, reason="without a compiler NumPy adds")
@pytest.mark.usefixtures("rehearsed")
@pytest.mark.parametrize("layout", ["plain", "channels last"])
def test_large_sums_are_shared_among_the_threads(layout, monkeypatch):
    shares = []
    run = threads.run_parallel
    monkeypatch.setattr(
        addition, "run_parallel", lambda *a, parts: shares.append(parts) or run(*a, parts=parts)
    )
    addition.add(arrange(numbers(0), layout), arrange(numbers(1), layout))
    addition.add(np.ones(9, np.float32), np.ones(9, np.float32))
    addition.copy(arrange(numbers(0), layout))
    addition.copy(np.ones(9, np.float32))
    assert shares == [2, 2]
    one, other = (ts.Tensor(arrange(numbers(seed), layout)) for seed in (0, 1))
    total = one + other  # a residual and its branch
    assert shares == [2, 2, 2]
    np.testing.assert_array_equal(total.data, one.data + other.data)
    assert total.data.strides == one.data.strides


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("layouts", [("plain", "plain"), ("channels last", "plain")])
def test_sums_of_tensors_are_those_of_numpy(dtype, layouts):
    one, other = (arrange(numbers(i) > 0, layout) for i, layout in enumerate(layouts))
    one, other = one.astype(dtype), other.astype(dtype)
    for a, b in ((one, other), (one[:, :, :1], other), (one, other[0, 0, 0, 0])):
        total = ts.Tensor(a) + ts.Tensor(b)
        assert total.dtype == (a + b).dtype
        np.testing.assert_array_equal(total.data, a + b)


def test_a_gradient_that_two_operations_send_is_right_and_nobody_elses_changes():
    x = ts.Tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), requires_grad=True)
    w = ts.Tensor(np.random.default_rng(1).standard_normal((3, 3, 3, 3)), requires_grad=True)
    seed = np.random.default_rng(2).standard_normal(x.shape)
    kept = seed.copy()
    middle = x * 2.0
    (middle + ts.conv2d(middle, w, padding=1)).backward(seed)
    np.testing.assert_array_equal(seed, kept)
    alone = ts.Tensor(middle.data, requires_grad=True)
    ts.conv2d(alone, w.detach(), padding=1).backward(seed)
    np.testing.assert_allclose(x.grad, 2 * (seed + alone.grad), rtol=1e-12)


@pytest.mark.skipif(not jit.ENABLED, reason="without a compiler NumPy copies")
def test_as_long_as_kernels_are_compiled_numpy_copies(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "_rehearsed", False)
    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(addition, "run_parallel", lambda *a, **k: pytest.fail("compiles"))
    array = numbers(0)
    np.testing.assert_array_equal(addition.copy(array), array)
    (tmp_path / "rehearsed").touch()
    with pytest.raises(pytest.fail.Exception, match="compiles"):
        addition.copy(array)
    (tmp_path / "rehearsed").unlink()
    assert ahead.is_rehearsed(), "asks once"
