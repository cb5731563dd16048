"""Where configs come from: files, and the packaged ones with their headers."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from helpers.configs import BASE, assert_round_trip

from bnexp.config import differences, header, packaged
from bnexp.config import load as load_file
from bnexp.errors import ConfigError


def test_a_missing_file_names_the_nearest():
    """The suggestion is a file beside it, or a packaged config; the list of these is named."""
    Path("mine.yaml").write_text(BASE)
    listed = "`bnexp configs` lists the packaged ones"
    for wrong, right in {"mien.yaml": "mine.yaml", "no/fig1.yaml": "fig1", "fgi1": "fig1"}.items():
        with pytest.raises(ConfigError) as caught:
            load_file(wrong)
        assert str(caught.value) == f"{wrong}: no such file; did you mean '{right}'? ({listed})"
    with pytest.raises(ConfigError) as caught:
        load_file("zzzzzz")
    assert str(caught.value) == f"zzzzzz: no such file; {listed}"


@pytest.mark.parametrize("path", [".", "a\0b", "a" * 5000, "x.yaml/y.yaml"])
def test_a_path_that_cannot_be_read_is_one_line(path):
    """A folder, a NUL, a name too long and a file taken for a folder end in a ConfigError."""
    Path("x.yaml").write_text(BASE)
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert "\n" not in str(caught.value)
    assert "folder" in str(caught.value) or "cannot be read" in str(caught.value)


def test_a_file_without_permission_is_a_config_error(monkeypatch):
    """A file that may not be read says so, also where tests run with all rights."""
    denied = PermissionError(13, "Permission denied", "x.yaml")
    monkeypatch.setattr(Path, "open", Mock(side_effect=denied))
    with pytest.raises(ConfigError, match=r"^x\.yaml: cannot be read: .*Permission denied"):
        load_file("x.yaml")


def test_a_packaged_config_goes_by_its_name_unless_a_file_has_it():
    """`fig1` and `fig1.yaml` are the packaged one, also beside a folder of results of this name."""
    Path("fig1").mkdir()
    assert load_file("fig1") == load_file("fig1.yaml") == load_file(packaged()["fig1"])
    Path("fig1.yaml").write_text(BASE)
    assert load_file("fig1.yaml").name == "a"


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_config_is_an_experiment_of_its_own_name(name):
    """It loads, has enough seeds for an interval, and survives being written and read."""
    experiment = load_file(name)
    assert experiment.name == name
    assert len(experiment.seeds) >= (3 if name == "quickstart" else 5)
    assert_round_trip(experiment)


@pytest.mark.parametrize(("name", "path"), packaged().items())
def test_every_packaged_config_says_in_whole_sentences_what_it_is(name, path):
    """Its header has four fields, of which the command is one that can be pasted."""
    fields = header(path)
    assert list(fields) == ["What it shows", "Command", "Time", "Expected"]
    assert fields.pop("Command") == f"bnexp train --config {name}"
    for text in fields.values():
        assert text[0].isupper()
        assert text.endswith(".")


def test_a_field_of_a_header_goes_on_in_the_lines_that_are_indented():
    """Its lines are joined to one, and other comments are no part of it."""
    Path("x.yaml").write_text(
        "# What it shows: One thing,\n#                and another.\n# A remark.\n"
        "# Time:          1 s.\n" + BASE + "#     no header\n"
    )
    assert header(Path("x.yaml")) == {"What it shows": "One thing, and another.", "Time": "1 s."}


def test_a_config_without_a_header_has_no_fields():
    """A config of three lines is a config too."""
    Path("x.yaml").write_text(BASE)
    assert header(Path("x.yaml")) == {}


def test_fig1_is_the_papers_experiment():
    """What the paper states, and Figure 1's two networks, differ in nothing else."""
    experiment = load_file("fig1")
    base = experiment.base
    assert (base.data.name, base.data.binarize, base.model.hidden) == ("mnist", True, (100,) * 3)
    assert (base.train.steps, base.train.batch_size, base.model.activation) == (
        50_000,
        60,
        "sigmoid",
    )
    plain, batch = experiment.variants
    assert differences(plain.settings, batch.settings) == {
        "model.norm": ("none", "batch"),
        "model.bias": (True, False),
    }


def test_reading_a_config_imports_neither_torch_nor_numpy():
    """`bnexp --help` stays fast."""
    code = "import sys, bnexp.config; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "set()\n"
