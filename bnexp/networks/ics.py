"""Internal covariate shift as a change of gradients (Santurkar et al. 2018, Definition 2.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.networks.backend import Array
from bnexp.networks.model import Network, Work


def gradient_shift(  # noqa: PLR0913, PLR0917  (each is a quantity of the definition)
    network: Network,
    work: Work,
    x: Array,
    targets: Array,
    parameters: Array,
    gradient: Array,
) -> NDArray[np.float64]:
    """How far the update of the layers before it moves each layer's gradient.

    For layer i, G is the gradient of its weights at the old parameters, and G' the one after the
    layers before i, and only they, have made their update; both on the same batch. The shift is
    ||G - G'||, beside the cosine of the two. Layer 1 has none before it: its shift is 0.

    Args:
        network: just updated; is left as it was found, but for its gradients.
        work: a workspace for the batch; overwritten.
        x: the batch's inputs (S, B, features).
        targets: its one-hot targets (S, B, classes).
        parameters: the parameter vector before the update.
        gradient: its gradient on this batch.

    Returns:
        (layers - 1, S, 2) for layers 2 and up: the distance, and the cosine (NaN where a gradient
        is zero).
    """
    updated = network.backend.copy(network.vector)
    old, new, before = (network.views(vector) for vector in (parameters, updated, gradient))
    shifts = []
    for layer in range(2, network.depth + 1):
        for key, value in network.parameters.items():
            value[...] = (new if int(key.split(".")[1]) < layer else old)[key]
        network.forward(x, work, "batch")
        network.loss(work, targets)
        network.backward(x, work)
        key = f"layers.{layer}.weight"
        shifts.append(_compare(*(_flat(network, g[key]) for g in (before, network.gradients))))
    network.vector[...] = updated
    return np.stack(shifts)


def _flat(network: Network, gradient: Array) -> NDArray[np.float64]:
    host: NDArray[Any] = network.backend.numpy(gradient)
    return host.reshape(len(host), -1).astype(np.float64)


def _compare(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance and cosine (S, 2) of two sets of vectors (S, n)."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide((a * b).sum(1), norms, out=np.full(len(a), np.nan), where=norms > 0)
    return np.stack([np.linalg.norm(a - b, axis=1), cosine], 1)
