"""The Lightning callback against a plain loop, and across a checkpoint of Lightning's own."""

import numpy as np
import pytest
import torch
from helpers import models
from torch.nn import functional as F

import bnexp
from bnexp.errors import ConfigError
from bnexp.files.status import read_status

lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of torch and of its defaults


class Batches(torch.utils.data.Dataset):
    """The minibatches of `models.train`, one for each step."""

    def __len__(self):
        return 6

    def __getitem__(self, step):
        return models.minibatch(step)


class Module(lightning.LightningModule):
    """A network whose training is that of `models.train`."""

    def __init__(self):
        super().__init__()
        self.network = models.dense()

    def training_step(self, batch, _):
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def validation_step(self, batch, _):
        self.log("accuracy", batch[1].float().mean() * 0 + self.global_step / 10)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder, epochs=1, *, checkpoint=None, validated=False, **options):
    """Train for epochs of six steps; the Trainer."""
    chosen = {"layers": "1", "part": "network", "probe_every": 2, **options}
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[bnexp.LightningCallback(folder, **chosen)],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        val_check_interval=3,
    )
    loader = torch.utils.data.DataLoader(Batches(), batch_size=None)
    trainer.fit(Module(), loader, loader if validated else None, ckpt_path=checkpoint)
    return trainer


def test_the_callback_records_what_a_plain_loop_records(tmp_path):
    """A step is an update, and validation between two steps is not looked at."""
    model = models.dense()
    with models.record(model, tmp_path / "own", probe=models.minibatch(99)[0], probe_every=2) as r:
        models.train(model, r, 6)
    probe = models.minibatch(99)[0]
    fit(tmp_path / "lit", validated=True, accuracy="accuracy", probe=probe)
    own, lit = models.read(tmp_path / "own"), models.read(tmp_path / "lit")
    for log in ("minibatch", "probe"):
        ours, theirs = (models.rows(getattr(each, log)) for each in (own, lit))
        np.testing.assert_array_equal(ours, theirs)
    assert lit.metrics.steps.tolist() == [0, 3, 6]
    np.testing.assert_allclose(lit.metrics.test_accuracy[1:, 0], [0.3, 0.6])


def test_a_fit_that_goes_on_from_a_checkpoint_goes_on_recording(tmp_path):
    """The rows are those of one long fit."""
    fit(tmp_path / "whole", 2)
    fit(tmp_path / "parts").save_checkpoint(tmp_path / "epoch.ckpt")
    fit(tmp_path / "parts", 2, checkpoint=tmp_path / "epoch.ckpt")
    whole, parts = (models.read(tmp_path / name).minibatch for name in ("whole", "parts"))
    np.testing.assert_array_equal(models.rows(whole), models.rows(parts))
    assert read_status(tmp_path / "parts" / "model" / "seed-0").state == "done"


def test_a_part_that_training_does_not_call_is_an_error(tmp_path):
    """The LightningModule itself is not called by this training step; the error says so."""
    with pytest.raises(ConfigError, match="had no forward pass to record"):
        fit(tmp_path, layers="network.1", part=None)
