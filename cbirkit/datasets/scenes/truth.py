"""What is true of each image, as a table: attributes, captions, relations, boxes, nuisances."""

import numpy as np
import pandas as pd

from .appearance import COLORS
from .backgrounds import CONTEXTS, GROUNDS
from .classes import scene_classes
from .compose import boxes
from .layers import EXTENT
from .masks import visible_fractions
from .textures import TEXTURES
from .views import RELATIONS, SIZES

_SINGULAR = {"color": "colors", "texture": "textures", "size": "sizes"}
_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_VERBS = {
    "left of": "to the left of",
    "right of": "to the right of",
    "above": "above",
    "below": "below",
}


def truth_table(scenes, size, domain):
    """The table of a set: one row an image; see `load_scenes` for its columns.

    Parameters
    ----------
    scenes : Scenes
    size : int
        Pixels a side, for the columns in pixels.
    domain : str

    Returns
    -------
    DataFrame, indexed by id
    """
    tag = f"{scenes.seed & 0xFFFF:04x}"
    objects = _objects(scenes, tag)
    labels = scenes.roster.label
    instance = [
        f"{label}/{tag}-{k:03d}" for label, k in zip(labels, scenes.roster.number, strict=True)
    ]
    ids = [f"{scenes.kind}/{i}/{v}" for i, v in zip(instance, scenes.roster.view, strict=True)]
    columns = (
        {"label": [str(label) for label in labels]}
        | _groups(scenes)
        | {"instance": instance, "view": scenes.roster.view}
    )
    columns |= {one: [row[several][0] for row in objects] for one, several in _SINGULAR.items()}
    columns["context"] = [CONTEXTS[c] for c in scenes.context]
    columns["usual_context"] = scenes.context == scenes.usual
    visible = visible_fractions(scenes)
    columns["visible"] = visible[:, 0]
    columns |= _several(scenes, size, objects, visible) | _nuisances(scenes, size)
    columns = {name: _column(values) for name, values in columns.items()}
    out = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
    return out.assign(domain=domain, level=scenes.level)


def _column(values):
    """Values as an array, of objects where they are no numbers."""
    if isinstance(values[0], str | tuple) or np.ndim(values[0]) > 0:
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out
    return np.asarray(values)


def _groups(scenes):
    main = [scene_classes()[k] for k in scenes.roster.shape[:, 0]]
    group = [c.group for c in main]
    return {
        "family": [c.family for c in main],
        "group": group,
        "seen": [g == "seen" for g in group],
        "split": _split(group, scenes.roster),
    }


def _several(scenes, size, objects, visible):
    """Columns that hold something of each object."""
    frames = ((boxes(scenes) + 1) * (size / 2)).round(2)
    relations = [
        _relations(row["classes"], frame[:k])
        for row, frame, k in zip(objects, frames, scenes.n_objects, strict=True)
    ]
    lists = {
        name: [row[name] for row in objects]
        for name in ("classes", "instances", "colors", "textures", "sizes")
    }
    lists["visibles"] = [
        tuple(v[:k].tolist()) for v, k in zip(visible, scenes.n_objects, strict=True)
    ]
    lists["boxes"] = [frame[:k] for frame, k in zip(frames, scenes.n_objects, strict=True)]
    lists["relations"] = relations
    rows = zip(objects, relations, scenes.context, scenes.roster.relation, strict=True)
    lists["captions"] = [_captions(*row) for row in rows]
    return lists


def _objects(scenes, tag):
    """Names, instances, colours, textures and sizes of the objects of each image: list of dicts of tuples."""
    known, roster = scene_classes(), scenes.roster
    rows = []
    for i, k in enumerate(scenes.n_objects):
        shapes = [known[s] for s in roster.shape[i, :k]]
        rows.append(
            {
                "classes": tuple(c.name for c in shapes),
                "instances": tuple(
                    f"{c.name}/{tag}-{m:03d}"
                    for c, m in zip(shapes, roster.instance[i, :k], strict=True)
                ),
                "phrases": [c.phrase for c in shapes],
                "families": [c.family for c in shapes],
                "colors": tuple(COLORS[c] for c in scenes.layers.color[i, :k]),
                "textures": tuple(TEXTURES[t] for t in scenes.layers.texture[i, :k]),
                "sizes": tuple(SIZES[s] for s in scenes.sizes[i, :k]),
            }
        )
    return rows


def _split(group, roster):
    """The part of each image: train and val of seen and generic classes, query and database of unseen ones."""
    last = roster.number.max() + 1
    val = roster.number >= last - last // 5
    one_view = roster.view.max() == 0
    query = roster.number % 4 == 0 if one_view else roster.view == 0
    return [
        ("query" if q else "database") if g == "unseen" else ("val" if v else "train")
        for g, v, q in zip(group, val, query, strict=True)
    ]


def _relations(names, frames):
    """Triples (class, relation, class) of all pairs that clearly lie side by side or one above the other."""
    centres = (frames[:, :2] + frames[:, 2:]) / 2
    triples = []
    for a in range(len(names)):
        for b in range(len(names)):
            dx, dy = centres[b] - centres[a]
            if a == b or max(abs(dx), abs(dy)) < 1.5 * min(abs(dx), abs(dy)):
                continue
            which = (0 if dx > 0 else 1) if abs(dx) > abs(dy) else (2 if dy > 0 else 3)
            triples.append((names[a], RELATIONS[which], names[b]))
    return tuple(triples)


def _captions(row, relations, context, relation):
    """Three captions or more, from fixed templates."""
    place = GROUNDS[CONTEXTS[context]].phrase
    looks = [
        f"{color} {texture} {phrase}"
        for color, texture, phrase in zip(
            row["colors"], row["textures"], row["phrases"], strict=True
        )
    ]
    if len(looks) == 1:
        size, color, texture = row["sizes"][0], row["colors"][0], row["textures"][0]
        phrase, family = row["phrases"][0], row["families"][0]
        return (
            f"a {size} {looks[0]} {place}",
            f"{place}, there is {_a(phrase)}: it is {size}, {color} and {texture}",
            f"{_a(color)} {phrase}",
            f"{_a(texture)} thing of the {family} family, {color}, {place}",
        )
    listed = ", ".join(_a(look) for look in looks[:-1]) + f" and {_a(looks[-1])}"
    plain = [
        _a(f"{color} {phrase}") for color, phrase in zip(row["colors"], row["phrases"], strict=True)
    ]
    captions = [f"{listed} {place}", f"{place}, there are {len(looks)} things: {', '.join(plain)}"]
    captions.append(f"{' beside '.join(_a(phrase) for phrase in row['phrases'])}")
    phrase_of = dict(zip(row["classes"], plain, strict=True))
    if relation >= 0:
        relations = [(row["classes"][0], RELATIONS[relation], row["classes"][1])]
        relations.append((row["classes"][1], _OPPOSITE[RELATIONS[relation]], row["classes"][0]))
    captions += [f"{phrase_of[a]} {_VERBS[r]} {phrase_of[b]}" for a, r, b in relations]
    return tuple(captions)


def _a(words):
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _nuisances(scenes, size):
    """Columns of numbers, of the first object where there are several."""
    layers, cards, light = scenes.layers, scenes.cards, scenes.light
    half = size / 2
    columns = {
        "x": (layers.x[:, 0] + 1) * half,
        "y": (layers.y[:, 0] + 1) * half,
        "half_extent": layers.scale[:, 0] * EXTENT,
        "rotation": np.rad2deg(layers.turn[:, 0]),
        "shear": layers.shear[:, 0],
        "aspect": layers.aspect[:, 0],
        "clutter": (layers.shape >= 0).sum(axis=1) - scenes.n_objects,
        "occlusion": np.where(cards.there, cards.share, 0.0),
        "contrast": scenes.ground["contrast"],
        **light,
    }
    return {name: v if v.dtype.kind == "i" else v.round(6) for name, v in columns.items()}
