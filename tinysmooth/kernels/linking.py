"""How one kernel calls another: a small one is copied into it, a large one is called where it is.

Numba gives every kernel a copy of all that it calls, directly or through others, so that LLVM may
inline it, and LLVM optimises each copy anew. LLVM inlines small functions only. The product of
panels, which is too large for that, was optimised and written out eight times: once for itself and
once for each kernel that comes to it in the end. All in all, two thirds of the code of a training
step were copies, and a quarter of the time to compile it went into them.

So a large kernel has a *symbol*, a name under which LLVM's linker finds the address of the one
machine code that there is for arguments of these types::

    forward_tiles        call "tinysmooth_panel_product_3784..."  --+
    gather_rows          call "tinysmooth_panel_product_3784..."  --+-->  panel_product
    forward_few_tiles    call "tinysmooth_panel_product_3784..."  --+

A caller that comes from the cache has such calls too, and LLVM ends the process where it cannot
find a symbol. Therefore Numba, which keeps with the machine code of a function a list of what must
be done before it is loaded, is told there to `publish` every symbol that the code names.

Kernels outside this package are copied as Numba does it: nothing promises that the next process
finds the same ones under their names.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import itertools
import sys
from collections.abc import Callable
from typing import Any

from llvmlite import binding
from numba.core.registry import cpu_target

__all__ = ["LARGEST_COPY", "implementation", "publish", "steps_before_loading"]

LARGEST_COPY = 200
"""Instructions of a kernel that is still copied into its callers: about as many as LLVM inlines.
With twice as many, compiling a training step took 12 percent longer; with half as many, 6 percent
less, and the steps themselves 0 to 3 percent longer."""

_PACKAGE = __name__.rpartition(".")[0] + "."
_large: dict[str, bool] = {}  # Numba's name of a machine code -> whether it is larger
_published: dict[str, Callable[[], None]] = {}  # symbol -> how another process publishes it


def implementation(kernel: Any, made: Any, copied: Any) -> Any:
    """Return the key under which Numba finds what to write for a call.

    Parameters
    ----------
    kernel : Kernel
        What is called.
    made : numba CompileResult
        Its machine code for the types of the call.
    copied : hashable
        Numba's own key, which stands for a call to a copy.
    """
    function = kernel.function
    module, name = function.__module__, function.__qualname__
    found = module.startswith(_PACKAGE) and getattr(sys.modules[module], name, None) is kernel
    if not found or not _is_large(made):
        return copied
    return _publish(module, name, made)


def steps_before_loading(made: Any) -> list[Callable[[], None]]:
    """Return what another process must do before it loads this machine code from the cache."""
    named = (function.name for function in _module(made).functions if function.is_declaration)
    return [_published[name] for name in named if name in _published]


def publish(module: str, name: str, kinds: tuple[Any, ...]) -> None:
    """Compile or load a kernel of this package for argument types, and make its symbol known."""
    dispatcher = getattr(importlib.import_module(module), name).ready_dispatcher
    dispatcher.compile(kinds)
    _publish(module, name, dispatcher.overloads[kinds])


def _publish(module: str, name: str, made: Any) -> str:
    kinds = tuple(made.signature.args)
    digest = hashlib.sha256(repr((module, kinds)).encode()).hexdigest()[:16]
    symbol = f"tinysmooth_{name}_{digest}"
    if symbol not in _published:
        description = copy.copy(made.fndesc)
        address = made.library.get_pointer_to_function(description.llvm_func_name)
        binding.add_symbol(symbol, address)
        description.mangled_name = symbol
        cpu_target.target_context.insert_user_function(symbol, description)
        _published[symbol] = functools.partial(publish, module, name, kinds)
    return symbol


def _module(made: Any) -> Any:
    """Return the code that Numba would copy into a caller, compiled now or loaded."""
    return made.library._get_module_for_linking()


def _is_large(made: Any) -> bool:
    """Tell whether a kernel is too large to be copied; counts no further than that takes."""
    name = made.fndesc.llvm_func_name
    if name not in _large:
        blocks = _module(made).get_function(name).blocks
        instructions = (one for block in blocks for one in block.instructions)
        _large[name] = any(True for _ in itertools.islice(instructions, LARGEST_COPY, None))
    return _large[name]
