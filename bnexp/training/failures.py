"""What can fail in a worker and is no user's mistake: its libraries do not load, or memory ends.

A limit on memory strikes first where torch and Numba are loaded, since their shared libraries take
several GB of addresses. A second attempt in the same process fails with another error, which hides
the cause. So a worker tries once, and keeps the first error.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from bnexp.errors import is_out_of_memory

CAUSE_CHARACTERS = 200
MORE_MEMORY = "raise the memory limit (such as `ulimit -v`), or use fewer --jobs"


@contextmanager
def loading() -> Iterator[None]:
    """Where libraries are loaded: whatever stops it becomes an ImportError with the first cause.

    Raises:
        ImportError: a module or a shared library is missing, or there is no memory for it.
    """
    try:
        yield
    except (ImportError, MemoryError, OSError) as error:
        cause = " ".join(str(error).split())[:CAUSE_CHARACTERS]
        raise ImportError(f"{type(error).__name__}: {cause}" if cause else "no memory") from error


def described(error: Exception) -> str:
    """One or two lines for an error that is no user's."""
    text = " ".join(str(error).split())[:CAUSE_CHARACTERS]
    if isinstance(error, ImportError):
        return (
            f"its process could not load its libraries ({text}).\nIf memory is limited, "
            f"{MORE_MEMORY}. Then run the same command again."
        )
    if is_out_of_memory(error):
        return "out of memory; use fewer --jobs, fewer units, or a smaller minibatch"
    return f"internal error ({type(error).__name__}: {text}); --debug shows where"
