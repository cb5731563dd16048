"""A forward pass on fixed examples in training mode, of which the training notices nothing."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | Sequence[Any] | Mapping[str, Any]


_RUNNING: ContextVar[bool] = ContextVar("running", default=False)


def probe_is_running() -> bool:
    """Whether the forward pass of this moment is one of a probe, of whichever recorder."""
    return _RUNNING.get()


class Probe:
    """Runs a model on the same examples whenever it is asked.

    Nothing of it is left behind. Buffers, such as running statistics, are replaced by copies while
    it runs. The random state is put back, and dropout draws the same mask in each probe.

    Args:
        model: the module as the user calls it, not compiled.
        inputs: its input; several as a tuple, or by name as a mapping. On the model's device.
    """

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        self._model = model
        self._arguments: tuple[Any, ...] = ()
        self._keywords: Mapping[str, Any] = {}
        if isinstance(inputs, Mapping):
            self._keywords = inputs
        else:
            self._arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        self._training: dict[nn.Module, bool] = {}  # of each module, in the last training pass
        self._autocast: dict[str, tuple[bool, torch.dtype]] = {}

    def note(self) -> None:
        """Remember how the training runs the model: which parts train, and under which autocast."""
        self._training = {module: module.training for module in self._model.modules()}
        for kind in {device.type for device in self._devices()}:
            enabled = torch.is_autocast_enabled(kind)
            self._autocast[kind] = enabled, torch.get_autocast_dtype(kind)

    def run(self) -> None:
        """The forward pass; hooks on the layers take what they want."""
        before = {module: module.training for module in self._model.modules()}
        running = _RUNNING.set(True)
        try:
            # Not `train()`, which sets a module's children too: some may be frozen in eval mode.
            for module in before:
                module.training = self._training.get(module, True)
            self._forward()
        finally:
            _RUNNING.reset(running)
            for module, flag in before.items():
                module.training = flag

    @torch.no_grad()
    def _forward(self) -> None:
        devices = self._devices()
        cuda = [device.index or 0 for device in devices if device.type == "cuda"]
        copies = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(0)
            for index in cuda:
                torch.cuda.default_generators[index].manual_seed(0)
            kind = devices[0].type
            enabled, dtype = self._autocast.get(kind, (False, None))
            # Without the cache: a weight cast here, without gradient, must not serve the training.
            with torch.autocast(kind, dtype, enabled=enabled, cache_enabled=False):
                torch.func.functional_call(
                    self._model, copies, self._arguments, dict(self._keywords)
                )

    def _devices(self) -> list[torch.device]:
        """Of the parameters and the inputs, each once; the CPU if there is nothing."""
        inputs = [*self._arguments, *self._keywords.values()]
        tensors = [*self._model.parameters(), *(x for x in inputs if isinstance(x, Tensor))]
        return list(dict.fromkeys(tensor.device for tensor in tensors)) or [torch.device("cpu")]
