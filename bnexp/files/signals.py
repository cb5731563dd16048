"""Signals that wait until files are whole."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handlers_held() -> Iterator[None]:
    """Hold back what handles Ctrl-C and SIGTERM; a signal that came is handled at the end.

    Python's own handler of Ctrl-C raises KeyboardInterrupt wherever the program is, so between
    rows that are written and the number of rows that is told. Handlers run in the main thread
    alone, so that there is nothing to hold in another one.
    """
    came, handlers = list[int](), dict[signal.Signals, Callable[[int, FrameType | None], object]]()
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
                    signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        # Ctrl-C last: its handler may run, and raise, as soon as it is back.
        for number, handler in reversed(handlers.items()):
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)
