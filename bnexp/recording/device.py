"""What computes, in words."""

import torch


def describe(device: torch.device) -> str:
    """The version of torch and the device, for `status.json`."""
    text = f"torch {torch.__version__}, {device.type}"
    if device.type == "cuda":
        text += f" ({torch.cuda.get_device_name(device)})"
    return text
