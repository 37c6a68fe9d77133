"""The one wrapper around ``numba.njit``: every compiled kernel of the library goes through `jit`.

It decides, in one place, what would otherwise be decided in every kernel:

- ``nogil=True``: a kernel runs without Python's global lock, so that the threads of
  `tinysmooth.kernels.threads` run it side by side. Kernels are *serial*; Numba's own
  ``parallel=True`` is not used (it triples the time to compile, and its threading layers differ
  between systems and die in forked processes).
- No fast-math flags. Every kernel has copies of the small helpers it calls, and which copy
  runs depends on what the process has loaded before. With flags LLVM chooses anew for each copy how
  to round and in which order to add; without, all copies agree to the last bit. A kernel says
  itself where it wants one rounding (`tinysmooth.kernels.vectors.fma`) and several partial sums.
- Division as in NumPy: by zero it gives an infinity or NaN. Python's rule, an exception, would also
  keep LLVM from vectorising the loop around it.
- No arrays of a kernel's own: what it works with is handed in. So Numba need not count who refers
  to an array; the counting was a third of the code that LLVM got to see, to throw it away again.
- The cache of machine code (see `tinysmooth.kernels.cache`).
- How a kernel is called: by address, see `tinysmooth.kernels.calls`. A read-only array counts as a
  writable one, because a kernel never writes to its inputs: for Numba they have different types,
  hence each combination would be compiled anew.
- How Numba compiles it: without what finds nothing in a kernel or finds the same again (see
  `tinysmooth.kernels.compiler`).
- Kernels inside kernels: a large one is compiled once and not once more for each caller (see
  `tinysmooth.kernels.linking`). Nor is one compiled once for each constant among its arguments.
- Ctrl-C while a kernel is compiled interrupts the caller and not the compiler (see `_sheltered`).
- One line on stderr when, and only when, something is really being compiled.

Importing a room of kernels compiles nothing: a kernel is compiled, or loaded from the cache, by its
first call. With ``NUMBA_DISABLE_JIT=1`` kernels are plain Python functions and `ENABLED` is False.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import config, event
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import models, register_model, typeof_impl

from tinysmooth.kernels.cache import SharedCache, cache_folder, cpu_description, machine_locks
from tinysmooth.kernels.calls import Code, machine_code, take_apart
from tinysmooth.kernels.compiler import OPTIONS
from tinysmooth.kernels.linking import implementation

__all__ = ["ENABLED", "Kernel", "cache_folder", "jit", "status"]

ENABLED: bool = not config.DISABLE_JIT

_KERNELS: dict[Any, Kernel] = {}  # Numba's dispatcher -> our kernel
_opening = threading.Lock()


def _sheltered(compile_types: Callable[..., Any]) -> Callable[..., Any]:
    """Make Numba compile in a thread that no signal handler can interrupt.

    Python runs signal handlers in the main thread, between any two of its steps, and what they
    raise comes up there. Inside Numba that may be a generator that every later compilation goes on
    with: one Ctrl-C, and the process compiles nothing any more. In a thread beside, the kernel at
    hand is finished and saved; the caller is interrupted while it waits, and may try again.
    A caller that is compiling already, a function of Numba's own with a kernel inside, keeps others
    from compiling and must go on itself.
    """

    @functools.wraps(compile_types)
    def compile_beside(*args: Any) -> Any:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not in_main_thread or global_compiler_lock.is_locked():
            try:
                return compile_types(*args)
            except BaseException:
                machine_locks.reset()
                raise
        made: Future[Any] = Future()

        def finish() -> None:
            try:
                made.set_result(compile_beside(*args))
            except BaseException as error:
                made.set_exception(error)

        threading.Thread(target=finish, name="tinysmooth-compiler").start()
        return made.result()

    return compile_beside


class Kernel:
    """A function compiled at its first call; made by `jit`.

    It can be called from Python and from other kernels, and by `tinysmooth.kernels.threads` in
    several threads at once.

    Attributes
    ----------
    function : callable
        As it was written.
    name : str
    dispatcher : callable
        What Numba made of the function; the function itself where compilation is disabled.
    """

    def __init__(self, function: Callable[..., Any], wrapper: bool) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        options = {**OPTIONS, "no_cpython_wrapper": not wrapper}
        self.dispatcher: Any = numba.njit(**options)(function)
        self._cache_is_open = not ENABLED
        self._codes: dict[tuple[bool, tuple[Any, ...]], Code] = {}
        if ENABLED:
            self.dispatcher.compile = _sheltered(self.dispatcher.compile)
            _KERNELS[self.dispatcher] = self

    def __call__(self, *args: Any) -> Any:
        """Run the kernel."""
        if not ENABLED:
            return self.function(*args)
        code, numbers, alive = self.prepare(args, parallel=False)
        if len(numbers) < len(code.results):
            numbers = np.resize(numbers, len(code.results))
        if code.call(numbers.ctypes.data, code.address, 0, 0):
            raise RuntimeError(f"{self.name} failed in compiled code")
        del alive
        return code.result_of(numbers)

    def prepare(self, args: tuple[Any, ...], parallel: bool) -> tuple[Code, np.ndarray, list[Any]]:
        """Return the machine code for these arguments, the arguments, and what to keep alive."""
        key, numbers, alive = take_apart(args)
        return self.code_for(key, parallel), np.array(numbers, np.int64), alive

    def code_for(self, key: tuple[Any, ...], parallel: bool) -> Code:
        """Return the machine code for arguments with such a key of `take_apart`."""
        code = self._codes.get((parallel, key))
        if code is None:
            code = machine_code(self.ready_dispatcher, key, parallel)
            self._codes[parallel, key] = code
        return code

    @property
    def ready_dispatcher(self) -> Any:
        """The dispatcher, with the cache that it needs when it compiles or loads."""
        if not self._cache_is_open:
            self._open_cache()
        return self.dispatcher

    @property
    def wrapped(self) -> Any:
        """Numba's own call, for a kernel made with ``wrapper=True``."""
        return self.ready_dispatcher

    def _open_cache(self) -> None:
        """Attach the cache folder: late, because to find it costs time that an import has not."""
        with _opening:  # the threads of a first call come here together
            folder = None if self._cache_is_open else cache_folder()
            if folder is not None:
                try:
                    self.dispatcher._cache = SharedCache(self.dispatcher.py_func, folder)
                except (OSError, RuntimeError):  # Numba found no way to name this function's file
                    pass
            self._cache_is_open = True

    @property
    def specialisations(self) -> int:
        """Number of argument types the kernel was compiled or loaded for in this process."""
        return len(self.dispatcher.signatures) if ENABLED else 0


def jit(
    function: Callable[..., Any] | None = None,
    *,
    wrapper: bool = False,
) -> Any:
    """Make a kernel of a Python function.

    Parameters
    ----------
    function : callable
        Written in the part of Python and NumPy that Numba compiles, without making arrays: Numba
        refuses ``np.empty``, and what makes an array inside, such as ``values.max()`` or one slice
        assigned to another. It must have no functions inside it and no comprehensions, and must
        not write to its inputs other than those meant as outputs.
    wrapper : bool
        Whether to compile Numba's own way of calling it from Python too: ``kernel.wrapped(...)`` is
        the quicker call where the arguments are few and not only arrays.

    Returns
    -------
    Kernel
        Same arguments, same result.

    Examples
    --------
    >>> @jit
    ... def double(values, out):
    ...     for i in range(values.size):
    ...         out[i] = 2 * values[i]
    """
    if function is None:
        return functools.partial(jit, wrapper=wrapper)
    return Kernel(function, wrapper)


class KernelType(types.Dispatcher):  # type: ignore[misc]
    """Numba's type of a kernel that is named inside another kernel.

    Numba would compile a called function once more for each constant among its arguments; a kernel
    is compiled for the types alone, and called as `tinysmooth.kernels.linking` says.
    """

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        """Return the signature for these argument types, with ``Literal[int](4)`` as int64."""
        plain = [types.unliteral(arg) for arg in args]
        return super().get_call_type(
            context, plain, {name: types.unliteral(kind) for name, kind in kws.items()}
        )

    def get_impl_key(self, sig: Any) -> Any:
        """Return the key under which Numba finds what to write for such a call."""
        copied = super().get_impl_key(sig)
        made = self.dispatcher.overloads[tuple(sig.args)]
        return implementation(_KERNELS[self.dispatcher], made, copied)


register_model(KernelType)(models.OpaqueModel)


@typeof_impl.register(Kernel)
def _type_of_kernel(kernel: Kernel, context: Any) -> KernelType:
    return KernelType(kernel.ready_dispatcher)


class _Progress(event.Listener):  # type: ignore[misc]
    """Counts compilations, and announces the first one of the process."""

    def __init__(self) -> None:
        self.compiled = 0
        self.seconds = 0.0
        self._depth = 0
        self._started = 0.0

    def on_start(self, happening: event.Event) -> None:
        """Print the line when the first kernel of ours starts to be compiled."""
        if happening.data["dispatcher"] not in _KERNELS:
            return
        if self.compiled == 0 and self._depth == 0:
            once = "once" if cache_folder() else "no cache folder can be written: in every process"
            print(f"tinysmooth: compiling kernels ({once})...", file=sys.stderr, flush=True)
        if self._depth == 0:
            self._started = time.perf_counter()
        self._depth += 1

    def on_end(self, happening: event.Event) -> None:
        """Count; kernels compiled on the way to another count once in the seconds."""
        if happening.data["dispatcher"] not in _KERNELS:
            return
        self.compiled += 1
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._started


_progress = _Progress()
event.register("numba:compile", _progress)


def status() -> dict[str, Any]:
    """Return what was compiled and where it is kept, for ``tinysmooth info``.

    Returns
    -------
    dict
        ``enabled`` (bool), ``cache_folder`` (str or None), ``cpu`` (str), ``numba`` (version),
        ``kernels`` (number defined by the rooms imported so far), ``loaded`` (specialisations
        ready in this process), ``compiled`` (of these, made in this process), ``seconds`` (spent on
        that).
    """
    folder = cache_folder()
    return {
        "enabled": ENABLED,
        "cache_folder": None if folder is None else str(folder),
        "cpu": cpu_description()[0],
        "numba": numba.__version__,
        "kernels": len(_KERNELS),
        "loaded": sum(kernel.specialisations for kernel in _KERNELS.values()),
        "compiled": _progress.compiled,
        "seconds": _progress.seconds,
    }
