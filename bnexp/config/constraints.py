"""What several keys of the YAML say together: what they rule out, and what follows from them.

`schema` says what each key allows by itself. Here stands what no key forbids alone, such as a probe
that is larger than the test set of the chosen data set.
"""

from collections.abc import Iterator

from bnexp.config.schema import DATASET_SIZES, Settings

KERNEL_NORMS = ("none", "batch")  # of `model.norm`, those that the kernels engine computes

_DEFAULT_PROBE = 1_000


def recorded_layers(settings: Settings) -> tuple[int, ...]:
    """The hidden layers whose minibatch percentiles are recorded, counted from 1."""
    layers, depth = settings.record.layers, len(settings.model.hidden)
    if isinstance(layers, tuple):
        return layers
    return tuple(range(1, depth + 1)) if layers == "all" else (depth,)


def probe_examples(settings: Settings) -> int:
    """How many examples the probe holds, where `record.probe_size` may be null.

    Null stands for 1,000 examples, or for the whole test set where it is smaller.
    """
    if settings.record.probe_size is not None:
        return settings.record.probe_size
    return min(_DEFAULT_PROBE, DATASET_SIZES[settings.data.name].test)


def conflicts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Pairs of keys whose values cannot stand together, each pair with the reason."""
    data, model, train, record = settings.data, settings.model, settings.train, settings.record
    sizes, deepest = DATASET_SIZES[data.name], max(recorded_layers(settings))
    if train.batch_size > sizes.train:
        problem = f"{data.name} has {sizes.train} training examples; choose at most that many"
        yield "train.batch_size", "data.name", problem
    if record.probe_size is not None and record.probe_size > sizes.test:
        problem = f"{data.name} has {sizes.test} test examples; choose at most that many"
        yield "record.probe_size", "data.name", problem
    if model.norm == "batch" and train.batch_size < 2:
        problem = "batch norm in training needs a batch_size of at least 2: one example has "
        yield "train.batch_size", "model.norm", problem + "variance 0"
    if deepest > len(model.hidden):
        problem = f"there is no hidden layer {deepest} to record"
        yield "record.layers", "model.hidden", problem
    if train.device == "mps" and train.dtype == "float64":
        yield "train.dtype", "train.device", "mps has no float64"
    if train.engine == "kernels" and train.device not in {"auto", "cpu"}:
        problem = f"the kernels run on the CPU; {train.device} needs engine torch or auto"
        yield "train.engine", "train.device", problem
    if train.engine == "kernels" and model.norm not in KERNEL_NORMS:
        problem = f"the kernels have no norm '{model.norm}'; use engine torch or auto"
        yield "train.engine", "model.norm", problem
