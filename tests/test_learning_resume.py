"""A run that was killed and gone on with ends as if nothing had happened, to the bit."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

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
from cbirkit.learning import loop

SETTINGS = {"epochs": 4, "learning_rate": 1e-2, "validate": accuracy, "progress": False}  # 24 steps


class Killed(BaseException):
    """What no code catches, as a kill is caught by none."""


def train(network, folder=None, batches=None, loss=cross_entropy, **settings):
    batches = make_batches() if batches is None else batches
    return learning.train(
        network, batches, loss, checkpoint=folder, **{**SETTINGS, "save_seconds": 0, **settings}
    )


def without_times(history):
    return history.table.drop(columns="seconds")


@pytest.fixture(scope="module")
def whole():
    """Table and weights of a run that nothing disturbed."""
    network = make_network()
    return without_times(train(network)), weights(network)


def killing(at, loss=cross_entropy):
    """A loss that kills the run once, when it is asked for the `at`-th time."""
    state = {"calls": 0}

    def dying(network, batch):
        state["calls"] += 1
        if state["calls"] == at:
            raise Killed
        return loss(network, batch)

    dying.calls = state
    return dying


@pytest.mark.parametrize("at", [1, 6, 7, 15, 24])
def test_a_run_killed_in_a_step(at, whole, tmp_path):
    dying = killing(at)
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=dying)
    torch.rand(3)  # somebody else's random numbers go on meanwhile
    network = make_network()
    history = train(network, tmp_path / "run", loss=dying)
    assert dying.calls["calls"] == 25  # the killed step once more, no other
    assert same(weights(network), whole[1])
    assert without_times(history).equals(whole[0])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "manifest.json",
        "numbers.json",
        "tensors.safetensors",
    ]


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_run_killed_while_it_validates(at, whole, tmp_path):
    calls = {"n": 0}

    def validate(network):
        calls["n"] += 1
        torch.rand(7)  # a validation that draws random numbers is no reason to differ
        if calls["n"] == at:
            raise Killed
        return accuracy(network)

    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", validate=validate)
    network = make_network()
    history = train(network, tmp_path / "run", validate=validate)
    calls["n"] = 100
    other = make_network()
    assert without_times(train(other, validate=validate)).equals(without_times(history))
    assert same(weights(network), weights(other))


def test_a_run_killed_again_and_again(whole, tmp_path):
    network = None
    for at in (3, 5, 2, 8):
        with pytest.raises(Killed):
            train(make_network(), tmp_path / "run", loss=killing_forever(at))
    network = make_network()
    assert without_times(train(network, tmp_path / "run", loss=killing_forever(1000))).equals(
        whole[0]
    )
    assert same(weights(network), whole[1])


def killing_forever(at):
    """As `killing`; one function for all parts, as a script that is run again has."""
    STATE.update(calls=0, at=at)
    return mortal


STATE = {}


def mortal(network, batch):
    STATE["calls"] += 1
    if STATE["calls"] == STATE["at"]:
        raise Killed
    return cross_entropy(network, batch)


def test_without_validation_and_with_momentum(tmp_path):
    def sgd(network):
        return torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)

    settings = {"validate": None, "optimiser": sgd, "schedule": "cosine", "clip_norm": 1.0}
    whole, killed = make_network(), make_network()
    expected = train(whole, **settings)
    dying = killing(15)
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=dying, **settings)
    history = train(killed, tmp_path / "run", loss=dying, **settings)
    assert same(weights(killed), weights(whole)) and without_times(history).equals(
        without_times(expected)
    )


def test_patience_is_remembered(tmp_path):
    values = {0: 0.1, 6: 0.9, 12: 0.2, 18: 0.3, 24: 0.4}
    steps = {"n": 0}

    def loss(network, batch):
        steps["n"] += 1
        if steps["n"] == 15:
            raise Killed
        return cross_entropy(network, batch)

    def validate(network):
        return values[int(network[1].num_batches_tracked)]

    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=loss, validate=validate, patience=2)
    history = train(make_network(), tmp_path / "run", loss=loss, validate=validate, patience=2)
    assert (history.stopped, history.best_epoch, history.table["step"].iloc[-1]) == (
        "patience",
        1,
        18,
    )


def test_a_loader_that_draws_from_numpy(tmp_path):
    class Noisy:
        """Batches whose order and contents come from numpy's and Python's own generators."""

        def __len__(self):
            return 4

        def __iter__(self):
            import random

            for start in np.random.permutation(4) * 30:
                yield (
                    INPUTS[start : start + 30] + np.random.normal() + random.random(),
                    TARGETS[start : start + 30],
                )

    whole, killed, dying = make_network(), make_network(), killing(10)
    train(whole, batches=Noisy())
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", batches=Noisy(), loss=dying)
    train(killed, tmp_path / "run", batches=Noisy(), loss=dying)
    assert same(weights(killed), weights(whole))


# ---------------------------------------------------------------------- real signals


SCRIPT = """
    import sys, time
    sys.path[:0] = {paths!r}
    import torch
    torch.set_num_threads(1)
    from learning_samples import accuracy, cross_entropy, make_batches, make_network
    from cbirkit import learning

    def loss(network, batch):
        print("step", flush=True)
        time.sleep(0.05)
        return cross_entropy(network, batch)

    network = make_network()
    try:
        learning.train(network, make_batches(), loss, epochs=4, learning_rate=1e-2, validate=accuracy, checkpoint=sys.argv[1],
                       save_seconds=0)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    torch.save(network.state_dict(), sys.argv[1] + ".pt")
"""


@pytest.fixture
def script(tmp_path):
    """A function that starts training in another process."""
    file = tmp_path / "script.py"
    here = Path(__file__).resolve()
    file.write_text(
        textwrap.dedent(SCRIPT.format(paths=[str(here.parent), str(here.parent.parent)]))
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start():
        return subprocess.Popen(
            [sys.executable, str(file), str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return start


def undisturbed_on_one_thread():
    """Weights of a run that nothing disturbed, on as many threads as the script has: others round otherwise."""
    before, network = torch.get_num_threads(), make_network()
    torch.set_num_threads(1)
    try:
        train(network)
    finally:
        torch.set_num_threads(before)
    return weights(network)


def read_lines(process, number):
    return [process.stdout.readline().strip() for _ in range(number)]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_real_interrupt_and_a_real_kill(script, tmp_path):
    def steps_kept():
        return json.loads((tmp_path / "run" / "numbers.json").read_text())["at"]["step"]

    first = script()
    assert read_lines(first, 5) == ["step"] * 5
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=900)[0].split()
    assert said[-1] == "interrupted"  # a script is told
    kept = steps_kept()
    assert kept == 5 + said.count("step")  # the step that was on its way was finished first

    second = script()
    assert read_lines(second, 6) == ["step"] * 6
    second.send_signal(signal.SIGKILL)
    second.wait()
    second.stdout.close()
    killed = steps_kept()
    assert kept + 4 <= killed < 24

    assert script().communicate(timeout=900)[0].split() == ["step"] * (24 - killed)
    assert same(
        torch.load(f"{tmp_path / 'run'}.pt", weights_only=True), undisturbed_on_one_thread()
    )


# ---------------------------------------------------------------------- the stop button


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(loop, "in_notebook", lambda: True)


def pressing_stop(at):
    calls = {"n": 0}

    def loss(network, batch):
        calls["n"] += 1
        if calls["n"] == at:
            signal.raise_signal(signal.SIGINT)
        return cross_entropy(network, batch)

    loss.calls = calls
    return loss


def test_the_stop_button_keeps_what_was_learned(notebook, whole, tmp_path):
    network, before = make_network(), signal.getsignal(signal.SIGINT)
    loss = pressing_stop(15)
    history = train(network, tmp_path / "run", loss=loss)
    assert history.stopped == "interrupted" and loss.calls["n"] == 15
    assert history.table["epoch"].tolist() == [0, 1, 2]
    assert history.best_score == pytest.approx(
        float(accuracy(network))
    )  # the best epoch's weights are back
    assert signal.getsignal(signal.SIGINT) is before
    after = train(
        network, tmp_path / "run", loss=loss
    )  # the cell is run again, on the same network
    assert loss.calls["n"] == 24 and after.stopped == "finished"
    assert same(weights(network), whole[1]) and without_times(after).equals(whole[0])


def test_stopped_in_the_first_epoch_the_present_weights_stay(notebook):
    network = make_network()
    before = weights(network)
    history = train(network, loss=pressing_stop(3))
    assert history.best_epoch is None and history.weights_from == "step 3, the last"
    assert not same(weights(network), before) and not network.training


def test_stopped_while_it_validates(notebook, tmp_path, whole):
    calls = {"n": 0}

    def validate(network):
        calls["n"] += 1
        if calls["n"] == 3:
            signal.raise_signal(signal.SIGINT)
            raise RuntimeError("it should have stopped")
        return accuracy(network)

    network = make_network()
    history = train(network, tmp_path / "run", validate=validate)
    assert history.stopped == "interrupted" and history.table["epoch"].tolist() == [0, 1]
    assert train(network, tmp_path / "run", validate=validate).stopped == "finished"
    assert calls["n"] == 6 and same(weights(network), whole[1])


def test_an_interrupt_from_within_the_loss_leaves_the_checkpoint_of_the_step_before(
    notebook, tmp_path, whole
):
    calls = {"n": 0}

    def loss(network, batch):
        calls["n"] += 1
        if calls["n"] == 9:
            raise KeyboardInterrupt
        return cross_entropy(network, batch)

    network = make_network()
    assert train(network, tmp_path / "run", loss=loss).stopped == "interrupted"
    assert json.loads((tmp_path / "run" / "numbers.json").read_text())["at"]["step"] == 8
    train(network, tmp_path / "run", loss=loss)
    assert calls["n"] == 25 and same(weights(network), whole[1])


def test_training_in_another_thread_than_the_main_one(whole):
    network = make_network()
    thread = threading.Thread(target=train, args=(network,))
    thread.start()
    thread.join()
    for name, tensor in weights(network).items():  # another thread may sum in another order
        torch.testing.assert_close(tensor, whole[1][name], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- other checkpoints


def test_a_finished_run_gives_its_result_at_once(whole, tmp_path):
    loss = killing(0)
    train(make_network(), tmp_path / "run", loss=loss)
    stamp = (tmp_path / "run" / "tensors.safetensors").stat().st_mtime_ns
    network = make_network()
    history = train(network, tmp_path / "run", loss=loss)
    assert (
        loss.calls["calls"] == 24
        and same(weights(network), whole[1])
        and without_times(history).equals(whole[0])
    )
    assert (tmp_path / "run" / "tensors.safetensors").stat().st_mtime_ns == stamp


def test_an_empty_folder_is_a_fine_place(whole, tmp_path):
    network = make_network()
    train(network, tmp_path)
    assert same(weights(network), whole[1])


def test_checkpoints_are_written_when_due_only(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        learning.checkpoints.Checkpoints,
        "save",
        lambda self, numbers, tensors: written.append(numbers["at"]["step"]),
    )
    train(make_network(), tmp_path / "run", save_seconds=1000)
    assert written == [24]


def with_margin(margin):
    def loss(network, batch):
        return cross_entropy(network, batch)[0] + margin

    return loss


@pytest.mark.parametrize(
    "change, words",
    [
        ({"epochs": 5}, "another number of steps .was 24, is 30."),
        ({"learning_rate": 1e-3}, "another optimiser"),
        ({"schedule": "constant"}, "another schedule .was 'one_cycle', is 'constant'."),
        ({"loss": with_margin(0.3)}, "another loss function"),
        ({"random_state": 1}, "another random_state"),
        ({"batch_norm": "frozen"}, "another batch_norm"),
        ({"network": torch.nn.Sequential(torch.nn.Linear(8, 4))}, "another network"),
        ({"network": make_network(seed=1)}, "has other weights than the one"),
        ({"batches": make_batches(24)}, "another number of batches"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(change, words, tmp_path):
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=with_margin(0.2), validate=killing_at_epoch(2))
    network = change.pop("network", make_network())
    with pytest.raises(ValueError, match=words):
        train(
            network,
            tmp_path / "run",
            **{"loss": with_margin(0.2), "validate": killing_at_epoch(99), **change},
        )


def killing_at_epoch(at):
    calls = {"n": 0, "at": at}

    def validate(network):
        calls["n"] += 1
        if calls["n"] == calls["at"]:
            raise Killed
        return accuracy(network)

    return validate


def test_a_damaged_or_foreign_folder_is_refused(tmp_path):
    train(make_network(), tmp_path / "run")
    file = tmp_path / "run" / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match="size"):
        train(make_network(), tmp_path / "run")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"holiday")
    with pytest.raises(ValueError, match="not a saved training"):
        train(make_network(), tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"holiday"


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    train(make_network(), tmp_path / "run")
    numbers = json.loads((tmp_path / "run" / "numbers.json").read_text())
    assert numbers["at"]["step"] == 24 and numbers["at"]["stopped"] == "finished"
    from safetensors.torch import load_file

    tensors = load_file(tmp_path / "run" / "tensors.safetensors")
    assert {"network.0.weight", "best.0.weight", "optimiser.0.exp_avg", "random.torch"} <= set(
        tensors
    )
