"""UKBench, Holidays, revisited Oxford and Paris: layout, protocol, queries and relevance."""

import io
import json
import pickle

import fetch_sets
import numpy as np
import pytest
from fetch_server import jpeg, make_tar, serving
from PIL import Image
from test_revisitop import DataOnly, judge, rank

from cbirkit import Ranking, datasets, evaluate
from cbirkit.datasets.fetch import DownloadFailed, registry

server = pytest.fixture(serving)


def perfect(relevance):
    """The ranking that a flawless system would give, of all database items."""
    everything = np.tile(np.arange(len(relevance.database_ids)), (len(relevance), 1))
    return Ranking.from_distances(
        -relevance.gains(everything), relevance.query_ids, relevance.database_ids
    )


# ---------------------------------------------------------------------- UKBench


def test_ukbench(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "ukbench", fetch_sets.ukbench(8, orientation=6), 8)
    images = datasets.fetch_ukbench(root=tmp_path, progress=False)
    assert list(images.ids) == [f"ukbench{i:05d}.jpg" for i in range(8)]
    assert list(images.column("instance")) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert images[0].shape == (48, 64, 3), "as stored: the EXIF orientation is not applied"
    assert images.thumbnail(0, 32).shape == (24, 32, 3)
    assert sorted(p.name for p in (tmp_path / "ukbench" / "ready").iterdir()) == [
        "ready.json",
        *images.ids,
    ]
    relevance = images.relevance(keep_self=True)
    assert relevance.n_positives.tolist() == [4] * 8
    assert (
        evaluate(perfect(relevance), relevance, metrics=["ukbench"], n_bootstrap=0)["ukbench"] == 4
    )
    assert json.loads((tmp_path / "ukbench" / "checksums.json").read_text())["ukbench.zip"][
        "from"
    ].startswith(server.url)


def test_ukbench_that_lacks_images_is_set_aside(server, monkeypatch, tmp_path):
    fetch_sets.serve(monkeypatch, server, "ukbench", fetch_sets.ukbench(7), 8)
    with pytest.raises(
        DownloadFailed, match="there are 7 images, not 8; the file was renamed to end in .rejected"
    ):
        datasets.fetch_ukbench(root=tmp_path, progress=False)
    assert (tmp_path / "ukbench" / "ukbench.zip.rejected").is_file()
    fetch_sets.serve(
        monkeypatch, server, "ukbench", fetch_sets.ukbench(8), 8
    )  # a better one is not compared with the rejected one
    assert len(datasets.fetch_ukbench(root=tmp_path, progress=False)) == 8


# ---------------------------------------------------------------------- Holidays


@pytest.fixture
def small_holidays(server, monkeypatch):
    fetch_sets.serve(monkeypatch, server, "holidays", fetch_sets.holidays(orientation=6), 7)
    fetch_sets.serve(
        monkeypatch, server, "holidays_upright", {"holidays-rotate.yaml": fetch_sets.TURNS}, 0
    )


def test_holidays(small_holidays, tmp_path):
    benchmark = datasets.fetch_holidays(root=tmp_path, progress=False)
    queries, database = benchmark.split()
    assert list(queries.ids) == ["100000.jpg", "100100.jpg", "100200.jpg"]
    assert list(database.ids) == [f"{number}.jpg" for number in fetch_sets.HOLIDAYS]
    assert database[0].shape == (48, 64, 3)
    relevance = benchmark.relevance(queries, database)
    assert relevance.n_positives.tolist() == [1, 2, 1]
    assert relevance.n_junk.tolist() == [1, 1, 1], "the query itself"
    by_column = database.relevance(queries, database, by="instance")
    everything = np.tile(np.arange(7), (3, 1))
    assert np.array_equal(relevance.gains(everything), by_column.gains(everything))
    assert np.array_equal(relevance.junk(everything), by_column.junk(everything))
    result = evaluate(perfect(relevance), relevance, metrics=["trapezoid_map"], n_bootstrap=0)
    assert result["trapezoid_map"] == 1
    assert "turned" not in database.table and not (tmp_path / "holidays_upright").exists()


def test_holidays_upright(small_holidays, tmp_path):
    stored = datasets.fetch_holidays(root=tmp_path, progress=False).database
    turned = datasets.fetch_holidays(upright=True, root=tmp_path, progress=False)
    degrees = {"100000.jpg": 90, "100101.jpg": 270, "100102.jpg": 180}
    assert list(turned.database.column("turned")) == [degrees.get(i, 0) for i in stored.ids]
    for i in stored.ids:
        expected = np.asarray(
            Image.fromarray(stored[i]).rotate(-degrees.get(i, 0), expand=True)
        )  # clockwise
        assert np.array_equal(turned.database[i], expected)
        small = turned.database.thumbnail(i, 32)
        assert (
            small.shape[0] < small.shape[1]
            if expected.shape[0] < expected.shape[1]
            else small.shape[0] > small.shape[1]
        )
        assert (turned.database.digest(i) == stored.digest(i)) == (i not in degrees)
    assert np.array_equal(turned.queries["100000.jpg"], turned.database["100000.jpg"])
    assert turned.name == "holidays, upright"
    kept = json.loads((tmp_path / "holidays_upright" / "ready" / "turns.json").read_text())
    assert kept == degrees


@pytest.mark.parametrize(
    "table",
    [
        b"{}",
        b'{"100000.jpg": 45}',
        b'{"100000.jpg": 90, "x.jpg": 90}',
        b"!!python/object:os.system",
    ],
)
def test_a_table_of_turns_that_is_none(small_holidays, server, monkeypatch, tmp_path, table):
    fetch_sets.serve(monkeypatch, server, "holidays_upright", {"holidays-rotate.yaml": table}, 0)
    with pytest.raises(DownloadFailed, match="does not hold names and turns"):
        datasets.fetch_holidays(upright=True, root=tmp_path, progress=False)


# ---------------------------------------------------------------------- revisited Oxford and Paris


def truth_of(**changes):
    """A small ground truth as the official files write it."""
    names = [f"oxford_{i:06d}" for i in range(6)]
    gnd = [
        {"bbx": [10.4, 5.6, 90.5, 61.5], "easy": [0, 1], "hard": [2], "junk": [3]},
        {"bbx": [-3, 0, 500, 500], "easy": [], "hard": [5], "junk": []},
    ]
    return {
        "imlist": names,
        "qimlist": ["all_souls_000013", "bodleian_000107"],
        "gnd": gnd,
        **changes,
    }


def pictures(names, folder=""):
    return make_tar(
        {
            f"{folder}{name}.jpg": jpeg(seed, (120, 90), orientation=3)
            for seed, name in enumerate(names)
        }
    )


@pytest.fixture
def small_oxford(server, monkeypatch):
    truth = truth_of()
    names = truth["qimlist"] + truth["imlist"]
    bodies = {
        "gnd_roxford5k.pkl": pickle.dumps(truth, 2),
        "oxbuild_images-v1.tgz": pictures([*names, "worcester_000001"]),
    }
    fetch_sets.serve(monkeypatch, server, "roxford5k", bodies, 8)
    return bodies


def test_revisited_protocols(small_oxford, tmp_path):
    oxford = datasets.fetch_revisited("roxford5k", root=tmp_path, progress=False)
    queries, database = oxford.split()
    assert list(queries.ids) == truth_of()["qimlist"] and list(database.ids) == truth_of()["imlist"]
    assert oxford.protocols == ("easy", "medium", "hard") and "default medium" in repr(oxford)
    everything = np.tile(np.arange(6), (2, 1))
    expected = {  # positives, junk of the first query; n_positives of both
        "easy": ([0, 1], [2, 3], [2, 0]),
        "medium": ([0, 1, 2], [3], [3, 1]),
        "hard": ([2], [0, 1, 3], [1, 1]),
    }
    for protocol, (positives, junk, counts) in expected.items():
        relevance = oxford.relevance(queries, database, protocol=protocol)
        assert np.flatnonzero(relevance.relevant(everything)[0]).tolist() == positives
        assert np.flatnonzero(relevance.junk(everything)[0]).tolist() == junk
        assert relevance.n_positives.tolist() == counts
    assert oxford.relevance().n_positives.tolist() == expected["medium"][2]
    fewer = oxford.relevance(queries[1:], database[[5, 0, 3]])
    assert fewer.n_positives.tolist() == [1] and fewer.relevant([[0, 1, 2]]).tolist() == [
        [True, False, False]
    ]
    with pytest.raises(
        ValueError, match="no protocol 'Hard' in roxford5k; there are: easy, medium, hard"
    ):
        oxford.relevance(protocol="Hard")
    with pytest.raises(ValueError, match="no image 'oxford_000000'"):
        oxford.relevance(database[:1], database)
    with pytest.raises(ValueError, match="name must be one of roxford5k, rparis6k, got 'oxford5k'"):
        datasets.fetch_revisited("oxford5k")


def test_revisited_queries_are_cropped_as_pillow_crops_the_stored_pixels(small_oxford, tmp_path):
    whole = datasets.fetch_revisited("roxford5k", crop=False, root=tmp_path, progress=False).queries
    cropped = datasets.fetch_revisited("roxford5k", root=tmp_path, progress=False).queries
    path = tmp_path / "roxford5k" / "ready" / "jpg" / "all_souls_000013.jpg"
    with Image.open(path) as image:
        stored = image.convert("RGB")
    assert np.array_equal(whole[0], np.asarray(stored)), "the EXIF orientation is not applied"
    assert np.array_equal(cropped[0], np.asarray(stored.crop(truth_of()["gnd"][0]["bbx"])))
    assert cropped[0].shape == (56, 80, 3)
    assert np.array_equal(cropped[1], whole[1]), "a box beyond the image is cut at its edge"
    assert whole.digest(0) != cropped.digest(0)
    assert cropped.thumbnail(0, 40).shape == (28, 40, 3)
    assert cropped.table[["x0", "y0", "x1", "y1"]].iloc[0].tolist() == truth_of()["gnd"][0]["bbx"]


def test_nothing_of_revisited_is_kept_as_a_pickle_and_other_images_are_left_out(
    small_oxford, tmp_path
):
    datasets.fetch_revisited("roxford5k", root=tmp_path, progress=False)
    left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert not [name for name in left if name.endswith((".pkl", ".tgz"))]
    assert (
        not [name for name in left if "worcester" in name]
        and len([n for n in left if n.endswith(".jpg")]) == 8
    )


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_ground_truth_that_names_a_function_runs_nothing(
    small_oxford, server, monkeypatch, tmp_path, protocol
):
    bodies = {
        **small_oxford,
        "gnd_roxford5k.pkl": pickle.dumps(
            {**truth_of(), "x": Evil(str(tmp_path / "evil"))}, protocol
        ),
    }
    fetch_sets.serve(monkeypatch, server, "roxford5k", bodies, 8)
    with pytest.raises(DownloadFailed, match=r"it names .*open.*\.rejected.*gnd_roxford5k.pkl"):
        datasets.fetch_revisited("roxford5k", root=tmp_path / "data", progress=False)
    assert not (tmp_path / "evil").exists()


ENTRY = truth_of()["gnd"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imlist": None}, "lacks something"),
        ({"gnd": [{"bbx": [0, 0, 1, 1], "easy": []}] * 2}, "KeyError: 'hard'"),
        ({"gnd": ENTRY[:1]}, "1 entries for 2 queries"),
        (
            {"gnd": [{**ENTRY[0], "easy": [6]}, ENTRY[1]]},
            "all_souls_000013 lists an image twice, or one that does not exist",
        ),
        ({"gnd": [{**ENTRY[0], "easy": [-1]}, ENTRY[1]]}, "one that does not exist"),
        ({"gnd": [{**ENTRY[0], "junk": [0]}, ENTRY[1]]}, "lists an image twice"),
        ({"gnd": [{**ENTRY[0], "bbx": [9, 9, 9, 20]}, ENTRY[1]]}, "has no box"),
        ({"gnd": [{**ENTRY[0], "bbx": [float("nan"), 1, 2, 3]}, ENTRY[1]]}, "has no box"),
        ({"qimlist": ["../../evil", "b"]}, "no plain names"),
        ({"qimlist": ["oxford_000000", "b"]}, "names an image twice"),
        (
            {"imlist": [f"oxford_{i:06d}" for i in range(7)]},
            "there are 9 names in the ground truth, not 8",
        ),
    ],
)
def test_a_ground_truth_that_is_wrong_is_named(
    small_oxford, server, monkeypatch, tmp_path, changes, words
):
    bodies = {**small_oxford, "gnd_roxford5k.pkl": pickle.dumps(truth_of(**changes))}
    fetch_sets.serve(monkeypatch, server, "roxford5k", bodies, 8)
    with pytest.raises(DownloadFailed, match=words):
        datasets.fetch_revisited("roxford5k", root=tmp_path, progress=False)


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_revisited_with_the_official_ground_truth(name, realdata, server, monkeypatch, tmp_path):
    folder = realdata / "h_revisitop"
    if not folder.is_dir():
        pytest.skip("no ground truth of revisited Oxford and Paris")
    pickled = (folder / f"gnd_{name}.pkl").read_bytes()
    truth, reference = (
        DataOnly(io.BytesIO(pickled)).load(),
        json.loads((folder / "reference_numbers.json").read_text())[name],
    )
    names, stub = truth["qimlist"] + truth["imlist"], jpeg(0, (4, 4))
    files = {
        f"paris/{i.split('_')[1]}/{i}.jpg" if name == "rparis6k" else f"{i}.jpg": stub
        for i in names
    }
    half = len(files) // 2
    archives = [item.name for item in registry.DATA_SETS[name].downloads[1:]]
    parts = (
        [files]
        if len(archives) == 1
        else [dict(list(files.items())[:half]), dict(list(files.items())[half:])]
    )
    bodies = {
        f"gnd_{name}.pkl": pickled,
        **{archive: make_tar(part) for archive, part in zip(archives, parts, strict=True)},
    }
    n_images = registry.DATA_SETS[name].n_images
    fetch_sets.serve(monkeypatch, server, name, bodies, n_images)
    benchmark = datasets.fetch_revisited(name, root=tmp_path, progress=False)
    assert len(benchmark.queries) == 70 and len(benchmark.database) == len(truth["imlist"])
    for protocol, letter in (("easy", "E"), ("medium", "M"), ("hard", "H")):
        relevance, official = benchmark.relevance(protocol=protocol), judge(truth, letter)
        everything = np.tile(np.arange(len(truth["imlist"])), (70, 1))
        assert np.array_equal(relevance.gains(everything), official.gains(everything))
        assert np.array_equal(relevance.junk(everything), official.junk(everything))
        result = evaluate(
            rank(truth, "biased"), relevance, metrics=["trapezoid_map"], n_bootstrap=0
        )
        assert 100 * result["trapezoid_map"] == pytest.approx(
            reference["cases"]["biased"][letter]["mAP"], abs=1e-6
        )
    boxes = benchmark.queries.table[["x0", "y0", "x1", "y1"]].to_numpy()
    assert np.allclose(boxes, [entry["bbx"] for entry in truth["gnd"]])
