"""What the parts of a step cost, and what their alternatives would: why the step is as it is.

    python scripts/parts.py

Microseconds a call at the size of configs/fig1.yaml (60 examples, 784-100-100-100-10, one network,
float32, one thread): the smallest of seven rounds. Each choice of OpenBLAS kernels needs a process
of its own. Writes parts.md beside the table of scripts/benchmark.py.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

KERNELS = ("Haswell", "SkylakeX")


def cost(call: Callable[[], object], times: int) -> float:
    """Microseconds of a call."""
    best = float("inf")
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter() - begin) / times)
    return 1e6 * best


def products() -> dict[str, float]:
    """The first layer's product and its weight gradient, by library."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, w, d = (rng.random(shape, np.float32) for shape in ((60, 784), (784, 100), (60, 100)))
    z, g = np.empty((60, 100), np.float32), np.empty((784, 100), np.float32)
    tx, tw, td, tz, tg = map(torch.from_numpy, (x, w, d, z, g))
    tz2 = torch.empty_like(tz)
    found = {
        "NumPy, add of two (60, 100)": cost(lambda: np.add(z, d, out=z), 9999),
        "torch, add of two (60, 100)": cost(lambda: torch.add(tz2, td, out=tz2), 9999),
        "NumPy, forward": cost(lambda: np.matmul(x, w, out=z), 1000),
        "NumPy, weight gradient": cost(lambda: np.matmul(x.T, d, out=g), 1000),
        "torch.mm, forward": cost(lambda: torch.mm(tx, tw, out=tz), 1000),
        "torch.mm, weight gradient": cost(lambda: torch.mm(tx.T, td, out=tg), 1000),
    }
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        found["oneDNN (private), forward"] = cost(
            lambda: linear(tx, tw.T, None, "none", [], ""), 1000
        )
        found["oneDNN (private), weight gradient"] = cost(
            lambda: linear(tx.T, td.T, None, "none", [], ""), 1000
        )
    x, w, d = (
        rng.random(shape, np.float32) for shape in ((8, 60, 784), (8, 784, 100), (8, 60, 100))
    )
    z, g = np.empty((8, 60, 100), np.float32), np.empty((8, 784, 100), np.float32)
    tx, tw, td, tz, tg = map(torch.from_numpy, (x, w, d, z, g))
    return found | {
        "8 seeds: NumPy, forward": cost(lambda: np.matmul(x, w, out=z), 100),
        "8 seeds: torch.bmm, forward": cost(lambda: torch.bmm(tx, tw, out=tz), 100),
        "8 seeds: NumPy, weight gradient": cost(lambda: np.matmul(x.swapaxes(1, 2), d, out=g), 100),
        "8 seeds: torch.bmm, weight gradient": cost(
            lambda: torch.bmm(tx.transpose(1, 2), td, out=tg), 100
        ),
    }


def normalization() -> dict[str, float]:
    """BN of one layer, and the update of all weights: bnexp's calls, and torch's."""
    import torch
    from bnexp.networks.backend import NumpyBackend
    from bnexp.networks.batchnorm import BatchNorm, LayerWork
    from bnexp.networks.optimizer import SGD

    from bnexp.config.experiment import TrainConfig

    torch.set_num_threads(1)
    to, rng = NumpyBackend("float32"), np.random.default_rng(0)
    columns = rng.random((10, 1, 1, 100), np.float32)
    work = LayerWork(*rng.random((5, 1, 60, 100), np.float32), *columns[:4])
    norm = BatchNorm(to, columns[4:6], columns[6], columns[7])
    x, upstream = torch.rand(60, 100), torch.rand(60, 100)
    gamma, beta, mean, var = torch.rand(4, 100)

    def forward() -> tuple[torch.Tensor, ...]:
        return torch.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)

    def backward() -> None:
        np.copyto(work.delta, work.activation)  # or it would shrink until it is denormal
        norm.backward(work, columns[8], columns[9])

    saved = forward()[1:]
    wanted = [True, True, True]
    weights, gradient = rng.random((2, 100_000), np.float32)
    update = SGD(TrainConfig(), to, len(weights)).update
    theirs, minus = torch.from_numpy(weights), torch.from_numpy(gradient)
    return {
        "BN forward: bnexp": cost(lambda: norm.forward(work, "batch"), 2000),
        "BN forward: torch.native_batch_norm": cost(forward, 2000),
        "BN backward: bnexp": cost(backward, 2000),
        "BN backward: torch.native_batch_norm_backward": cost(
            lambda: torch.ops.aten.native_batch_norm_backward(
                upstream, x, gamma, mean, var, *saved, True, 1e-5, wanted
            ),
            2000,
        ),
        "update of 100,000 weights: bnexp": cost(lambda: update(weights, gradient, 0), 999),
        "update of 100,000 weights: torch, one pass": cost(
            lambda: theirs.add_(minus, alpha=-0.1), 999
        ),
    }


def passes() -> dict[str, float]:
    """Sums, percentiles and batches, as the step makes them and otherwise."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, 60, 100), np.float32)
    ones, row = np.ones((1, 1, 60), np.float32), np.empty((1, 1, 100), np.float32)
    units = rng.standard_normal((1, 300, 60), np.float32)
    across, copy = np.ascontiguousarray(units.swapaxes(1, 2)), np.empty_like(units)
    positions = [8, 9, 29, 30, 50, 51]
    pixels = (rng.random((60_000, 784), np.float32) > 0.87).astype(np.float32)
    packed, out = pixels.astype(np.uint8), np.empty((1, 60, 784), np.float32)
    batches = itertools.cycle(rng.permutation(60_000).reshape(1000, 1, 60))  # not yet in the cache

    def gather_packed() -> None:
        out[...] = np.take(packed, next(batches), axis=0, mode="clip")

    def sort_copied() -> None:
        np.copyto(copy, across.swapaxes(1, 2))
        copy.sort(axis=2)

    return {
        "sum over the examples: product with ones": cost(lambda: np.matmul(ones, z, out=row), 9999),
        "sum over the examples: add.reduce": cost(
            lambda: np.add.reduce(z, axis=1, out=row, keepdims=True), 9999
        ),
        "300 units: copied so that examples are contiguous, sorted": cost(sort_copied, 999),
        "300 units: sorted along the examples as they lie": cost(
            lambda: np.sort(across, axis=1), 999
        ),
        "300 units: np.partition at the six positions": cost(
            lambda: np.partition(units, positions, axis=2), 99
        ),
        "300 units: np.percentile": cost(lambda: np.percentile(across, (15, 50, 85), axis=1), 99),
        "batch: gathered from bytes, converted": cost(gather_packed, 999),
        "batch: gathered from float32": cost(
            lambda: np.take(pixels, next(batches), axis=0, out=out, mode="clip"), 999
        ),
    }


def main() -> None:
    """Measure in a process for each kind of kernels; print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"))
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps({**products(), **normalization(), **passes()}))
        return
    from bnexp.files.provenance import provenance
    from bnexp.training.worker import environment

    found = []
    for kernels in KERNELS:
        os.environ["OPENBLAS_CORETYPE"] = kernels
        with environment(threads=1):
            command = [sys.executable, __file__, "--measure"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    lines = [f"| us a call | OpenBLAS {' | '.join(KERNELS)} |", "|---|---|---|"]
    lines += [
        f"| {name} | {' | '.join(f'{each[name]:.1f}' for each in found)} |" for name in found[0]
    ]
    about = provenance()
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    text = "\n".join(
        [*lines, "", f"{about['processor']}; {versions}; commit {about['git_commit']}."]
    )
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "parts.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
