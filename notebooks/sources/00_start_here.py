# %% [markdown]
# # 00 · Start here: which images show the same thing?
#
# **Question.** You have one photograph and a thousand others. Which of them show the same thing, and how do
# you know that the answer is any good?
#
# **Time:** about half a minute to run on two cores, offline. **Before this:** Python and a little NumPy. Words of the
# field are explained where they first appear, and again in the [glossary](../docs/glossary.md).
#
# <!-- links:start -->
# Next: [01_measuring_retrieval](01_measuring_retrieval.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **find** images by content in five lines, in a set of ours and in a folder of yours;
# - **build** the search yourself, and show that it gives what the package gives;
# - **measure** it against honest baselines, with an interval, on the same queries;
# - **read** its failures, and say which step of the method causes them.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image

from cbirkit import Ranking, Retriever, checks, cli, compare, datasets, encoders, evaluate, explore, plots

SEED = 0

# %% [markdown]
# Is everything installed? What is missing is named, with the line that installs it. (`cbirkit doctor` in a
# terminal tells more: versions, cores, memory, GPU.)

# %%
nothing_missing = cli.main(["doctor", "--quiet"]) == 0
print("The set-up is ready." if nothing_missing else "Install what is named above, then run this again.")

# %% [markdown]
# ## The goal
#
# Our images are *views*: pieces of 15 real photographs, turned, zoomed, tilted, blurred, recoloured and
# partly covered. Two views are **relevant** to each other if they show the same piece. Some pieces are never
# asked for; their views are **distractors**, relevant to nothing. All of it is made on your machine, so the
# answer to every question is known.
#
# The method below has to learn something first: a vocabulary of small image patches (a *codebook*). It must not learn it
# from the images on which it is tested, so half of the distractor pieces are set aside for that, and serve
# for nothing else. (They come from the same 15 photographs, and share no pixel with the others. In the table of the
# set, `region` names the piece of every view; `instance` does so too, and is empty for distractors.)

# %%
views = datasets.load_photo_views(random_state=SEED)
pieces = views.column("region")
spare = np.unique(pieces[pd.isna(views.column("instance"))])  # pieces that are never asked for
split = np.where(np.isin(pieces, spare[::2]), "aside", views.column("split"))
views = views.with_columns(split=split)
views

# %% [markdown]
# And now retrieval, in five lines. `VLAD` describes an image by its local patches. In
# [notebook 03](03_cnn_features.ipynb) a neural network, `encoders.Deep("tiny")`, takes its place, learns from no
# image here, and no other line changes.

# %%
queries, database, others = views.split(parts=("query", "database", "aside"))
retriever = Retriever(encoders.VLAD(random_state=SEED)).fit(database, encoder_images=others)
ranking = retriever.search(queries, k=None)  # None: rank the whole database
truth = views.relevance(queries, database)
print(evaluate(ranking, truth, ties="expected"))

# %% [markdown]
# What do these numbers look like? Each row is a query, in a double frame, and what was found for it, nearest
# first. A solid frame with a tick is right, a dashed one with a cross is wrong. A name such as *brick_2_3/0*
# says: the photograph, row and column of the piece in it, number of the view. (Images in which VLAD finds no corner
# are all equally far from a query; `ties="expected"` scores the average over their orders, see trap 3 of
# [notebook 01](01_measuring_retrieval.ipynb).)

# %%
one_in_many = range(0, len(queries), len(queries) // 4)
plots.show(plots.ranked_list(ranking, database, queries=queries, relevance=truth, rows=one_in_many, k=7))

# %% [markdown]
# ## Background
#
# An **encoder** maps an image $I$ to a vector of $d$ numbers, its *embedding* $x = \phi(I) \in \mathbb{R}^d$.
# A **query** $q \in \mathbb{R}^d$ is compared with each row $x_i$ of the **database**,
# $X \in \mathbb{R}^{n \times d}$. We use the cosine distance, which is 0 for vectors of one direction and 1 for
# vectors at right angles:
#
# $$D(q, x_i) = 1 - \frac{q \cdot x_i}{\lVert q \rVert \, \lVert x_i \rVert}$$
#
# The $k$ smallest distances are the answer. Everything in this course improves $\phi$, speeds up the search,
# or asks whether the answer is right.
#
# The oldest $\phi$ that still earns its place is the **colour histogram** (Swain and Ballard 1991, *IJCV*,
# [doi:10.1007/BF00130487](https://doi.org/10.1007/BF00130487)): the share of the pixels in each cell of a coarse grid
# of colours. It does not know *where* a colour is.

# %%
by_colour = Retriever(encoders.ColorHistogram()).fit(database)
query_vectors = by_colour.encoder_.transform(queries)  # (n_queries, d)
database_vectors = by_colour.embeddings  # (n, d)
print("queries ", query_vectors.shape, query_vectors.dtype)
print("database", database_vectors.shape, database_vectors.dtype)

# %% [markdown]
# ## Build it
#
# The search is a matrix product and a sort.


# %%
def nearest(query_rows, database_rows, k):
    """Positions (n_queries, k) of the nearest database rows by cosine distance, and the distances."""
    q = query_rows / np.linalg.norm(query_rows, axis=1, keepdims=True)
    x = database_rows / np.linalg.norm(database_rows, axis=1, keepdims=True)
    distances = 1 - q @ x.T  # (n_queries, d) @ (d, n) -> (n_queries, n)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


positions, distances = nearest(query_vectors, database_vectors, k=10)
print("nearest to", queries.ids[0], "are", ", ".join(database.ids[positions[0, :3]]))

# %% [markdown]
# The package must give the same. Sums in another order differ in their last digits, and neighbours that are
# equally far may change places; hence a tolerance on the distances, and a share for the positions.

# %% tags=["claim"]
colour_ranking = by_colour.search(queries, k=None)
same = positions == colour_ranking.indices[:, :10]
print(f"{same.mean():.1%} of the positions agree")
assert np.allclose(distances, colour_ranking.distances[:, :10], atol=1e-5)
assert same.mean() > 0.99

# %% [markdown]
# ## Measure it
#
# A score alone says nothing. Four methods answer the **same queries** on the **same database**:
#
# | method | what it knows |
# |---|---|
# | random | nothing; its score is the floor, and it is not 0 |
# | colour histogram | which colours, but not where |
# | small image | which colour roughly where: every image shrunk to 16 × 16 pixels (*tiny images*, Torralba et al. 2008) |
# | VLAD | which local patches, wherever they are and however they are turned (Jégou et al. 2010) |

# %%
chance = np.random.RandomState(SEED).rand(len(queries), len(database))
rankings = {
    "random": Ranking.from_distances(chance, queries.ids, database.ids),
    "colour histogram": colour_ranking,
    "small image": Retriever(encoders.TinyImage()).fit(database).search(queries, k=None),
    "VLAD": ranking,
}

# %% [markdown]
# **Average precision** of a query: the mean, over its relevant images, of the precision at the rank where
# each was found. It is 1 if all of them come first. Its mean over the queries is *mAP*. **P@1** is the share
# of queries whose first answer is right. [Notebook 01](01_measuring_retrieval.ipynb) takes both apart.
#
# The interval is a bootstrap (Efron 1979): draw as many queries again, with replacement, a thousand times.
# Each piece is asked for by two queries, and where one is hard the other is too. So *pieces* are drawn, not queries.

# %%
scored = ["map", "p@1"]
asked = queries.column("instance")  # the piece that each query shows
how = {"metrics": scored, "ties": "expected"}
scores = {name: evaluate(r, truth, groups=asked, **how) for name, r in rankings.items()}
tables = {name: score.summary[["mean", "low", "high"]] for name, score in scores.items()}
pd.concat(tables).unstack(0).T.unstack(0).round(3)

# %%
plots.show(plots.metric_bars(scores, metrics=scored))

# %% [markdown]
# Draw single queries instead of pieces, as if each were a witness of its own, and the interval looks better
# than it is:

# %% tags=["claim"]
drawn = {"pieces": scores["VLAD"], "queries": evaluate(ranking, truth, **how)}
width = {what: s.summary.loc["map", "high"] - s.summary.loc["map", "low"] for what, s in drawn.items()}
print(
    "width of the interval of mAP:", ", ".join(f"{value:.3f} drawing {what}" for what, value in width.items())
)
# Measured with SEED = 0, 1, 2, 3: 1.32, 1.25, 1.30 and 1.25 times as wide.
assert width["pieces"] > 1.1 * width["queries"]

# %% [markdown]
# Could such differences be chance? The methods answered the same queries, so they are compared query by query. In the
# table, `p_holm` says how often chance alone would give so large a difference, corrected for looking at several pairs.

# %%
paired = compare(rankings, truth, ties="expected", groups=asked, n_draws=2000, random_state=SEED)
paired.pairs[["a", "b", "difference", "low", "high", "p_holm"]].round(3)

# %% [markdown]
# What this notebook claims is asserted, with a margin, in cells such as the next one: should it stop being
# true, the tests of the course fail.

# %% tags=["claim"]
ap = {name: score["map"] for name, score in scores.items()}
# Measured with SEED = 0, 1, 2, 3: random .015 .015 .014 .013, colour histogram .111 .095 .093 .099,
# small image .195 .183 .179 .177, VLAD .649 .618 .634 .666.
assert ap["random"] < 0.03
assert ap["colour histogram"] > 3 * ap["random"]
assert ap["small image"] > ap["colour histogram"] + 0.04
assert ap["VLAD"] > ap["small image"] + 0.30

# %%
Markdown(
    f"On {len(queries)} queries and {len(database)} database images, mAP is {ap['random']:.3f} by chance, "
    f"{ap['colour histogram']:.3f} from colours, {ap['small image']:.3f} from colours in their places and "
    f"{ap['VLAD']:.3f} from local patches. The images are small and the warps are ours: these numbers "
    "compare methods with one another; they do not stand beside published ones."
)

# %% [markdown]
# ### Where it fails
#
# A mean hides the failures, and the failures say what to do next. These are the queries with the lowest
# average precision.

# %%
per_query = scores["VLAD"].per_query["map"]
worst = per_query.sort_values(kind="stable").index[:4]
plots.show(plots.ranked_list(ranking, database, queries=queries, relevance=truth, rows=list(worst), k=7))

# %% [markdown]
# They are smooth: there are few corners, *key points*, to hold on to. (Where all distances are 1.000 there was none
# at all, and the "results" are simply the first images of the database.) Is that the reason, or just what we happen
# to see? The set knows, for each view, the strength of all that was done to it and the *texture* of its piece (its
# mean gradient). We ask which of these goes with average precision, by rank correlation: 0 is no relation, 1 a
# perfect one.

# %%
suspects = ["texture", "rotation", "zoom", "blur", "noise", "occluder"]
facts = queries.table[suspects].astype(float).abs().assign(average_precision=per_query)
relation = facts.corr(method="spearman")["average_precision"].drop("average_precision")
no_corner = np.linalg.norm(retriever.embeddings, axis=1) == 0
print(f"{no_corner.sum()} of {len(database)} database images have no key point: their vector is zero")
relation.round(2).to_frame("rank correlation with average precision")

# %% [markdown]
# Texture, and hardly anything else: the key points that VLAD rests on (SIFT, [notebook 02](02_local_features.ipynb))
# do not mind being turned, but where there are none, nothing can be matched. [Notebook 03](03_cnn_features.ipynb)
# asks whether the features of a network do better there.

# %% tags=["claim"]
# Measured with SEED = 0, 1, 2, 3: texture .62 .64 .61 .61; the largest of the others .16 .17 .18 .18
# (occluder or zoom); 39, 43, 45 and 35 images without a key point.
assert relation["texture"] > 0.4
assert relation.drop("texture").abs().max() < 0.3
assert no_corner.any()

# %% [markdown]
# ## Try it
#
# Click an image to search for it, click a result to go on from there, drag over the query to search for a
# part of it, or drop in a picture of your own. Two methods answer side by side. What do the colours see that
# the patches do not?

# %%
both = {"VLAD": retriever, "colour histogram": by_colour}
explorer = explore.QueryExplorer(both, queries=queries, query=queries.ids[40], k=12, relevance=truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %% tags=["gallery"]
plots.show(explorer.static())

# %% [markdown]
# ## Your own folder
#
# Change one line, `FOLDER`, to search your own photographs: `FOLDER = "~/Pictures"`. As it stands, the cell
# writes a small folder to try, with a file in it that stops half way, as files do.


# %%
def write_demo_folder(folder):
    """Save some views as JPEG files, one sub-folder a photograph, and one file that is cut off."""
    for i in range(0, len(database), 9):
        file = Path(folder) / database.column("source")[i] / f"{i:03d}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(database[i]).save(file, quality=90)
    (Path(folder) / "cut_off.jpg").write_bytes(file.read_bytes()[:1500])


# %%
FOLDER = None  # your own: FOLDER = "~/Pictures"
demo = tempfile.TemporaryDirectory()  # removed again when the kernel ends
write_demo_folder(demo.name)
mine = datasets.from_folder(demo.name if FOLDER is None else FOLDER).verify(progress=False)
mine.problems

# %% [markdown]
# The broken file is named and left out; the others are searched. With your own images there may be no labels,
# and then looking is all the measurement there is. Here the name of the sub-folder is the label.

# %%
own_retriever = Retriever(encoders.ColorHistogram()).fit(mine)
found = own_retriever.search(mine, k=max(1, min(10, len(mine) - 1)))  # each image asks, itself left out
plots.show(plots.ranked_list(found, mine, rows=range(0, len(mine), max(1, len(mine) // 3)), k=7))

# %%
if "label" in mine.table:
    print(evaluate(found, mine.relevance(), metrics=["p@1"]))
else:
    print("No sub-folders, so no labels: judge by eye, or sort some images into folders.")

# %% [markdown]
# ## Exercise 1 ★ precision at k
#
# Write the share of the first `k` results that are relevant. `relevant` is a vector of true and false,
# nearest first.
#
# <details><summary>Hint 1: the idea</summary>
#
# Cut the vector to its first k values, count the true ones, divide by k. If fewer than k results came back,
# the missing ones count as misses.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `relevant[:k].sum()` counts the true values of a NumPy vector.
#
# </details>


# %% tags=["exercise"]
def precision_at_k(relevant, k):
    """Share of relevant results among the first k: relevant (n,) bool, k int -> float."""
    raise NotImplementedError


checks.check_precision_at_k(precision_at_k)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_precision_at_k(relevant, k):
    return relevant[:k].sum() / k


checks.check_precision_at_k(solution_precision_at_k)

# %% [markdown]
# A right answer gives this picture. Why does every curve fall, and where must it?

# %%
ks = range(1, 31)
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
styles = zip(plots.style.COLOURS, [":", "-.", "--", "-"], strict=False)
for (name, r), (colour, line) in zip(rankings.items(), styles, strict=True):
    names = [f"p@{k}" for k in ks]
    precision = evaluate(r, truth, metrics=names, ties="expected", n_bootstrap=0).summary["mean"]
    ax.plot(ks, precision, line, color=colour, label=name)
ax.axvline(truth.n_positives.mean(), color="0.7", lw=1, label="relevant images of a query")
ax.set(xlabel="k (number of results)", ylabel="precision at k", ylim=(0, 1))
ax.legend(frameon=False)
words = "Precision at k against k for the four methods; a line marks the number of relevant images."
plots.show(plots.describe(ax, words))

# %% [markdown]
# ## Exercise 2 ★★ leave the query out
#
# When the query is itself in the database it finds itself, and P@1 looks wonderful. Return the first `k`
# results that are not the query. `ranked_ids` is an array of ids, nearest first.
#
# <details><summary>Hint 1: the idea</summary>
#
# The query need not stand first: an exact copy under another id may. And it need not be there at all. So do
# not count places; compare ids. Then cut.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `ranked_ids[ranked_ids != query_id]` keeps the other ids, in their order.
#
# </details>


# %% tags=["exercise"]
def leave_query_out(query_id, ranked_ids, k):
    """The first k results that are not the query: str, (n,) array of str, int -> array of at most k str."""
    raise NotImplementedError


checks.check_leave_query_out(leave_query_out)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_leave_query_out(query_id, ranked_ids, k):
    return ranked_ids[ranked_ids != query_id][:k]


checks.check_leave_query_out(solution_leave_query_out)

# %% [markdown]
# What it is worth: images of the database ask for their like by colour, once left in and once left out.

# %% tags=["claim"]
insiders = database[~pd.isna(database.column("instance"))][::4]
piece_of = database.column("instance")
first_answers = {
    "left in": by_colour.search(insiders, k=1, exclude_self=False).indices[:, 0],
    "left out": by_colour.search(insiders, k=1).indices[:, 0],
}
wanted = insiders.column("instance")
right = {name: np.mean(piece_of[first] == wanted) for name, first in first_answers.items()}
print(", ".join(f"query {name}: P@1 = {share:.2f}" for name, share in right.items()))
# Measured with SEED = 0, 1, 2, 3, all images of the database asking: 1.00 each; .15 .17 .13 .13.
assert right["left in"] > 0.99 and right["left out"] < 0.5

# %% [markdown]
# ## Exercise 3 ★★★ a histogram that knows where
#
# Cut the image into `tiles` × `tiles` tiles (as `np.array_split` cuts) and join the tiles' RGB histograms,
# row by row. A value v falls into bin `v * bins // 256`; red is the slowest axis, blue the fastest. Each tile
# weighs the same, and the whole sums to 1: the shape is `(tiles * tiles * bins ** 3,)`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two loops over tiles. In a tile, turn three bin numbers into one, (r · bins + g) · bins + b, and count how
# often each occurs.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.array_split(image, tiles, axis=0)` and `np.bincount(numbers, minlength=bins**3)`. Convert the pixels
# with `.astype(int)` first: uint8 ends at 255.
#
# </details>


# %% tags=["exercise"]
def tiled_histogram(image, tiles, bins):
    """RGB histograms of tiles: (h, w, 3) uint8, int, int -> (tiles * tiles * bins ** 3,) float."""
    raise NotImplementedError


checks.check_tiled_histogram(tiled_histogram)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_tiled_histogram(image, tiles, bins):
    histograms = []
    for band in np.array_split(image.astype(int) * bins // 256, tiles, axis=0):
        for tile in np.array_split(band, tiles, axis=1):
            r, g, b = tile.reshape(-1, 3).T
            counts = np.bincount((r * bins + g) * bins + b, minlength=bins**3)
            histograms.append(counts / len(r) / tiles**2)
    return np.concatenate(histograms)


checks.check_tiled_histogram(solution_tiled_histogram)

# %% [markdown]
# **Solution (click to open)**: and the picture it gives. Do tiles help?

# %% tags=["solution"]
tiled_scores = {}
for n_tiles in (1, 3):
    tiled_rows = [np.sqrt([solution_tiled_histogram(i, n_tiles, 4) for i in c]) for c in (queries, database)]
    tiled_ranking = Ranking(queries.ids, database.ids, *nearest(*tiled_rows, k=len(database)))
    title = f"{n_tiles} x {n_tiles} tiles"
    tiled_scores[title] = evaluate(tiled_ranking, truth, groups=asked, **how)
plots.show(plots.metric_bars(tiled_scores, metrics=scored))

# %% [markdown]
# ## What we learned
#
# - Retrieval is an encoder, a distance and a sort. The sort is easy; the encoder decides what "similar"
#   means.
# - A method is good or bad only beside others, on the same queries, with an interval and with the chance
#   level in sight.
# - What learns must learn elsewhere; the query must not count as its own answer.
# - Failures have causes that can be tested: here smooth images, which have few key points or none.
#
# ### Check yourself
#
# <details><summary>1. Why is the score of a random ranking not 0?</summary>
#
# Relevant images turn up at random ranks too; the more of them there are in the database, the higher the
# chance level.
#
# </details>
# <details><summary>2. The colour histogram of an image turned upside down: what changes?</summary>
#
# Nothing. It does not know where a colour is. That helps where views are turned, and hurts where layout
# matters.
#
# </details>
# <details><summary>3. Why may VLAD not learn its vocabulary from the database on which it is tested?</summary>
#
# It would be fitted to the very images it has to tell apart. Its score would then say little about images that are
# new.
#
# </details>
# <details><summary>4. Two queries show the same piece. Why does the bootstrap draw pieces?</summary>
#
# The two succeed or fail together. Drawn one by one they would pass for independent witnesses, and the
# interval would be too narrow.
#
# </details>
#
# ### What breaks at a million images

# %%
n_dims, million = retriever.embeddings.shape[1], 10**6
gigabytes = million * n_dims * 4 / 1e9
Markdown(
    f"A VLAD vector has {n_dims:,} numbers of 4 bytes. At a million images that is **{gigabytes:.0f} GB**, more "
    f"than most machines hold, and one query costs {million * n_dims / 1e9:.1f} billion multiplications. Shorter "
    "vectors (notebooks [03](03_cnn_features.ipynb) and [11](11_hashing.ipynb)), an index that does not "
    "look everywhere ([12](12_approximate_search.ipynb)) and embeddings kept on disk are the way out. And among a million images many look alike: precision falls too."
)

# %% [markdown]
# ## Where to go from here
#
# <!-- course:start -->
# | no. | notebook | topic | |
# |---|---|---|---|
# | 00 | [start_here](00_start_here.ipynb) | set-up check, hello retrieval, your own folder, course map | ready |
# | 01 | [measuring_retrieval](01_measuring_retrieval.ipynb) | metrics, protocols, traps, intervals, the Metric Lab | ready |
# | 02 | [local_features](02_local_features.ipynb) | SIFT, RootSIFT, visual words, VLAD, spatial verification | ready |
# | 03 | [cnn_features](03_cnn_features.ipynb) | layers, sum/max/GeM pooling, whitening, against hand-made features | ready |
# | 04 | multi_scale | pyramids, R-MAC, several layers; stability under zoom | to come |
# | 05 | [transfer_learning](05_transfer_learning.ipynb) | frozen, linear probe, what transfers to which domain | ready |
# | 06 | [domain_fine_tuning](06_domain_fine_tuning.ipynb) | adapting to a narrow domain (thermal camera, satellite); frozen, head, last blocks, all; what is forgotten | ready |
# | 07 | [metric_learning](07_metric_learning.ipynb) | contrastive, triplet mining, proxies, class-disjoint evaluation | ready |
# | 08 | self_supervised | SimCLR/BYOL/DINO-style without labels | to come |
# | 09 | attention | attention pooling, salient regions, clutter | to come |
# | 10 | transformers_and_graphs | ViT tokens; graph networks and diffusion over the neighbour graph | to come |
# | 11 | [hashing](11_hashing.ipynb) | LSH, ITQ, PQ, deep hashing; ties; bytes and latency | ready |
# | 12 | [approximate_search](12_approximate_search.ipynb) | Annoy, HNSW, IVF-PQ; recall against time and memory; beyond one machine | ready |
# | 13 | on_device | ONNX, int8, distillation; size, latency, neighbour overlap | to come |
# | 14 | [object_retrieval](14_object_retrieval.ipynb) | segmentation, proposals, region indexes, small objects | ready |
# | 15 | context_and_scenes | layout, relations, contextual re-ranking | to come |
# | 16 | text_and_images | joint embeddings, captions, composed queries | to come |
# | 17 | cross_domain | sketch to photo, CORAL, adversarial alignment | to come |
# | 18 | relevance_feedback | Rocchio, SVM, personal profiles, simulated users | to come |
# | 19 | active_learning | which images to label | to come |
# | 20 | incremental | new classes, forgetting, backward-compatible embeddings | to come |
# | 21 | explain | why similar: maps scored against masks | to come |
# | 22 | [adversarial](22_adversarial.ipynb) | attacks on retrieval, adversarial training | ready |
# | 23 | generative | GAN-made training images, memorisation checks | to come |
# | 24 | [your_own_dataset](24_your_own_dataset.ipynb) | the whole kit on a folder of yours | ready |
# <!-- course:end -->
#
# ### Further reading
#
# - Smeulders, Worring, Santini, Gupta and Jain (2000), *Content-based image retrieval at the end of the early
#   years*, TPAMI, [doi:10.1109/34.895972](https://doi.org/10.1109/34.895972). The map of the field before
#   networks; its *semantic gap* is still open.
# - Swain and Ballard (1991), *Color indexing*, IJCV,
#   [doi:10.1007/BF00130487](https://doi.org/10.1007/BF00130487). The colour histogram, and why it works as
#   well as it does.
# - Torralba, Fergus and Freeman (2008), *80 million tiny images*, TPAMI,
#   [doi:10.1109/TPAMI.2008.128](https://doi.org/10.1109/TPAMI.2008.128). How far 32 × 32 pixels go, given
#   enough of them.
# - Jégou, Douze, Schmid and Pérez (2010), *Aggregating local descriptors into a compact image
#   representation*, CVPR, [doi:10.1109/CVPR.2010.5540039](https://doi.org/10.1109/CVPR.2010.5540039). VLAD;
#   [notebook 02](02_local_features.ipynb) builds it.
# - Efron (1979), *Bootstrap methods: another look at the jackknife*, Annals of Statistics,
#   [doi:10.1214/aos/1176344552](https://doi.org/10.1214/aos/1176344552). Where the intervals come from.
# - Chen, Liu, Wang, Bakker, Georgiou, Fieguth, Liu and Lew (2023), *Deep learning for instance retrieval: a
#   survey*, TPAMI, [arXiv:2101.11282](https://arxiv.org/abs/2101.11282). Where the field is now.
#
# <!-- links:start -->
# Next: [01_measuring_retrieval](01_measuring_retrieval.ipynb)
# <!-- links:end -->
