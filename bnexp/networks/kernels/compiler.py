"""How the kernels are compiled, and the instructions that Python has no name for.

Numba is imported here and nowhere else in the project, apart from this folder's other modules,
which import this one. Whether it is installed is asked in one place: `bnexp.networks.engine`.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import binding
from numba import types
from numba.core.caching import IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# `fastmath` stays off. With it, the compiler may reorder a sum, and a process that had just
# compiled a kernel gave other bits than one that loaded it from the cache. The error model is
# NumPy's: 1 / 0 is infinite, where Python's raises an exception and so keeps a loop from being
# vectorised. Nobody calls the kernels from C.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}


def description() -> str:
    """The engine's name, what compiled it, and the processor it was compiled for."""
    llvm = ".".join(map(str, binding.llvm_version_info))
    processor = numba.config.CPU_NAME or binding.get_host_cpu_name()
    if numba.config.CPU_FEATURES:
        processor += f" {numba.config.CPU_FEATURES}"
    return f"kernels (numba {numba.__version__}, llvm {llvm}, {processor})"


def digest_of_sources() -> str:
    """A digest of the sources of all kernels."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCES = digest_of_sources()


class _Part(JITCodeLibrary):
    """The code of a kernel in LLVM's language, as it will be linked into the code of an entry.

    Numba optimises every function and makes machine code of it, in case that Python calls it. An
    entry links all kernels that it uses, and is then optimised and made into machine code as a
    whole. Only that code runs. Leaving out the rest saves more than a quarter of the compilation.
    """

    def _optimize_final_module(self) -> None:
        """Nothing: the entry will be optimised."""

    def _finalize_final_module(self) -> None:
        """Be ready for linking."""
        self._finalized = True

    @property
    def codegen(self) -> Any:
        """Whom Numba asks to `set_env`."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing: the variable that it would set is in the machine code.

        It is for code that handles Python objects. Numba does not set it either for the functions
        that it compiles as parts of others.
        """


class _PartCompiler(Compiler):
    """Numba's compiler, but what it compiles becomes a `_Part`."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        self.state.library = _Part(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


def part_compiler(library: type = JITCodeLibrary) -> type[Compiler]:
    """The compiler for kernels: Numba's own, if its `library` has not the names used in `_Part`.

    They are no interface that Numba promises. They are the same in its versions 0.61, 0.62 and
    0.68. The bits of the results do not depend on which of the two compilers is used.
    """
    names = "_optimize_final_module", "_finalize_final_module", "_finalized", "codegen"
    return _PartCompiler if all(hasattr(library, name) for name in names) else Compiler


def kernel(function: Function) -> Function:
    """Compile a function that other kernels call, and only they.

    It gets no entry from Python, which would take time to build. If it raises an exception, the
    exception's arguments must be constants.
    """
    options = {**OPTIONS, "no_cpython_wrapper": True, "pipeline_class": part_compiler()}
    compiled: Function = numba.njit(**options)(function)
    return compiled


def entry(function: Function) -> Function:
    """Compile a function that Python calls, with all kernels it uses, and keep it on the disk.

    Numba renews a cached function when the file that defines it changes, but not when a function
    that it calls has changed in another file; and it fails where the types in an old file no longer
    exist. The digest of all kernels' sources therefore becomes part of the file's name, so that a
    file of other sources is never read.
    """
    try:
        compiled: Any = numba.njit(**OPTIONS, cache=True)(function)
    except RuntimeError:  # no folder can be written: compile in each process
        compiled = numba.njit(**OPTIONS)(function)
    else:
        cache = compiled._cache
        file: Callable[..., Any] = IndexDataCacheFile
        cache._cache_file = file(
            cache_path=cache.cache_path,
            filename_base=f"{function.__name__}-{SOURCES[:16]}-py{sys.version_info.minor}",
            source_stamp=SOURCES,
        )
    return compiled


@kernel
def zero() -> Any:
    """0 as a number. As a literal argument it would have a type of its own.

    Numba compiles a function once for each combination of its arguments' types, and a literal is
    one of them. Where it matters, the callers' `zero()` and `yes()` save a second compilation.
    """
    return np.int64(0)


@kernel
def yes() -> Any:
    """True as a truth value; see `zero`."""
    return np.bool_(True)


@kernel
def unsigned(index: int) -> Any:
    """An index that is not negative.

    Numba asks of each index whether it is negative, since such a one is counted from the end. Where
    indices are read from an array and little else is done, asking takes half of the time.
    """
    return np.uint64(index)


def is_cached(function: Any, *arguments: Any) -> bool:
    """Whether an `entry` can be called with such arguments without compiling it."""
    typeof: Callable[[Any], Any] = numba.typeof
    signature = tuple(map(typeof, arguments))
    if signature in function.overloads:
        return True
    try:
        cache = function._cache
        return cache.load_overload(signature, function.targetctx) is not None
    except AttributeError:  # another version of Numba, or no cache: say that it must be compiled
        return False


def instruction(build: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compiled code calls, and that LLVM's own language defines.

    `build` takes a typing context and the types of the arguments. It returns the signature, and a
    function that writes the code. It is Numba's `intrinsic`, with the type of a plain function.
    """
    made: Callable[..., Any] = intrinsic(build)
    return made


@instruction
def fma(_typing: Any, a: Any, _b: Any, _c: Any) -> Any:
    """a * b + c, rounded once: the fused multiply-add of IEEE 754.

    Processors have one instruction for it. The compiler may not use it for `a * b + c`, which is
    rounded twice, unless it is asked for by name. Its result is the same on every machine.
    """

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return a(a, a, a), generate


@instruction
def bits_of(_typing: Any, x: Any) -> Any:
    """The bits of a floating-point number, as an integer of the same size."""
    integer = types.int32 if x == types.float32 else types.int64
    return integer(x), _bitcast


@instruction
def number_of(_typing: Any, bits: Any) -> Any:
    """The floating-point number with these bits."""
    number = types.float32 if bits == types.int32 else types.float64
    return number(bits), _bitcast


def _bitcast(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    return builder.bitcast(values[0], context.get_value_type(signature.return_type))
