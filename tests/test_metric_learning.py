"""Metric learning: losses by loops, what it is good for on new classes, and that its results are encoders like others."""

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners

from cbirkit import ImageCollection, Retriever, encoders, learning
from cbirkit.learning import EmbeddingHead, learn_metric, metric_loss, retrieval_score
from cbirkit.metrics import map_at_r
from cbirkit.persistence import fingerprint, load_estimator, save_estimator
from cbirkit.store import split_pipeline

P, K = 4, 3
SMALL = {"n_classes": P, "n_per_class": K, "progress": False, "device": "cpu"}


def drawn(names, n_each=12, seed=0):
    """Grey images of 6 x 6 pixels: the class is in one row of them, the other rows vary more and say nothing."""
    random = np.random.RandomState(seed)
    labels = np.repeat(list(names), n_each)
    means = {name: np.random.RandomState(ord(name)).uniform(-40, 40, 6) for name in names}
    pixels = random.normal(128, 40, (len(labels), 6, 6))
    pixels[:, 2] = (
        128 + np.stack([means[label] for label in labels]) + random.normal(0, 6, (len(labels), 6))
    )
    arrays = np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[..., None], 3, axis=3)
    ids = [f"{label}{n}" for n, label in enumerate(labels)]
    return ImageCollection.from_arrays(arrays, labels=labels.tolist(), ids=ids)


@pytest.fixture(scope="module")
def images():
    return drawn("abcdefghijklmnop")


@pytest.fixture(scope="module")
def validation():
    return drawn("ABCDEF", seed=1)


@pytest.fixture(scope="module")
def new():
    return drawn("uvwxyz", seed=2)


@pytest.fixture(scope="module")
def pixels():
    return encoders.TinyImage(6)


@pytest.fixture(scope="module")
def network():
    return encoders.Deep("conv5", weights=None, size=16, device="cpu")


def score(encoder, images):
    return retrieval_score(encoder.transform(images), images.labels, metric="map@r")


# ---------------------------------------------------------------------- the loss


def unit_rows(seed=0, n=12, n_dims=5):
    rows = torch.randn(n, n_dims, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows).requires_grad_(True), torch.arange(n) % 4


def distance(a, b):
    return (a - b).detach().norm()


def triplets(labels):
    n = range(len(labels))
    return [
        (a, p, q) for a in n for p in n for q in n if a != p and labels[a] == labels[p] != labels[q]
    ]


def test_triplet_loss_with_semi_hard_mining_by_loops():
    rows, labels = unit_rows()
    terms = []
    for a, p, n in triplets(labels):
        near, far = float(distance(rows[a], rows[p])), float(distance(rows[a], rows[n]))
        if near < far <= near + 0.2:
            terms.append(near - far + 0.2)
    terms = [term for term in terms if term > 0]  # the mean is over those that are not zero
    loss = metric_loss(
        lambda net, x: x, losses.TripletMarginLoss(0.2), miners.TripletMarginMiner(0.2, "semihard")
    )
    value, numbers = loss(None, (rows, labels))
    assert float(value.detach()) == pytest.approx(np.mean(terms), rel=1e-4)
    assert numbers["mined"] == len(terms)
    pairs = [float(distance(a, b)) for i, a in enumerate(rows) for b in rows[:i]]
    assert float(numbers["spread"]) == pytest.approx(np.mean(pairs), rel=1e-4)


def test_contrastive_loss_by_loops():
    rows, labels = unit_rows(1)
    near, far = [], []
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j:
                d = float(distance(rows[i], rows[j]))
                near.append(d) if labels[i] == labels[j] else far.append(max(0.0, 1.0 - d))
    far = [term for term in far if term > 0]
    value, numbers = metric_loss(lambda net, x: x, losses.ContrastiveLoss(0, 1.0))(
        None, (rows, labels)
    )
    assert float(value.detach()) == pytest.approx(np.mean(near) + np.mean(far), rel=1e-4)
    assert "mined" not in numbers


def test_normalised_softmax_is_that_of_the_package():
    rows, labels = unit_rows(2)
    theirs = losses.NormalizedSoftmaxLoss(4, 5, temperature=0.1)
    classifier = torch.nn.Linear(5, 4, bias=False)
    with torch.no_grad():
        classifier.weight.copy_(theirs.W.T)
    ours = learning.heads.normalised_softmax(lambda net, x: x, scale=10.0, label_smoothing=0.0)
    expected = ours(torch.nn.ModuleDict({"classifier": classifier}), (rows, labels))[0]
    found = metric_loss(lambda net, x: x, theirs)(
        torch.nn.ModuleDict({"loss": theirs}), (rows, labels)
    )[0]
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_nothing_mined_is_no_error():
    rows = torch.eye(4).requires_grad_(True)
    loss = metric_loss(
        lambda net, x: x, losses.TripletMarginLoss(0.2), miners.TripletMarginMiner(0.2, "hard")
    )
    far = torch.stack([rows[0], rows[0], rows[1], rows[1]])
    value, numbers = loss(None, (far, torch.tensor([0, 0, 1, 1])))
    assert float(value) == 0 and numbers["mined"] == 0
    value.backward()


# ---------------------------------------------------------------------- the head


def test_a_head_starts_with_principal_directions():
    X = np.random.RandomState(0).normal(size=(30, 8)).astype(np.float32)
    directions = np.linalg.svd(X, full_matrices=False)[2][:3]
    expected = X @ directions.T
    np.testing.assert_allclose(
        EmbeddingHead(3).fit(X).transform(X),
        expected / np.linalg.norm(expected, axis=1, keepdims=True),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        EmbeddingHead().fit(X).transform(X), X / np.linalg.norm(X, axis=1, keepdims=True), atol=1e-6
    )


def test_heads_that_cannot_be_are_refused():
    X = np.ones((5, 8), np.float32)
    with pytest.raises(ValueError, match="n_dims=6 must lie between 1 and 5"):
        EmbeddingHead(6).fit(X)


# ---------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    ("loss", "miner"),
    [
        (losses.ContrastiveLoss(0, 1.0), None),
        (losses.TripletMarginLoss(0.2), miners.TripletMarginMiner(0.2, "semihard")),
        (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner(0.1)),
        (losses.ProxyAnchorLoss(16, 12), None),
    ],
    ids=["contrastive", "semi-hard", "multi-similarity", "proxy-anchor"],
)
def test_new_classes_gain(pixels, images, validation, new, loss, miner):
    settings = {**SMALL, "n_dims": 12, "validation": validation, "epochs": 40}
    learned, history = learn_metric(
        pixels, images, loss, miner=miner, learning_rate=1e-2, **settings
    )
    assert score(learned, new) > score(pixels, new) + 0.1
    assert learned.transform(new).shape == (len(new), 12)
    assert score(learned, validation) == pytest.approx(history.best_score, abs=1e-6)
    assert {"spread", "score"} <= set(history.table) and ("mined" in history.table) == (
        miner is not None
    )


def test_the_validation_score_is_map_at_r(new, pixels):
    X, labels = pixels.transform(new), np.asarray(new.labels)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    values = []
    for i in range(len(X)):
        others = [j for j in np.argsort(-(X @ X[i]), kind="stable") if j != i]
        values.append(map_at_r(labels[others] == labels[i]))
    assert score(pixels, new) == pytest.approx(np.mean(values), abs=1e-6)
    with pytest.raises(ValueError, match="metric must be one of"):
        retrieval_score(X, labels, metric="p@1")


def test_before_the_first_step_only_dimensions_are_lost(network, images):
    learned, _ = learn_metric(
        network,
        images,
        losses.ContrastiveLoss(),
        mode="full",
        n_dims=8,
        steps=1,
        learning_rate=1e-12,
        batch_norm="frozen",
        **SMALL,
    )
    X = network.transform(images)
    np.testing.assert_allclose(
        learned.transform(images), EmbeddingHead(8).fit(X).transform(X), atol=1e-4
    )


def test_a_network_learns_end_to_end_and_the_one_given_stays(network, images):
    before = fingerprint(network)
    loss = losses.NormalizedSoftmaxLoss(16, 24, temperature=0.1)
    proxies = loss.W.detach().clone()
    settings = {**SMALL, "augment": None, "n_dims": 24, "learning_rate": {"": 3e-3, "loss": 1e-2}}
    learned, history = learn_metric(network, images, loss, mode="full", epochs=12, **settings)
    assert score(learned, images) > score(network, images) + 0.1
    assert fingerprint(network) == before and torch.equal(loss.W, proxies)
    assert history.table["loss"].iloc[-1] < history.table["loss"].iloc[0]
    again, _ = learn_metric(network, images, loss, mode="full", epochs=12, **settings)
    np.testing.assert_array_equal(learned.transform(images), again.transform(images))


def test_without_dimensions_there_is_no_head_on_a_network(network, images):
    learned, _ = learn_metric(
        network, images, losses.ContrastiveLoss(), mode="full", steps=1, **SMALL
    )
    assert (
        isinstance(learned, encoders.Deep) and learned.transform(images).shape[1] == network.n_dims
    )


def test_patience_stops(pixels, images, validation):
    still = lambda rows, targets, mined: 0 * rows.sum()
    _, history = learn_metric(
        pixels,
        images,
        still,
        validation=validation,
        epochs=50,
        patience=2,
        weight_decay=0.0,
        **SMALL,
    )
    assert history.stopped == "patience" and history.best_epoch == 0


@pytest.mark.parametrize("mode", ["head", "full"])
def test_what_was_learned_is_saved_with_a_retriever(mode, network, images, new, tmp_path):
    loss, miner = losses.TripletMarginLoss(0.2), miners.BatchHardMiner()
    learned, _ = learn_metric(
        network, images, loss, miner=miner, mode=mode, n_dims=8, steps=3, **SMALL
    )
    retriever = Retriever(learned).fit(new)
    before = retriever.search(new, k=5)
    retriever.save(tmp_path / "saved")
    after = Retriever.load(tmp_path / "saved").search(new, k=5)
    np.testing.assert_array_equal(before.indices, after.indices)
    np.testing.assert_allclose(before.distances, after.distances, atol=1e-6)
    assert not list((tmp_path / "saved").rglob("*.pkl"))
    save_estimator(learned, tmp_path / "encoder")
    assert fingerprint(load_estimator(tmp_path / "encoder")) == fingerprint(learned)


def test_a_head_needs_no_images_where_embeddings_are_stored(pixels, images):
    learned, _ = learn_metric(pixels, images, losses.ContrastiveLoss(), n_dims=4, steps=1, **SMALL)
    front, tail = split_pipeline(learned)
    assert tail is not None
    np.testing.assert_allclose(
        tail.transform(front.transform(images)), learned.transform(images), atol=1e-6
    )


class Killed(Exception):
    pass


class Mortal(torch.nn.Module):
    """A loss that ends the run once; `margin` is its setting."""

    calls = 0

    def __init__(self, margin=0.2):
        super().__init__()
        self.inner = losses.TripletMarginLoss(margin)

    def forward(self, rows, targets, mined):
        type(self).calls += 1
        if type(self).calls == 9:
            raise Killed
        return self.inner(rows, targets, mined)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_a_killed_run_is_gone_on_with(mode, network, images, validation, tmp_path):
    settings = {**SMALL, "mode": mode, "validation": validation, "n_dims": 8, "epochs": 3}
    Mortal.calls = 9
    whole, expected = learn_metric(network, images, Mortal(), **settings)
    Mortal.calls = 0
    with pytest.raises(Killed):
        learn_metric(network, images, Mortal(), checkpoint=tmp_path / "run", **settings)
    learned, history = learn_metric(
        network, images, Mortal(), checkpoint=tmp_path / "run", **settings
    )
    assert history.table.drop(columns="seconds").equals(expected.table.drop(columns="seconds"))
    np.testing.assert_array_equal(learned.transform(images), whole.transform(images))
    with pytest.raises(ValueError, match="another loss"):
        learn_metric(network, images, Mortal(margin=0.3), checkpoint=tmp_path / "run", **settings)
    Mortal.calls = 9
    with pytest.raises(ValueError, match="another loss"):
        miner = miners.BatchHardMiner()
        learn_metric(
            network, images, Mortal(), miner=miner, checkpoint=tmp_path / "run", **settings
        )


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"mode": "last"}, ValueError, "mode must be one of"),
        ({"loss": "triplet"}, TypeError, "loss must be a loss of pytorch-metric-learning"),
        ({"loss": losses.ProxyAnchorLoss(9, 4), "n_dims": 4}, ValueError, "made for 9 classes"),
        ({"loss": losses.NormalizedSoftmaxLoss(16, 5), "n_dims": 4}, ValueError, "5 dimensions"),
        ({"n_classes": 17}, ValueError, "n_classes=17 exceeds the 16 classes"),
        (
            {"validation": drawn("aXY", seed=5)},
            ValueError,
            "1 classes are both trained on and used for validation, the first is 'a'",
        ),
        ({"validation": drawn("X", seed=5)}, ValueError, "only one class"),
        ({"n_dims": 1000}, ValueError, "n_dims=1000 must lie between"),
        ({"mode": "full"}, TypeError, "trains the network of a Deep encoder"),
        ({"sampler": 3}, TypeError, "sampler"),
    ],
)
def test_errors(changes, error, words, pixels, images):
    loss = changes.pop("loss", losses.ContrastiveLoss())
    with pytest.raises(error, match=words):
        learn_metric(pixels, images, loss, **{**SMALL, "steps": 1, **changes})
