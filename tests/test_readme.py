"""Every command and example of the README runs, as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# What shortens a training to a moment; MNIST's experiments are trained on the digits here.
SHORT = {
    "quickstart": [],
    "fig1": ["train.steps=20", "data.name=digits", "record.statistics_every=null"],
}


def commands():
    """The lines of the README's shell blocks that run bnexp, without their comments."""
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = shlex.split(part)
                if words[:1] == ["bnexp"]:
                    yield words[1:]


def test_every_command_of_the_readme_runs_in_order_in_a_clone(tmp_path):
    """Long trainings are shortened by an override; what is committed is all that there is."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    ran = []
    for words in commands():
        short = []
        if words[0] == "train":
            name = next(name for name in SHORT if any(name in word for word in words))
            short = SHORT[name]
        done = subprocess.run(
            [sys.executable, "-m", "bnexp", *words, *short],
            cwd=clone, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        assert "Traceback" not in done.stderr
        ran.append(words[0])
    assert {"train", "compare", "plot", "verify", "runs", "configs", "validate"} <= {*ran}


@pytest.mark.parametrize(
    "script",
    [
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "results/quickstart" not in block
    ],
)
def test_every_example_of_the_readme_that_needs_no_results_runs(script, tmp_path):
    """In a folder of its own; the others are run with the experiment that they need."""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_network_of_the_readme_loads_strictly(tmp_path):
    """The plain Sequential that it spells out takes the quickstart's model.pt."""
    import bnexp

    (script,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "strict=True" in block
    )
    bnexp.train("quickstart", ["train.steps=20", "seeds=1"], tmp_path / "results" / "quickstart")
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_every_file_that_the_readmes_name_is_there():
    """Links, and paths of the repository in backquotes, in all texts that users read."""
    for page in (ROOT / "README.md", ROOT / "results" / "README.md", ROOT / "CONTRIBUTING.md"):
        text = page.read_text()
        links = re.findall(r"\]\(([^)#:]+)\)", text)
        for link in links:
            assert (page.parent / link).exists(), f"{page.name}: {link}"
        for path in re.findall(
            r"`((?:bnexp|scripts|tests|configs|results/published)/[\w./]+)`", text
        ):
            assert "NAME" in path or (ROOT / path).exists(), f"{page.name}: {path}"
