"""A run that was killed and gone on with ends as if nothing had happened; the stop button keeps the best so far."""

import os
import pickle
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


def train(network, file=None, batches=None, loss=cross_entropy, **settings):
    batches = make_batches() if batches is None else batches
    return learning.train(network, batches, loss, checkpoint=file, **{**SETTINGS, **settings})


def without_times(history):
    return history.table.drop(columns="seconds")


def saved_at(file):
    """How far the run in a checkpoint is."""
    return torch.load(file, weights_only=True)["at"]


@pytest.fixture(scope="module")
def whole():
    """Table and weights of a run that nothing disturbed."""
    network = make_network()
    return without_times(train(network)), weights(network)


STATE = {}


def mortal(network, batch):
    """One loss for all parts of a run, as a script that is run again has; `STATE` says when it ends it, and how."""
    STATE["calls"] += 1
    if STATE["calls"] == STATE["at"]:
        STATE["end"]()
    return cross_entropy(network, batch)


def kill():
    raise Killed


def ending(at, end=kill):
    STATE.update(calls=0, at=at, end=end)
    return mortal


@pytest.mark.parametrize("at", [1, 6, 7, 15, 24])
def test_a_killed_run_goes_on_from_the_last_finished_epoch(at, whole, tmp_path):
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=ending(at))
    torch.rand(3)  # somebody else's random numbers go on meanwhile
    network = make_network()
    history = train(network, tmp_path / "run", loss=mortal)
    assert STATE["calls"] == at + 24 - 6 * ((at - 1) // 6)
    assert same(weights(network), whole[1]) and without_times(history).equals(whole[0])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_killed_again_and_again_while_it_trains_and_validates(whole, tmp_path):
    calls = {"n": 0}

    def validate(network):
        calls["n"] += 1
        if calls["n"] in (1, 4):
            raise Killed
        return accuracy(network)

    for at in (99, 9, 99, 2, 8):
        with pytest.raises(Killed):
            train(make_network(), tmp_path / "run", loss=ending(at), validate=validate)
    network = make_network()
    history = train(network, tmp_path / "run", loss=ending(99), validate=validate)
    assert without_times(history).equals(whole[0]) and same(weights(network), whole[1])


def test_patience_is_remembered_and_a_loader_may_draw_from_numpy(tmp_path):
    class Noisy:
        """Batches whose order and contents come from numpy's and Python's own generators."""

        def __len__(self):
            return 4

        def __iter__(self):
            import random

            for start in np.random.permutation(4) * 30:
                rows = slice(start, start + 30)
                yield INPUTS[rows] + np.random.normal() + random.random(), TARGETS[rows]

    values = {0: 0.1, 4: 0.9, 8: 0.2, 12: 0.3, 16: 0.4}
    settings = {
        "validate": lambda network: values[int(network[1].num_batches_tracked)],
        "patience": 2,
    }
    settings |= {"schedule": "cosine", "clip_norm": 1.0, "batches": Noisy()}
    whole, killed = make_network(), make_network()
    expected = train(whole, loss=ending(99), **settings)
    with pytest.raises(Killed):
        train(make_network(), tmp_path / "run", loss=ending(10), **settings)
    history = train(killed, tmp_path / "run", loss=ending(99), **settings)
    assert (history.stopped, history.best_epoch) == ("patience", 1)
    assert same(weights(killed), weights(whole))
    assert without_times(history).equals(without_times(expected))


# ---------------------------------------------------------------------- real signals


SCRIPT = """
    import os, sys, time
    sys.path[:0] = {paths!r}
    import torch, torch._dynamo  # the first optimiser imports it, which takes seconds: once here, not in each process
    torch.set_num_threads(1)
    from learning_samples import accuracy, cross_entropy, make_batches, make_network
    from cbirkit import learning

    def loss(network, batch):
        print("step", flush=True)
        time.sleep(0.05)
        return cross_entropy(network, batch)

    def main():
        print(os.getpid(), flush=True)
        network = make_network()
        try:
            learning.train(network, make_batches(), loss, epochs=4, learning_rate=1e-2, validate=accuracy, checkpoint=sys.argv[1])
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        torch.save(network.state_dict(), sys.argv[1] + ".pt")

    for _ in sys.stdin:  # a line asks for one more process, which need not import all this anew
        if child := os.fork():
            os.waitpid(child, 0)
            print("over", flush=True)
        else:
            main()
            os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_real_interrupt_and_a_real_kill(tmp_path):
    file, here = tmp_path / "script.py", Path(__file__).resolve()
    paths = [str(here.parent), str(here.parent.parent)]
    file.write_text(textwrap.dedent(SCRIPT.format(paths=paths)))
    command = [sys.executable, str(file), str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, **pipes) as process:

        def start():
            print(file=process.stdin, flush=True)
            return int(process.stdout.readline())

        def said():
            return [line.strip() for line in iter(process.stdout.readline, "over\n")]

        first = start()
        assert [process.stdout.readline() for _ in range(8)] == ["step\n"] * 8
        os.kill(first, signal.SIGINT)
        assert said()[-1] == "interrupted"  # a script is told
        assert saved_at(tmp_path / "run")["step"] == 6

        second = start()
        assert [process.stdout.readline() for _ in range(9)] == ["step\n"] * 9
        os.kill(second, signal.SIGKILL)
        assert set(said()) <= {"step"}
        killed = saved_at(tmp_path / "run")["step"]
        assert killed in (12, 18)

        start()
        assert said() == ["step"] * (24 - killed)
        process.stdin.close()
    before, network = torch.get_num_threads(), make_network()
    torch.set_num_threads(1)  # as many as the script has: others round otherwise
    train(network)
    torch.set_num_threads(before)
    assert same(torch.load(f"{tmp_path / 'run'}.pt", weights_only=True), weights(network))


# ---------------------------------------------------------------------- the stop button


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(loop, "in_notebook", lambda: True)


def press_stop():
    signal.raise_signal(signal.SIGINT)


def test_the_stop_button_keeps_what_was_learned(notebook, whole, tmp_path):
    network, before = make_network(), signal.getsignal(signal.SIGINT)
    history = train(network, tmp_path / "run", loss=ending(15, press_stop))
    assert history.stopped == "interrupted" and STATE["calls"] == 15
    assert history.table["epoch"].tolist() == [0, 1, 2]
    assert history.best_score == pytest.approx(float(accuracy(network)))  # the best are back
    assert signal.getsignal(signal.SIGINT) is before
    after = train(network, tmp_path / "run", loss=mortal)  # the cell is run again, on this network
    assert after.stopped == "finished"
    assert same(weights(network), whole[1]) and without_times(after).equals(whole[0])


@pytest.mark.parametrize("validate", [accuracy, None])
def test_stopped_in_the_first_epoch_the_present_weights_stay(notebook, validate, tmp_path):
    network = make_network()
    before, settings = weights(network), {"validate": validate, "file": tmp_path / "run"}
    history = train(network, loss=ending(3, press_stop), **settings)
    assert history.best_epoch is None and history.weights_from == "step 2, the last"
    assert not same(weights(network), before) and not network.training
    if validate is not None:  # the cell is run again
        assert train(network, loss=mortal, **settings).stopped == "finished"


def test_stopped_while_it_validates(notebook, tmp_path, whole):
    calls = {"n": 0}

    def validate(network):
        calls["n"] += 1
        if calls["n"] == 3:
            press_stop()
        return accuracy(network)

    network = make_network()
    history = train(network, tmp_path / "run", validate=validate)
    assert history.stopped == "interrupted" and history.table["epoch"].tolist() == [0, 1]
    assert train(network, tmp_path / "run", validate=validate).stopped == "finished"
    assert same(weights(network), whole[1])


def test_training_in_another_thread_than_the_main_one(whole):
    network = make_network()
    thread = threading.Thread(target=train, args=(network,))
    thread.start()
    thread.join()
    for name, tensor in weights(network).items():  # another thread may sum in another order
        torch.testing.assert_close(tensor, whole[1][name], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- other checkpoints


def test_a_finished_run_gives_its_result_at_once(whole, tmp_path):
    train(make_network(), tmp_path / "run", loss=ending(99))
    stamp, network = (tmp_path / "run").stat().st_mtime_ns, make_network()
    history = train(network, tmp_path / "run", loss=mortal)
    assert STATE["calls"] == 24 and same(weights(network), whole[1])
    assert without_times(history).equals(whole[0])
    assert (tmp_path / "run").stat().st_mtime_ns == stamp


def with_margin(margin):
    def loss(network, batch):
        return cross_entropy(network, batch)[0] + margin

    return loss


def added(network, batch, more=0.1):
    return with_margin(0.2)(network, batch) + more


@pytest.mark.parametrize(
    "change, words",
    [
        ({"epochs": 5}, "another number of steps"),
        ({"learning_rate": 1e-3}, "another learning_rate"),
        ({"schedule": "constant"}, "another schedule"),
        ({"loss": with_margin(0.3)}, "another loss"),
        ({"loss": added}, "another loss"),
        ({"validate": None}, "another validation"),
        ({"random_state": 1}, "another random_state"),
        ({"batch_norm": "frozen"}, "another batch_norm"),
        ({"network": torch.nn.Sequential(torch.nn.Linear(8, 4))}, "another network"),
        ({"network": make_network(seed=1)}, "other weights"),
        ({"batches": make_batches(24)}, "another number"),
    ],
)
def test_another_run_in_the_same_file_is_refused(change, words, tmp_path):
    settings = {"file": tmp_path / "run", "epochs": 2, "loss": with_margin(0.2)}
    train(make_network(), **settings)
    kept = (tmp_path / "run").read_bytes()
    with pytest.raises(ValueError, match=words):
        train(**{"network": make_network(), **settings, **change})
    assert (tmp_path / "run").read_bytes() == kept


class Payload:
    def __reduce__(self):
        return os.mkdir, ("payload ran",)


def test_damaged_and_foreign_files_are_refused_and_nothing_in_them_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run"
    train(make_network(), file)
    saved = torch.load(file, weights_only=True)
    torch.save(saved | {"at": {"step": Payload()}}, tmp_path / "evil")
    torch.save(saved | {"network": {}}, tmp_path / "hollow")
    torch.save([1, 2], tmp_path / "list")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Payload()))
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-800])
    (tmp_path / "photo.jpg").write_bytes(b"holiday")
    (tmp_path / "folder").mkdir()
    for name in ("evil", "hollow", "list", "pickle", "cut", "photo.jpg", "folder"):
        with pytest.raises(ValueError, match=f"{name}' cannot be read as the checkpoint"):
            train(make_network(), tmp_path / name)
    assert not (tmp_path / "payload ran").exists()
    assert (tmp_path / "photo.jpg").read_bytes() == b"holiday"
