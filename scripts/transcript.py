"""A folder in which a trial's commands run, with what each took, how it ended, and what it said."""

import getpass
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

CONFIG = """
name: trial
seeds: [0]
data: {name: digits}
model: {hidden: [3, 2], weight_std: 0.3}
train: {steps: 300, batch_size: 20, lr: 0.5, checkpoint_every: 100}
record: {layers: all, probe_size: 20, probe_every: 5, evaluate_every: 50}
variants:
  baseline: {}
"""
ROOT = Path(__file__).parents[1]
TRAIN = ("train", "--config", "trial.yaml", "--jobs", "2")
Outcome = dict[str, Any]


class NotTriedError(Exception):
    """This machine lacks what a trial needs."""


class Trial:
    """The commands of a trial, run in its folder; `memory` is what the last one took, in MB."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commands, self.memory = folder, list[Outcome](), 0
        (folder / "trial.yaml").write_text(CONFIG)

    def run(
        self,
        *words: str,
        before: str = ":",
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        during: Callable[[], object] = bool,
    ) -> int:
        """Run `bnexp` with these words, and take down how it ended; its exit code.

        `before` is what the shell does first, `env` more of the environment, `user` another user
        whose process it is, and `during` is called again and again while it runs.
        """
        python, more = sys.executable, dict(env or {})
        if user is not None:  # who may not be allowed to start the Python of a virtual environment
            python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
            need(Path(python).exists(), f"{python} for {user}")
            packages = [str(ROOT), *(path for path in sys.path if "packages" in path)]
            more |= {"HOME": str(self.folder / user), "PYTHONPATH": os.pathsep.join(packages)}
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'{before}; exec "$@"', "-", python, "-P", "-m", "bnexp", *words],
                cwd=self.folder, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **more},
                user=user, extra_groups=None if user is None else [],
            )  # fmt: skip
            ended = 0
            while not ended:
                ended, status, used = os.wait4(process.pid, os.WNOHANG)
                during()
                time.sleep(0.2)
            process.returncode = code = os.waitstatus_to_exitcode(status)
            said.seek(0)
            lines = [line for line in said.read().splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("bnexp: ")] or lines[-1:]
        said_last = told[0].replace(f"{self.folder}/", "")[:300]
        command = " ".join([*([] if before == ":" else [f"{before};"]), "bnexp", *words])
        taken = {"command": f"{command[:200]} ..." if len(command) > 200 else command}
        self.commands.append(
            {**taken, "user": user or getpass.getuser(), "exit": code, "said": said_last}
        )
        self.memory = round(used.ru_maxrss / 1024)
        return code

    def contents(self, out: str) -> dict[str, bytes]:
        """The logs, the networks and the figures of an experiment."""
        from stress import contents  # loads torch, whose memory later processes would begin with

        return contents(self.folder / out)


def need(condition: object, what: str) -> None:
    """Give up a trial on a machine that lacks something."""
    if not condition:
        raise NotTriedError(f"needs {what}")
