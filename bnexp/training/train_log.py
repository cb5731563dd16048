"""What is said while an experiment is trained, kept in its folder and told to the user.

Whoever starts a long training may lose the terminal, close the pipe, or fill the disk that stderr
goes to. None of this may end the training. So every line goes to `train.log` in the experiment's
folder first, and a line that cannot be shown or kept is dropped.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bnexp.errors import BnexpError, StorageError
from bnexp.files.atomic import open_regular, write_all
from bnexp.files.experiment_folder import TRAIN_LOG
from bnexp.files.provenance import command
from bnexp.files.status import now
from bnexp.training.jobs import Listener, Tally


class Kept:
    """A listener whose lines are kept, whether or not they can be shown.

    Args:
        folder: the experiment's.
        listener: shows the lines and the progress.
    """

    def __init__(self, folder: Path, listener: Listener) -> None:
        self._path, self._listener = folder / TRAIN_LOG, listener

    def keep(self, *texts: str) -> None:
        """Write lines into the log alone, each with the time."""
        lines = "".join(f"{now()} {line}\n" for text in texts for line in text.splitlines())
        with (
            suppress(OSError, StorageError),
            open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file,
        ):
            write_all(file, lines.encode(errors="backslashreplace"))

    def say(self, text: str) -> None:
        """Keep a line, and show it where that can be done."""
        self.keep(text)
        with suppress(OSError, ValueError):  # a closed stream raises ValueError
            self._listener.say(text)

    def update(self, tally: Tally) -> None:
        """Show how far all runs are, where that can be done."""
        with suppress(OSError, ValueError):
            self._listener.update(tally)


@contextmanager
def kept(folder: Path, listener: Listener) -> Iterator[Kept]:
    """Keep what is said in the experiment's folder, with the command and how it ended."""
    keeper = Kept(folder, listener)
    keeper.keep(f"begins: {command()}")
    try:
        yield keeper
    except BnexpError as error:
        keeper.keep(str(error))
        raise
    keeper.keep("ends")
