"""Settings of small experiments on the digits, which take a moment to train."""

from dataclasses import replace

from bnexp.config.experiment import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig


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
