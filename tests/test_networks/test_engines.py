"""What holds of both engines, and that they agree with each other and with plain PyTorch."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from helpers.cases import (
    OPTIMIZERS,
    assert_same_bits,
    digits,
    label,
    make,
    minibatch,
    models,
    plain,
    settings,
    sparse_digits,
    train_plainly,
    trained_as_plainly,
)

from bnexp.networks.mlp import activation_module, mlp
from bnexp.recording.percentiles import Percentiles

# The kernels for float64 are compiled once, where one process makes all of these tests.
pytestmark = [
    pytest.mark.xdist_group("float64"),
    pytest.mark.usefixtures("float64_kernels"),
]

both = pytest.mark.parametrize("engine", ["kernels", "torch"])


class Activations(torch.nn.Module):
    """Gives each run of a stack an activation of its own."""

    def __init__(self, names):
        super().__init__()
        self.each = torch.nn.ModuleList(map(activation_module, names))

    def forward(self, z):
        return torch.stack([f(x) for f, x in zip(self.each, z.unbind(), strict=True)])


@cache
def stacked(group):
    """The torch engine's answers to cases that differ in the activation alone.

    It trains them as the runs of one stack, which takes little longer than one of them. That a run
    of a stack is that run alone is tested in `test_torch_engine.py`.

    Returns:
        By activation: rows, state and rows of the final network.
    """
    cases = [case for case in models() if group_of(case) == group]
    names = [case["model"]["activation"] for case in cases]
    engine = make("torch", settings(**cases[0]), seeds=(0,) * len(cases))
    engine.network.activation = Activations(names)
    answers = engine.advance(200), engine.state(), engine.finish()
    return dict(zip(names, zip(*answers, strict=True), strict=True))


def group_of(case):
    """All of a case but its activation."""
    model = {key: value for key, value in case["model"].items() if key != "activation"}
    return repr((model, case["train"]))


@pytest.mark.parametrize("case", [*models()], ids=label)
def test_the_engines_agree_after_200_steps(case):
    """Weights, optimizer memory, percentiles and metrics agree to 1e-10 in float64."""
    engine = make("kernels", settings(**case))
    ((ours,), (ours_state,), (ours_end,)) = engine.advance(200), engine.state(), engine.finish()
    theirs, theirs_state, theirs_end = stacked(group_of(case))[case["model"]["activation"]]
    assert ours_state.keys() == theirs_state.keys()
    for key, value in ours_state.items():
        np.testing.assert_allclose(value, theirs_state[key], rtol=0, atol=1e-10, err_msg=key)
    for name in ("minibatch", "probe", "norm_parameters"):
        a, b = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(ours.metrics, theirs.metrics, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours_end.metrics, theirs_end.metrics, rtol=0, atol=1e-10)


@both
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_training_equals_a_plain_pytorch_loop(engine, norm, case):
    """nn.Sequential with torch.optim arrives at the same parameters and running statistics."""
    made = settings(model={"norm": norm, "bias": norm == "none"}, train=case)
    trained_as_plainly(engine, made)


@both
@pytest.mark.parametrize("case", [*models()], ids=label)
def test_the_gradient_of_one_step_is_that_of_autograd(engine, case):
    """One step of plain SGD with a learning rate of 1 moves each parameter by its gradient."""
    made = settings(**{**case, "train": {"lr": 1.0}})
    trained = make(engine, made)
    (before,) = trained.state_dicts()
    trained.advance(1)
    (after,) = trained.state_dicts()
    network = plain(made)
    x, y = minibatch(made, 0)
    torch.nn.functional.cross_entropy(network(x), y).backward()
    for key, parameter in network.named_parameters():
        expected = 0.0 if parameter.grad is None else parameter.grad.numpy()
        np.testing.assert_allclose(before[key] - after[key], expected, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "leaky_relu"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_gradient_is_that_of_finite_differences(norm, activation):
    """(L(p + h) - L(p - h)) / 2h of some parameters of every array, from the kernels' own loss."""
    made = settings(model={"norm": norm, "bias": norm == "none", "activation": activation})
    made = replace(made, train=replace(made.train, lr=1.0))
    engine = make("kernels", made)
    (start,) = engine.state()
    engine.advance(1)
    (after,) = engine.state()
    skip = ("running", "num_batches", "train_loss")
    for key in [key for key in start if not any(word in key for word in skip)]:
        for place in (0, start[key].size - 1):
            losses = []
            for h in (1e-5, -1e-5):
                moved = {name: value.copy() for name, value in start.items()}
                moved[key].flat[place] += h
                engine.load_state(0, [moved])
                engine.advance(1)
                losses.append(engine.state()[0]["train_loss"][0])
            slope = (losses[0] - losses[1]) / 2e-5
            gradient = start[key].flat[place] - after[key].flat[place]
            np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-6, err_msg=key)


@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_nothing_depends_on_how_the_steps_are_divided(engine, dtype, case):
    """One call of 75 steps, and many with checkpoints between them, give the same bits.

    An epoch has 71 of these steps.
    """
    made = settings(train={**case, "dtype": dtype}, record={"every": 3, "ics_every": 11})
    whole, other = make(engine, made), make(engine, made)
    (expected,) = whole.advance(75)
    parts = []
    for steps in (1, 6, 2, 40, 25, 1):
        parts += other.advance(steps)
        states, step = other.state(), other.step
        other.finish()
        other = make(engine, made)
        other.load_state(step, states)
    assert_same_bits(whole.state(), other.state())
    assert_same_bits(whole.finish(), other.finish())
    for name in ("minibatch", "probe", "norm_parameters"):
        joined = np.concatenate([getattr(rows, name) for rows in parts])
        np.testing.assert_array_equal(joined, getattr(expected, name))
    np.testing.assert_array_equal([r for rows in parts for r in rows.metrics], expected.metrics)
    shifts = [row for rows in parts for row in rows.gradient_shift]
    np.testing.assert_array_equal(shifts, expected.gradient_shift)


@both
def test_the_rows_are_those_of_the_steps_that_are_due(engine):
    """Step 0 is due, and `finish` adds the row of the final network."""
    made = settings(record={"every": 4, "layers": (2,), "percentiles": (15.0, 50.0, 85.0, 100.0)})
    trained = make(engine, made)
    (rows,) = trained.advance(21)
    (last,) = trained.finish()
    assert rows.minibatch.shape == (6, 4, 7)  # steps 0, 4, .. 20
    assert rows.probe.shape == (3, 4, 16)  # 0, 10, 20
    assert rows.norm_parameters.shape == (3, 2, 16)
    assert [row.step for row in rows.metrics] == [0, 7, 14]
    assert (last.minibatch.shape, last.probe.shape) == ((0, 4, 7), (1, 4, 16))
    assert [row.step for row in last.metrics] == [21]
    assert np.isnan(rows.metrics[0].train_loss)
    assert {array.dtype for array in (rows.minibatch, rows.probe)} == {np.dtype(np.float32)}


@both
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_percentiles_are_those_of_numpy_on_the_plain_network(engine, norm):
    """Row 0 of both logs, from the pre-activations that plain PyTorch computes in training mode."""
    made = settings(model={"norm": norm})
    (rows,) = make(engine, made).advance(1)
    network = plain(made).train()
    dataset, q = digits(), made.record.percentiles
    probe = torch.from_numpy(dataset.test_x[:50]).double()
    for inputs, measured in ((minibatch(made, 0)[0], rows.minibatch[0]), (probe, rows.probe[0])):
        x, seen = inputs, []
        for name, module in network.named_children():
            if name.startswith("activation"):
                seen.append(x.detach().numpy())
            x = module(x)
        expected = np.percentile(np.concatenate(seen, 1), q, axis=0)
        np.testing.assert_allclose(measured, expected, rtol=1e-6, atol=1e-9)


@both
@pytest.mark.parametrize("case", [*models()][::7], ids=label)
def test_the_state_dict_loads_strictly_and_has_the_recorded_accuracy(engine, case):
    """The plain network in evaluation mode gives the last row's accuracy and loss."""
    made = settings(**case)
    trained = make(engine, made)
    trained.advance(50)
    ((row,),) = (rows.metrics for rows in trained.finish())
    network = mlp(made.model, 64, 10).double()
    (state,) = trained.state_dicts()
    tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}
    network.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(digits().test_x).double())
    y = torch.from_numpy(digits().test_y)
    assert (logits.argmax(1) == y).double().mean().item() == row.test_accuracy
    loss = torch.nn.functional.cross_entropy(logits, y).item()
    np.testing.assert_allclose(loss, row.test_loss, rtol=1e-10)


@both
def test_a_run_that_diverges_says_at_which_step(engine):
    """Its rows of the steps before are there, none of that step, and later calls repeat it."""
    made = settings(
        model={"norm": "none", "activation": "relu", "weight_std": 1.0},
        train={"lr": 1e30, "dtype": "float32"},
        record={"probe_every": 1, "evaluate_every": 1},
    )
    trained = make(engine, made)
    (rows,) = trained.advance(50)
    (again,) = trained.advance(10)
    words = str(rows.failure).split()
    assert words[:-1] == ["the", "loss", "is", "not", "finite", "at", "step"]
    step = int(words[-1])
    assert 0 < step < 50
    assert len(rows.minibatch) == len(rows.probe) == len(rows.metrics) == step
    assert again.failure == rows.failure
    assert len(again.minibatch) == len(again.metrics) == 0


@both
def test_a_weight_that_is_not_finite_at_the_end_is_a_failure(engine):
    """The last update may have made it so, and no loss has seen it."""
    made = settings(train={"dtype": "float32"})
    trained = make(engine, made)
    (state,) = trained.state()
    state["output.weight"][0, 0] = np.inf
    trained.load_state(5, [state])
    (rows,) = trained.finish()
    assert str(rows.failure) == "a weight is not finite at step 5"
    assert len(rows.metrics) == len(rows.probe) == 0


@both
def test_a_minibatch_of_one_example_trains_without_batch_norm(engine):
    """Its three percentiles are the one value."""
    made = settings(model={"norm": "none", "bias": True}, train={"batch_size": 1})
    trained = make(engine, made)
    (rows,) = trained.advance(5)
    expected = train_plainly(made, 5)
    (state,) = trained.state_dicts()
    for key, value in expected.items():
        np.testing.assert_allclose(state[key], value, rtol=0, atol=1e-12, err_msg=key)
    np.testing.assert_array_equal(rows.minibatch[:, 0], rows.minibatch[:, 2])


@pytest.mark.parametrize("hidden", [(1,), (300, 3), (16, 17, 5, 33)])
@pytest.mark.parametrize("batch_size", [2, 61, 150])
def test_layers_and_minibatches_of_any_size_agree(hidden, batch_size):
    """Narrower and wider than a tile, and with remainders."""
    made = settings(
        model={"hidden": hidden, "weight_std": 0.1},
        train={"batch_size": batch_size},
        record={"probe_size": 300},
    )
    engines = [make(name, made) for name in ("kernels", "torch")]
    (ours,), (theirs,) = (engine.advance(30) for engine in engines)
    # With two examples a normalized value is +1 or -1, and 1 / sqrt(var) amplifies rounding.
    tolerance = 1e-6 if batch_size == 2 else 1e-10
    (a,), (b,) = (engine.state_dicts() for engine in engines)
    for key, value in a.items():
        np.testing.assert_allclose(value, b[key], rtol=tolerance, atol=tolerance, err_msg=key)
    np.testing.assert_allclose(ours.minibatch, theirs.minibatch, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("binarize", [True, False])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_sparse_examples_agree(case, binarize):
    """The sparse products of the kernels against torch, for binary and for grey pixels."""
    made, dataset = settings(train=case), sparse_digits(binarize=binarize)
    engines = [make(name, made, dataset) for name in ("kernels", "torch")]
    for engine in engines:
        engine.advance(100)
    (a,), (b,) = (engine.state() for engine in engines)
    for key, value in a.items():
        np.testing.assert_allclose(value, b[key], rtol=0, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("binarize", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", [10, 64, 150])  # a part of a word of bits, all of it, three
def test_sparse_and_dense_products_give_the_same_bits(monkeypatch, binarize, momentum, batch_size):
    """What is left out is a product with 0."""
    from bnexp.networks.kernels import examples

    dataset = sparse_digits(binarize=binarize)
    made = settings(
        train={"dtype": "float32", "batch_size": batch_size, "momentum": momentum},
    )
    leaving_out = make("kernels", made, dataset)
    assert examples.examples_of(dataset)[0].sparse
    assert examples.examples_of(dataset)[0].binary == binarize
    monkeypatch.setattr(examples, "SPARSE", 0.0)
    dense = make("kernels", made, dataset)
    assert not examples.examples_of(dataset)[0].sparse
    assert_same_bits(leaving_out.advance(60), dense.advance(60))
    assert_same_bits(leaving_out.state(), dense.state())


def test_float32_engines_agree_to_its_precision():
    """The same run in float32 on both engines, after 100 steps."""
    made = settings(train={"dtype": "float32"})
    engines = [make(name, made) for name in ("kernels", "torch")]
    for engine in engines:
        engine.advance(100)
    (a,), (b,) = (engine.state_dicts() for engine in engines)
    for key, value in a.items():
        assert value.dtype == b[key].dtype
        np.testing.assert_allclose(value, b[key], rtol=0, atol=2e-5, err_msg=key)


def test_percentiles_do_not_need_the_torch_of_the_recorder():
    """The class that both engines use selects with NumPy too."""
    values = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    expected = np.percentile(values.astype(np.float64), (15, 50), axis=0).astype(np.float32)
    np.testing.assert_array_equal(Percentiles((15, 50), 20).of(values), expected)
