"""Every check holds, and sees the mistake that it is there for."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from helpers.synthetic import fig1

from bnexp.analysis import results as reader
from bnexp.config.experiment import (
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Variant,
    dump,
)
from bnexp.data import datasets as data
from bnexp.data import streams
from bnexp.errors import DamagedError, StorageError
from bnexp.files import checkpoint
from bnexp.files import run_folder as runlog
from bnexp.networks import model
from bnexp.networks.batchnorm import BatchNorm
from bnexp.networks.model import Network
from bnexp.training import run as train
from bnexp.verify import folding as fold
from bnexp.verify import normalization as norm
from bnexp.verify import suite as verify
from bnexp.verify import trained as verify_trained
from bnexp.verify import training


def forward(*, axes=1, ddof=0, centre=1.0, gamma=True, mode=None, update=False):  # noqa: PLR0913  (one for each mistake)
    """BN's forward pass in plain NumPy, right by default, with mistakes to switch on.

    Args:
        axes: over which mean and variance are taken; (1, 2) shares them between units.
        ddof: 1 for the unbiased variance.
        centre: the share of the mean that is subtracted.
        gamma: False leaves it out.
        mode: whose statistics are used, whatever is asked for.
        update: whether the pass moves the running statistics.
    """

    def broken(self, work, statistics):
        x = work.centered
        work.statistics = mode or statistics
        work.mean[...] = x.mean(axes, keepdims=True)
        work.var[...] = x.var(axes, keepdims=True, ddof=ddof)
        mean, var = work.mean, work.var
        if work.statistics == "running":
            mean, var = self.running
        x -= centre * mean
        work.inv_std[...] = 1 / np.sqrt(var + self.eps)
        np.multiply(x, work.inv_std, out=work.preactivation)
        if gamma and self.gamma is not None:
            work.preactivation *= self.gamma
        if self.beta is not None:
            work.preactivation += self.beta
        if update:
            moments = np.array([work.mean, work.var])
            model.update_running(np, self.running, moments, x.shape[1], norm.MOMENTUM)

    return {(BatchNorm, "forward"): broken}


def initially(**changes):
    """A BatchNorm that is made with other values than it is given."""
    original = BatchNorm.__init__

    def broken(self, *args):
        original(self, *args)
        for name, change in changes.items():
            setattr(self, name, change(getattr(self, name)))

    return {(BatchNorm, "__init__"): broken}


def statistics_taken_for_constants():
    """A backward pass without the two terms that go through mean and variance."""
    original = BatchNorm.backward

    def broken(self, work, *gradients):
        work.statistics = "running"
        original(self, work, *gradients)

    return {(BatchNorm, "backward"): broken}


def updating(broken):
    """Running statistics that are moved otherwise."""
    return {(model, "update_running"): broken, (norm, "update_running"): broken}


def by_momentum(change):
    """Running statistics that are moved with another momentum."""
    original = model.update_running

    def broken(xp, running, moments, examples, momentum):
        original(xp, running, moments, examples, change(momentum))

    return updating(broken)


def biased_running_variance(_xp, running, moments, _examples, momentum):
    """What `update_running` must not do."""
    running += momentum * (moments - running)


def exact_bias_gradient():
    """A backward pass that sets the gradients of hidden biases to 0, without rounding."""
    original = Network.backward

    def broken(self, x, work):
        original(self, x, work)
        for layer in range(1, self.depth):
            self.gradients.get(f"layers.{layer}.bias", np.empty(0))[...] = 0.0

    return {(Network, "backward"): broken}


def shared_stream():
    """One stream a seed for all that is drawn, so that a bias shifts what comes after it."""
    streams = {}

    def broken(seed, _name):
        return streams.setdefault(seed, torch.Generator().manual_seed(seed))

    return {(model, "generator"): broken}


def batches_of_one_seed():
    """The same minibatches for every seed."""
    original = streams.batch_order
    return {(streams, "batch_order"): lambda n, size, _seed, epoch: original(n, size, 0, epoch)}


def linear_sigmoid():
    """The sigmoid and tanh replaced by the identity."""
    linear = model.ACTIVATIONS["identity"]
    return {(model, "ACTIVATIONS"): dict.fromkeys(model.ACTIVATIONS, linear)}


def never_updated():
    """Running statistics that stay as they began."""
    return updating(lambda *_: None)


MISTAKES = {
    "1 mean and variance shared by the units": (norm.moments, forward(axes=(1, 2))),
    "1 wrong eps": (norm.moments, initially(eps=lambda eps: 2 * eps)),
    "1 unbiased variance": (norm.moments, forward(ddof=1)),
    "1 gamma not applied": (norm.moments, forward(gamma=False)),
    "2 wrong eps": (norm.identity, initially(eps=lambda eps: 2 * eps)),
    "2 no eps": (norm.identity, initially(eps=lambda _: 0.0)),
    "2 unbiased variance": (norm.identity, forward(ddof=1)),
    "3 statistics taken for constants": (norm.backward, statistics_taken_for_constants()),
    "3 gamma not applied": (norm.backward, forward(gamma=False)),
    "4 batch statistics in evaluation": (norm.others_matter, forward(mode="batch")),
    "4 running statistics in training": (norm.others_matter, forward(mode="running")),
    "5 moved by the probe": (norm.moving_averages, forward(update=True)),
    "5 biased running variance": (norm.moving_averages, updating(biased_running_variance)),
    "5 the other convention of momentum": (norm.moving_averages, by_momentum(lambda k: 1 - k)),
    "6 mean taken for a constant": (training.bias_gradient, statistics_taken_for_constants()),
    "6 batch statistics in evaluation": (training.bias_gradient, forward(mode="batch")),
    "7 a share of the mean left in": (norm.shift, forward(centre=0.999)),
    "8 a share of the bias left in": (training.bias_in_training, forward(centre=0.999)),
    "9 bias not trained at all": (training.bias_drift, exact_bias_gradient()),
    "9 mean taken for a constant": (training.bias_drift, statistics_taken_for_constants()),
    "10 batch statistics in evaluation": (norm.allclose, forward(mode="batch")),
    "10 running statistics never updated": (norm.allclose, never_updated()),
    "11 gamma not applied": (fold.fold, forward(gamma=False)),
    "12 gamma not applied": (fold.fold_sign, forward(gamma=False)),
    "12 sigmoid is linear": (fold.fold_sign, linear_sigmoid()),
    "13 gamma ignored": (training.gamma_ablation, initially(gamma=lambda _: None)),
    "13 gamma begins elsewhere": (
        training.gamma_ablation,
        initially(gamma=lambda gamma: gamma if gamma is None else 2 * gamma),
    ),
    "14 large eps": (training.scale_invariance, initially(eps=lambda _: 1e-5)),
    "14 variance taken for a constant": (
        training.scale_invariance,
        statistics_taken_for_constants(),
    ),
    "15 running statistics never updated": (training.reestimated, never_updated()),
    "15 moved too slowly": (training.reestimated, by_momentum(lambda _: 0.001)),
    "16 one example is normalized": (norm.one_example, forward()),
    "17 a bias shifts the stream": (training.same_seed, shared_stream()),
    "17 all seeds see the same batches": (training.same_seed, batches_of_one_seed()),
}


@pytest.fixture
def mistake(monkeypatch):
    """Puts a mistake in place."""

    def make(patches):
        for (owner, name), value in patches.items():
            monkeypatch.setattr(owner, name, value)

    return make


def test_all_seventeen_checks_hold():
    """In order, and ready for JSON."""
    found = list(verify.checks())
    assert [check.number for check in found] == list(range(1, 18))
    assert [check for check in found if not check.holds] == []
    assert len(json.loads(json.dumps([asdict(check) for check in found]))) == 17


@pytest.mark.parametrize("name", MISTAKES)
def test_each_check_sees_its_mistake(name, mistake):
    """With the implementation broken on purpose, that very check does not hold."""
    check, patches = MISTAKES[name]
    mistake(patches)
    found = check()
    assert str(found.number) == name.split()[0]
    assert not found.holds, found.measured


def test_mistakes_and_not_their_stand_in_are_seen(mistake):
    """The plain NumPy forward pass without a mistake satisfies all that it is put in place for."""
    mistake(forward())
    concerned = {check for check, patches in MISTAKES.values() if (BatchNorm, "forward") in patches}
    for check in concerned - {norm.one_example}:
        assert check().holds, check.__name__


def test_nothing_that_is_not_a_number_holds(mistake):
    """A check whose measurement is NaN has failed."""
    mistake(forward(centre=np.nan))
    for check in (norm.moments, norm.identity, norm.backward, norm.others_matter, fold.fold):
        assert not check().holds, check.__name__


# --- With an experiment ---------------------------------------------------------------------------

RELU = {"model.activation": "relu", "model.gamma": True, "model.norm": "batch"}
VARIANTS = {
    "baseline": {"model.norm": "none"},
    "batchnorm": {"model.norm": "batch"},
    "relu": RELU,
    "relu_fixed": {**RELU, "model.gamma": False},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small experiment on digits, trained."""
    base = Settings(
        DataConfig("digits"),
        ModelConfig((16, 12), weight_std=None),
        TrainConfig(steps=400, lr=0.2, checkpoint_every=400, device="cpu"),
        RecordConfig(probe_size=100, probe_every=50, evaluate_every=100),
    )
    variants = []
    for name, changes in VARIANTS.items():
        values = {key.split(".")[1]: value for key, value in changes.items()}
        variants.append(Variant(name, changes, replace(base, model=replace(base.model, **values))))
    experiment = Experiment("small", (0, 1, 2), base, tuple(variants))
    folder = tmp_path_factory.mktemp("experiment")
    (folder / runlog.CONFIG).write_text(dump(experiment))
    for variant in variants:
        task = runlog.Task(variant, experiment.seeds, folder / variant.name, {})
        train.run(task, lambda: False, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def digits():
    """The data set of the experiment."""
    return data.load(DataConfig("digits"))


@pytest.fixture
def altered(trained, tmp_path):
    """A run whose model.pt is another one: `change(key, tensor)` of each, and its logs as were."""

    def make(name, change):
        run = reader.read_experiment(trained).variants[name]
        tensors = checkpoint.load_tensors(run.path / runlog.MODEL)
        for file in run.path.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        changed = {key: change(key, tensor) for key, tensor in tensors.items()}
        checkpoint.save_tensors(tmp_path / runlog.MODEL, changed)
        return reader.read_variant(tmp_path, run.variant)

    return make


def by_number(checks):
    """The checks by number; each has one here."""
    return {check.number: check for check in checks}


def test_what_a_run_wrote_and_trained_holds(trained):
    """Files, running statistics, modes, gamma: all there, and all hold."""
    found = list(verify.experiment_checks(reader.read_experiment(trained)))
    numbers = [check.number for check in found]
    assert {n: numbers.count(n) for n in (12, 13, 15, 18, 19, 20, 21)} == {
        12: 2,
        13: 1,
        15: 3,
        18: 4,
        19: 4,
        20: 3,
        21: 1,
    }
    of_files = [check for check in found if check.number <= 20]
    assert [check for check in of_files if not check.holds] == []
    json.dumps([asdict(check) for check in found])


CHANGES = {
    "a weight of another net": (18, lambda k, v: v + 0.1 if k == "layers.1.weight" else v),
    "running means left at 0": (15, lambda k, v: 0 * v if k.endswith("running_mean") else v),
    "running variances left at 1": (20, lambda k, v: 100 + v if k.endswith("running_var") else v),
    "gamma never trained": (12, lambda k, v: 0 * v + 1 if k.endswith("gamma") else v),
}


@pytest.mark.parametrize("name", CHANGES)
def test_final_parameters_that_are_wrong_are_seen(name, altered, digits):
    """Each by the check that is there for it; the first rows of the logs hold all the same."""
    number, change = CHANGES[name]
    found = by_number(verify_trained.checks(altered("batchnorm", change), digits))
    assert not found[number].holds, found[number].measured
    assert found[19].holds


def test_logs_of_other_seeds_are_seen(trained, digits):
    """Row 0 follows from the seeds that are said to be its."""
    run = reader.read_experiment(trained).variants["baseline"]
    other = reader.Run(run.variant, run.path, {**run.status, "seeds": [0, 1, 3]})
    found = by_number(verify_trained.checks(other, digits))
    assert not found[19].holds, found[19].measured
    assert found[18].holds


def test_a_gamma_that_is_not_applied_does_not_fold(trained, digits, mistake):
    """The folded network multiplies by gamma, and the trained one does not."""
    mistake(forward(gamma=False))
    run = reader.read_experiment(trained).variants["relu"]
    found = by_number(verify_trained.checks(run, digits))
    assert not found[12].holds, found[12].measured


def test_parameters_of_another_config_are_refused(altered, digits):
    """The error names the file, the parameter and the way out."""
    run = altered("relu", lambda k, v: v[:, :3] if k == "layers.1.weight" else v)
    with pytest.raises(DamagedError, match=r"model.pt: layers.1.weight is not .*; train again"):
        list(verify_trained.checks(run, digits))


def test_an_experiment_without_a_finished_run_is_refused():
    """The error says what to do."""
    with pytest.raises(StorageError, match=r"fig1: no finished run; `bnexp train` finishes it"):
        verify.experiment_checks(replace(fig1(rows=11, seeds=2), runs={}))


def test_the_papers_claims_hold_for_curves_like_the_papers():
    """Each claim once, and the distance to the figure for both nets."""
    found = list(verify_trained.claims(fig1()))
    assert [check.number for check in found] == [21, 22, 23, 24, 25, 26, 27, 27]
    assert [check for check in found if not check.holds] == []
    json.dumps([asdict(check) for check in found])


def test_claims_fail_where_the_nets_are_exchanged():
    """The plain net's curves under the name of the normalized one, and the other way round."""
    files = fig1()
    first, second = files.variants.values()
    for name in ("metrics", "probe"):
        vars(first)[name], vars(second)[name] = vars(second)[name], vars(first)[name]
    found = by_number(verify_trained.claims(files))
    assert [found[number].holds for number in (21, 22, 23, 24, 25)] == [False] * 5


def test_claims_fail_for_widths_that_shrink_and_accuracies_far_from_the_papers():
    """Logs backwards in time; 10 points less for both nets."""
    files = fig1()
    for run in files.variants.values():
        run.probe.values[...] = run.probe.values[::-1].copy()
        run.metrics.test_accuracy[...] -= 0.1
    found = by_number(verify_trained.claims(files))
    assert [found[number].holds for number in (26, 27)] == [False] * 2


def test_runs_that_do_not_differ_are_seen(trained):
    """Gamma on and off with the same losses: gamma was not there."""
    files = reader.read_experiment(trained)
    vars(files.variants["relu_fixed"])["metrics"] = files.variants["relu"].metrics
    found = by_number(verify_trained.claims(files))
    assert not found[13].holds, found[13].measured
