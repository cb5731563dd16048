"""What the checks of trained networks find in the files of an experiment."""

import copy
import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.cases import with_cumulative_statistics
from torch import nn

from bnexp.analysis.records import MetricsLog, PercentileLog
from bnexp.config import ModelConfig, Settings, TrainConfig, flatten
from bnexp.data.streams import batch_order
from bnexp.errors import DamagedError
from bnexp.networks.running_statistics import accuracy
from bnexp.verify import inference, trained
from bnexp.verify.check import Verdict
from bnexp.verify.networks import (
    digits,
    initial_network,
    minibatches,
    norms,
    preactivations,
    train,
    without_zeros,
)

SEEDS, PERCENTILES, PROBE = (0, 1), (15.0, 50.0, 85.0), 100
CONFIG = TrainConfig(steps=400, lr=0.2)
MODELS = {
    "baseline": ModelConfig((16, 12), weight_std=None),
    "batchnorm": ModelConfig((16, 12), weight_std=None, norm="batch"),
    "relu": ModelConfig((16, 12), "relu", weight_std=None, norm="batch"),
    "no_gamma": ModelConfig((16, 12), "relu", weight_std=None, norm="batch", gamma=False),
}


def percentiles(network, x, layers):
    """The percentiles (3, units) of these hidden layers, by NumPy."""
    z = preactivations(network, x)
    return np.percentile(np.concatenate([z[n - 1] for n in layers], 1), PERCENTILES, axis=0)


def log(rows, layers, sizes, examples):
    """A log of these rows, each with one array (3, units) for every seed."""
    values = np.array(rows, np.float32)
    units = [sizes[n - 1] for n in layers]
    return PercentileLog(
        np.arange(len(rows)),
        values,
        PERCENTILES,
        SEEDS,
        np.repeat(layers, units),
        np.concatenate([np.arange(n) for n in units]),
        examples,
        "some examples",
    )


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """The results of a variant: a folder a seed with its model.pt, and logs with two rows each."""
    x, labels = torch.as_tensor(digits().test_x), torch.as_tensor(digits().test_y)

    def results(name):
        model, folder = MODELS[name], tmp_path_factory.mktemp(name)
        networks = [train(initial_network, model, CONFIG, seed).network for seed in SEEDS]
        starts = [initial_network(model, 64, 10, seed).float() for seed in SEEDS]
        runs = []
        for seed, network in zip(SEEDS, networks, strict=True):
            path = folder / f"seed-{seed}"
            path.mkdir()
            torch.save(network.state_dict(), path / "model.pt")
            runs.append(SimpleNamespace(path=path, seed=seed, promised=lambda _: None))
        rows = [
            [percentiles(each, x[:PROBE], (1, 2)) for each in stack] for stack in (starts, networks)
        ]
        first = [
            percentiles(start, next(minibatches(digits(), 60, seed, torch.float32))[0], (2,))
            for seed, start in zip(SEEDS, starts, strict=True)
        ]
        hits = np.array([[accuracy(each, x, labels) for each in s] for s in (starts, networks)])
        nothing = np.full(hits.shape, np.nan)
        metrics = MetricsLog(np.array([0, 400]), SEEDS, nothing, hits, nothing, nothing, nothing)
        return SimpleNamespace(
            name=name,
            settings=flatten(Settings(model=model, train=CONFIG)),
            runs=tuple(runs),
            metrics=metrics,
            probe=log(rows, (1, 2), model.hidden, PROBE),
            minibatch=log([first], (2,), model.hidden, 60),
        )

    return results


@pytest.fixture
def changed(make):
    """A variant whose files hold other parameters: `change(key, tensor)` of each of them."""

    def alter(name, change):
        variant = make(name)
        for run in variant.runs:
            path = run.path / "model.pt"
            state = torch.load(path, weights_only=True)
            torch.save({key: change(key, value) for key, value in state.items()}, path)
        return variant

    return alter


def by_number(variant, **arguments):
    """The checks of a variant by number; each has one here."""
    checks = trained.checks_of(variant, digits(), **arguments)
    return {check.number: check for check in checks}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("baseline", {18, 19, 31}),
        ("batchnorm", {15, 18, 19, 20, 34}),
        ("relu", {15, 18, 19, 20, 34}),
        ("no_gamma", {15, 18, 19, 20}),
    ],
)
def test_all_that_can_be_checked_of_a_variant_holds_for_what_was_trained(make, name, numbers):
    """Files for every network, running statistics with batch norm, folding where gamma learns."""
    found = by_number(make(name))
    assert set(found) == numbers
    assert [check for check in found.values() if check.verdict is not Verdict.HOLDS] == []
    json.dumps([asdict(check) for check in found.values()])


def test_every_claim_begins_with_the_variant_that_it_is_about(make):
    """The checks of several variants come one after the other."""
    variants = {name: make(name) for name in ("baseline", "no_gamma")}
    for variant in variants.values():
        variant.settings = {**variant.settings, "data.name": "digits"}
        for run in variant.runs:
            run.status = SimpleNamespace(history=())
    found = [check.claim for check in trained.checks(SimpleNamespace(variants=variants))]
    assert [claim.partition(": ")[0] for claim in found] == ["baseline"] * 4 + ["no_gamma"] * 5


CHANGES = {
    "a weight of another network": (18, lambda k, v: v + 0.1 if k == "linear1.weight" else v),
    "running means left at 0": (15, lambda k, v: 0 * v if k.endswith("running_mean") else v),
    "running variances far off": (20, lambda k, v: 100 + v if k.endswith("running_var") else v),
    # A network whose gammas are 1 is its own folded network, which no sigmoid network should be.
    "gammas never trained": (
        34,
        lambda k, v: 0 * v + 1 if k.startswith("norm") and k.endswith(".weight") else v,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_final_parameters_that_are_wrong_are_found(name, changed):
    """Each by the check that is there for it; the first rows of the logs hold all the same."""
    number, change = CHANGES[name]
    found = by_number(changed("batchnorm", change))
    assert found[number].verdict is Verdict.FAILS, found[number].measured
    assert found[19].verdict is Verdict.HOLDS


def test_a_gamma_that_is_not_applied_does_not_fold(make):
    """The folded network multiplies the next weights by gamma, and the trained one ignores it."""

    class WithoutGamma(nn.BatchNorm1d):
        def forward(self, x):
            y = super().forward(x)
            return (y - self.bias) / self.weight + self.bias

    def build(*arguments):
        network = initial_network(*arguments)
        for i, module in enumerate(network):
            if isinstance(module, nn.BatchNorm1d):
                network[i] = WithoutGamma(module.num_features).double()
        return network

    found = by_number(make("relu"), build=build)
    assert found[34].verdict is Verdict.FAILS, found[34].measured


def test_logs_of_other_seeds_are_found(make):
    """Row 0 follows from the seeds that are said to be its; the last row does not."""
    variant = make("baseline")
    variant.runs[1].seed = 7
    found = by_number(variant)
    assert found[19].verdict is Verdict.FAILS, found[19].measured
    assert found[18].verdict is Verdict.HOLDS


def test_an_accuracy_that_is_not_the_networks_is_found(make):
    """Check 18 computes it again."""
    variant = make("baseline")
    metrics = variant.metrics
    variant.metrics = replace(metrics, test_accuracy=metrics.test_accuracy + 0.01)
    assert by_number(variant)[18].verdict is Verdict.FAILS


def test_a_variant_without_a_probe_is_checked_by_the_rest_of_its_files(make):
    """The text says that there was no probe."""
    variant = make("baseline")
    variant.probe = None
    found = by_number(variant)
    assert [found[number].verdict for number in (18, 19)] == [Verdict.HOLDS] * 2
    assert found[18].measured.startswith("no probe")


def test_first_rows_are_not_tested_where_no_percentiles_were_recorded(make):
    """There is nothing that could disagree."""
    variant = make("baseline")
    variant.probe = variant.minibatch = None
    assert by_number(variant)[19].verdict is Verdict.NOT_TESTED


def test_what_a_few_steps_cannot_show_is_not_tested(make):
    """Running statistics that have not forgotten their start, and gammas that are near 1."""
    variant = make("batchnorm")
    variant.settings = {**variant.settings, "train.steps": 30}
    found = by_number(variant)
    assert [found[number].verdict for number in (15, 20, 34)] == [Verdict.NOT_TESTED] * 3
    assert found[15].measured == (
        "the running statistics hold 4.2% of their initial values, after 30 steps"
    )


def test_reestimated_statistics_are_the_cumulative_average_of_torch():
    """Check 15 takes many minibatches at once; BatchNorm1d with momentum=None one by one."""
    network = copy.deepcopy(train(initial_network, MODELS["batchnorm"], CONFIG).network).double()
    found = inference.reestimated(network, without_zeros(digits())[0], 60, seed=3)
    order = batch_order(len(digits().train_x), 60, seed=3, epoch=0)
    one_by_one = [torch.as_tensor(digits().train_x[chosen]).double() for chosen in order]
    expected = with_cumulative_statistics(network, one_by_one)
    for have, want in zip(norms(found), norms(expected), strict=True):
        torch.testing.assert_close(have.mean, want.mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(have.var, want.var, rtol=1e-12, atol=1e-12)


def test_parameters_of_another_config_are_refused(changed):
    """The error names the file, the parameter and the way out."""
    variant = changed("relu", lambda k, v: v[:, :3] if k == "linear1.weight" else v)
    with pytest.raises(DamagedError, match=r"model.pt: .*linear1.weight.*; train again"):
        by_number(variant)
