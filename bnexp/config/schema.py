"""The keys of an experiment's YAML: the reference of what each means, allows and defaults to.

Types hold the allowed values, defaults are the YAML's, and a comment at a key says what it means.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

Value = Any  # of a key: bool, int, float, str, None, or a tuple of numbers
Values = Mapping[str, Value]  # by dotted key
INVALID: Value = object()  # what could not be read as the value of a key
# Beside a type in `Annotated`: what must hold of a value, and what to say if it does not.
Rule = tuple[Callable[[Any], object], str]


def within(low: float, high: float) -> Rule:
    """The rule `low <= value <= high`."""
    return lambda value: low <= value <= high, f"must be {low} to {high}"


def sized(most: int) -> Rule:
    """The rule that a list holds 1 to `most` values."""
    return lambda items: 1 <= len(items) <= most, f"must hold 1 to {most} values"


ABOVE_0: Rule = (lambda value: value > 0, "must be above 0")
PRINTABLE: Rule = (lambda text: text and text.isprintable(), "must be printable text")
UNIQUE: Rule = (lambda items: len({*items}) == len(items), "must hold each value once")
LISTED: Rule = (len, "must be a list of at least one value")
RISING: Rule = (lambda x: [*x] == sorted({*x}), "must be in ascending order, each value once")
# A name becomes a folder, on any system, beside the experiment's own files.
_LETTERS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.,=+-]{0,98}[A-Za-z0-9_])?")
_OWN = re.compile(r"(?!(config\.yaml|summary\.json|report\.html|figures)$)", re.IGNORECASE)
_DEVICE = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$))", re.IGNORECASE)
NAME_RULES: tuple[Rule, ...] = (
    (_LETTERS.fullmatch, "must be 1 to 100 letters, digits or _, and inside it also . , = + -"),
    (_OWN.match, "must not be the name of one of the experiment's own files"),
    (_DEVICE.match, "must not be a device of Windows"),
)

Name = Annotated[str, *NAME_RULES]
Seeds = Annotated[tuple[Annotated[int, within(0, 2**32 - 1)], ...], sized(1000), UNIQUE]
Count = Annotated[int, within(1, 10**9)]
Percentile = Annotated[float, within(0, 100)]
Positive = Annotated[float, ABOVE_0]
NotNegative = Annotated[float, (lambda value: value >= 0, "must be at least 0")]


def broken(rules: Iterable[Rule], value: Value) -> str | None:
    """The problem of the first rule that a value breaks."""
    return next((problem for holds, problem in rules if not holds(value)), None)


def default_root() -> str:
    """The folder of the data where the YAML names none: BNEXP_DATA, else `data`."""
    return os.environ.get("BNEXP_DATA") or "data"


@dataclass(frozen=True)
class DataConfig:
    """`data`: what the networks see."""

    # The first three are torchvision's; digits comes with scikit-learn and needs no download.
    name: Literal["mnist", "fashion_mnist", "kmnist", "digits"] = "mnist"
    # The folder where the IDX files are, or go. Default: BNEXP_DATA, if set, else `data`.
    root: Annotated[str, PRINTABLE] = field(default_factory=default_root)
    # Pixels are 1 from half the scale on (mnist: > 127), else 0; false: a share of the scale.
    binarize: bool = True


@dataclass(frozen=True)
class ModelConfig:
    """`model`: a multilayer perceptron, and what stands before each nonlinearity."""

    # Units of each hidden layer, from the input on.
    hidden: Annotated[tuple[Annotated[int, within(1, 100_000)], ...], sized(100)] = (100, 100, 100)
    # The nonlinearity of the hidden layers; leaky_relu has slope 0.01 below 0.
    activation: Literal["sigmoid", "tanh", "relu", "leaky_relu", "identity"] = "sigmoid"
    weight_std: Positive | None = 0.05  # of the Gaussian they start from; null: 1 / sqrt(fan_in)
    bias: bool = True  # in hidden layers, before the norm; the output layer always has one
    bias_std: NotNegative = 0.0  # of the Gaussian those biases start from; 0: they start at 0
    norm: Literal["none", "batch"] = "none"  # of each hidden layer, right before the nonlinearity
    gamma: bool = True  # the norm learns a scale, from 1 on; false: fixed at 1
    beta: bool = True  # the norm learns a shift, from 0 on; false: fixed at 0
    norm_eps: Positive = 1e-5  # added to the variance
    # Of the running statistics, torch's way: new = (1 - momentum) * old + momentum * batch.
    norm_momentum: Annotated[float, ABOVE_0, within(0, 1)] = 0.1


@dataclass(frozen=True)
class TrainConfig:
    """`train`: how the parameters are learned, on the mean cross-entropy of a minibatch."""

    steps: Count = 50_000  # updates of the parameters
    batch_size: Count = 60  # examples of a minibatch; at least 2 with batch norm
    optimizer: Literal["sgd", "adam"] = "sgd"  # adam: betas 0.9 and 0.999, eps 1e-8
    lr: Positive = 0.1  # learning rate
    # Of sgd, torch's way: velocity = momentum * velocity + gradient. With adam: unused.
    momentum: Annotated[float, within(0, 1)] = 0.0
    weight_decay: NotNegative = 0.0  # L2: this times each parameter is added to its gradient
    dtype: Literal["float32", "float64"] = "float32"  # of parameters and activations
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: the fastest there is
    threads: Annotated[int, within(1, 1024)] = 1  # of one run; variants run in processes
    checkpoint_every: Count = 5000  # steps


@dataclass(frozen=True)
class RecordConfig:
    """`record`: what of the pre-activations, inputs of the nonlinearity, is written down."""

    # Which percentiles of each unit.
    percentiles: Annotated[tuple[Percentile, ...], sized(101), RISING] = (15.0, 50.0, 85.0)
    every: Count = 1  # steps between two rows of batch percentiles, over the step's minibatch
    # Hidden layers of the batch percentiles, counted from 1; or all; or the last.
    layers: Literal["all", "last"] | Annotated[tuple[Count, ...], sized(100), RISING] = "last"
    # Examples of the probe: the first so many of the test set, always the same.
    probe_size: Annotated[int, within(2, 10**9)] = 1000
    probe_every: Count | None = 50  # steps; percentiles of all hidden layers; null: no probe
    evaluate_every: Count = 500  # steps; training loss, and test accuracy in evaluation mode
    ics_every: Count | None = None  # steps; the gradients' internal covariate shift; null: none


@dataclass(frozen=True)
class Settings:
    """All that one run needs, but its seeds."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    record: RecordConfig = field(default_factory=RecordConfig)


@dataclass(frozen=True)
class Variant:
    """One setting under a name, which is that of its folder."""

    name: str
    changes: Mapping[str, Value]  # what it sets itself, over the base: dotted key to value
    settings: Settings  # the base with these changes


@dataclass(frozen=True)
class Experiment:
    """What one YAML describes."""

    name: str  # of its folder; required
    seeds: tuple[int, ...]  # of all variants, 0 to 2**32 - 1, each once; default: 0 to 4
    base: Settings  # the sections at the top of the YAML, which the variants share and change
    # From `variants` (name: {section: {key: value}}) or from `grid` (section.key: [values]).
    variants: tuple[Variant, ...]


def flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is by section and key, by dotted key."""
    return {f"{name}.{key}": x for name, keys in sections.items() for key, x in keys.items()}


_CLASSES: dict[str, Any] = get_type_hints(Settings)
SECTIONS = {name: get_type_hints(cls, include_extras=True) for name, cls in _CLASSES.items()}
HINTS = flat(SECTIONS)  # the type of each dotted key, in order
SHARED = "record"  # the section no variant changes, so that all can be compared
AXES = {  # the type of each dotted key of a grid
    key: Annotated[tuple[hint, ...], LISTED, UNIQUE]  # type: ignore[valid-type]
    for key, hint in HINTS.items()
    if not key.startswith(SHARED)
}


def flatten(settings: Settings) -> dict[str, Value]:
    """The settings by dotted key, in order: `{"data.name": "mnist", ...}`."""
    return flat(asdict(settings))


def nest(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Values of dotted keys by section and key, in order."""
    nested: dict[str, dict[str, Value]] = {}
    for section, key in (dotted.split(".") for dotted in HINTS if dotted in values):
        nested.setdefault(section, {})[key] = values[f"{section}.{key}"]
    return nested


def settings_of(values: Values) -> Settings:
    """Settings with the valid values of some dotted keys, and the defaults of the rest."""
    sections = nest({key: value for key, value in values.items() if value is not INVALID})
    return Settings(**{name: cls(**sections.get(name, {})) for name, cls in _CLASSES.items()})


def conflicts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What no key forbids alone: two keys that do together, and why."""
    model, train, deepest = settings.model, settings.train, max(recorded_layers(settings))
    if model.norm == "batch" and train.batch_size < 2:
        text = "batch norm in training needs a batch_size of at least 2: one example has variance 0"
        yield "train.batch_size", "model.norm", text
    if deepest > len(model.hidden):
        yield "record.layers", "model.hidden", f"there is no hidden layer {deepest} to record"
    if train.device == "mps" and train.dtype == "float64":
        yield "train.dtype", "train.device", "mps has no float64"


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


def probe_size(settings: Settings) -> int:
    """How many test examples the probe holds."""
    return settings.record.probe_size
