"""The layers of a user's own model: which are recorded, and what a unit of each one is."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bnexp.config import suggestion
from bnexp.errors import ConfigError

Chosen = str | type[nn.Module] | Callable[[str, nn.Module], bool]
Layers = Chosen | Iterable[Chosen]
UnitAxis = Literal["auto", "first", "last"]

# Modules whose units are channels, (N, C, ...): percentiles are over the batch and all positions.
_CHANNELS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
)
# Modules whose units are features, (N, ..., F): over the batch and all places of the sequence.
_FEATURES = (
    nn.Linear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Embedding,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)
_UNCOMPILED = "_orig_mod"  # where torch.compile keeps the module that it was given


def plain_model(model: nn.Module) -> nn.Module:
    """The module that is watched: of a compiled model, the one that was compiled.

    Raises:
        ConfigError: a minibatch of this model is divided over devices or processes.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"record: the model is {type(model).__name__}, not a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigError("record: TorchScript takes no hooks; record the module it was made of")
    if any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise ConfigError(
            "record: nn.DataParallel divides each minibatch over GPUs, so that no layer sees all "
            "of it; train and record its .module on one GPU"
        )
    if isinstance(model, nn.parallel.DistributedDataParallel):
        raise ConfigError(
            "record: DistributedDataParallel gives each process a part of the minibatch; record "
            "its .module in one process, and read the percentiles as those of that part"
        )
    inner = getattr(model, _UNCOMPILED, model)
    return inner if isinstance(inner, nn.Module) else model


def is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile has anything to do with this module or a part of it."""
    return any(
        hasattr(module, _UNCOMPILED) or getattr(module, "_compiled_call_impl", None) is not None
        for module in model.modules()
    )


def find_layers(model: nn.Module, layers: Layers) -> dict[str, nn.Module]:
    """The modules to record, by name.

    Args:
        model: where to look; it is no layer of its own.
        layers: a name as `model.named_modules()` has it, a type, or a function of name and module;
            or several of them. Names keep the order in which they are given. What a type or a
            function finds stands in the order in which the model's modules were registered.

    Raises:
        ConfigError: there is no such module.
    """
    named = {name: each for name, each in model.named_modules(remove_duplicate=False) if name}
    wanted = [layers] if isinstance(layers, str) or callable(layers) else list(layers)
    found: dict[str, nn.Module] = {}
    for each in wanted:
        some = _matching(named, each)
        found |= {name: module for name, module in some.items() if module not in found.values()}
    if not found:
        raise ConfigError("record: no layers were given; name one, such as layers=nn.BatchNorm1d")
    return found


def _matching(named: Mapping[str, nn.Module], wanted: Chosen) -> dict[str, nn.Module]:
    if isinstance(wanted, str):
        if wanted not in named:
            hint = suggestion(wanted, named) or f"; there are {_listed(named)}"
            raise ConfigError(f"record: the model has no layer '{wanted}'{hint}")
        return {wanted: named[wanted]}
    if isinstance(wanted, type):
        some = {name: module for name, module in named.items() if isinstance(module, wanted)}
        what = f"layer of type {wanted.__name__}"
    elif callable(wanted):
        some = {name: module for name, module in named.items() if wanted(name, module)}
        what = "layer for which the function is true"
    else:
        raise ConfigError(f"record: layers holds {wanted!r}; give names, types or functions")
    if not some:
        kinds = sorted({type(module).__name__ for module in named.values()})
        raise ConfigError(f"record: the model has no {what}; it has {_listed(kinds)}")
    return some


def _listed(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "no modules inside"


def tensor_of(name: str, value: Any) -> Tensor:
    """The tensor that is recorded: the value, or the first of a tuple.

    Raises:
        ConfigError: it is no tensor of real numbers with a batch and units.
    """
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if not isinstance(value, Tensor):
        raise ConfigError(f"record: layer '{name}' passes {type(value).__name__}, not a tensor")
    if value.ndim < 2 or not value.is_floating_point() or not value.numel():
        shape = tuple(value.shape)
        raise ConfigError(
            f"record: layer '{name}' passes {value.dtype} of shape {shape}; percentiles need "
            "floating-point numbers of shape (examples, units) or more axes"
        )
    return value.detach()


def unit_axis(module: nn.Module, values: Tensor, choice: UnitAxis) -> int:
    """The axis of the units: channels of a convolution, features of a sequence.

    Args:
        module: whose values these are.
        values: (N, U), (N, U, ...) or (N, ..., U).
        choice: `first`: the one after the batch; `last`; `auto`: by the module. A module that is
            known for neither, such as an activation, has its channels in the second of four or
            more axes, and its features in the last of three.
    """
    last = values.ndim - 1
    if choice != "auto":
        return 1 if choice == "first" else last
    if isinstance(module, _CHANNELS):
        return 1
    if isinstance(module, _FEATURES) or values.ndim == 3:
        return last
    return 1


def examples_and_units(values: Tensor, axis: int) -> Tensor:
    """Values with units on one axis as (examples and positions, units), on their own device.

    Half-precision numbers, as autocast makes them, become float32, which holds each one exactly.
    """
    columns = values.movedim(axis, 0).flatten(1).t()
    return columns.float() if columns.element_size() < torch.float32.itemsize else columns
