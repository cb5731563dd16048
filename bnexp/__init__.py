"""bnexp: see what batch normalization does, unit by unit and step by step.

The names of the Python API are loaded when they are first used, so that `import bnexp` takes a
moment and loads neither torch nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnexp.api.experiment import Experiment, load
    from bnexp.api.training import train
    from bnexp.recording.lightning import LightningCallback
    from bnexp.recording.record import record

__version__ = "0.2.0"
__all__ = ["Experiment", "LightningCallback", "__version__", "load", "record", "train"]

_HOMES = {
    "Experiment": "bnexp.api.experiment",
    "LightningCallback": "bnexp.recording.lightning",
    "load": "bnexp.api.experiment",
    "record": "bnexp.recording.record",
    "train": "bnexp.api.training",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the API holds)
    if name not in _HOMES:
        raise AttributeError(f"module 'bnexp' has no attribute '{name}'")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "lightning":
            raise
        told = f"bnexp.{name} needs Lightning, which is not installed; pip install lightning"
        raise ModuleNotFoundError(told, name=error.name) from None


def __dir__() -> list[str]:
    return __all__
