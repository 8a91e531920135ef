"""What counts as relevant in sets of scenes, beyond equal values of one column."""

import numpy as np

from ...ranking import Relevance


def class_relevance(queries, database=None):
    """Images of the query's class are relevant; those of the query's own instance are junk.

    With several views of each instance, a ranking by class must not be paid for finding the same instance.

    Parameters
    ----------
    queries : ImageCollection
        With the columns ``label`` and ``instance``.
    database : ImageCollection, optional
        Default: `queries`.

    Returns
    -------
    Relevance

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> scenes = load_scenes(classes=["star5", "blob3"], n_instances=4, n_views=3)
    >>> relevance = class_relevance(scenes)
    >>> relevance.n_positives[0], relevance.n_junk[0]
    (np.int64(9), np.int64(3))
    """
    database = queries if database is None else database
    groups = queries.column("instance"), database.column("instance")
    return Relevance.from_labels(
        queries.ids, database.ids, queries.labels, database.labels, groups=groups
    )


def object_relevance(queries, database, *, by="classes", size=None):
    """Images that hold the query's first object: its class, or the very instance.

    Parameters
    ----------
    queries, database : ImageCollection
        Of scenes; typically the kinds "objects" and "multi".
    by : {"classes", "instances"}
    size : {"small", "medium", "large"}, optional
        Only objects of this size count. Images that hold the class in other sizes are junk.

    Returns
    -------
    Relevance

    Raises
    ------
    ValueError
        Unknown `by` or `size`.

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> known = ["star5", "blob3", "ringed1", "limbed4"]
    >>> queries = load_scenes(classes=known, n_instances=1, n_views=1)
    >>> database = load_scenes("multi", classes=known, n_instances=5)
    >>> bool((object_relevance(queries, database).n_positives >= 5).all())
    True
    """
    if by not in ("classes", "instances"):
        raise ValueError(f'by must be "classes" or "instances", got {by!r}')
    if size not in (None, "small", "medium", "large"):
        raise ValueError(f"size must be small, medium, large or None, got {size!r}")
    there, other = {}, {}
    for position, (names, sizes) in enumerate(
        zip(database.column(by), database.column("sizes"), strict=True)
    ):
        for name, its_size in zip(names, sizes, strict=True):
            (there if size in (None, its_size) else other).setdefault(name, []).append(position)
    wanted = [names[0] for names in queries.column(by)]
    positives = [np.array(there.get(name, []), dtype=np.int64) for name in wanted]
    junk = [np.array(other.get(name, []), dtype=np.int64) for name in wanted]
    return Relevance.from_sets(queries.ids, database.ids, positives, junk)


def relation_relevance(triples, database):
    """Images in which a relation holds: the answer to "a star5 left of a blob3".

    Parameters
    ----------
    triples : list of tuple (class, relation, class)
        The queries, with relations left of, right of, above, below; ids are the triples joined by spaces.
    database : ImageCollection
        Of the kinds "multi" or "relations".

    Returns
    -------
    Relevance

    Raises
    ------
    ValueError
        A triple repeats.

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> scenes = load_scenes("relations", classes=["star5", "ringed2"], n_instances=3)
    >>> triple = scenes.column("relations")[0][0]
    >>> relation_relevance([triple], scenes).n_positives.tolist()
    [3]
    """
    holds = {}
    for position, there in enumerate(database.column("relations")):
        for triple in there:
            holds.setdefault(tuple(triple), []).append(position)
    positives = [np.array(holds.get(tuple(triple), []), dtype=np.int64) for triple in triples]
    return Relevance.from_sets([" ".join(triple) for triple in triples], database.ids, positives)
