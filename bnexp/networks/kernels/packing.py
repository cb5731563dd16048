"""Between the kernels' padded vectors and the arrays of a state_dict."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bnexp.networks.kernels.layout import (
    BETA,
    BIAS,
    GAMMA,
    INPUTS,
    START,
    UNITS,
    WEIGHT,
    WIDTH,
    Array,
    Parameters,
)


class Packing:
    """The views of a network's padded vectors under the names of its state_dict.

    Args:
        layers: of the network.
        parameters: its vectors.
        keys: of the state_dict.
        trained: those of them that an optimizer changes.
    """

    def __init__(
        self, layers: Array, parameters: Parameters, keys: Sequence[str], trained: Sequence[str]
    ) -> None:
        self.layers, self.parameters = layers, parameters
        self._views: dict[str, Array] = {}
        for key in keys:
            module, name = key.split(".")
            if name == "num_batches_tracked":
                continue  # it is the step
            if name.startswith("running"):
                n = self._layer(module)
                start, vector = layers[n, START], getattr(parameters, name)
                self._views[key] = vector[start : start + layers[n, UNITS]]
            else:
                self._views[key] = self._view(parameters.vector, key)
        self._counters = [key for key in keys if key not in self._views]
        first, second = parameters.first, parameters.second
        names = {"exp_avg": first, "exp_avg_sq": second} if second.size else {}
        if first.size and not second.size:
            names = {"momentum_buffer": first}
        self._memory = {
            f"{key}.{name}": self._view(vector, key)
            for key in trained
            for name, vector in names.items()
        }

    def _layer(self, module: str) -> int:
        """The place of the layer, from 0, that a module such as `linear1` or `norm1` belongs to."""
        if module == "output":
            return len(self.layers) - 1
        return int(module.removeprefix("linear").removeprefix("norm")) - 1

    def _view(self, vector: Array, key: str) -> Array:
        """The part of a vector that holds the parameter `key`, in torch's layout."""
        module, name = key.split(".")
        n = self._layer(module)
        if name == "weight" and not module.startswith("norm"):
            return self.weights(vector, n).T
        kind = BIAS
        if module.startswith("norm"):
            kind = {"weight": GAMMA, "bias": BETA}[name]
        start = self.layers[n, kind]
        return vector[start : start + self.layers[n, UNITS]]

    def weights(self, vector: Array, n: int) -> Array:
        """The weights (inputs, units) of layer n, counted from 0, in a vector of parameters."""
        inputs, width, start = self.layers[n, INPUTS], self.layers[n, WIDTH], self.layers[n, WEIGHT]
        padded = vector[start : start + inputs * width].reshape(inputs, width)
        return padded[:, : self.layers[n, UNITS]]

    def norm_parameters(self) -> NDArray[np.float32]:
        """Gamma and beta (2, units of all hidden layers)."""
        vector, hidden = self.parameters.vector, self.layers[:-1]
        rows = [
            np.concatenate([vector[row[start] : row[start] + row[UNITS]] for row in hidden])
            for start in (GAMMA, BETA)
        ]
        return np.stack(rows).astype(np.float32)

    def load(self, state: Mapping[str, Array]) -> None:
        """Set what `state` or a state_dict holds."""
        for key, view in (self._views | self._memory).items():
            if key in state:
                view[...] = state[key]

    def state_dict(self, step: int) -> dict[str, Array]:
        """Copies under torch's names and in its layout, after `step` updates."""
        copies = {key: np.array(view, order="C") for key, view in self._views.items()}
        return copies | {key: np.array(step) for key in self._counters}

    def state(self, step: int) -> dict[str, Array]:
        """The same, and the memory of the optimizer."""
        memory = {key: np.array(view, order="C") for key, view in self._memory.items()}
        return self.state_dict(step) | memory
