"""How images come into the encoders, and what all encoders have in common."""

import inspect
import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from cbirkit.encoders import HOG, LBP, SIFT, VLAD, BagOfWords, ColorHistogram, MeanColor, TinyImage
from cbirkit.encoders.base import l2_normalise, read_images, resize, stack
from cbirkit.images import ImageCollection, ImageProblem

STATELESS = [
    MeanColor(),
    ColorHistogram(),
    ColorHistogram("lab"),
    ColorHistogram("rgb", hellinger=False),
    TinyImage(),
    HOG(),
    LBP(),
]
LEARNING = [BagOfWords(n_words=12), VLAD(n_words=3), VLAD(n_words=3, intra=False, power=0.5)]
EVERY = STATELESS + LEARNING


def checkers(seed, shape=(96, 128)):
    """A picture of random 16-pixel squares: many key points."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (-(-shape[0] // 16), -(-shape[1] // 16), 3))
    return np.kron(squares, np.ones((16, 16, 1)))[: shape[0], : shape[1]].astype(np.uint8)


ODD_SIZES = [(1, 1), (1, 7), (7, 1), (2, 300), (5, 5), (96, 128), (129, 31), (300, 2)]


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_any_sizes_give_finite_float32(encoder):
    images = [checkers(seed, shape) for seed, shape in enumerate(ODD_SIZES)]
    images += [
        np.zeros((40, 40, 3), np.uint8),
        np.full((40, 40, 3), 255, np.uint8),
        checkers(9)[:, :, 0],
    ]
    images += [Image.fromarray(checkers(10))]
    embeddings = clone(encoder).fit([checkers(20), checkers(21)]).transform(images)
    assert embeddings.dtype == np.float32 and embeddings.shape[0] == len(images)
    assert np.isfinite(embeddings).all()
    lengths = np.linalg.norm(embeddings, axis=1)
    if not isinstance(encoder, MeanColor) and getattr(encoder, "hellinger", True):
        assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)), lengths
    assert lengths[5] > 0.1


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_collection_list_generator_and_array_agree(encoder):
    images = np.stack([checkers(seed) for seed in range(4)])
    encoder = clone(encoder).fit(ImageCollection.from_arrays(list(images)))
    expected = encoder.transform(images)
    assert len(np.unique(expected, axis=0)) == 4  # otherwise this test could not fail
    for same in (
        list(images),
        ImageCollection.from_arrays(list(images)),
        (image for image in images),
    ):
        np.testing.assert_array_equal(encoder.transform(same), expected)
    one_by_one = np.concatenate([encoder.transform([image]) for image in images])
    np.testing.assert_array_equal(
        one_by_one, expected
    )  # an embedding depends on its own image only


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_images_are_not_changed_and_may_be_read_only_views(encoder):
    image = checkers(1)
    image.setflags(write=False)
    encoder = clone(encoder).fit([image])
    turned = encoder.transform([image[:, ::-1]])
    np.testing.assert_array_equal(turned, encoder.transform([image[:, ::-1].copy()]))


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_estimator_conventions(encoder):
    names = [name for name in inspect.signature(type(encoder)).parameters]
    assert sorted(encoder.get_params(deep=False)) == sorted(names) and len(names) <= 6
    fresh = clone(encoder)
    before = dict(vars(fresh))
    assert set(before) == set(names)  # __init__ stores its arguments and does nothing else
    images = [checkers(seed) for seed in range(3)]
    assert fresh.fit(images) is fresh
    for name, value in vars(fresh).items():
        if name in names:
            assert value is before[name], "fit changed a parameter"
        else:
            assert name.endswith("_") and isinstance(value, np.ndarray | int | float | str), name
    pickled = pickle.loads(pickle.dumps(fresh))  # as joblib's workers need it
    np.testing.assert_array_equal(pickled.transform(images), fresh.transform(images))
    np.testing.assert_array_equal(clone(encoder).fit_transform(images), fresh.transform(images))


@pytest.mark.parametrize("encoder", LEARNING, ids=repr)
def test_not_fitted(encoder):
    with pytest.raises(NotFittedError):
        clone(encoder).transform([checkers(0)])


@pytest.mark.parametrize("encoder", STATELESS, ids=repr)
def test_nothing_to_fit(encoder):
    assert clone(encoder).transform([checkers(0)]).shape[0] == 1


def test_pipeline_and_nested_parameters():
    images = [checkers(seed) for seed in range(8)]
    pipeline = make_pipeline(BagOfWords(16, SIFT(n_jobs=1)), PCA(3))
    pipeline.set_params(bagofwords__n_words=10, bagofwords__detector__root=False)
    assert pipeline.fit_transform(images).shape == (8, 3)
    assert (
        pipeline[0].codebook_.shape == (10, 128) and pipeline[0].codebook_.max() > 1
    )  # plain SIFT, not root
    assert clone(pipeline).get_params()["bagofwords__detector__root"] is False


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        ([], ValueError, "at least one image"),
        (iter(()), ValueError, "at least one image"),
        (checkers(0), ValueError, r"pass one image as \[image\]"),
        (checkers(0)[:, :, 0], ValueError, r"pass one image as \[image\]"),
        ("photos", TypeError, "from_folder"),
        (["a.jpg"], TypeError, "image 0 is the path"),
        (3, TypeError, "sequence of images"),
        (Image.fromarray(checkers(0)), TypeError, r"\[image\]"),
        ([checkers(0), np.zeros((0, 4, 3), np.uint8)], ImageProblem, "image 1: .*shape"),
        ([checkers(0), np.full((4, 4), np.nan)], ImageProblem, "image 1: .*rescale"),
        ([np.zeros((3, 20, 20), np.uint8)], ImageProblem, "channel-first"),
    ],
)
def test_bad_images(images, error, words):
    with pytest.raises(error, match=words):
        MeanColor().transform(images)


def test_a_table_is_not_images():
    collection = ImageCollection.from_arrays([checkers(0)])
    with pytest.raises(TypeError, match="from_files"):
        MeanColor().transform(collection.table)


@pytest.mark.parametrize("encoder", [ColorHistogram(), VLAD(n_words=2)], ids=repr)
def test_broken_file_in_a_collection_is_named(encoder, tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(checkers(3)).save(tmp_path / name)
    encoder.fit([checkers(3)])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    collection = ImageCollection.from_folder(tmp_path)
    with pytest.raises(ImageProblem, match="b.png"):
        encoder.transform(collection)


@pytest.mark.parametrize(
    "encoder",
    [
        ColorHistogram("hsb"),
        ColorHistogram(bins=(16, 4)),
        ColorHistogram(bins=16),
        ColorHistogram(bins=(16, 4, 0)),
        TinyImage(0),
        TinyImage(2.5),
        HOG(size=16, cell=16),
        HOG(orientations=0),
        LBP(radii=()),
        LBP(radii=1),
        LBP(radii=(0,)),
        LBP(grid=0),
        BagOfWords(0),
        BagOfWords(True),
        BagOfWords(power=0),
        BagOfWords(5, max_descriptors=4),
        VLAD(n_words=-1),
        VLAD(power=2),
        VLAD(4, SIFT(0)),
        VLAD(4, SIFT(max_side=0)),
        VLAD(4, SIFT(contrast_threshold=-1)),
        VLAD(4, SIFT(n_jobs=0)),
    ],
    ids=repr,
)
def test_bad_parameters_are_refused_in_fit(encoder):
    with pytest.raises(ValueError, match="got|n_jobs == 0"):
        encoder.fit([checkers(0)])


def test_read_images_in_an_order_names_the_right_image():
    images = [checkers(0), "x.jpg", checkers(2)]
    first, second = read_images(images, order=[2, 0])
    np.testing.assert_array_equal(first, images[2])
    np.testing.assert_array_equal(second, images[0])
    with pytest.raises(TypeError, match="image 1 "):
        list(read_images(images, order=[0, 1]))


def test_grey_and_rgba_images_are_converted():
    pixels = checkers(0)[:, :, 0]
    alpha = np.dstack([pixels, pixels, pixels, np.full_like(pixels, 255)])
    for same in (pixels, alpha, pixels / 255):
        np.testing.assert_allclose(
            TinyImage().transform([same]), TinyImage().transform([np.dstack([pixels] * 3)])
        )


def test_stack_without_and_with_a_length():
    rows = [np.arange(3) + i for i in range(4)]
    for images in (range(4), iter(range(4))):
        result = stack(iter(rows), images)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, rows)


def test_l2_normalise_keeps_zero():
    np.testing.assert_array_equal(l2_normalise(np.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(l2_normalise(np.array([3.0, 4.0])), [0.6, 0.8])


def test_resize_takes_slivers_and_one_pixel():
    assert resize(np.zeros((1, 40_000, 3), np.uint8), 16, 16).shape == (16, 16, 3)
    np.testing.assert_array_equal(
        resize(np.full((1, 1, 3), 7, np.uint8), 5, 3), np.full((3, 5, 3), 7)
    )
