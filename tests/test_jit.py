"""The wrapper around Numba: cache, read-only arrays, messages, and life without any of them."""

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.codegen import JITCodeLibrary

from tinysmooth.kernels import cache, jit

ROOT = Path(__file__).resolve().parents[1]


def needs_compilation(test):
    """Leave a test out where nothing can be compiled; the last test of the file runs it then."""
    return test if jit.ENABLED else None


PROGRAM = """
import numpy as np
from tinysmooth.kernels import jit
from tinysmooth.kernels.convolution.loops import _forward
x, w, out = (np.ones(s, np.float32) for s in ((1, 2, 2, 1), (1, 1, 1, 1), (1, 2, 2, 1)))
_forward(0, 1, x, w, out, 1, 1, 0, 0)
assert (out == 2).all()
status = jit.status()
print(status["compiled"], status["cache_folder"])
"""


def run(program=PROGRAM, **environment):
    """Run a program in a process of its own; a name set to None is taken out of the environment."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    env = {name: value for name, value in env.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=os.path.sep,
    )


@jit.jit
def _sum(values):
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@jit.jit
def _helper(value, repeat):
    return value * repeat


@jit.jit
def _calls_with_constants(values, out):
    for i in range(values.size):
        out[i] = _helper(values[i], 2) + _helper(values[i], 3) + _helper(values[i], i)


@needs_compilation
def test_read_only_arrays_share_the_specialisation_of_writable_ones():
    values = np.arange(6.0)
    assert _sum(values) == 15
    values.flags.writeable = False
    assert _sum(values) == 15
    assert _sum(np.frombuffer(values.tobytes())) == 15
    assert _sum.specialisations == 1


def test_a_read_only_array_may_be_a_temporary():
    assert _sum(np.frombuffer(np.arange(1000.0).tobytes())) == 499500


@needs_compilation
def test_an_array_at_an_odd_address_shares_it_too():
    buffer = np.zeros(8 * 6 + 1, np.uint8)
    odd = buffer[1:].view(np.float64)
    odd[:] = np.arange(6.0)
    before = _sum.specialisations or 1
    assert _sum(odd) == 15
    assert _sum.specialisations == before


@needs_compilation
def test_kernels_leave_no_rounding_to_the_compiler():
    """With such flags, copies of a helper in several kernels round differently."""
    import numba

    from tinysmooth.kernels import vectors as v
    from tinysmooth.kernels.convolution.transforms import transform_filter

    @jit.jit
    def mixture(x, out):
        total = np.float32(0)
        for i in range(x.size):
            total += x[i] * x[i]
        out[256] = total
        v.store(out, 0, v.load(x, 0) * v.load(x, 16) + v.load(x, 32))
        transform_filter(x, 0, 48, 16, out, 0, 96, 16)

    floats = numba.float32[::1]
    mixture.dispatcher.compile((floats, floats))
    (code,) = mixture.dispatcher.inspect_llvm().values()
    assert re.search(r"= fmul <16 x float>", code)
    flags = re.findall(r"= f(?:add|sub|mul|div|neg) (contract|reassoc|fast|nnan|ninf)", code)
    assert flags == []


@needs_compilation
def test_constants_among_arguments_do_not_multiply_specialisations():
    out = np.zeros(4)
    _calls_with_constants(np.ones(4), out)
    assert out.tolist() == [5, 6, 7, 8]
    # None where the caller came whole from the cache of an earlier process.
    assert _helper.specialisations <= 1


@needs_compilation
def test_the_second_process_compiles_nothing_and_says_nothing(tmp_path):
    first = run(TINYSMOOTH_CACHE=str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert first.stdout.split()[0] == "1"
    assert first.stderr == "tinysmooth: compiling kernels (once)...\n"
    second = run(TINYSMOOTH_CACHE=str(tmp_path))
    assert second.stdout.split()[0] == "0" and second.stderr == ""
    assert Path(second.stdout.split()[1]).parent == tmp_path.resolve()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def empty(path):
    path.write_bytes(b"")


@needs_compilation
@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("spoil", [flip, cut, empty])
def test_a_damaged_cache_file_is_named_and_compiled_again(tmp_path, kind, spoil):
    assert run(TINYSMOOTH_CACHE=str(tmp_path)).returncode == 0
    (path,) = tmp_path.rglob(kind)
    spoil(path)
    second = run(TINYSMOOTH_CACHE=str(tmp_path))
    assert second.returncode == 0, second.stderr
    assert second.stderr.count(f"the kernel cache file {path} is damaged; compiling again") == 1
    assert second.stdout.split()[0] == "1"
    third = run(TINYSMOOTH_CACHE=str(tmp_path))
    assert third.stdout.split()[0] == "0" and third.stderr == ""


@needs_compilation
@pytest.mark.parametrize(
    "environment",
    [
        {"TINYSMOOTH_CACHE": "off"},
        {"TINYSMOOTH_CACHE": "/proc/no/such/place"},
        {"TINYSMOOTH_CACHE": None, "HOME": "/proc/none", "XDG_CACHE_HOME": None},
    ],
)
def test_without_a_cache_kernels_work_and_the_line_says_so(environment):
    done = run(**environment)
    if environment["TINYSMOOTH_CACHE"] != "off" and sys.platform == "win32":
        pytest.skip("the places are those of Unix")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "None"]
    assert "in every process" in done.stderr


INTERRUPTED = """
import signal
import threading
import numpy as np
from numba.core.typing.templates import BaseRegistryLoader as Loader
from tinysmooth.kernels import cache
from tinysmooth.kernels.convolution import fast

def interrupt(number, frame):
    raise KeyboardInterrupt

def interrupt_inside(self, name, new_registrations=Loader.new_registrations):
    Loader.new_registrations = new_registrations
    lasting = self._registrations[name]
    def interrupting():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
        yield from lasting
    self._registrations[name] = interrupting()
    return self.new_registrations(name)

Loader.new_registrations = interrupt_inside
x, w = np.ones((2, 8, 8, 16), np.float32), np.ones((16, 16, 3, 3), np.float32)
signal.signal(signal.SIGALRM, interrupt)
interrupts, out = 0, None
while out is None:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05 * (interrupts > 0))
        out = fast.conv2d_forward(x, w, (1, 1), (1, 1))
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupts += 1
assert out[0, 4, 4, 0] == 9 * 16
for thread in threading.enumerate():  # a kernel can be called before it is saved
    if thread.name == "tinysmooth-compiler":
        thread.join()
print(interrupts > 1, "locks:", len(cache.machine_locks.held))
"""


@needs_compilation
@pytest.mark.skipif(sys.platform == "win32", reason="the timer is that of Unix")
def test_interrupts_reach_the_caller_and_not_the_compiler(tmp_path):
    """Numba goes on with generators that an exception inside them would have ended for ever."""
    done = run(INTERRUPTED, TINYSMOOTH_CACHE=str(tmp_path), TINYSMOOTH_REHEARSAL="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True locks: 0\n"


NUMBA_FIRST = """
import numba
import numpy as np
from tinysmooth.kernels.jit import jit

@jit
def largest(values):
    best = values[0]
    for value in values:
        best = max(best, value)
    return best

@numba.njit
def twice(values):
    return 2 * largest(values)

print(twice(np.arange(4.0)))
"""


@needs_compilation
def test_a_function_of_numbas_own_may_call_a_kernel(tmp_path):
    """It holds Numba's lock while the kernel inside is compiled, which must not wait for it."""
    done = run(NUMBA_FIRST, TINYSMOOTH_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "6.0\n"), done.stderr


@needs_compilation
def test_a_kernel_that_makes_an_array_is_refused():
    """Nobody would count who refers to it, and nobody would free it."""

    @jit.jit
    def doubled(values):
        out = np.empty(values.size)
        out[:] = 2 * values[0]
        return out[0]

    with pytest.raises(numba.TypingError, match="empty"):
        doubled(np.ones(3))


@needs_compilation
def test_a_kernel_is_optimised_once_and_other_functions_as_numba_does(monkeypatch):
    optimised = []
    before = JITCodeLibrary._optimize_functions

    def record(library, module):
        optimised.append(library.name)
        before(library, module)

    monkeypatch.setattr(JITCodeLibrary, "_optimize_functions", record)

    @jit.jit
    def of_ours(x):
        return x + 1.0

    @numba.njit
    def of_others(x):
        return x + 2.0

    monkeypatch.setattr(jit, "cache_folder", lambda: None)  # it is compiled, not loaded
    assert (of_ours(1.0), of_others(1.0)) == (2.0, 3.0)
    names = {name.rpartition(".")[2] for name in optimised}
    assert "of_others" in names
    assert "of_ours" not in names


def test_a_lock_that_this_process_has_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LONGEST_WAIT_FOR_ANOTHER_PROCESS", 30.0)
    outer, inner, failed = (tmp_path / name for name in ("outer", "inner", "failed"))
    locks = cache._MachineLocks()
    started = time.monotonic()
    for path in (outer, inner, outer, failed):
        locks.acquire(path)
    locks.release(outer)
    assert [path for path, _ in locks.held] == [outer, inner]
    others = cache._MachineLocks()
    others.acquire(failed)
    assert time.monotonic() - started < 20
    locks.release(outer)
    others.acquire(inner)
    others.acquire(outer)
    assert locks.held == [] and time.monotonic() - started < 20
    others.reset()


@needs_compilation
def test_processes_that_start_together_on_a_cold_cache_all_succeed(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TINYSMOOTH_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes = [subprocess.Popen(command, env=env, cwd=os.path.sep, **pipes) for _ in range(10)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, outputs
    assert sum(int(out.split()[0]) for out, _ in outputs) == 1, "one compiles, the others load"


def test_importing_the_kernels_compiles_nothing(tmp_path):
    done = run(
        "import tinysmooth.kernels.convolution.fast as f; from tinysmooth.kernels import jit;"
        "print(jit.status()['loaded'])",
        TINYSMOOTH_CACHE=str(tmp_path),
    )
    assert done.stdout.strip() == "0" and done.stderr == ""


def test_with_compilation_disabled_kernels_are_plain_python(tmp_path):
    done = run(NUMBA_DISABLE_JIT="1", TINYSMOOTH_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "0"


def test_other_codes_numba_cache_stays_where_it_was(tmp_path):
    program = """
    import numba
    from numba.core import config
    from tinysmooth.kernels import cache, jit
    before = config.CACHE_DIR
    if jit.ENABLED:
        cache.SharedCache(run := numba.njit(cache.cpu_description).py_func, cache.cache_folder())
    assert config.CACHE_DIR == before
    """
    done = run(textwrap.dedent(program), TINYSMOOTH_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_an_edited_source_or_another_cpu_has_another_folder(tmp_path, monkeypatch):
    digest = cache._source_digest()
    assert digest == cache._source_digest()
    monkeypatch.setattr(cache, "cpu_description", lambda: ("other", "+features"))
    assert cache._source_digest() != digest
    monkeypatch.undo()
    copy = tmp_path / "kernels"
    copy.mkdir()
    (copy / "cache.py").write_text("# edited")
    monkeypatch.setattr(cache, "__file__", str(copy / "cache.py"))
    assert cache._source_digest() != digest


def test_folders_unused_for_a_month_are_deleted_and_nothing_else(tmp_path, monkeypatch):
    long_ago = time.time() - 40 * 86400
    for name, used in (("old", long_ago), ("recent", time.time())):
        (tmp_path / name).mkdir()
        marker = tmp_path / name / "last-used"
        marker.touch()
        os.utime(marker, (used, used))
    (tmp_path / "not-ours").mkdir()
    os.utime(tmp_path / "not-ours", (long_ago, long_ago))
    monkeypatch.setenv("TINYSMOOTH_CACHE", str(tmp_path))
    cache.cache_folder.cache_clear()
    try:
        folder = cache.cache_folder()
    finally:
        cache.cache_folder.cache_clear()
    assert {path.name for path in tmp_path.iterdir()} == {"recent", "not-ours", folder.name}


def test_status_has_what_info_prints():
    status = jit.status()
    assert set(status) == {
        "enabled", "cache_folder", "cpu", "numba", "kernels", "loaded", "compiled", "seconds",
    }  # fmt: skip
    assert status["enabled"] == jit.ENABLED


if not jit.ENABLED:

    def test_what_needs_compilation_passes_in_a_process_that_compiles():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
        env = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout


@needs_compilation
def test_a_setting_that_changes_machine_code_has_another_folder(monkeypatch):
    digest = cache._source_digest()
    monkeypatch.setattr(cache.config, "BOUNDSCHECK", 1)
    assert cache._source_digest() != digest


@jit.jit
def _corner(values):
    return values[0, 1]


def test_an_array_in_fortran_order_at_an_odd_address_keeps_its_order():
    odd = np.zeros(8 * 6 + 1, np.uint8)[1:].view(np.float64).reshape((2, 3), order="F")
    odd[...] = [[0, 1, 2], [3, 4, 5]]
    assert _corner(odd) == 1


@needs_compilation
def test_threads_that_call_first_at_once_share_one_compiler(monkeypatch):
    """Of two, one would be thrown away, and the machine code of its entries with it."""
    import threading
    import time

    from tinysmooth.kernels import calls

    made = []

    class Slow(calls._Compiler):
        def __init__(self):
            super().__init__()
            made.append(self)
            time.sleep(0.05)

    monkeypatch.setattr(calls, "_Compiler", Slow)
    monkeypatch.setattr(calls, "_the_compiler", None)
    key = calls.take_apart((np.zeros(3),))[0]
    workers = [
        threading.Thread(target=calls.machine_code, args=(_sum.dispatcher, key, False))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
