"""Checks of an experiment: a run's files and trained networks, and the claims by its numbers."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bnexp.analysis import measures as analysis
from bnexp.analysis import summary
from bnexp.analysis.results import ExperimentResults, PercentileLog, VariantResults
from bnexp.config.schema import settings_of
from bnexp.data.datasets import Dataset
from bnexp.errors import DamagedError
from bnexp.files import checkpoint
from bnexp.files.run_folder import MODEL
from bnexp.networks.backend import Array, NumpyBackend
from bnexp.networks.batches import Batches
from bnexp.networks.model import Network
from bnexp.verify.check import Check, Finding, Values, bounds, check, largest, text
from bnexp.verify.folding import HOMOGENEOUS, change, without_gamma
from bnexp.verify.training import accuracy, running_statistics

MOVED = 0.5  # of sigma_end: a median that ranges further has moved; the paper's plain unit's does
WIDENED = 1.5  # highest over lowest P_85 - P_15 that counts as a change of the variance
NEAR = 0.02, 0.5  # of the accuracy, of a percentile: as near as what the paper leaves open allows

Measures = Mapping[str, Values]  # (S,) each


def checks(run: VariantResults, dataset: Dataset) -> Iterator[Check]:
    """The checks of one finished run, for its data set."""
    settings = settings_of(run.settings)
    name, model, train = run.name, settings.model, settings.train
    yield last_rows(run, dataset).about(name)
    yield first_rows(run, dataset).about(name)
    if model.norm == "batch":
        network = restored(run, dataset, train.dtype)
        yield modes(network, dataset, train.batch_size).about(name)
        yield running_statistics(network, dataset, train.batch_size).about(name)
        if model.gamma:
            yield folding(restored(run, dataset), dataset).about(name)


def initial(run: VariantResults, dataset: Dataset, dtype: str = "float64") -> Network:
    """The networks of a run's seeds before training."""
    model, features = settings_of(run.settings).model, dataset.train_x.shape[1]
    return Network(model, features, dataset.classes, run.metrics.seeds, NumpyBackend(dtype))


def restored(run: VariantResults, dataset: Dataset, dtype: str = "float64") -> Network:
    """The final networks of a run; raises DamagedError if its model.pt holds other ones."""
    network, path = initial(run, dataset, dtype), run.path / MODEL
    tensors = checkpoint.load_tensors(path)
    for key, value in network.state().items():
        if key not in tensors or tuple(tensors[key].shape) != value.shape:
            raise DamagedError(f"{path}: {key} is not the config's; train again")
        value[...] = tensors[key].numpy()
    return network


def _off(log: PercentileLog | None, row: int, network: Network, x: Array) -> float:
    """Largest distance of a row to the percentiles of x by numpy, relative above 1; 0: no log."""
    if log is None:
        return 0.0
    x, work = x[..., : log.examples, :], network.workspace(log.examples)
    network.forward(x, work, "batch")
    z = np.concatenate([work.layers[layer - 1].preactivation for layer in np.unique(log.layer)], 2)
    wanted = np.moveaxis(np.percentile(z, log.percentiles, axis=1), 0, 1)
    return largest((log.values[row] - wanted) / (1 + np.abs(wanted)))


@check(18, "the files", "percentiles and accuracy to 0.001")
def last_rows(run: VariantResults, dataset: Dataset) -> Finding:
    """The last rows of the logs are P_q of the probe, and the accuracy, of model.pt."""
    network = restored(run, dataset)
    probe = _off(run.probe, -1, network, dataset.test_x)
    found = accuracy(network, dataset.test_x, dataset.test_y)
    hits = largest(found - run.metrics.test_accuracy[-1])
    return largest([probe, hits]) <= 1e-3, f"percentiles to {probe:.0e}, accuracy to {hits:.0e}"


@check(19, "the files", "to 0.001")
def first_rows(run: VariantResults, dataset: Dataset) -> Finding:
    """The first rows of the logs are P_q of the networks of the seeds, before training."""
    network, m = initial(run, dataset), run.settings["train.batch_size"]
    x, _ = Batches(dataset, m, network.seeds, network.backend)(0)
    probe = _off(run.probe, 0, network, dataset.test_x)
    off = largest([_off(run.minibatch, 0, network, x), probe])
    return off <= 1e-3, f"to {off:.0e}"


@check(20, "section 3.1", "accuracy at most 1 point lower")
def modes(network: Network, dataset: Dataset, m: int) -> Finding:
    """By running statistics training examples are classified as well as by a minibatch's."""
    examples = dataset.train_x[:6000], dataset.train_y[:6000]
    training, evaluation = (accuracy(network, *examples, size).mean() for size in (m, None))
    found = f"{training:.4f} in training mode, {evaluation:.4f} in evaluation"
    return evaluation >= training - 0.01, found


@check(12, "the definition of BN", "logits equal to 1e-10 of the largest; else 0.001 apart")
def folding(network: Network, dataset: Dataset) -> Finding:
    """Gamma folds into the weights if act(c x) = c act(x) for c > 0, and only then."""
    activation = network.config.activation
    off = change(network, without_gamma(network), dataset.test_x[:1000])
    gammas = [value for key, value in network.parameters.items() if key.endswith("gamma")]
    below = (np.concatenate(gammas, 1) < 0).mean()
    return (
        off <= 1e-10 if activation in HOMOGENEOUS else off > 1e-3,
        f"{activation}: {off:.0e} apart; {below:.1%} of gammas are below 0",
    )


def claims(files: ExperimentResults) -> Iterator[Check]:
    """The paper's claims for each normalized run and its plain counterpart; gamma on and off."""
    content = summary.summarize(files)
    for pair in content["comparisons"]:
        first, second = pair["norm"], pair["plain"]
        norm, plain = (_per_seed(content["variants"][n]["measures"]) for n in (first, second))
        found = [faster(norm, plain), higher(norm, plain)]
        if (probe := files.variants[first].probe) is not None:
            found += [sooner(_per_seed(pair["sooner"])), changes(plain)]
            found += [flat(norm, plain), wider(probe)]
        yield from (each.about(f"{first}, {second}") for each in found)
    for name, distance in content["paper"].items():
        if None not in (distance["accuracy"], distance["end_percentiles"]):
            yield near_paper(distance).about(name)
    for with_gamma, bare in itertools.permutations(files.variants.values(), 2):
        settings = with_gamma.settings, bare.settings
        if summary.varied(settings) == ["model.gamma"] and settings[0]["model.gamma"]:
            yield gamma(with_gamma, bare).about(f"{with_gamma.name}, {bare.name}")


def _per_seed(measures: Mapping[str, Mapping[str, Any]]) -> Measures:
    """The measures of a summary as arrays; NaN for what there is not."""
    return {name: np.array(found["per_seed"], float) for name, found in measures.items()}


@check(21, "section 4.1, Figure 1a", "fewer steps to 90, 95, 97 % accuracy, if one gets there")
def faster(norm: Measures, plain: Measures) -> Finding:
    """BN trains faster, in steps to a test accuracy; one not reached counts as slower."""
    verdicts, texts = [], []
    for level in analysis.ACCURACIES:
        ours, theirs = (steps[f"steps_to_{100 * level:g}"] for steps in (norm, plain))
        if np.isfinite(ours.mean()) or np.isfinite(theirs.mean()):
            verdicts.append(np.isnan(theirs.mean()) or bounds(ours - theirs)[1] < 0)
            texts.append(f"{level:.0%}: {text(ours, ',.0f')}, without {text(theirs, ',.0f')}")
    return bool(verdicts) and all(verdicts), "; ".join(texts) or "neither gets to 90 %"


@check(22, "section 4.1, Figure 1a", "difference above 0")
def higher(norm: Measures, plain: Measures) -> Finding:
    """BN ends higher, in test accuracy."""
    gap = norm["test_accuracy"] - plain["test_accuracy"]
    return bounds(gap)[0] > 0, f"by {text(gap, '+.4f')}"


@check(23, "section 4.1: `much more stable'", "P above 0.5 at each tolerance")
def sooner(found: Measures) -> Finding:
    """Units settle sooner with BN: P(one with before one without), over a seed's pairs."""
    texts = (f"{key.removeprefix('settle_')}: {text(p, '.3f')}" for key, p in found.items())
    return all(bounds(p)[0] > 0.5 for p in found.values()), "; ".join(texts)


@check(24, "section 4.1", f"median over more than {MOVED} sigma, width by a factor above {WIDENED}")
def changes(plain: Measures) -> Finding:
    """Without BN mean and variance change: ranges of P_50 and of log(P_85 - P_15)."""
    median, width = plain["median_range"], plain["width_range"]
    return bounds(median)[0] > MOVED and bounds(width)[0] > np.log(WIDENED), (
        f"median over {text(median, '.2f')} sigma, log width over {text(width, '.2f')}"
    )


@check(25, "Figure 1c", f"over less than {MOVED} sigma, and less than without BN")
def flat(norm: Measures, plain: Measures) -> Finding:
    """With BN medians stay flat: range of P_50, alone and against that without BN."""
    median, gap = norm["median_range"], norm["median_range"] - plain["median_range"]
    return bounds(median)[1] < MOVED and bounds(gap)[1] < 0, (
        f"over {text(median, '.2f')} sigma; difference {text(gap, '+.2f')}"
    )


@check(26, "Figure 1c: from 2.5 to 3.9", "last width less first above 0")
def wider(probe: PercentileLog) -> Finding:
    """With BN widths P_85 - P_15 still grow: last less first, of the median unit."""
    ends = probe.values[[0, -1]][..., analysis.columns(probe.layer, probe.layer[-1])]
    first, last = np.median(analysis.width(ends, probe.percentiles), axis=2)
    growth = f"{first.mean():.2f} to {last.mean():.2f}: {text(last - first, '+.2f')}"
    return bounds(last - first)[0] > 0, growth


@check(27, "Figure 1", f"accuracy within {NEAR[0]}, percentiles within {NEAR[1]}")
def near_paper(distance: Mapping[str, Any]) -> Finding:
    """Curves are near the paper's: mean accuracy from step 7,000, typical unit's last P_q."""
    accuracy, ends = distance["accuracy"], distance["end_percentiles"]
    return accuracy <= NEAR[0] and max(ends) <= NEAR[1], (
        f"accuracy to {accuracy:.4f}, percentiles to {', '.join(f'{end:.2f}' for end in ends)}"
    )


@check(13, "Keras, BatchNormalization(scale=False), calls it redundant", "last losses apart")
def gamma(with_gamma: VariantResults, without: VariantResults) -> Finding:
    """Nets with and without gamma train differently, even where gamma folds."""
    a, b = with_gamma.metrics, without.metrics
    loss, accuracy = a.train_loss[-1] - b.train_loss[-1], a.test_accuracy[-1] - b.test_accuracy[-1]
    return bool(np.abs(loss).min() > 1e-6), (
        f"training loss {text(loss, '+.4f')}, test accuracy {text(accuracy, '+.4f')}"
    )
