"""Trained networks, read from the `model.pt` of their runs."""

from pathlib import Path

from torch import nn

from bnexp.config import ModelConfig
from bnexp.errors import DamagedError
from bnexp.files.atomic import Extent
from bnexp.files.checkpoint import load_tensors
from bnexp.networks.mlp import mlp


def load_parameters(network: nn.Sequential, path: Path, promised: Extent) -> nn.Sequential:
    """Give a network the parameters and running statistics of a run's `model.pt`.

    Args:
        network: with the layers of the run's own.
        path: the file.
        promised: its extent, as the run's status tells it.

    Raises:
        DamagedError: the file is damaged, or holds the parameters of another network.
    """
    try:
        network.load_state_dict(load_tensors(path, promised))
    except RuntimeError as error:  # torch's text has one line for each parameter, after the first
        reason = str(error).splitlines()[1].strip()
        raise DamagedError(f"{path}: not this config's network ({reason}); train again") from None
    return network


def trained_network(config: ModelConfig, path: Path, promised: Extent) -> nn.Sequential:
    """The network of a run's `model.pt`, in evaluation mode and with the run's own dtype.

    Args:
        config: of the run; the file tells how many inputs and classes there are.
        path: the file.
        promised: its extent, as the run's status tells it.

    Raises:
        DamagedError: the file is damaged, or holds the parameters of another network.
    """
    tensors = load_tensors(path, promised)
    try:
        first, last = tensors["linear1.weight"], tensors["output.weight"]
    except KeyError as error:
        raise DamagedError(f"{path}: not this config's network (no {error}); train again") from None
    network = mlp(config, first.shape[1], last.shape[0]).to(last.dtype)
    return load_parameters(network, path, promised).eval()
