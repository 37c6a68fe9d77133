"""The pool of arrays: aligned, reused only after death, safe to share, bounded."""

import copy
import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysmooth.kernels import memory

LARGE = 100_000  # float32: well above what the pool leaves to NumPy


@pytest.fixture(autouse=True)
def fresh_pool():
    gc.collect()
    memory.release()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool, np.int8, np.uint8, np.complex64])
@pytest.mark.parametrize("shape", [(), 0, 3, (5, 0, 2), (7, 9), (400, 501), 300_001, [2, 99_999]])
def test_shape_dtype_alignment_and_layout(shape, dtype):
    array = memory.empty(shape, dtype)
    expected = np.empty(shape, dtype)
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    assert array.size == 0 or array.ctypes.data % memory.ALIGNMENT == 0
    assert array.flags.c_contiguous and array.flags.writeable
    array[...] = 1
    assert np.all(array == 1)


@pytest.mark.parametrize("count", [5, LARGE])
def test_zeros_are_zero_also_on_a_used_block(count):
    memory.empty(count).fill(7)
    array = memory.zeros(count, np.float32)
    assert not array.any()


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 40, 50, 60)])
def test_empty_like_keeps_shape_dtype_and_order(shape, axes):
    array = np.zeros(shape, np.float32).transpose(axes)
    assert memory.empty_like(array).strides == np.empty_like(array).strides
    assert memory.empty_like(array).shape == array.shape
    assert memory.empty_like(array.astype(bool)).dtype == bool


def test_objects_and_records_are_left_to_numpy():
    assert memory.empty(LARGE, object)[0] is None
    assert memory.empty(LARGE, "i4,f8").dtype.names == ("f0", "f1")


def test_negative_sizes_are_refused_as_numpy_refuses_them():
    with pytest.raises(ValueError, match="negative"):
        memory.empty((-1, LARGE))


def test_a_dead_array_leaves_its_block_to_the_next():
    array = memory.empty(LARGE)
    address = array.ctypes.data
    del array
    assert memory.empty(LARGE).ctypes.data == address
    assert (memory.statistics().allocated, memory.statistics().reused) == (1, 1)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[5:],
        lambda a: a[::-2].reshape(10, -1).T,
        lambda a: a.view(np.int32),
        lambda a: np.asarray(memoryview(a)),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 7),
        lambda a: np.broadcast_to(a, (3, a.size))[1],
        lambda a: a.reshape(-1)[...].transpose(),
    ],
    ids=["slice", "strided", "dtype", "memoryview", "windows", "broadcast", "chain"],
)
def test_any_view_keeps_the_block(view):
    array = memory.empty(LARGE)
    array[:] = np.arange(LARGE)
    kept = view(array)
    before = kept.copy()
    del array
    memory.empty(LARGE).fill(-1)
    assert np.array_equal(kept, before)
    assert memory.statistics().in_use > 0
    del kept
    assert memory.statistics().in_use == 0


def test_a_copy_does_not_keep_the_block():
    array = memory.empty(LARGE)
    kept = copy.deepcopy(array)
    del array
    assert memory.statistics().in_use == 0
    assert kept.flags.owndata


def test_a_steady_loop_allocates_no_new_block():
    def step():
        layers = [memory.empty((4, 30 + i, 40, 16)) for i in range(6)]
        return [memory.empty(layer.shape) for layer in reversed(layers)][0]

    kept = step()
    kept = step()
    allocated = memory.statistics().allocated
    for _ in range(10):
        kept = step()
    assert kept.size
    assert memory.statistics().allocated == allocated


def test_a_slightly_smaller_array_reuses_the_block():
    memory.empty((64, 1000))
    memory.empty((60, 1000))
    assert memory.statistics().reused == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400_000)), max_size=40))
def test_live_arrays_never_overlap(requests):
    live = []
    for number, (drop, nbytes) in enumerate(requests):
        if drop and live:
            live.pop(nbytes % len(live))
        array = memory.empty(nbytes, np.uint8)
        array.fill(number % 256)
        live.append((number % 256, array))
        assert all(np.all(other == mark) for mark, other in live)
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for _, array in live)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    statistics = memory.statistics()
    assert statistics.kept + statistics.in_use <= memory.KEEP_RATIO * statistics.peak


def test_threads_share_the_pool_without_sharing_arrays():
    wrong = []

    def work(mark):
        rng = np.random.default_rng(mark)
        held = []
        for _ in range(150):
            array = memory.empty(int(rng.integers(20_000, 60_000)), np.int32)
            array.fill(mark)
            held.append(array)
            if len(held) > 4:
                held.pop(int(rng.integers(4)))
            wrong.extend(mark for other in held if not np.all(other == mark))

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert memory.statistics().in_use == 0


def test_what_the_pool_keeps_is_bounded():
    for size in range(100_000, 4_000_000, 100_000):
        memory.empty(size, np.uint8)
    statistics = memory.statistics()
    assert statistics.in_use == 0
    assert statistics.kept <= memory.KEEP_RATIO * statistics.peak


def test_release_empties_the_pool_and_spares_live_arrays():
    held = memory.empty(LARGE)
    held.fill(3)
    memory.empty(2 * LARGE)
    assert memory.statistics().kept > 0
    memory.release()
    assert memory.statistics().kept == 0
    assert memory.statistics().in_use > 0
    memory.empty(LARGE).fill(4)
    assert np.all(held == 3)


def test_blocks_in_reference_cycles_come_back():
    cycle = [memory.empty(LARGE)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert memory.statistics().in_use == 0


def test_a_finaliser_inside_the_locked_pool_does_not_deadlock():
    array = memory.empty(LARGE)
    with memory._POOL._lock:  # as if the garbage collector had started within the pool
        del array
    assert memory.statistics().in_use == 0


def test_exhausted_memory_gives_back_the_kept_blocks_and_tries_again(monkeypatch):
    memory.empty(LARGE)
    real, calls = memory._aligned_bytes, []

    def scarce(size):
        calls.append(memory.statistics().kept)
        if len(calls) == 1:
            raise MemoryError
        return real(size)

    monkeypatch.setattr(memory, "_aligned_bytes", scarce)
    assert memory.empty(50 * LARGE).size == 50 * LARGE
    assert calls[0] > 0
    assert calls[1] == 0


def test_workspaces_take_turns_with_one_block_which_nothing_else_gets():
    first = memory.workspace(LARGE)
    address = first.ctypes.data
    assert (first.dtype, first.shape, address % memory.ALIGNMENT) == (np.float32, (LARGE,), 0)
    del first
    ordinary = memory.empty(LARGE)
    smaller = memory.workspace(10)
    assert smaller.ctypes.data == address and smaller.size == 10
    assert not np.may_share_memory(ordinary, smaller)
    assert memory.statistics().allocated == 2


def test_the_workspace_used_last_comes_first():
    one, other = memory.workspace(LARGE), memory.workspace(LARGE)
    assert not np.may_share_memory(one, other)
    addresses = [other.ctypes.data, one.ctypes.data]
    part = other[5:]
    del other
    del one
    assert memory.workspace(LARGE).ctypes.data == addresses[1]
    del part  # a view is a holder, too
    assert memory.workspace(LARGE).ctypes.data == addresses[0]


def test_a_workspace_that_is_too_small_becomes_an_ordinary_block():
    small = memory.workspace(LARGE).ctypes.data
    large = memory.workspace(3 * LARGE)
    assert memory.empty(LARGE).ctypes.data == small
    del large
    assert memory.statistics().in_use >= 3 * LARGE * 4  # waiting for the next kernel
    memory.release()
    assert memory.statistics().in_use == memory.statistics().kept == 0


def test_exhausted_memory_gives_back_the_workspace(monkeypatch):
    memory.workspace(LARGE)
    real, refused = memory._aligned_bytes, []

    def scarce(size):
        if not refused:
            refused.append(memory.statistics().in_use)
            raise MemoryError
        assert memory.statistics().in_use == 0
        return real(size)

    monkeypatch.setattr(memory, "_aligned_bytes", scarce)
    assert memory.empty(50 * LARGE).size == 50 * LARGE
    assert refused == [pytest.approx(LARGE * 4, rel=0.2)]


def test_numba_sees_a_plain_array():
    numba = pytest.importorskip("numba")
    assert numba.typeof(memory.empty((9, LARGE))) == numba.typeof(np.empty((2, 2), np.float32))
