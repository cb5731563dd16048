"""The keys of an experiment's YAML: what each one means, which values it takes, and its default.

The dataclasses `DataConfig`, `ModelConfig`, `TrainConfig` and `RecordConfig` are the reference, one
for each section of the YAML. The type of a field says which values are allowed, its default is the
default of the YAML, and the comment at the field says what the key means.

A *dotted key* names a key with its section, such as `model.norm`. Flat settings are a mapping from
dotted keys to values.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

from bnexp.config.rules import (
    ABOVE_0,
    NOT_EMPTY,
    PRINTABLE,
    RISING,
    UNIQUE,
    Count,
    NotNegative,
    Percentile,
    Positive,
    Units,
    of_length,
    within,
)

Value = Any  # of a key: bool, int, float, str, None, or a tuple of numbers
INVALID: Value = object()  # stands for the value of a key that could not be read

DatasetName = Literal["mnist", "fashion_mnist", "kmnist", "digits"]


class Sizes(NamedTuple):
    """How many examples a data set has."""

    train: int
    test: int


# The sizes are known before any file is read, so that a mistake is found at once.
DATASET_SIZES: dict[str, Sizes] = {
    "mnist": Sizes(60_000, 10_000),
    "fashion_mnist": Sizes(60_000, 10_000),
    "kmnist": Sizes(60_000, 10_000),
    "digits": Sizes(1_437, 360),
}

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "identity"]

DEFAULT_SEEDS = (0, 1, 2, 3, 4)


def default_root() -> str:
    """The folder of the data where the YAML names none: `$BNEXP_DATA`, else `data`."""
    return os.environ.get("BNEXP_DATA") or "data"


@dataclass(frozen=True)
class DataConfig:
    """`data`: what the networks see."""

    # The data set. The first three are torchvision's and are downloaded where they are missing;
    # digits comes with scikit-learn and needs no download.
    name: DatasetName = "mnist"
    # The folder that holds the files of the first three, or will hold them.
    # The default is the environment variable BNEXP_DATA, and `data` where it is not set.
    root: Annotated[str, PRINTABLE] = field(default_factory=default_root)
    # true: a pixel is 1 from half of the scale on (mnist: above 127), else 0.
    # false: a pixel is its share of the scale, from 0 to 1.
    binarize: bool = True


@dataclass(frozen=True)
class ModelConfig:
    """`model`: a multilayer perceptron, and what stands before each of its nonlinearities."""

    # How many units each hidden layer has, from the input on.
    hidden: Annotated[tuple[Units, ...], of_length(100)] = (100, 100, 100)
    # The nonlinearity of the hidden layers. leaky_relu has slope 0.01 below 0.
    activation: Activation = "sigmoid"
    # The standard deviation of the Gaussian that the weights are drawn from.
    # null: 1 / sqrt(fan_in), where fan_in is how many inputs the layer has.
    weight_std: Positive | None = 0.05
    # Whether hidden layers have a bias, before the norm. The output layer always has one.
    bias: bool = True
    # The standard deviation of the Gaussian that these biases are drawn from; 0: they start at 0.
    bias_std: NotNegative = 0.0
    # The normalization of each hidden layer, right before the nonlinearity. batch: batch norm, of
    # each unit over the minibatch. layer: layer norm, of each example over the layer's units. rms:
    # RMS norm, which divides by the root mean square over the units. torch trains the last two.
    norm: Literal["none", "batch", "layer", "rms"] = "none"
    # Whether the norm learns a scale for each unit, from 1 on; false: it stays 1.
    gamma: bool = True
    # Whether the norm learns a shift for each unit, from 0 on; false: it stays 0. rms has none.
    beta: bool = True
    # What the norm adds to the variance, or to the mean square, before it takes the square root.
    norm_eps: Positive = 1e-5
    # How fast the running statistics follow, in torch's convention:
    # running = (1 - norm_momentum) * running + norm_momentum * (the minibatch's).
    norm_momentum: Annotated[float, ABOVE_0, within(0, 1)] = 0.1


@dataclass(frozen=True)
class TrainConfig:
    """`train`: how the parameters are learned, from the mean cross-entropy of each minibatch."""

    # How many updates of the parameters are made.
    steps: Count = 50_000
    # How many examples a minibatch holds; at most the training set, and with batch norm at least 2.
    batch_size: Count = 60
    # sgd: gradient descent. adam: Adam, with betas 0.9 and 0.999 and eps 1e-8.
    optimizer: Literal["sgd", "adam"] = "sgd"
    # The learning rate.
    lr: Positive = 0.1
    # The momentum of sgd, in torch's convention: velocity = momentum * velocity + gradient, and
    # parameter -= lr * velocity. adam does not use it.
    momentum: Annotated[float, within(0, 1)] = 0.0
    # L2 regularization: each gradient has weight_decay times its parameter added to it.
    weight_decay: NotNegative = 0.0
    # The floating-point type of parameters and activations.
    dtype: Literal["float32", "float64"] = "float32"
    # Where a run is computed. auto: on CUDA where there is a GPU for it, else on the CPU.
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    # What computes a run. kernels: compiled loops, on the CPU. torch: autograd, on CPU or GPU.
    # auto: kernels on the CPU, torch on a GPU.
    engine: Literal["auto", "kernels", "torch"] = "auto"
    # How many threads one run uses. Several runs use several processes.
    threads: Annotated[int, within(1, 1024)] = 1
    # How many steps lie between two checkpoints.
    checkpoint_every: Count = 5000


@dataclass(frozen=True)
class RecordConfig:
    """`record`: what is written down of the pre-activations, the inputs of the nonlinearity."""

    # Which percentiles of each unit's pre-activation.
    percentiles: Annotated[tuple[Percentile, ...], of_length(101), RISING] = (15.0, 50.0, 85.0)
    # How many steps lie between two rows of minibatch percentiles.
    every: Count = 1
    # The hidden layers of the minibatch percentiles: all, the last, or a list, counted from 1.
    layers: Literal["all", "last"] | Annotated[tuple[Count, ...], of_length(100), RISING] = "last"
    # How many examples the probe holds: the first of the test set, in every run the same.
    # null: 1,000, or the whole test set where it is smaller.
    probe_size: Annotated[int, within(2, 10**9)] | None = None
    # How many steps lie between two rows of probe percentiles, of all hidden layers.
    # null: nothing is recorded of the probe.
    probe_every: Count | None = 50
    # How many steps lie between two rows of metrics: training loss; test loss and test accuracy,
    # both in evaluation mode.
    evaluate_every: Count = 500
    # How many steps lie between two measurements of the gradients' internal covariate shift, as
    # Santurkar et al. (2018) define it. null: it is not measured.
    ics_every: Count | None = None
    # How many steps lie between two comparisons of batch norm's running statistics with those of
    # the training set, estimated over 100 minibatches with frozen weights (Ioffe & Szegedy,
    # Algorithm 2), and of the test accuracy with either. null: they are not compared.
    statistics_every: Count | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that determines a run, except for its seed."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    record: RecordConfig = field(default_factory=RecordConfig)


@dataclass(frozen=True)
class Variant:
    """One choice of settings under a name.

    Attributes:
        name: also the name of its folder.
        changes: what the variant sets itself, in place of the shared settings, by dotted key.
        settings: the shared settings with these changes.
    """

    name: str
    changes: Mapping[str, Value]
    settings: Settings


@dataclass(frozen=True)
class Experiment:
    """What one YAML describes.

    Attributes:
        name: also the name of its folder. The YAML must give it.
        seeds: of every variant, each from 0 to 2**32 - 1. In the YAML a list, or a number n for 0
            to n - 1; the default is 0 to 4.
        base: the settings that all variants share.
        variants: from `variants`, which maps a name to sections of changes, or from `grid`, which
            maps a dotted key to a list of values and makes a variant of each combination.
    """

    name: str
    seeds: tuple[int, ...]
    base: Settings
    variants: tuple[Variant, ...]


def flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is given by section and key, by dotted key."""
    return {f"{name}.{key}": x for name, keys in sections.items() for key, x in keys.items()}


_CLASSES: dict[str, Any] = get_type_hints(Settings)
SECTIONS = {name: get_type_hints(cls, include_extras=True) for name, cls in _CLASSES.items()}
HINTS = flat(SECTIONS)  # the type of each dotted key, in order
SHARED = "record"  # the section that no variant changes, so that all can be compared
AXES = {  # the type of each dotted key of a grid
    key: Annotated[tuple[hint, ...], NOT_EMPTY, UNIQUE]  # type: ignore[valid-type]
    for key, hint in HINTS.items()
    if not key.startswith(SHARED)
}


def nest(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Flat settings by section and key, in the order of the dataclasses."""
    nested: dict[str, dict[str, Value]] = {}
    for section, key in (dotted.split(".") for dotted in HINTS if dotted in values):
        nested.setdefault(section, {})[key] = values[f"{section}.{key}"]
    return nested


def flatten(settings: Settings) -> dict[str, Value]:
    """The settings by dotted key, in order: `{"data.name": "mnist", ...}`."""
    return flat({section: vars(keys) for section, keys in vars(settings).items()})


def settings_of(values: Mapping[str, Value]) -> Settings:
    """The settings of some dotted keys; keys that are missing or `INVALID` have their default."""
    sections = nest({key: value for key, value in values.items() if value is not INVALID})
    return Settings(**{name: cls(**sections.get(name, {})) for name, cls in _CLASSES.items()})


def differences(a: Settings, b: Settings) -> dict[str, tuple[Value, Value]]:
    """The dotted keys whose values differ, each with the value of `a` and of `b`."""
    other = flatten(b)
    return {key: (value, other[key]) for key, value in flatten(a).items() if value != other[key]}
