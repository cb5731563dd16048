"""Compiling once, and the bits of those who compile and those who load."""

import pytest

# Beside the other tests of float64, which take over what the first of these has compiled.
pytestmark = pytest.mark.xdist_group("float64")


def test_a_process_that_loads_the_cache_gives_the_bits_of_the_one_that_compiled(compiled_anew):
    """The warm-up compiles all that a run needs, and the next process compiles nothing."""
    answers = compiled_anew.answer, compiled_anew.next_answer()
    assert [answer[0] for answer in answers] == ["False True 1 1", "True True 1 1"]
    assert answers[0][1] == answers[1][1]


def test_a_cache_of_other_sources_is_never_read():
    """The digest of all kernels' sources is in the name of every file."""
    from bnexp.networks.kernels import compiler, step

    digest = compiler.SOURCES[:16]
    assert digest == compiler.digest_of_sources()[:16]
    for function in (step.train, step.observe):
        assert digest in function._cache._cache_file._index_name
        assert digest in function._cache._cache_file._data_name(1)
