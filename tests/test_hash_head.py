"""The hash learned from labels."""

import numpy as np
import pytest
import torch
from retrieval_samples import Means, collection
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from cbirkit import Retriever
from cbirkit.encoders import ITQ, RandomProjectionHash
from cbirkit.indexes import Hamming
from cbirkit.learning import HashHead, History, Options, TrainingDiverged
from cbirkit.learning.hash_head import straight_through_loss
from cbirkit.metrics import expected_average_precision

QUICK = {"epochs": 6, "learning_rate": 1e-2}


def drawn(n_classes=8, n_each=12, seed=0):
    """Classes that differ in 4 of 24 dimensions; the other 20 vary more and say nothing."""
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(n_classes), n_each)
    X = random.normal(0, 2.0, (len(labels), 24))
    X[:, :4] = random.normal(0, 1.5, (n_classes, 4))[labels] + random.normal(
        0, 0.3, (len(labels), 4)
    )
    return X.astype(np.float32), labels


def mean_ap(codes, labels):
    bits = np.unpackbits(codes, axis=1).astype(int)
    distances = (bits[:, None] != bits[None]).sum(axis=2).astype(float)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :-1]
    near = np.take_along_axis(distances, order, axis=1)
    return expected_average_precision(near, labels[order] == labels[:, None])[0].mean()


def test_it_learns_what_counts_and_new_classes_gain():
    X, labels = drawn(24)
    known = labels < 16
    head = HashHead(16).fit(X[known], labels[known])
    unlearned = ITQ(16).fit(X[known])
    assert head.accuracy_ > 0.8
    for rows in (known, ~known):
        assert (
            mean_ap(head.transform(X[rows]), labels[rows])
            > mean_ap(unlearned.transform(X[rows]), labels[rows]) + 0.1
        )


def test_before_the_first_step_codes_are_those_of_itq_or_of_random_directions():
    X, labels = drawn()
    for n_bits, kind in ((16, ITQ), (64, RandomProjectionHash)):  # 64 bits of 24 dimensions
        head = HashHead(n_bits, epochs=1, learning_rate=1e-12, random_state=2).fit(X, labels)
        expected = kind(n_bits, random_state=2).fit(X)
        np.testing.assert_array_equal(head.transform(X), expected.transform(X))
        assert np.abs(head.project(X)).mean() == pytest.approx(1, abs=1e-4)


def test_loss_by_hand():
    network = torch.nn.ModuleDict({"classifier": torch.nn.Linear(2, 2, bias=False)})
    with torch.no_grad():
        network["classifier"].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    numbers = torch.tensor([[0.5, -2.0]], requires_grad=True)
    value, told = straight_through_loss(lambda _, z: z, penalty=0.1, scale=4, label_smoothing=0)(
        network, (numbers, torch.tensor([0]))
    )
    cosines = np.array([1, -1]) / np.sqrt(2)  # of the signs (1, -1) with (1, 0) and (0, 1)
    entropy = -4 * cosines[0] + np.log(np.exp(4 * cosines).sum())
    pull = (0.5**3 + 1.0**3) / 2
    assert value.item() == pytest.approx(entropy + 0.1 * pull, abs=1e-5)
    assert told["penalty"].item() == pytest.approx(pull) and told["accuracy"].item() == 1
    value.backward()
    signs = torch.tensor(
        [[1.0, -1.0]], requires_grad=True
    )  # the gradient is that at the signs, plus that of the penalty
    straight = torch.nn.functional.normalize(signs) @ torch.eye(2)
    torch.nn.functional.cross_entropy(4 * straight, torch.tensor([0])).backward()
    slope = (
        torch.tensor([[-3 * 0.5**2, -3 * 1.0**2]]) / 2 * 0.1
    )  # of ||z| - 1|^3: 0.5 is drawn up, -2 towards -1
    torch.testing.assert_close(numbers.grad, signs.grad + slope, atol=1e-5, rtol=1e-5)


def test_the_penalty_draws_numbers_to_one():
    X, labels = drawn()
    gap = [
        np.abs(np.abs(HashHead(16, penalty=p).fit(X, labels).project(X)) - 1).mean() for p in (0, 3)
    ]
    assert gap[1] < 0.7 * gap[0]


def test_it_is_reproducible_clones_and_leaves_the_generators_alone():
    X, labels = drawn()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one = HashHead(16, **QUICK).fit(X, labels.astype(str))
    other = clone(one).fit(X, labels.astype(str))
    np.testing.assert_array_equal(one.weights_, other.weights_)
    assert (
        one.weights_ != clone(one).set_params(random_state=1).fit(X, labels.astype(str)).weights_
    ).any()
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and (np.random.get_state()[1] == before[1]).all()
    )
    assert one.classes_.tolist() == [str(n) for n in range(8)]
    assert (
        one.weights_.shape == (16, 24)
        and one.bias_.shape == (16,)
        and one.weights_.dtype == np.float32
    )


def test_fitting_with_validation_checkpoint_and_history(tmp_path):
    X, labels = drawn()
    seen = []

    def validate(head):
        seen.append(mean_ap(head.transform(X), labels))
        return -len(seen)  # the first is the best

    head = HashHead(16, **QUICK)
    options = Options(progress=False, device="cpu")
    history = head.fit_history(X, labels, validate=validate, options=options)
    assert isinstance(history, History) and {"accuracy", "penalty"} <= set(history.table)
    np.testing.assert_array_equal(head.transform(X), ITQ(16, random_state=0).fit(X).transform(X))
    assert len(seen) == 7
    one, other = HashHead(16, **QUICK), HashHead(16, **QUICK)
    for each in (one, other):  # the second finds it finished
        each.fit_history(X, labels, checkpoint=tmp_path / "run", options=options)
    np.testing.assert_array_equal(one.weights_, other.weights_)
    with pytest.raises(ValueError, match="another loss"):
        HashHead(16, penalty=1.0, **QUICK).fit_history(
            X, labels, checkpoint=tmp_path / "run", options=options
        )


def test_asymmetric_distances():
    X, labels = drawn()
    head = HashHead(16, **QUICK).fit(X, labels)
    codes = head.transform(X)
    numbers, bits = head.project(X[:4]), np.unpackbits(codes, axis=1)
    loop = [
        [sum(abs(z) for z, b in zip(row, code, strict=True) if (z > 0) != b) for code in bits]
        for row in numbers
    ]
    np.testing.assert_allclose(head.distances(X[:4], codes), loop, atol=1e-3)


def test_wrong_inputs_are_named():
    X, labels = drawn()
    with pytest.raises(
        ValueError, match="all 96 embeddings have the label 'a'; give at least two classes"
    ):
        HashHead(16).fit(X, ["a"] * 96)
    with pytest.raises(ValueError, match="got 95 labels for 96 images"):
        HashHead(16).fit(X, labels[1:])
    with pytest.raises(ValueError, match="have no label"):
        HashHead(16).fit(X, [None, *labels[1:]])
    with pytest.raises(ValueError, match="n_bits must be a"):
        HashHead(12).fit(X, labels)
    with pytest.raises(ValueError, match="NaN"):
        HashHead(16).fit(X * np.nan, labels)
    with pytest.raises(ValueError, match="all 96 embeddings are equal, there is nothing to learn"):
        HashHead(16).fit(np.ones((96, 24)), labels)
    with pytest.raises(ValueError, match="23 features.* 24"):
        HashHead(16, **QUICK).fit(X, labels).transform(X[:, 1:])
    with pytest.raises(TrainingDiverged):
        HashHead(16, epochs=3, learning_rate=1e30).fit(X, labels)


def test_few_images_and_a_constant_dimension():
    X, labels = drawn(2, 3)
    X[:, 5] = 3
    head = HashHead(16, **QUICK).fit(X, labels)  # six images, sixteen bits
    assert head.transform(X).shape == (6, 2) and np.isfinite(head.project(X)).all()


def test_a_retriever_with_a_fitted_head_saves_and_loads(tmp_path):
    images = collection(30)
    vectors = Means().transform(list(images))
    head = HashHead(16, **QUICK).fit(vectors, images.labels)
    retriever = Retriever(
        Pipeline([("means", Means()), ("hash", head)]), Hamming(), progress=False
    ).fit(images)
    np.testing.assert_array_equal(retriever.embeddings, head.transform(vectors))
    found = retriever.search(images, k=4)
    retriever.save(tmp_path / "r")
    again = Retriever.load(tmp_path / "r", images, trusted=[Means]).search(images, k=4)
    np.testing.assert_array_equal(again.indices, found.indices)
    np.testing.assert_array_equal(again.distances, found.distances)
