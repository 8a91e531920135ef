"""The training loop: it learns, keeps the best weights, and stops with a clear sentence where it cannot go on."""

import random

import numpy as np
import pytest
import torch
from learning_samples import (
    INPUTS,
    TARGETS,
    accuracy,
    cross_entropy,
    make_batches,
    make_network,
    same,
    weights,
)

from cbirkit import learning


def train(network, batches=None, loss=cross_entropy, **settings):
    return learning.train(
        network, make_batches() if batches is None else batches, loss, progress=False, **settings
    )


def scores(values):
    """A validation that gives these numbers, one after another."""
    values = iter(values)
    return lambda network: next(values)


# ---------------------------------------------------------------------- learning


def test_the_loss_goes_down_and_the_history_tells_it():
    network = make_network(dropout=0.0)
    history = train(network, epochs=25, learning_rate=1e-2, validate=accuracy)
    table = history.table
    assert table["loss"].iloc[-1] < 0.5 * table["loss"].iloc[1]
    assert history.best_score > 0.9 and history.best_score == pytest.approx(
        float(accuracy(network))
    )
    assert table["epoch"].tolist() == list(range(26)) and table["step"].tolist() == [
        6 * epoch for epoch in range(26)
    ]
    assert np.isnan(table["loss"].iloc[0]) and np.isnan(table["learning_rate"].iloc[0])
    assert table["accuracy"].iloc[-1] > 0.8 and table["seconds"].is_monotonic_increasing
    assert not network.training and history.stopped == "finished"


def test_the_loss_column_is_the_mean_over_the_batches():
    given = iter([3.0, 1.0, 2.0, 6.0])

    def loss(network, batch):
        value = next(given)
        return network.weight.sum() * 0 + value, {"twice": 2 * value}

    history = train(torch.nn.Linear(1, 1), [0, 1], loss, epochs=2)
    assert history.table["loss"].tolist() == [2.0, 4.0] and history.table["twice"].tolist() == [
        4.0,
        8.0,
    ]
    assert (
        history.best_epoch is None
        and np.isnan(history.best_score)
        and history.table["score"].isna().all()
    )


def test_one_step_is_that_of_torch():
    ours, theirs = make_network(dropout=0.0), make_network(dropout=0.0)
    batch = (INPUTS, TARGETS)
    train(ours, [batch], epochs=1, learning_rate=0.01, schedule="constant", weight_decay=0.1)
    optimiser = torch.optim.AdamW(theirs.train().parameters(), lr=0.01, weight_decay=0.1)
    cross_entropy(theirs, batch)[0].backward()
    optimiser.step()
    assert same(weights(ours), weights(theirs))


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    results = []
    for seed in (0, 0, 1):
        network = make_network()
        train(network, epochs=2, random_state=seed)
        results.append(weights(network))
    assert same(results[0], results[1]) and not same(results[0], results[2])


def test_the_random_numbers_of_others_go_on_as_if_nothing_had_been():
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    expected = draw()
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
    train(make_network(), epochs=1)
    assert draw() == expected


def test_steps_end_a_run_within_an_epoch():
    history = train(make_network(), epochs=10, steps=8)
    assert history.table["step"].tolist() == [6, 8]
    assert train(make_network(), steps=13).table["step"].tolist() == [6, 12, 13]
    assert train(make_network(), epochs=1, steps=13).table["step"].tolist() == [6]


def test_an_epoch_may_be_shorter_than_it_said():
    class Short(list):
        def __len__(self):
            return 5

    history = train(make_network(), Short([(INPUTS, TARGETS)] * 3), epochs=2)
    assert history.table["step"].tolist() == [3, 6] and history.stopped == "finished"


def test_dicts_and_named_tuples_reach_the_loss():
    seen = []

    def loss(network, batch):
        seen.append(batch)
        return network(batch["x"]).sum()

    train(torch.nn.Linear(8, 1), [{"x": INPUTS, "name": "a"}], loss, epochs=1)
    assert seen[0]["name"] == "a" and torch.equal(seen[0]["x"], INPUTS)


# ---------------------------------------------------------------------- rates


@pytest.mark.parametrize("n_steps", [5, 10, 37, 100])
def test_schedules_are_those_of_torch(n_steps):
    for name, make in {
        "one_cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, n_steps, cycle_momentum=False
        ),
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, n_steps),
    }.items():
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler, expected = make(optimiser), []
        for _ in range(n_steps):
            expected.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        ours = [learning.rate_factor(name, step, n_steps) for step in range(n_steps)]
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_one_cycle_of_few_steps_stays_in_range(n_steps):
    factors = [learning.rate_factor("one_cycle", step, n_steps) for step in range(n_steps)]
    assert max(factors) == 1.0 and min(factors) > 0


def test_the_rate_of_each_step_reaches_the_optimiser():
    network = torch.nn.Linear(1, 1, bias=False)
    places = []

    def loss(network, batch):
        places.append(network.weight.item())
        return (
            network.weight.sum()
        )  # the gradient stays 1, so that a step of Adam is as long as the rate

    settings = {"learning_rate": 0.5, "weight_decay": 0.0, "schedule": "cosine"}
    history = train(network, [0] * 4, loss, epochs=1, **settings)
    rates = [0.5 * learning.rate_factor("cosine", step, 4) for step in range(4)]
    moved = -np.diff([*places, network.weight.item()])
    np.testing.assert_allclose(moved, rates, rtol=1e-4)
    assert history.table["learning_rate"].tolist() == rates[-1:]


def test_rates_by_the_beginning_of_the_name():
    network = torch.nn.ModuleDict(
        {
            "body": torch.nn.Linear(2, 2),
            "body2": torch.nn.Linear(2, 2),
            "head": torch.nn.Linear(2, 2),
        }
    )
    before = weights(network)

    def loss(network, batch):
        return sum(layer(torch.ones(1, 2)).sum() for layer in network.values())

    rates = {"": 1e-3, "body": 1e-2, "head.bias": 1e-1}
    train(network, [0], loss, epochs=1, learning_rate=rates, schedule="constant", weight_decay=0.0)
    moved = {
        name: (value - before[name]).abs().max().item()
        for name, value in network.state_dict().items()
    }
    expected = {
        "body.weight": 1e-2,
        "body.bias": 1e-2,
        "body2.weight": 1e-3,
        "body2.bias": 1e-3,
        "head.weight": 1e-3,
        "head.bias": 1e-1,
    }
    assert moved == pytest.approx(expected, rel=1e-3)  # Adam's first step is as long as the rate
    with pytest.raises(ValueError, match="no entry for the parameter 'head.weight'"):
        train(network, [0], loss, epochs=1, learning_rate={"body": 1e-2, "body2": 1e-2})


def test_a_long_gradient_is_clipped():
    ours, theirs = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
    theirs.load_state_dict(ours.state_dict())
    settings = {"learning_rate": 0.1, "schedule": "constant", "weight_decay": 0.0}
    train(
        ours,
        [1.0, 1e-8],
        lambda n, b: b * n.weight.square().sum(),
        epochs=1,
        clip_norm=0.5,
        **settings,
    )
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.0)
    for factor in (1.0, 1e-8):
        optimiser.zero_grad()
        (factor * theirs.weight.square().sum()).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimiser.step()
    assert same(weights(ours), weights(theirs))


# ---------------------------------------------------------------------- what learns and what does not


def test_frozen_layers_keep_weights_and_statistics():
    network = make_network()
    network[:2].requires_grad_(False)
    before = weights(network)
    train(network, epochs=2)
    after = weights(network)
    assert all(
        torch.equal(before[name], after[name]) for name in before if name.startswith(("0.", "1."))
    )
    assert not torch.equal(before["4.weight"], after["4.weight"])


@pytest.mark.parametrize("choice, moves", [("update", True), ("frozen", False)])
def test_statistics_of_batch_normalisation_are_a_choice(choice, moves):
    network = make_network()
    before = weights(network)
    train(network, epochs=1, batch_norm=choice)
    after = weights(network)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(before[name], after[name]) != moves
    assert not torch.equal(
        before["1.weight"], after["1.weight"]
    )  # its own weights learn either way


def test_batch_normalisation_without_weights_follows_the_choice_alone():
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(8, affine=False), torch.nn.Linear(8, 4))
    train(network, epochs=1)
    assert network[0].num_batches_tracked == 6


# ---------------------------------------------------------------------- the best epoch


def test_the_best_epoch_is_kept_and_patience_ends_the_run():
    kept, network = {}, make_network()
    values = iter([0.1, 0.2, 0.7, 0.5, 0.7, 0.6, 0.9])

    def validate(network):
        assert not network.training and not torch.is_grad_enabled()
        kept[len(kept)] = weights(network)
        return next(values)

    history = train(network, epochs=20, validate=validate, patience=3)
    assert history.table["score"].tolist() == [
        0.1,
        0.2,
        0.7,
        0.5,
        0.7,
        0.6,
    ]  # the second 0.7 is no better
    assert (history.best_epoch, history.best_score, history.stopped) == (2, 0.7, "patience")
    assert same(weights(network), kept[2]) and not same(kept[2], kept[5])


def test_where_nothing_helps_the_weights_are_those_before_training():
    network = make_network()
    before = weights(network)
    history = train(network, epochs=3, validate=scores([0.9, 0.5, 0.6, 0.7]))
    assert history.best_epoch == 0 and same(weights(network), before)
    assert "epoch 0" in str(history) and "0.9000" in str(history)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "good", (1, 2)])
def test_a_score_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="validate gave .* after epoch 1"):
        train(make_network(), epochs=2, validate=scores([0.5, value]))


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_the_last_good_weights(bad):
    kept, network, calls = {}, make_network(), []

    def loss(network, batch):
        calls.append(len(calls))
        if calls[-1] == 6:
            kept.update(weights(network))  # after the first epoch
        return cross_entropy(network, batch)[0] * (bad if calls[-1] == 8 else 1.0)

    with pytest.raises(
        learning.TrainingDiverged,
        match=f"the loss is {bad} at step 9.*end of epoch 1 again. Lower learning_rate",
    ) as caught:
        train(network, epochs=3, loss=loss)
    assert same(weights(network), kept)
    assert (
        caught.value.history.table["step"].tolist() == [6]
        and caught.value.history.stopped == "diverged"
    )


def test_a_gradient_that_is_no_number_never_reaches_the_weights():
    network = torch.nn.Linear(1, 1)
    before = weights(network)

    def loss(network, batch):
        return (network.weight.sum() * 0).sqrt()  # finite, but its slope is not

    with pytest.raises(
        learning.TrainingDiverged,
        match="the gradient is .* at step 1, so training stops; .* of the start again",
    ):
        train(network, [0], loss, epochs=1)
    assert same(weights(network), before)


def test_a_weight_that_is_no_number_brings_the_best_epoch_back():
    network, kept = torch.nn.Linear(1, 1), {}

    def validate(network):
        kept.setdefault(len(kept), weights(network))
        return len(kept)

    def loss(network, batch):
        if batch == 1:
            with torch.no_grad():
                network.weight.fill_(float("inf"))
        return network.bias.sum()

    with pytest.raises(
        learning.TrainingDiverged,
        match="a weight is infinite or not a number after step 3; |of epoch 2, the best",
    ):
        train(network, [0], lambda n, b: loss(n, int(len(kept) == 3)), epochs=5, validate=validate)
    assert same(weights(network), kept[2])


class Once:
    """Batches that can be gone through a single time."""

    def __init__(self):
        self.left = iter([(INPUTS, TARGETS)])

    def __len__(self):
        return 1

    def __iter__(self):
        return self.left


@pytest.mark.parametrize("batches", [[], iter([1, 2]), 7, Once()])
def test_no_batches(batches):
    with pytest.raises(ValueError, match="iterable again and again"):
        train(make_network(), batches, epochs=2)


@pytest.mark.parametrize(
    "loss, error, words",
    [
        (lambda n, b: 1.5, TypeError, "gave float"),
        (lambda n, b: n(b[0]), TypeError, r"\[20, 4\]"),
        (lambda n, b: n(b[0]).sum().detach(), ValueError, "depends on no weight that learns"),
    ],
)
def test_a_loss_function_that_is_none(loss, error, words):
    with pytest.raises(error, match=words):
        train(make_network(), loss=loss, epochs=1)


def test_nothing_learns():
    with pytest.raises(ValueError, match="all are frozen"):
        train(make_network().requires_grad_(False), epochs=1)


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({}, ValueError, "how long to train"),
        ({"epochs": 0}, ValueError, "epochs must be a whole number"),
        ({"epochs": 1, "steps": 1.5}, ValueError, "steps must be a whole number"),
        ({"epochs": 1, "patience": 2}, ValueError, "needs a validation score"),
        ({"epochs": 1, "rate": 2}, TypeError, "unexpected keyword argument 'rate'"),
        ({"epochs": 1, "learning_rate": 0}, ValueError, "learning_rate must be a number > 0"),
        ({"epochs": 1, "learning_rate": {}}, ValueError, "learning_rate"),
        ({"epochs": 1, "learning_rate": {"": float("nan")}}, ValueError, "learning_rate"),
        ({"epochs": 1, "weight_decay": -1}, ValueError, "weight_decay must be a number >= 0"),
        ({"epochs": 1, "clip_norm": 0}, ValueError, "clip_norm must be a number > 0"),
        ({"epochs": 1, "schedule": "step"}, ValueError, "schedule must be one of"),
        ({"epochs": 1, "batch_norm": "off"}, ValueError, "batch_norm must be one of"),
        ({"epochs": 1, "device": "tpu9"}, ValueError, "device"),
    ],
)
def test_settings_that_make_no_sense(settings, error, words):
    with pytest.raises(error, match=words):
        train(make_network(), **settings)


def test_options_and_single_settings_go_together():
    history = train(
        make_network(),
        epochs=2,
        options=learning.Options(steps=3, learning_rate=0.5, schedule="constant"),
        steps=7,
    )
    assert history.table["step"].tolist() == [6, 7] and history.table["learning_rate"].tolist() == [
        0.5,
        0.5,
    ]
