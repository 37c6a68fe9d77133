"""Large kernels are called where they are, from callers compiled now or loaded from the cache."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinysmooth.kernels import jit, linking

ROOT = Path(__file__).resolve().parents[1]

# convolve_windows calls convolve_block, and that calls panel_product. All of them are large. The
# result is compared with plain NumPy.
PROGRAM = """
import numpy as np
from tinysmooth.kernels import jit, linking
from tinysmooth.kernels.convolution import reference, windows_route

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 9, 8, 5), np.float32)
weight = rng.standard_normal((20, 5, 5, 4), np.float32)
found = windows_route.convolve(x, weight, (9, 7), (1, 1), (2, 1))
expected = reference.conv2d_forward(x, weight, (1, 1), (2, 1))
assert np.allclose(found, expected, atol=1e-4)
print(jit.status()["compiled"], *sorted(linking._published))
"""


def needs_compilation(test):
    """Leave a test out where nothing can be compiled: there is no machine code to link."""
    return test if jit.ENABLED else None


def run(cache):
    """Run the program in a process of its own; return what was compiled, and the symbols."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TINYSMOOTH_CACHE": str(cache),
        "TINYSMOOTH_REHEARSAL": "0",
    }
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, cwd=os.path.sep
    )
    assert done.returncode == 0, done.stderr
    compiled, *symbols = done.stdout.split()
    return int(compiled), symbols


def forget(cache, *names):
    """Delete what the cache holds of these kernels; return how many machine codes that were."""
    codes = 0
    for name in names:
        files = [path for path in cache.rglob(f"*.{name}-*") if path.suffix in (".nbi", ".nbc")]
        assert files, f"{name} is not in the cache"
        for path in files:
            path.unlink()
        codes += sum(path.suffix == ".nbc" for path in files)
    return codes


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a cache that a process has filled, and the symbols that it used."""
    folder = tmp_path_factory.mktemp("cache")
    compiled, symbols = run(folder)
    assert compiled > 0
    return folder, symbols


@needs_compilation
def test_a_caller_from_the_cache_finds_what_it_calls(cache):
    folder, symbols = cache
    assert any(symbol.startswith("tinysmooth_panel_product_") for symbol in symbols)
    assert run(folder) == (0, symbols)


@needs_compilation
@pytest.mark.parametrize(
    "missing",
    [["panel_product"], ["convolve_windows"], ["convolve_windows", "panel_product"]],
)
def test_a_cache_with_holes_is_filled_up(cache, missing):
    """The caller is loaded before its callee is compiled, or compiled around one that is loaded."""
    folder, symbols = cache
    codes = forget(folder, *missing)
    assert run(folder) == (codes, symbols)
    assert run(folder) == (0, symbols)


@needs_compilation
def test_a_large_kernel_has_one_machine_code_and_a_small_one_copies():
    from tinysmooth.kernels.convolution import windows, windows_route

    x, weight = np.ones((1, 6, 6, 3), np.float32), np.ones((20, 3, 5, 5), np.float32)
    windows_route.convolve(x, weight, (6, 6), (1, 1), (2, 2))
    (made,) = windows.convolve_block.dispatcher.overloads.values()
    functions = list(made.library._get_module_for_linking().functions)
    declared = {function.name for function in functions if function.is_declaration}
    defined = {function.name for function in functions} - declared
    assert any(name.startswith("tinysmooth_") and "panel_product" in name for name in declared)
    assert not any("panel_product" in name for name in defined)
    assert not any("panel_width" in name for name in declared)


@jit.jit
def _third(value):
    return value / 3


@jit.jit
def _two_thirds(value):
    return _third(value) + _third(value)


@needs_compilation
def test_kernels_of_others_are_copied_whatever_their_size(monkeypatch):
    """Another process may have another kernel of that name, or none."""
    monkeypatch.setattr(linking, "LARGEST_COPY", 0)
    before = dict(linking._published)
    assert _two_thirds(6.0) == 4
    assert linking._published == before
