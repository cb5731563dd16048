"""Kill a real run at random moments until it ends; its files must equal an uninterrupted run's.

    python scripts/stress.py --repetitions 50 --seed 0

One repetition starts `bnexp train`, kills it after a random time, and starts it again, until it is
done; about a third extend a finished run of fewer steps. SIGKILL goes to the command with all its
processes, or to one of the run's processes alone;
SIGTERM goes to the command or to one of the run's processes, SIGINT to the command. Then every
file is compared, bit by bit. The outcome is written to results/reliability/; exit 1 if any
repetition differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
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
VARIANTS = ("baseline", "batchnorm")
KINDS = {  # what is sent, and how often
    "SIGKILL": 5,
    "SIGKILL to one run": 3,
    "SIGTERM": 1,
    "SIGTERM to one run": 1,
    "SIGINT": 1,
}
COMPARED = ("batch_percentiles.npy", "probe_percentiles.npy", "metrics.csv", "percentiles.json")


def start(config: Path, out: Path, *overrides: str) -> subprocess.Popen[str]:
    """The user's command, at the head of a process group of its own."""
    command = [sys.executable, "-m", "bnexp", "train", "--config", str(config), "--out", str(out)]
    return subprocess.Popen(  # noqa: S603
        [*command, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def contents(out: Path) -> dict[str, bytes]:
    """Everything that must be equal: logs, the tensors of model.pt, figures."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("figures/*")}
    for variant in VARIANTS:
        for name in COMPARED:
            found[f"{variant}/{name}"] = (out / variant / name).read_bytes()
        model = torch.load(out / variant / "model.pt", weights_only=True)
        for key, value in model.items():
            found[f"{variant}/model.pt/{key}"] = value.numpy().tobytes()
    return found


def worker(out: Path, variant: str) -> int | None:
    """The process of a run at work, or None."""
    try:
        status = json.loads((out / variant / "status.json").read_text())
        os.kill(status["pid"], 0)  # an error where it has ended: a kill leaves its status behind
    except (OSError, ValueError):
        return None
    return int(status["pid"]) if status["state"] == "running" else None


def interrupt(process: subprocess.Popen[str], out: Path, how: str, variant: str) -> str:
    """Send one signal; says what was done."""
    try:
        if how.endswith("to one run"):
            pid = worker(out, variant)
            if pid is None:
                return "no run at work"
            os.kill(pid, getattr(signal, how.split(maxsplit=1)[0]))
        elif how == "SIGKILL":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.send_signal(getattr(signal, how))
    except ProcessLookupError:
        return "ended before"
    return how


def repetition(config: Path, out: Path, draw: random.Random, longest: float, most: int) -> Any:  # noqa: ANN401
    """Interrupt the run until it ends; returns what was done, as a list."""
    done: list[str] = []
    while True:
        process = start(config, out)
        if len(done) < most:
            while process.poll() is None and not any(worker(out, name) for name in VARIANTS):
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.5) * longest)
            if process.poll() is None:
                how = draw.choices(*zip(*KINDS.items(), strict=True))[0]
                done.append(interrupt(process, out, how, draw.choice(VARIANTS)))
        output, _ = process.communicate()
        if process.returncode == 0:
            return done
        # 130, or the signal itself while the command is not training: it starts, or draws.
        if process.returncode not in {130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}:
            return [*done, f"exit {process.returncode}: {output[-300:]}"]
        if "Traceback" in output and process.returncode == 130:
            return [*done, f"exit 130 with a traceback: {output[-300:]}"]


def main() -> int:
    """Run all repetitions; print and write the outcome."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--kills", type=int, default=3, help="at most, in one repetition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/reliability"))
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)  # noqa: S311  (reproducible, not secret)
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "stress.yaml"
        config.write_text(CONFIG.format(steps=arguments.steps))
        began = time.monotonic()
        output, _ = (whole := start(config, folder / "whole")).communicate()
        if whole.returncode:
            sys.exit(output)
        longest, expected = time.monotonic() - began, contents(folder / "whole")
        for number in range(arguments.repetitions):
            out = folder / f"repetition{number}"
            extended = []
            if draw.random() < 1 / 3:
                shorter = f"train.steps={draw.randrange(1, arguments.steps)}"
                start(config, out, shorter).communicate()
                extended = [f"after {shorter}"]
            done = extended + repetition(config, out, draw, longest, arguments.kills)
            equal = "exit" not in done[-1] if done else True
            differing = (
                [k for k, v in contents(out).items() if expected.get(k) != v] if equal else []
            )
            equal = equal and not differing
            outcomes.append({"interrupted": done, "equal": equal, "differing": differing})
            print(
                f"{number + 1}: {', '.join(done)}: {'equal' if equal else 'DIFFERENT'}", flush=True
            )
    count = sum(outcome["equal"] for outcome in outcomes)
    summary = f"{count} of {len(outcomes)} equal"
    print(summary)
    from bnexp.environment import provenance

    content = {
        "summary": summary,
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
