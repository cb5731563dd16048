"""What many runs cost: 240 variants x 5 seeds, measured here, and multiplied to 100,000 runs.

    python scripts/scale.py

It trains the grid of `CONFIG` with two jobs, gives the same command again, lists and compares the
runs, and sends jobs that are done already through a Dask cluster of two workers on this machine, so
that what is timed is the sending. Then it plans an experiment of 100,000 runs without training it.
The figures go to results/published/scale/, as JSON and as a table. It takes a few minutes, and the
machine should have nothing else to do: `load` in the JSON says whether that was so.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.analysis.tables import markdown
from bnexp.files.locks import LOCK

if TYPE_CHECKING:
    from bnexp.training.jobs import Tally

CONFIG = """
name: scale
seeds: {seeds}
data: {{name: digits}}
model: {{hidden: [20, 20]}}
train: {{steps: {steps}, batch_size: 30, checkpoint_every: 1000}}
record: {{every: 10, probe_size: 200, probe_every: 50, evaluate_every: 100}}
grid:
  train.lr: {lrs}
  model.weight_std: [0.02, 0.05, 0.1, 0.2, 0.4]
  model.activation: [sigmoid, tanh, relu, leaky_relu]
  model.norm: [none, batch]
"""
LRS = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8]
MANY = 100_000  # runs that are planned
GOALS = {"ratio": 1.15, "again": 5.0, "runs": 2.0, "compare": 10.0}
MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


class Quiet:
    """Is told what happens, and shows nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def update(self, tally: "Tally") -> None:
        """Show nothing."""


def bnexp(*words: object) -> list[str]:
    """The command."""
    return [sys.executable, "-m", "bnexp", *map(str, words)]


def timed(*words: object) -> tuple[float, float]:
    """The wall time of a command, which must succeed, and its processor time."""
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(bnexp(*words), check=True, capture_output=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.monotonic() - began, processor


def memory_of(pid: int, key: str = "VmRSS") -> float:
    """The memory of a process, in MiB; 0 where it has ended."""
    try:
        found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def trained(config: Path, out: Path, jobs: int) -> dict[str, Any]:
    """Train the grid: wall time, the runs' own times, and the memory of the parent process."""
    began, started = time.monotonic(), time.time()
    process = subprocess.Popen(
        bnexp("train", "--config", config, "--out", out, "--jobs", jobs),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    samples: list[tuple[float, float, float]] = []

    def sample() -> None:
        while process.poll() is None:
            now = memory_of(process.pid), memory_of(process.pid, "VmHWM")
            samples.append((time.time() - started, *now))
            time.sleep(0.5)

    (thread := threading.Thread(target=sample)).start()
    _, said = process.communicate()
    wall = time.monotonic() - began
    thread.join()
    if process.returncode:
        sys.exit(said.decode())
    statuses = sorted(out.glob("*/seed-*/status.json"))
    contents = [json.loads(path.read_text()) for path in statuses]
    steps = sum(each["seconds_per_step"] * each["step"] for each in contents)
    # A run's first file is its lock, and its last one says that it is done.
    own = sum(path.stat().st_mtime - path.with_name(LOCK).stat().st_mtime for path in statuses)
    ended = max(path.stat().st_mtime for path in statuses) - started
    training = [rss for at, rss, _ in samples if 0.1 * ended < at < ended]
    return {
        "runs": len(contents),
        "wall_seconds": wall,
        "until_the_last_run_ended": ended,
        "runs_own_seconds": own,
        "steps_seconds": steps,
        "ratio": wall / (own / jobs),
        "ratio_to_steps": wall / (steps / jobs),
        "parent_mib_at_10_percent": training[0],
        "parent_mib_at_the_last_run": training[-1],
        "parent_mib_peak": max(peak for *_, peak in samples),
    }


def sizes(out: Path) -> dict[str, Any]:
    """How many files a run has, and how many bytes, by their length and on the disk."""
    runs = len(list(out.glob("*/seed-*")))
    files = [path.stat() for path in out.glob("*/seed-*/*")]
    return {
        "files": len(files) / runs,
        "bytes": sum(each.st_size for each in files) / runs,
        "bytes_on_disk": 512 * sum(each.st_blocks for each in files) / runs,
        "summary_bytes": (out / "summary.json").stat().st_size,
        "config_bytes": (out / "config.yaml").stat().st_size,
    }


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, int]]:
    """A Dask cluster on this machine: the address of its scheduler, and its process."""
    found, began = folder / "scheduler.json", []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    dask = [sys.executable, "-m", "dask"]
    words = ["--scheduler-file", str(found), "--no-dashboard"]
    began.append(subprocess.Popen([*dask, "scheduler", "--port", "0", *words], **quiet))  # type: ignore[call-overload]
    try:
        while not found.exists():
            time.sleep(0.05)
        one = [*dask, "worker", *words, "--nthreads", "1", "--no-nanny"]
        began += [subprocess.Popen(one, **quiet) for _ in range(workers)]  # type: ignore[call-overload]
        yield json.loads(found.read_text())["address"], began[0].pid
    finally:
        for process in began:
            process.kill()
            process.wait()


def sent(config: Path, out: Path, folder: Path) -> dict[str, Any]:
    """What it costs to send jobs through Dask: all runs are done, so the workers only look."""
    from bnexp import config as configs
    from bnexp.training.cluster.connection import Connection
    from bnexp.training.cluster.scheduler import DaskScheduler
    from bnexp.training.jobs import Jobs
    from bnexp.training.plans import plans_of

    plans = plans_of(configs.load(config), out.absolute())
    with cluster(folder, workers=2) as (address, pid):
        connection = Connection(address)
        for _ in range(2):  # the first time, the workers load torch
            jobs = Jobs(plans, plans, Quiet())
            before, used, began = memory_of(pid), processor_seconds(pid), time.monotonic()
            scheduler = DaskScheduler(jobs, connection, out.absolute(), None, gather=False)
            scheduler.work()
            errors = jobs.errors()
            if errors or jobs.tally.done != len(plans):
                sys.exit(f"{jobs.tally.done} of {len(plans)} jobs: {errors[:1]}")
            wall = time.monotonic() - began
        found = {
            "jobs": len(plans),
            "wall_ms_per_job": 1000 * wall / len(plans),
            "scheduler_ms_per_job": 1000 * (processor_seconds(pid) - used) / len(plans),
            "scheduler_mib": memory_of(pid),
            "scheduler_mib_grown": memory_of(pid) - before,
        }
        connection.close()
    return found


def planned(folder: Path) -> dict[str, Any]:
    """Plan an experiment of very many runs, of which none has begun."""
    from bnexp import config as configs
    from bnexp.training.growth import check_growth
    from bnexp.training.jobs import Jobs
    from bnexp.training.plans import is_done, plans_of

    lrs = [round(0.001 * i, 3) for i in range(1, 251)]
    path, found = folder / "many.yaml", dict[str, Any]()
    path.write_text(CONFIG.format(seeds=MANY // (len(lrs) * 40), lrs=lrs, steps=1000))

    def note(name: str, began: float) -> None:
        found[f"{name}_seconds"] = time.monotonic() - began

    began = time.monotonic()
    experiment = configs.load(path)
    note("load", began)
    out = folder / "many"
    out.mkdir()
    from bnexp.files.experiment_folder import write_config

    began = time.monotonic()
    write_config(out, experiment)
    note("write_config", began)
    began = time.monotonic()
    check_growth(experiment, out)
    note("check_growth", began)
    began = time.monotonic()
    plans = plans_of(experiment, out)
    left = [plan for plan in plans if not is_done(plan)]
    jobs = Jobs(left, plans, Quiet())
    jobs.add_runs(stacked=False)
    note("plans_and_jobs", began)
    found |= {"runs": len(plans), "variants": len(experiment.variants)}
    found["config_bytes"] = (out / "config.yaml").stat().st_size
    found["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def many(measured: dict[str, Any]) -> list[dict[str, object]]:
    """The table for 100,000 runs: what was measured here, and multiplied where it had to be."""
    runs, size, dask = measured["train"]["runs"], measured["run"], measured["dask"]
    plan, times = MANY / runs, measured["processor_seconds"]
    hours = measured["train"]["runs_own_seconds"] / runs * MANY / 3600

    processor = "processor time, multiplied"

    def row(what: str, value: str, how: str) -> dict[str, object]:
        return {"what": what, "for 100,000 runs": value, "from": how}

    return [
        row("files", f"{size['files'] * MANY:,.0f}", f"{size['files']:.1f} a run"),
        row("bytes on the disk", f"{size['bytes_on_disk'] * MANY / 1e9:,.0f} GB",
            f"{size['bytes_on_disk'] / 1000:,.0f} kB a run of this size"),
        row("training, on one core", f"{hours:,.0f} h", "the runs' own times"),
        row("before the first run: reading and writing the config, plans",
            f"{measured['plan']['total_seconds']:.0f} s", "measured with 100,000 runs"),
        row("memory of the command", f"{measured['plan']['mib']:,.0f} MiB",
            "measured with 100,000 runs planned"),
        row("Dask's scheduler, processor time",
            f"{dask['scheduler_ms_per_job'] * MANY / 1000:,.0f} s",
            f"{dask['scheduler_ms_per_job']:.1f} ms a job"),
        row("jobs that the command can send at most",
            f"{1000 / dask['wall_ms_per_job']:,.0f} a second", "jobs that are done already"),
        row("the same command again", f"{times['again'] * plan / 60:,.0f} min", processor),
        row("bnexp runs", f"{times['runs'] * plan / 60:,.1f} min", processor),
        row("bnexp compare", f"{times['compare'] * plan / 60:,.0f} min", processor),
        row("summary.json", f"{size['summary_bytes'] * plan / MIB:,.0f} MiB", "multiplied"),
    ]  # fmt: skip


def table(measured: dict[str, Any]) -> str:
    """The figures as Markdown."""
    train, times, load = measured["train"], measured["seconds"], measured["load"]
    used = measured["processor_seconds"]
    rows = [
        {"what": "wall time against the runs' own times over two, from the first file of each to "
         "its last", "measured": f"{train['ratio']:.2f}", "goal": f"{GOALS['ratio']}"},
        {"what": "the same against their steps alone", "measured":
            f"{train['ratio_to_steps']:.2f}", "goal": ""},
        *[{"what": {"again": "the same command again", "runs": "bnexp runs",
                    "compare": "bnexp compare", "heatmap": "bnexp compare --heatmap"}[name],
           "measured": f"{seconds:.1f} s, of a processor {used[name]:.1f} s",
           "goal": f"{GOALS[name]:g} s" if name in GOALS else ""}
          for name, seconds in times.items()],
        {"what": "memory of the command after a tenth of the time, and after the last run",
         "measured": f"{train['parent_mib_at_10_percent']:.0f} and "
         f"{train['parent_mib_at_the_last_run']:.0f} MiB", "goal": "flat"},
        {"what": "its peak, with tables and figures", "measured":
            f"{train['parent_mib_peak']:.0f} MiB", "goal": ""},
    ]  # fmt: skip
    alone = load[0] < 0.5 and load[1] < measured["jobs"] + 0.5
    quiet = "on a quiet machine" if alone else "BESIDE OTHER WORK, which no goal is for"
    return (
        f"{train['runs']:,} runs of {measured['steps']:,} steps, {measured['jobs']} jobs, "
        f"{quiet} (load {load[0]:.1f} before, {load[1]:.1f} after).\n\n{markdown(rows)}\n\n"
        f"{markdown(many(measured))}\n"
    )


def main() -> int:
    """Measure all, and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("results/published/scale"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bnexp-scale-") as name:
        folder = Path(name)
        if arguments.plan:  # in a process of its own, whose memory is its own
            print(json.dumps(planned(folder)))
            return 0
        config, out = folder / "scale.yaml", folder / "out"
        config.write_text(CONFIG.format(seeds=arguments.seeds, lrs=LRS, steps=arguments.steps))
        before = os.getloadavg()[0]
        measured: dict[str, Any] = {"steps": arguments.steps, "jobs": arguments.jobs}
        measured["train"] = trained(config, out, arguments.jobs)
        measured["load"] = before, os.getloadavg()[0]
        print(json.dumps(measured, indent=1), flush=True)
        again = ("train", "--config", config, "--out", out, "--jobs", arguments.jobs)
        times = {
            "again": timed(*again),
            "runs": timed("runs", out),
            "compare": timed("compare", out),
            "heatmap": timed("compare", out, "--heatmap", "test_accuracy"),
        }
        measured["seconds"] = {name: wall for name, (wall, _) in times.items()}
        measured["processor_seconds"] = {name: used for name, (_, used) in times.items()}
        measured["run"] = sizes(out)
        measured["dask"] = sent(config, out, folder)
        plan = subprocess.run(
            [sys.executable, __file__, "--plan"], check=True, capture_output=True, text=True
        )
        measured["plan"] = json.loads(plan.stdout)
        parts = [s for key, s in measured["plan"].items() if key.endswith("_seconds")]
        measured["plan"]["total_seconds"] = sum(parts)
        shutil.rmtree(out)
    from bnexp.files.provenance import provenance

    measured["environment"] = provenance()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "scale.json").write_text(json.dumps(measured, indent=1) + "\n")
    (arguments.out / "table.md").write_text(table(measured))
    print(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
