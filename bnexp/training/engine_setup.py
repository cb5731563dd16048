"""Making the engine that `networks.engine` chooses for a run; what it loads and compiles before."""

from collections.abc import Callable, Iterable, Sequence

import torch

from bnexp.config import Settings
from bnexp.data.datasets import Dataset
from bnexp.networks.device import resolve_device
from bnexp.networks.engine import Engine, EngineName, choose_engine, numba_available
from bnexp.networks.torch_engine import TorchEngine
from bnexp.training.failures import loading
from bnexp.training.processes import garbage_kept


def make_engine(settings: Settings, dataset: Dataset, seeds: Sequence[int]) -> Engine:
    """The engine that trains runs with these settings, one for each seed.

    Raises:
        ConfigError: the settings ask for a device or an engine that cannot be used.
    """
    device = resolve_device(settings.train.device, settings.train.dtype)
    engine = settings.train.engine
    if choose_engine(engine, device, settings, numba=numba_available()) == "kernels":
        with loading():
            from bnexp.networks.kernels_engine import KernelsEngine

        (seed,) = seeds
        return KernelsEngine(settings, dataset, seed)
    torch.set_num_threads(settings.train.threads)
    return TorchEngine(settings, dataset, seeds, device)


def load_engines(runs: Sequence[Settings]) -> None:
    """Load what the engines of these runs need on a CPU, before workers are forked from here.

    These are the kernels, as far as this machine has compiled them, and the compilers that torch
    imports with the first optimizer, which takes two seconds.

    It does not ask for a GPU: CUDA cannot be used in the forks of a process that has begun with it.

    Raises:
        ImportError: the kernels cannot be loaded.
    """
    here = [(each, "cpu") for each in runs if each.train.device in {"auto", "cpu"}]
    for dtype in _dtypes("kernels", here):
        with loading():
            from bnexp.networks.kernels.warm_up import compile_kernels, is_compiled
        if is_compiled(dtype):
            compile_kernels(dtype)
    if _dtypes("torch", here):
        torch.optim.SGD([torch.zeros(1)])


def prepare(runs: Sequence[Settings], say: Callable[[str], None]) -> bool:
    """Compile the kernels that these runs need; whether a GPU trains them, as stacks.

    Args:
        runs: the settings of the runs.
        say: is told, in a line, what users should know.

    Raises:
        ConfigError: the settings ask for a device or an engine that cannot be used.
    """
    if not numba_available() and any(each.train.engine == "auto" for each in runs):
        say("Numba is not installed: torch trains on the CPU, about five times slower")
    devices = [resolve_device(each.train.device, each.train.dtype) for each in runs]
    for dtype in _dtypes("kernels", zip(runs, devices, strict=True)):
        with loading():
            from bnexp.networks.kernels.warm_up import compile_kernels, is_compiled

        if not is_compiled(dtype):
            say("compiling the kernels, once on this machine (about 15 seconds)")
        with garbage_kept():
            compile_kernels(dtype)
    return any(device != "cpu" for device in devices)


def _dtypes(engine: EngineName, runs: Iterable[tuple[Settings, str]]) -> list[str]:
    """The dtypes that an engine computes with, for runs on these devices."""
    numba = numba_available()
    return sorted(
        {
            each.train.dtype
            for each, device in runs
            if choose_engine(each.train.engine, device, each, numba=numba) == engine
        }
    )
