"""The keys of an experiment's YAML: the reference of what each means, allows and defaults to.

Each type holds the allowed values, each default is that of the YAML, and the text below a key says
what it means. The reader goes by them alone.
"""

import dataclasses
import functools
import itertools
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

Value = Any  # of a key: bool, int, float, str, None, or a tuple of numbers
Rule = Callable[[Any], str | None]  # beside a type in `Annotated`: the problem of a value, or None

_OWN_FILES = ("config.yaml", "summary.json", "report.html", "figures")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def within(low: float, high: float = math.inf) -> Rule:
    """The rule `low <= value <= high`."""
    text = f"must be at least {low}" if high == math.inf else f"must be {low} to {high}"
    return lambda value: None if low <= value <= high else text


def above(low: float) -> Rule:
    """The rule `low < value`."""
    return lambda value: None if value > low else f"must be above {low}"


def sized(most: int) -> Rule:
    """The rule that a list holds 1 to `most` values."""
    return lambda items: None if 1 <= len(items) <= most else f"must hold 1 to {most} values"


def ascending(items: tuple[float, ...]) -> str | None:
    """The rule that a list ascends, and so holds nothing twice."""
    rises = all(left < right for left, right in itertools.pairwise(items))
    return None if rises else "must be in ascending order, each value once"


def unique(items: tuple[Any, ...]) -> str | None:
    """The rule that a list holds nothing twice."""
    return None if len(set(items)) == len(items) else "must hold each value once"


def printable(text: str) -> str | None:
    """The rule that a text is not empty and holds no control characters."""
    return None if text.isprintable() and text else "must be printable text"


def folder(name: str) -> str | None:
    """The rule of names that become folders, on any system, beside the experiment's own files."""
    if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.,=+-]{0,98}[A-Za-z0-9_])?", name):
        return "must be 1 to 100 letters, digits or _, and inside it also . , = + -"
    if name.lower() in _OWN_FILES:
        return "must not be the name of one of the experiment's own files"
    return "must not be a device of Windows" if _DEVICES.fullmatch(name) else None


def default_root() -> str:
    """The folder of the data where the YAML names none: BNEXP_DATA, else `data`."""
    return os.environ.get("BNEXP_DATA") or "data"


Count = Annotated[int, within(1, 10**9)]
Positive = Annotated[float, above(0)]
NotNegative = Annotated[float, within(0)]
Fraction = Annotated[float, within(0, 1)]
Name = Annotated[str, folder]
Seeds = Annotated[tuple[Annotated[int, within(0, 2**32 - 1)], ...], sized(1000), unique]


@dataclass(frozen=True)
class DataConfig:
    """`data`: what the networks see."""

    name: Literal["mnist", "fashion_mnist", "kmnist", "digits"] = "mnist"
    """The first three are torchvision's; digits comes with scikit-learn and needs no download."""
    root: Annotated[str, printable] = field(default_factory=default_root)
    """The folder where the IDX files are, or go. Default: BNEXP_DATA, if set, else `data`."""
    binarize: bool = True
    """Pixels are 1 from half the scale on (mnist: > 127), else 0; false: a share of the scale."""


@dataclass(frozen=True)
class ModelConfig:
    """`model`: a multilayer perceptron, and what stands before each nonlinearity."""

    hidden: Annotated[tuple[Annotated[int, within(1, 100_000)], ...], sized(100)] = (100, 100, 100)
    """Units of each hidden layer, from the input on."""
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "identity"] = "sigmoid"
    """The nonlinearity of the hidden layers; leaky_relu has slope 0.01 below 0."""
    weight_std: Positive | None = 0.05
    """Standard deviation of the Gaussian the weights start from; null: 1 / sqrt(fan_in)."""
    bias: bool = True
    """Whether hidden layers have a bias, before the norm; the output layer always has one."""
    bias_std: NotNegative = 0.0
    """Standard deviation of the Gaussian those biases start from; 0: they start at 0."""
    norm: Literal["none", "batch"] = "none"
    """Batch normalization of each hidden layer, right before the nonlinearity, or nothing."""
    gamma: bool = True
    """Whether the norm learns a scale, from 1 on; false: fixed at 1. Without norm: unused."""
    beta: bool = True
    """Whether the norm learns a shift, from 0 on; false: fixed at 0. Without norm: unused."""
    norm_eps: Positive = 1e-5
    """What the norm adds to the variance."""
    norm_momentum: Annotated[float, above(0), within(0, 1)] = 0.1
    """Of the running statistics, torch's way: new = (1 - momentum) * old + momentum * batch."""


@dataclass(frozen=True)
class TrainConfig:
    """`train`: how the parameters are learned, on the mean cross-entropy of a minibatch."""

    steps: Count = 50_000
    """Updates of the parameters."""
    batch_size: Count = 60
    """Examples of a minibatch; at least 2 with batch norm."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Adam has betas 0.9 and 0.999, and eps 1e-8."""
    lr: Positive = 0.1
    """Learning rate."""
    momentum: Fraction = 0.0
    """Of sgd, torch's way: velocity = momentum * velocity + gradient. With adam: unused."""
    weight_decay: NotNegative = 0.0
    """L2 penalty: this times each parameter is added to its gradient."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of parameters and activations."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the run computes; auto: the fastest there is."""
    threads: Annotated[int, within(1, 1024)] = 1
    """Threads of one run; variants run side by side in processes."""
    checkpoint_every: Count = 5000
    """Steps between two checkpoints."""


@dataclass(frozen=True)
class RecordConfig:
    """`record`: what of the pre-activations, inputs of the nonlinearity, is written down."""

    percentiles: Annotated[tuple[Annotated[float, within(0, 100)], ...], sized(101), ascending] = (
        15.0,
        50.0,
        85.0,
    )
    """Which percentiles of each unit, 0 to 100, ascending."""
    every: Count = 1
    """Steps between two rows of batch percentiles, over the minibatch of the step."""
    layers: Literal["all", "last"] | Annotated[tuple[Count, ...], sized(100), ascending] = "last"
    """Hidden layers of the batch percentiles, counted from 1; or all; or the last."""
    probe_size: Annotated[int, within(2, 10**9)] = 1000
    """Examples of the probe: the first so many of the test set, always the same."""
    probe_every: Count | None = 50
    """Steps between two rows of probe percentiles, of all hidden layers; null: no probe."""
    evaluate_every: Count = 500
    """Steps between two rows of metrics: training loss, and test accuracy in evaluation mode."""
    ics_every: Count | None = None
    """Steps between two measurements of the gradients' internal covariate shift; null: none."""


@dataclass(frozen=True)
class Settings:
    """All that one run needs, but its seeds."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    record: RecordConfig = field(default_factory=RecordConfig)


@dataclass(frozen=True)
class Variant:
    """One setting under a name."""

    name: str
    """The name of its folder."""
    changes: Mapping[str, Value]
    """What it sets itself, over the experiment's base: dotted key to value."""
    settings: Settings
    """The base with these changes."""


@dataclass(frozen=True)
class Experiment:
    """What one YAML describes."""

    name: str
    """The name of its folder; required."""
    seeds: tuple[int, ...]
    """Seeds of all variants, 0 to 2**32 - 1, each once. Default: 0 to 4."""
    base: Settings
    """The sections at the top of the YAML, which the variants share and change."""
    variants: tuple[Variant, ...]
    """From `variants` (name: {section: {key: value}}) or from `grid` (section.key: [values])."""


SECTIONS: dict[str, Any] = {part.name: part.type for part in dataclasses.fields(Settings)}


@functools.cache
def hints() -> dict[str, Any]:
    """The type of each dotted key of the sections, in order: `{"data.name": Literal[...], ...}`."""
    return {
        f"{section}.{key}": hint
        for section, cls in SECTIONS.items()
        for key, hint in get_type_hints(cls, include_extras=True).items()
    }


def flatten(settings: Settings) -> dict[str, Value]:
    """The settings by dotted key, in order: `{"data.name": "mnist", ...}`."""
    return {key: functools.reduce(getattr, key.split("."), settings) for key in hints()}


def nest(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Values of dotted keys by section and key, in order."""
    nested: dict[str, dict[str, Value]] = {}
    for dotted in hints():
        if dotted in values:
            section, key = dotted.split(".")
            nested.setdefault(section, {})[key] = values[dotted]
    return nested


def differences(a: Settings, b: Settings) -> dict[str, tuple[Value, Value]]:
    """The keys whose values differ, each with the value of `a` and of `b`."""
    other = flatten(b)
    return {key: (value, other[key]) for key, value in flatten(a).items() if value != other[key]}


def recorded_layers(settings: Settings) -> tuple[int, ...]:
    """The hidden layers of the batch percentiles, counted from 1."""
    layers, depth = settings.record.layers, len(settings.model.hidden)
    if isinstance(layers, tuple):
        return layers
    return tuple(range(1, depth + 1)) if layers == "all" else (depth,)
