"""Numba's compiler without the work that finds nothing in a kernel, or finds the same again.

A first training step compiles some seventy functions. Two thirds of the time are Numba's own, in
Python, where it finds out types and writes LLVM's language. But a kernel is simple: it makes no
arrays, holds no functions, and nobody counts references in it. So `Pipeline` differs from Numba's
own list of steps in three ways, which leave the machine code as quick as it was:

- Some steps are left out (`_WITHOUT`): 7 percent of the time.
- LLVM optimises once (`_Library`): 6 percent.
- What a call comes out as is found out once. Numba tries one rule after the other, some ten for a
  sum of two integers, and forgets which it was; a kernel has dozens of sums, and the next one has
  the same. `_Types` remembers: a sixth of the time.

Functions that are no kernels, and not given `OPTIONS`, are compiled as ever.
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager
from numba.core.typed_passes import AnnotateTypes, IRLegalization, NopythonRewrites
from numba.core.typing import Context
from numba.core.untyped_passes import InlineClosureLikes
from numba.extending import models, register_model

__all__ = ["OPTIONS", "Pipeline"]

_WITHOUT = {
    InlineClosureLikes,  # looks for functions inside functions
    NopythonRewrites,  # for structured arrays, and arithmetic with whole arrays, which makes one
    IRLegalization,  # writes where a variable ends, for the count of references
    AnnotateTypes,  # text that the cache would keep, for `inspect_types`
}

# Function, types of its arguments, those with names -> signature, and the key of what is written.
_remembered: dict[Any, tuple[Any, Any]] = {}


class _Types(Context):  # type: ignore[misc]
    """Numba's knowledge of types, with a memory for calls of its functions.

    Kernels are no such functions: the first call compiles them.
    """

    __slots__ = ("_plain",)

    def __init__(self, plain: Context) -> None:
        self._plain = plain
        self.__dict__ = plain.__dict__  # type: ignore[misc]  # what one learns, both know

    def refresh(self) -> None:
        """Learn of what was imported since: rules then belong to the context that stays."""
        self._plain.refresh()

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call, or None."""
        if func is operator.getitem:
            func = self._plain.resolve_value_type(func)
        if type(func) is not types.Function:
            return self._plain.resolve_function_type(func, args, kws)
        key = func, tuple(args), tuple(dict(kws).items())
        found = _remembered.get(key)
        if found is None:
            signature = self._plain.resolve_function_type(func, args, kws)
            if signature is None:
                return None
            found = _remembered[key] = signature, func.get_impl_key(signature)
        signature, implementation = found
        # Numba has one place for this, and others may have left theirs, made with fast-math flags.
        func._impl_keys[signature.args] = implementation  # type: ignore[attr-defined]
        return signature

    def resolve_setitem(self, target: Any, index: Any, value: Any) -> Any:
        """Return the signature of ``target[index] = value``."""
        func = self._plain.resolve_value_type(operator.setitem)
        return self.resolve_function_type(func, (target, index, value), {})


class _TypesWhenWriting(_Types):
    """The same for the step that writes LLVM's language: it asks functions themselves."""

    def resolve_value_type(self, val: Any) -> Any:
        """Return the type of a Python object."""
        kind = self._plain.resolve_value_type(val)
        return _Function(kind) if type(kind) is types.Function else kind


class _Function(types.Function):
    """A function of Numba's, whose calls are looked up in the memory."""

    def __init__(self, plain: types.Function) -> None:
        super().__init__(plain.templates)
        self._plain = plain

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        return context.resolve_function_type(self._plain, args, kws)

    def get_impl_key(self, sig: Any) -> Any:
        """Return the key under which Numba finds what to write for such a call."""
        return self._plain.get_impl_key(sig)


register_model(_Function)(models.OpaqueModel)


class _Library(JITCodeLibrary):  # type: ignore[misc]
    """Machine code that LLVM optimises once, with the copies of what it calls.

    Numba has each function optimised before that, too. What this finds is found again; without it a
    kernel takes a fifteenth less time to compile, and the code is as quick.
    """

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self.codegen._data_layout


class Pipeline(CompilerBase):  # type: ignore[misc]
    """Numba's steps for a kernel, towards a `_Library`."""

    def define_pipelines(self) -> list[PassManager]:
        """Return the one list of steps; they find the library and the memory here."""
        state = self.state
        if state.flags.nrt:
            raise ValueError("a kernel is compiled with _nrt=False: nothing here counts references")
        if state.library is None:
            state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
        # The target is this compilation's own copy.
        state.targetctx.typing_context = _TypesWhenWriting(state.typingctx)
        state.typingctx = _Types(state.typingctx)
        made = PassManager("kernel")
        for step, purpose in DefaultPassBuilder.define_nopython_pipeline(state).passes:
            if step not in _WITHOUT:
                made.add_pass(step, purpose)
        made.finalize()
        return [made]


OPTIONS: dict[str, Any] = {
    "pipeline_class": Pipeline,
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,  # no counts of references
    # What a kernel would have from the function that calls it first.
    "fastmath": False,
    "forceinline": False,
}
"""What Numba is told of a kernel, and of a function that it chooses by type inside one."""
