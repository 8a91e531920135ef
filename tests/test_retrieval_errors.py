"""What a retriever says to bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from retrieval_samples import Means, exact, noise, write_photos
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from cbirkit.images import ImageCollection, ImageProblem
from cbirkit.retrieval import Retriever


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path)


@pytest.fixture
def retriever(photos):
    return Retriever(Means(), exact(), progress=False).fit(ImageCollection.from_folder(photos))


@pytest.mark.parametrize(
    ("query", "k", "error", "sentence"),
    [
        ("cat/1.png", 8, ValueError, "k=8 exceeds the 7 indexed images; use k <= 7"),
        ("cat/1.png", 0, ValueError, "k=0 is not a positive whole number"),
        ("cat/1.png", 2.0, ValueError, r"k=2\.0 is not a positive whole number"),
        ("cat/9.png", 1, ValueError, "no indexed image and no file is called 'cat/9.png'"),
        (Path("nowhere.png"), 1, ImageProblem, "nowhere.png: No such file"),
        ([Path("nowhere.png"), Path("other.png")], 1, ImageProblem, "nowhere.png: No such file"),
        (
            Path("nowhere.png"),
            99,
            ImageProblem,
            "nowhere.png: No such file",
        ),  # a query first, then k
        ("nowhere.png", 99, ValueError, "no file is called 'nowhere.png'"),
        (["cat/1.png", noise(1)[0], b"broken"], 1, ImageProblem, "not an image"),
        (b"not an image", 1, ImageProblem, "not an image of a known format"),
        ([], 1, ValueError, "there is no query"),
        (None, 1, TypeError, "a query is a NoneType; give an ImageCollection"),
        (3, 1, TypeError, "a query is a int"),
        ({"a": 1}, 1, TypeError, "a query is a dict"),
        (np.zeros(12), 1, TypeError, "a query is a float"),
        ([np.zeros(12)], 1, ValueError, "search_embeddings"),
        (np.zeros((3, 10, 12)), 1, ImageProblem, "channel-first"),
        (np.full((4, 4, 3), np.nan), 1, ImageProblem, "must lie in 0..1"),
    ],
)
def test_bad_queries(retriever, query, k, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        retriever.search(query, k=k)
    assert "\n" not in str(caught.value)


def test_folder_as_query(retriever, photos):
    with pytest.raises(ValueError, match="is a folder; search for ImageCollection.from_folder"):
        retriever.search(photos, k=1)


def test_tiny_and_grey_queries(retriever):
    for query in (
        np.zeros((1, 1), np.uint8),
        np.zeros((1, 1, 3)),
        np.zeros((5, 2)),
        Image.new("L", (3, 3)),
    ):
        assert retriever.search(query, k=2).indices.shape == (1, 2)


def test_one_image():
    retriever = Retriever(Means(), exact(), progress=False).fit(noise(1))
    assert retriever.search(noise(1, seed=2)[0], k=1).ids.tolist() == [["0"]]
    assert retriever.search("0", k=1).ids.tolist() == [[None]]
    assert retriever.search("0", k=None).ids.tolist() == [[None]]


def test_bad_parts(photos, tmp_path):
    with pytest.raises(TypeError, match="is the class Means; give an instance"):
        Retriever(Means).fit(photos)
    with pytest.raises(TypeError, match="str is no encoder"):
        Retriever("hsv").fit(photos)
    with pytest.raises(TypeError, match="is not an index: it lacks"):
        Retriever(Means(), "exact").fit(photos)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no usable image"):
        Retriever(Means()).fit(tmp_path / "empty")
    with pytest.raises(ValueError, match="there is no image"):
        Retriever(Means()).fit([])
    with pytest.raises(ImageProblem, match=r"cat/7\.png: (truncated|damaged) file"):
        Retriever(Means(), progress=False).fit(ImageCollection.from_folder(photos)[["cat/7.png"]])


@pytest.mark.parametrize(
    "use", [lambda r: r.search("a"), lambda r: r.ids, lambda r: r.add([]), lambda r: r.save("x")]
)
def test_not_fitted(use):
    with pytest.raises(NotFittedError):
        use(Retriever(Means()))


def test_real_photographs(realdata, tmp_path):
    encoders = pytest.importorskip("cbirkit.encoders")
    folder = realdata / "b_instance_ukbench250"
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )[:40]
    images = ImageCollection.from_files(paths, root=folder)
    encoder = make_pipeline(encoders.ColorHistogram(), PCA(8, whiten=True), Normalizer())
    retriever = Retriever(encoder, progress=False).fit(images)
    retriever.save(tmp_path / "r")
    ranking = Retriever.load(tmp_path / "r").search(images, k=3)
    np.testing.assert_array_equal(ranking.indices, retriever.search(images, k=3).indices)
    groups = np.arange(40) // 4
    assert (groups[ranking.indices[:, 0]] == groups).mean() > 0.5
