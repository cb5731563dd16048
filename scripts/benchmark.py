"""What a step costs in bnexp and in the scripts people write: ratios, measured side by side.

    pip install '.[benchmark]'
    BNEXP_DATA=... python scripts/benchmark.py

Every peer trains 784-100-100-100-10 with sigmoids and SGD on binarised MNIST, batches of 60 in the
same order, one thread, and takes the 15th, 50th and 85th percentiles of all 300 pre-activations at
every step, unless its name says otherwise. bnexp also evaluates every 500 steps and records its
probe every 50, as in configs/fig1.yaml; the peers do neither, nor does "percentiles alone". Each
peer runs in a process of its own, all of them in turn, and several times; a figure is the median of
the rounds. Each library chooses its own kernels: OPENBLAS_CORETYPE is unset.
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


def batches(count: int) -> Any:  # noqa: ANN401
    """The same batches for every peer."""
    import torch

    from bnexp.data.streams import batch_order

    return torch.from_numpy(batch_order(60_000, BATCH, 0, 0)[:count])


def tensors() -> tuple[Any, Any]:
    """Binarised MNIST as two tensors."""
    import torch

    from bnexp.config.experiment import DataConfig
    from bnexp.data.datasets import load

    data = load(DataConfig())
    return torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)


def torch_net(norm: bool) -> Any:  # noqa: ANN401, FBT001
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


def usual_loader(count: int) -> Any:  # noqa: ANN401
    """A DataLoader with transforms."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from bnexp.config.experiment import DataConfig

    pipeline = transforms.Compose(
        [transforms.ToTensor(), lambda x: (x > 0.5).float(), lambda x: x.view(-1)]
    )
    dataset = datasets.MNIST(DataConfig().root, train=True, transform=pipeline)
    return DataLoader(dataset, batch_sampler=batches(count).tolist())


def hooked(net: Any) -> list[Any]:  # noqa: ANN401
    """Forward hooks that keep the input of each sigmoid."""
    from torch import nn

    seen: list[Any] = []
    for module in net:
        if isinstance(module, nn.Sigmoid):
            module.register_forward_hook(lambda _m, x, _y: seen.append(x[0].detach().numpy()))
    return seen


def usual(count: int, *, norm: bool) -> Steps:
    """nn.Module, DataLoader with transforms, forward hooks, np.percentile at each step."""
    import torch

    net, log = torch_net(norm), []
    seen = hooked(net)
    optimizer, criterion = torch.optim.SGD(net.parameters(), LR), torch.nn.CrossEntropyLoss()
    for x, y in usual_loader(count):
        optimizer.zero_grad()
        criterion(net(x), y).backward()
        optimizer.step()
        log.append(np.stack([np.percentile(z, Q, axis=0) for z in seen]))
        seen.clear()
        yield


def lightning(count: int, *, norm: bool) -> Steps:
    """The same in PyTorch Lightning; all steps at once, timed by its own callbacks."""
    import warnings

    import lightning as L  # noqa: N812
    import torch

    warnings.filterwarnings("ignore")
    marks: list[float] = []
    rows: list[Any] = []

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net(norm)
            self.seen = hooked(self.net)

        def training_step(self, batch: Any, _: int) -> Any:  # noqa: ANN401
            x, y = batch
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            rows.append(np.stack([np.percentile(z, Q, axis=0) for z in self.seen]))
            self.seen.clear()
            return loss

        def configure_optimizers(self) -> Any:  # noqa: ANN401
            return torch.optim.SGD(self.parameters(), LR)

        def on_train_batch_end(self, *_: Any) -> None:  # noqa: ANN401
            marks.append(time.perf_counter())

    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), usual_loader(count))
    yield from replay(marks)


def replay(marks: list[float]) -> Steps:
    """Tell `measure` of steps that were timed elsewhere."""
    raise Timed((marks[-1] - marks[len(marks) // 5]) / (len(marks) - 1 - len(marks) // 5))
    yield


class Timed(Exception):  # noqa: N818
    """Carries the seconds of a step."""


def careful(count: int, *, norm: bool) -> Steps:
    """Data as one tensor, no loader, np.sort of the pre-activations."""
    import torch

    x_all, y_all = tensors()
    net, log = torch_net(norm), []
    seen = hooked(net)
    optimizer = torch.optim.SGD(net.parameters(), LR)
    for index in batches(count):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x_all[index]), y_all[index]).backward()
        optimizer.step()
        ordered = np.sort(np.concatenate(seen, 1), axis=0)
        log.append(ordered[[8, 9, 29, 30, 50, 51]])
        seen.clear()
        yield


def jax_scan(count: int, *, norm: bool, record: bool) -> Steps:
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

    def loss(params: Any, x: Any, y: Any) -> Any:  # noqa: ANN401
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

    def step(carry: Any, index: Any) -> Any:  # noqa: ANN401
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
    for start in range(0, count - 249, 250):
        carry, _ = jax.block_until_ready(scan(carry, order[start : start + 250]))
        yield from (None for _ in range(250))


def products(count: int, *, norm: bool) -> Steps:  # noqa: ARG001
    """The step's eleven matrix products alone: torch.mm into preallocated buffers."""
    import torch

    calls = []
    for number, (fan_in, units) in enumerate(pairwise(SIZES)):
        x, w, d = torch.rand(BATCH, fan_in), torch.randn(fan_in, units), torch.randn(BATCH, units)
        calls += [(x, w, torch.empty(BATCH, units)), (x.t(), d, torch.empty(fan_in, units))]
        if number:
            calls.append((d, w.t(), torch.empty(BATCH, fan_in)))
    for _ in range(count):
        for a, b, out in calls:
            torch.mm(a, b, out=out)
        yield


def bnexp(count: int, *, norm: bool, seeds: int = 1, record: str = "all") -> Steps:
    """A run of bnexp, as `bnexp train` does it; divided by the number of seeds."""
    from bnexp.config.experiment import Settings, Variant
    from bnexp.files.run_folder import STATUS, Task
    from bnexp.training.run import run

    settings, never = Settings(), 10**9
    wanted = replace(settings.record, layers="all")
    if record != "all":
        wanted = replace(wanted, evaluate_every=never, probe_every=None)
    if record == "nothing":
        wanted = replace(wanted, every=never)
    settings = replace(
        settings,
        model=replace(settings.model, norm="batch" if norm else "none", bias=not norm),
        train=replace(settings.train, steps=count, checkpoint_every=5000),
        record=wanted,
    )
    with tempfile.TemporaryDirectory() as folder:
        task = Task(Variant("benchmark", {}, settings), tuple(range(seeds)), Path(folder), {})
        run(task, lambda: False, lambda _: None)
        status = json.loads((Path(folder) / STATUS).read_text())
    raise Timed(status["seconds_per_step"] / seeds)
    yield


PEERS: dict[str, tuple[Callable[..., Steps], dict[str, Any], int, str | None]] = {
    # name: function, arguments, steps, the package it needs
    "the usual script": (usual, {}, 1000, None),
    "PyTorch Lightning": (lightning, {}, 1000, "lightning"),
    "careful eager torch": (careful, {}, 1000, None),
    "JAX, jit and scan": (jax_scan, {"record": True}, 1000, "jax"),
    "JAX, nothing recorded": (jax_scan, {"record": False}, 1000, "jax"),
    "matrix products, torch.mm": (products, {}, 1000, None),
    "bnexp": (bnexp, {}, 5000, None),
    "bnexp, percentiles alone": (bnexp, {"record": "percentiles"}, 5000, None),
    "bnexp, nothing recorded": (bnexp, {"record": "nothing"}, 5000, None),
    "bnexp, 8 seeds, each": (bnexp, {"seeds": 8}, 1500, None),
}
REFERENCE = "matrix products, torch.mm"


def measure(name: str, norm: bool) -> float:  # noqa: FBT001
    """Microseconds a step, in this process; the first fifth of the steps warms up."""
    import torch

    torch.set_num_threads(1)
    if "JAX" in name:  # which takes its threads from the processors it sees
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    function, arguments, count, _ = PEERS[name]
    warm, begin = count // 5, 0.0
    try:
        for step, _none in enumerate(function(count, norm=norm, **arguments)):
            if step == warm:
                begin = time.perf_counter()
    except Timed as timed:
        return 1e6 * float(timed.args[0])
    return 1e6 * (time.perf_counter() - begin) / (count - 1 - warm)


def measure_apart(name: str, norm: bool) -> float:  # noqa: FBT001
    """The same in a process of its own, in the environment of a run."""
    from bnexp.training.worker import environment

    command = [sys.executable, __file__, "--peer", name, *(["--norm"] if norm else [])]
    # A machine's own setting would handicap those who use OpenBLAS, and them alone.
    os.environ.pop("OPENBLAS_CORETYPE", None)
    with environment(threads=1):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
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


def main() -> None:
    """Measure all peers in turn, several rounds; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--norm", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(measure(arguments.peer, arguments.norm))
        return
    needs = {name: package for name, (*_, package) in PEERS.items() if package}
    skipped = {name: f"{p} is not installed" for name, p in needs.items() if not find_spec(p)}
    rounds: dict[tuple[str, bool], list[float]] = {}
    for number in range(arguments.rounds):
        for name in PEERS.keys() - skipped.keys():
            for norm in (False, True):
                rounds.setdefault((name, norm), []).append(measure_apart(name, norm))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    from bnexp.files.provenance import provenance

    text = table(rounds, skipped)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "table.md").write_text(text + "\n")
    content = {
        "us_per_step": {f"{name}{', BN' * norm}": times for (name, norm), times in rounds.items()},
        "environment": provenance(),
    }
    (arguments.out / "rounds.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
