"""The device of a run of the torch engine."""

import torch

from bnexp.errors import ConfigError


def resolve_device(device: str, dtype: str) -> str:
    """The device of `train.device`: `auto` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: the device is not on this machine, or has no such dtype.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[device]:
        raise ConfigError(f"train.device={device}: not on this machine; use train.device=cpu")
    if device == "mps" and dtype == "float64":
        raise ConfigError("train.dtype=float64: MPS has float32 alone; use train.device=cpu")
    return device
