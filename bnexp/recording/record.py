"""`bnexp.record`: the percentiles of any PyTorch model, while its user trains it."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from bnexp.config import Value
from bnexp.config.rules import NAME_RULES, violation
from bnexp.errors import ConfigError
from bnexp.files.experiment_folder import CONFIG
from bnexp.files.run_folder import run_folder
from bnexp.recording.capture import Capture, Side
from bnexp.recording.journal import RecordingPlan
from bnexp.recording.layers import Layers, UnitAxis, find_layers, is_compiled, plain_model
from bnexp.recording.probe import Inputs, Probe
from bnexp.recording.recorded_run import RecordedRun
from bnexp.recording.recorder import Counter, Recorder
from bnexp.recording.torch_description import describe


def record(
    model: nn.Module,
    out: str | Path,
    layers: Layers,
    *,
    variant: str = "model",
    seed: int = 0,
    of: Side = "outputs",
    unit_axis: UnitAxis = "auto",
    percentiles: Sequence[float] = (15.0, 50.0, 85.0),
    every: int = 1,
    probe: Inputs | None = None,
    probe_every: int = 50,
    metrics_every: int = 100,
    counted_by: Counter = "step",
    steps: int | None = None,
    settings: Mapping[str, Value] | None = None,
    varying: bool = False,
    resume: bool | int = False,
) -> Recorder:
    """Record the percentiles of a model's layers, unit by unit, while you train it.

        with bnexp.record(model, "results/mine", nn.BatchNorm1d, variant="bn", seed=0) as recorder:
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                ...
                optimizer.step()
                recorder.step(train_loss=loss)

    It writes the folder of a run, `out/variant/seed-N`, which `bnexp plot`, `compare` and `runs`
    read. Several calls with another variant or seed make one experiment.

    A unit is one output of a dense layer, a channel of a convolution (its percentiles are over the
    batch and all positions), or a feature of a sequence (over the batch and all places). Recorded
    is the first forward pass of each step in training mode with gradients enabled. `torch.compile`
    works: the compiled code is interrupted at each recorded layer. Under autocast, the values are
    those that the layer gives.

    Args:
        model: any module. Call this module itself, and not its parts.
        out: the experiment's folder.
        layers: which modules: a name as in `model.named_modules()`, a type, or a function of name
            and module that says yes or no; or several of these.
        variant: the name of this model among those that are compared.
        seed: of this run. Runs of the same seed are compared in pairs.
        of: record what the layers return, or their first input (`inputs`).
        unit_axis: where a layer's units are: `first` after the batch, `last`, or by its type.
        percentiles: which ones, in [0, 100], ascending.
        every: steps between two rows of percentiles over the minibatch.
        probe: fixed examples, as the model's input, on its device. They are run in training mode
            without touching running statistics or the random state. A tuple holds several inputs,
            a mapping inputs by name.
        probe_every: steps between two rows of percentiles over the probe.
        metrics_every: steps between two rows of metrics, as long as losses are all that is given.
            Once a test accuracy or loss is logged, there is a row for each of these.
        counted_by: what counts a step: calls of `recorder.step`; an optimizer, by its `step`; or
            every forward pass in training mode (`forward`).
        steps: how many there will be, to be shown by `bnexp runs`.
        settings: what else tells this variant from others, by dotted key, such as
            `{"model.norm": "batch"}`; shown by `bnexp compare`.
        varying: allow the number of examples to change from step to step.
        resume: continue the run that is there: `True` from its last commit; a number from the step
            of your own checkpoint, at or before that commit. `recorder.steps` says where it is.
            The run stays as it was until the first training pass.

    Raises:
        ConfigError: there are no such layers, or an argument is out of its range.
    """
    _check(isinstance(out, str | os.PathLike), f"out is {out!r}; give a folder")
    _check(isinstance(variant, str), f"variant is {variant!r}; give a text")
    plain = plain_model(model)
    found = find_layers(plain, layers)
    for name, value in (
        ("every", every),
        ("probe_every", probe_every),
        ("metrics_every", metrics_every),
        ("steps", steps or 1),
    ):
        _check(isinstance(value, int) and value >= 1, f"{name} is {value!r}; give 1 or more")
    try:
        q = tuple(float(each) for each in percentiles)
    except (TypeError, ValueError):
        q = ()
    ascending = bool(q) and [*q] == sorted({*q}) and 0 <= q[0] <= q[-1] <= 100
    _check(
        ascending, f"percentiles are {percentiles!r}; give numbers from 0 to 100 in ascending order"
    )
    if problem := violation(NAME_RULES, variant):
        raise ConfigError(f"record: variant '{variant}' {problem}")
    _check(isinstance(seed, int) and 0 <= seed < 2**32, f"seed is {seed!r}; give 0 to {2**32 - 1}")
    _check(of in {"outputs", "inputs"}, f"of is '{of}'; give outputs or inputs")
    axes = {"auto", "first", "last"}
    _check(unit_axis in axes, f"unit_axis is '{unit_axis}'; give auto, first or last")
    for key, value in (settings or {}).items():
        _check(isinstance(key, str), f"settings has the key {key!r}; give a text")
        parts = value if isinstance(value, tuple) else (value,)
        plain_values = all(isinstance(x, bool | int | float | str | None) for x in parts)
        _check(plain_values, f"settings[{key!r}] is {value!r}; give a number, a text, or a tuple")
        finite = all(math.isfinite(x) for x in parts if isinstance(x, float))
        _check(finite, f"settings[{key!r}] is {value!r}; give finite numbers, or a text")
    # In a tuple, not in a set: what is no counter may have no hash.
    counts = isinstance(counted_by, torch.optim.Optimizer) or counted_by in ("step", "forward")
    told = repr(counted_by) if isinstance(counted_by, str) else type(counted_by).__name__
    _check(counts, f"counted_by is {told}; give 'step', 'forward' or an optimizer")
    _check(
        isinstance(resume, int) and resume >= 0,
        f"resume is {resume!r}; give True, False, or the step to continue at",
    )
    tensors = [*plain.parameters(), *plain.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    home = os.path.expanduser(out)  # noqa: PTH111  (unlike Path's, it takes any ~user)
    trained = Path(home, CONFIG).exists()
    _check(not trained, f"{out} holds an experiment of `bnexp train`; give another folder")
    return Recorder(
        plain,
        Capture(found, q, of, unit_axis, varying=varying),
        None if probe is None else Probe(plain, probe),
        RecordingPlan(
            tuple(found), q, every, None if probe is None else probe_every, metrics_every
        ),
        RecordedRun(run_folder(Path(home), variant, seed), variant, seed, settings or {}, steps),
        arithmetic=describe(device),
        counted_by=counted_by,
        compiled=is_compiled(model),
        resume=resume,
    )


def _check(holds: bool, problem: str) -> None:  # noqa: FBT001
    if not holds:
        raise ConfigError(f"record: {problem}")
