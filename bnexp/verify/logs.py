"""Checks 18, 19 and 32: the logs of a variant are those of the networks they are said to be of."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bnexp.analysis.records import PercentileLog
from bnexp.analysis.variants import VariantResults
from bnexp.data.datasets import Dataset
from bnexp.files.status import changes
from bnexp.networks.running_statistics import accuracy, through
from bnexp.verify.check import Finding, check, found, largest, not_tested
from bnexp.verify.networks import minibatches, preactivations, without_zeros


def off(
    log: PercentileLog,
    row: int,
    networks: Sequence[nn.Sequential],
    inputs: Sequence[torch.Tensor],
) -> float:
    """Largest distance of a row of a log to NumPy's percentiles of the networks' pre-activations.

    Distances are absolute for percentiles below 1 and relative above.

    Args:
        log: of the probe or of the minibatches.
        row: of the log.
        networks: one for each seed of the log.
        inputs: the examples (m, features) that each seed sees.
    """
    distances = []
    layers = np.unique(log.layer) - 1
    for have, network, x in zip(log.values[row], networks, inputs, strict=True):
        activations = preactivations(network, x)
        z = torch.cat([activations[layer] for layer in layers], dim=1)
        wanted = np.percentile(z.numpy(), log.percentiles, axis=0)
        distances.append(largest((have - wanted) / (1 + np.abs(wanted))))
    return largest(*distances)


@check(18, "the files", "percentiles and accuracy to 0.001")
def last_rows(
    variant: VariantResults, networks: Sequence[nn.Sequential], dataset: Dataset
) -> Finding:
    """The last rows of the logs are the probe's percentiles and the accuracy of model.pt.

    Both are computed again, in float64 and with NumPy's percentiles, from the parameters that
    model.pt holds of each seed.
    """
    x, labels = without_zeros(dataset)[1], torch.as_tensor(dataset.test_y)
    recomputed = np.array(
        [accuracy(network[1:], through(network[0], x), labels) for network in networks]
    )
    hits = largest(recomputed - variant.metrics.test_accuracy[-1])
    probe = 0.0
    if variant.probe is not None:
        sample = torch.as_tensor(dataset.test_x[: variant.probe.examples]).double()
        probe = off(variant.probe, -1, networks, [sample] * len(networks))
    told = "no probe" if variant.probe is None else f"percentiles to {probe:.0e}"
    return found(largest(probe, hits) <= 1e-3, f"{told}, accuracy to {hits:.0e}")


@check(19, "the files", "to 0.001")
def first_rows(
    variant: VariantResults, networks: Sequence[nn.Sequential], dataset: Dataset
) -> Finding:
    """The first rows of the logs are the percentiles of the seeds' networks before training.

    A seed decides the network that training begins with and its first minibatch, so row 0 can be
    computed again from the seeds alone.
    """
    size, dtype, distances = int(variant.settings["train.batch_size"]), torch.float64, []
    if (log := variant.minibatch) is not None:
        first = [next(minibatches(dataset, size, seed, dtype))[0] for seed in log.seeds]
        distances.append(off(log, 0, networks, first))
    if variant.probe is not None:
        x = torch.as_tensor(dataset.test_x[: variant.probe.examples]).to(dtype)
        distances.append(off(variant.probe, 0, networks, [x] * len(networks)))
    if not distances:
        return not_tested("no percentiles were recorded")
    return found(largest(*distances) <= 1e-3, f"to {largest(*distances):.0e}")


@check(32, "the files", "one engine, processor and set of versions in each run")
def one_arithmetic(variant: VariantResults) -> Finding:
    """Every step of a run was computed by the same engine, processor and versions.

    A run is a function of its settings and its seed, bit for bit, only where the same arithmetic
    computes all of its steps: another processor or library may round otherwise. The status of a run
    keeps the history of what computed which steps.
    """
    told = [
        f"{run.path.name} {change}"
        for run in variant.runs
        for change in changes(run.status.history)
    ]
    return found(not told, ". ".join(told) or f"one in each of {len(variant.runs)}")
