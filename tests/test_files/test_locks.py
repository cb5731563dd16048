"""bnexp writes into empty folders and into its own, and one process at a time."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bnexp.errors import LockedError, StorageError
from bnexp.files.locks import HOLDER, LOCK, claim, is_ours, locked


def test_an_empty_folder_is_claimed_and_stays_ours(tmp_path):
    """The lock's file is the mark; it stays when the lock is let go."""
    folder = tmp_path / "a" / "b"
    with locked(folder):
        (folder / "status.json").write_text("x")
    assert is_ours(folder)
    with locked(folder):
        pass
    assert {path.name for path in folder.iterdir()} == {LOCK, HOLDER, "status.json"}


def test_a_folder_with_files_of_others_is_refused_and_left_alone(tmp_path):
    """One of the files is named, and nothing is added."""
    (tmp_path / "model.pt").write_bytes(b"somebody's")
    with pytest.raises(StorageError, match=r"did not write, such as 'model\.pt'"), locked(tmp_path):
        pass
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("model.pt", b"somebody's")
    ]


def test_a_folder_that_another_command_claims_at_this_moment_is_no_folder_of_others(
    tmp_path, monkeypatch
):
    """The other's lock appears just before the files are listed: it is ours, not a stranger's."""
    listing = Path.iterdir

    def claimed_meanwhile(folder):
        (folder / LOCK).touch()
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", claimed_meanwhile)
    claim(tmp_path)
    assert is_ours(tmp_path)


def test_links_are_not_followed_when_something_is_written(tmp_path):
    """Neither a folder that is a link, nor one in the place of the lock's files."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="does not write through links"):
        claim(tmp_path / "link")
    target = tmp_path / "target"
    target.write_text("kept")
    for name in (LOCK, HOLDER):
        folder = tmp_path / f"with {name}"
        with locked(folder):
            pass
        (folder / name).unlink()
        (folder / name).symlink_to(target)
        with pytest.raises((StorageError, OSError)), locked(folder):
            pass
    assert target.read_text() == "kept"
    assert os.listdir(elsewhere) == []


def test_a_variants_folder_that_is_a_link_is_refused(tmp_path):
    """The results would go elsewhere; above the experiment a link is the user's own affair."""
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "results"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    with locked(link / "experiment"):
        (link / "experiment" / "variant").symlink_to(tmp_path)
        with pytest.raises(StorageError, match=r"variant: a link; bnexp does not write through"):
            claim(link / "experiment" / "variant" / "seed-0")
    assert not (tmp_path / "seed-0").exists()


def holder(folder):
    """A process that holds the folder's lock until it is killed."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom bnexp.files import locks\n"
        "with locks.locked(Path(sys.argv[1])):\n print(flush=True)\n time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def test_a_live_process_is_named_and_a_dead_ones_lock_is_taken_over(tmp_path):
    """Refused with host and pid while it lives; free as soon as it was killed."""
    with holder(tmp_path) as process:
        with (
            pytest.raises(LockedError, match=f"process {process.pid} on {socket.gethostname()};"),
            locked(tmp_path),
        ):
            pass
        process.kill()
    with locked(tmp_path):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
