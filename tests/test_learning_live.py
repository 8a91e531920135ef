"""What is seen while training runs: one renewed output in a notebook, lines in the log elsewhere, never a print."""

import logging
import subprocess
import sys

import IPython.display
import pytest
from learning_samples import accuracy, cross_entropy, make_batches, make_network

from cbirkit import learning
from cbirkit.learning import history as shown_by
from cbirkit.learning import loop


def train(loss=cross_entropy, **settings):
    settings = {"epochs": 3, "validate": accuracy, **settings}
    return learning.train(make_network(), make_batches(), loss, **settings)


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would show: a list of (mime bundle, metadata), the first displayed, the others in its place."""
    outputs = []

    class Handle:
        def update(self, data, *, raw, metadata=None):
            assert raw
            outputs.append((data, metadata or {}))

    def display(data, *, raw, display_id):
        assert raw and display_id and not outputs
        outputs.append((data, {}))
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    for module in (shown_by, loop):
        monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(shown_by, "_BAR_SECONDS", 0)
    monkeypatch.setattr(shown_by, "_CURVE_SECONDS", 0)
    return outputs


def test_a_notebook_has_one_output_that_is_renewed(shown):
    history = train()
    assert len(shown) == 1 + 18 + 4 + 1  # the first, a bar each step, a curve each epoch, the last
    steps = [data["text/html"] for data, _ in shown[1:-1]]
    assert all('max="18"' in text and "data:image/png;base64," in text for text in steps)
    assert "epoch 2, step 7 of 18; loss" in " ".join(steps)
    assert 'alt="Training over 2 epochs. The loss goes from' in " ".join(steps)
    data, metadata = shown[-1]
    assert data["image/png"].startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == data["text/plain"]
    assert data["text/plain"].startswith(str(history)) and "the best is" in data["text/plain"]


def test_it_is_not_renewed_more_often_than_one_can_see(shown, monkeypatch):
    monkeypatch.setattr(shown_by, "_BAR_SECONDS", 1000)
    monkeypatch.setattr(shown_by, "_CURVE_SECONDS", 1000)
    monkeypatch.setattr(shown_by.time, "monotonic", lambda: 1500.0)
    train()
    assert len(shown) == 3  # the first, one in between, the last


def test_the_output_of_an_interrupted_run_says_so(shown):
    calls = []

    def loss(network, batch):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return cross_entropy(network, batch)

    train(loss, validate=None)
    words = "1 epochs, interrupted; the weights are those of step 8, the last"
    assert words in shown[-1][0]["text/plain"]


def test_elsewhere_it_logs_a_line_an_epoch_or_nothing(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="cbirkit"):
        train()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5 and lines[0].startswith("epoch 0, step 0 of 18: score 0.")
    assert lines[2].startswith("epoch 2, step 12 of 18: learning_rate 0.00")
    assert "loss" in lines[2] and "accuracy" in lines[2] and lines[-1].startswith("3 epochs")
    assert any("(best)" in line for line in lines)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="cbirkit"):
        train(progress=False)
    assert not caplog.records and capsys.readouterr() == ("", "")


def test_training_imports_no_widgets():
    code = "import sys; from cbirkit import learning; learning.train; sys.exit(int('ipywidgets' in sys.modules or 'matplotlib' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
