"""Running statistics against those that Algorithm 2 asks for, computed independently."""

import numpy as np
import pytest
import torch
from helpers.cases import (
    digits,
    make,
    minibatch,
    plain,
    settings,
    with_cumulative_statistics,
)
from helpers.experiments import contents, go, read

from bnexp.networks.running_statistics import (
    MINIBATCHES,
    RunningStatisticsMeter,
    population_statistics,
)


def loaded(made, state):
    """The plain network with these parameters."""
    network = plain(made)
    network.load_state_dict({key: torch.from_numpy(np.asarray(v)) for key, v in state.items()})
    return network


def trained(engine, steps=60):
    """Settings, and the state_dict of a network after so many steps."""
    made = settings(train={"lr": 0.3})
    at_work = make(engine, made)
    at_work.advance(steps)
    return made, at_work.state_dicts()[0]


def in_torch(network, made):
    """The same statistics by torch itself."""
    steps = range(len(digits().train_y) // made.train.batch_size)
    return with_cumulative_statistics(network, (minibatch(made, step)[0] for step in steps))


def correct(network, made, size=None):
    """The share of the test set that is classified correctly, by plain loops."""
    x = torch.from_numpy(digits().test_x).to(getattr(torch, made.train.dtype))
    y = torch.from_numpy(digits().test_y)
    with torch.no_grad():
        if size is None:
            return (network.eval()(x).argmax(1) == y).double().mean().item()
        parts = x.tensor_split(len(x) // size)
        return (torch.cat([network.train()(p).argmax(1) for p in parts]) == y).double().mean()


def test_population_statistics_are_the_cumulative_average_of_torch():
    """E[mu_B] and the mean of the unbiased var_B, to 1e-12, of each layer's input."""
    made, state = trained("torch")
    count = len(digits().train_y) // made.train.batch_size
    assert count < MINIBATCHES
    batches = torch.stack([minibatch(made, step)[0] for step in range(count)])
    found = population_statistics(loaded(made, state), batches.split(4))
    expected = in_torch(loaded(made, state), made)
    norms = [module for module in expected if isinstance(module, torch.nn.BatchNorm1d)]
    for (mean, variance), norm in zip(found, norms, strict=True):
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(variance, norm.running_var, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ["kernels", "torch"])
def test_a_row_holds_the_gaps_and_the_three_accuracies(engine):
    """Each as a plain computation has it; the gaps to float32, in which they are kept."""
    made, state = trained(engine)
    (row,) = RunningStatisticsMeter(made, digits(), [0]).measure(60, [state])
    network, wanted = loaded(made, state), in_torch(loaded(made, state), made)
    gaps = []
    for have, want in zip(network, wanted, strict=True):
        if isinstance(have, torch.nn.BatchNorm1d):
            mean = (have.running_mean - want.running_mean) / want.running_var.sqrt()
            variance = have.running_var / want.running_var - 1
            gaps.append(torch.stack([mean, variance]))
    expected = torch.cat(gaps, 1).square().mean(1).sqrt()
    assert row.step == 60
    assert (row.mean_gap, row.variance_gap) == pytest.approx(tuple(expected.tolist()), rel=2**-23)
    assert row.mean_gap > 0.01
    assert row.minibatch_accuracy == correct(loaded(made, state), made, made.train.batch_size)
    assert row.running_accuracy == correct(network, made)
    assert row.population_accuracy == correct(wanted, made)


def test_a_network_that_is_not_finite_has_no_row():
    """The run fails at its next step, and nothing of it counts from here on."""
    made, state = trained("kernels", 1)
    broken = {**state, "linear2.weight": np.full_like(state["linear2.weight"], np.nan)}
    fine, none = RunningStatisticsMeter(made, digits(), [0, 1]).measure(1, [state, broken])
    assert fine is not None
    assert none is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("engine", ["kernels", "torch"])
def test_a_run_records_them_at_their_steps_and_changes_nothing_else(small_plan, engine):
    """Rows 0, 12, 24, 36 and the end; stopped and continued, the bytes are the same."""
    case = {"train": {"engine": engine}, "record": {"statistics_every": 12, "probe_size": 40}}
    whole, stopped = (small_plan(name, **case) for name in ("whole", "stopped"))
    without = small_plan("without", train={"engine": engine}, record={"probe_size": 40})
    assert go(whole)[0] == "done"
    assert go(stopped, stop_after=3)[0] == "interrupted"
    assert go(stopped)[0] == "done"
    assert contents(whole.folder) == contents(stopped.folder)
    assert read(whole).running_statistics.steps.tolist() == [0, 12, 24, 36, 40]
    assert go(without)[0] == "done"
    assert read(without).running_statistics is None
    same = contents(whole.folder)
    del same["running_statistics.csv"], same["percentiles.json"]
    other = contents(without.folder)
    del other["percentiles.json"]
    assert same == other


@pytest.mark.usefixtures("quick")
def test_a_network_without_batch_norm_has_no_running_statistics(small_plan):
    """There is nothing to compare, and no file."""
    case = {
        "model": {"norm": "none", "bias": True},
        "record": {"statistics_every": 12, "probe_size": 40},
    }
    plan = small_plan("plain", **case)
    go(plan)
    assert read(plan).running_statistics is None
    assert not (plan.folder / "running_statistics.csv").exists()
