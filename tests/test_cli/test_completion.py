"""What the shell offers when a user presses Tab."""

import os
import subprocess
import sys

import pytest

from bnexp.cli import completion


def offered(*words):
    """What bash is offered for the last of these words, by the protocol of its completion."""
    line = {"COMP_WORDS": " ".join(["bnexp", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-m", "bnexp"],
        env={**os.environ, "_BNEXP_COMPLETE": "complete_bash", **line},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["comp"], ["compare"]),
        (["train", "--res"], ["--restart"]),
        (["train", "qui"], ["quickstart"]),
        (["train", "--config", "fig"], ["fig1"]),
        (["train", "fig1", "train.l"], ["train.lr="]),
        (["configs", "sig"], ["sigma_lr"]),
    ],
    ids=" ".join,
)
def test_commands_options_configs_and_keys_are_completed(words, completed):
    """The script that `--install-completion` installs asks in this way."""
    assert offered(*words) == completed


def test_configs_of_ones_own_are_completed_in_any_folder(tmp_path, monkeypatch):
    """Folders lead on to what lies in them; other files and hidden ones are not offered."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    for name in ("mine.yaml", "mine.txt", ".hidden.yaml", "more/other.yaml"):
        (tmp_path / name).touch()
    assert completion.configs("m") == ["mine.yaml", "more/"]
    assert completion.configs("more/") == ["more/other.yaml"]
    assert completion.configs(f"{tmp_path}/mi") == [f"{tmp_path}/mine.yaml"]
    assert ".hidden.yaml" not in completion.configs("")
    assert completion.configs("absent/") == []
