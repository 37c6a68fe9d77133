"""What is left out and remembered while kernels are compiled: same results, fewer questions."""

from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.compiler import DefaultPassBuilder, Flags
from numba.core.typed_passes import NativeLowering

from tinysmooth.kernels import compiler, jit

needs_compilation = pytest.mark.skipif(not jit.ENABLED, reason="nothing is compiled")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """Have everything here compiled, not loaded."""
    monkeypatch.setattr(jit, "cache_folder", lambda: None)


@pytest.fixture
def questions(monkeypatch):
    """Record which calls Numba goes through its rules for."""
    asked = []
    before = types.Function.get_call_type

    def record(function, context, args, kws):
        asked.append((function.typing_key, args))
        return before(function, context, args, kws)

    monkeypatch.setattr(types.Function, "get_call_type", record)
    return asked


def test_what_is_left_out_is_what_numba_would_do():
    """A step with another name in another Numba would quietly be done again."""
    state = SimpleNamespace(flags=Flags(), func_ir=None)
    steps = {step for step, _ in DefaultPassBuilder.define_nopython_pipeline(state).passes}
    assert steps >= compiler._WITHOUT
    assert NativeLowering in steps - compiler._WITHOUT


@needs_compilation
def test_numba_is_asked_once_how_a_call_of_its_own_comes_out(questions):
    def table_of(a, i, b):
        return a[i] * b + a[0] // 2.0

    arguments = np.arange(3.0), 2, 5.0
    assert jit.jit(table_of)(*arguments) == 10.0
    questions.clear()
    assert jit.jit(table_of)(*arguments) == 10.0
    assert questions == []
    assert numba.njit(table_of)(*arguments) == 10.0  # no kernel: as ever
    assert questions


@needs_compilation
@pytest.mark.parametrize("right", [np.int64(3), np.float32(3), np.float64(3), 3, 3.0])
@pytest.mark.parametrize("left", [np.int64(7), np.float32(7), np.float64(7), 7, 7.0])
def test_each_pair_of_types_is_remembered_for_itself(left, right):
    def combined(a, b, out):
        out[0] = a + b
        out[1] = a // b
        out[2] = a / b
        out[3] = a * 2 - 3 * b

    out, expected = np.zeros(4), np.zeros(4)
    jit.jit(combined)(left, right, out)
    numba.njit(combined)(left, right, expected)
    np.testing.assert_array_equal(out, expected)
