"""Vectors in files that need no server, on a disk or in an object store: Lance."""

import numpy as np

from cbirkit._optional import require

from .pgvector import Table

_METRICS = {"cosine": "dot", "euclidean": "l2"}  # dot: 1 - the product


class Lance(Table):
    """A table of files in a folder or an object store, searched by inverted lists of codes; no server runs.

    From 4,096 rows on, `fit` and `add` build lists ("IVF-PQ", see `IVFPQ`) and indexes of the columns; fewer rows are searched
    exhaustively, as is a query that finds fewer than k. The filter is applied before the search. Each batch of rows is a version of
    the table, there as a whole or not at all.

    Parameters
    ----------
    address : str
        A folder, or what LanceDB takes: ``s3://bucket/folder`` and its kind; keys to those come from the environment.
    metric : {"cosine", "euclidean"}
    table : str
    n_codes, nprobe, rerank : int
        As of `IVFPQ`; of `n_codes` the next smaller number that divides the dimensions is taken.

    See Also
    --------
    PgVector : a server, with transactions.

    References
    ----------
    Pace et al., "Lance: efficient random access in columnar storage through adaptive structural encodings", 2025, arXiv 2504.15247.

    Examples
    --------
    >>> index = Lance("s3://bucket/photos").fit(X, columns={"year": years})  # doctest: +SKIP
    >>> distances, keys = index.kneighbors(Q, 10, where=("year", ">=", 2020))  # doctest: +SKIP
    """

    _library = "lancedb"

    def __init__(
        self, address, metric="cosine", *, table="cbirkit", n_codes=16, nprobe=16, rerank=16
    ):
        self.address, self.metric, self.table = address, metric, table
        self.n_codes, self.nprobe, self.rerank = n_codes, nprobe, rerank

    def _open(self, **how):
        """The table, made if told how."""
        if self._link is None or how:
            link = require("lancedb").connect(self.address)
            self._link = (link.create_table if how else link.open_table)(self.table, **how)
        return self._link

    def _create(self, X, frame, mode):
        pa = require("pyarrow")
        fields = [("key", pa.int64()), (self.metric, pa.list_(pa.float32(), X.shape[1]))]
        schema = pa.schema([*map(pa.field, *zip(*fields, strict=True)), *frame.schema])
        how = {"exist_ok": True} if mode == "exist_ok" else {"mode": mode}
        self._open(schema=schema, **how)

    def _append(self, keys, X, frame):
        pa, names = require("pyarrow"), ("key", self.metric, *frame.column_names)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
        columns = [pa.array(keys), vectors, *frame.columns]
        self._open().add(pa.Table.from_arrays(columns, names=names))

    def _index(self, columns):
        table, index, n = self._open(), require("lancedb.index"), self._count()
        if n >= 4096 and not table.list_indices():
            n_dims = table.schema.field(self.metric).type.list_size
            n_codes = next(one for one in range(self.n_codes, 0, -1) if n_dims % one == 0)
            parts = {"num_partitions": n // 4096, "num_sub_vectors": n_codes}
            table.create_index(self.metric, config=index.IvfPq(_METRICS[self.metric], **parts))
            for column in columns:
                table.create_index(column, config=index.BTree())
        table.optimize()

    def _count(self):
        self._open().checkout_latest()
        return self._open().count_rows()

    def _ask(self, column, start=0):
        col = require("lancedb.expr").col
        rows = self._open().search().where(col("key") >= int(start)).select(list({"key", column}))
        rows = rows.where(f"{self.metric} IS NOT NULL").to_arrow().sort_by("key")
        return np.array(rows[column].to_pylist())

    def _erase(self, keys):
        names = {"where": f"key IN ({', '.join(map(str, keys))})", "values": {self.metric: None}}
        self._open().update(**names)

    def _are_few(self, tests):
        return False  # Lance filters before it searches, however many there are

    def _look(self, query, k, tests, exact=False):
        search = self._open().search(query, self.metric).distance_type(_METRICS[self.metric])
        search = (
            search.nprobes(self.nprobe)
            .refine_factor(self.rerank)
            .limit(k)
            .select(["key", "_distance"])
        )
        search = search.bypass_vector_index() if exact else search
        for column, _, operator, values in tests:
            test = getattr(require("lancedb.expr").col(column), operator)
            search = search.where(test(values if operator == "isin" else values[0]))
        found = search.to_arrow()
        far = found["_distance"].to_numpy()
        far = far - 1 if self.metric == "cosine" else np.sqrt(far)
        return list(zip(far.tolist(), found["key"].to_pylist(), strict=True))
