"""The trained networks of an experiment, and the checks of each variant in their order."""

import copy
import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch

from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.config import settings_of
from bnexp.data import datasets
from bnexp.data.datasets import Dataset
from bnexp.errors import ConfigError, StorageError
from bnexp.files.run_folder import MODEL
from bnexp.networks.trained import load_parameters
from bnexp.verify import gamma, inference, logs, weights
from bnexp.verify.check import Check
from bnexp.verify.networks import Build, initial_network


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
        yield weights.implied_by_weights(networks, x)
    if model.norm == "batch" and model.gamma:
        yield gamma.folding_when_trained(networks, model.activation, x, settings.train.steps)
