"""Checks of a finished run: its files against its seeds and its final parameters, and those."""

from collections.abc import Iterator

import numpy as np

from bnexp import checkpoint, data, population
from bnexp.backend import NumpyBackend
from bnexp.checking import HOMOGENEOUS, Check, gammas, largest, logits, without_gamma
from bnexp.errors import DamagedError
from bnexp.model import LayerWork, Network
from bnexp.runlog import MODEL, PercentileLog, Run
from bnexp.train import Batches


def checks(run: Run, dataset: data.Dataset) -> Iterator[Check]:
    """The checks of one finished run, for its data set."""
    yield last_rows(run, dataset)
    yield first_rows(run, dataset)
    model, train = run.variant.settings.model, run.variant.settings.train
    if model.norm == "none":
        return
    network = restored(run, dataset, train.dtype)
    batches = Batches(dataset, train.batch_size, network.seeds, network.backend)
    estimated = population.reestimate(network, batches)
    yield running_statistics(run, dataset, network, estimated)
    yield modes(run, dataset, network)
    if model.gamma:
        yield folding(run, dataset)


def restored(run: Run, dataset: data.Dataset, dtype: str) -> Network:
    """The final networks of a run, from its model.pt.

    Raises:
        DamagedError: the file is damaged, or holds other networks.
    """
    network = initial(run, dataset, dtype)
    tensors = checkpoint.load_tensors(run.path / MODEL)
    for key, value in network.state().items():
        if key not in tensors or tuple(tensors[key].shape) != value.shape:
            raise DamagedError(f"{run.path / MODEL}: {key} is not the config's; train again")
        value[...] = tensors[key].numpy()
    return network


def initial(run: Run, dataset: data.Dataset, dtype: str) -> Network:
    """The networks of a run's seeds before training."""
    features, seeds = dataset.train_x.shape[1], run.metrics.seeds
    model = run.variant.settings.model
    return Network(model, features, dataset.classes, seeds, NumpyBackend(dtype))


def _percentiles_off(log: PercentileLog, row: int, work: list[LayerWork]) -> float:
    """Largest distance of a log's row to percentiles of `work`, by numpy; relative above 1."""
    layers = dict.fromkeys(int(layer) for layer in log.layer)
    z = np.concatenate([work[layer - 1].preactivation for layer in layers], 2)
    wanted = np.moveaxis(np.percentile(z, log.percentiles, axis=1), 0, 1)
    return largest((log.values[row] - wanted) / (1 + np.abs(wanted)))


def last_rows(run: Run, dataset: data.Dataset) -> Check:
    """Percentiles of the probe and accuracy, computed again from the final parameters.

    In float64, by `numpy.percentile`; what is left is the rounding of the run's own dtype.
    """
    record, network = run.variant.settings.record, restored(run, dataset, "float64")
    said, holds = [], True
    if run.probe is not None:
        work = network.workspace(record.probe_size)
        network.forward(dataset.test_x[: record.probe_size].numpy(), work, "batch")
        off = _percentiles_off(run.probe, -1, work)
        said, holds = [f"percentiles to {off:.0e}"], off <= 1e-3
    found = population.accuracy(network, dataset.test_x.numpy(), dataset.test_y.numpy())
    off = largest(found - run.metrics.test_accuracy[-1])
    return Check(
        18,
        f"{run.variant.name}: the last rows of the logs are those of {MODEL}",
        "the files",
        "percentiles and accuracy to 0.001",
        ", ".join([*said, f"accuracy to {off:.0e}"]),
        holds and off <= 1e-3,
    )


def first_rows(run: Run, dataset: data.Dataset) -> Check:
    """Row 0 is the network of the seeds, on the first minibatch of each seed and on the probe."""
    settings, network = run.variant.settings, initial(run, dataset, "float64")
    size, probe_size = settings.train.batch_size, settings.record.probe_size
    work = network.workspace(size)
    x, _ = Batches(dataset, size, network.seeds, NumpyBackend("float32"))(0)
    network.forward(x, work, "batch")
    offs = [_percentiles_off(run.batch, 0, work)]
    if run.probe is not None:
        work = network.workspace(probe_size)
        network.forward(dataset.test_x[:probe_size].numpy(), work, "batch")
        offs.append(_percentiles_off(run.probe, 0, work))
    return Check(
        19,
        f"{run.variant.name}: the first rows of the percentiles follow from the seeds",
        "the files",
        "to 0.001",
        f"to {largest(offs):.0e}",
        largest(offs) <= 1e-3,
    )


def running_statistics(
    run: Run, dataset: data.Dataset, network: Network, estimated: Network
) -> Check:
    """Algorithm 2 with frozen weights over the training set, and what each statistics give."""
    m = run.variant.settings.train.batch_size
    found = population.gaps(network, estimated, m)
    x, labels = dataset.test_x.numpy(), dataset.test_y.numpy()
    by_batch, moving, again = (
        float(population.accuracy(net, x, labels, examples).mean())
        for net, examples in ((network, m), (network, None), (estimated, None))
    )
    return Check(
        15,
        f"{run.variant.name}: the running statistics are near those re-estimated over the "
        "training set with frozen weights",
        "Algorithm 2, steps 7 to 12",
        "gaps within 3 times the sampling noise; test accuracy within 1 point",
        f"{found}; accuracy {by_batch:.4f} by batch, {moving:.4f} moving, {again:.4f} re-estimated",
        found.multiple <= 3 and abs(moving - again) <= 0.01,
    )


def modes(run: Run, dataset: data.Dataset, network: Network) -> Check:
    """The same network and examples, with a minibatch's statistics and with the running ones."""
    m = run.variant.settings.train.batch_size
    x, labels = dataset.train_x[:6000].numpy(), dataset.train_y[:6000].numpy()
    training, evaluation = (
        float(population.accuracy(network, x, labels, examples).mean()) for examples in (m, None)
    )
    return Check(
        20,
        f"{run.variant.name}: evaluation mode classifies as well as training mode, or better",
        "section 3.1",
        "accuracy on training examples at most 1 point lower",
        f"{training:.4f} in training mode, {evaluation:.4f} in evaluation",
        evaluation >= training - 0.01,
    )


def folding(run: Run, dataset: data.Dataset) -> Check:
    """The function of the trained net without its gammas: see `checking.without_gamma`."""
    network = restored(run, dataset, "float64")
    x, activation = dataset.test_x[:1000].numpy(), run.variant.settings.model.activation
    trained = np.concatenate(gammas(network), 1)
    before = logits(network, x, "running")
    scale = largest(before)
    moved, kept = (
        largest(before - logits(without_gamma(network, move_sign=move), x, "running")) / scale
        for move in (True, False)
    )
    folds = activation in HOMOGENEOUS
    return Check(
        12,
        f"{run.variant.name}: gamma {'folds' if folds else 'does not fold'} into the weights",
        f"{activation}(c x) is {'' if folds else 'not '}c {activation}(x)",
        f"logits {'equal to 1e-10' if folds else 'apart by more than 0.001'} of the largest",
        f"{moved:.0e}, and {kept:.0e} with the signs left; {(trained < 0).mean():.1%} of gammas "
        "are below 0",
        moved <= 1e-10 if folds else moved > 1e-3,
    )
