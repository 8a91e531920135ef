"""Which classes, instances and views a set holds: one row an image."""

from dataclasses import dataclass

import numpy as np

from .classes import scene_classes
from .draws import pick, uniforms
from .views import KINDS, RELATIONS

N_SLOTS = 6  # layers of an image, the objects first
N_OBJECTS = 4  # of which at most so many are objects


@dataclass
class Roster:
    """Arrays over images."""

    shape: np.ndarray  # (n, N_OBJECTS) int64 index of the class of each object, -1: none
    instance: np.ndarray  # (n, N_OBJECTS) number of the instance in its class
    number: np.ndarray  # (n,) number of the instance, or scene, in its label
    view: np.ndarray  # (n,)
    label: list  # of str
    relation: np.ndarray  # (n,) number in RELATIONS, or -1
    entry: np.ndarray  # (n,) number that, with `number` and `view`, names the image


def draw_roster(kind, classes, n_instances, n_views, seed):
    """The roster of a set of `classes` (list of `SceneClass`)."""
    entries = (
        _pairs(classes) if kind == "relations" else [(c.index, -1, -1, c.name) for c in classes]
    )
    first, second, relation, labels = zip(*entries, strict=True)
    each = n_instances * n_views
    number = np.tile(np.repeat(np.arange(n_instances), n_views), len(entries))
    view = np.tile(np.arange(n_views), len(entries) * n_instances)
    first, second, relation = (
        np.repeat(np.array(part), each) for part in (first, second, relation)
    )
    n = len(number)
    shape = np.full((n, N_OBJECTS), -1)
    instance = np.tile(number[:, None], (1, N_OBJECTS))
    shape[:, 0] = first
    if kind == "relations":
        shape[:, 1] = second
    entry = ((first * 4096 + (second + 1)) * 8 + relation + 1) * 8 + list(KINDS).index(kind)
    roster = Roster(shape, instance, number, view, list(np.repeat(labels, each)), relation, entry)
    if kind == "multi":
        for group in dict.fromkeys(
            c.group for c in classes
        ):  # scenes of seen classes hold no unseen ones
            known = np.array([c.index for c in classes if c.group == group])
            _add_company(roster, np.flatnonzero(np.isin(first, known)), known, n_instances, seed)
    return roster


def _add_company(roster, rows, known, n_instances, seed):
    """Give the scenes `rows` one to three further objects, all of different classes of `known`."""
    u = np.stack(
        [uniforms(16, seed, 10, int(roster.entry[i]), int(roster.number[i])) for i in rows]
    )
    count = np.minimum(1 + pick(u[:, 0], N_OBJECTS - 1), len(known) - 1)
    for j in range(1, N_OBJECTS):
        rank = np.argsort(
            np.modf(np.outer(u[:, j], 7919.0 * (known + 1)))[0], axis=1, kind="stable"
        )
        free = (known[rank][:, :, None] != roster.shape[rows, None, :]).all(axis=2)  # (n, n_known)
        choice = np.take_along_axis(known[rank], free.argmax(axis=1)[:, None], axis=1)[:, 0]
        roster.shape[rows, j] = np.where(j <= count, choice, -1)
        roster.instance[rows, j] = pick(u[:, 8 + j], n_instances)


def _pairs(classes):
    """Labels "a left of b": pairs of classes of one group, each in four relations."""
    entries = []
    for group in dict.fromkeys(c.group for c in classes):
        members = [c for c in classes if c.group == group]
        # once and for all; partners are of different families where there are any
        order = np.argsort(
            uniforms(len(scene_classes()), 6)[[c.index for c in members]], kind="stable"
        )
        members = [members[k] for k in order]
        while len(members) > 1:
            one = members.pop(0)
            other = next((c for c in members if c.family != one.family), members[0])
            members.remove(other)
            for number, relation in enumerate(RELATIONS):
                entries.append(
                    (one.index, other.index, number, f"{one.name} {relation} {other.name}")
                )
    if not entries:
        raise ValueError(
            'kind="relations" needs two or more classes of one group; name more classes'
        )
    return entries
