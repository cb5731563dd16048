"""Talking with Dask: which workers there are, what they are given, what they send.

Dask's own errors become the errors of bnexp here. What it would log and warn of, such as a lost
connection, is said by the command in other words.
"""

import itertools
import logging
import queue
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.registry import get_backend

from bnexp.errors import ConfigError, RunError
from bnexp.training.cluster.session import Ended

ANSWER_SECONDS = 10  # to wait for the scheduler's first answer
RESULT_SECONDS = 120.0  # to wait for the files of a long run
LOGS = ("distributed", "distributed.client", "distributed.core", "distributed.comm")


class Connection:
    """A command's connection with a cluster.

    Args:
        address: of Dask's scheduler.

    Attributes:
        session: a name for this command, unlike any other's.

    Raises:
        ConfigError: the scheduler does not answer.
    """

    _client: Any  # most of its methods have no types

    def __init__(self, address: str) -> None:
        self.address, self.session = address, uuid.uuid4().hex
        self._numbers = itertools.count()
        self._messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        for name in LOGS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            # Before a client is begun: one that cannot be ended says so for 20 seconds.
            scheme, place = parse_address(address)
            get_backend(scheme)
            if scheme in {"tcp", "tls"}:
                parse_host_port(place)
            with warnings.catch_warnings(action="ignore"):
                self._client = Client(  # type: ignore[no-untyped-call]
                    address, timeout=ANSWER_SECONDS, set_as_default=False
                )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"--scheduler {address}: no answer ({' '.join(str(error).split())[:200]}).\n"
                "Start one with `dask scheduler`, and workers with `dask worker ADDRESS`."
            ) from error
        self._client.subscribe_topic(self.session, lambda event: self._messages.put(event[1]))

    def close(self) -> None:
        """Leave the cluster; what is under way there is given up."""
        with suppress(OSError):
            self._client.close(timeout=2)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the scheduler for something.

        Raises:
            RunError: it does not answer any more.
        """
        try:
            if self._client.status != "running":
                raise ConnectionError("closed")
            yield
        except OSError as error:  # all of Dask's errors of connections are
            raise RunError(
                f"{self.address}: the scheduler was lost; its workers stop after a checkpoint.\n"
                "When there is a scheduler again, the same command continues."
            ) from error

    def threads(self) -> dict[str, int]:
        """How many threads each worker has, by its address."""
        with self._asking():
            return dict(self._client.nthreads())

    def submit(
        self, worker: str, function: Callable[..., Ended], *arguments: object
    ) -> Future[Any]:
        """Let a worker call a function; `messages` then holds what is returned when it has."""
        key = f"bnexp-{next(self._numbers)}-{self.session}"
        with self._asking(), warnings.catch_warnings(action="ignore"):
            # Dask warns of large arguments, such as the files of a long run.
            future: Future[Any] = self._client.submit(
                function, *arguments, key=key, workers=[worker]
            )
        future.add_done_callback(self._messages.put)  # type: ignore[no-untyped-call]
        return future

    def tell(self, workers: Sequence[str], function: Callable[..., Any]) -> None:
        """Call a coroutine function in workers, beside what they do, without waiting for it."""
        with suppress(OSError):  # the scheduler is lost, which `threads` finds
            if self._client.status == "running" and workers:
                self._client.run(function, self.session, workers=workers, wait=False)

    def messages(self, seconds: float) -> Iterator[object]:
        """What has come: the messages of workers, and futures that are done.

        Args:
            seconds: to wait for the first of them.
        """
        with suppress(queue.Empty):
            yield self._messages.get(timeout=seconds)
            while True:
                yield self._messages.get_nowait()

    def result(self, worker: str, future: Future[Any]) -> Ended | None:
        """What a function returned; None where the worker was lost meanwhile."""
        if future.status == "finished":
            with suppress(OSError, CancelledError):  # lost, with what it had not handed over yet
                ended: Ended = future.result(timeout=RESULT_SECONDS)
                return ended
        error = future.exception() if future.status == "error" else None  # type: ignore[no-untyped-call]
        if error is None or isinstance(error, KilledWorker):
            return None
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        advice = "Is the same bnexp installed there?"
        return Ended("error", ConfigError(f"{worker}: cannot do its work ({what}).\n{advice}"))
