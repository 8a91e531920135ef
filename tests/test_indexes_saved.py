"""Indexes saved, loaded and mapped: round trips, forged files, structures that libraries would believe."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from index_oracles import make, vectors
from sklearn.decomposition import PCA

from cbirkit import indexes, persistence
from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming

ALL = [Exact, Hamming, Annoy, HNSW, IVF, IVFPQ]
BUILT = [Annoy, HNSW, IVF, IVFPQ]
MAPPED = [Exact, *BUILT]


def data(kind, n=60, seed=0, d=16):
    X = vectors(n, d, seed)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


def same(first, second, X, k=9):
    return all(map(np.array_equal, first.kneighbors(X, k), second.kneighbors(X, k)))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (Exact, {"metric": "euclidean"}),
        (Hamming, {}),
        (Annoy, {"n_trees": np.int64(7)}),
        (HNSW, {"m": 5, "metric": "euclidean"}),
        (IVF, {"nprobe": 2, "n_lists": 9, "metric": "euclidean"}),
        (IVFPQ, {"nprobe": 3}),
        (IVFPQ, {"rerank": 0}),
    ],
)
def test_round_trip(kind, params, mmap, tmp_path):
    X, path = data(kind, 400), tmp_path / "a" / "b"
    index = make(kind, **params).fit(X[:200])
    index.add(X[200:300])
    index.remove([3, 250]).save(path)
    before = path.read_bytes()
    for _ in range(2):
        again, kept = (indexes.load(str(path), mmap=mmap) for _ in range(2))
        assert type(again) is kind and str(again) == str(index)
        assert again.keys_.tolist() == index.keys_.tolist() and again.n_features_in_ == X.shape[1]
        assert same(index, again, X[:20])
        assert np.array_equal(
            again.kneighbors(n_neighbors=3)[1], index.kneighbors(n_neighbors=3)[1]
        )
        # it goes on living, and keys go on from where they were
        assert again.remove([]).add(X[:0]).tolist() == []
        assert again.add(X[300:]).tolist() == list(range(300, 400))
        again.remove([0, 399])
        assert not np.isin(again.kneighbors(X[:50], 20)[1], [0, 3, 250, 399]).any()
        assert (again.kneighbors(n_neighbors=3)[1] != again.keys_[:, None]).all()
        assert same(kept, index, X[:20]) and path.read_bytes() == before
        again.save(tmp_path / "c")
        assert same(indexes.load(tmp_path / "c", mmap=mmap), again, X[:20])


@pytest.mark.parametrize("kind", ALL)
def test_a_copy_lives_on_its_own(kind):
    index = make(kind).fit(data(kind))
    other = copy.deepcopy(index)
    assert same(index, other, data(kind)) and other.remove([0]).n_indexed_ == 59
    assert index.n_indexed_ == 60 and 0 in index.kneighbors(data(kind)[:1], 1)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no file that is mapped")
@pytest.mark.parametrize("kind", ALL)
def test_saving_over_an_index_replaces_it_and_leaves_the_loaded_ones_alone(kind, tmp_path):
    path = tmp_path / "index"
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 90, seed=2))
    old.save(path)
    kept, mapped = indexes.load(path), indexes.load(path, mmap=True)
    mapped.save(path)  # over itself
    new.save(path)
    assert same(indexes.load(path), new, data(kind))
    assert same(kept, old, data(kind)) and same(mapped, old, data(kind))
    Exact().fit(data(Exact)).save(path)  # another class
    assert isinstance(indexes.load(path), Exact) and list(tmp_path.iterdir()) == [path]
    assert same(new, old.fit(data(kind, 90, seed=2)), data(kind))  # a saved index can still be used


SEARCH = """
import sys
import numpy as np
from cbirkit import indexes

def private():
    with open("/proc/self/smaps_rollup") as file:
        return sum(1024 * int(line.split()[1]) for line in file if line.startswith("Anonymous"))

folder, how, *kinds = sys.argv[1:]
queries, kept = np.load(f"{folder}/queries.npy"), []
for kind in kinds:
    indexes.load(f"{folder}/small-{kind}", mmap=True).kneighbors(queries[:2], 5)  # libraries take memory, too
    before = private()
    kept.append(indexes.load(f"{folder}/{kind}", mmap=how == "mapped"))
    keys = kept[-1].kneighbors(queries, 5)[1]
    print(private() - before, *keys.ravel(), flush=True)
sys.stdin.readline()  # stay until the others have answered
"""


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """Of each kind: what is to be found, and what three processes found and took for it; and the bytes of the vectors."""
    folder, X = tmp_path_factory.mktemp("shared"), vectors(20_000, 256)  # 20 MB
    light = {HNSW: {"m": 4, "ef_construction": 8}, Annoy: {"n_trees": 4}, IVF: {"n_lists": 16}}
    light[IVFPQ] = {"n_lists": 16, "n_codes": 2}
    expected = {}
    for kind in MAPPED:
        index, name = make(kind, **light.get(kind, {})).fit(X), kind.__name__
        index.save(folder / name)
        expected[kind] = index.kneighbors(X[:40], 5)[1]
        index.fit(X[:300]).save(folder / f"small-{name}")
    np.save(folder / "queries.npy", X[:40])
    names, command = [kind.__name__ for kind in MAPPED], [sys.executable, "-c", SEARCH, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    how = ("mapped", "mapped", "copied")
    running = [subprocess.Popen([*command, one, *names], **pipes) for one in how]
    lines = [[reader.stdout.readline().split() for _ in MAPPED] for reader in running]
    for reader in running:  # all hold all indexes
        reader.communicate("\n", timeout=600)
        assert reader.returncode == 0
    found = zip(expected.values(), zip(*lines, strict=True), strict=True)
    return dict(zip(MAPPED, found, strict=True)), X.nbytes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells the memory so")
@pytest.mark.parametrize("kind", MAPPED)
def test_two_processes_share_one_index(kind, readers):
    (expected, lines), n_bytes = readers[0][kind], readers[1]
    for line in lines:
        np.testing.assert_array_equal(np.array(line[1:], int).reshape(40, 5), expected)
    first, second, copied = (int(line[0]) for line in lines)
    assert copied > 0.8 * n_bytes  # the measure sees a copy
    assert max(first, second) < 0.35 * n_bytes


@pytest.mark.parametrize("kind", ALL)
def test_an_index_is_saved_again_as_it_was(kind, tmp_path):
    X, place = data(kind), tmp_path / "index"
    index = make(kind).fit(X)
    for path in (
        place,
        tmp_path / "again",
    ):  # libraries give up what was built once it is in a file
        index.save(path)
    indexes.load(place).save(tmp_path / "loaded")
    assert (tmp_path / "again").read_bytes() == place.read_bytes()
    assert same(indexes.load(tmp_path / "loaded"), index, X)
    index.fit(data(kind, 90, seed=2)).save(place)
    assert same(indexes.load(place), make(kind).fit(data(kind, 90, seed=2)), X)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("kind", MAPPED)
def test_damage_is_told_before_a_library_parses_it(kind, ours, mmap, tmp_path, monkeypatch):
    index, path = make(kind).fit(data(kind)), tmp_path / "index"
    index.save(path)
    if not ours:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(kind, "_parse", lambda *args: pytest.fail("it was parsed"), raising=False)
    whole, state = path.read_bytes(), index.__getstate__()
    array = state["_vectors"] if kind is Exact else state["_saved"]
    start = whole.index(bytes(array))
    for at in (start, start + array.nbytes // 2, start + array.nbytes - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="its part 'arrays' is damaged"):
            indexes.load(path, mmap=mmap, trusted=True)
    at = whole.index(b'"n_indexed_"')
    path.write_bytes(whole[:at] + b"!" + whole[at + 1 :])
    with pytest.raises(ValueError, match="cannot be loaded"):
        indexes.load(path, mmap=mmap, trusted=True)


@pytest.mark.parametrize("kind", BUILT)
def test_bytes_under_a_seal_are_read_once(kind, tmp_path, monkeypatch):
    index, path = make(kind).fit(data(kind)), tmp_path / "index"
    index.save(path)
    monkeypatch.setattr("zipfile.ZipFile.testzip", lambda *args: pytest.fail("read once more"))
    assert same(indexes.load(path), index, data(kind))


# Files of strangers -----------------------------------------------------------------------------------------------


def forged(index, path, **changes):
    """Save an index whose state says something else."""
    state = {**index.__getstate__(), **changes}
    state = {name: value for name, value in state.items() if value is not ...}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(index), "__getstate__", lambda self: state)
        persistence.save(index, path, kind="index")
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": ...},
        {"_keys": np.arange(59)},
        {"_keys": 7},
        {"_next_key": ...},
        {"n_features_in_": 15},
        {"_vectors": np.zeros((60, 16))},
        {"_vectors": None},
        {"_vectors": ...},
    ],
    ids=str,
)
def test_states_that_do_not_fit_are_refused(changes, tmp_path):
    path = forged(Exact().fit(data(Exact)), tmp_path / "index", **changes)
    with pytest.raises(ValueError, match="cannot be loaded"):
        indexes.load(path)


@pytest.mark.parametrize("structure", [b"no such thing", b"", ...], ids=str)
@pytest.mark.parametrize("kind", BUILT)
def test_structures_that_are_none_are_refused_even_if_trusted(kind, structure, tmp_path, capfd):
    if isinstance(structure, bytes):
        structure = np.frombuffer(structure, np.uint8)
    path = forged(make(kind).fit(data(kind)), tmp_path / "index", _saved=structure)
    with pytest.raises(ValueError, match="cannot be loaded"):
        indexes.load(path, trusted=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"_saved": "smaller"},
        {"_keys": np.arange(59)},
        {"_vectors": np.zeros((3, 16), np.float32)},
        {"n_features_in_": 1600},
        {"_of": np.arange(60) + 1000, "_trained_on": 7},
        {"is_sealed": True},
        {"seal": ""},
        {"seal": ...},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", BUILT)
def test_what_was_changed_since_this_user_sealed_it_is_not_parsed(
    kind, changes, tmp_path, monkeypatch
):
    monkeypatch.setattr(kind, "_parse", lambda *args: pytest.fail("it was parsed"))
    if changes.get("_saved"):
        changes = {"_saved": make(kind).fit(data(kind, 30)).__getstate__()["_saved"]}
    path = forged(make(kind).fit(data(kind)), tmp_path / "index", **changes)
    with pytest.raises(ValueError, match="cannot be loaded"):
        indexes.load(path)


def test_other_things_are_no_index(tmp_path):
    for value in (PCA(2), [1], Exact()):
        path = persistence.save(value, tmp_path / "index", kind="index")
        with pytest.raises(ValueError, match="not a fitted"):
            indexes.load(path)
    persistence.save_estimator(PCA(2), tmp_path / "pca")
    with pytest.raises(ValueError, match="no index that"):
        indexes.load(tmp_path / "pca")
    with pytest.raises(FileNotFoundError):
        indexes.load(tmp_path / "nowhere")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match=r"0\.1\.0"):
        indexes.load(tmp_path / "old")


@pytest.mark.parametrize("who", ["somebody else", "nobody who can keep a key", "a forger"])
@pytest.mark.parametrize("kind", BUILT)
def test_structures_that_this_user_did_not_save_are_not_parsed(
    kind, who, tmp_path, monkeypatch, caplog
):
    index, path = make(kind).fit(data(kind)), tmp_path / "index"
    if who == "nobody who can keep a key":
        (tmp_path / "file").write_text("x")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    index.save(path)
    if who == "somebody else":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    if who == "a forger":
        forged(index, path, seal=index.__getstate__()["seal"][::-1])
    with monkeypatch.context() as parse:
        parse.setattr(kind, "_parse", lambda *args: pytest.fail("it was parsed"))
        with pytest.raises(ValueError, match="trusted=True"):
            indexes.load(path)
        again = persistence.load(path, kind="index")  # as a retriever does, which has the vectors
        again.finish_loading(vectors=data(kind))
    assert "built anew" in caplog.text and same(again, index, data(kind))
    assert same(indexes.load(path, trusted=True), index, data(kind))


@pytest.mark.parametrize("kind", [Exact, HNSW, Annoy])
@pytest.mark.parametrize("most", [100, 3000])
def test_files_that_may_not_grow_leave_the_old_index(kind, most, tmp_path):
    # a limit of the operating system: writing stops half way, and Annoy's own writing meets it too
    resource = pytest.importorskip("resource")
    old, new = make(kind).fit(data(kind, seed=1)), make(kind).fit(data(kind, 3000, seed=2))
    old.save(tmp_path / "index")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write|Unable to write"):
            new.save(tmp_path / "index")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(indexes.load(tmp_path / "index"), old, data(kind))
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert same(new, make(kind).fit(data(kind, 3000, seed=2)), data(kind))


def test_an_empty_index_is_not_saved(tmp_path):
    index = Exact().fit(data(Exact)).remove(range(60))
    with pytest.raises(ValueError, match="every item was removed"):
        index.save(tmp_path / "index")
    assert not list(tmp_path.iterdir())
