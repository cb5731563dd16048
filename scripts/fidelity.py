"""Search what the paper leaves open for the settings that come nearest to its Figure 1.

    BNEXP_DATA=... python scripts/fidelity.py --out results/published/fidelity

The rule was written down before the search, and decides by itself:

- A setting is scored on all three panels at once. In panel (a) it is the root mean square distance
  of the test accuracies of both networks to the paper's curves, at the paper's steps from 7,000 on,
  where the digitised curves are legible. In panels (b) and (c) it is that of the percentiles of a
  unit of the last hidden layer, at all the paper's steps, of the unit in the middle: the median of
  this distance over all units.
- The score is (a) / 0.01 + (b) / 0.3 + (c) / 0.1, each in units of about what the present setting
  has, so that no panel counts for nothing.
- First, `--settings` random settings and the present one of configs/fig1.yaml are trained for
  15,000 steps with seed 0, and scored up to there. Then the best five and the present one are
  trained for 50,000 steps with seeds 0 to 2.
- fig1.yaml takes the best of these if its score is lower than the present one's in every seed, and
  if what it needs can be said in YAML; else it stays as it is.

The search is over the standard deviation of the initial weights and their distribution, the
learning rate, the momentum, and the brightness from which a pixel is 1.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bnexp.analysis.paper import paper_net
from bnexp.config import Settings, load
from bnexp.data import datasets
from bnexp.files.provenance import provenance
from bnexp.files.sealed import write_json
from bnexp.networks.kernels_engine import KernelsEngine

SCALES = {"a": 0.01, "b": 0.3, "c": 0.1}
FIRST_STEPS, STEPS = 15_000, 50_000
LEGIBLE = 7_000  # from where the digitised accuracy can be read
BEST = 5
Norm = Literal["none", "batch"]
NETWORKS: tuple[tuple[Literal["b", "c"], Norm], ...] = (("b", "none"), ("c", "batch"))


@dataclass(frozen=True)
class Choice:
    """What the paper leaves open.

    Attributes:
        weight_std: standard deviation of the initial weights.
        distribution: of the initial weights, `normal` or `uniform`, of the same deviation.
        lr: the learning rate divided by 1 - momentum, which is how far a step goes in the long run.
        momentum: of SGD.
        brightness: a pixel is 1 from here on, of 255.
    """

    weight_std: float = 0.05
    distribution: str = "normal"
    lr: float = 0.12
    momentum: float = 0.0
    brightness: int = 128


def settings_of(choice: Choice, norm: Norm, steps: int) -> Settings:
    """The settings of one of the two networks."""
    base = load("fig1").base
    model = replace(base.model, weight_std=choice.weight_std, norm=norm, bias=norm == "none")
    lr = choice.lr * (1 - choice.momentum)
    train = replace(base.train, steps=steps, lr=lr, momentum=choice.momentum, device="cpu")
    record = replace(base.record, every=STEPS, statistics_every=None, probe_every=100)
    return Settings(replace(base.data, binarize=False), model, train, record)


def train(choice: Choice, norm: Norm, steps: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Train a network; its steps and accuracies (rows, 2), and its probe (rows, 3, 100)."""
    settings = settings_of(choice, norm, steps)
    loaded = datasets.load(settings.data)
    bright = (choice.brightness - 0.5) / 255
    dataset = replace(
        loaded,
        train_x=(loaded.train_x > bright).astype(np.float32),
        test_x=(loaded.test_x > bright).astype(np.float32),
    )
    engine = KernelsEngine(settings, dataset, seed)
    if choice.distribution == "uniform":
        (state,) = engine.state()
        for key, array in state.items():
            if key.endswith(".weight") and array.ndim == 2:
                share = ndtr(array / choice.weight_std)  # uniform in 0 .. 1
                state[key] = ((share - 0.5) * np.sqrt(12) * choice.weight_std).astype(array.dtype)
        engine.load_state(0, [state])
    (rows,) = engine.advance(steps)
    (last,) = engine.finish()
    if rows.failure is not None:
        raise ValueError(rows.failure)
    metrics = np.array([(row.step, row.test_accuracy) for row in [*rows.metrics, *last.metrics]])
    return metrics, np.concatenate([rows.probe, last.probe])[..., -settings.model.hidden[-1] :]


def score(choice: Choice, steps: int, seed: int) -> dict[str, float]:
    """How far both networks of a choice are from the three panels, up to a step."""
    squares, found = list[float](), dict[str, float]()
    for panel, norm in NETWORKS:
        net = paper_net(panel)
        try:
            metrics, probe = train(choice, norm, steps, seed)
        except ValueError:  # it diverges
            return dict.fromkeys([*SCALES, "score"], float("inf"))
        seen = (net.accuracy_steps >= LEGIBLE) & (net.accuracy_steps <= steps)
        accuracy = np.interp(net.accuracy_steps[seen], *metrics.T)
        squares += list(np.square(accuracy - net.accuracy[seen]))
        seen = net.steps <= steps
        rows = np.rint(net.steps[seen] / 100).astype(int)
        gaps = probe[rows] - net.values[seen][..., None]  # (points, 3, units)
        found[panel] = float(np.median(np.sqrt(np.square(gaps).mean(axis=(0, 1)))))
    found["a"] = float(np.sqrt(np.mean(squares)))
    found["score"] = sum(found[panel] / scale for panel, scale in SCALES.items())
    return found


def drawn(count: int) -> list[Choice]:
    """Random choices, after the present one, and after those that were tried by hand."""
    rng = np.random.default_rng(0)
    choices = [Choice(), Choice(0.07, lr=0.09), Choice(brightness=1)]
    while len(choices) < count + 1:
        momentum = float(rng.choice([0, 0, 0.5, 0.9]))
        choices.append(
            Choice(
                round(float(np.exp(rng.uniform(np.log(0.02), np.log(0.2)))), 3),
                str(rng.choice(["normal", "uniform"])),
                round(float(np.exp(rng.uniform(np.log(0.06), np.log(0.25)))), 3),
                momentum,
                int(rng.choice([1, 64, 128, 192])),
            )
        )
    return choices


def scored(jobs: int, tasks: Sequence[tuple[Choice, int, int]]) -> list[dict[str, float]]:
    """The scores of choices, each with its steps and seed, by processes side by side."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return list(pool.map(score, *zip(*tasks, strict=True)))


def main() -> None:
    """Search, decide, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--settings", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    choices = drawn(asked.settings)
    first = scored(asked.jobs, [(choice, FIRST_STEPS, 0) for choice in choices])
    order = sorted(range(len(choices)), key=lambda i: first[i]["score"])
    chosen = [0, *[i for i in order if i != 0][:BEST]]
    tasks = [(choices[i], STEPS, seed) for i in chosen for seed in range(3)]
    results = scored(asked.jobs, tasks)
    second = {i: results[3 * place : 3 * place + 3] for place, i in enumerate(chosen)}
    means = {i: float(np.mean([each["score"] for each in found])) for i, found in second.items()}
    best = min(means, key=lambda i: means[i])
    pairs = zip(second[best], second[0], strict=True)
    better = best != 0 and all(mine["score"] < theirs["score"] for mine, theirs in pairs)
    content = {
        "rule": __doc__,
        "first": [{**asdict(choices[i]), **first[i]} for i in order],
        "second": [{**asdict(choices[i]), "mean": means[i], "seeds": second[i]} for i in chosen],
        "best": asdict(choices[best]),
        "better_in_every_seed": better,
        "environment": provenance(),
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    write_json(asked.out / "search.json", content)
    print(json.dumps(content["second"], indent=1))
    print("best:", choices[best], "- better in every seed:", better)


if __name__ == "__main__":
    main()
