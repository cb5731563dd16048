"""Every command and example of the README runs, as it stands there."""

import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from helpers import warm

import bnexp

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "results" / "README.md").read_text()
# What shortens a training to a moment; MNIST's experiments are trained on the digits here.
SHORT = {
    "fig1": ["train.steps=20", "data.name=digits", "record.statistics_every=null"],
    "configs/quickstart.yaml": ["train.steps=500"],
}
# The networks of `bnexp verify` too; in full, `tests/test_verify` trains them.
FEWER_STEPS = """
from dataclasses import replace
from bnexp.verify import networks
networks.SGD = replace(networks.SGD, steps=300)
"""


def blocks(language, text=README):
    """The README's examples in a language, in order."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def shortened(words):
    """A command with what shortens it; a number of steps that it states is divided by 50."""
    if words[0] != "train":
        return words
    stated = [word.partition("=")[2] for word in words if word.startswith("train.steps=")]
    fewer = [f"train.steps={int(steps) // 50}" for steps in stated]
    known = [word for name in SHORT if name in words for word in SHORT[name]]
    return [*words, "--jobs", "1", *fewer, *known]


def commands():
    """The lines of the README's shell blocks that run bnexp, without their comments."""
    for block in blocks("sh"):
        for line in block.splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = shlex.split(part)
                if words[:1] == ["bnexp"]:
                    yield words[1:]


@pytest.fixture
def clone(tmp_path):
    """A clone: what is committed is all that there is, and the README's own config beside it."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    share_kernels(folder)
    (config,) = blocks("yaml")
    (folder / "mine.yaml").write_text(config)
    return folder


def share_kernels(clone):
    """Spare the clone the compilation, which other tests see: its sources are the same."""
    from bnexp.networks.kernels import compiler

    compiled = Path(compiler.__file__).parent
    theirs = clone / compiled.relative_to(Path(bnexp.__file__).parents[1])
    for file in compiled.glob("__pycache__/*.nb[ci]"):
        (theirs / "__pycache__").mkdir(exist_ok=True)
        shutil.copy(file, theirs / "__pycache__")


@pytest.mark.parametrize("of_quickstart", [True, False])
def test_every_command_and_example_of_the_readmes_runs_in_order_in_a_clone(
    clone, tmp_path, of_quickstart
):
    """Those of the quickstart and the others, which need nothing of it, each in a clone of its own.

    Long trainings are shortened, and one worker does what is left. All are forks of a process that
    has imported the clone's bnexp. Other tests start commands as users do, such as those of
    `tests/test_cli/test_streams.py`.
    """
    programs = [shortened(words) for words in commands()]
    ran = {words[0] for words in programs}
    assert {"train", "compare", "plot", "verify", "runs", "configs", "validate"} <= ran
    examples = blocks("python") + blocks("python", RESULTS)
    assert len(examples) == 3
    assert any("strict=True" in script for script in examples)
    chosen = [
        program
        for program in [*programs, *examples]
        if ("quickstart" in str(program)) == of_quickstart
    ]
    assert len(chosen) > 5
    (log := tmp_path / "log").touch()
    done = warm.Process(warm.in_clone, clone, chosen, log, FEWER_STEPS)
    assert done.wait() == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_readme_is_short_enough_to_be_read():
    """What is longer belongs into results/README.md, configs/README.md or CONTRIBUTING.md."""
    assert len(README.splitlines()) <= 300


def test_every_picture_has_a_text_for_those_who_cannot_see_it():
    """In all texts that users read."""
    for page in (README, RESULTS):
        pictures = re.findall(r"!\[(.*?)\]\(", page)
        assert pictures
        assert all(len(text) > 20 for text in pictures)


def test_every_file_that_the_readmes_name_is_there():
    """Links, and paths of the repository in backquotes, in all texts that users read."""
    pages = ("README.md", "results/README.md", "CONTRIBUTING.md", "CHANGELOG.md")
    for page in (*map(ROOT.joinpath, pages), *ROOT.glob("results/published/*/README.md")):
        text = page.read_text()
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        for link in links:
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for path in re.findall(
            r"`((?:bnexp|scripts|tests|configs|results/published)/[\w./]+)`", text
        ):
            assert "NAME" in path or (ROOT / path).exists(), f"{page.name}: {path}"
