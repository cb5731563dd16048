"""Try what a test cannot: a full disk, a jumping clock, limits of memory, another user, many runs.

    nice -n 19 python scripts/trials.py

Each trial trains a very small experiment in a folder of its own, and is written to --out with every
command, its exit code and what it said at last. `as expected` says whether the exit codes were
right, and the files those of an undisturbed training. Trials need Linux, and some need root or
libfaketime (`apt-get install faketime`); where these are missing, a trial is written down as not
tried. --only makes some of the trials, and keeps the others as they were written.
"""

import argparse
import getpass
import json
import os
import shutil
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


# The trials. Each returns what else is to be written down, with `as expected`.


def full_disk_while_drawing(trial: Trial) -> Outcome:
    """The folder is a tmpfs with no room for the figures: exit 4; with room, the figures follow."""
    need(os.geteuid() == 0 and shutil.which("mount"), "root, to mount a tmpfs")
    codes = [trial.run(*TRAIN, "--out", "whole")]
    whole = trial.contents("whole")
    (out := trial.folder / "out").mkdir()
    kept = [path for path in (trial.folder / "whole").rglob("*") if "figures" not in path.parts]
    pages = sum(path.stat().st_size // 4096 + 1 for path in kept)
    mount = [shutil.which("mount") or "", "-t", "tmpfs", "tmpfs", str(out), "-o"]
    mounted = subprocess.run([*mount, f"size={4096 * (pages + 6)}"], check=False).returncode == 0
    need(mounted, "the right to mount a tmpfs")
    try:
        without = shutil.ignore_patterns("figures")
        shutil.copytree(trial.folder / "whole", out, ignore=without, dirs_exist_ok=True)
        codes.append(trial.run(*TRAIN, "--out", "out"))
        drawing = (out / "figures").is_dir()
        subprocess.run([*mount[:1], "-o", "remount,size=64m", str(out)], check=True)
        codes.append(trial.run(*TRAIN, "--out", "out"))
        equal = trial.contents("out") == whole
    finally:
        subprocess.run([shutil.which("umount") or "", str(out)], check=True)
    expected = equal and drawing and codes == [0, 4, 0]
    return {"it was drawing": drawing, "equal": equal, "as expected": expected}


def clock_that_jumps(trial: Trial) -> Outcome:
    """The clock goes to and fro between -3 days and +2 years: the files do not depend on it."""
    from matplotlib.image import imread

    need(shutil.which("faketime"), "libfaketime")
    libraries = subprocess.run(
        ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"],  # noqa: S607
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    rarely = ("record.probe_every=1000", "train.checkpoint_every=5000")
    codes, jumps = [trial.run(*TRAIN, "--out", "whole", "train.steps=40000", *rarely)], [0]
    clock = trial.folder / "clock"
    clock.write_text("-3d\n")
    environment = {"LD_PRELOAD": libraries, "FAKETIME_TIMESTAMP_FILE": str(clock),
                   "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip

    def jump() -> None:
        jumps[0] += 1
        (aside := clock.with_suffix(".new")).write_text(("-3d\n", "+2y\n")[jumps[0] % 2])
        aside.replace(clock)

    for steps in ("20000", "40000"):
        words = (*TRAIN, "--out", "out", f"train.steps={steps}", *rarely)
        codes.append(trial.run(*words, env=environment, during=jump))
    out, whole = trial.contents("out"), trial.contents("whole")
    # Under libfaketime Python sometimes fails to start git (EINVAL), and a figure then does not
    # name the commit. So pictures are compared by what is seen.
    pictures = [imread(trial.folder / each / "figures/fig1.png") for each in ("out", "whole")]
    differing = [name for name in whole if out.get(name) != whole[name] and "fig1" not in name]
    equal = not differing and out.keys() == whole.keys() and (pictures[0] == pictures[1]).all()
    return {
        "jumps": jumps[0],
        "equal": bool(equal),
        "as expected": bool(equal and codes == [0, 0, 0]),
    }


def memory_limit(trial: Trial) -> Outcome:
    """`ulimit -v 524288` leaves no room for torch: exit 1 with the cause; without it, all equal."""
    return limited(trial, "ulimit -v 524288")


def memory_control_group(trial: Trial) -> Outcome:
    """A control group with 150 MB kills the workers: exit 1 after three tries; then all equal."""
    group = Path("/sys/fs/cgroup/memory/bnexp-trial")
    need(os.access(group.parent, os.W_OK), "root, and control groups (v1)")
    group.mkdir(exist_ok=True)
    try:
        (group / "memory.limit_in_bytes").write_text(str(150 << 20))
        return limited(trial, f"echo $$ > {group}/cgroup.procs")
    finally:
        group.rmdir()


def limited(trial: Trial, before: str) -> Outcome:
    """Train with little memory, and then with all of it."""
    codes = [trial.run(*TRAIN, "--out", "whole"), trial.run(*TRAIN, "--out", "out", before=before)]
    codes.append(trial.run(*TRAIN, "--out", "out"))
    equal = trial.contents("out") == trial.contents("whole")
    return {"equal": equal, "as expected": equal and codes == [0, 1, 0]}


def second_user(trial: Trial) -> Outcome:
    """Another user reads an experiment; writing into it is refused with exit 4."""
    need(os.geteuid() == 0, "root, to become another user")
    trial.folder.chmod(0o755)
    (trial.folder / "nobody").mkdir()
    shutil.chown(trial.folder / "nobody", "nobody")
    codes = [trial.run(*TRAIN, "--out", "out")]
    before = {p: p.read_bytes() for p in sorted((trial.folder / "out").rglob("*")) if p.is_file()}
    reading = ("compare", "out"), ("runs", "out"), ("plot", "out", "--out", "nobody/figure")
    own = (*TRAIN, "--out", "nobody/mine")
    writing = [(*TRAIN, "--out", "out", word) for word in ("seeds=[0,1]", "--restart")]
    for words in (*reading, own, *writing, ("plot", "out")):
        codes += [trial.run(*words, user="nobody")]
    same = {p: p.read_bytes() for p in sorted((trial.folder / "out").rglob("*")) if p.is_file()}
    return {"unchanged": same == before,
            "as expected": same == before and codes == [0, 0, 0, 0, 0, 4, 4, 4]}  # fmt: skip


def many_seeds(trial: Trial) -> Outcome:
    """A thousand seeds in one experiment."""
    code = trial.run(*TRAIN, "--out", "out", "seeds=1000", "train.steps=10")
    return of_many(trial, code, 1000)


def many_variants(trial: Trial) -> Outcome:
    """200 variants under `ulimit -n 256`."""
    grid = "--grid", "train.lr=" + ",".join(f"{number / 1000:g}" for number in range(1, 201))
    code = trial.run(*TRAIN, "--out", "out", "train.steps=10", *grid, before="ulimit -n 256")
    return of_many(trial, code, 200)


def of_many(trial: Trial, code: int, count: int) -> Outcome:
    """How many networks there are."""
    models = len([*trial.folder.glob("out/*/seed-*/model.pt")])
    return {"networks": models, "as expected": (code, models) == (0, count)}


def long_logs(trial: Trial) -> Outcome:
    """`plot` of logs with 200,000 rows."""
    rows = ("train.steps=200000", "train.checkpoint_every=50000", "record.probe_every=1")
    codes = [trial.run(*TRAIN, "--out", "out", *rows, "record.evaluate_every=50000")]
    memory = dict[str, int]()
    for source in ("probe", "batch"):
        codes += [trial.run("plot", "out", "--source", source)]
        memory[source] = trial.memory
    sizes = {path.name: path.stat().st_size for path in trial.folder.glob("out/*/seed-0/*.npy")}
    return {"bytes": sizes, "MB of memory by source": memory, "as expected": codes == [0, 0, 0]}


TRIALS = (long_logs,  # which measures memory, before torch is loaded here
          full_disk_while_drawing, clock_that_jumps, memory_limit, memory_control_group,
          second_user, many_seeds, many_variants)  # fmt: skip


def tried(make: Callable[[Trial], Outcome]) -> Outcome:
    """A trial's outcome, with what it is about."""
    from bnexp.files.provenance import provenance

    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name))
        try:
            outcome = make(trial)
        except NotTriedError as error:
            outcome = {"not tried": str(error)}
    about = {"trial": (make.__doc__ or "").strip(), **outcome, "commands": trial.commands}
    return {**about, "environment": provenance()}


def main() -> int:
    """Make the trials; print and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=[each.__name__ for each in TRIALS])
    parser.add_argument("--out", type=Path, default=Path("results/published/reliability"))
    arguments = parser.parse_args()
    path = arguments.out / "trials.json"
    trials = json.loads(path.read_text()) if arguments.only and path.exists() else {}
    for make in TRIALS:
        if not arguments.only or make.__name__ in arguments.only:
            trials[make.__name__] = tried(make)
            print(make.__name__, json.dumps(trials[make.__name__], indent=1), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(trials, indent=1) + "\n")
    return 0 if all(each.get("as expected", True) for each in trials.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
