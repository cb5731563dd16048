"""Where a run's arithmetic happens: NumPy on the CPU, torch on a GPU.

The network's mathematics (`bnexp.model`) is written once, in the functions that NumPy and torch
share under one name (`matmul`, `multiply`, ... with `out=`); this module holds the few that differ.

Why NumPy on the CPU: at 60 examples and 100 units a call costs as much as its arithmetic, and a
NumPy call costs about half of torch's (`results/benchmark`).
"""

from typing import Any, Protocol

import numpy as np
import torch  # noqa: TID253

from bnexp.errors import ConfigError

Array = Any  # numpy.ndarray or torch.Tensor, as the backend says
Namespace = Any  # the module numpy, or torch
PIECE = 1 << 17  # elements of a vector that a CPU's cache holds through several calls


class Backend(Protocol):
    """What the network needs beyond the functions of `xp`."""

    xp: Namespace
    name: str

    def empty(self, *shape: int) -> Array:
        """An uninitialised array of the run's dtype."""

    def asarray(self, values: torch.Tensor) -> Array:
        """The values on this device; floating point becomes the run's dtype."""

    def constant(self, value: float, *shape: int) -> Array:
        """An array of one value, made once; a product with it is the fastest sum, or mean."""

    def at_once(self, count: int, stack: int) -> int:
        """How many of `count` rows, or examples, of S networks to work on at a time."""

    def pieces(self, length: int) -> list[slice]:
        """The parts of a vector to work on one after the other."""

    def copy(self, array: Array) -> Array:
        """A copy on the same device."""

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The array on the host, in its own dtype."""

    def max(self, array: Array, axis: int, out: Array) -> Array:
        """Maximum over one axis, which stays with length 1."""

    def sort(self, array: Array) -> Array:
        """The array sorted along its last axis, perhaps in place."""

    def take(self, array: Array, index: Array, out: Array) -> Array:
        """Rows of `array` (n, k) at `index` (S, B), into `out` (S, B, k) and its dtype."""


class NumpyBackend:
    """The CPU."""

    xp: Namespace = np

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self._constants: dict[tuple[float, ...], Array] = {}
        self.name = f"numpy {np.__version__}, {blas()}"

    def empty(self, *shape: int) -> Array:  # noqa: D102
        return np.empty(shape, self.dtype)

    def constant(self, value: float, *shape: int) -> Array:  # noqa: D102
        key = value, *shape
        if key not in self._constants:
            self._constants[key] = np.full(shape, value, self.dtype)
        return self._constants[key]

    def asarray(self, values: torch.Tensor) -> Array:  # noqa: D102
        array = values.numpy()
        return array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array

    def at_once(self, count: int, stack: int) -> int:  # noqa: D102
        return max(1, count // stack)  # what fits into the cache

    def pieces(self, length: int) -> list[slice]:  # noqa: D102
        return [slice(start, start + PIECE) for start in range(0, length, PIECE)]

    def copy(self, array: Array) -> Array:  # noqa: D102
        return array.copy()

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:  # noqa: D102
        return np.asarray(array)

    def max(self, array: Array, axis: int, out: Array) -> Array:  # noqa: D102
        return np.maximum.reduce(array, axis, out=out, keepdims=True)

    def sort(self, array: Array) -> Array:  # noqa: D102
        array.sort(axis=-1)
        return array

    def take(self, array: Array, index: Array, out: Array) -> Array:  # noqa: D102
        # "raise" would copy through a buffer; the batch order holds no index to refuse.
        if array.dtype == out.dtype:
            return np.take(array, index, axis=0, out=out, mode="clip")
        out[...] = np.take(array, index, axis=0, mode="clip")
        return out


class TorchBackend:
    """A GPU, or torch on the CPU where a test compares the two."""

    xp: Namespace = torch

    def __init__(self, dtype: str, device: str) -> None:
        self.dtype = getattr(torch, dtype)
        self._constants: dict[tuple[float, ...], Array] = {}
        self.device = torch.device(device)
        self.name = f"torch {torch.__version__}, {device}"
        if self.device.type == "cuda":
            self.name += f" ({torch.cuda.get_device_name(self.device)})"

    def empty(self, *shape: int) -> Array:  # noqa: D102
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def constant(self, value: float, *shape: int) -> Array:  # noqa: D102
        key = value, *shape
        if key not in self._constants:
            full = torch.full(shape, value, dtype=self.dtype, device=self.device)
            self._constants[key] = full
        return self._constants[key]

    def asarray(self, values: torch.Tensor) -> Array:  # noqa: D102
        dtype = self.dtype if values.is_floating_point() else None
        return values.to(self.device, dtype)

    def at_once(self, count: int, stack: int) -> int:  # noqa: ARG002, D102
        return count  # each piece costs a wait for the device

    def pieces(self, length: int) -> list[slice]:  # noqa: ARG002, D102
        return [slice(None)]

    def copy(self, array: Array) -> Array:  # noqa: D102
        return array.clone()

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:  # noqa: D102
        host: np.ndarray[Any, Any] = array.cpu().numpy()
        return host

    def max(self, array: Array, axis: int, out: Array) -> Array:  # noqa: D102
        return torch.amax(array, axis, keepdim=True, out=out)

    def sort(self, array: Array) -> Array:  # noqa: D102
        return torch.sort(array).values

    def take(self, array: Array, index: Array, out: Array) -> Array:  # noqa: D102
        rows = torch.index_select(array, 0, index.reshape(-1))
        return out.copy_(rows.view(out.shape))


def choose(device: str, dtype: str) -> Backend:
    """The backend of `train.device` and `train.dtype`.

    `auto` is CUDA where there is one, else the CPU; MPS is used when asked for.

    Raises:
        ConfigError: the device is not on this machine, or has no such dtype.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return NumpyBackend(dtype)
    module = {"cuda": torch.cuda, "mps": torch.backends.mps}[device]
    if not module.is_available():
        raise ConfigError(f"train.device={device}: not on this machine; use train.device=cpu")
    if device == "mps" and dtype == "float64":
        raise ConfigError("train.dtype=float64: MPS has float32 alone; use train.device=cpu")
    return TorchBackend(dtype, device)


def blas() -> str:
    """The BLAS that NumPy has loaded, and the kernels it chose: they decide the last bits."""
    from threadpoolctl import threadpool_info  # noqa: PLC0415  (loads slowly; used once a run)

    for pool in threadpool_info():
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]:
            return (
                f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
            )
    return "another BLAS"
