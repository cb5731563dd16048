"""A process that compiles the kernels for float64; this one need not do it again."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import helpers
import pytest

import bnexp

PROGRAM = """
import hashlib, sys
sys.path[:0] = [{tests!r}]
from helpers.cases import make, settings, sparse_digits
from bnexp.networks.kernels import step
from bnexp.networks.kernels.warm_up import compile_kernels, is_compiled
was = is_compiled("float64")
compile_kernels("float64")
digest = hashlib.sha256()
for norm in ("none", "batch"):
    for dataset in (None, sparse_digits()):
        engine = make("kernels", settings(model={{"norm": norm}}), dataset)
        engine.advance(100)
        for state in engine.state():
            for value in state.values():
                digest.update(value.tobytes())
print(was, is_compiled("float64"), len(step.train.signatures), len(step.observe.signatures))
print(digest.hexdigest())
"""


def in_a_process(cache):
    """Train in a process of its own; what it finds in its cache, and what its networks are.

    Args:
        cache: the folder for compiled kernels.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parents[1]))],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def sources():
    """The files that the bits of a small training depend on."""
    rooms = [Path(bnexp.__file__).parent / name for name in ("config", "data", "networks")]
    rooms += [Path(bnexp.__file__).parent / "recording", Path(helpers.__file__).parent]
    return sorted(file for room in rooms for file in room.rglob("*.py"))


@pytest.fixture(scope="session")
def compiled_anew(request):
    """The answer of a process that found an empty cache, and how to ask the next one.

    It compiles for ten seconds. So pytest keeps its answer and its cache, for as long as all that
    they depend on is the same; `pytest --cache-clear` forgets them.
    """
    from bnexp.files.provenance import PACKAGES, version_of
    from bnexp.networks.kernels import compiler

    versions = [sys.version, *(f"{name} {version_of(name)}" for name in PACKAGES)]
    made_of = hashlib.sha256("\n".join([PROGRAM, compiler.description(), *versions]).encode())
    for source in sources():
        made_of.update(source.read_bytes())
    cache = request.config.cache.mkdir("kernels") / made_of.hexdigest()[:16]
    if not (cache / "answer").exists():
        cache.mkdir(exist_ok=True)
        (cache / "answer").write_text("\n".join(in_a_process(cache)))
        for other in set(cache.parent.iterdir()) - {cache}:
            shutil.rmtree(other)
    return SimpleNamespace(
        cache=cache,
        answer=(cache / "answer").read_text().splitlines(),
        next_answer=lambda: in_a_process(cache),
    )


@pytest.fixture(scope="session")
def float64_kernels(request):
    """The kernels for float64 are in the cache: where they are not, they come from that process."""
    from bnexp.networks.kernels.warm_up import is_compiled

    if not is_compiled("float64"):
        take_over(request.getfixturevalue("compiled_anew").cache)


def take_over(cache):
    """Put the kernels for float64 from another cache into the one of this process."""
    import numba
    from numba.core.caching import IndexDataCacheFile

    from bnexp.networks.kernels.warm_up import calls

    for function, arguments in calls("float64"):
        ours = function._cache
        (index,) = cache.glob(f"*/{Path(ours._cache_file._index_name).name}")
        theirs = IndexDataCacheFile(
            str(index.parent), index.name.removesuffix(".nbi"), ours._cache_file._source_stamp
        )
        signature = tuple(map(numba.typeof, arguments))
        key = ours._index_key(signature, function.targetctx.codegen())
        ours._cache_file.save(key, theirs.load(key))
