"""Kill a real experiment at random moments until it ends; its files must be as if undisturbed.

    python scripts/stress.py --repetitions 50 --seed 0

One repetition starts `bnexp train`, kills it at a random moment after its first run began, and
starts it again, until it is done. About a third extend a finished experiment: by steps, by a seed,
or by a variant. SIGKILL goes to the command with all its processes, or to one worker alone; SIGTERM
goes to the command or to one worker, SIGINT to the command. Then every file is compared, bit by
bit. A repetition that no signal hit does not count, and is made again. The outcome is written to
results/published/reliability/; exit 1 if any repetition differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

CONFIG = """
name: stress
seeds: [0, 1]
data: {{name: digits}}
model: {{hidden: [30, 20]}}
train: {{steps: {steps}, batch_size: 30, lr: 0.5, checkpoint_every: 500}}
record: {{layers: all, probe_size: 200, probe_every: 40, evaluate_every: 100}}
variants:
  baseline: {{}}
  batchnorm: {{model: {{norm: batch, bias: false}}}}
"""
KINDS = {  # what is sent, and how often
    "SIGKILL": 5,
    "SIGKILL to one worker": 3,
    "SIGTERM": 1,
    "SIGTERM to one worker": 1,
    "SIGINT": 1,
}
COMPARED = (
    "batch_percentiles.npy",
    "probe_percentiles.npy",
    "norm_parameters.npy",
    "metrics.csv",
    "percentiles.json",
)


def run_folders(out: Path) -> list[Path]:
    """The folders of all runs that were begun."""
    return sorted(path.parent for path in out.glob("*/seed-*/status.json"))


def start(config: Path, out: Path, *overrides: str) -> subprocess.Popen[str]:
    """The user's command, at the head of a process group of its own."""
    command = [sys.executable, "-m", "bnexp", "train", "--config", str(config), "--out", str(out)]
    return subprocess.Popen(
        [*command, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def contents(out: Path) -> dict[str, bytes]:
    """Everything that must be equal: logs, the tensors of model.pt, figures."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("figures/*")}
    for folder in run_folders(out):
        run = folder.relative_to(out)
        for name in COMPARED:
            if (folder / name).exists():
                found[f"{run}/{name}"] = (folder / name).read_bytes()
        model = torch.load(folder / "model.pt", weights_only=True)
        for key, value in model.items():
            found[f"{run}/model.pt/{key}"] = value.numpy().tobytes()
    return found


def undisturbed(config: Path, out: Path) -> float:
    """Run the command to its end; returns the seconds from its first run's start to the end."""
    process = start(config, out)
    begun(process, out)
    began = time.monotonic()
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(output)
    return time.monotonic() - began


def workers(out: Path) -> list[int]:
    """The processes that are at a run."""
    found = []
    for folder in run_folders(out):
        try:
            status = json.loads((folder / "status.json").read_text())
            # A kill leaves its status. A process that has ended has no command line, or no entry.
            alive = Path(f"/proc/{status['pid']}/cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if alive and status["state"] == "running":
            found.append(int(status["pid"]))
    return found


def interrupt(process: subprocess.Popen[str], out: Path, how: str, share: float) -> bool:
    """Send one signal; False where nobody is left to hear it. `share` of 1 chooses the worker."""
    number = getattr(signal, how.split(maxsplit=1)[0])
    pids = workers(out) if how.endswith("to one worker") else [process.pid]
    if not pids or process.poll() is not None:
        return False
    try:
        (os.killpg if how == "SIGKILL" else os.kill)(pids[int(share * len(pids))], number)
    except ProcessLookupError:
        return False
    return True


def begun(process: subprocess.Popen[str], out: Path) -> bool:
    """Wait until a run is at work; False where the command ended before."""
    while process.poll() is None and not workers(out):
        time.sleep(0.01)
    return process.poll() is None


def repetition(
    config: Path, out: Path, draw: random.Random, longest: float, most: int
) -> list[str]:
    """Interrupt the run until it ends, `most` times at most; returns the signals that hit it.

    Raises:
        SystemExit: it ended in another way than by the signal.
    """
    done: list[str] = []
    while True:
        process = start(config, out)
        goes_on = True
        while goes_on and len(done) < most and begun(process, out):
            # Half, so that a second and a third still find it at work.
            time.sleep(draw.uniform(0, longest / 2))
            how = draw.choices(*zip(*KINDS.items(), strict=True))[0]
            if interrupt(process, out, how, draw.random()):
                done.append(how)
            # A run that is killed is tried again by the command itself, twice.
            goes_on = how == "SIGKILL to one worker" and done.count(how) < 2
        output, _ = process.communicate()
        if process.returncode == 0:
            return done
        if process.returncode not in {130, -signal.SIGKILL} or "Traceback" in output:
            sys.exit(f"after {done}: exit {process.returncode}\n{output}")


def main() -> int:
    """Run all repetitions; print and write the outcome."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--kills", type=int, default=3, help="at most, in one repetition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/published/reliability"))
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)  # noqa: S311  (reproducible, not secret)
    outcomes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, whole = folder / "stress.yaml", folder / "whole"
        config.write_text(CONFIG.format(steps=arguments.steps))
        longest = undisturbed(config, whole)
        expected = contents(whole)
        while len(outcomes) < arguments.repetitions:
            out, before = folder / "out", None
            if draw.random() < 1 / 3:
                smaller = (f"train.steps={draw.randrange(1, arguments.steps)}", "seeds=[1]")
                before = draw.choice(smaller)
                start(config, out, before).communicate()
            hits = repetition(config, out, draw, longest, arguments.kills)
            found = contents(out)
            shutil.rmtree(out)
            differing = [key for key in expected | found if expected.get(key) != found.get(key)]
            if not hits and not differing:  # it was done before the moment came
                continue
            outcomes.append({"extends": before, "signals": hits, "differing": differing})
            told = f"DIFFERENT: {differing}" if differing else "equal"
            print(f"{len(outcomes)}: {', '.join(hits)}: {told}", flush=True)
    count = sum(not outcome["differing"] for outcome in outcomes)
    signals = Counter(hit for outcome in outcomes for hit in outcome["signals"])
    summary = f"{count} of {len(outcomes)} equal, after {signals.total()} signals"
    print(summary)
    from bnexp.files.provenance import provenance

    content = {
        "summary": summary,
        "signals": dict(signals),
        "seed": arguments.seed,
        "steps": arguments.steps,
        "repetitions": outcomes,
        "environment": provenance(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "stress.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0 if count == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
