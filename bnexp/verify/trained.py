"""The trained networks of an experiment, and the checks of each variant in their order.

Check 31 is here too: without batch norm, mean and variance are implicit in the weights.
"""

import copy
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from bnexp.analysis.distributions import normal_quantiles
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.config import settings_of
from bnexp.data import datasets
from bnexp.data.datasets import Dataset
from bnexp.errors import ConfigError, StorageError
from bnexp.files.run_folder import MODEL
from bnexp.networks.trained import load_parameters
from bnexp.verify import gamma, inference, logs
from bnexp.verify.check import Check, Finding, check, found, largest, not_tested
from bnexp.verify.networks import Build, initial_network, linear_layers


def finished(experiment: ExperimentResults) -> ExperimentResults:
    """The experiment with its finished variants alone.

    Raises:
        ConfigError: a variant was recorded of a model of the user's own.
        StorageError: no variant is finished.
    """
    done = {name: each for name, each in experiment.variants.items() if each.state == "done"}
    for variant in done.values():
        if variant.is_recorded:
            raise ConfigError(
                f"{variant.path}: was recorded of a model of your own; verify checks what is said "
                "of the networks that `bnexp train` makes"
            )
    if not done:
        raise StorageError(f"{experiment.path}: no finished run; `bnexp train` finishes it")
    return replace(experiment, variants=done)


def checks(experiment: ExperimentResults, build: Build = initial_network) -> Iterator[Check]:
    """The checks of the trained networks of each variant."""
    load = functools.cache(datasets.load)
    for variant in experiment.variants.values():
        dataset = load(settings_of(variant.settings).data)
        found = itertools.chain(checks_of(variant, dataset, build), [logs.one_arithmetic(variant)])
        yield from (check.about(variant.name) for check in found)


def checks_of(
    variant: VariantResults, dataset: Dataset, build: Build = initial_network
) -> Iterator[Check]:
    """The checks of the trained networks of one variant, for its data set."""
    settings = settings_of(variant.settings)
    model = settings.model
    shape, seeds = (dataset.train_x.shape[1], dataset.classes), [run.seed for run in variant.runs]
    initial = [build(model, *shape, seed) for seed in seeds]
    networks = [
        load_parameters(copy.deepcopy(network), run.path / MODEL, run.promised(MODEL))
        for network, run in zip(initial, variant.runs, strict=True)
    ]
    yield logs.last_rows(variant, networks, dataset)
    yield logs.first_rows(variant, initial, dataset)
    if model.norm == "batch":
        how = settings.train, model.norm_momentum
        yield inference.modes(networks, dataset, *how)
        yield inference.running_statistics(networks, seeds, dataset, *how)
    x = torch.as_tensor(dataset.test_x[:1000]).double()
    if model.norm == "none" and model.bias:
        yield implied_by_weights(networks, x)
    if model.norm == "batch" and model.gamma:
        yield gamma.folding_when_trained(networks, model.activation, x, settings.train.steps)


@check(
    31,
    "section 2: the distribution of a layer's inputs depends on all layers before it",
    "mean and variance to 1e-9 of the largest",
)
@torch.no_grad()
def implied_by_weights(networks: Sequence[nn.Sequential], x: torch.Tensor) -> Finding:
    """Without BN a unit's mean and variance are w'mu + b and w'Sigma w, and not parameters.

    Let mu and Sigma be the mean and the covariance of the activations of the layer before, over
    some examples. The pre-activation z = w'a + b then has the mean w'mu + b and the variance
    w'Sigma w, so every update of any layer before moves both. With BN they are beta and gamma^2,
    and two parameters of the unit itself decide. Percentiles follow from mean and variance as far
    as the distribution is Gaussian: P_q = mean + z_q sd. How far they are from that is told, as the
    root mean square over percentiles 15, 50 and 85 and over units, in standard deviations.

    Networks and examples are of float64.
    """
    gaps, shape = [], []
    for network in networks:
        last = linear_layers(network)[-2]
        activations = x
        for module in network:
            if module is last:
                break
            activations = module(activations)
        mu = activations.mean(0)
        centered = activations - mu
        covariance = centered.T @ centered / len(x)
        mean = last.weight @ mu + last.bias
        variance = ((last.weight @ covariance) * last.weight).sum(1)
        if not variance.any():  # it diverged, and its units are saturated for all examples
            return not_tested("a network gives every example the same values in its last layer")
        z = last(activations)
        gaps.append(largest(mean - z.mean(0)) / largest(mean))
        gaps.append(largest(variance - z.var(0, correction=0)) / largest(variance))
        quantiles = torch.as_tensor(normal_quantiles((15.0, 50.0, 85.0)))[:, None]
        measured = torch.quantile(z, torch.tensor([0.15, 0.5, 0.85], dtype=torch.float64), dim=0)
        off = (measured - mean - quantiles * variance.sqrt()) / variance.sqrt()
        shape.append(float(off.square().mean().sqrt()))
    return found(
        largest(*gaps) <= 1e-9,
        f"to {largest(*gaps):.0e}; percentiles are {np.mean(shape):.2f} standard deviations from "
        "those of a Gaussian with them",
    )
