"""Calls whose arguments are written out once, beside those that are written out each time."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinysmooth.kernels import calls, jit, memory, threads
from tinysmooth.kernels import prepared as prepared_calls
from tinysmooth.kernels.prepared import INT, Given, Piece, Prepared, flat, remembered
from tinysmooth.kernels.thread_count import get_num_threads, plan_parts, set_num_threads

pytestmark = pytest.mark.skipif(not jit.ENABLED, reason="nothing is compiled")


@jit.jit
def weigh(part, parts, x, scale, sizes, fixed, room, out):
    """Write a row for each part: scale * (x + fixed), with room for it in between."""
    rows, columns = sizes
    for i in range(rows * part // parts, rows * (part + 1) // parts):
        for j in range(columns):
            room[i, j] = x[i * columns + j] + fixed[j]
        for j in range(columns):
            out[i, j] = scale * room[i, j]


def prepared(parts, rows=6, columns=5, start=3):
    room = Piece(start, (rows, columns))
    fixed = np.arange(columns, dtype=np.float64)
    arguments = (flat((rows, columns)), np.float32(2), (rows, columns), fixed, room)
    return Prepared(weigh, parts, *arguments, Given((rows, columns)))


def numbers(rows=6, columns=5):
    return np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_each_call_works_on_the_arrays_of_its_own(parts):
    call = prepared(parts)
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((6, 5)).astype(np.float32)
        floats, out = np.full(40, 7, np.float32), np.empty((6, 5), np.float32)
        call.run(floats, x, out)
        expected = np.float32(2) * (x + np.arange(5, dtype=np.float32))
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(floats[3:33].reshape(6, 5), expected / 2)
        assert (floats[:3] == 7).all() and (floats[33:] == 7).all(), "wrote beside its piece"


def test_it_does_what_an_ordinary_call_does():
    x, fixed = numbers(), np.arange(5, dtype=np.float64)
    ordinary, out = np.empty((2, 6, 5), np.float32)
    room = np.empty((6, 5), np.float32)
    threads.run_parallel(
        weigh, x.reshape(-1), np.float32(2), (6, 5), fixed, room, ordinary, parts=2
    )
    prepared(2).run(np.empty(40, np.float32), x, out)
    np.testing.assert_array_equal(out, ordinary)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.frombuffer(b"x" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
    ],
)
def test_an_input_that_does_not_lie_in_order_is_copied(spoil):
    x = numbers()
    spoilt, out, expected = spoil(x), *np.empty((2, 6, 5), np.float32)
    assert not (spoilt.flags.c_contiguous and spoilt.flags.aligned)
    prepared(2).run(np.empty(40, np.float32), x, expected)
    prepared(2).run(np.empty(40, np.float32), spoilt, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("x", [np.zeros((6, 5)), np.zeros((5, 5), np.float32)])
def test_other_types_and_sizes_are_refused(x):
    with pytest.raises(TypeError, match=f"weigh: an array has {x.size} numbers of {x.dtype}; "):
        prepared(1).run(np.empty(40, np.float32), x, np.empty((6, 5), np.float32))


def test_a_workspace_that_is_too_small_is_refused():
    prepared(1).run(np.empty(33, np.float32), numbers(), np.empty((6, 5), np.float32))
    with pytest.raises(ValueError, match="weigh: the workspace has 32 floats; expected .* 33"):
        prepared(1).run(np.empty(32, np.float32), numbers(), np.empty((6, 5), np.float32))


def test_a_call_with_an_array_too_few_is_refused():
    with pytest.raises(ValueError, match="zip"):
        prepared(1).run(np.empty(40, np.float32), numbers())


@pytest.mark.parametrize("shape", [(7,), (2, 3), (4, 1, 3), (1, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_an_array_to_come_is_described_as_one_that_is_there(shape, dtype):
    array = np.empty(shape, dtype)
    _, numbers, _ = calls.take_apart((array,))
    numbers[prepared_calls._ADDRESS] = 0
    assert prepared_calls._describe(shape, array.itemsize) == numbers


def test_pieces_follow_each_other_at_whole_lines():
    first = Piece(0, (3, 5))
    second = Piece(first.stop, (2, 9), INT)
    third = Piece(second.stop, (1,))
    assert (first.stop, second.stop, third.stop) == (16, 16 + 48, 80)


def test_threads_may_share_a_prepared_call():
    call, wrong = prepared(2, rows=40), []

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((40, 5)).astype(np.float32)
        expected = np.float32(2) * (x + np.arange(5, dtype=np.float32))
        for _ in range(200):
            floats, out = memory.empty(256, np.float32), memory.empty((40, 5), np.float32)
            call.run(floats, x, out)
            if not np.array_equal(out, expected):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_what_is_remembered_is_planned_for_the_number_of_threads_it_is_remembered_under():
    seen = []

    @remembered
    def plan(shape, num_threads):
        with ThreadPoolExecutor(1) as other:
            other.submit(set_num_threads, 7).result()
        seen.append(get_num_threads())
        return shape, plan_parts(1e9)

    set_num_threads(5)
    assert [plan(4, n) for n in (2, 3, 2)] == [(4, 2), (4, 3), (4, 2)]
    assert seen == [2, 3] and get_num_threads() == 7
