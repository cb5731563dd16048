"""The stack of the torch engine: each run is as if it were alone."""

import numpy as np
import pytest
import torch
from helpers.cases import OPTIMIZERS, digits, label, make, models, settings

from bnexp.errors import ConfigError
from bnexp.networks.device import resolve_device


@pytest.mark.parametrize("case", [*models()][::7], ids=label)
def test_a_run_of_a_stack_equals_the_run_alone(case):
    """Weights and rows agree to rounding: a batched product may add in another order."""
    made, seeds = settings(**case, record={"ics_every": 20}), (3, 8)
    together = make("torch", made, seeds=seeds)
    stacked, states = together.advance(60), together.state()
    for place, seed in enumerate(seeds):
        alone = make("torch", made, seeds=(seed,))
        (rows,) = alone.advance(60)
        (state,) = alone.state()
        for key, value in state.items():
            np.testing.assert_allclose(value, states[place][key], rtol=0, atol=1e-12, err_msg=key)
        np.testing.assert_allclose(rows.minibatch, stacked[place].minibatch, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(rows.metrics, stacked[place].metrics, rtol=0, atol=1e-12)
        shift = np.array(rows.gradient_shift)
        np.testing.assert_allclose(shift, stacked[place].gradient_shift, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_the_runs_of_a_stack_can_be_stacked_anew(case):
    """A state belongs to a run, so a stack may be continued in another order or company."""
    made = settings(train=case)
    first = make("torch", made, seeds=(0, 1, 2))
    first.advance(20)
    states = first.state()
    first.advance(20)
    other = make("torch", made, seeds=(2, 0))
    other.load_state(20, [states[2], states[0]])
    other.advance(20)
    for place, seed in enumerate((2, 0)):
        for key, value in first.state()[seed].items():
            np.testing.assert_allclose(value, other.state()[place][key], rtol=0, atol=1e-12)


def test_one_run_that_diverges_leaves_the_others_alone():
    """The stack goes on; the failure is that of its run."""
    made = settings(model={"norm": "none"}, train={"dtype": "float32"})
    engine = make("torch", made, seeds=(0, 1))
    states = engine.state()
    states[0]["output.weight"][:] = np.inf
    engine.load_state(0, states)
    bad, good = engine.advance(30)
    assert str(bad.failure) == "the loss is not finite at step 0"
    assert good.failure is None
    alone = make("torch", made, seeds=(1,))
    (rows,) = alone.advance(30)
    np.testing.assert_allclose(good.minibatch, rows.minibatch, rtol=1e-5, atol=1e-6)
    assert (len(bad.minibatch), len(good.minibatch)) == (0, 30)


def test_the_device_auto_is_cuda_or_the_cpu():
    """And a device that is not there is a mistake that names the key."""
    assert resolve_device("auto", "float32") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"train\.device=cuda: not on this machine"):
            resolve_device("cuda", "float32")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("case", [*models()][::7], ids=label)
def test_a_gpu_agrees_with_the_cpu(case):
    """In float64, after 100 steps."""
    from bnexp.networks.torch_engine import TorchEngine

    made = settings(**case)
    states = []
    for device in ("cpu", "cuda"):
        engine = TorchEngine(made, digits(), (0, 1), device)
        engine.advance(100)
        states.append(engine.state())
    for one, other in zip(*states, strict=True):
        for key, value in one.items():
            np.testing.assert_allclose(value, other[key], rtol=0, atol=1e-10, err_msg=key)
