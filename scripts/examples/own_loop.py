"""Record your own model in your own loop: a small CNN on the digits, with and without BatchNorm2d.

python scripts/examples/own_loop.py --out results/cnn
bnexp compare results/cnn && bnexp plot results/cnn
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

import bnexp
from bnexp.config import DataConfig
from bnexp.data import datasets


def cnn(*, norm: bool) -> nn.Sequential:
    """Two convolutions of 3 x 3, each followed by batch norm or nothing, and a linear layer."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    for inputs, channels in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(channels)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 64, 10))


def main() -> None:
    """Train both networks with each seed, and record what enters their ReLUs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/cnn")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    digits = datasets.load(DataConfig("digits", binarize=False))
    x, y = torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y)
    test_x, test_y = torch.from_numpy(digits.test_x), torch.from_numpy(digits.test_y)
    for seed in range(options.seeds):
        for variant in ("plain", "batchnorm"):
            torch.manual_seed(seed)
            model = cnn(norm=variant == "batchnorm")
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            with bnexp.record(
                model, options.out, nn.ReLU, of="inputs", variant=variant, seed=seed, probe=test_x
            ) as recorder:
                for step in range(options.steps):
                    batch = torch.randint(len(x), (60,))
                    loss = F.cross_entropy(model(x[batch]), y[batch])
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
                    recorder.step(train_loss=loss)
                    if (step + 1) % 50 == 0:
                        model.eval()
                        with torch.no_grad():
                            accuracy = (model(test_x).argmax(1) == test_y).float().mean()
                        model.train()
                        recorder.log(test_accuracy=accuracy)


if __name__ == "__main__":
    main()
