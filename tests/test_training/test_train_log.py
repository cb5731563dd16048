"""What is said while an experiment is trained is kept in its folder, whoever listens."""

from contextlib import suppress

import pytest
from helpers.experiments import Listener

from bnexp.errors import StorageError
from bnexp.files.experiment_folder import TRAIN_LOG
from bnexp.training.train_log import kept


class Broken:
    """Shows what it is told on a stream whose reader is gone."""

    def say(self, _):
        """Fail."""
        raise BrokenPipeError

    update = say


def test_what_cannot_be_shown_is_dropped_and_kept_in_the_log(tmp_path):
    """Lines with their time, in the order in which they were said; an error as well."""
    error = StorageError("two\nlines")
    with suppress(StorageError), kept(tmp_path, Broken()) as keeper:
        keeper.say("one\x1b")
        keeper.update("any progress")
        raise error
    lines = (tmp_path / TRAIN_LOG).read_text().splitlines()
    times, told = zip(*(line.split(" ", 1) for line in lines), strict=True)
    assert told[0].startswith("begins: ")
    assert told[1:] == ("one\x1b", "two", "lines")
    assert list(times) == sorted(times)
    assert all(time.endswith("+00:00") for time in times)


@pytest.mark.parametrize("stands_there", ["folder", "link"])
def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path, stands_there):
    """What is said is shown all the same, and a link is not followed."""
    path, target, listener = tmp_path / TRAIN_LOG, tmp_path / "target", Listener()
    path.mkdir() if stands_there == "folder" else path.symlink_to(target)
    with kept(tmp_path, listener) as keeper:
        keeper.say("one")
    assert listener.said == ["one"]
    assert not target.exists()
