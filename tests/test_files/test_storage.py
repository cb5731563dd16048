"""Files that survive a crash, and what is said of those that did not."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bnexp.errors import DamagedError, LockedError, StorageError
from bnexp.files import checkpoint, storage
from bnexp.files import run_folder as runlog


class Disk:
    """A file that takes at most so many bytes in one write, and so many in all."""

    def __init__(self, file, at_once, room):
        self.file, self.at_once, self.room = file, at_once, room

    def write(self, data):
        """Write a part, as an unbuffered file may."""
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.file.write(data[: min(self.at_once, self.room)])
        self.room -= taken
        return taken

    def close(self):
        """Fail, as a network's file system may."""
        self.file.close()
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def __getattr__(self, name):
        return getattr(self.file, name)


def flips(content):
    """The content with a bit flipped in each byte in turn."""
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        yield bytes(changed)


# Appended files


def test_an_array_can_be_read_at_any_time(tmp_path):
    """`numpy.load` sees the rows of the last `publish`, through every change of the digits."""
    array = storage.AppendedArray(tmp_path / "a.npy", (2, 3))
    array.start()
    row = np.arange(6, dtype=np.float32)
    for rows in range(1, 121):
        array.append((row + rows).tobytes())
        assert len(np.load(array.path, mmap_mode="r")) == rows - 1
        array.publish()
        assert len(np.load(array.path, mmap_mode="r")) == rows
    array.close()
    np.testing.assert_array_equal(np.load(array.path)[:, 1, 2], np.arange(1, 121) + 5)
    assert {len(storage.npy_header(10**digits, (2, 3))) for digits in range(18)} == {128}


def test_rows_are_on_the_disk_before_they_are_promised(tmp_path, monkeypatch):
    """A power cut between the two leaves rows that no header counts, and never the opposite."""
    array, promised = storage.AppendedArray(tmp_path / "a.npy", (2, 3)), []
    array.start()
    array.append(bytes(24))
    monkeypatch.setattr(os, "fsync", lambda _: promised.append(len(np.load(array.path, "r"))))
    array.publish()
    array.close()
    assert promised == [0, 1]


def test_a_reader_of_rows_that_are_written_anew_is_not_killed(tmp_path):
    """It has mapped rows behind those that are continued; as many are appended, then published."""
    array = storage.AppendedArray(tmp_path / "a.npy", (2048,))
    array.start()
    array.append(bytes(8192))
    kept = array.extent()
    array.append(bytes(8192))
    array.publish()
    array.close()
    mapped = np.load(array.path, mmap_mode="r")
    array = storage.AppendedArray(array.path, (2048,))
    array.resume(kept["bytes"], kept["crc32"])
    assert len(np.load(array.path, mmap_mode="r")) == 1
    assert mapped[1].sum() == 0.0  # without its page, the process would end here
    array.append(np.ones(2048, np.float32).tobytes())
    array.publish()
    array.close()
    np.testing.assert_array_equal(np.load(array.path)[:, 0], [0, 1])
    assert array.path.stat().st_size == 128 + 2 * 8192


def test_rows_that_are_not_written_anew_are_cut_off(tmp_path):
    """At the next publish; before it, no header counts them."""
    array = storage.AppendedArray(tmp_path / "a.npy", (2,))
    array.start()
    array.append(bytes(24))
    array.close()
    array.resume(8, 0)
    assert (len(np.load(array.path)), array.path.stat().st_size) == (1, 128 + 24)
    array.publish()
    array.close()
    assert (len(np.load(array.path)), array.path.stat().st_size) == (1, 128 + 8)


def test_a_write_that_takes_a_part_is_completed(tmp_path):
    """Nothing of what was appended is missing when the system takes it in pieces."""
    file = storage.AppendedFile(tmp_path / "a.csv", b"header\n")
    file.start()
    file._file = Disk(file._file, at_once=3, room=1000)
    file.append(b"0123456789" * 9)
    file.publish()
    assert file.path.read_bytes() == b"header\n" + b"0123456789" * 9
    file.check(90, file.extent()["crc32"])
    file.close()


def test_a_full_disk_is_met_by_the_write_and_never_by_close(tmp_path):
    """What was published before can be continued from, and `close` has nothing left to say."""
    file = storage.AppendedFile(tmp_path / "a.csv", b"header\n")
    file.start()
    file.append(b"kept")
    file.publish()
    extent = file.extent()
    file._file = Disk(file._file, at_once=100, room=6)
    with pytest.raises(OSError, match="No space left"):
        file.append(b"0123456789")
    file.close()
    again = storage.AppendedFile(tmp_path / "a.csv", b"header\n")
    again.check(extent["bytes"], extent["crc32"])
    again.resume(extent["bytes"], extent["crc32"])
    again.append(b"!")
    again.publish()
    again.close()
    assert file.path.read_bytes() == b"header\nkept!"


@pytest.mark.parametrize("content", [b"header\nkep", b"header\nKept", b"", None])
def test_an_appended_file_that_is_not_what_was_written_is_refused(tmp_path, content):
    """Cut short, changed, empty or missing: one line with its name, and what to do."""
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.csv: .*; delete that run's folder and train"):
        storage.check(path, 7, 4, 0x7C72B2A6)


# Files written whole


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """Whichever call fails, the old content stays, and no temporary file takes up room."""
    path = tmp_path / "status.json"
    storage.write_whole(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match="No space left"):
                storage.write_whole(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
        assert path.read_bytes() == b"old"


def test_a_flipped_bit_anywhere_in_a_sealed_file_is_found(tmp_path):
    """It is refused, or stood where JSON has no meaning and the content is the same."""
    path, content = tmp_path / "status.json", {"state": "done", "step": 60, "loss": 0.1, "b": None}
    storage.write_sealed(path, content)
    written, whole = path.read_bytes(), storage.read_json(path)
    assert {**whole, "crc32": 0} == {"crc32": 0, **content}
    refused = 0
    for changed in flips(written):
        path.write_bytes(changed)
        try:
            found = runlog.read_status(tmp_path)
        except DamagedError:
            refused += 1
        else:
            assert found == whole
    assert refused > 0.8 * len(written)


def test_a_flipped_bit_anywhere_in_a_config_is_found(tmp_path, small_experiment):
    """Also where it would be another valid experiment, such as one with another seed."""
    experiment = small_experiment()
    runlog.write_config(tmp_path, experiment)
    assert runlog.read_config(tmp_path) == experiment
    path = tmp_path / runlog.CONFIG
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=r"config\.yaml"):
            runlog.read_config(tmp_path)


def test_a_config_without_a_checksum_is_read(tmp_path, small_experiment):
    """One that a user wrote has none."""
    from bnexp.config.experiment import dump

    (tmp_path / runlog.CONFIG).write_text(dump(small_experiment()))
    assert runlog.read_config(tmp_path) == small_experiment()


@pytest.mark.parametrize("text", ["", "{", "[1]", "nul", "[" * 100_000, "1" * 9999])
def test_what_is_no_json_object_is_damaged(tmp_path, text):
    """One line, whatever the bytes."""
    path = tmp_path / "status.json"
    path.write_text(text)
    with pytest.raises(DamagedError, match=r"status\.json: damaged") as caught:
        storage.read_json(path)
    assert "\n" not in str(caught.value)


# What users are told


@pytest.mark.parametrize("read", [storage.read_json, checkpoint.load_tensors])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, read):
    """Missing, or a folder in its place: which, and why."""
    with pytest.raises(DamagedError, match=r"x: missing; train again to write it anew"):
        read(tmp_path / "x")
    (tmp_path / "x").mkdir()
    with pytest.raises(StorageError, match=r"x: cannot be read \(Is a directory\)$"):
        read(tmp_path / "x")


def test_the_systems_errors_name_the_file_that_users_know(tmp_path):
    """Of a rename, the file it leads to; of a write, the folder; two lines each."""
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(StorageError) as caught, storage.storage_errors(tmp_path):
        storage.write_whole(tmp_path / "model.pt", b"")
    assert str(caught.value) == (
        f"{tmp_path / 'model.pt'}: Is a directory; what was written so far stays readable.\n"
        "Make room or fix the folder, then run the same command again."
    )
    with pytest.raises(StorageError) as caught, storage.storage_errors(tmp_path):
        storage.write_whole(tmp_path / "gone" / "model.pt", b"")
    assert "No such file or directory.\nMake room" in str(caught.value)
    with pytest.raises(StorageError, match="No space left"), storage.storage_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# The lock of a folder


def holder(folder):
    """A process that holds the folder's lock until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom bnexp.files import storage\n"
        "with storage.locked(Path(sys.argv[1])):\n print(flush=True)\n time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_a_live_process_is_named_and_a_dead_ones_lock_is_taken_over(tmp_path):
    """Refused with host and pid while it lives; free as soon as it was killed."""
    with holder(tmp_path) as process:
        with (
            pytest.raises(LockedError, match=f"process {process.pid} on {socket.gethostname()};"),
            storage.locked(tmp_path),
        ):
            pass
        process.kill()
    with storage.locked(tmp_path):
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()
