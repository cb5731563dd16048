"""Waiting for what other processes do, with an end."""

import time

LIMIT = 300  # seconds, for whatever is waited for


def wait_for(condition, *processes, pause=0.01):
    """Wait until it holds; an error where one of these processes ends before.

    Args:
        condition: is called until it is true.
        processes: are alive until then.
        pause: seconds between two calls.
    """
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened for {LIMIT} seconds"
        for process in processes:
            assert process.poll() is None, process.communicate()
        time.sleep(pause)
