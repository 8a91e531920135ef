# %% [markdown]
# # 00 · Start here: which images show the same object?
#
# **Question.** You have a picture of a mug, and hundreds of other pictures. Which of them show the same mug, and how
# good is the answer?
#
# **Time:** a minute and a half to run, offline; 45 minutes to work through, 90 with the sections marked (extra).
# **Before this:** Python and a little NumPy. Terms are explained where they first appear, and in the
# [glossary](../docs/glossary.md).
#
# <!-- links:start -->
# Next: [01_measuring_retrieval](01_measuring_retrieval.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **find** images by content, in our pictures and in a folder of your own;
# - **write** a metric and an honest search yourself;
# - **measure** a method against baselines, with an interval;
# - **explain** failures, and test the explanation.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown
from PIL import Image

from cbirkit import Ranking, Retriever, checks, cli, compare, datasets, encoders, evaluate, explore, plots
from cbirkit.images import ImageCollection

SEED = 0

# %% [markdown]
# If something is missing, the next cell says how to install it.

# %%
nothing_missing = cli.main(["doctor", "--quiet"]) == 0
print("The set-up is ready." if nothing_missing else "Install what is named above; run this again.")

# %% [markdown]
# ## The goal
#
# Our pictures show everyday objects on a table. A computer rendered them, so every right answer is known. Each object
# has several pictures, which differ in viewpoint, light and ground. Some are **queries**; the others form the
# **database** that is searched. A database image is **relevant** to a query if it shows the same object.
#
# There are six mugs, six chairs and so on. We search among one of each kind, the easy case. A method
# that must learn from images first gets pictures of the other objects.

# %%
objects = datasets.load_tabletop()
ours = objects.table["instance"].str.endswith(f" {SEED % 6}")  # "mug 0", "chair 0" and so on
queries, database = objects[ours.to_numpy()].split()
others = objects[(~ours & (objects.table["split"] == "aside")).to_numpy()]
print(len(queries), "queries,", len(database), "database images,", len(others), "to learn from")

# %%
familiar = ["mug", "teapot", "chair", "locomotive"]
chosen = ours & objects.table["label"].isin(familiar) & (objects.table["split"] != "aside")
examples = objects[chosen.to_numpy()]
captions = np.where(examples.column("split") == "query", "query", examples.labels)
plots.show(plots.contact_sheet(examples, n=28, labels=captions, columns=7), dpi=100)

# %% [markdown]
# **Before you go on, predict.** Four methods will answer the same queries:
#
# - a *colour histogram* counts colours;
# - a *small image* compares pictures at 16 × 16 pixels;
# - *VLAD* describes small patches with corners in them;
# - a *neural network* has learned from photographs what objects look like.
#
# Which one wins? When it is wrong, what will its wrong answers share with the query?
#
# Whatever the method, a search takes the same steps:

# %%
of_query = ["query image\n(h, w, 3)", "encoder φ", "embedding q\n(d,)"]
of_database = ["n database\nimages", "encoder φ", "embeddings X\n(n, d)"]
plots.show(plots.pipeline([of_query, of_database], ["distances\n(n,)", "sort", "nearest k"]))

# %% [markdown]
# Here is retrieval in five lines. The encoder is `lite0` (EfficientNet-Lite0), the network that this course uses unless
# it says otherwise. It was trained on ImageNet, over a million photographs in a thousand categories, mugs and teapots among
# them, but on none of these pictures. Of the table, `map` and `p@1` are explained below. In the picture a double frame marks
# the query; the results follow, nearest first, a relevant one with a tick, any other with a cross.

# %%
retriever = Retriever(encoders.Deep("lite0")).fit(database)
ranking = retriever.search(queries, k=None)  # None: rank the whole database
truth = queries.relevance(queries, database)  # the same object
query_objects = queries.column("instance")  # the object that each query shows
print(evaluate(ranking, truth, groups=query_objects))

# %%
shown = queries.ids[np.isin(queries.labels, familiar)][::2]
list_options = {"queries": queries, "relevance": truth, "k": 7}
plots.show(plots.ranked_list(ranking, database, rows=list(shown), **list_options))

# %% [markdown]
# ## Background
#
# An **encoder** maps an image $I$ to a vector of $d$ numbers, its *embedding* $x = \phi(I) \in \mathbb{R}^d$. A query
# $q \in \mathbb{R}^d$ is compared with each row $x_i$ of the database $X \in \mathbb{R}^{n \times d}$ by the cosine
# distance, which is 0 for vectors of one direction and 1 for vectors at right angles:
#
# $$D(q, x_i) = 1 - \frac{q \cdot x_i}{\lVert q \rVert \, \lVert x_i \rVert}$$
#
# The $k$ smallest distances are the answer. An early $\phi$ is the **colour histogram** (Swain and Ballard 1991,
# [doi:10.1007/BF00130487](https://doi.org/10.1007/BF00130487)): the fraction of the pixels in each cell of a coarse
# grid of colours. It does not know *where* a colour is.

# %%
by_colour = Retriever(encoders.ColorHistogram()).fit(database)
query_vectors = by_colour.encoder_.transform(queries)  # (n_queries, d)
database_vectors = by_colour.embeddings  # (n, d)
print("queries ", query_vectors.shape, query_vectors.dtype)
print("database", database_vectors.shape, database_vectors.dtype)

# %% [markdown]
# ## Build it
#
# The search is a matrix product and a sort, and the package must give the same, up to rounding and to the order of
# neighbours that are equally far. Cells with `assert` hold what this course claims, with a margin.


# %%
def nearest(query_rows, database_rows, k):
    """Positions (n_queries, k) of the nearest database rows, and their cosine distances."""
    q = query_rows / np.linalg.norm(query_rows, axis=1, keepdims=True)
    x = database_rows / np.linalg.norm(database_rows, axis=1, keepdims=True)
    distances = 1 - q @ x.T  # (n_queries, d) @ (d, n) -> (n_queries, n)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


positions, distances = nearest(query_vectors, database_vectors, k=10)
print("nearest to", queries.ids[0], "are", ", ".join(database.ids[positions[0, :3]]))

# %% tags=["claim"]
colour_ranking = by_colour.search(queries, k=None)
same = positions == colour_ranking.indices[:, :10]
print(f"{same.mean():.1%} of the positions agree")
assert np.allclose(distances, colour_ranking.distances[:, :10], atol=1e-5)
assert same.mean() > 0.99

# %% [markdown]
# ## Measure it
#
# All methods answer the **same queries** on the **same database**:
#
# | method | what it describes | learned from |
# |---|---|---|
# | random | nothing: its score is the chance level | |
# | colour histogram | which colours | |
# | small image | which colour roughly where (Torralba et al. 2008, [doi:10.1109/TPAMI.2008.128](https://doi.org/10.1109/TPAMI.2008.128)) | |
# | VLAD | local patches, wherever they are (Jégou et al. 2010, [doi:10.1109/CVPR.2010.5540039](https://doi.org/10.1109/CVPR.2010.5540039); [notebook 02](02_local_features.ipynb)) | other objects |
# | lite0 | edges, textures and parts (Tan and Le 2019, [arXiv:1905.11946](https://arxiv.org/abs/1905.11946)) | ImageNet |
#
# **P@1** is the fraction of queries whose first result is relevant; *precision at rank k*, the fraction of the first k
# results that are. **Average precision** of a query is the mean, over
# its relevant images, of the precision at the rank of each: 1 if they all come first. Its mean over queries is **mAP**
# ([notebook 01](01_measuring_retrieval.ipynb) takes both apart).
#
# The interval is a bootstrap (Efron 1979, [doi:10.1214/aos/1176344552](https://doi.org/10.1214/aos/1176344552)): draw
# as many objects again, with replacement, a thousand times, and keep the middle 95 % of the scores. *Objects* are
# drawn, not queries, because two queries show each object, and where one is hard the other may be too
# (`groups=query_objects`).

# %%
chance = np.random.RandomState(SEED).rand(len(queries), len(database))
vlad = Retriever(encoders.VLAD(random_state=SEED)).fit(database, encoder_images=others)
rankings = {
    "random": Ranking.from_distances(chance, queries.ids, database.ids),
    "colour histogram": colour_ranking,
    "small image": Retriever(encoders.TinyImage()).fit(database).search(queries, k=None),
    "VLAD": vlad.search(queries, k=None),
    "lite0": ranking,
}

# %%
scored = ["map", "p@1"]
# Where distances are equal, the score is the mean over their orders.
options = {"metrics": scored, "ties": "expected", "groups": query_objects}
scores = {name: evaluate(r, truth, **options) for name, r in rankings.items()}
plots.show(plots.metric_bars(scores, metrics=scored))

# %% tags=["claim"]
ap = {name: score["map"] for name, score in scores.items()}
assert ap["random"] < 0.05
assert ap["colour histogram"] < 0.1 and ap["small image"] < 0.1
assert ap["VLAD"] > ap["colour histogram"] + 0.03
assert ap["lite0"] > ap["VLAD"] + 0.25

# %% [markdown]
# The network wins by far, and is far from perfect. (No method was tuned. The pictures are small and rendered: do not compare
# these numbers with published ones.)
#
# ## Where it fails
#
# These are the network's queries with the lowest average precision:

# %%
worst = scores["lite0"].per_query["map"].sort_values(kind="stable").index[:4]
plots.show(plots.ranked_list(ranking, database, rows=list(worst), **list_options))

# %% [markdown]
# The wrong results show other objects, often on the same ground. Is that a rule? Now count a result as right if it
# shows *another* object on the *same ground*, and leave out pictures of the query's own object (they are *junk*, which
# counts neither for nor against). P@1 is then the fraction of queries whose first wrong result stands on the query's
# ground. Ground and object were drawn independently, so a method that describes only the object scores at chance level.

# %%
same_ground = queries.relevance(queries, database, by="ground", junk="instance")
first_only = options | {"metrics": ["p@1"]}
by_ground = {name: evaluate(r, same_ground, **first_only) for name, r in rankings.items()}
chance_level = np.mean(same_ground.n_positives / (len(database) - same_ground.n_junk))
ax = plots.metric_bars(by_ground)
ax.axvline(chance_level, color="black", lw=1, ls="--")
ax.set_xlabel(f"fraction of queries, 95 % interval (dashed: chance, {chance_level:.2f})")
plots.show(ax)

# %% tags=["claim"]
for name in ("colour histogram", "small image", "VLAD", "lite0"):
    first_wrong = by_ground[name].summary.loc["p@1"]
    print(f"{name}: {first_wrong['mean'] / chance_level:.1f} times as often as by chance")
    assert first_wrong["low"] > 1.5 * chance_level

# %% [markdown]
# It happens several times as often as by chance: they seem to describe the *whole picture*, mostly ground. If that is
# the cause, the score must rise when the surroundings go. The renderer knows where the object is, so we cut it out
# along its *box*; or keep its size and paint everything *around* it grey. The second is the control, because cutting
# out also enlarges the object, and that alone might help.


# %%
def cut_out(images):
    """The part of each picture inside the object's box."""
    boxes = images.column("box")
    parts = [image[t:b, left:r] for image, (left, t, r, b) in zip(images, boxes, strict=True)]
    return ImageCollection.from_arrays(parts, ids=images.ids, table=images.table)


def painted(images):
    """Each picture with everything but the object in grey."""
    masks = [images.mask(i)[..., None] == 1 for i in range(len(images))]
    parts = [np.where(m, image, np.uint8(128)) for m, image in zip(masks, images, strict=True)]
    return ImageCollection.from_arrays(parts, ids=images.ids, table=images.table)


# %%
versions = {}
for name, whole in {"colour histogram": by_colour, "lite0": retriever}.items():
    versions[f"{name}, whole picture"] = rankings[name]
    for what, change in {"cut out": cut_out, "rest in grey": painted}.items():
        found = Retriever(whole.encoder).fit(change(database)).search(change(queries), k=None)
        versions[f"{name}, {what}"] = found
version_scores = {name: evaluate(r, truth, **options) for name, r in versions.items()}
plots.show(plots.metric_bars(version_scores, metrics=scored))

# %% tags=["claim"]
network = {name: r for name, r in versions.items() if name.startswith("lite0")}
gains = compare(network, truth, groups=query_objects, n_draws=2000, random_state=SEED).pairs
score_of = {name: score["map"] for name, score in version_scores.items()}
for name in ("lite0", "colour histogram"):
    for what in ("cut out", "rest in grey"):
        assert score_of[f"{name}, {what}"] > score_of[f"{name}, whole picture"] + 0.15
assert abs(score_of["lite0, cut out"] - score_of["lite0, rest in grey"]) < 0.12
gains[["a", "b", "difference", "low", "high", "p_holm"]].round(3)

# %% [markdown]
# The table compares the network's versions query by query, in mAP; `p_holm` says how often chance alone would give so
# large a difference, corrected for several pairs. Most of the gain is there when the surroundings turn grey. (Grey also
# gives away the outline.) The colour histogram gains most with grey: a box still holds some ground. Without a renderer the object has to be found first ([notebook 14](14_object_retrieval.ipynb)).
#
# ## Try it
#
# Click an image to search for it, **drag a box over the object** to search for that part only, or drop in a picture of
# your own. Try the globe and the mug, first whole, then with a box around it.

# %%
both = {"lite0": retriever, "colour histogram": by_colour}
globe = queries.ids[queries.labels == "globe"][0]
explorer = explore.QueryExplorer(both, queries=queries, query=globe, k=12, relevance=truth)
explorer

# %% tags=["gallery"]
plots.show(explorer.static())

# %% [markdown]
# ## Your own folder
#
# To search your own photographs, change one line: `FOLDER = "~/Pictures"`. As it stands, the next cells write a small
# folder; its damaged file is named and left out. A sub-folder's name is the label. Without labels
# you judge by eye; [notebook 24](24_your_own_dataset.ipynb) measures even then, and takes out copies.


# %%
def write_demo_folder(folder):
    """Save pictures of eight objects, one sub-folder for each, and one file cut short."""
    for i in np.flatnonzero(np.isin(database.labels, np.unique(database.labels)[::8])):
        file = Path(folder) / database.labels[i] / f"{i:03d}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(database[i]).save(file, quality=90)
    (Path(folder) / "cut_off.jpg").write_bytes(file.read_bytes()[:1500])


# %%
FOLDER = None  # your own: FOLDER = "~/Pictures"
demo = tempfile.TemporaryDirectory()  # removed again when the kernel ends
write_demo_folder(demo.name)
mine = datasets.from_folder(demo.name if FOLDER is None else FOLDER).verify(progress=False)
mine.problems

# %%
own_retriever = Retriever(encoders.Deep("lite0")).fit(mine)
k = max(1, min(10, len(mine) - 1))
found = own_retriever.search(mine, k=k)  # each image is a query, itself left out
labelled = "label" in mine.table
own_truth = mine.relevance() if labelled else None
rows = range(0, len(mine), max(1, len(mine) // 2))
plots.show(plots.ranked_list(found, mine, rows=rows, relevance=own_truth, k=7))
if labelled:
    print(evaluate(found, own_truth, metrics=["p@1"], groups=mine.labels))
else:
    print("No sub-folders, so no labels: judge by eye, or sort some images into folders.")

# %% [markdown]
# ## Exercise 1 ★ precision at k
#
# Return the fraction of the first `k` results that are relevant. `relevant` is a vector of true and false, nearest
# first.
#
# <details><summary>Hint 1: the idea</summary>
#
# Count the true values among the first k, and divide by k. If fewer than k results came back, the missing ones count
# as misses.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `.sum()` counts the true values of a NumPy vector.
#
# </details>


# %% tags=["exercise"]
def precision_at_k(relevant, k):
    """Fraction of relevant results among the first k: relevant (n,) bool, k int -> float."""
    raise NotImplementedError


checks.check_precision_at_k(precision_at_k)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_precision_at_k(relevant, k):
    return relevant[:k].sum() / k


checks.check_precision_at_k(solution_precision_at_k)

# %% [markdown]
# Drawn with your function, or the solution's. Which curve does not fall? From which k on must even a perfect one (five
# are relevant)?

# %%
def your_precision(row, k):
    """What your function gives, or NaN if that is no number."""
    value = checks.first_written("precision_at_k", row, k)
    return value if isinstance(value, (int, float, np.number)) else np.nan


# %%
ks = (1, 2, 3, 4, 5, 7, 10, 15, 20, 25, 30)
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
styles = zip(plots.style.COLOURS, plots.style.LINES[4::-1], plots.style.MARKERS, strict=False)
for (name, r), (colour, line, mark) in zip(rankings.items(), styles, strict=False):
    is_relevant = truth.gains(r.indices) > 0  # (n_queries, n_database), nearest first
    yours = np.array([[your_precision(row, k) for k in ks] for row in is_relevant], dtype=float)
    mean = yours.mean(axis=0)  # over the queries
    ax.plot(ks, mean, ls=line, marker=mark, ms=4, color=colour, label=name)
ax.axvline(truth.n_positives.mean(), color="0.7", lw=1, label="relevant images per query")
ax.set(xlabel="k (number of results)", ylabel="precision at k", ylim=(0, 1))
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Precision at k for each method; a line marks the relevant images."))

# %% [markdown]
# ## Exercise 2 ★★ leave the query out
#
# When the query is in the database it finds itself, and P@1 looks wonderful. Return the first `k` results that are not
# the query. `ranked_ids` is an array of ids, nearest first.
#
# <details><summary>Hint 1: the idea</summary>
#
# The query need not stand first: an exact copy under another id may. It may also be missing. So compare ids rather than
# places, and cut last.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `ids != one_id` compares each id and gives an array of true and false, which can select from `ids`.
#
# </details>


# %% tags=["exercise"]
def leave_query_out(query_id, ranked_ids, k):
    """First k results that are not the query: str, (n,) array, int -> array of at most k str."""
    raise NotImplementedError


checks.check_leave_query_out(leave_query_out)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_leave_query_out(query_id, ranked_ids, k):
    return ranked_ids[ranked_ids != query_id][:k]


checks.check_leave_query_out(solution_leave_query_out)

# %% [markdown]
# What it is worth: database images search by colour for others of their object, with the query left in and left out.

# %% tags=["claim"]
insiders = database[::4]
object_of = database.column("instance")
first_answers = {
    "left in": by_colour.search(insiders, k=1, exclude_self=False).indices[:, 0],
    "left out": by_colour.search(insiders, k=1).indices[:, 0],
}
wanted = insiders.column("instance")
right = {name: np.mean(object_of[first] == wanted) for name, first in first_answers.items()}
print(", ".join(f"query {name}: P@1 = {value:.2f}" for name, value in right.items()))
assert right["left in"] > 0.99 and right["left out"] < 0.3

# %% [markdown] tags=["extra"]
# ## Exercise 3 ★★★ a histogram that knows where (extra)
#
# Cut the image into `tiles` × `tiles` tiles (as `np.array_split` cuts) and join the tiles' RGB histograms, row by row. A
# value v falls into bin `v * bins // 256`; red is the slowest axis, blue the fastest. Each tile weighs the same, and the
# whole sums to 1: the shape is `(tiles * tiles * bins ** 3,)`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two loops over tiles. In a tile, turn three bin numbers into one, (r · bins + g) · bins + b, and count how often each
# occurs.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.array_split(image, tiles, axis=0)`, `np.bincount(numbers, minlength=…)`; first `.astype(int)`, for uint8 ends at
# 255.
#
# </details>


# %% tags=["extra", "exercise"]
def tiled_histogram(image, tiles, bins):
    """RGB histograms of tiles: (h, w, 3) uint8, int, int -> (tiles * tiles * bins ** 3,) float."""
    raise NotImplementedError


checks.check_tiled_histogram(tiled_histogram)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_tiled_histogram(image, tiles, bins):
    histograms = []
    for band in np.array_split(image.astype(int) * bins // 256, tiles, axis=0):
        for tile in np.array_split(band, tiles, axis=1):
            r, g, b = tile.reshape(-1, 3).T
            counts = np.bincount((r * bins + g) * bins + b, minlength=bins**3)
            histograms.append(counts / len(r) / tiles**2)
    return np.concatenate(histograms)


checks.check_tiled_histogram(solution_tiled_histogram)

# %% [markdown] tags=["extra"]
# ### Open question: how many tiles? (extra)
#
# Predict first: do tiles help when the objects are cut out? Then choose from 1 × 1 to 4 × 4 tiles **without our
# queries**: search among objects of another number. Measure your choice on our queries once, beside 1 × 1, with
# intervals. Should a colleague whose photographs come rotated follow your advice?

# %% [markdown] tags=["extra"]
# **Solution (click to open)**: one answer.

# %% tags=["extra", "solution"]
tiles_to_try, tile_scores = (1, 2, 3, 4), {}
next_number = objects.table["instance"].str.endswith(f" {(SEED + 1) % 6}").to_numpy()
for whose, pair in {"other": objects[next_number].split(), "our": (queries, database)}.items():
    for n in tiles_to_try:
        rows_ = [[solution_tiled_histogram(im, n, 4) for im in cut_out(one)] for one in pair]
        by_tiles = Ranking(pair[0].ids, pair[1].ids, *nearest(*map(np.sqrt, rows_), len(pair[1])))
        by_object = options | {"groups": pair[0].column("instance")}
        tile_scores[whose, n] = evaluate(by_tiles, pair[0].relevance(*pair), **by_object)
    best_n = max(tiles_to_try, key=lambda n, whose=whose: tile_scores[whose, n]["map"])
    tiles_to_try = sorted({1, best_n})
named = {f"{whose} objects, {n} × {n}": one for (whose, n), one in tile_scores.items()}
plots.show(plots.metric_bars(named, metrics=scored))

# %% [markdown]
# ## What we learned
#
# - Retrieval is an encoder, a distance and a sort. The encoder decides what "similar" means.
# - Report a score beside others on the same queries, with an interval and chance level.
# - Test what learns on new images; the query must not count as its own answer.
# - A suspected cause of failures can be tested: take it away and measure again.
#
# ### Check yourself
#
# <details><summary>1. Why is the score of a random ranking not 0?</summary>
#
# Relevant images turn up at random ranks.
#
# </details>
# <details><summary>2. A picture is turned upside down. What changes in its colour histogram?</summary>
#
# Nothing. That helps where views are rotated, and hurts where layout matters.
#
# </details>
# <details><summary>3. VLAD learned from other objects. What would its score mean, had it learned from the
# database?</summary>
#
# How well it tells apart images that it was fitted to. That says little about images added later.
#
# </details>
# <details><summary>4. Cutting the objects out raised the score. Why was the grey version needed as well?</summary>
#
# Cutting out also enlarges the object. Grey only removes the surroundings.
#
# </details>
#
# ### What breaks at a million images

# %%
n_dims, million = retriever.embeddings.shape[1], 10**6
gigabytes = million * n_dims * 4 / 1e9
Markdown(
    f"A vector of lite0 has {n_dims:,} numbers of 4 bytes. At a million images that is "
    f"**{gigabytes:.0f} GB** of memory, and one query costs {million * n_dims / 1e9:.1f} billion "
    "multiplications. Shorter vectors (notebooks [03](03_cnn_features.ipynb) and "
    "[11](11_hashing.ipynb)), an index that does not look everywhere "
    "([12](12_approximate_search.ipynb)) and embeddings kept on disk are the way out. "
    "And among a million images many look alike: precision falls too."
)

# %% [markdown]
# ## Where to go from here
#
# <!-- course:start -->
# | no. | notebook | topic |
# |---|---|---|
# | 00 | [start_here](00_start_here.ipynb) | set-up check, hello retrieval, your own folder, course map |
# | 01 | [measuring_retrieval](01_measuring_retrieval.ipynb) | metrics, protocols, traps, intervals, the Metric Lab |
# | 02 | [local_features](02_local_features.ipynb) | SIFT, RootSIFT, visual words, VLAD, spatial verification |
# | 03 | [cnn_features](03_cnn_features.ipynb) | layers, sum/max/GeM pooling, whitening, against hand-made features |
# | 04 | [multi_scale](04_multi_scale.ipynb) | pyramids, R-MAC, several layers; stability under zoom |
# | 05 | [transfer_learning](05_transfer_learning.ipynb) | frozen, linear probe, what transfers to which domain |
# | 06 | [domain_fine_tuning](06_domain_fine_tuning.ipynb) | adapting to a narrow domain (thermal camera, land use, letters); frozen, head, last blocks, all; what is forgotten |
# | 07 | [metric_learning](07_metric_learning.ipynb) | contrastive, triplet mining, proxies, class-disjoint evaluation |
# | 08 | [self_supervised](08_self_supervised.ipynb) | without labels: SimCLR, SimSiam, collapse, what an augmentation teaches |
# | 09 | [attention](09_attention.ipynb) | attention pooling, salient regions, clutter |
# | 10 | [transformers_and_graphs](10_transformers_and_graphs.ipynb) | ViT tokens; graph networks and diffusion over the neighbour graph |
# | 11 | [hashing](11_hashing.ipynb) | LSH, ITQ, PQ, deep hashing; ties; bytes and latency |
# | 12 | [approximate_search](12_approximate_search.ipynb) | Annoy, HNSW, IVF-PQ; recall against time and memory; beyond one machine |
# | 13 | [on_device](13_on_device.ipynb) | ONNX, int8, distillation; size, latency, neighbour overlap |
# | 14 | [object_retrieval](14_object_retrieval.ipynb) | segmentation, proposals, region indexes, small objects |
# | 15 | [context_and_scenes](15_context_and_scenes.ipynb) | layout, relations, contextual re-ranking |
# | 16 | [text_and_images](16_text_and_images.ipynb) | joint embeddings, captions, composed queries |
# | 17 | [cross_domain](17_cross_domain.ipynb) | sketch to photo, CORAL, adversarial alignment |
# | 18 | [relevance_feedback](18_relevance_feedback.ipynb) | Rocchio, SVM, personal profiles, simulated users |
# | 19 | [active_learning](19_active_learning.ipynb) | which images to label |
# | 20 | [incremental](20_incremental.ipynb) | new classes, forgetting, backward-compatible embeddings |
# | 21 | [explain](21_explain.ipynb) | why similar: maps scored against masks |
# | 22 | [adversarial](22_adversarial.ipynb) | attacks on retrieval, adversarial training |
# | 23 | [generative](23_generative.ipynb) | GAN-made training images, memorisation checks |
# | 24 | [your_own_dataset](24_your_own_dataset.ipynb) | the whole kit on a folder of yours |
# <!-- course:end -->
#
# ### Further reading
#
# - Smeulders et al. (2000), *Content-based image retrieval at the end of the early years*, TPAMI,
#   [doi:10.1109/34.895972](https://doi.org/10.1109/34.895972).
# - Razavian et al. (2014), *CNN features off-the-shelf*, CVPR workshops,
#   [arXiv:1403.6382](https://arxiv.org/abs/1403.6382). A network trained for one task encodes for another.
# - Xiao et al. (2021), *Noise or signal*, ICLR, [arXiv:2006.09994](https://arxiv.org/abs/2006.09994). How much networks
#   look at the background.
# - Chen et al. (2023), *Deep learning for instance retrieval: a survey*, TPAMI,
#   [arXiv:2101.11282](https://arxiv.org/abs/2101.11282).
#
# <!-- links:start -->
# Next: [01_measuring_retrieval](01_measuring_retrieval.ipynb)
# <!-- links:end -->
