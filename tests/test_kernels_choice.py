"""The choice between kernel sets: complete, immediate, restored, and the only one."""

import threading

import numpy as np
import pytest

from tinysmooth import kernels
from tinysmooth.kernels.convolution import fast
from tinysmooth.kernels.jit import ENABLED


@pytest.fixture(autouse=True)
def restore():
    with kernels.use_kernels("compiled"):
        yield


def test_both_sets_offer_every_kernel():
    public = {name for name in kernels.__all__ if name.split("_")[0] not in ("use", "kernels")}
    assert public - {"memory"} == kernels._REFERENCE.keys()
    assert kernels._COMPILED.keys() == kernels._REFERENCE.keys()


@pytest.mark.skipif(not ENABLED, reason="without compilation both sets are the reference")
def test_the_sets_share_no_kernel():
    shared = [n for n in kernels._COMPILED if kernels._COMPILED[n] is kernels._REFERENCE[n]]
    assert not shared


def test_without_compilation_both_names_mean_the_reference():
    if not ENABLED:
        assert kernels._COMPILED == kernels._REFERENCE


def test_compiled_is_the_default_and_a_call_sets_at_once():
    assert kernels.kernels_in_use() == "compiled"
    kernels.use_kernels("reference")
    assert kernels.kernels_in_use() == "reference"
    kernels.use_kernels("compiled")
    assert kernels.kernels_in_use() == "compiled"


def test_a_with_block_restores_also_nested_and_after_an_error():
    with kernels.use_kernels("reference"):
        with kernels.use_kernels("compiled", winograd=False):
            assert kernels.kernels_in_use() == "compiled"
            assert not fast.winograd_enabled
        assert kernels.kernels_in_use() == "reference"
        assert fast.winograd_enabled
    with pytest.raises(KeyError), kernels.use_kernels("reference"):
        raise KeyError
    assert kernels.kernels_in_use() == "compiled"


def test_calls_go_to_the_set_in_use(monkeypatch):
    x = np.ones((1, 2, 2, 1), np.float32)
    monkeypatch.setitem(kernels._REFERENCE, "global_avg_pool_forward", lambda x: "reference")
    monkeypatch.setitem(kernels._COMPILED, "global_avg_pool_forward", lambda x: "compiled")
    held = kernels.global_avg_pool_forward  # a name imported early must not freeze the choice
    assert held(x) == "compiled"
    with kernels.use_kernels("reference"):
        assert held(x) == "reference"


def test_kernels_are_documented_by_the_reference():
    doc = kernels.max_pool2d_forward.__doc__
    assert doc is not None
    assert "Parameters" in doc


def test_the_choice_holds_for_all_threads():
    seen = []
    with kernels.use_kernels("reference"):
        thread = threading.Thread(target=lambda: seen.append(kernels.kernels_in_use()))
        thread.start()
        thread.join()
    assert seen == ["reference"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("fast",), ValueError, "use_kernels: name is 'fast'; expected one of 'compiled', 'refere"),
        ((None,), TypeError, "use_kernels: name is None"),
        (("compiled", 1), TypeError, "use_kernels: winograd is"),
    ],
)
def test_wrong_choices_are_refused_and_change_nothing(arguments, error, message):
    with pytest.raises(error, match=message):
        kernels.use_kernels(*arguments)
    assert kernels.kernels_in_use() == "compiled"
