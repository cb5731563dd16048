"""Compiling once, and the bits of those who compile and those who load."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import hashlib, sys, time
sys.path[:0] = [{tests!r}]
from helpers.cases import make, settings, sparse_digits
from bnexp.networks.kernels.warm_up import compile_kernels, is_compiled
was = is_compiled("float32")
compile_kernels("float32")
digest = hashlib.sha256()
for norm in ("none", "batch"):
    made = settings(model={{"norm": norm}}, train={{"dtype": "float32"}})
    for dataset in (None, sparse_digits()):
        engine = make("kernels", made, dataset)
        engine.advance(100)
        for state in engine.state():
            for value in state.values():
                digest.update(value.tobytes())
from bnexp.networks.kernels import step
print(was, is_compiled("float32"), len(step.train.signatures), len(step.observe.signatures))
print(digest.hexdigest())
"""


def test_a_process_that_loads_the_cache_gives_the_bits_of_the_one_that_compiled(tmp_path):
    """The warm-up compiles all that a run needs, says so, and the next process compiles nothing."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    answers = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        answers.append(done.stdout.splitlines())
    assert [answer[0] for answer in answers] == ["False True 1 1", "True True 1 1"]
    assert answers[0][1] == answers[1][1]


def test_a_cache_of_other_sources_is_never_read():
    """The digest of all kernels' sources is in the name of every file."""
    from bnexp.networks.kernels import compiler, step

    digest = compiler._SOURCES[:16]
    assert digest == compiler._sources()[:16]
    for function in (step.train, step.observe):
        assert digest in function._cache._cache_file._index_name
        assert digest in function._cache._cache_file._data_name(1)
