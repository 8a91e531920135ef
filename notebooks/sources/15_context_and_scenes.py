# %% [markdown]
# # 15 · Context and scenes: is the mug left of the book?
#
# **Question.** A scene holds several objects, which stand somewhere and belong somewhere. What does a description keep of
# that: the objects, their arrangement, the place? And what can the other images of a database tell about two of them?
#
# **Time:** a minute and a half to run, offline; 45 minutes to work through, extra apart. **Before this:** notebooks
# [10](10_transformers_and_graphs.ipynb) (graphs of neighbours) and [14](14_object_retrieval.ipynb).
#
# <!-- links:start -->
# Previous: [14_object_retrieval](14_object_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [16_text_and_images](16_text_and_images.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **search** scenes by a relation between objects, and say what wrong names and wrong regions cost;
# - **tell** whether a vector follows the object or the place, and take some of the place out;
# - **re-rank** by neighbourhoods, and say what such a method has seen (extra).

# %%
from collections import Counter
from itertools import permutations, product
from time import perf_counter

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifier, RidgeCV
from sklearn.preprocessing import normalize

from cbirkit import checks, datasets, explore, metrics, objects, plots, rerank
from cbirkit.encoders import Deep
from cbirkit.explore.layout_explorer import layout_scores

# %%
SEED = 0
rng = np.random.default_rng(SEED)
torch.set_num_threads(1)

# %% [markdown]
# ## The goal
#
# You remember a picture: a bookcase stood left of a spanner. The database has 210 rendered scenes of three to seven
# objects, and each of them **mirrored**. Only a description that keeps the order can tell the two apart.

# %%
scenes = datasets.load_tabletop("scenes")
database = scenes[scenes.column("split") == "independent"]
N = len(database)


# The pairs of categories of a scene whose first stands left of the second, beyond doubt.
def left_of(i):
    names = database.column("categories")[i]
    return {(names[a], names[b]) for a, how, b in database.column("relations")[i] if how == "left of"}


# %%
held = [left_of(i) for i in range(N)]
counts = Counter(pair for pairs in held for pair in {tuple(sorted(p)) for p in pairs if p[0] != p[1]})
often = sorted(pair for pair, n in counts.items() if n >= 2)
drawn = sorted(rng.choice(len(often), 100, replace=False))
queries = [order for number in drawn for order in permutations(often[number])]  # both orders of each pair
print(f"{len(often)} pairs have an order in 2 scenes or more; {len(drawn)} of them, in both orders, are the queries")


# %%
# Of all scenes, then of all mirror images: 1 where the relation holds, 0 where not, -1 where it is in doubt.
def truth(first, second):
    found = np.zeros((2, N), dtype=int)
    for i, names in enumerate(database.column("categories")):
        if {first, second} <= set(names):
            said = (first, second) in held[i], (second, first) in held[i]
            found[:, i] = said if any(said) else -1  # the mirror image has the other order
    return found.ravel()  # (2 N,)


truths = np.array([truth(*query) for query in queries])  # (n_queries, 2 N)


# %% [markdown]
# A scene where neither order is beyond doubt is junk: it is put last and not counted. The mAP averages this over queries:


# %%
def aps(scores, relevant, junk=False):
    """Average precision of each query; scores and truth (n_queries, n_database); equal scores in random order."""
    scores = np.where(junk, -np.inf, scores + 1e-9 * np.random.default_rng(0).random(np.shape(scores)))
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1), axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1)


assert np.isclose(aps(np.array([[3.0, 2, 1]]), np.array([[1, 0, 1]]))[0], metrics.average_precision(np.array([True, False, True])))

# %% [markdown]
# ## Background
#
# Three descriptions of a scene with the objects $o_1 \dots o_n$:
#
# - a **set** (bag) of names: it answers "a bookcase and a spanner";
# - **triples** (object, relation, object), a *scene graph* (Johnson et al. 2015, *CVPR*,
#   [doi:10.1109/CVPR.2015.7298990](https://doi.org/10.1109/CVPR.2015.7298990)): "a bookcase **left of** a spanner";
# - one **vector**, which a network makes of the whole picture.
#
# Let $s_A(o)$ say how well the name $A$ fits the region $o$, and $x(o)$ be the column of its centre. A scene is as good as
# its best pair of regions:
#
# $$S(A \text{ left of } B) = \max_{i \neq j,\; x(o_i) < x(o_j)} \; s_A(o_i) + s_B(o_j)$$
#
# Without the condition on $x$ this is the search by the set.

# %%
branches = [["scene", "regions", "names\n(n, 64)"], ["query\nA left of B"]]
plots.show(plots.pipeline(branches, ["best pair\nof regions", "ranking"]))

# %% [markdown]
# ## Build it
#
# Scenes have different numbers of regions: all go into one table. `names` holds the scores $s_A(o)$,
# padded with -9; `x` is padded with NaN, which no comparison uses.


# %%
# One value for each region (n_regions, ...) -> (N, most regions of a scene, ...).
def padded(owners, values, fill):
    sizes = np.bincount(owners, minlength=N)
    # a region's number within its scene: 0, 1, 2, ...
    place = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table = np.full((N, sizes.max(), *values.shape[1:]), fill, dtype=float)
    table[owners, place] = values
    return table


# Scores (N, n, 64), centres (N, n), two columns -> the score of each scene (N,).
def best_pair(names, x, first, second, ordered):
    both = names[:, :, None, first] + names[:, None, :, second]  # (N, n, n)
    allowed = x[:, :, None] < x[:, None, :] if ordered else ~np.eye(x.shape[1], dtype=bool)
    return np.where(allowed, both, -9.0).max(axis=(1, 2))


# %% [markdown]
# True boxes and names first. In a mirror image, $x$ becomes $192 - x$. The order of centres has to agree with the
# relations, which come from positions in space:

# %%
rows = enumerate(database.column("objects"))
parts = [(i, n, one["category"], one["box"]) for i, row in rows for n, one in enumerate(row)]
owners, numbers, labels, boxes = (np.array(column) for column in zip(*parts, strict=True))
vocabulary = np.unique(labels)
exact = (labels[:, None] == vocabulary).astype(float)  # (n_regions, 64): names without a mistake


# %%
# Scores of all queries (n_queries, 2 N); `shuffle` deals the centres of a scene to other regions of it.
def searched(owners, names, boxes, ordered, shuffle):
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    if shuffle:
        # in a random order within each scene
        x = x[np.lexsort([np.random.default_rng(SEED).random(len(x)), owners])]
    names, x = padded(owners, names, -9.0), padded(owners, x, np.nan)
    both = lambda pair: [best_pair(names, at, *pair, ordered) for at in (x, 192 - x)]  # and mirrored
    return np.array([np.concatenate(both(pair)) for pair in np.searchsorted(vocabulary, queries)])


# %%
# whether the order of the centres counts, and whether they are dealt out anew
SEARCHES = {"by set": (False, False), "by relation": (True, False), "centres shuffled": (True, True)}
TRUE = "true boxes, true names"
results = {(TRUE, column): searched(owners, exact, boxes, *how) for column, how in SEARCHES.items()}
known = results[TRUE, "by relation"]
assert ((known == 2)[truths == 1]).all() and not ((known == 2)[truths == 0]).any()

# %%
BARE = {"frame_on": False, "xticks": [], "yticks": []}


# Draw a scene, from N on a mirrored one, with a frame around each object of the wanted categories.
def framed(ax, item, wanted):
    ax.imshow(database[int(item % N)][:, :: 1 if item < N else -1])
    for one in database.column("objects")[item % N]:
        if one["category"] in wanted:
            left, top, right, bottom = one["box"]
            number, x = wanted.index(one["category"]), left if item < N else 192 - right
            look = {"ec": ("white", "gold", "cyan")[number], "ls": ("-", "--", ":")[number]}
            ax.add_patch(plt.Rectangle((x, top), right - left, bottom - top, fill=False, lw=2.5, **look))


# %% tags=["gallery"]
first = int(np.argmax((truths == 1).sum(axis=1)))  # the query with most relevant scenes
fig, axes = plt.subplots(2, 4, figsize=(11, 4.9), layout="constrained", subplot_kw=BARE)
for row, name in zip(axes, ("by set", "by relation"), strict=True):
    scores = np.where(truths[first] < 0, -9, results[TRUE, name][first]) + np.random.default_rng(SEED).random(2 * N) / 9
    for ax, item in zip(row, np.argsort(-scores), strict=False):
        framed(ax, item, queries[first])
        ax.set_title(f"{name}: {'right' if truths[first, item] == 1 else 'wrong'}")
fig.suptitle(f"{queries[first][0]} (solid frame) left of {queries[first][1]} (dashed frame)")
plots.show(plots.describe(fig, "Four results for a relation, by the set and by the relation; frames show the two objects."), dpi=100)

# %% [markdown]
# **Predict:** how much of this is left when names have to be *recognised*, and objects *found* as well? Which costs
# more?
#
# ### From pictures
#
# We cut out a region, embed it with `lite0`, which has met no rendered picture, and let a linear classifier give the
# scores $s_A$ of 64 names. It learned from 384 pictures of single objects, other ones than in the scenes (one of
# eight views of each). We cut in two
# ways: the box, with what lies around, and the mask, with grey around it.

# %%
# for what is cut out, and for scenes
close, wide = (Deep("lite0", size=n, resize="squash", device="cpu") for n in (96, 128))


# A square around a box; grey outside a mask.
def cut(image, box, mask=None):
    left, top, right, bottom = map(int, box)
    half = int(0.65 * max(right - left, bottom - top)) + 1
    image = image if mask is None else np.where(mask[..., None], image, 128).astype(np.uint8)
    x, y = (left + right) // 2, (top + bottom) // 2
    return np.pad(image, ((half, half), (half, half), (0, 0)), mode="edge")[y : y + 2 * half, x : x + 2 * half]


# %%
singles = datasets.load_tabletop()
one_view = singles[singles.column("view") == int(rng.integers(8))]  # 384 pictures: 64 categories x 6 objects


# Centre of the embeddings of single objects, and a classifier of them.
def classifier(masked):
    rows = range(len(one_view))
    cuts = [cut(one_view[i], one_view.column("box")[i], one_view.mask(i) == 1 if masked else None) for i in rows]
    vectors = close.fit_transform(cuts)
    return vectors.mean(axis=0), RidgeClassifier().fit(normalize(vectors - vectors.mean(axis=0)), one_view.labels)


namers = {"box": classifier(masked=False), "mask": classifier(masked=True)}


# %%
# Scores of all names (n, 64) for regions; with the numbers of their objects, under the true masks.
def named(owners, boxes, numbers=None):
    regions = zip(owners, boxes, [None] * len(boxes) if numbers is None else numbers, strict=True)
    cuts = [cut(database[i], box, None if n is None else database.mask(i) == n + 1) for i, box, n in regions]
    centre, model = namers["box" if numbers is None else "mask"]
    return model.decision_function(normalize(close.transform(cuts) - centre))


names_of = {"true masks, recognised names": named(owners, boxes, numbers)}
names_of["true boxes, recognised names"] = named(owners, boxes)
right = {how: np.mean(vocabulary[names.argmax(axis=1)] == labels).round(2) for how, names in names_of.items()}
print("fraction of right names, of 64:", *(f"{how} {part};" for how, part in right.items()))

# %% [markdown]
# Then the segmenter of [notebook 14](14_object_retrieval.ipynb), which learned from other pictures of the same kind, finds
# the regions, at most seven. (In a mirror image, regions and names are those of the original.)
# To tell what regions cost from what names cost, the found boxes also get the *true* name of the object that they overlap
# by half.

# %%
segmenter = objects.Segmenter(device="cpu")
found = [objects.keep_best(segmenter.propose(database[i]), n=7) for i in range(N)]
found_owners = np.repeat(np.arange(N), [len(regions) for regions in found])
found_boxes = np.array([region.box for regions in found for region in regions])
overlap = np.where(found_owners[:, None] == owners, objects.box_iou(found_boxes, boxes), 0)  # (n_found, n_regions)
print(f"{np.mean(overlap.max(axis=0) >= 0.5):.2f} of the objects have a found box that overlaps by half (intersection over union)")

names_of["found boxes, true names"] = exact[overlap.argmax(axis=1)] * (overlap.max(axis=1) >= 0.5)[:, None]
names_of["found boxes, recognised names"] = named(found_owners, found_boxes)
for how, names in names_of.items():
    where = (found_owners, names, found_boxes) if how.startswith("found") else (owners, names, boxes)
    results |= {(how, column): searched(*where, *flags) for column, flags in SEARCHES.items()}

# %% [markdown]
# ## Measure it
#
# A row says where regions and names come from. The control for order is **centres shuffled**: those of
# a scene dealt out at random. Intervals (of relation minus set) draw pairs of categories; pairs share scenes, so these
# may be too narrow.


# %%
def interval(values, groups):
    """Mean over groups, and a 95 % interval that draws groups."""
    of_group = pd.Series(np.asarray(values)).groupby(np.asarray(groups)).mean().dropna().to_numpy()
    again = of_group[np.random.default_rng(0).integers(0, len(of_group), (2000, len(of_group)))].mean(axis=1)
    return of_group.mean(), *np.quantile(again, (0.025, 0.975))


pairs, stages = np.repeat(drawn, 2), [TRUE, *names_of]
results["random order", "by set"] = np.random.default_rng(SEED).random(truths.shape)
precision = pd.DataFrame({key: aps(scores, truths == 1, truths < 0) for key, scores in results.items()})
gains = {how: interval(precision[how, "by relation"] - precision[how, "by set"], pairs) for how in stages}
gains = pd.DataFrame(gains, index=["relation - set", "low", "high"]).T
table = precision.mean().unstack().loc[[*stages, "random order"], list(SEARCHES)]
table.join(gains).map("{:.3f}".format).replace("nan", "")  # mAP; empty: does not apply

# %%
fig, ax = plt.subplots(figsize=(8.5, 2.8), layout="constrained")
for way, colour, mark in zip(SEARCHES, plots.style.COLOURS, plots.style.MARKERS, strict=False):
    ax.plot(table.loc[stages, way], range(5), mark, color=colour, ms=8, label=way)
ax.axvline(table.at["random order", "by set"], color="0.5", ls="--", label="random order")
ax.set(xlabel="mAP of 200 queries", xlim=(0, 1.03), yticks=range(5), yticklabels=stages, ylim=(4.5, -0.5))
fig.legend(loc="outside right center", frameon=False)
plots.show(plots.describe(ax, "mAP by set, by relation and with shuffled centres, for five sources of regions and names."))

# %% tags=["claim"]
kept = [interval(precision[how, "by relation"] - precision[how, "centres shuffled"], pairs)[1] for how in stages]
assert gains["low"].min() > 0 and min(kept) > 0
by_relation = table["by relation"]
assert by_relation[["true masks, recognised names", "found boxes, true names"]].max() < 0.7
assert by_relation["found boxes, recognised names"] < by_relation["true boxes, recognised names"]

# %% [markdown]
# The relation gains over the set at every stage. Shuffled centres lose this gain. With true names they score even below
# the set, since the wrong order is often preferred. Our weakly recognised names alone (third row) cost more than half of
# the mAP. **So do found regions alone** (fourth row): a relation needs two right regions with two right names. After the
# names, found regions cost fewer points, because fewer were left.

# %% [markdown]
# ## Object or place?
#
# So far a scene was a list of objects. It is a place, too. Does a vector of the picture follow the object or the
# **place**? Cows on a beach are hard to recognise (Beery et al. 2018, *ECCV*,
# [arXiv:1807.04975](https://arxiv.org/abs/1807.04975)). Of each scene we describe one drawn object in five ways: the
# whole picture; the object in its box; masked, with grey around, filling the picture or at its own size; and the picture
# with the object painted over (its neighbours, and its shadow, stay). In the "correlated" scenes most objects are at home
# in the place; in the "independent" ones they were dealt out at random.

# %%
WAYS = ["whole picture", "object in its box", "object, masked", "masked, own size", "object painted over"]
ways, target = {way: [] for way in WAYS}, []
for i, row in enumerate(scenes.column("objects")):
    seen = [n for n, thing in enumerate(row) if thing["visible"] > 0.8 and thing["size"] != "small"]
    number = int(rng.choice(seen or range(len(row))))
    box, mask = row[number]["box"], scenes.mask(i) == number + 1
    target.append(row[number]["category"])
    fat = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8))
    grey, painted = np.where(mask[..., None], scenes[i], 128), cv2.inpaint(scenes[i], fat, 3, cv2.INPAINT_TELEA)
    pictures = scenes[i], cut(scenes[i], box), cut(scenes[i], box, mask), grey.astype(np.uint8), painted
    [ways[way].append(picture) for way, picture in zip(WAYS, pictures, strict=True)]
target, place, split = np.array(target), scenes.column("context"), scenes.column("split")

# %%
fig, axes = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained", subplot_kw=BARE)
clear = int(np.argmax([len(np.unique(picture)) for picture in ways["object, masked"]]))
for ax, way in zip(axes.ravel(), WAYS, strict=False):
    ax.imshow(ways[way][clear])
    ax.set_title(way)
plots.show(plots.describe(fig, "A scene; one of its objects in its box and masked; the scene with the object painted over."), dpi=100)

# %% [markdown]
# Each picture asks the others of its split, by category and by place. And the two compete: what is nearer, the **same
# category in another place** or **another category in the same place**? Over all such pairs, 1 means that the vector
# follows the object alone, 0 the place alone, 0.5 neither. **Predict** the order of the five. Intervals draw categories.


# %%
def object_or_place(vectors, rows):
    """For each picture: average precision by category and by place, fraction of pairs where the object wins; NaN if none."""
    X = normalize(vectors[rows] - vectors[rows].mean(axis=0))
    scores, same = X @ X.T, target[rows][:, None] == target[rows]
    there, other = place[rows][:, None] == place[rows], ~np.eye(len(rows), dtype=bool)
    found = [aps(scores, relevant & other, ~other) for relevant in (same, there)]
    wins = []
    for near, by_object, by_place in zip(scores, same & ~there, there & ~same, strict=True):
        better = near[by_object][:, None] > near[by_place]
        wins.append(better.mean() if better.size else np.nan)
    by_category = np.where((same & other).sum(axis=1) == 0, np.nan, found[0])
    return pd.DataFrame(dict(zip(COLUMNS, (by_category, found[1], wins), strict=True)))


# %%
COLUMNS = ["mAP by category", "mAP by place", "object wins"]
vectors_of = {way: (close if way in WAYS[1:3] else wide).transform(ways[way]) for way in WAYS}
vectors_of["random vectors"] = np.random.default_rng(SEED).normal(size=vectors_of[WAYS[0]].shape)
rows, judged = [], {}
for part, (way, vectors) in product(("correlated", "independent"), vectors_of.items()):
    mine = np.flatnonzero(split == part)
    judged[part, way] = object_or_place(vectors, mine)
    for column, values in judged[part, way].items():
        rows.append([part, way, column, *interval(values, target[mine])])
follow = pd.DataFrame(rows, columns=["split", "way", "score", "mean", "low", "high"]).set_index(["split", "way", "score"])

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", sharey=True)
for ax, score in zip(axes, COLUMNS, strict=True):
    for number, part in enumerate(follow.index.unique("split")):
        values = follow.xs(score, level="score").loc[part]
        values, chance = values.loc[WAYS], values.loc["random vectors", "mean"]
        around = [values["mean"] - values["low"], values["high"] - values["mean"]]
        look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "label": part}
        ax.errorbar(values["mean"], np.arange(5) + 0.2 * number, xerr=around, ls="none", capsize=3, **look)
        ax.axvline(chance, color=look["color"], lw=1, ls="--")
    ax.set(xlabel=score, yticks=range(5), yticklabels=WAYS, ylim=(4.5, -0.5))
axes[0].legend(frameon=False, fontsize=9)
plots.show(plots.describe(fig, "mAP by category and by place, and how often the object wins, with intervals; dashed: random vectors."))

# %% tags=["claim"]
mean = follow["mean"].unstack()
for part in ("correlated", "independent"):
    at, own = mean.loc[part], target[split == part]
    whole_one, boxed, masked, small, painted = (judged[part, way] for way in WAYS)
    assert at.loc["object, masked", "object wins"] > 0.7 and at.loc["whole picture", "object wins"] < 0.45
    assert interval(masked["object wins"] - boxed["object wins"], own)[1] > 0
    assert interval(small["object wins"] - whole_one["object wins"], own)[1] > 0
    assert interval(whole_one["mAP by place"] - masked["mAP by place"], own)[1] > 0.05
    change = interval(painted["mAP by place"] - whole_one["mAP by place"], own)
    assert -0.03 < change[1] < change[2] < 0.03
    assert at.loc["object, masked", "mAP by category"] > at.loc["whole picture", "mAP by category"] + 0.1
assert mean.at[("correlated", WAYS[1]), "mAP by place"] > mean.at[("independent", WAYS[1]), "mAP by place"] + 0.02

# %% [markdown]
# The whole picture follows the **place**: painting the object over changes next to nothing. A masked object follows the
# **object**, and the box lies between. Part of this may be
# size: at its own size the masked object still wins more often than in the whole picture. (Dashed: random vectors, one draw.)

# %% [markdown] tags=["extra"]
# ### One vector for a relation (extra)
#
# The vector of the whole picture has no regions. It may keep some order, but nothing here reads it: it can be asked by names
# only. We ask in two ways: by the classifier of single objects, and by a ridge regression that learned on the 210
# *correlated* scenes which names each holds. The better of the two on these queries counts. This vector, of one network at
# 128 pixels, says little of these scenes.

# %% tags=["extra"]
whole, other = vectors_of["whole picture"], split == "correlated"
mirrored = wide.transform([database[i][:, ::-1].copy() for i in range(N)])
both = np.vstack([whole[~other], mirrored])
both = normalize(both - both.mean(axis=0))  # (2 N, 1280)
shows = np.array([np.isin(vocabulary, names) for names in scenes.column("categories")])  # (420, 64)
seen = normalize(whole[other] - whole[other].mean(axis=0))
on_scenes = RidgeCV(np.logspace(-2, 3, 11)).fit(seen, shows[other].astype(float))

# %% tags=["extra", "claim"]
guesses = namers["box"][1].decision_function(both), on_scenes.predict(both)  # (2 N, 64)
columns = np.searchsorted(vocabulary, queries)
asked = [guessed[:, columns].sum(axis=2).T for guessed in guesses]
best = max((aps(scores, truths == 1, truths < 0) for scores in asked), key=np.mean)
lead = interval(precision["found boxes, recognised names", "by set"] - best, pairs)
print(f"one vector: mAP {best.mean():.3f};", "found boxes, by set, have {:.3f} more ({:.3f} to {:.3f})".format(*lead))
assert lead[0] > 0.03 and lead[1] > 0

# %% [markdown]
# ## Try it
#
# Put names on a canvas where you remember them. Each takes an object of its name; at the distance $d$, in fractions of
# width and height, it counts $e^{-d^2 / 2\sigma^2}$ (the idea: Mai et al. 2017, *Spatial-semantic image search by
# visual feature synthesis*, *CVPR*, who train a network for it).

# %%
explorer = explore.LayoutExplorer(database, placed=[("pot plant", 0.3, 0.45), ("stool", 0.65, 0.6)], k=4)
explorer

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", subplot_kw=BARE)
for ax, i in zip(axes, np.argsort(-explorer.scores), strict=False):
    framed(ax, i, [name for name, *_ in explorer.placed])
    for name, x, y in explorer.placed:  # written where you put it
        ax.text(192 * x, 144 * y, name, ha="center", bbox={"fc": "white", "alpha": 0.6, "pad": 1})
plots.show(plots.describe(fig, "The three best scenes; names at their places on the canvas, frames around the objects."), dpi=100)

# %% [markdown]
# ## Exercise 1 ★★ a vector without its place
#
# From each of the `vectors` (n, d) subtract the **mean of all vectors of its place**, and
# scale what is left to length 1. `place` (n,) holds the true name for each, which a user may not have. A place with one
# picture leaves a row of zeros.
# Return (n, d). **Predict**, for the whole picture: will the mAP by place fall? Will the mAP by category rise?
#
# <details><summary>Hint 1: the idea</summary>
#
# One mean for each place; each row looks up that of its own.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `place == name` picks the rows of a place. `normalize` leaves a row of zeros as it is.
#
# </details>


# %% tags=["exercise"]
def without_place(vectors, place):
    """Vectors (n, d), a name for each (n,) -> (n, d), rows of length 1 or 0."""
    raise NotImplementedError


checks.check_without_place(without_place)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_without_place(vectors, place):
    means_ = np.array([vectors[place == name_].mean(axis=0) for name_ in place])
    return normalize(vectors - means_)


checks.check_without_place(solution_without_place)

# %% [markdown]
# By your function (until it is written, the solution's), in the independent scenes. The control subtracts means of places
# dealt out at random. Compare the last column with the last row (random vectors): has the place gone? The rows
# *without - control* have paired intervals.

# %%
mine = np.flatnonzero(split == "independent")
dealt, scored = np.random.default_rng(SEED).permutation(place), {}
for way in WAYS[:2]:
    scored[way] = judged["independent", way]
    cleaned = [checks.first_written("without_place", vectors_of[way], of) for of in (place, dealt)]
    if cleaned[0] is not None:
        without, control = (object_or_place(np.asarray(vectors), mine) for vectors in cleaned)
        scored |= {f"{way}, without its place": without, f"{way}, control": control}
        scored[f"{way}, without - control"] = without - control
scored["random vectors"] = judged["independent", "random vectors"]
intervals = {row: [interval(values[c], target[mine]) for c in COLUMNS] for row, values in scored.items()}
pd.DataFrame(intervals, index=COLUMNS).T.map("{0[0]:.3f} ({0[1]:.3f} to {0[2]:.3f})".format)

# %% [markdown]
# The mAP by place falls, but not to that of random vectors. By category no gain can be told. The
# object wins more often, but its own score stays low.
#
# ## Exercise 2 ★★★ open: a better score for "left of"
#
# The best pair looks at one name at a time. But names compete: a region that is surely a globe is no bottle. Write a
# better score of one scene from `names` (n, 16), the scores of all names, `x` (n,), and the two names asked for. The check
# simulates scenes, where some objects are found twice and some regions show nothing; gain 0.05 in mAP over the best pair.
# **Predict** first which idea will help most. Does it help on the scenes above, too? (extra)
#
# <details><summary>Hint 1: the idea</summary>
#
# A region that fits another name better should count less for yours: compare its scores.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.exp` of scores, divided by its sum over the names (softmax), is large for one name. `a[:, None]` and `b[None, :]` make a table of
# pairs.
#
# </details>


# %% tags=["exercise"]
def better_relation(names, x, first, second):
    """Scores of names (n, n_names), centres (n,), two positions of names -> a number, larger is more likely."""
    raise NotImplementedError


checks.check_better_relation(better_relation)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_better_relation(names, x, first, second):
    chances_ = np.exp(5 * names) / np.exp(5 * names).sum(axis=1, keepdims=True)
    pair_ = chances_[:, [first]] * chances_[:, second]  # (n, n)
    return float(np.max(pair_ * (x[:, None] < x), initial=0.0))


checks.check_better_relation(solution_better_relation)

# %% [markdown] tags=["extra"]
# ### Your score on the scenes of this notebook (extra)
#
# The check simulates. Here your function (until it is written, the solution's) orders the first ten results of each of the
# 200 queries anew, with found boxes and recognised names (64 instead of 16). Does what helped there help here? (By the
# solution's score: yes, but less than in the simulated scenes.)

# %% tags=["extra"]
FOUND = "found boxes, recognised names"
own = np.arange(N)[:, None] == found_owners  # which regions are in scene i
pictures = [(names_of[FOUND][one], found_boxes[one, ::2].mean(axis=1)) for one in own]
pictures += [(names, 192 - x) for names, x in pictures]  # the mirror images
scores = np.where(truths < 0, -np.inf, results[FOUND, "by relation"])
firsts = np.argsort(-scores, axis=1)[:, :10]
for row, pair, first in zip(scores, np.searchsorted(vocabulary, queries), firsts, strict=True):
    given = [checks.first_written("better_relation", *pictures[i], *pair) for i in first]
    yours = np.array([one if np.ndim(one) == 0 else np.nan for one in given], dtype=float)
    row[first[np.argsort(-yours, kind="stable")]] = np.arange(20, 10, -1)  # above all others
gain = aps(scores, truths == 1, truths < 0) - precision[FOUND, "by relation"]
print("mAP, your score - best pair: {:.3f} ({:.3f} to {:.3f})".format(*interval(gain, pairs)))

# %% [markdown] tags=["extra"]
# ## Context from the database: re-ranking (extra)
#
# So far context was *in* the picture. Other images are a context too: if two images have the same neighbours, they
# are probably alike, even where their own distance is middling. [Notebook 10](10_transformers_and_graphs.ipynb) spread
# scores over such a graph. Two later ideas:
#
# - **k-reciprocal** (Zhong et al. 2017, *CVPR*, [arXiv:1701.08398](https://arxiv.org/abs/1701.08398)): $R(i)$ holds the
#   images that are among the $k_1$ nearest of $i$ *and* have $i$ among theirs. Neighbours that do not answer are
#   dropped. (Exercise 4 lets some join again.) With the weights $v_i$, $e^{-d}$ on $R(i)$ and 0 elsewhere, of sum 1,
#   the new distance is $d^* = (1 - \lambda)\, d_J + \lambda\, d$ with the Jaccard distance $d_J(i, j) = 1 - \sum_m
#   \min(v_{im}, v_{jm}) \,/\, \sum_m \max(v_{im}, v_{jm})$. In the package $v_i$ is first averaged over the $k_2$
#   nearest of $i$, and $\lambda$ is called `weight`.
# - **SuperGlobal** (Shao et al. 2023, *ICCV*, [arXiv:2308.06954](https://arxiv.org/abs/2308.06954)): refine each of the
#   first $M$ results by its own neighbours among them, and the query by the *largest* value of each dimension among the
#   best; the score is the mean of two inner products.


# %% tags=["extra"]
def superglobal(queries, database, first=400, k=9, beta=0.15):
    """Scores (n_queries, n_database), as in the authors' code; what is not among the first stays behind, by cosine."""
    scores = queries @ database.T
    for row, query in zip(scores, queries, strict=True):
        top = np.argsort(-row, kind="stable")[:first]
        cosines = database[top] @ database[top].T
        near = np.argsort(-cosines, axis=1, kind="stable")[:, : k + 1]  # itself first
        weights = np.where(np.arange(near.shape[1]) == 0, 1, beta * np.take_along_axis(cosines, near, axis=1))
        refined = np.einsum("ij,ijd->id", weights, database[top][near]) / weights.sum(axis=1, keepdims=True)
        direct = refined @ query
        expanded = refined[np.argsort(-direct)[: k + 1]].max(axis=0)  # (d,)
        row[:], row[top] = row - 9, (direct + refined @ expanded) / 2
    return scores


# %% tags=["extra"]
# the package has k-reciprocal; with plain mutual neighbours and no averages, the core is this
X = normalize(datasets.load_real("ucmerced").embeddings("lite0")[:120]).astype(float)
distances = np.round(1 - X @ X.T, 12)
np.fill_diagonal(distances, 0)
near = distances <= np.sort(distances, axis=1)[:, [6]]  # itself and six more
v = np.where(near & near.T, np.exp(-distances), 0)
v /= v.sum(axis=1, keepdims=True)
jaccard = 1 - np.minimum(v[:, None], v).sum(axis=2) / np.maximum(v[:, None], v).sum(axis=2)
kinds = np.arange(120) // 20  # six classes
ten = [kinds[np.argsort(d, axis=1, kind="stable")[:, 1:11]] for d in (distances, jaccard)]
plain, mutual = ((one == kinds[:, None]).sum(axis=1) for one in ten)
print(f"of ten nearest, of the same class: {plain.mean():.1f}, by mutual neighbours {mutual.mean():.1f};", end=" ")
print("more: {:.1f} ({:.1f} to {:.1f})".format(*interval(mutual - plain, kinds)))

# %% [markdown] tags=["extra"]
# Alone, mutual neighbours find less here than the distances themselves. The package adds the averages and a part of the
# distance.
#
# ### Measure it (extra)
#
# Two sets of aerial photographs, as vectors of `lite0`, which has met neither: 21 kinds of land use (UC Merced, Yang and
# Newsam 2010, [doi:10.1145/1869790.1869829](https://doi.org/10.1145/1869790.1869829)) and 7 (RSSCN7). The classes are
# dealt into **three folds**. Each fold in turn is the test; on the classes of the other two every method chooses its
# settings, from 6 to 16 of them. So each class is tested once, with settings that it had no part in.

# %% tags=["extra"]
SETS = {"ucmerced": 5, "satellite": 15}  # queries per class
TITLES = {"ucmerced": "UC Merced", "satellite": "RSSCN7"}  # of the shipped sets


def part_of(name, classes):
    """Queries, database, whether each pair is of one class, and the classes of the queries."""
    features, random = datasets.load_real(name), np.random.RandomState(SEED)
    rows = [random.permutation(np.flatnonzero(features.labels == label)) for label in classes]
    asked = np.concatenate([row[: SETS[name]] for row in rows])
    others = np.concatenate([row[SETS[name] :] for row in rows])
    X, labels = normalize(features.embeddings("lite0")).astype(float), features.labels
    return X[asked], X[others], labels[asked][:, None] == labels[others], labels[asked]


# %% tags=["extra"]
def diffusion(queries, database, k, alpha):
    return rerank.Diffusion(k, alpha=alpha, n_start=3).fit(database).scores(queries) + 1e-9 * (queries @ database.T)


def expansion(queries, database, n):
    """Average query expansion."""
    near = np.argsort(-queries @ database.T, axis=1)[:, :n]
    return normalize(queries + database[near].sum(axis=1)) @ database.T


# %% tags=["extra"]
METHODS = {
    "cosine": (lambda q, x: q @ x.T, {}),
    "query expansion": (expansion, {"n": (1, 2, 3, 5, 10, 20)}),
    "diffusion": (diffusion, {"k": (5, 10, 20, 30), "alpha": (0.5, 0.8, 0.9)}),
    "k-reciprocal": (lambda q, x, **kw: -rerank.k_reciprocal(q, x, **kw), {"k1": (5, 10, 20, 30), "k2": (3, 6), "weight": (0.1, 0.3)}),
    "SuperGlobal": (superglobal, {"k": (3, 9, 15), "beta": (0.15, 0.5, 1.0)}),
}


# %% tags=["extra"]
def best_of(method, grid, known):
    """The settings with the best mAP on the known classes, and how many were tried."""
    tried = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return max(tried, key=lambda settings: aps(method(*known[:2], **settings), known[2]).mean())


def shuffled_neighbours(queries, database, weight, **settings):
    """k-reciprocal with the neighbourhoods of other images: a control."""
    other = np.random.RandomState(SEED).permutation(len(database))
    jaccard = rerank.k_reciprocal(queries, database, weight=0, **settings)[:, other]
    return -(1 - weight) * jaccard - weight * (1 - queries @ database.T)


# %% tags=["extra"]
def test_fold(name, folds, number):
    """A row for each query of a fold and each method."""
    known = part_of(name, np.concatenate([fold for n, fold in enumerate(folds) if n != number]))
    queries, items, relevant, classes = part_of(name, folds[number])
    for method, (function, grid) in METHODS.items():
        settings, start = best_of(function, grid, known), perf_counter()
        scores = function(queries, items, **settings)
        spent = 1000 * (perf_counter() - start) / len(queries)
        found = {method: scores}
        if method == "k-reciprocal":
            found["shuffled neighbours"] = shuffled_neighbours(queries, items, **settings)
        for label, values in found.items():
            yield pd.DataFrame({"set": name, "method": label, "class": classes, "ap": aps(values, relevant), "ms": spent})


# %% tags=["extra"]
rows = []
for name in SETS:
    classes = np.random.RandomState(SEED).permutation(np.unique(datasets.load_real(name).labels))
    folds = np.array_split(classes, 3)
    rows += [row for number in range(3) for row in test_fold(name, folds, number)]
reranked = pd.concat(rows)

# %% tags=["extra"]
by_class = reranked.groupby(["set", "method", "class"])["ap"].mean().unstack("method")
lines = []
for name, method in product(SETS, [*list(METHODS)[1:], "shuffled neighbours"]):
    own = by_class.loc[name]
    mean, low, high = interval(own[method] - own["cosine"], own.index)
    spent = reranked[(reranked["set"] == name) & (reranked["method"] == method)]["ms"].mean()
    lines.append({"set": name, "method": method, "mAP": own[method].mean(), "gain": mean, "low": low, "high": high, "ms": spent})
gain_of = pd.DataFrame(lines).set_index(["set", "method"])
print("mAP by cosine:", *(f"{TITLES[name]} {by_class.loc[name, 'cosine'].mean():.3f}" for name in SETS))
gain_of.rename(index=TITLES).round(3)  # ms: for one query, of all together

# %% tags=["extra", "claim"]
for name in SETS:
    assert gain_of.loc[(name, "k-reciprocal"), "gain"] > 0.01 and gain_of.loc[(name, "SuperGlobal"), "gain"] > 0.01
    assert gain_of.loc[(name, "shuffled neighbours"), "high"] < -0.05
for method in ("diffusion", "k-reciprocal", "SuperGlobal"):
    assert gain_of.loc[("ucmerced", method), "low"] > 0
assert gain_of.loc[("ucmerced", "k-reciprocal"), "gain"] > gain_of.loc[("ucmerced", "query expansion"), "gain"] + 0.02

# %% [markdown] tags=["extra"]
# k-reciprocal, SuperGlobal and diffusion gain on both sets, though diffusion's interval on RSSCN7 nearly reaches 0. In
# this draw k-reciprocal gains more than plain expansion; the table has no interval of that difference, and on RSSCN7
# expansion's own interval holds 0. Which of the three is best cannot be told from these intervals. With the
# neighbourhoods of *other* images the gain turns into a large loss: it matters *whose* neighbours are compared, as it
# should. These databases are tiny, 90 to 135 images of 2 to 7 classes: every mAP is high, even by chance, and none may
# be compared with that of the whole sets in the last section. Settings were chosen with about twice as many classes as
# they are tested on. RSSCN7's intervals draw only seven classes. k-reciprocal compares all pairs of the database
# beforehand (its square in memory); SuperGlobal the first 400 results of each query, which here are all.
#
# **All this is transductive**: the rank of an image depends on what else is in the database. Write beside such a number
# what the method has seen.

# %% [markdown] tags=["extra"]
# ### What else the method has seen (extra)
#
# In the paper, as in much work on people seen by several cameras, **all queries** are part of the graph; they bring
# images of the classes asked for. And the settings assume that a query has many relevant images. The gain over the
# cosine, with the package's default settings instead of chosen ones: queries apart, as above; with the other queries in
# the graph; and with only **two** relevant images of the query's class left in the database (the other classes stay
# whole), there with small sets too.

# %% tags=["extra"]
def gain_with(queries, items, relevant, rows, graph, settings):
    """Gain in AP over the cosine on some rows of the database, with other vectors in the graph."""
    scores = -rerank.k_reciprocal(queries, np.vstack([items[rows], graph]), **settings)[:, : len(rows)]
    return aps(scores, relevant[:, rows]) - aps(queries @ items[rows].T, relevant[:, rows])


# %% tags=["extra"]
def seen_with(name, classes, settings):
    """The gains for each query of some classes."""
    queries, items, relevant, labels = part_of(name, classes)
    for one, query in enumerate(queries):
        own, every = relevant[[one]], np.arange(len(items))
        few = np.setdiff1d(every, np.flatnonzero(own[0])[2:])
        cases = {"queries apart": (every, queries[:0]), "other queries": (every, np.delete(queries, one, axis=0)), "two relevant": (few, queries[:0])}
        gains = {key: gain_with(query[None], items, own, *case, settings)[0] for key, case in cases.items()}
        gains["two relevant, sets of 3"] = gain_with(query[None], items, own, few, queries[:0], settings | {"k1": 3, "k2": 2})[0]
        yield {"set": name, "class": labels[one]} | gains


# %% tags=["extra", "claim"]
rows, fixed = [], {"k1": 20, "k2": 6, "weight": 0.3}
for name in SETS:
    folds = np.array_split(np.random.RandomState(SEED).permutation(np.unique(datasets.load_real(name).labels)), 3)
    rows += [row for fold in folds for row in seen_with(name, fold, fixed)]
seen = pd.DataFrame(rows).groupby(["set", "class"]).mean()
change = seen.loc["ucmerced", "two relevant"] - seen.loc["ucmerced", "queries apart"]
assert interval(change, change.index)[2] < 0 and change.mean() < -0.05
assert abs((seen["other queries"] - seen["queries apart"]).mean()) < 0.03
seen.groupby("set").mean().rename(TITLES).round(3)

# %% [markdown] tags=["extra"]
# The other queries change little here. (In this draw the defaults are not worse than the settings chosen on other
# classes.) On UC Merced, with two relevant images for each query instead of fifteen, sets of 20 neighbours turn the
# gain into a loss in this draw; sets of 3 still gain here, but with other seeds their interval reaches 0. Among the two
# or three classes of an RSSCN7 database nothing is lost. So look at the rare classes apart: a mean over all queries
# hides them.
#
# ## How exactly do you have to remember? (extra)
#
# You saw a scene once, and place **two** of its objects on the canvas, more or less where they were. At which rank is that
# scene among all 420 and their mirror images, with true boxes and names? The control counts names only (a spread far larger than the canvas).

# %% tags=["extra"]
centres_of = [[(one["category"], *np.reshape(one["box"], (2, 2)).mean(axis=0) / (192, 144), 1.0) for one in row] for row in scenes.column("objects")]
turned = [[(name, 1 - x, y, sure) for name, x, y, sure in row] for row in centres_of]
rows, random = [], np.random.default_rng(SEED)
for i, jitter in product(random.permutation(len(scenes))[:30], (0.0, 0.05, 0.1, 0.2)):
    two = [centres_of[i][n] for n in random.permutation(len(centres_of[i]))[:2]]
    placed = [(name, *(np.array([x, y]) + random.normal(0, jitter or 1e-9, 2))) for name, x, y, _ in two]
    for spread in (0.05, 0.15, 1e5):
        scores = layout_scores(placed, centres_of + turned, spread=spread).round(6)
        rank = (scores > scores[i]).sum() + ((scores == scores[i]).sum() + 1) / 2
        rows.append({"jitter": jitter, "spread": spread, "reciprocal rank": 1 / rank})
ranks = pd.DataFrame(rows).pivot_table("reciprocal rank", "jitter", "spread")
ranks.rename(columns={1e5: "names only"}).round(3)

# %% tags=["extra", "claim"]
assert ranks.loc[0.05, 0.15] > ranks.loc[0.05, 1e5] + 0.3
assert ranks.loc[0.2, 0.15] > ranks.loc[0.2, 0.05] + 0.05

# %% [markdown] tags=["extra"]
# Many scenes share two names; where these stand tells the scenes apart. (Compare along a row, not down a column: the
# two objects are drawn anew for each row. Thirty scenes, no interval.) A tolerance that is narrower than your memory
# does harm: choose the spread for the users, not for the boxes.

# %% [markdown] tags=["extra"]
# ## Exercise 3 ★ a relation of three (extra)
#
# "A **between** B and C": `scores` (n, 3) says how well n regions fit the names A, B and C, `x` (n,) holds the columns of
# their centres. Return the largest sum of three scores of regions of which A's lies strictly between the others' (either
# may be on the left), and minus infinity if there are none.
#
# <details><summary>Hint 1: the idea</summary>
#
# Keep the triples of regions in which A is in the middle. Or fix A, and ask what is best on either side.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `permutations(range(len(x)), 3)` gives all triples of different regions; `max(…, default=-np.inf)`.
#
# </details>


# %% tags=["extra", "exercise"]
def between_score(scores, x):
    """Scores (n, 3), centres (n,) -> a number; minus infinity where nothing fits."""
    raise NotImplementedError


checks.check_between_score(between_score)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_between_score(scores, x):
    triples_ = [t_ for t_ in permutations(range(len(x)), 3) if x[t_[1]] < x[t_[0]] < x[t_[2]] or x[t_[2]] < x[t_[0]] < x[t_[1]]]
    return max((scores[t_, range(3)].sum() for t_ in triples_), default=-np.inf)


checks.check_between_score(solution_between_score)

# %% tags=["extra"]
centres = (boxes[:, 0] + boxes[:, 2]) / 2
shown = int(np.flatnonzero(np.bincount(owners) >= 4)[0])
mine = np.flatnonzero(owners == shown)[np.argsort(centres[owners == shown])][:3]
asked = [str(name) for name in labels[mine[[1, 0, 2]]]]  # A, between B and C
scores = names_of["true masks, recognised names"][:, np.searchsorted(vocabulary, asked)]
best = [checks.first_written("between_score", scores[owners == i], centres[owners == i]) for i in range(N)]
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", subplot_kw=BARE)
for ax, i in zip(axes, np.argsort([0 if score is None else -score for score in best]), strict=False):
    framed(ax, i, asked)
fig.suptitle(f"the three best for: {asked[0]} (solid frame) between {asked[1]} (dashed) and {asked[2]} (dotted); no frame: it is not there")
plots.show(plots.describe(fig, "The three best scenes for one object between two others; frames show which of the three each holds."))

# %% [markdown] tags=["extra"]
# ## Exercise 4 ★★ who belongs to a neighbourhood (extra)
#
# `distances` (n, n) between n images, 0 on the diagonal, and an even `k`. $R(i, k)$ holds image $i$ itself and the images
# that are among its $k$ nearest others and have $i$ among their $k$ nearest others (all that are at most as far as the
# k-th count). Then others join: for each member $j$ of $R(i, k)$ take the smaller set $R(j, k/2)$; if at least two thirds
# of *it* lie in $R(i, k)$, all of it joins. Return (n, n), bool: row $i$ is the set of image $i$ after one such round.
#
# <details><summary>Hint 1: the idea</summary>
#
# Make $R$ for $k$ and for $k/2$ as two bool matrices. How many members two sets share is a product of these matrices.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.sort(distances, axis=1)[:, [k]]` is the distance of the k-th other image, since the image itself comes first;
# `sets.astype(int) @ halves.T` counts common members.
#
# </details>


# %% tags=["extra", "exercise"]
def reciprocal_sets(distances, k):
    """Distances (n, n), an even whole number -> (n, n) of bool."""
    raise NotImplementedError


checks.check_reciprocal_sets(reciprocal_sets)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_reciprocal_sets(distances, k):
    both_ = []
    for size_ in (k, k // 2):
        near_ = distances <= np.sort(distances, axis=1)[:, [size_]]
        both_.append((near_ & near_.T).astype(int))
    sets_, halves_ = both_
    joins_ = sets_ * (3 * sets_ @ halves_.T >= 2 * halves_.sum(axis=1))
    return sets_ + joins_ @ halves_ > 0


checks.check_reciprocal_sets(solution_reciprocal_sets)

# %% tags=["extra"]
# the sets of 120 aerial images, 20 of each of six classes: which classes keep to themselves?
drawn_sets = checks.first_written("reciprocal_sets", distances, 10)
if drawn_sets is not None:
    fig, ax = plt.subplots(figsize=(4, 4), layout="constrained")
    ax.imshow(drawn_sets, cmap="Blues", vmax=1.3, interpolation="nearest")
    names_shown = datasets.load_real("ucmerced").labels[10:120:20]
    ax.set(xticks=[], yticks=range(10, 120, 20), yticklabels=names_shown, xlabel="member of the set of the row")
    for edge in range(20, 120, 20):
        ax.axhline(edge - 0.5, color="0.6", lw=0.5)
    plots.show(plots.describe(ax, "For each of 120 images a row with the members of its set; most lie in its own class."))

# %% [markdown]
# ## What we learned
#
# - A **set** of objects cannot tell a scene from its mirror image. Triples can.
# - A relation needs two right names and two right regions. Measure **each stage alone** as well as the chain.
# - Here, with one network, a vector of the whole picture followed the place, one of the masked object the object. Where
#   the two are correlated, a good score does not say which was used. Without the places' means the object *won* more
#   often, but its own score stayed low.
# - Neighbourhoods are a context, too (extra): re-ranking by them gained on two small sets, and assumes how many
#   relevant images there are.
#
# ### Check yourself
#
# <details><summary>1. Why does the search by the set still reach an mAP of about 0.7 when all names are known?</summary>
#
# It tells scenes with both objects from others. These tie, in either order; but there are few of them for each query.
#
# </details>
# <details><summary>2. By the box, categories are found better in the correlated scenes. Does it know objects
# better?</summary>
#
# The place may tell: ask with the object painted over. And chance is higher there (random vectors).
#
# </details>
# <details><summary>3. Which images are neighbours that do not answer? (extra)</summary>
#
# Often hubs: near to many images, few of which are near to them.
#
# </details>
# <details><summary>4. Why were settings chosen on other classes? (extra)</summary>
#
# A new user searches for new things.
#
# </details>
#
# ### What breaks at a million images
#
# Index triples of names as words in inverted lists. k-reciprocal needs the neighbours of every image, found once, approximately
# ([notebook 12](12_approximate_search.ipynb)).
#
# ### Further reading
#
# - Johnson et al. (2015), [doi:10.1109/CVPR.2015.7298990](https://doi.org/10.1109/CVPR.2015.7298990): graphs as queries.
# - Zhong et al. (2017), [arXiv:1701.08398](https://arxiv.org/abs/1701.08398): neighbours that answer.
# - Xiao et al. (2021), *Noise or signal*, ICLR, [arXiv:2006.09994](https://arxiv.org/abs/2006.09994): ImageNet's backgrounds.
#
# <!-- links:start -->
# Previous: [14_object_retrieval](14_object_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [16_text_and_images](16_text_and_images.ipynb)
# <!-- links:end -->
