"""What `bnexp.record` adds to a training step, beside the tools that record less.

    pip install '.[benchmark]'
    python scripts/benchmark_record.py --out results/published/benchmark

Every peer trains the same network on the same batches with one thread and records the output of
each of its batch norms at every step:

- nothing: the training alone;
- bnexp.record: the 15th, 50th and 85th percentile of every unit or channel;
- add_histogram: TensorBoard's histogram of each whole layer, by a forward hook;
- torchinstruments: its statistics and histogram of each whole layer, sampled at every forward pass.

torchinstruments is made for a sample a minute: it writes its whole history anew after each one, so
its cost grows with their number, which is 200 here for the first network and 10 for the second.

The networks are that of configs/quickstart.yaml (64-50-50-50-10 with BatchNorm1d, batches of 60)
and torchvision's resnet18 (20 BatchNorm2d, random weights, batches of 16 images of 64 x 64 noise).
Each peer runs in a process of its own, all of them in turn, and several times. A time includes
closing the files. A figure is the median of the rounds, and a ratio is taken within each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

PEERS = ("nothing", "bnexp.record", "add_histogram", "torchinstruments")
STEPS = {"quickstart": 200, "resnet18": 10}
WARM = 5  # steps before the clock starts
Step = Callable[[Any], None]  # is told the loss


def quickstart() -> tuple[Any, Any, Any, Any]:
    """The network of configs/quickstart.yaml with batch norm; a batch; the type of its norms."""
    import torch
    from torch import nn

    layers: OrderedDict[str, Any] = OrderedDict()
    for number, (inputs, units) in enumerate(pairwise((64, 50, 50, 50)), 1):
        layers[f"linear{number}"] = nn.Linear(inputs, units, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm1d(units)
        layers[f"activation{number}"] = nn.Sigmoid()
    layers["output"] = nn.Linear(50, 10)
    x = (torch.rand(60, 64) < 0.44).float()
    return nn.Sequential(layers), x, torch.randint(10, (60,)), nn.BatchNorm1d


def resnet18() -> tuple[Any, Any, Any, Any]:
    """torchvision's definition with random weights; a batch of noise; the type of its norms."""
    import torch
    import torchvision

    model = torchvision.models.resnet18(num_classes=10)
    return model, torch.randn(16, 3, 64, 64), torch.randint(10, (16,)), torch.nn.BatchNorm2d


@contextmanager
def recording(peer: str, model: Any, kind: Any, folder: str) -> Iterator[Step]:
    """A peer's recording of all modules of a type; gives what is to be called after each step."""
    if peer == "bnexp.record":
        import bnexp

        with bnexp.record(model, Path(folder) / "run", kind) as recorder:
            yield lambda loss: recorder.step(train_loss=loss)
    elif peer == "add_histogram":
        from torch.utils.tensorboard import SummaryWriter

        writer, step = SummaryWriter(folder), [0]
        for name, module in model.named_modules():
            if isinstance(module, kind):
                module.register_forward_hook(
                    lambda _module, _input, output, name=name: writer.add_histogram(
                        name, output.detach(), step[0]
                    )
                )

        def count(_: Any) -> None:
            step[0] += 1

        yield count
        writer.close()
    elif peer == "torchinstruments":
        import torchinstruments
        from torchinstruments.sampling import AlwaysSampler

        torchinstruments.inject_observer(
            model,
            output_dir=folder,
            sampler=AlwaysSampler(),
            selector=lambda _name, module: isinstance(module, kind),
            error_policy="raise",
        )
        yield lambda _: None
        torchinstruments.remove_observer(model)
    else:
        yield lambda _: None


def seconds_per_step(peer: str, network: str) -> float:
    """The mean time of a step, with what it takes to close the files in the end."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, x, y, kind = {"quickstart": quickstart, "resnet18": resnet18}[network]()
    optimizer, begin = torch.optim.SGD(model.parameters(), 0.1), 0.0
    with tempfile.TemporaryDirectory() as folder:
        with recording(peer, model, kind, folder) as step:
            for number in range(WARM + STEPS[network]):
                if number == WARM:
                    begin = time.perf_counter()
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                step(loss)
        return (time.perf_counter() - begin) / STEPS[network]


def measured(peer: str, network: str) -> float:
    """`seconds_per_step` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--one", peer, network]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def table(rounds: list[dict[str, dict[str, float]]], about: str) -> str:
    """The rounds as Markdown."""
    lines = [
        "# What recording adds to a training step",
        "",
        f"`python scripts/benchmark_record.py --out DIR`: {about}",
        "",
        "| network | recording | ms a step | times nothing | what it adds, ms | times bnexp's |",
        "|---|---|---|---|---|---|",
    ]
    for network in STEPS:
        for peer in PEERS:
            own = [each[network][peer] for each in rounds]
            base = [each[network]["nothing"] for each in rounds]
            ours = [each[network]["bnexp.record"] for each in rounds]
            added = [a - b for a, b in zip(own, base, strict=True)]
            ratios = [a / b for a, b in zip(own, base, strict=True)]
            against = [a / (o - b) for a, o, b in zip(added, ours, base, strict=True)]
            cells = [network, peer, f"{1000 * statistics.median(own):.3f}"]
            cells += [f"{statistics.median(ratios):.2f}"]
            if peer == "nothing":
                cells += ["", ""]
            else:
                cells += [f"{1000 * statistics.median(added):.3f}"]
                cells += [f"{statistics.median(against):.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all peers in turn; print the table, and write it with every round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder for record.md and record.json")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(seconds_per_step(*options.one))
        return
    from bnexp.files.provenance import provenance

    load = os.getloadavg()[0]
    rounds = [
        {network: {peer: measured(peer, network) for peer in PEERS} for network in STEPS}
        for _ in range(options.rounds)
    ]
    made_with = provenance()
    versions = {
        name: metadata.version(name) for name in ("torch", "tensorboard", "torchinstruments")
    }
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    about = (
        f"median of {options.rounds} rounds in turn, one thread, on {made_with['processor']} "
        f"(load {load:.1f} before the first round); {told}."
    )
    print(text := table(rounds, about))
    if options.out:
        content = {"rounds": rounds, "load": load, "peers": versions, "environment": made_with}
        (options.out / "record.json").write_text(json.dumps(content, indent=1) + "\n")
        (options.out / "record.md").write_text(text)


if __name__ == "__main__":
    main()
