"""Indexes read from their files as they are needed: the same answers, shared between processes, copied before a change."""

import subprocess
import sys

import numpy as np
import pytest
from index_oracles import make, vectors

from cbirkit import indexes
from cbirkit.indexes import HNSW, IVF, IVFPQ, Annoy, Exact, Hamming, faiss_parts
from cbirkit.indexes.distances import DenseRows, PackedRows
from cbirkit.indexes.exhaustive import nearest

ALL = [Exact, Hamming, Annoy, HNSW, IVF, IVFPQ]
MAPPED = [Exact, Annoy, HNSW, IVF, IVFPQ]


def data(kind, n=500, d=16, seed=0):
    X = vectors(n, d, seed)
    return np.packbits(X > 0, axis=1) if kind is Hamming else X


def same(first, second, X, k=9):
    return all(
        np.array_equal(a, b)
        for a, b in zip(first.kneighbors(X, k), second.kneighbors(X, k), strict=True)
    )


@pytest.mark.parametrize("kind", ALL)
def test_a_mapped_index_answers_as_the_one_in_memory(kind, tmp_path):
    index = make(kind).fit(data(kind)).remove([3, 499])
    index.save(tmp_path)
    for load in (indexes.load, kind.load):
        mapped = load(tmp_path, mmap=True)
        assert type(mapped) is kind and mapped.keys_.tolist() == index.keys_.tolist()
        assert same(mapped, index, data(kind, 40, seed=1))
        assert np.array_equal(
            mapped.kneighbors(n_neighbors=3)[1], index.kneighbors(n_neighbors=3)[1]
        )


@pytest.mark.parametrize("kind", ALL)
def test_a_mapped_index_goes_on_living_and_leaves_its_file_alone(kind, tmp_path):
    X = data(kind)
    make(kind).fit(X).save(tmp_path / "a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    changed, kept = indexes.load(tmp_path / "a", mmap=True), indexes.load(tmp_path / "a", mmap=True)
    assert changed.remove([]).n_indexed_ == 500 and changed.add(X[:0]).tolist() == []
    assert changed.remove([7, 8]).add(data(kind, 30, seed=2)).tolist() == list(range(500, 530))
    assert changed.remove([500]).n_indexed_ == 527
    assert not np.isin(changed.kneighbors(X[:20], 20)[1], [7, 8, 500]).any()
    assert same(kept, indexes.load(tmp_path / "a"), X[:20])
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    changed.save(tmp_path / "b")
    again = indexes.load(tmp_path / "b", mmap=True)
    assert again.keys_.tolist() == changed.keys_.tolist() and same(
        again, indexes.load(tmp_path / "b"), X[:20]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows replaces no folder with a mapped file")
@pytest.mark.parametrize("kind", ALL)
def test_a_mapped_index_can_be_saved_over_itself(kind, tmp_path):
    X = data(kind)
    make(kind).fit(X).save(tmp_path)
    mapped = indexes.load(tmp_path, mmap=True)
    mapped.save(tmp_path)
    assert same(mapped, indexes.load(tmp_path), X[:20])
    make(kind).fit(data(kind, seed=5)).save(tmp_path)
    assert same(mapped, make(kind).fit(X), X[:20])  # what was mapped stays


SEARCH = """
import sys
import numpy as np
from cbirkit import indexes

def private():
    with open("/proc/self/smaps_rollup") as file:
        return sum(1024 * int(line.split()[1]) for line in file if line.startswith("Anonymous"))

queries = np.load(sys.argv[2])
warm = type(indexes.load(sys.argv[3], mmap=True))
warm.load(sys.argv[3], mmap=True).kneighbors(queries[:2], 5)  # libraries take memory, too
before = private()
index = indexes.load(sys.argv[1], mmap=sys.argv[4] == "mapped")
keys = index.kneighbors(queries, 5)[1]
print(private() - before, *keys.ravel(), flush=True)
sys.stdin.readline()  # stay until the other has answered
"""


def ask(folder, queries, warm, how):
    """Start a process that loads the index, searches and waits for a line."""
    command = [sys.executable, "-c", SEARCH, str(folder), str(queries), str(warm), how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is counted as Linux tells it"
)
@pytest.mark.parametrize("kind", MAPPED)
def test_two_processes_share_one_index(kind, tmp_path):
    light = {HNSW: {"m": 4, "ef_construction": 8}, Annoy: {"n_trees": 4}, IVF: {"n_lists": 16}}
    light[IVFPQ] = {"n_lists": 16, "n_codes": 2}
    X = vectors(20_000, 256)  # 20 MB
    index = make(kind, **light.get(kind, {})).fit(X)
    index.save(tmp_path / "index")
    make(kind, **light.get(kind, {})).fit(X[:300]).save(tmp_path / "small")
    np.save(tmp_path / "queries.npy", X[:40])
    expected = index.kneighbors(X[:40], 5)[1]
    arguments = tmp_path / "index", tmp_path / "queries.npy", tmp_path / "small"
    both = [ask(*arguments, "mapped"), ask(*arguments, "mapped")]
    lines = [
        process.stdout.readline().split() for process in both
    ]  # both are alive and hold the index
    both.append(ask(*arguments, "in memory"))
    lines.append(both[2].stdout.readline().split())
    for process in both:
        process.communicate("\n", timeout=600)
        assert process.returncode == 0
    for line in lines:
        np.testing.assert_array_equal(np.array(line[1:], int).reshape(40, 5), expected)
    first, second, in_memory = (int(line[0]) for line in lines)
    assert in_memory > 0.8 * X.nbytes  # the measure sees a copy
    assert max(first, second) < 0.35 * X.nbytes


@pytest.mark.parametrize("kind", [HNSW, IVF, IVFPQ])
def test_an_old_faiss_says_that_it_cannot_map(kind, tmp_path, monkeypatch):
    make(kind).fit(data(kind)).save(tmp_path)
    import faiss

    monkeypatch.delattr(faiss, "IO_FLAG_MMAP_IFC")
    with pytest.raises(
        ImportError, match="cannot map its files; pip install -U faiss-cpu, or load without mmap"
    ):
        indexes.load(tmp_path, mmap=True)
    assert indexes.load(tmp_path).n_indexed_ == 500


def test_preselection_leaves_out_no_true_neighbour():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 24)).astype(np.float32)
    X[200:260] = X[0] + 1e-7 * rng.normal(
        size=(60, 24)
    )  # nearer to one another than float32 scores can tell
    for metric in ("cosine", "euclidean"):
        rows = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        candidates = np.stack([rng.permutation(400)[:300] for _ in range(20)])
        candidates[:10, -60:], candidates[3, 200:] = np.arange(200, 260), -1
        candidates[:10, :240] = np.where(candidates[:10, :240] >= 200, -1, candidates[:10, :240])
        chosen = faiss_parts.preselect(rows, rows[:20].copy(), candidates, 5, metric)
        assert chosen.shape[1] < 300
        for query, before, after in zip(rows[:20].astype(float), candidates, chosen, strict=True):
            before = before[before >= 0]
            far = np.square(rows[before] - query).sum(axis=1)
            assert set(before[far <= np.sort(far)[4]]) <= set(after)
    assert faiss_parts.preselect(rows, rows[:20], candidates, 300, "cosine") is candidates


@pytest.mark.parametrize("kind", ALL)
def test_one_query_gets_the_same_as_among_others(kind):
    for d in (1, 5, 16, 33):
        X = data(kind, 300, 8 * d if kind is Hamming else d)
        index = make(kind).fit(X).remove([4])
        distances, keys = index.kneighbors(X[:60], 6)
        for i in range(60):
            one = index.kneighbors(X[i : i + 1], 6)
            np.testing.assert_array_equal(one[0][0], distances[i])
            np.testing.assert_array_equal(one[1][0], keys[i])
            assert (
                kind is Hamming or i == 4 or one[0][0, 0] == 0
            )  # a vector is at 0 from its copy, to the bit


@pytest.mark.parametrize("kind", MAPPED)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_search_leaves_queries_alone_and_takes_any_layout(kind, metric):
    X = data(kind)
    index = make(kind, metric).fit(X)
    queries = X[:20].copy()
    distances, keys = index.kneighbors(queries, 5)
    assert np.array_equal(queries, X[:20])
    other = [
        queries.astype(float),
        np.asfortranarray(queries),
        np.repeat(queries, 2, axis=0)[::2],
        queries.tolist(),
    ]
    for asked in other:
        again = index.kneighbors(asked, 5)
        assert np.array_equal(again[0], distances) and np.array_equal(again[1], keys)
        assert np.array_equal(index.kneighbors(asked[3:4], 5)[1], keys[3:4])


@pytest.mark.parametrize("kind", MAPPED)
@pytest.mark.parametrize("n", [1, 3])
def test_queries_that_are_no_embeddings_are_refused_one_at_a_time_too(kind, n):
    index = make(kind).fit(data(kind))
    for value, words in (
        (np.nan, "NaN or infinity"),
        (np.inf, "NaN or infinity"),
        (1e30, "too large"),
    ):
        query = np.ones((n, 16), np.float32)
        query[-1, 2] = value
        with pytest.raises(ValueError, match=f"row {n - 1} of X holds .*{words}"):
            index.kneighbors(query, 5)
    tiny = index.kneighbors(np.full((n, 16), 1e-35, np.float32), 5)
    assert np.array_equal(tiny[1], index.kneighbors(np.ones((n, 16), np.float32), 5)[1])
    assert (index.kneighbors(np.zeros((n, 16), np.float32), 5)[0] == 1).all()


@pytest.mark.parametrize("kind", ["dense", "bits"])
def test_one_query_never_gets_a_row_that_is_not_alive(kind):
    n, k = 10_000, 2_000
    alive = np.zeros(n, bool)
    alive[-2_500:] = True  # none of the first block
    X = data(Hamming if kind == "bits" else Exact, n, 64)
    stored = PackedRows(X, alive) if kind == "bits" else DenseRows(X, "euclidean", alive)
    distances, rows = nearest(stored, X[:1].copy(), k)
    assert alive[rows].all() and (np.diff(distances[0]) >= 0).all()
    together = nearest(stored, X[:2].copy(), k)
    np.testing.assert_array_equal(together[1][:1], rows)
