"""The errors of bnexp, as the shell and other processes meet them."""

import inspect
import multiprocessing
import re

import pytest

from bnexp import errors
from bnexp.errors import BnexpError, ConfigError

ERRORS = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


def test_the_tree_at_the_head_of_the_module_gives_every_exit_code():
    """The documented codes are those of the classes, and no class is left out."""
    documented = dict(re.findall(r"── (\w+) +(\d+) ", errors.__doc__))
    actual = {name: str(kind.exit_code) for name, kind in ERRORS.items() if kind is not BnexpError}
    assert documented == actual


def test_every_error_is_a_bnexp_error():
    """One except clause catches them all."""
    assert all(issubclass(kind, BnexpError) for kind in ERRORS.values())


@pytest.mark.parametrize("mistakes", ["one", ["one", "two"]])
def test_the_mistakes_of_a_config_survive_the_way_between_processes(mistakes):
    """An error that a worker process sends arrives with its list and its text."""
    here, there = multiprocessing.Pipe()
    here.send(ConfigError(mistakes))
    error = there.recv()
    assert error.mistakes == ([mistakes] if isinstance(mistakes, str) else mistakes)
    assert str(error) == "\n".join(error.mistakes)
