"""Streams that are closed, full or of another encoding, and names that a terminal would obey."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import warm
from helpers.experiments import go, small_settings

from bnexp.config import Experiment, Variant
from bnexp.files.experiment_folder import TRAIN_LOG, write_config
from bnexp.files.status import read_status
from bnexp.training.plans import plans_of

BNEXP = f"{sys.executable} -m bnexp"
CONFIG = """name: tiny
seeds: [0]
data: {name: digits}
model: {hidden: [3], weight_std: 0.3}
train: {steps: 20, batch_size: 20, checkpoint_every: 10}
record: {probe_size: 20, probe_every: 5, evaluate_every: 5}
variants: {a: {}}
"""


@pytest.fixture
def trained(quick, tmp_path):
    """A finished experiment of two variants and two seeds, made in this process."""
    folder, settings = tmp_path / "trained", small_settings(record={"probe_size": 20})
    folder.mkdir()
    experiment = Experiment("tiny", (0, 1), settings, (Variant("a", {}, settings),))
    write_config(folder, experiment)
    for plan in plans_of(experiment, folder):
        go(plan)
    return folder


def shell(line, cwd, **environment):
    """Exit code, stdout and stderr of a line of a shell."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "lost",
    [{2: "closed pipe"}, {2: "full disk"}, {2: "closed"}, "2>&- >&-"],
    ids=["closed pipe", "full disk", "stderr closed", "both closed, by a shell"],
)
def test_losing_the_streams_does_not_end_a_training(tmp_path, lost):
    """The run is done, and train.log holds what was said; no file has taken the stream's place."""
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    words = ("train", "tiny.yaml", "--out", "out")
    if isinstance(lost, str):
        code, _, _ = shell(f"{BNEXP} {' '.join(words)} {lost}", tmp_path)
    else:
        command = warm.Command(*words, folder=tmp_path, lost=lost)
        command.communicate(60)
        code = command.returncode
    assert code == 0
    assert read_status(tmp_path / "out" / "a" / "seed-0").state == "done"
    assert (tmp_path / "out" / "figures" / "fig1.png").stat().st_size > 1000
    lines = (tmp_path / "out" / TRAIN_LOG).read_text().splitlines()
    told = [line.partition(" ")[2] for line in lines]
    assert told[0] == "begins: bnexp train tiny.yaml --out out"
    assert told[-1] == "ends"


def test_a_library_that_writes_to_a_closed_stderr_writes_into_no_file(tmp_path):
    """A stream that was closed has its number taken before any file is opened."""
    code = (
        "import os, sys\n"
        "from bnexp.cli import application\n"
        "application._prepare_streams()\n"
        "with open('kept', 'wb') as file:\n"
        "    assert file.fileno() > 2\n"
        "    os.write(2, b'a warning')\n"
    )
    (tmp_path / "open.py").write_text(code)
    assert shell(f"{sys.executable} open.py 0<&- 2>&- >&-", tmp_path)[0] == 0
    assert (tmp_path / "kept").read_bytes() == b""


def test_an_encoding_without_a_character_is_no_error(trained, bnexp):
    """± becomes a question mark where the output is ASCII."""
    code, out, err = shell(f"{BNEXP} compare {trained}", trained, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert " ?" in out
    assert "±" in bnexp("compare", trained)[1]


def test_a_backend_of_matplotlib_that_is_not_there_does_not_matter(trained):
    """bnexp draws into files, and asks for no window."""
    line = f"{BNEXP} plot {trained} --out {trained / 'x'}"
    code, out, _ = shell(line, trained, MPLBACKEND="foo")
    assert (code, out) == (0, f"{trained / 'x'}.png\n")


def test_a_working_directory_that_was_deleted_is_one_line(tmp_path):
    """Whatever the command, and whatever its paths."""
    (tmp_path / "gone").mkdir()
    line = f"rmdir {tmp_path / 'gone'}; {BNEXP} runs {tmp_path}"
    code, out, err = shell(line, tmp_path / "gone")
    assert (code, out) == (4, "")
    assert err == "bnexp: the working directory was deleted; change to another one\n"


@pytest.mark.parametrize("name", ["\x1b]0;title\x07", "a\nb\x9b31m"])
def test_names_of_folders_do_not_command_the_terminal(trained, name):
    """Control characters are shown as escapes, in tables and in errors, on one line."""
    strange = trained.with_name(name)
    shutil.copytree(trained, strange)
    listed = (listing := warm.Command("runs", strange)).communicate()
    assert listing.returncode == 0
    assert len(listed[0].splitlines()) == 3
    (next(strange.glob("a/*")) / "status.json").write_text("{")
    told = (telling := warm.Command("compare", strange)).communicate()
    assert telling.returncode == 4
    for text in (*listed, *told):
        assert not {*text} & {"\x1b", "\x07", "\x9b"}


def test_one_folder_that_cannot_be_read_does_not_hide_the_others(trained):
    """A pipe, a huge file with nothing in it, and somebody's status, each a line or none."""
    for number, make in enumerate((
        os.mkfifo,
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 20_000_000_000),
        lambda path: path.write_text('{"crc32": 0}'),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.mkdir(),
    )):  # fmt: skip
        folder = trained.parent / f"other{number}" / "b" / "seed-0"
        folder.mkdir(parents=True)
        make(folder / "status.json")
        make(folder.parents[1] / "config.yaml")
    code, out, err = shell(f"timeout 60 {BNEXP} runs {trained.parent}", trained)
    assert code == 0
    assert re.fullmatch(r"\d+ runs: .*\n", err)  # the summary line alone
    assert out.count("damaged: ") == 5
    assert out.count(" done ") == 2
    assert all(str(Path(f"other{number}", "b", "seed-0")) in out for number in range(5))
