"""Files that survive a crash, and what is said of those that did not."""

import errno
import os
from pathlib import Path

import pytest

from bnexp.errors import DamagedError, StorageError
from bnexp.files import atomic, checkpoint, experiment_folder, locks, sealed


def flips(content):
    """The content with a bit flipped in each byte in turn."""
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        yield bytes(changed)


# Files written whole


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """Whichever call fails, the old content stays, and no temporary file takes up room."""
    path = tmp_path / "status.json"
    atomic.write_whole(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(OSError, match="No space left"):
                atomic.write_whole(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
        assert path.read_bytes() == b"old"


def test_a_replaced_file_is_on_the_disk_before_and_its_name_after(tmp_path, monkeypatch):
    """First the bytes are synced, then the file is renamed, then the folder is synced."""
    events, replace = [], Path.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: events.append("folder" if Path(f"/proc/self/fd/{fd}").is_dir() else "file"),
    )
    monkeypatch.setattr(
        Path, "replace", lambda self, target: events.append("rename") or replace(self, target)
    )
    atomic.write_whole(tmp_path / "status.json", b"new")
    assert events == ["file", "rename", "folder"]


def test_a_new_file_leaves_the_old_one_to_whoever_has_it(tmp_path):
    """A second name of the old file keeps its content, and a link is refused and left alone."""
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"old")
    other.hardlink_to(path)
    atomic.open_new(path).close()
    assert (path.read_bytes(), other.read_bytes()) == (b"", b"old")
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(StorageError, match="a link"):
        atomic.open_new(path)
    assert path.is_symlink()


def test_a_flipped_bit_anywhere_in_a_sealed_file_is_found(tmp_path):
    """It is refused, or stood where JSON has no meaning and the content is the same."""
    path, content = tmp_path / "status.json", {"state": "done", "step": 60, "loss": 0.1, "b": None}
    sealed.write_sealed(path, content)
    written, whole = path.read_bytes(), sealed.read_sealed(path)
    assert whole == content
    refused = 0
    for changed in flips(written):
        path.write_bytes(changed)
        try:
            found = sealed.read_sealed(path)
        except DamagedError:
            refused += 1
        else:
            assert found == whole
    assert refused > 0.8 * len(written)


def test_a_flipped_bit_anywhere_in_a_config_is_found(tmp_path, small_experiment):
    """Also where it would be another valid experiment, such as one with another seed."""
    experiment = small_experiment()
    experiment_folder.write_config(tmp_path, experiment)
    assert experiment_folder.read_config(tmp_path) == experiment
    path = tmp_path / experiment_folder.CONFIG
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DamagedError, match=r"config\.yaml"):
            experiment_folder.read_config(tmp_path)


def test_a_config_without_a_checksum_is_refused(tmp_path, small_experiment):
    """Nothing says that the results beside it are its own."""
    from bnexp.config import dump

    (tmp_path / experiment_folder.CONFIG).write_text(dump(small_experiment()))
    with pytest.raises(DamagedError, match="or not written by bnexp"):
        experiment_folder.read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "nul", "[" * 100_000, "1" * 9999])
def test_what_is_no_json_object_is_damaged(tmp_path, text):
    """One line, whatever the bytes."""
    path = tmp_path / "status.json"
    path.write_text(text)
    with pytest.raises(DamagedError, match=r"status\.json: damaged") as caught:
        sealed.read_json(path)
    assert "\n" not in str(caught.value)


# What users are told


@pytest.mark.parametrize("read", [sealed.read_json, checkpoint.load_tensors])
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
    with pytest.raises(StorageError) as caught, locks.storage_errors(tmp_path):
        atomic.write_whole(tmp_path / "model.pt", b"")
    assert str(caught.value) == (
        f"{tmp_path / 'model.pt'}: Is a directory; what was written so far stays readable.\n"
        "Make room or fix the folder, then run the same command again."
    )
    with pytest.raises(StorageError) as caught, locks.storage_errors(tmp_path):
        atomic.write_whole(tmp_path / "gone" / "model.pt", b"")
    assert str(caught.value).startswith(f"{tmp_path / 'gone'}: No such file or directory.\n")
    with pytest.raises(StorageError, match="No space left"), locks.storage_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
