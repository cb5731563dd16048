"""Which torch computes, and on what, in words."""

import os

import torch

CHOOSING = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "OPENBLAS_CORETYPE")
"""Environment variables that choose among the kernels of torch's libraries, which round apart."""


def describe(device: torch.device) -> str:
    """The version of torch and the device with its instructions, for `status.json`."""
    text = f"torch {torch.__version__}, {device.type}"
    if device.type == "cuda":
        return f"{text} ({torch.cuda.get_device_name(device)})"
    chosen = [f"{name}={os.environ[name]}" for name in CHOOSING if name in os.environ]
    return f"{text} ({', '.join([torch.backends.cpu.get_cpu_capability(), *chosen])})"
