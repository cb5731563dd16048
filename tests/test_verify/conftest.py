"""What the tests of the checks share."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep to one thread: on arrays this small a second one costs time."""
    with threadpool_limits(1):
        yield
