"""The optimizers of the torch engine, made so that a checkpoint can be taken at any step."""

import torch
from torch import Tensor, nn

from bnexp.config import TrainConfig


def make_optimizer(network: nn.Module, train: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of the `train` section, with its memory at zero."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if train.optimizer == "adam":
        adam = torch.optim.Adam(trained, train.lr, weight_decay=train.weight_decay)
        for p in trained:
            zeros = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            adam.state[p] = {"step": torch.tensor(0.0), **zeros}
        return adam
    sgd = torch.optim.SGD(trained, train.lr, train.momentum, weight_decay=train.weight_decay)
    if train.momentum:
        # A buffer of zeros gives the same first step as none, and a checkpoint may be made before.
        for p in trained:
            sgd.state[p] = {"momentum_buffer": torch.zeros_like(p)}
    return sgd


def memory_of(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """What an optimizer remembers: by its name there, such as `exp_avg`, and the parameter's."""
    memory: dict[str, dict[str, Tensor]] = {}
    for name, p in network.named_parameters():
        for kind, value in optimizer.state.get(p, {}).items():
            if kind != "step":
                memory.setdefault(kind, {})[name] = value
    return memory
