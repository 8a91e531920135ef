"""Fine-tuning: what learns and what stays, what it is good for, and that its results are encoders like others."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import Pipeline, make_pipeline

from cbirkit import ImageCollection, Retriever, encoders
from cbirkit.learning import (
    FineTuning,
    LinearProjection,
    Shuffled,
    fine_tune,
    interpolate,
    retrieval_score,
)
from cbirkit.learning.tuning import on_images, unfreeze
from cbirkit.metrics import average_precision
from cbirkit.persistence import fingerprint, load_estimator, save_estimator
from cbirkit.store import split_pipeline

CLASSES = ["dots", "stripes", "waves"]


def draw(n_per_class, seed):
    """Small textures of random colours: the class is in the pattern, not in the colour."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:32, :32]
    arrays, labels = [], []
    for number in range(n_per_class * len(CLASSES)):
        label = CLASSES[number % len(CLASSES)]
        shift, angle = random.uniform(0, 6, 2), random.uniform(-0.3, 0.3)
        u, v = (
            x * np.cos(angle) - y * np.sin(angle) + shift[0],
            x * np.sin(angle) + y * np.cos(angle) + shift[1],
        )
        shape = {
            "dots": np.sin(u) * np.sin(v),
            "stripes": np.sin(1.2 * u),
            "waves": np.sin(0.5 * v + np.sin(0.5 * u)),
        }[label]
        first, second = random.uniform(0, 255, (2, 3))
        part = (shape[..., None] > 0) + random.normal(0, 0.1, (32, 32, 3))
        arrays.append(np.clip(first + (second - first) * part, 0, 255).astype(np.uint8))
        labels.append(label)
    return ImageCollection.from_arrays(
        arrays, labels=labels, ids=[f"{seed}-{n}" for n in range(len(arrays))]
    )


@pytest.fixture(scope="module")
def images():
    return draw(12, 0)


@pytest.fixture(scope="module")
def test_images():
    return draw(10, 1)


@pytest.fixture(scope="module")
def base():
    return encoders.Deep("conv5", weights=None, size=32, device="cpu")


def tune(encoder, images, **settings):
    return fine_tune(encoder, images, **{"batch_size": 12, "progress": False, **settings})


def state(encoder):
    return {name: value.clone() for name, value in encoder.network.state_dict().items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


# ---------------------------------------------------------------------- the score


def test_the_score_is_the_mean_of_average_precision_with_the_query_left_out():
    random = np.random.RandomState(0)
    rows, labels = random.normal(size=(40, 5)), random.randint(0, 12, 40)
    values = []
    for query in range(40):
        others = [i for i in range(40) if i != query]
        cosines = [
            rows[query] @ rows[i] / np.linalg.norm(rows[query]) / np.linalg.norm(rows[i])
            for i in others
        ]
        relevant = [labels[others[i]] == labels[query] for i in np.argsort(cosines)[::-1]]
        if any(relevant):
            values.append(average_precision(relevant))
    assert len(values) < 40  # some are alone
    assert retrieval_score(rows, labels) == pytest.approx(np.mean(values))
    assert retrieval_score(7 * rows, labels) == pytest.approx(retrieval_score(rows, labels))


def test_the_score_of_large_few_and_no_images(monkeypatch):
    rows, labels = np.random.RandomState(0).normal(size=(50, 4)), np.arange(50) % 5
    whole = retrieval_score(rows, labels)
    monkeypatch.setattr("cbirkit.learning.scoring._BLOCK", 7)
    assert retrieval_score(rows, labels) == pytest.approx(whole)
    assert np.isnan(retrieval_score(rows[:5], labels[:5])) and np.isnan(
        retrieval_score(np.zeros((0, 3)), [])
    )
    assert retrieval_score([[0, 0], [0, 0], [1, 0]], ["a", "a", "b"]) == 1.0  # zero vectors
    with pytest.raises(ValueError, match="got 3 labels for 50 images"):
        retrieval_score(rows, labels[:3])


# ---------------------------------------------------------------------- the projection


@pytest.fixture(scope="module")
def rows():
    """Embeddings whose class is in 3 of 20 dimensions; (train, test), each (rows, labels)."""
    random = np.random.RandomState(0)

    def make(n):
        labels = np.arange(n) % 6
        centres = np.random.RandomState(1).normal(size=(6, 3))
        return np.hstack(
            [centres[labels] + random.normal(0, 0.3, (n, 3)), random.normal(0, 1, (n, 17))]
        ), labels

    return make(300), make(120)


def test_a_projection_finds_what_tells_classes_apart(rows):
    (train, labels), (test, truth) = rows
    before = retrieval_score(test, truth)
    for n_dims, rate in ((None, 1e-2), (8, 1e-3)):
        projection = LinearProjection(n_dims, learning_rate=rate, random_state=0).fit(train, labels)
        found = projection.transform(test)
        assert found.shape == (120, n_dims or 20) and found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert (
            retrieval_score(found, truth) > before + 0.04
        )  # seeds 0 to 2: .386, then .457 to .460 and .464 to .466
        assert projection.accuracy_ > 0.8 and projection.weights_.shape == (n_dims or 20, 20)


def test_a_projection_is_the_formula_and_the_same_each_time(rows):
    (train, labels), (test, _) = rows
    first, again, other = (
        LinearProjection(epochs=3, random_state=seed).fit(train, labels) for seed in (0, 0, 1)
    )
    linear = test.astype(np.float32) @ first.weights_.T + first.bias_
    np.testing.assert_allclose(
        first.transform(test), linear / np.linalg.norm(linear, axis=1, keepdims=True), atol=1e-6
    )
    assert np.array_equal(first.weights_, again.weights_) and not np.array_equal(
        first.weights_, other.weights_
    )


def test_a_projection_starts_as_what_loses_least(rows):
    (train, labels), (test, _) = rows
    tiny = {"epochs": 1, "learning_rate": 1e-9}
    whole = LinearProjection(**tiny).fit(train, labels).transform(test)
    np.testing.assert_allclose(whole, test / np.linalg.norm(test, axis=1, keepdims=True), atol=1e-5)
    few = LinearProjection(5, **tiny).fit(train, labels).weights_
    top = np.linalg.svd(train)[2][:5]
    np.testing.assert_allclose(few.T @ few, top.T @ top, atol=1e-4)


def test_a_projection_round_trips(rows, tmp_path):
    (train, labels), (test, _) = rows
    projection = LinearProjection(4, epochs=2).fit(train, labels)
    loaded = load_estimator(save_estimator(projection, tmp_path / "projection"))
    assert np.array_equal(loaded.transform(test), projection.transform(test)) and fingerprint(
        loaded
    ) == fingerprint(projection)


def test_a_smaller_scale_draws_classes_closer_together(rows):
    (train, labels), _ = rows
    scores = {}
    for scale in (3.0, 30.0):
        projection = LinearProjection(8, scale=scale).fit(train, labels)
        scores[scale] = retrieval_score(projection.transform(train), labels)
    assert scores[3.0] > scores[30.0] + 0.05


@pytest.mark.parametrize("mode", ["head", "full"])
def test_the_scale_reaches_the_loss(images, base, mode):
    losses = [
        tune(base, images, mode=mode, steps=1, augment=None, scale=s)[1].table["loss"].iloc[0]
        for s in (1e-6, 10.0)
    ]
    assert losses[0] == pytest.approx(np.log(3), abs=1e-4) and losses[1] != pytest.approx(
        np.log(3), abs=1e-2
    )


def test_what_a_projection_refuses(rows):
    (train, labels), (test, _) = rows
    with pytest.raises(
        ValueError, match="all 300 embeddings have the label 7; give at least two classes"
    ):
        LinearProjection().fit(train, np.full(300, 7))
    with pytest.raises(ValueError, match="got 3 labels for 300"):
        LinearProjection().fit(train, labels[:3])
    with pytest.raises(ValueError, match="n_dims=21 must lie between 1 and 20"):
        LinearProjection(21).fit(train, labels)
    with pytest.raises(ValueError, match="NaN"):
        LinearProjection().fit(np.where(train > 1, np.nan, train), labels)
    with pytest.raises(ValueError, match="20 features"):
        LinearProjection(epochs=1).fit(train, labels).transform(test[:, :3])
    with pytest.raises(ValueError, match="fitted"):
        LinearProjection().transform(test)


# ---------------------------------------------------------------------- what learns and what stays


def test_full_changes_all_weights_and_keeps_the_statistics(images, base):
    before = state(base)
    tuned, _ = tune(base, images, mode="full", epochs=1)
    assert isinstance(tuned, encoders.Deep) and not changed(before, state(base))
    assert changed(before, state(tuned)) == {name for name, _ in base.network.named_parameters()}


def test_full_brings_classes_together(images, test_images, base):
    settings = {
        "epochs": 30,
        "batch_norm": "update",
        "learning_rate": {"backbone": 3e-3, "classifier": 1e-2},
    }
    tuned, history = tune(base, images, mode="full", **settings)
    before, after = (
        retrieval_score(encoder.transform(test_images), test_images.labels)
        for encoder in (base, tuned)
    )
    assert after > before + 0.05  # networks 0 to 2: .442 to .545, .389 to .638, .394 to .710
    assert history.table["accuracy"].iloc[-1] > 0.8 > history.table["accuracy"].iloc[0]


@pytest.mark.parametrize("mode", ["last", "full"])
def test_statistics_move_only_where_asked_and_not_in_frozen_layers(images, base, mode):
    tuned, _ = tune(base, images, mode=mode, epochs=1, batch_norm="update", unfreeze=0.3)
    moved = {name.split(".")[1] for name in changed(state(base), state(tuned)) if "running" in name}
    assert moved == ({"4"} if mode == "last" else {"0", "1", "2", "3", "4"})


def test_last_leaves_the_first_layers_to_the_bit(images, base):
    by_share, _ = tune(base, images, mode="last", epochs=1, unfreeze=0.3)
    assert {name.split(".")[1] for name in changed(state(base), state(by_share))} == {
        "4"
    }  # more than half of all weights


def test_head_leaves_the_encoder_to_the_bit(images, test_images, base):
    tuned, history = tune(base, images, mode="head", epochs=20)
    assert (
        isinstance(tuned, Pipeline) and tuned[0] is base and isinstance(tuned[-1], LinearProjection)
    )
    assert (
        split_pipeline(tuned)[0] is base
    )  # its embeddings are kept in a store, and not made anew for the projection
    found = tuned.transform(test_images)
    assert found.shape == (30, 96)
    assert retrieval_score(found, test_images.labels) > retrieval_score(
        base.transform(test_images), test_images.labels
    )
    assert len(history.table) == 20 and history.table["accuracy"].iloc[-1] == tuned[-1].accuracy_


def test_a_head_goes_on_any_encoder(images):
    colours = make_pipeline(encoders.MeanColor())
    tuned, history = tune(colours, images, mode="head", steps=6, n_dims=2)
    assert [type(step).__name__ for step in tuned.named_steps.values()] == [
        "MeanColor",
        "LinearProjection",
    ]
    assert tuned.transform(images).shape == (36, 2) and history.table["step"].iloc[-1] == 6


@pytest.mark.parametrize("mode", ["head", "last"])
def test_tuned_encoders_round_trip_through_a_retriever(images, test_images, base, mode, tmp_path):
    tuned, _ = tune(base, images, mode=mode, epochs=1)
    retriever = Retriever(tuned, progress=False).fit(test_images)
    expected = retriever.search(images[:5], k=4)
    retriever.save(tmp_path / "saved")
    loaded = Retriever.load(tmp_path / "saved")
    found = loaded.search(images[:5], k=4)
    assert np.array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_the_first_weights_of_the_classifier_are_the_means_of_the_classes(images, base):
    part = on_images(base, images, None, FineTuning(device="cpu"), Shuffled(8), "map")
    found = part.class_vectors(torch.nn.ModuleDict(part.modules)).weight.detach()
    rows = base.transform(images)
    means = np.stack([rows[images.labels == label].mean(axis=0) for label in sorted(CLASSES)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_validation_decides_and_its_score_is_that_of_the_encoder(images, test_images, base, mode):
    tuned, history = tune(base, images, mode=mode, epochs=4, validation=test_images)
    assert history.table["score"].iloc[0] == pytest.approx(
        retrieval_score(base.transform(test_images), test_images.labels), abs=1e-4
    )
    assert history.best_score == pytest.approx(
        retrieval_score(tuned.transform(test_images), test_images.labels), abs=1e-4
    )
    assert history.best_score == history.table["score"].max()


def test_labels_of_another_column(images, base):
    other = images.with_columns(kind=np.arange(36) % 2).subset(np.arange(36))
    _, history = tune(
        base,
        other,
        mode="head",
        epochs=1,
        labels="kind",
        validation=draw(4, 5).with_columns(kind=np.arange(12) % 2),
    )
    assert np.isfinite(history.best_score)


def test_a_killed_fine_tuning_is_gone_on_with(images, base, tmp_path):
    class Killed(BaseException):
        pass

    calls = {"n": 0, "at": 5}

    def augment(pixels, generator):
        calls["n"] += 1
        if calls["n"] == calls["at"]:
            raise Killed
        return pixels.flip(-1)

    settings = {"mode": "last", "epochs": 3, "augment": augment}
    with pytest.raises(Killed):
        tune(base, images, checkpoint=tmp_path / "run", **settings)
    resumed, history = tune(base, images, checkpoint=tmp_path / "run", **settings)
    whole, expected = tune(base, images, **settings)
    assert calls["n"] == 5 + 6 + 9 and not changed(state(resumed), state(whole))
    assert history.table["loss"].equals(expected.table["loss"])
    with pytest.raises(ValueError, match="another loss"):
        tune(base, images, checkpoint=tmp_path / "run", **settings, scale=5.0)


def test_broken_images_are_named_and_left_out(tmp_path, base, images, caplog):
    for number in range(12):
        Image.fromarray(images[number]).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "05.png").write_bytes(b"\x89PNG broken")
    folder = ImageCollection.from_folder(tmp_path).with_columns(label=images.labels[:12])
    for mode in ("head", "full"):
        with caplog.at_level(logging.WARNING):
            tune(base, folder, mode=mode, epochs=1, batch_size=4)
        assert (
            sum(
                "05.png cannot be read and is left out" in record.getMessage()
                for record in caplog.records
            )
            == 1
        )
        caplog.clear()


# ---------------------------------------------------------------------- which layers


def test_only_weights_that_count_for_the_output_are_unfrozen():
    class Odd(torch.nn.Module):
        """One layer is used through its weight, one not at all."""

        def __init__(self):
            super().__init__()
            self.token = torch.nn.Parameter(torch.zeros(4))
            self.first = torch.nn.Linear(4, 4)
            self.unused = torch.nn.Linear(4, 4)
            self.attention = torch.nn.MultiheadAttention(4, 1, batch_first=True)
            self.last = torch.nn.Linear(4, 4)

        def forward(self, x):
            x = self.first(x + self.token)
            return self.last(self.attention(x, x, x)[0])

    network, images = Odd(), torch.ones(1, 3, 4)

    def learning_after(which):
        unfreeze(network, images, which)
        return {n.split(".")[0] for n, p in network.named_parameters() if p.requires_grad}

    assert learning_after(20 / 124) == {"last"} and network.last.bias.requires_grad
    assert learning_after(21 / 124) == {"last", "attention"}
    assert learning_after(1.0) == {"token", "first", "attention", "last"}


# ---------------------------------------------------------------------- interpolation


def test_between_two_encoders(images, base):
    after, _ = tune(base, images, mode="full", epochs=1, batch_norm="update")
    first, second = state(base), state(after)
    for alpha in (0.0, 0.25, 1.0):
        mixed = state(interpolate(base, after, alpha))
        for name in first:
            if not first[name].is_floating_point() or alpha == 1:
                assert torch.equal(mixed[name], (second if alpha else first)[name])
            else:
                torch.testing.assert_close(
                    mixed[name],
                    (1 - alpha) * first[name] + alpha * second[name],
                    atol=1e-7,
                    rtol=1e-6,
                )
    assert not changed(first, state(interpolate(base, after, 0)))
    np.testing.assert_array_equal(
        interpolate(base, after, 1).transform(images[:3]), after.transform(images[:3])
    )


def test_what_cannot_be_interpolated(base, images):
    other = encoders.Deep("tiny", weights=None, size=32)
    with pytest.raises(ValueError, match="not of one architecture"):
        interpolate(base, other, 0.5)
    with pytest.raises(TypeError, match="Deep encoders, got a Pipeline"):
        interpolate(base, make_pipeline(base), 0.5)
    for alpha in (-0.1, 1.5, float("nan"), "half", True):
        with pytest.raises(ValueError, match="alpha must"):
            interpolate(base, base, alpha)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("mode", ["head", "last", "full"])
def test_one_class_only(images, base, mode):
    with pytest.raises(ValueError, match="have the label 'dots'; give at least two classes"):
        tune(base, images[images.labels == "dots"], mode=mode)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_labels_missing(images, base, mode):
    bare = ImageCollection.from_arrays([images[0], images[1]])
    with pytest.raises(ValueError, match="no column 'label' to train on"):
        tune(base, bare, mode=mode)
    some = images.with_columns(label=np.where(np.arange(36) == 3, None, images.labels))
    with pytest.raises(ValueError, match="1 of 36 (images|embeddings)? ?have no label"):
        tune(base, some, mode=mode)


@pytest.mark.parametrize("mode", ["head", "full"])
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda images: draw(2, 9)[:0], "validation holds no image"),
        (lambda images: draw(5, 9).subset(np.arange(0, 15, 3)), "only one class"),
        (lambda images: draw(1, 9), "no two images of one class"),
        (
            lambda images: images[5:9],
            "4 images are both trained on and used for validation, the first is '0-5'",
        ),
    ],
)
def test_a_validation_split_that_cannot_judge(images, base, mode, make, words):
    with pytest.raises(ValueError, match=words):
        tune(base, images, mode=mode, validation=make(images))


def test_other_refusals(images, base):
    for change, error, words in [
        ({"mode": "all"}, ValueError, "mode must be one of"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing must"),
        ({"scale": 0}, ValueError, "scale must be a number > 0"),
        ({"mode": "last", "unfreeze": 0}, ValueError, "unfreeze must be a number"),
        ({"mode": "last", "unfreeze": 1.1}, ValueError, "unfreeze must be a number"),
        (
            {"mode": "full", "learning_rate": {"classifier": 1e-2}},
            ValueError,
            "no entry for the parameter 'backbone",
        ),
        ({"rate": 1.0}, TypeError, "rate"),
    ]:
        with pytest.raises(error, match=words):
            tune(base, images, **change)
    with pytest.raises(ValueError, match="images holds no image"):
        tune(base, images[:0])
    with pytest.raises(
        TypeError, match="images must be an ImageCollection with labels, got a list"
    ):
        tune(base, [images[0]])
    with pytest.raises(
        TypeError,
        match='mode="full" trains the network of a Deep encoder, got a MeanColor; use mode="head"',
    ):
        tune(encoders.MeanColor(), images, mode="full")
    with pytest.raises(TypeError, match="is no encoder"):
        tune(torch.nn.Linear(2, 2), images)
