"""What a step costs in bnexp and in the scripts people write, and what whole commands cost.

    pip install '.[benchmark]'
    BNEXP_DATA=... python scripts/benchmark.py                       # one step, against the peers
    BNEXP_DATA=... python scripts/benchmark.py --commands [--other PATH]   # whole commands

Every peer trains 784-100-100-100-10 with sigmoids and SGD on binarised MNIST, batches of 60 in the
same order, one thread, and takes the 15th, 50th and 85th percentiles of all 300 pre-activations at
every step, unless its name says otherwise. "everything recorded" also evaluates every 500 steps and
records a probe of 1,000 examples every 50, as configs/fig1.yaml does, which the other peers do not.
Each peer runs in a process of its own, all of them in turn, and several times. A figure is the
median of the rounds, and a ratio is taken within each round: to the step's eleven matrix products
through torch.mm, which any way of computing the step contains. The second floor adds the products
of the probe and the evaluation. Each library chooses its own kernels: OPENBLAS_CORETYPE is unset.

The second table has the wall time of commands as a user starts them. With --other, a checkout of
another version runs the same commands in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

BATCH, LR, STD, Q = 60, 0.1, 0.05, (15, 50, 85)
SIZES = (784, 100, 100, 100, 10)
Steps = Iterator[None]  # a generator that makes one step each time it is advanced
WARM = 5  # the first fifth of the steps warms up


def seconds_per_step(steps: Steps, count: int) -> float:
    """The mean time of the steps behind the first fifth."""
    warm, begin = count // WARM, 0.0
    for step, _none in enumerate(steps):
        if step == warm:
            begin = time.perf_counter()
    return (time.perf_counter() - begin) / (count - 1 - warm)


def batches(count: int) -> Any:
    """The same batches for every peer."""
    import torch

    from bnexp.data.streams import batch_order

    return torch.from_numpy(batch_order(60_000, BATCH, 0, 0)[:count])


def tensors() -> tuple[Any, Any]:
    """Binarised MNIST as two tensors."""
    import torch

    from bnexp.config import DataConfig
    from bnexp.data.datasets import load

    data = load(DataConfig())
    return torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)


def torch_net(norm: bool) -> Any:
    """The network as people write it."""
    from torch import nn

    layers: list[nn.Module] = []
    for fan_in, units in pairwise(SIZES[:-1]):
        layers += [nn.Linear(fan_in, units, bias=not norm)]
        layers += [nn.BatchNorm1d(units), nn.Sigmoid()] if norm else [nn.Sigmoid()]
    net = nn.Sequential(*layers, nn.Linear(*SIZES[-2:]))
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=STD)
    return net


def usual_loader(count: int) -> Any:
    """A DataLoader with transforms."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from bnexp.config import DataConfig

    pipeline = transforms.Compose(
        [transforms.ToTensor(), lambda x: (x > 0.5).float(), lambda x: x.view(-1)]
    )
    dataset = datasets.MNIST(DataConfig().root, train=True, transform=pipeline)
    return DataLoader(dataset, batch_sampler=batches(count).tolist())


def hooked(net: Any) -> list[Any]:
    """Forward hooks that keep the input of each sigmoid."""
    from torch import nn

    seen: list[Any] = []
    for module in net:
        if isinstance(module, nn.Sigmoid):
            module.register_forward_hook(lambda _m, x, _y: seen.append(x[0].detach().numpy()))
    return seen


def usual(count: int, *, norm: bool) -> float:
    """nn.Module, DataLoader with transforms, forward hooks, np.percentile at each step."""
    import torch

    net, log = torch_net(norm), []
    seen = hooked(net)
    optimizer, criterion = torch.optim.SGD(net.parameters(), LR), torch.nn.CrossEntropyLoss()

    def steps() -> Steps:
        for x, y in usual_loader(count):
            optimizer.zero_grad()
            criterion(net(x), y).backward()
            optimizer.step()
            log.append(np.stack([np.percentile(z, Q, axis=0) for z in seen]))
            seen.clear()
            yield

    return seconds_per_step(steps(), count)


def lightning(count: int, *, norm: bool) -> float:
    """The same in PyTorch Lightning; all steps at once, timed by its own callbacks."""
    import warnings

    import lightning as L
    import torch

    warnings.filterwarnings("ignore")
    marks: list[float] = []
    rows: list[Any] = []

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net(norm)
            self.seen = hooked(self.net)

        def training_step(self, batch: Any, _: int) -> Any:
            x, y = batch
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            rows.append(np.stack([np.percentile(z, Q, axis=0) for z in self.seen]))
            self.seen.clear()
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), LR)

        def on_train_batch_end(self, *_: Any) -> None:
            marks.append(time.perf_counter())

    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), usual_loader(count))
    warm = len(marks) // WARM
    return (marks[-1] - marks[warm]) / (len(marks) - 1 - warm)


def careful(count: int, *, norm: bool) -> float:
    """Data as one tensor, no loader, np.sort of the pre-activations."""
    import torch

    x_all, y_all = tensors()
    net, log = torch_net(norm), []
    seen = hooked(net)
    optimizer = torch.optim.SGD(net.parameters(), LR)

    def steps() -> Steps:
        for index in batches(count):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(net(x_all[index]), y_all[index]).backward()
            optimizer.step()
            ordered = np.sort(np.concatenate(seen, 1), axis=0)
            log.append(ordered[[8, 9, 29, 30, 50, 51]])
            seen.clear()
            yield

    return seconds_per_step(steps(), count)


def jax_scan(count: int, *, norm: bool, record: bool) -> float:
    """JAX: jit and lax.scan over 250 steps, jnp.quantile of the pre-activations."""
    import jax
    import jax.numpy as jnp

    x_all, y_all = (jnp.asarray(t.numpy()) for t in tensors())
    order = jnp.asarray(batches(count).numpy())
    keys = jax.random.split(jax.random.key(0), len(SIZES))
    shapes = pairwise(SIZES)
    weights = [STD * jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=False)]
    units = SIZES[1:-1]
    shift, scale = [jnp.zeros(u) for u in SIZES[1:]], [jnp.ones(u) for u in units]
    running = [(jnp.zeros(u), jnp.ones(u)) for u in units] if norm else []

    def loss(params: Any, x: Any, y: Any) -> Any:
        weights, shift, scale = params
        seen, statistics = [], []
        for w, b, g in zip(weights[:-1], shift[:-1], scale, strict=True):
            z = x @ w
            if norm:
                mean, var = z.mean(0), z.var(0)
                statistics.append((mean, var * BATCH / (BATCH - 1)))
                z = g * (z - mean) / jnp.sqrt(var + 1e-5)
            seen.append(z + b)
            x = jax.nn.sigmoid(seen[-1])
        logits = jax.nn.log_softmax(x @ weights[-1] + shift[-1])
        return -logits[jnp.arange(BATCH), y].mean(), (jnp.concatenate(seen, 1), statistics)

    def step(carry: Any, index: Any) -> Any:
        params, running = carry
        gradient, (seen, statistics) = jax.grad(loss, has_aux=True)(
            params, x_all[index], y_all[index]
        )
        params = jax.tree.map(lambda p, g: p - LR * g, params, gradient)
        running = jax.tree.map(lambda r, s: 0.9 * r + 0.1 * s, running, statistics)
        row = jnp.quantile(seen, jnp.array(Q) / 100, axis=0) if record else jnp.zeros(())
        return (params, running), row

    scan = jax.jit(lambda carry, index: jax.lax.scan(step, carry, index))
    carry = (weights, shift, scale), running
    jax.block_until_ready(scan(carry, order[:250]))  # compiled before it is timed
    begin = time.perf_counter()
    for start in range(0, count - 249, 250):
        carry, _ = jax.block_until_ready(scan(carry, order[start : start + 250]))
    return (time.perf_counter() - begin) / (count // 250 * 250)


def mm_calls(examples: int, *, backward: bool) -> list[Any]:
    """The matrix products of a pass over so many examples, with preallocated buffers."""
    import torch

    calls = []
    for number, (fan_in, units) in enumerate(pairwise(SIZES)):
        x, w, d = (
            torch.rand(n, m) for n, m in ((examples, fan_in), (fan_in, units), (examples, units))
        )
        calls.append((x, w, torch.empty(examples, units)))
        if backward:
            calls.append((x.t(), d, torch.empty(fan_in, units)))
        if backward and number:
            calls.append((d, w.t(), torch.empty(examples, fan_in)))
    return calls


def products(count: int, *, norm: bool, evaluation: bool = False) -> float:  # noqa: ARG001
    """The step's eleven matrix products alone; with `evaluation`, those of fig1's recording too."""
    import torch

    step, probe, test = (
        mm_calls(examples, backward=examples == BATCH) for examples in (BATCH, 1_000, 10_000)
    )

    def steps() -> Steps:
        for number in range(count):
            calls = [*step]
            if evaluation:
                calls += (probe[:-1] if number % 50 == 0 else []) + (
                    test if number % 500 == 0 else []
                )
            for a, b, out in calls:
                torch.mm(a, b, out=out)
            yield

    return seconds_per_step(steps(), count)


def engine(count: int, *, norm: bool, name: Any, record: str, seeds: int = 1) -> float:
    """An engine of bnexp, a block of 500 steps at a time; per network where it stacks several."""
    from bnexp.config import Settings
    from bnexp.data import datasets
    from bnexp.training.engine_setup import make_engine

    settings, never = Settings(), 10**9
    wanted = replace(settings.record, layers="all", evaluate_every=never, probe_every=None)
    if record == "everything":
        wanted = replace(settings.record, layers="last")
    elif record == "nothing":
        wanted = replace(wanted, every=never)
    settings = replace(
        settings,
        model=replace(settings.model, norm="batch" if norm else "none", bias=not norm),
        train=replace(settings.train, engine=name, device="cpu"),
        record=wanted,
    )
    network = make_engine(settings, datasets.load(settings.data), range(seeds))
    network.advance(500)
    begin = time.perf_counter()
    for _ in range(count // 500):
        network.advance(500)
    return (time.perf_counter() - begin) / (count // 500 * 500) / seeds


KERNELS: dict[str, Any] = {"name": "kernels"}
TORCH: dict[str, Any] = {"name": "torch", "record": "nothing"}
PEERS: dict[str, tuple[Callable[..., float], dict[str, Any], int, str | None]] = {
    # name: function, arguments, steps, the package it needs
    "the usual script": (usual, {}, 1000, None),
    "PyTorch Lightning": (lightning, {}, 1000, "lightning"),
    "careful eager torch": (careful, {}, 1000, None),
    "JAX, jit and scan": (jax_scan, {"record": True}, 1000, "jax"),
    "JAX, nothing recorded": (jax_scan, {"record": False}, 1000, "jax"),
    "matrix products, torch.mm": (products, {}, 1000, None),
    "matrix products with probe and evaluation": (products, {"evaluation": True}, 2000, None),
    "kernels, everything recorded": (engine, KERNELS | {"record": "everything"}, 5000, "numba"),
    "kernels, percentiles": (engine, KERNELS | {"record": "percentiles"}, 5000, "numba"),
    "kernels, nothing recorded": (engine, KERNELS | {"record": "nothing"}, 5000, "numba"),
    "torch engine, 1 seed, nothing recorded": (engine, TORCH, 1000, None),
    "torch engine, 5 seeds, nothing recorded, each": (engine, TORCH | {"seeds": 5}, 1000, None),
    "torch engine, 8 seeds, nothing recorded, each": (engine, TORCH | {"seeds": 8}, 1000, None),
}
REFERENCE = "matrix products, torch.mm"


def measure(name: str, norm: bool) -> float:
    """Microseconds a step, in this process."""
    import torch

    torch.set_num_threads(1)
    if "JAX" in name:  # which takes its threads from the processors it sees
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    function, arguments, count, _ = PEERS[name]
    return 1e6 * function(count, norm=norm, **arguments)


def measure_apart(name: str, norm: bool) -> float:
    """The same in a process of its own, in the environment of a run."""
    from bnexp.training.processes import worker_environment

    command = [sys.executable, __file__, "--peer", name, *(["--norm"] if norm else [])]
    # A machine's own setting would handicap those who use OpenBLAS, and them alone.
    os.environ.pop("OPENBLAS_CORETYPE", None)
    with worker_environment(threads=1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def table(rounds: dict[tuple[str, bool], list[float]], skipped: dict[str, str]) -> str:
    """Markdown: microseconds a step and the ratio to the matrix products, plain and BN nets."""
    lines = [
        "| one step of one network | no BN, us | ratio | BN, us | ratio |",
        "|---|---|---|---|---|",
    ]
    for name in PEERS:
        if name in skipped:
            lines.append(f"| {name} | skipped: {skipped[name]} | | | |")
            continue
        cells = []
        for norm in (False, True):
            ratios = [
                a / b for a, b in zip(rounds[name, norm], rounds[REFERENCE, norm], strict=True)
            ]
            cells += [
                f"{statistics.median(rounds[name, norm]):.0f}",
                f"{statistics.median(ratios):.2f}",
            ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


TINY = """name: tiny
seeds: 5
data: {name: digits}
train: {steps: 100}
grid:
  model.activation: [sigmoid, tanh, relu]
  model.norm: [none, batch]
  train.lr: [0.1, 0.2]
"""


def commands(folder: Path) -> dict[str, list[str]]:
    """The commands whose wall time is measured, by what a user calls them."""
    tiny = folder / "tiny.yaml"
    tiny.write_text(TINY)
    cores = os.cpu_count() or 1
    found = {
        "quickstart, train.steps=1": ["quickstart", "train.steps=1"],
        "quickstart": ["quickstart"],
        "60 runs of 100 steps": [str(tiny)],
    }
    for jobs in sorted({1, 2, cores}):
        found[f"fig1, --jobs {jobs}"] = ["fig1", "--jobs", str(jobs)]
    return found


def wall_seconds(words: list[str], checkout: Path) -> float:
    """How long `bnexp train` of a checkout takes, from start to end."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment.pop("OPENBLAS_CORETYPE", None)
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "bnexp", "train", "--config", *words, "--out", out]
        begin = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1]}")
        return time.perf_counter() - begin


def measure_commands(rounds: int, other: Path | None, chosen: str | None) -> tuple[str, Any]:
    """A table of wall times, and every time behind it."""
    here = Path(__file__).parents[1]
    checkouts = {"this checkout": here} | ({"the other": other} if other else {})
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        # The compilation of the kernels is no part of these times.
        every = commands(Path(name))
        for checkout in checkouts.values():
            wall_seconds(every["quickstart, train.steps=1"], checkout)
        for number in range(rounds):
            for label, words in every.items():
                if chosen and chosen not in label:
                    continue
                for version, checkout in checkouts.items():
                    times.setdefault(f"{label}: {version}", []).append(
                        wall_seconds(words, checkout)
                    )
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    rows = [f"| {label} | {statistics.median(each):.1f} |" for label, each in times.items()]
    return "\n".join(["| `bnexp train --config` | seconds |", "|---|---|", *rows]), times


def measure_steps(rounds: int) -> tuple[str, Any]:
    """A table of all peers, and every time behind it."""
    needs = {name: package for name, (*_, package) in PEERS.items() if package}
    skipped = {name: f"{p} is not installed" for name, p in needs.items() if not find_spec(p)}
    times: dict[tuple[str, bool], list[float]] = {}
    for number in range(rounds):
        for name in PEERS.keys() - skipped.keys():
            for norm in (False, True):
                times.setdefault((name, norm), []).append(measure_apart(name, norm))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    plain = {f"{name}{', BN' * norm}": each for (name, norm), each in times.items()}
    return table(times, skipped), plain


def main() -> None:
    """Measure in turn, several rounds; print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    parser.add_argument("--commands", action="store_true", help="wall times of whole commands")
    parser.add_argument("--only", metavar="TEXT", help="commands whose name holds this")
    parser.add_argument("--other", type=Path, help="another checkout to compare commands with")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--norm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(measure(arguments.peer, arguments.norm))
        return
    if arguments.commands:
        name, unit = "commands", "seconds"
        text, times = measure_commands(arguments.rounds, arguments.other, arguments.only)
    else:
        name, unit = "steps", "microseconds_per_step"
        text, times = measure_steps(arguments.rounds)
    from bnexp.files.provenance import provenance

    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.md").write_text(text + "\n")
    content = {unit: times, "environment": provenance()}
    (arguments.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
