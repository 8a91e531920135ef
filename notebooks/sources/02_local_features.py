# %% [markdown]
# # 02 · Local features: which patches agree?
#
# **Question.** A scene is photographed twice: rotated, closer, in other light, partly covered. What stays, and how far can you search with that?
#
# **Time:** a minute and a half to run, offline; 45 minutes to read, an hour for the exercises. **Before this:** notebooks
# [00](00_start_here.ipynb) and [01](01_measuring_retrieval.ipynb).
#
# <!-- links:start -->
# Previous: [01_measuring_retrieval](01_measuring_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [03_cnn_features](03_cnn_features.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **describe** patches by RootSIFT;
# - **recover** the homography between two images with RANSAC;
# - **aggregate** descriptors into one vector of a given length;
# - **defend** a gain at equal length, or equal cost, with an interval.

# %%
import importlib
import time

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from sklearn import cluster, decomposition

from cbirkit import Ranking, Retriever, checks, compare, datasets, encoders, evaluate, explore, plots, rerank
from cbirkit.datasets.photographs import read_photograph
from cbirkit.encoders.base import resize
from cbirkit.images import ImageCollection
from cbirkit.indexes import InvertedFile

SEED = 0

# %% [markdown]
# ## The goal
#
# Our images are *views* of square pieces of 15 photographs: rotated, zoomed, tilted, recoloured, partly covered.
# Views of the same piece are **relevant** to each other. 80 pieces are the *test*; 40 others are for
# *validation*, where settings are chosen. Pieces that no query shows give **distractors**, and images *set aside* to learn from.
# Skim the next four cells (bookkeeping).


# %%
def load(level):  # easy, medium or hard
    return datasets.load_photo_views(level, n_objects=120, n_views=6, n_distractors=600, random_state=SEED)


def rendered(images):  # the same images in memory
    return ImageCollection.from_arrays(list(images), ids=images.ids, table=images.table)


# %%
views = rendered(load("hard"))
piece, asks = views.column("region"), views.column("split") == "query"
spare = np.unique(piece[pd.isna(views.column("instance"))])  # pieces that no query shows
shown = np.random.RandomState(SEED).permutation(np.setdiff1d(piece, spare))
tested, tuned = np.isin(piece, shown[:80]), np.isin(piece, shown[80:])
queries, database = views[tested & asks], views[(tested & ~asks) | np.isin(piece, spare[1::2])]
sets = {"test": (queries, database), "validation": (views[tuned & asks], views[tuned & ~asks])}
aside = views[np.isin(piece, spare[::2])]

# %%
truth = {part: asked.relevance(asked, stored) for part, (asked, stored) in sets.items()}
how = {part: {"ties": "expected", "groups": asked.column("source")} for part, (asked, _) in sets.items()}
detector = encoders.SIFT(n_jobs=1)
features = {"hard": rerank.describe_images(views, detector)}  # id: (key points, descriptors), see below


class Remembered:  # a detector that looks up what was found before
    def __init__(self, level):
        self.level = level

    def describe_all(self, images, order=None):
        names = images.ids if order is None else images.ids[order]
        yield from (features[self.level][name] for name in names)


# %%
def vectors(encoder, images, level="hard"):  # (n, d), of length 1
    if "detector" in encoder.get_params():
        encoder.set_params(detector=Remembered(level))
    rows = encoder.transform(images)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def ranked(encoder, asked, stored, level="hard"):  # the whole database, by the cosine
    cosines = vectors(encoder, asked, level) @ vectors(encoder, stored, level).T
    return Ranking.from_distances(1 - cosines, asked.ids, stored.ids)


# %% [markdown]
# Of the queries from a photograph of a pagoda, this one gains most when the first 30 results are checked by their
# geometry. Above: before. Below: after (distance: minus the agreeing matches; ties by the old rank).

# %%
vlad = encoders.VLAD(32, Remembered("hard"), random_state=SEED).fit(aside)
some = queries[queries.column("source") == "china"]
before = ranked(vlad, some, database)
after = rerank.verify_ranking(before, features["hard"], n=30, n_jobs=1).ranking
truth_of_some = some.relevance(some, database)
gained = [evaluate(r, truth_of_some, groups=None, n_bootstrap=0).per_query["map"] for r in (after, before)]
query = (gained[0] - gained[1]).idxmax()

# %%
fig, axes = plt.subplots(2, 1, figsize=(8.4, 4.6), layout="constrained")
for ax, ranking, title in zip(axes, (before, after), ("by one vector", "checked by geometry"), strict=True):
    plots.ranked_list(ranking, database, queries=some, relevance=truth_of_some, rows=[query], k=6, ax=ax)
    ax.set_title(title, fontsize=11, loc="left")
plots.show(fig, dpi=90)

# %% [markdown]
# **Predict:** does it help to search again with the mean of a query and its first five results? Which photographs are hard
# for patches: a cat, a pagoda, gravel, the back of an eye?
#
# ## Background
#
# One vector finds candidates; patches decide among them.

# %%
chain = ["image", "key points\n(n, 4)", "descriptors\n(n, 128)", "one vector\n(d,)", "ranking"]
plots.show(plots.pipeline([chain], ["geometry of\nthe first 30", "new\nranking"]))

# %% [markdown]
# **Key points.** SIFT (Lowe 2004) finds blobs of every size. The **scale** $\sigma$ of a blob is the blur, in pixels, at which
# it stands out most: where a scene is twice as large, so is $\sigma$.
#
# **Descriptors.** Below, circles have radius $\sigma$, and a line shows the main direction of the gradients. What is described
# is *not* the circle but a **window** of 4 × 4 cells, $12\,\sigma$ wide, rotated to that direction. Each cell sums gradients in
# 8 directions: 128 numbers in all. So zooming or rotating the image changes them little.
#
# **RootSIFT** (Arandjelović and Zisserman 2012) makes $\sqrt{x / \lVert x \rVert_1}$ of each descriptor $x \in
# \mathbb{R}^{128}$, so that a few large numbers weigh less.


# %%
def ring(keypoint):  # the circle of radius σ and the main direction, as one line (n, 2)
    x, y, size, angle = keypoint  # size is the diameter, 2 σ
    t = np.deg2rad(angle + np.linspace(0, 360, 40))
    return np.r_[[[x, y]], [x, y] + size / 2 * np.c_[np.cos(t), np.sin(t)]]


def window(keypoint, n_cells=4):  # lines of cells, 12 σ in all: (n_lines, 2 ends, x and y)
    x, y, size, angle = keypoint
    ticks, t = np.linspace(-3 * size, 3 * size, n_cells + 1), np.deg2rad(angle)
    rows = np.array([[[ticks[0], s], [ticks[-1], s]] for s in ticks])
    return np.concatenate([rows, rows[:, :, ::-1]]) @ [[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]] + [x, y]


# %%
photograph = read_photograph("chelsea")[:, 60:420]  # (300, 360, 3)
keypoints, descriptors = encoders.SIFT(max_keypoints=80, n_jobs=1).describe(photograph)
three = keypoints[np.argsort(-keypoints[:, 2])[[4, 7, 8]]]
fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.1), layout="constrained")
for ax, some in zip(axes, (keypoints, three), strict=True):
    ax.imshow(photograph)
    [ax.plot(*ring(point).T, "w-") for point in some]
    ax.axis("off")
[axes[1].plot(*line.T, color=plots.style.SKY) for point in three for line in window(point)]
plots.show(plots.describe(fig, "Key points of a cat as circles, and three windows 12 σ wide."), dpi=62)

# %% [markdown] tags=["extra"]
# ### Blobs of every size (extra)
#
# The image $I$ of shape $(h, w)$ is blurred by Gaussians $G_\sigma$ of growing $\sigma$, and each is subtracted from the next:
#
# $$D_\sigma = (G_{k\sigma} - G_\sigma) * I \in \mathbb{R}^{h \times w}, \qquad k = 2^{1/3}$$
#
# A key point is a pixel of one of these *differences of Gaussians* that is larger, or smaller, than its 26 neighbours in
# place and scale. When $\sigma$ has doubled (an **octave**), the image is halved and all begins again.

# %% tags=["extra"]
grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.float32)
sigmas = 1.6 * 2 ** (np.arange(7) / 3)  # two octaves
octaves = np.stack([cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in sigmas])  # (7, h, w)
fig, axes = plt.subplots(2, 3, figsize=(9, 5.4), layout="constrained")
for column, n in enumerate((0, 2, 5)):
    axes[0, column].imshow(octaves[n], cmap="gray")
    axes[1, column].imshow(octaves[n + 1] - octaves[n], cmap="RdBu", vmin=-15, vmax=15)
    axes[0, column].set_title(f"σ = {sigmas[n]:.1f} pixels", fontsize=16)
[ax.axis("off") for ax in axes.ravel()]
plots.show(plots.describe(fig, "A cat, blurred more and more, and differences: blobs at each scale."), dpi=46)

# %% [markdown] tags=["extra"]
# ### How far does a descriptor see? (extra)
#
# Replace all pixels outside a square around a key point by noise, and describe the point again. If the circle were what is
# described, a square of half-width $1\,\sigma$ would be enough. The control: two *different* key points of one image.


# %% tags=["extra"]
def damaged(image, noise, point, half_width):
    """Grey image (h, w) with noise outside a square, rotated as the key point is; half_width in σ."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    dx, dy, turn = x - point.pt[0], y - point.pt[1], np.deg2rad(point.angle)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    outside = np.maximum(np.abs(along), np.abs(across)) > half_width * point.size / 2
    return np.where(outside, noise, image)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# %% tags=["extra"]
sift, survived = cv2.SIFT_create(20), []
for number, upright in enumerate(list(datasets.reference_views(queries))[::5]):
    image = cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY)
    noise = np.random.RandomState(SEED).randint(0, 256, image.shape).astype(np.uint8)
    points, rows = sift.detectAndCompute(image, None)
    for i, point in enumerate(points):
        if min(*point.pt, *(127 - np.array(point.pt))) > 4.3 * point.size:  # the window lies inside
            row = {"image": number, "another point": cosine(rows[i], rows[i - len(points) // 2])}
            for width in (1, 2, 4, 6, 7.5):
                again = sift.compute(damaged(image, noise, point, width), [point])[1]
                row[f"{width} σ"] = cosine(rows[i], again[0])
            survived.append(row)

# %% tags=["extra", "claim"]
by_image = pd.DataFrame(survived).groupby("image").mean()
left = by_image.agg(["mean", "min", "max"]).T
print(f"cosine with the undamaged descriptor, {len(survived)} key points of {len(by_image)} images")
assert left.loc["1 σ", "mean"] < left.loc["another point", "mean"] + 0.1  # the circle alone is worth as little
assert left.loc["1 σ", "mean"] + 0.2 < left.loc["6 σ", "mean"] and left.loc["7.5 σ", "mean"] > 0.95
left.round(2)

# %% [markdown] tags=["extra"]
# (Mean, lowest and highest of the images.) What lies inside the circle says hardly anything about the descriptor. The window
# decides, and half a cell beyond it, for a gradient counts in the neighbouring cells, too. So a key point at the edge of an
# object also describes what is behind it.

# %% [markdown]
# ## Build it: match two images
#
# Match each descriptor to its nearest in the other image, if the two are each other's nearest (**mutual**) and the second
# nearest is clearly farther (Lowe's **ratio test**).


# %% tags=["claim"]
def match(a, b, ratio):
    """Pairs (n_matches, 2) of rows of a (n_a, d) and b (n_b, d)."""
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)  # (n_a, n_b)
    nearest, back = distances.argmin(axis=1), distances.argmin(axis=0)
    first, second = np.sort(distances, axis=1)[:, :2].T
    kept = (back[nearest] == np.arange(len(a))) & (first < ratio * second)
    return np.stack([np.flatnonzero(kept), nearest[kept]], axis=1)


reference = datasets.reference_views(queries)  # each piece once, upright and unchanged
clean = rerank.describe_images(reference, detector)
one, other = clean[query.split("/")[0]], features["hard"][query]
assert np.array_equal(match(one[1], other[1], 0.85), rerank.match_descriptors(one[1], other[1], ratio=0.85))

# %% [markdown]
# Some matches are still wrong. A **homography** $H \in \mathbb{R}^{3 \times 3}$ maps one view of a plane to another; four
# matches fix it. **RANSAC** ([Fischler and Bolles 1981](https://doi.org/10.1145/358669.358692)) draws four matches, fits $H$, counts the matches that agree (the
# **inliers**), and draws again; the $H$ with the most inliers wins. `rerank.verify` does this with OpenCV, and refuses mirror
# images, folds, and matches on one line.

# %% tags=["gallery"]
found = rerank.verify(one, other)
ends = one[0][found.matches[:, 0], :2], other[0][found.matches[:, 1], :2]  # (n_matches, 2) each
ax = plots.match_lines(reference[query.split("/")[0]], queries[query], *ends, inliers=found.inliers)
wrong = [line for line in ax.lines if line.get_label() == "does not"] + ax.get_legend().get_lines()[:1]
plt.setp(wrong, color=plots.style.ORANGE, lw=2.5, alpha=1, zorder=3)
ax.set_title(f"One pagoda, seen twice:\n{ax.get_title()}", fontsize=13)
plots.show(ax, dpi=64)

# %% [markdown] tags=["extra"]
# ### Is the homography right? (extra)
#
# Our views were made by known homographies. How far from the corners of the view do the points of the piece land that truly
# lie there?


# %% tags=["extra"]
def corner_error(found, true, size=128):
    """Mean distance in pixels, at the corners of the view, between two homographies (3, 3)."""
    if found is None:
        return np.inf
    corners = np.array([[[0, 0], [size, 0], [size, size], [0, size]]], float) - 0.5
    points = cv2.perspectiveTransform(corners, np.linalg.inv(true))  # in the piece
    return np.linalg.norm(cv2.perspectiveTransform(points, found) - corners, axis=2).mean()


# %% tags=["extra", "claim"]
seen = [rerank.verify(clean[name.split("/")[0]], features["hard"][name]) for name in queries.ids]
true = queries.column("homography")
errors = np.array([corner_error(pair.homography, h) for pair, h in zip(seen, true, strict=True)])
many = np.array([pair.n_inliers >= 12 for pair in seen])
close = [(errors[some] < 5).mean() for some in (many, ~many)]
print(f"{many.sum()} queries with 12 inliers or more: median error {np.median(errors[many]):.2f} pixels")
print("errors below 5 pixels: {:.0%} of these, {:.0%} of the others".format(*close))
assert np.median(errors[many]) < 2.5 and close[0] > 0.85 and close[0] > close[1] + 0.3

# %% [markdown]
# ## Build it: one vector from a set
#
# $k$-means on the images set aside gives a **codebook** of $K$ centres $c_w \in \mathbb{R}^{128}$, the **visual words**. Each
# descriptor $x$ goes to its nearest word: $n_w$ of the $n$ in this image go to word $w$, and $N_w$ of $N$ images hold that
# word. A **bag of words** ([Sivic and Zisserman 2003](https://doi.org/10.1109/ICCV.2003.1238663)) counts, and weighs rare words more (*tf-idf*). **VLAD** (Jégou et al.
# 2010) adds up *where in its cell* each descriptor lies:
#
# $$v_w = \tfrac{n_w}{n} \log \tfrac{N}{N_w} \in \mathbb{R}, \qquad V_w = \sum_{x \to w} (x - c_w) \in \mathbb{R}^{128}$$
#
# So VLAD spends 128 numbers on a word. A wall of equal windows must not drown the rest: each $V_w$ is scaled to length 1
# (*intra-normalisation*, [Arandjelović and Zisserman 2013](https://doi.org/10.1109/CVPR.2013.207)). The power $\mathrm{sign}(v)\,|v|^{1/2}$ is another remedy, of counts
# ([Jégou et al. 2009](https://doi.org/10.1109/CVPR.2009.5206609)) and of sums
# ([2012](https://doi.org/10.1109/TPAMI.2011.235)).


# %%
def aggregated(descriptors, codebook):
    """VLAD (K * d,), of length 1: descriptors (n, d) and codebook (K, d)."""
    distances = np.linalg.norm(descriptors[:, None] - codebook[None], axis=2)  # (n, K)
    word = distances.argmin(axis=1)
    sums = np.stack([(descriptors[word == w] - c).sum(axis=0) for w, c in enumerate(codebook)])  # (K, d)
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-5)
    return sums.ravel() / max(np.linalg.norm(sums), 1e-5)


# %% tags=["claim"]
ours = np.stack([aggregated(features["hard"][name][1], vlad.codebook_) for name in queries.ids[:9]])
assert np.allclose(ours, vectors(vlad, queries[:9]), atol=1e-3)

# %% [markdown] tags=["extra"]
# ### The inverted file (extra)
#
# With a thousand words, the bag of an image is nearly all zeros. So turn the table around: for each word, the list of the
# images that hold it. A query reads the lists of its own words and nothing else.

# %% tags=["extra"]
settings = {"codebook": "kmeans", "assignment": "exact", "random_state": SEED}
bags = encoders.SparseBagOfWords(1000, Remembered("hard"), **settings).fit(aside)
database_bags, query_bags = bags.transform(database), bags.transform(queries)  # sparse (n, 1000)
inverted = InvertedFile().fit(database_bags)
print(f"{inverted.n_postings_ / np.prod(database_bags.shape):.1%} of the table are not zero")
lists = {}
for position, row in enumerate(database_bags):
    for word, weight in zip(row.indices, row.data, strict=True):
        lists.setdefault(word, []).append((position, weight))


# %% tags=["extra", "claim"]
def search_lists(bag):
    """Cosine distances (n_images,) of one query, a sparse row."""
    cosines = np.zeros(len(database))
    for word, weight in zip(bag.indices, bag.data, strict=True):
        for position, other_weight in lists.get(word, ()):
            cosines[position] += weight * other_weight
    return 1 - cosines


ours = np.sort(search_lists(query_bags[0]))[:10]
assert np.allclose(ours, inverted.kneighbors(query_bags[:1], 10)[0][0], atol=1e-5)

# %% [markdown] tags=["extra"]
# ### More words (extra)
#
# Large collections want many words: the more there are, the shorter the lists. $k$-means is then too slow. Descriptors drawn at
# random serve as words, and a graph over the words ([notebook 12](12_approximate_search.ipynb)) finds nearly the nearest one
# without comparing with all.

# %% tags=["extra"]
sample, costs = np.concatenate([features["hard"][name][1] for name in queries.ids[:20]]), {}
for n_words in (1000, 4000, 16_000):
    words = encoders.SparseBagOfWords(n_words, Remembered("hard"), power=0.5, random_state=SEED).fit(aside)
    words.assign(sample[:1])  # the graph is built when it is first needed
    began = time.process_time()
    near = words.assign(sample)
    spent = 1e6 * (time.process_time() - began) / len(sample)
    rows = [words.transform(part) for part in (queries, database)]
    drawn = Ranking.from_distances(1 - (rows[0] @ rows[1].T).toarray(), queries.ids, database.ids)
    score = evaluate(drawn, truth["test"], **how["test"], n_bootstrap=0)["map"]
    same = (words.set_params(assignment="exact").assign(sample) == near).mean()
    costs[n_words] = [rows[1].nnz / n_words, spent, same, score]

# %% tags=["extra", "claim"]
columns = ["images per list", "µs per descriptor", "fraction that gets the nearest word", "mAP"]
costs = pd.DataFrame(costs, index=columns).T.rename_axis("words")
assert costs[columns[2]].min() > 0.8 and costs[columns[0]].is_monotonic_decreasing
costs.round(2)

# %% [markdown] tags=["extra"]
# (Processor time of this page.) A descriptor that misses its nearest word gets one that is nearly as near.

# %% [markdown]
# ## Measure it: which vector?
#
# Two methods without patches ([notebook 00](00_start_here.ipynb)), and words and VLAD **at equal length**: 4,000 words against
# 32 × 128 = 4,096 numbers, 1,000 against 8 × 128 = 1,024. Both learn from the same images and get the power that is better in
# validation. Intervals draw whole *photographs*, whose pieces resemble each other.


# %%
def with_best_power(encoder):  # the power, 1 or 1/2, that is better on the validation images
    score = {}
    for power in (1.0, 0.5):
        ranking = ranked(encoder.set_params(power=power), *sets["validation"])
        score[power] = evaluate(ranking, truth["validation"], **how["validation"], n_bootstrap=0)["map"]
    return encoder.set_params(power=max(score, key=score.get))


codebooks = {"4,000 words": encoders.BagOfWords(4000), "VLAD, 32 words": encoders.VLAD(32)}
codebooks |= {"1,000 words": encoders.BagOfWords(1000), "VLAD, 8 words": encoders.VLAD(8)}
for encoder in codebooks.values():
    with_best_power(encoder.set_params(detector=Remembered("hard"), random_state=SEED).fit(aside))
methods = {"colour histogram": encoders.ColorHistogram(), "small image": encoders.TinyImage()} | codebooks

# %%
levels = {"hard": (queries, database)}
for level in ("easy", "medium"):
    same = load(level)
    asked, stored = levels[level] = [rendered(same[same.positions(part.ids)]) for part in (queries, database)]
    features[level] = rerank.describe_images(asked, detector) | rerank.describe_images(stored, detector)

# %%
rankings, scores = {}, {}
for level, name in [(level, name) for level in levels for name in methods]:
    ranking = rankings[level, name] = ranked(methods[name], *levels[level], level)
    scores[level, name] = evaluate(ranking, truth["test"], metrics=["map"], **how["test"]).summary.loc["map"]
scores = pd.DataFrame(scores).T[["mean", "low", "high"]].astype(float)

# %%
fig, ax = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
for place, name in enumerate(("colour histogram", "small image", "4,000 words", "VLAD, 32 words")):
    mean, low, high = scores.xs(name, level=1).loc[["easy", "medium", "hard"]].to_numpy().T
    look = {"color": plots.style.COLOURS[place], "hatch": ("", "//", "..", "xx")[place], "ec": "white"}
    ax.bar(np.arange(3) + 0.2 * place - 0.3, mean, 0.19, yerr=[mean - low, high - mean], label=name, **look)
ax.set(xticks=range(3), xticklabels=("easy", "medium", "hard"), ylabel="mAP", ylim=(0, 1.15))
ax.legend(frameon=False, ncols=4, loc="upper center")
plots.show(plots.describe(ax, "mAP of four methods at three levels: local features fall least."), dpi=80)


# %% tags=["claim"]
def gain(better, worse):
    """Difference of the mAP of two rankings, with the ends of its 95 % interval: low, difference, high."""
    row = compare({"a": better, "b": worse}, truth["test"], **how["test"], n_draws=2000).pairs.iloc[0]
    return sorted((1 if row["a"] == "a" else -1) * row[["difference", "low", "high"]].to_numpy(float))


pairs = [(level, "4,000 words", name) for level in ("medium", "hard") for name in list(methods)[:2]]
pairs += [("hard", "VLAD, 32 words", "4,000 words"), ("hard", "VLAD, 8 words", "1,000 words")]
gains = {pair: gain(rankings[pair[0], pair[1]], rankings[pair[0], pair[2]]) for pair in pairs}
assert min(gains[pair][0] for pair in pairs[:4]) > 0.05
assert gains[pairs[4]][0] > 0 and gains[pairs[4]][1] > 0.04  # at about 4,000 numbers
assert abs(gains[pairs[5]][1]) < 0.08 and gains[pairs[5]][0] < 0.02  # at about 1,000: no clear winner
pd.DataFrame(gains, index=["low", "first minus second", "high"]).T.round(3)

# %% [markdown]
# On medium and hard views, patches are far ahead of colours and small images
# (a network: [notebook 03](03_cnn_features.ipynb)). At about 4,000 numbers VLAD is ahead of words; at about 1,000 the
# interval holds 0. (The words come from other images, though partly of the same photographs.)
#
# ## Measure it: what does geometry add?
#
# **Re-ranking** (Philbin et al. 2007) verifies the first 30 results, which is what we want to spend, and puts those with
# the most inliers first. **Query expansion** (Chum et al. 2007) searches again with the mean of the query's vector and
# those of its first $n$ results: *whatever* they are (only four are relevant), or only those *verified* by so many
# inliers. The validation pieces, without distractors, choose both numbers (0 inliers: whatever). The new results can be verified, too.
# Its control: verify 60 at once, which is as much work.

# %%
best = methods["VLAD, 32 words"]
vectors_of = {part: [vectors(best, some) for some in sets[part]] for part in sets}
once = {part: ranked(best, *sets[part]) for part in sets}


def verified(ranking, n=30):
    return rerank.verify_ranking(ranking, features["hard"], n=n, n_jobs=1)


def expanded(part, n, inliers):  # a second search; 0 inliers: whatever the first n are
    ranking = checked[part].ranking if inliers else once[part]
    accepted = checked[part].accepted(inliers) if inliers else None
    return rerank.query_expansion(*vectors_of[part], ranking, n=n, accepted=accepted)


# %%
checked = {part: verified(once[part]) for part in sets}
tried = pd.DataFrame(index=[1, 2, 3, 4, 5], columns=[0, 4, 5, 6, 8, 12], dtype=float)
for n, inliers in [(n, inliers) for n in tried.index for inliers in tried]:
    again = expanded("validation", n, inliers)
    tried.loc[n, inliers] = evaluate(again, truth["validation"], **how["validation"], n_bootstrap=0)["map"]
inliers = tried.drop(columns=0).max().idxmax()
tried.rename_axis("first n", axis=0).rename_axis("inliers, at least", axis=1).round(3)

# %%
plain, first, bag = once["test"], checked["test"], rankings["hard", "4,000 words"]
again = expanded("test", tried[inliers].idxmax(), inliers)
steps = {"VLAD": plain, "30 verified": first.ranking, "60 verified": verified(plain, 60).ranking}
steps |= {f"first {n} added": expanded("test", n, 0) for n in (1, 3, 5)}
steps |= {"verified ones added": again, "these verified again": verified(again).ranking}
steps |= {"words": bag, "words, 30 verified": verified(bag).ranking}
compare(steps, truth["test"], **how["test"], n_draws=2000).summary.round(3)

# %% tags=["claim"]
pairs = [(name, "VLAD") for name in ("30 verified", "first 1 added", "first 3 added", "first 5 added")]
pairs += [(name, "30 verified") for name in ("verified ones added", "these verified again", "60 verified")]
pairs += [("words, 30 verified", "words"), ("these verified again", "60 verified")]
added = {pair: gain(*(steps[name] for name in pair)) for pair in pairs}
assert min(added[pairs[0]][0], added[pairs[7]][0]) > 0.01  # geometry adds to VLAD and to words
assert added["first 5 added", "VLAD"][1] < -0.01 and added["first 1 added", "VLAD"][1] > 0 and tried[0].idxmax() < 5
assert min(added[pairs[5]][0], added[pairs[6]][0]) > 0 and added[pairs[8]][0] < 0.02  # a longer look alone gains
pd.DataFrame(added, index=["low", "first minus second", "high"]).T.round(3)

# %% [markdown]
# Geometry adds to either vector. Adding the first five results *unverified* costs: where they are wrong, you search for
# more of the wrong. The first alone gains; for three, the interval holds 0. Adding verified ones shows no difference
# until they are verified again; that gains, and so does verifying 60 at once. Between these two the interval holds 0
# (with two other seeds it lies just above).
#
# ## Where it fails
#
# **No texture, no key points.** Each photograph at the number of key points and the mAP of its queries, after re-ranking:

# %%
final = evaluate(first.ranking, truth["test"], **how["test"], n_bootstrap=0).per_query["map"]
per_query = pd.DataFrame({"points": [len(features["hard"][name][1]) for name in final.index], "map": final})
fig, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
for name, place in per_query.groupby(queries.column("source")).mean().iterrows():
    ax.add_artist(AnnotationBbox(OffsetImage(resize(read_photograph(name), 38, 32)), place, pad=0.1))
ax.set(xscale="log", xlim=(5, 600), ylim=(0.1, 1.1), xlabel="key points per query", ylabel="mAP")
ax.set_xticks([10, 30, 100, 300], [10, 30, 100, 300])
plots.show(plots.describe(ax, "Photographs by key points and mAP: the more points, the higher."), dpi=80)

# %% tags=["claim"]
def contrast(rows):  # queries with few key points against the others, and the rank correlation
    few = rows["points"] <= per_query["points"].quantile(0.25)
    return rows["map"][~few].mean() - rows["map"][few].mean(), rows.corr("spearman").loc["points", "map"]


parts, rng = [part for _, part in per_query.groupby(queries.column("source"))], np.random.RandomState(SEED)
drawn = [contrast(pd.concat([parts[n] for n in rng.randint(0, 15, 15)])) for _ in range(1000)]
low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
assert min(low) > 0  # fifteen photographs were drawn anew
pd.DataFrame({"low": low, "found": contrast(per_query), "high": high}, ["mAP: others minus few", "rank correlation"]).round(2)

# %% [markdown]
# Both intervals lie above 0. Eye and cat do badly, gravel and pagoda well; so does the page of text, with few points. (15 photographs differ in more than texture.)
#
# ## Try it
#
# Drag a box over the query to search for a part of it.

# %%
both = {"VLAD": vlad.set_params(detector=detector), "colour histogram": encoders.ColorHistogram()}
both = {name: Retriever(encoder).fit(database) for name, encoder in both.items()}
explorer = explore.QueryExplorer(both, queries=queries, query=query, k=6, relevance=truth["test"])
plots.show(explorer.static(), dpi=80)
explorer

# %% [markdown] tags=["extra"]
# ### A doubtful label (extra)
#
# Of the results that the labels call wrong, the one with the most inliers:

# %% tags=["extra"]
wrong = truth["test"].gains(first.ranking.indices[:, :30]) == 0
row, column = np.unravel_index(np.where(wrong, first.inliers, -1).argmax(), wrong.shape)
pair = queries.ids[row], first.ranking.ids[row, column]
proof = first.verifications[pair]
ends_of = [features["hard"][name][0][proof.matches[:, n], :2] for n, name in enumerate(pair)]
print(*pair)
ax = plt.subplots(figsize=(5.6, 3.2), layout="constrained")[1]
plots.show(plots.match_lines(queries[pair[0]], database[pair[1]], *ends_of, inliers=proof.inliers, ax=ax), dpi=80)

# %% [markdown] tags=["extra"]
# Where dozens of matches agree with one homography, doubt the label first. In *grass*, a retouched texture, strips seem
# to come back, so that two of its pieces may share pixels.
#
# ### How many inliers are enough? (extra)
#
# All the pairs that were verified above, by their number of inliers:

# %% tags=["extra", "claim"]
is_right = truth["test"].gains(first.ranking.indices[:, :30]) > 0
bins = np.geomspace(4, 400, 24)
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.hist(first.inliers[is_right], bins, label="same piece")
ax.hist(first.inliers[~is_right], bins, label="another piece", histtype="step", lw=2)
ax.axvline(inliers, color="0.4", ls="--", label="added from here on")
ax.set(xlabel="inliers", ylabel="verified pairs", xscale="log", yscale="log", xticks=[4, 8, 20, 50, 100, 200])
ax.xaxis.set_major_formatter("{x:g}")
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Inliers of right and wrong pairs: wrong ones rarely have more than 8."), dpi=80)
print(f"{is_right[first.inliers >= 8].mean():.1%} of the results with 8 inliers or more show the piece of the query")
assert is_right[first.inliers >= 8].mean() > 0.9

# %% [markdown] tags=["extra"]
# ### What is used today (extra)
#
# SIFT with a ratio test is the baseline. Where viewpoint and light change a lot, learned features and matchers find more
# matches. **ALIKED** (Zhao et al. 2023, [arXiv:2304.03608](https://arxiv.org/abs/2304.03608)) and **XFeat** (Potje et al. 2024,
# [arXiv:2404.19174](https://arxiv.org/abs/2404.19174)) learn where to look and how to describe. **LightGlue** (Lindenberger et al.
# 2023, [arXiv:2306.13643](https://arxiv.org/abs/2306.13643)) replaces the ratio test: a transformer sees all key points of both
# images at once and decides which belong together. RANSAC stays. This cell was **not run** for this page: it needs a package
# and, once, a connection.


# %% tags=["extra"]
def lightglue_pairs(*two_images, n_points=1024):
    """Matched points (n, 2) and (n, 2), in pixels, of two RGB images by ALIKED and LightGlue."""
    try:
        glue, helpers = map(importlib.import_module, ("lightglue", "lightglue.utils"))
        extractor = glue.ALIKED(max_num_keypoints=n_points).eval()  # fetches weights at first use
        matcher = glue.LightGlue(features="aliked").eval()
    except (ImportError, OSError) as error:
        how_to = "online, once: pip install git+https://github.com/cvg/LightGlue, then run again"
        raise RuntimeError(f"no ALIKED and LightGlue here ({error}); {how_to}") from error
    described = [extractor.extract(helpers.numpy_image_to_torch(image)) for image in two_images]
    rows = helpers.rbd(matcher({"image0": described[0], "image1": described[1]}))["matches"].numpy()
    return [helpers.rbd(one)["keypoints"].numpy()[rows[:, n]] for n, one in enumerate(described)]


# %% tags=["extra"]
ONLINE = False  # True: fetch and run
if ONLINE:
    pagoda = reference[query.split("/")[0]]
    learned = lightglue_pairs(pagoda, queries[query])
    inside = cv2.findHomography(*learned, cv2.RANSAC, 3.0)[1].ravel() > 0
    print(f"{inside.sum()} inliers of {len(inside)} matches; SIFT had {found.n_inliers} of {len(found.matches)}")
    plots.show(plots.match_lines(pagoda, queries[query], *learned, inliers=inside), dpi=60)
else:
    print("not run: set ONLINE = True where there is a connection")

# %% [markdown]
# ## Exercise 1 ★ RootSIFT in three lines
#
# Divide each row by its sum and take the square root. A row of zeros stays zero.
# The picture adds up squares, the largest first (the solution's, until yours is written).
#
# <details><summary>Hint 1: the idea</summary>
#
# Where a sum is 0, divide by something harmless; no other sum may change.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `keepdims=True` keeps the sums as a column (n, 1), which divides row by row.
#
# </details>


# %% tags=["exercise"]
def root_sift(descriptors):
    """RootSIFT: descriptors (n, n_dims) >= 0 -> (n, n_dims)."""
    raise NotImplementedError


checks.check_root_sift(root_sift)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_root_sift(descriptors):
    sums = descriptors.sum(axis=1, keepdims=True)
    return np.sqrt(descriptors / np.maximum(sums, 1e-12))


checks.check_root_sift(solution_root_sift)

# %%
raw = encoders.SIFT(max_keypoints=80, root=False, n_jobs=1).describe(photograph)[1]
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for rows, style in ((raw, "--"), (checks.first_written("root_sift", raw), "-")):
    squares = np.sort(np.square(rows, dtype=float).reshape(-1, 128))[:, ::-1]
    ax.plot(range(1, 129), (squares / squares.sum(axis=1, keepdims=True)).mean(axis=0).cumsum(), style)
ax.set(xlabel="largest numbers kept (dashed: SIFT, solid: RootSIFT)", ylabel="fraction of squared length")
plots.show(plots.describe(ax, "The largest numbers hold more of the length of SIFT than of RootSIFT."), dpi=80)

# %% [markdown] tags=["extra"]
# ### Does RootSIFT help here? (extra)
#
# The root changes distances, so words, matches and rankings change, too. VLAD on either, same words, same images:

# %% tags=["extra", "claim"]
features["SIFT"] = {}
for name, (_, rows) in features["hard"].items():
    squares = np.square(rows)  # in proportion to SIFT
    features["SIFT"][name] = None, squares / np.linalg.norm(squares, axis=1, keepdims=True)
on_sift = encoders.VLAD(32, Remembered("SIFT"), random_state=SEED).fit(aside)
change = gain(plain, ranked(on_sift, queries, database, "SIFT"))
print("mAP with RootSIFT minus SIFT: {1:+.3f} [{0:+.3f}, {2:+.3f}]".format(*change))
assert abs(change[1]) < 0.05

# %% [markdown] tags=["extra"]
# These photographs cannot tell: the interval holds 0. The paper gained on buildings, with larger codebooks.

# %% [markdown]
# ## Exercise 2 ★★ one step of RANSAC
#
# Fit the homography that takes `source[sample]` to `target[sample]` exactly. Does each match land within `threshold` pixels of
# its target?
#
# <details><summary>Hint 1: the idea</summary>
#
# A homography acts on (x, y, 1) and gives (u, v, w); the point is at (u / w, v / w).
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `cv2.getPerspectiveTransform` wants two float32 arrays (4, 2); `np.c_` adds a column.
#
# </details>


# %% tags=["exercise"]
def ransac_step(source, target, sample, threshold):
    """Inliers of one sample: points (n, 2) and (n, 2), four row numbers, pixels -> (n,) bool."""
    raise NotImplementedError


checks.check_ransac_step(ransac_step)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_ransac_step(source, target, sample, threshold):
    four = source[sample].astype(np.float32), target[sample].astype(np.float32)
    moved = np.c_[source, np.ones(len(source))] @ cv2.getPerspectiveTransform(*four).T
    return np.linalg.norm(moved[:, :2] / moved[:, 2:] - target, axis=1) <= threshold


checks.check_ransac_step(solution_ransac_step)

# %% [markdown]
# If a fraction $w$ of the matches is right, all four of a sample are with probability $w^4$.
# The matches of the pagoda, by five ratio tests (*found*: above 80% of inliers agree);
# even four right ones fix $H$ badly if they lie close together:

# %%
rng, points = np.random.RandomState(SEED), []
for ratio in (0.8, 0.85, 0.9, 0.95, 1.0):
    pair = rerank.verify(one, other, ratio=ratio)
    a, b = one[0][pair.matches[:, 0], :2], other[0][pair.matches[:, 1], :2]
    drawn = [rng.choice(len(a), 4, replace=False) for _ in range(200)]
    agree = [np.count_nonzero(checks.first_written("ransac_step", a, b, sample, 4.0)) for sample in drawn]
    points.append((pair.inliers.mean(), (np.array(agree) > 0.8 * pair.n_inliers).mean()))
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.plot(w := np.linspace(0.3, 1), w**4, "--", label="$w^4$")
ax.plot(*np.transpose(points), "o", label="found by your step")
ax.set(xlabel="fraction w of right matches", ylabel="fraction of samples\nthat find H", ylim=(0, 1))
ax.legend(frameon=False)
plots.show(plots.describe(ax, "The fraction of samples that find H, below the curve of w to the fourth."), dpi=80)

# %% [markdown]
# ## Exercise 3 ★★★ a thousand numbers (open)
#
# You may spend 1,024 numbers on each image. VLAD spends them on 8 words. Beat it by 0.04 of mAP, on other pieces than
# above. Learn from `aside` only, with every `random_state` fixed: what else is encoded must not change an image's vector.
#
# <details><summary>Hint 1: the idea</summary>
#
# More words cost more numbers; but many of the 128 of a descriptor vary together.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `decomposition.PCA`, `cluster.KMeans`; `aggregated` takes descriptors of any length.
#
# </details>


# %% tags=["exercise"]
def short_vectors(aside, images):
    """Vectors (n_images, d), d <= 1024; both lists hold descriptors (n, 128) of images, n may be 0."""
    raise NotImplementedError


checks.check_short_vectors(short_vectors)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_short_vectors(aside, images):
    known = np.concatenate(aside)
    pca = decomposition.PCA(32, random_state=0).fit(known)
    kmeans = cluster.KMeans(32, n_init=1, random_state=0).fit(pca.transform(known))
    reduced = [pca.transform(rows) if len(rows) else rows[:, :32] for rows in images]
    return np.stack([aggregated(rows, kmeans.cluster_centers_) for rows in reduced])


checks.check_short_vectors(solution_short_vectors)

# %%
parts = [[features["hard"][name][1] for name in part.ids] for part in (aside, queries, database)]
rows = checks.first_written("short_vectors", parts[0], parts[1] + parts[2])
rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
yours = Ranking.from_distances(1 - rows[: len(queries)] @ rows[len(queries) :].T, queries.ids, database.ids)
against = {name: gain(yours, rankings["hard", name]) for name in codebooks}
pd.DataFrame(against, index=["low", "yours minus", "high"]).T.round(3)

# %% [markdown] tags=["extra"]
# ## Exercise 4 ★★ tf-idf (extra)
#
# `counts` (n_images, n_words) says how often each image holds each word. Return `n_w / n * log(N / N_w)`, each row scaled to
# length 1. An image without words, and a word that no image holds, give zeros. (The package smooths the idf, so that it is
# never 0.)
#
# <details><summary>Hint 1: the idea</summary>
#
# $N_w$ counts images, not occurrences. Three divisions can meet a zero: by $n$, by $N_w$ and by the length.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# A comparison with 0 gives booleans, which `sum(axis=0)` counts; `np.maximum` keeps zeros from below a fraction.
#
# </details>


# %% tags=["extra", "exercise"]
def tf_idf(counts):
    """Weights of visual words: counts (n_images, n_words) -> (n_images, n_words), rows of length 1 or 0."""
    raise NotImplementedError


checks.check_tf_idf(tf_idf)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_tf_idf(counts):
    idf = np.log(len(counts) / np.maximum((counts > 0).sum(axis=0), 1))
    weighted = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * idf
    return weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)


checks.check_tf_idf(solution_tf_idf)

# %% tags=["extra"]
counts = np.zeros((len(queries) + len(database), 1000), dtype=int)
for row, name in zip(counts, [*queries.ids, *database.ids], strict=True):
    np.add.at(row, bags.assign(features["hard"][name][1]), 1)
compared = {}
for label, rows in {"counts": counts, "tf-idf": checks.first_written("tf_idf", counts)}.items():
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = rows[: len(queries)] @ rows[len(queries) :].T
    compared[label] = Ranking.from_distances(1 - cosines, queries.ids, database.ids)
change = gain(compared["tf-idf"], compared["counts"])  # the idf is that of all these images
print("mAP by your tf-idf minus plain counts: {1:+.3f} [{0:+.3f}, {2:+.3f}]".format(*change))

# %% [markdown]
# ## What we learned
#
# - A descriptor's window is 12 σ wide.
# - Many inliers of one homography are rarely an accident.
# - At about 4,000 numbers VLAD is ahead of visual words; at about 1,000 neither can be told ahead.
# - Verification adds much; expansion by five unverified results (four can be right) costs; by verified ones, verified again, it gains, as a longer look does.
# - No texture, no key points.
#
# ### Check yourself
#
# <details><summary>1. Why must a match be mutual, if it passed the ratio test?</summary>
#
# Many descriptors may share one nearest; at most one of them is right.
#
# </details>
# <details><summary>2. Why do bags of words want thousands of words, and VLAD few?</summary>
#
# A count says only *which* cell, so cells must be small. VLAD says *where* in the cell.
#
# </details>
# <details><summary>3. All matches lie on one line. What is wrong with the homography?</summary>
#
# Infinitely many agree with a line.
#
# </details>
# <details><summary>4. What can re-ranking 30 results never do?</summary>
#
# Bring back rank 31. A second search can.
#
# </details>
#
# ### What breaks at a million images
#
# 1,000 descriptors of 128 bytes for each of a million photographs are 128 GB, so they stay on disk. VLAD of 4,096 floats is
# 16 GB and wants compression ([notebook 11](11_hashing.ipynb)); bags need 100,000 words, or their lists are too
# long.
#
# ### Further reading
#
# - Lowe (2004), *Distinctive image features from scale-invariant keypoints*, IJCV,
#   [doi:10.1023/B:VISI.0000029664.99615.94](https://doi.org/10.1023/B:VISI.0000029664.99615.94). SIFT.
# - Arandjelović and Zisserman (2012), *Three things everyone should know to improve object retrieval*, CVPR,
#   [doi:10.1109/CVPR.2012.6248018](https://doi.org/10.1109/CVPR.2012.6248018). RootSIFT.
# - Philbin et al. (2007), *Object retrieval with large vocabularies and fast spatial matching*, CVPR,
#   [doi:10.1109/CVPR.2007.383172](https://doi.org/10.1109/CVPR.2007.383172). Re-ranking.
# - Chum et al. (2007), *Total recall*, ICCV, [doi:10.1109/ICCV.2007.4408891](https://doi.org/10.1109/ICCV.2007.4408891). Expansion.
# - Jégou et al. (2010), *Aggregating local descriptors into a compact image representation*, CVPR,
#   [doi:10.1109/CVPR.2010.5540039](https://doi.org/10.1109/CVPR.2010.5540039). VLAD.
# - Tolias, Avrithis and Jégou (2013), *To aggregate or not to aggregate*, ICCV,
#   [doi:10.1109/ICCV.2013.177](https://doi.org/10.1109/ICCV.2013.177). ASMK joins words and VLAD.
#
# <!-- links:start -->
# Previous: [01_measuring_retrieval](01_measuring_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [03_cnn_features](03_cnn_features.ipynb)
# <!-- links:end -->
