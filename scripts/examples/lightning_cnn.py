"""The same with Lightning: the training does not change, a callback records it.

pip install 'bnexp[lightning]'
python scripts/examples/lightning_cnn.py --out results/lightning
bnexp compare results/lightning && bnexp plot results/lightning
"""

import argparse
from typing import Any

import lightning
import torch
from own_loop import cnn
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import bnexp
from bnexp.config import DataConfig
from bnexp.data import datasets


class Classifier(lightning.LightningModule):
    """A network and its training, as Lightning has them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The loss of a minibatch."""
        x, y = batch
        return F.cross_entropy(self.network(x), y)

    def validation_step(self, batch: Any, _: int) -> None:
        """Log the accuracy."""
        x, y = batch
        self.log("accuracy", (self.network(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Gradient descent."""
        return torch.optim.SGD(self.parameters(), 0.1)


def main() -> None:
    """Train both networks with each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/lightning")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    digits = datasets.load(DataConfig("digits", binarize=False))
    arrays = ((digits.train_x, digits.train_y), (digits.test_x, digits.test_y))
    train, test = (TensorDataset(*map(torch.from_numpy, each)) for each in arrays)
    for seed in range(options.seeds):
        for variant in ("plain", "batchnorm"):
            lightning.seed_everything(seed, verbose=False)
            callback = bnexp.LightningCallback(
                options.out,
                nn.ReLU,
                part="network",
                of="inputs",
                variant=variant,
                seed=seed,
                probe=torch.from_numpy(digits.test_x),
                accuracy="accuracy",
            )
            trainer = lightning.Trainer(
                max_epochs=options.epochs,
                callbacks=[callback],
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
            )
            trainer.fit(
                Classifier(cnn(norm=variant == "batchnorm")),
                DataLoader(train, batch_size=60, shuffle=True, drop_last=True),
                DataLoader(test, batch_size=len(test)),
            )


if __name__ == "__main__":
    main()
