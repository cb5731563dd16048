"""What several test modules share: small experiments on digits."""

from dataclasses import replace

import pytest

from bnexp.config import (
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Variant,
)


def small_settings(**changes):
    """Digits, two hidden layers, 40 steps; `changes` as `section={key: value}`."""
    settings = Settings(
        DataConfig("digits", "unused"),
        ModelConfig((8, 6), norm="batch", bias=False, weight_std=0.3),
        TrainConfig(steps=40, batch_size=20, lr=0.5, checkpoint_every=15, device="cpu"),
        RecordConfig(layers="all", probe_size=50, probe_every=10, evaluate_every=7),
    )
    for section, keys in changes.items():
        settings = replace(settings, **{section: replace(getattr(settings, section), **keys)})
    return settings


@pytest.fixture
def small_task(tmp_path):
    """Makes a task of small settings in a folder of its own."""
    from bnexp.runlog import Task

    def make(folder="run", seeds=(0, 1, 2), **changes):
        return Task(Variant("variant", {}, small_settings(**changes)), seeds, tmp_path / folder, {})

    return make


@pytest.fixture
def small_experiment():
    """Makes an experiment of a plain and a BN net, 3 seeds."""

    def make(**changes):
        base = small_settings(**changes)
        variants = []
        for name, norm in (("baseline", "none"), ("batchnorm", "batch")):
            model = {"model.norm": norm}
            variants.append(
                Variant(name, model, replace(base, model=replace(base.model, norm=norm)))
            )
        return Experiment("small", (0, 1, 2), base, tuple(variants))

    return make
