"""What is left out and remembered while kernels are compiled: same results, fewer questions."""

import itertools
import math
import operator
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core import types
from numba.core.compiler import DefaultPassBuilder, Flags
from numba.core.registry import cpu_target
from numba.core.typing import Context
from numba.extending import overload_attribute

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
    """If another Numba drops a step or renames it, this fails."""
    state = SimpleNamespace(flags=Flags(), func_ir=None)
    steps = {step for step, _ in DefaultPassBuilder.define_nopython_pipeline(state).passes}
    assert steps >= compiler._WITHOUT


@needs_compilation
def test_it_is_left_out(monkeypatch):
    done = []
    for step in compiler._WITHOUT:
        monkeypatch.setattr(step, "run_pass", lambda step, state: done.append(step.name()))
    assert jit.jit(lambda x: x + 1.0)(1.0) == 2.0
    assert done == []


@needs_compilation
def test_numba_is_asked_once_how_a_call_of_its_own_comes_out(questions):
    def combined(a, i, b):
        a[1] = b
        return a[i] * b + a[0] // 2.0

    arguments = np.arange(3.0), 2, 5.0
    assert jit.jit(combined)(*arguments) == 10.0
    questions.clear()
    assert jit.jit(combined)(*arguments) == 10.0
    assert questions == []
    assert numba.njit(combined)(*arguments) == 10.0  # no kernel: as ever
    assert questions


@needs_compilation
@pytest.mark.parametrize("right", [3, np.float32(3), 3.0])
@pytest.mark.parametrize("left", [7, np.float32(7), 7.0])
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


@needs_compilation
def test_a_kernel_gets_no_code_that_was_made_with_flags_of_others():
    """Numba writes max for floats anew for each set of flags; before 0.62 it did not."""

    def larger(a, b):
        return max(a, b)

    first, second = jit.jit(larger), jit.jit(larger)
    assert first(1.0, 2.0) == 2.0
    assert numba.njit(fastmath=True)(larger)(1.0, 2.0) == 2.0
    assert second(1.0, 2.0) == 2.0
    codes = ["".join(kernel.dispatcher.inspect_llvm().values()) for kernel in (first, second)]
    assert not any(" fast " in code for code in codes)
    assert codes[0].count(" fcmp ") == codes[1].count(" fcmp ")


@needs_compilation
@pytest.mark.parametrize("power", [3, -1])
def test_functions_that_numba_compiles_for_a_kernel_find_their_types(monkeypatch, power):
    """They are compiled in the midst of it, by Numba's own list of steps."""
    monkeypatch.setattr(cpu_target.target_context, "cached_internal_func", {})

    @jit.jit
    def greatest(a, b, power, out):
        out[0] = math.gcd(a, b) if power > 0 else math.hypot(a, b)
        out[1] = a**power if power > 0 else b

    plus = compiler._TypesWhenWriting(cpu_target.typing_context).resolve_value_type(operator.add)
    assert cpu_target.target_context.data_model_manager[plus]  # where it is kept in a variable
    out = np.zeros(2)
    greatest(12, 5 if power < 0 else 18, power, out)
    assert out.tolist() == ([6.0, 1728.0] if power > 0 else [13.0, 5.0])


@needs_compilation
def test_the_memory_stays_among_kernels():
    before = cpu_target.target_context.typing_context
    assert jit.jit(lambda x: x * 3.0)(1.0) == 3.0
    assert cpu_target.target_context.typing_context is before
    assert type(before) is Context


def test_rules_learned_meanwhile_belong_to_the_context_that_stays():
    plain = cpu_target.typing_context

    class Thing(types.Opaque):
        pass

    @overload_attribute(Thing, "attribute_of_this_test")
    def rule(thing):
        return lambda thing: 1.0

    compiler._Types(plain).refresh()
    rules = list(itertools.chain(*plain._attributes.values()))
    assert any(getattr(rule, "_attr", "") == "attribute_of_this_test" for rule in rules)
    assert {type(rule.context) for rule in rules} == {Context}


@needs_compilation
def test_a_kernel_whose_references_are_counted_is_refused():
    options = {**compiler.OPTIONS, "_nrt": True}
    with pytest.raises(ValueError, match="_nrt=False"):
        numba.njit(**options)(lambda x: x)(1.0)


@needs_compilation
def test_a_kernel_has_no_flags_from_the_function_that_calls_it_first():
    @jit.jit
    def scaled(x):
        return x * 2.0 + 1.0

    @numba.njit(fastmath=True)
    def caller(x):
        return scaled(x)

    assert caller(1.0) == 3.0
    code = "".join(scaled.dispatcher.inspect_llvm().values())
    assert " fmul " in code
    assert " fast " not in code
