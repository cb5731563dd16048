"""What the shell offers when a user presses Tab."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bnexp
from bnexp.cli import completion

SOURCES = Path(bnexp.__file__).parents[1]


def offered(folder, *words):
    """What bash is offered in a folder for the last of these words, by its protocol."""
    line = {"COMP_WORDS": "\n".join(["bnexp", *words]), "COMP_CWORD": str(len(words))}
    path = {"PYTHONPATH": str(SOURCES), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bnexp"],
        env={**os.environ, "_BNEXP_COMPLETE": "complete_bash", **line, **path},
        capture_output=True, text=True, check=True, cwd=folder,
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["comp"], ["compare"]),
        (["train", "--res"], ["--restart"]),
        (["train", "qui"], ["quickstart"]),
        (["train", "--config", "fig"], ["fig1"]),
        (["train", "fig1", "train.l"], ["train.lr=", "train.lr=0.1"]),
        (["train", "fig1", "model.norm", "="], ["none", "batch", "layer", "rms"]),
        (["train", "fig1", "model.norm", "=", "b"], ["batch"]),
        (["train", "fig1", "--grid", "model.gamma", "="], ["true", "false"]),
        (["train", "--config", "=", "fig"], ["fig1"]),
        (["train", "fig1", "--grid", "=", "train.l"], ["train.lr=", "train.lr=0.1"]),
        (["train", "fig1", "no_such_key", "=", "5"], []),
        (["configs", "sig"], ["sigma_lr"]),
        (["plot", "results/fig1", "--figure", "b"], ["bias"]),
        (["runs", "--state", "in"], ["interrupted"]),
        (["export", "results/fig1", "--to", "p"], ["parquet"]),
    ],
    ids=" ".join,
)
def test_commands_options_configs_keys_and_values_are_completed(tmp_path, words, completed):
    """The script that `--install-completion` installs asks in this way."""
    assert offered(tmp_path, *words) == completed


def test_a_key_that_is_alone_is_offered_with_its_values():
    """After a single offer a shell goes on to the next word; zsh and fish ask with the key."""
    assert completion.keys("train.l") == ["train.lr=", "train.lr=0.1"]
    assert completion.keys("model.norm=r") == ["model.norm=rms"]
    assert completion.keys("record.layers=") == ["record.layers=all", "record.layers=last"]
    assert completion.keys("record.ics") == ["record.ics_every=", "record.ics_every=null"]
    assert completion.keys("model.hid")[1] == "model.hidden=[100,100,100]"
    assert completion.keys("seeds=") == ["seeds=5"]
    assert completion.keys("model.bias") == [
        "model.bias=", "model.bias_std=", "model.bias=true", "model.bias=false",
    ]  # fmt: skip
    assert completion.keys("train.lr=0.3") == []
    assert completion.keys("no_such") == []


def test_every_word_that_an_option_takes_is_offered(tmp_path):
    """The states of runs, and the formats of an export."""
    from bnexp.analysis.listing import STATES
    from bnexp.export.exporting import FORMATS

    assert offered(tmp_path, "runs", "--state", "") == [*STATES]
    assert offered(tmp_path, "export", "results/fig1", "--to", "") == [*FORMATS]


def test_bash_completes_a_key_without_a_space_behind_it(tmp_path):
    """The real bash, with the script that typer installs."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "bnexp"
    program.write_text(f"#!{sys.executable}\nfrom bnexp.cli import program\nprogram()\n")
    program.chmod(0o755)
    path = {"PYTHONPATH": str(SOURCES), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environ = {**os.environ, **path}
    script = subprocess.check_output(
        [program], env={**environ, "_BNEXP_COMPLETE": "source_bash"}, text=True
    )
    ask = """
    say() { _bnexp_completion bnexp; echo "${COMPREPLY[@]}"; }
    COMP_WORDS=(bnexp train fig1 train.l); COMP_CWORD=3; say
    COMP_WORDS=(bnexp train fig1 model.norm = l); COMP_CWORD=5; say
    """
    done = subprocess.run(
        [bash, "--norc", "-c", script + ask],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["train.lr= train.lr=0.1", "layer"]


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
