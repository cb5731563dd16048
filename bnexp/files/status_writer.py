"""`status.json` while a process is at the run."""

import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnexp.files.status import HistoryEntry, State, Status, write_status


class StatusWriter:
    """Writes the status of a run that this process makes.

    Args:
        folder: the run's; must be locked.
        status: of the run, before its first step. The process is added here.

    Attributes:
        content: what was written last, with what was changed since.
        written: when that was, by the monotonic clock.
    """

    def __init__(self, folder: Path, status: Status) -> None:
        self.content = replace(status, host=socket.gethostname(), pid=os.getpid())
        self.written = 0.0
        self._folder = folder
        self._began: tuple[float, int] | None = None

    def begin(self, step: int) -> None:
        """The steps are timed from here on, where so many are made."""
        self._began = time.monotonic(), step

    def change(self, **attributes: Any) -> None:
        """Change what the next write says.

        Args:
            attributes: of `Status`.
        """
        self.content = replace(self.content, **attributes)

    def note(self, step: int, engine: str, arithmetic: str) -> None:
        """Add to the history what computes the steps from here on, if it is something else."""
        made_with, history = self.content.made_with.copy(), self.content.history
        made_with.pop("command", None)
        entry: HistoryEntry = {
            "from_step": step,
            "engine": engine,
            "arithmetic": arithmetic,
            **made_with,
        }
        if not history or {**history[-1], "from_step": step} != entry:
            self.change(history=(*history, entry))

    def write(self, state: State, **attributes: Any) -> None:
        """Change the status, and put it on the disk.

        Args:
            state: of the run.
            attributes: others of `Status`.
        """
        self.change(state=state, **attributes)
        if self._began is not None and self.content.step > self._began[1]:
            began, first = self._began
            self.change(seconds_per_step=(time.monotonic() - began) / (self.content.step - first))
        write_status(self._folder, self.content)
        self.written = time.monotonic()
