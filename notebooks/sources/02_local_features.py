# %% [markdown]
# # 02 · Local features: which patches agree?
#
# **Question.** A thing is photographed twice, turned, tilted, half covered, in other light. Its pixels all
# differ. What stays, and how far does retrieval come with that alone, without any training labels?
#
# **Time:** about one minute to run on two cores, offline. **Before this:** [notebook 00](00_start_here.ipynb), and
# [notebook 01](01_measuring_retrieval.ipynb) for what the numbers mean.
#
# <!-- links:start -->
# Previous: [01_measuring_retrieval](01_measuring_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [03_cnn_features](03_cnn_features.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **find** and **describe** the key points of an image, and say what scale has to do with it;
# - **match** two images and **recover** the homography between them, with its error in pixels;
# - **build** visual words, an inverted file and VLAD, and show that they give what the package gives;
# - **re-rank** a result by geometry, **expand** the query with what was verified, and measure what each
#   step adds.

# %%
import importlib
import time

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from cbirkit import Ranking, Retriever, checks, compare, datasets, encoders, evaluate, explore, plots, rerank
from cbirkit.indexes import Exact, InvertedFile

SEED = 0

# %% [markdown]
# ## The goal
#
# Our images are *views*: pieces of 15 real photographs, rotated, zoomed, tilted, blurred, recoloured and partly covered,
# at three levels of difficulty. Two views are **relevant** to each other if they show the same piece. Some pieces have no
# query; their views are **distractors**, relevant to nothing. Half of the distractor pieces are set aside for learning
# codebooks: what learns must learn elsewhere.


# %%
def load(level):
    """Queries, database and the images set aside for codebooks, of one level."""
    views = datasets.load_photo_views(level, n_objects=50, n_views=6, n_distractors=200, random_state=SEED)
    pieces = views.column("region")
    spare = np.unique(pieces[pd.isna(views.column("instance"))])  # pieces that are never asked for
    split = np.where(np.isin(pieces, spare[::2]), "aside", views.column("split"))
    return views.with_columns(split=split).split(parts=("query", "database", "aside"))


sets = {level: load(level) for level in ("easy", "medium", "hard")}
queries, database, others = sets["hard"]
truth, asked = queries.relevance(queries, database), queries.column("instance")
print(len(queries), "queries,", len(database), "database images,", len(others), "set aside")

# %% [markdown]
# A query, what VLAD finds for it, and the same after looking at the geometry of the first 30 results. The
# rest of this notebook takes apart what happens here.

# %%
retriever = Retriever(encoders.VLAD(random_state=SEED)).fit(database, encoder_images=others)
ranking = retriever.search(queries, k=None)
features = {level: {} for level in sets}  # the local features of each image, found once and used throughout
for level, parts in sets.items():
    for part in parts:
        features[level] |= rerank.describe_images(part)
local = features["hard"]
verified = rerank.verify_ranking(ranking, local, n=30)

# %%
per_query = {
    "before": evaluate(ranking, truth, metrics=["map"], ties="expected", n_bootstrap=0).per_query["map"],
    "after": evaluate(verified.ranking, truth, metrics=["map"], ties="expected", n_bootstrap=0).per_query["map"],
}
shown = (per_query["after"] - per_query["before"]).idxmax()  # the query that gains most
plots.show(plots.ranked_list(ranking, database, queries=queries, relevance=truth, rows=[shown], k=7), dpi=80)

# %%
plots.show(plots.ranked_list(verified.ranking, database, queries=queries, relevance=truth, rows=[shown], k=7), dpi=80)

# %% [markdown]
# ## Background
#
# ### Key points and scale space
#
# Seen from twice as far, a thing is half as wide and high. So SIFT (Lowe 2004, *IJCV*,
# [doi:10.1023/B:VISI.0000029664.99615.94](https://doi.org/10.1023/B:VISI.0000029664.99615.94)) looks for points at
# all scales. The image $I$ of shape $(h, w)$ is blurred by Gaussians $G_\sigma$ of growing standard deviation
# $\sigma$ (pixels), and each is subtracted from the next; that is the *difference of Gaussians*:
#
# $$D_\sigma = (G_{k\sigma} - G_\sigma) * I, \qquad k = 2^{1/3}$$
#
# A **key point** is a pixel of some $D_\sigma$ that is larger, or smaller, than its 26 neighbours in place
# and scale. The patch to be described is a multiple of its $\sigma$ wide, so that it grows with the thing.
# One **octave** is a doubling of $\sigma$; then the image is halved.

# %%
reference = datasets.reference_views(queries)
image = reference[shown.split("/")[0]]
grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
sigmas = 1.6 * 2 ** (np.arange(6) / 3)  # (6,)
octave = np.stack([cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in sigmas])  # (6, h, w)
difference = np.diff(octave, axis=0)  # (5, h, w)
fig, axes = plt.subplots(2, 5, figsize=(10, 4.3), layout="constrained")
for column in range(5):
    axes[0, column].imshow(octave[column], cmap="gray")
    axes[1, column].imshow(difference[column], cmap="RdBu", vmin=-25, vmax=25)
    axes[0, column].set_title(f"σ = {sigmas[column]:.2f} px", fontsize=10)
for ax in axes.ravel():
    ax.axis("off")
words = "Above: one image, blurred more and more. Below: differences of neighbours, with blobs at each scale."
plots.show(plots.describe(fig, words), dpi=54)

# %% [markdown]
# On the left, the strongest key points that SIFT finds in it. The circle is *not* the patch: its radius is $\sigma$, and
# the line is the main direction of the gradients. The patch is much larger, as the right side shows for three
# of them: a **window** of 4 × 4 cells, each 3 $\sigma$ wide, so 12 $\sigma$ in all. It is turned by the main direction
# before it is described, so that a turned image gives the same descriptor: 4 × 4 cells of 8 gradient directions,
# 128 numbers.


# %%
def window(keypoint, half_width=6, n_cells=4):
    """Lines (2 * n_cells + 2, 2, 2) of the grid of cells around a key point: line, end, x and y."""
    x, y, size, angle = keypoint
    edge = half_width * size / 2  # size is the diameter of the circle, 2 σ
    ticks = np.linspace(-edge, edge, n_cells + 1)
    rows = [[[-edge, t], [edge, t]] for t in ticks]
    columns = [[[t, -edge], [t, edge]] for t in ticks]
    turn = np.deg2rad(angle)
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.array(rows + columns) @ turned + [x, y]


# %%
keypoints, descriptors = encoders.SIFT(max_keypoints=60).describe(image)
room = np.minimum(keypoints[:, :2], 127 - keypoints[:, :2]).min(axis=1)  # to the nearest edge
whole = keypoints[room > 3 * keypoints[:, 2]]  # their windows lie inside the image
three = whole[np.argsort(-whole[:, 2])[:6][[0, 1, -1]]]
print("key points", keypoints.shape, "descriptors", descriptors.shape)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, some in zip(axes, (keypoints, three), strict=True):
    ax.imshow(image)
    for x, y, size, angle in some:
        ax.add_patch(plt.Circle((x, y), size / 2, fill=False, color=plots.style.COLOURS[1]))
        end = size / 2 * np.exp(1j * np.deg2rad(angle))
        ax.plot([x, x + end.real], [y, y + end.imag], color="white", lw=1)
    ax.set(xlim=(-0.5, 127.5), ylim=(127.5, -0.5), xlabel="x (pixels)", ylabel="y (pixels)")
axes[1].plot(*np.concatenate([window(one) for one in three]).T, color=plots.style.SKY, lw=1)
words = "Key points as circles of radius σ; on the right three of them with windows 12 σ wide."
plots.show(plots.describe(fig, words), dpi=64)

# %% [markdown] tags=["extra"]
# ### How far does a descriptor see? (extra)
#
# Destroy all pixels outside a square around a key point, turned as the key point is, with noise, and
# describe the point again. If the circle were the patch, a square of half-width 1 $\sigma$ would be enough. The
# control: how similar are the descriptors of two *different* key points of an image?


# %% tags=["extra"]
def damaged(shade, noise, point, half_width):
    """A grey image (h, w), noise outside a turned square around a key point; half_width in σ."""
    y, x = np.mgrid[: shade.shape[0], : shade.shape[1]]
    dx, dy, turn = x - point.pt[0], y - point.pt[1], np.deg2rad(point.angle)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    outside = np.maximum(np.abs(along), np.abs(across)) > half_width * point.size / 2
    return np.where(outside, noise, shade)


def cosine(a, b):
    """Cosine of two vectors (d,)."""
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


# %% tags=["extra"]
sift, survived = cv2.SIFT_create(20), []
for name in reference.ids[::4]:
    shade = cv2.cvtColor(reference[name], cv2.COLOR_RGB2GRAY)
    noise = np.random.RandomState(SEED).randint(0, 256, shade.shape).astype(np.uint8)
    points, whole = sift.detectAndCompute(shade, None)
    for i, point in enumerate(points):
        if min(*point.pt, *(127 - np.array(point.pt))) > 3 * point.size:  # the window lies inside
            row = {"image": name, "another point": cosine(whole[i], whole[i - len(points) // 2])}
            for width in (1, 2, 4, 6, 7.5):
                broken = damaged(shade, noise, point, width)
                row[f"{width} σ"] = cosine(whole[i], sift.compute(broken, [point])[1][0])
            survived.append(row)

# %% tags=["extra", "claim"]
by_image = pd.DataFrame(survived).groupby("image").mean()
left = by_image.mean()
print(f"cosine with the whole descriptor, {len(survived)} key points of {len(by_image)} images")
print(by_image.agg(["mean", "min", "max"]).T.round(2).to_string())
assert left["1 σ"] < left["another point"] + 0.1  # the circle alone is worth as little
assert left["1 σ"] + 0.2 < left["6 σ"] and left["7.5 σ"] > 0.95

# %% [markdown] tags=["extra"]
# (The mean over images, and the lowest and highest image.) What lies inside the circle says hardly anything about the
# descriptor. The window decides, and half a cell beyond it, since each gradient is divided among the cells next to it.
# So a key point close to the edge of a thing also describes what stands behind the thing.

# %% [markdown]
# **RootSIFT** (Arandjelović and Zisserman 2012, *CVPR*,
# [doi:10.1109/CVPR.2012.6248018](https://doi.org/10.1109/CVPR.2012.6248018)) divides a descriptor $x \in
# \mathbb{R}^{128}$ by its sum and takes the root, $\sqrt{x / \lVert x \rVert_1}$. Euclidean distances then compare
# histograms by Hellinger's distance, in which a few large numbers count for less. You will write it below, in three
# lines.
#
# ### From sets to one vector
#
# A **codebook** of $K$ words $c_1, \dots, c_K \in \mathbb{R}^{128}$ comes from k-means: centres so placed that each
# descriptor has one close by. A **bag of visual words**
# (Sivic and Zisserman 2003, *ICCV*, [doi:10.1109/ICCV.2003.1238663](https://doi.org/10.1109/ICCV.2003.1238663))
# counts: with $n_w$ of the $n$ descriptors of an image nearest to word $w$, and $N_w$ of $N$ images holding $w$, the
# weight is $v_w = \frac{n_w}{n} \log \frac{N}{N_w}$, which is called *tf-idf*. **VLAD** (Jégou et al. 2010, *CVPR*,
# [doi:10.1109/CVPR.2010.5540039](https://doi.org/10.1109/CVPR.2010.5540039)) adds up where in its cell each
# descriptor lies: $v_w = \sum_{x \to w} (x - c_w) \in \mathbb{R}^{128}$.

# %% [markdown]
# ## Build it
#
# ### Matching two images
#
# Match each descriptor to its nearest in the other image, then throw out what is doubtful: the two must be
# each other's nearest, and the second nearest must be clearly farther (Lowe's **ratio test**).


# %%
def match(a, b, ratio):
    """Pairs (n_matches, 2) of rows: descriptors a (n_a, d) and b (n_b, d), mutual and unambiguous."""
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)  # (n_a, n_b)
    nearest, back = distances.argmin(axis=1), distances.argmin(axis=0)
    first, second = np.sort(distances, axis=1)[:, :2].T
    kept = (back[nearest] == np.arange(len(a))) & (first < ratio * second)
    return np.stack([np.flatnonzero(kept), nearest[kept]], axis=1)


reference_features = rerank.describe_images(reference)
one, other = reference_features[shown.split("/")[0]], local[shown]
pairs = match(one[1], other[1], ratio=0.85)
print(len(one[1]), "and", len(other[1]), "descriptors,", len(pairs), "matches")

# %% tags=["claim"]
assert np.array_equal(pairs, rerank.match_descriptors(one[1], other[1], ratio=0.85))

# %% [markdown]
# ### RANSAC
#
# Matches are never all right. **RANSAC** (Fischler and Bolles 1981, *CACM*,
# [doi:10.1145/358669.358692](https://doi.org/10.1145/358669.358692)) draws four matches, computes the **homography**
# $H \in \mathbb{R}^{3 \times 3}$ that they fix (the map between two views of a plane), counts how many of the others
# agree (the *inliers*), and begins again; the homography with the most inliers wins. `rerank.verify` does this with
# OpenCV and refuses what cannot be a view of the same thing: matches on one line, mirror images, folds.

# %%
check = rerank.verify(one, other)
ends = one[0][check.matches[:, 0]], other[0][check.matches[:, 1]]
plots.show(plots.match_lines(image, queries[shown], *ends, inliers=check.inliers), dpi=60)

# %% [markdown]
# Is this homography the right one? Here the truth is known. Take the points of the reference that truly lie
# at the corners of the view, send them through what RANSAC found, and measure how far from the corners they
# land.


# %%
def corner_error(found, true, size=128):
    """Mean distance in pixels, at the corners of the view, between two homographies (3, 3) to it."""
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], float)[None] - 0.5
    seen = cv2.perspectiveTransform(corners, np.linalg.inv(true))  # where the corners are in the reference
    return np.linalg.norm(cv2.perspectiveTransform(seen, found) - corners, axis=2).mean()


shown_error = corner_error(check.homography, queries.column("homography")[queries.positions([shown])[0]])
print(f"{shown}: {check.n_inliers} inliers, corner error {shown_error:.2f} pixels")

# %%
rows = []
for name, true in zip(queries.ids, queries.column("homography"), strict=True):
    found = rerank.verify(reference_features[name.split("/")[0]], local[name])
    error = np.inf if found.homography is None else corner_error(found.homography, true)
    rows.append({"query": name, "inliers": found.n_inliers, "corner error": error})
recovered = pd.DataFrame(rows).set_index("query")
many = recovered[recovered["inliers"] >= 12]
summary = {
    "all queries": (recovered["corner error"] < 5).mean(),
    f"the {len(many)} with 12 inliers or more": (many["corner error"] < 5).mean(),
}
pd.Series(summary).round(3).to_frame("share with a corner error below 5 pixels")

# %% [markdown]
# One of those with many inliers, chosen by eye:

# %% tags=["gallery"]
clear = "flower_2_1/1" if "flower_2_1/1" in recovered.index else recovered["inliers"].idxmax()
piece = clear.split("/")[0]
agreed = rerank.verify(reference_features[piece], local[clear])
ends = reference_features[piece][0][agreed.matches[:, 0]], local[clear][0][agreed.matches[:, 1]]
ax = plots.match_lines(reference[piece], queries[clear], *ends, inliers=agreed.inliers)
ax.set_title(f"One thing, seen twice:\n{ax.get_title()}", fontsize=13)
plots.show(ax, dpi=64)

# %% tags=["claim"]
print(f"median corner error with 12 inliers or more: {many['corner error'].median():.2f} pixels")
assert shown_error < 5
assert many["corner error"].median() < 2.5
assert summary[f"the {len(many)} with 12 inliers or more"] > 0.85

# %% [markdown]
# ### VLAD in ten lines
#
# Two corrections belong to it. **Intra-normalisation** (Arandjelović and Zisserman 2013, *CVPR*,
# [doi:10.1109/CVPR.2013.207](https://doi.org/10.1109/CVPR.2013.207)) scales the sum of each word to length 1: a wall
# of equal windows must not drown everything else. The **power law** $\mathrm{sign}(v) |v|^{p}$ (Jégou et al. 2012,
# *TPAMI*, [doi:10.1109/TPAMI.2011.235](https://doi.org/10.1109/TPAMI.2011.235)) is the older remedy for the same ill.


# %%
def vlad(descriptors, codebook, power=1.0, intra=True):
    """One vector (K * d,) of length 1: descriptors (n, d) and codebook (K, d)."""
    distances = np.linalg.norm(descriptors[:, None] - codebook[None], axis=2)  # (n, K)
    word = distances.argmin(axis=1)
    sums = np.stack([(descriptors[word == w] - c).sum(axis=0) for w, c in enumerate(codebook)])  # (K, d)
    sums = np.sign(sums) * np.abs(sums) ** power
    if intra:
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-5)
    return sums.ravel() / max(np.linalg.norm(sums), 1e-5)


by_hand = np.stack([vlad(local[name][1], retriever.encoder_.codebook_) for name in database.ids[:5]])

# %% tags=["claim"]
agreement = (by_hand * retriever.embeddings[:5]).sum(axis=1)
print("cosine with the package's VLAD:", agreement.round(5))
assert (agreement > 0.999).all()

# %% [markdown]
# ### Visual words and the inverted file
#
# With a thousand words an image of a hundred descriptors is nearly all zeros. So turn the table around: for
# each word, the list of images that hold it. A query looks at the lists of its own words and at nothing
# else. The encoders below take their descriptors from what was found above, through a small detector that
# only looks them up.


# %%
class Remembered:
    """A detector that returns the features found before."""

    def __init__(self, found):
        self.found = found

    def describe_all(self, images, order=None):
        yield from (self.found[name] for name in (images.ids if order is None else images.ids[order]))


bags = encoders.SparseBagOfWords(1000, Remembered(local), codebook="kmeans", assignment="exact").fit(others)
database_bags, query_bags = bags.transform(database), bags.transform(queries)  # sparse (n, 1000)
inverted = InvertedFile().fit(database_bags)
print(f"{inverted.n_postings_ / np.prod(database_bags.shape):.1%} of the table are not zero")


# %%
def search_by_lists(query, lists, n_images):
    """Cosine distances (n_images,) of one query {word: weight}, from lists {word: [(image, weight), …]}."""
    scores = np.zeros(n_images)
    for word, weight in query.items():
        for position, other_weight in lists.get(word, ()):
            scores[position] += weight * other_weight
    return 1 - scores


lists = {}
for position, row in enumerate(database_bags):
    for word, weight in zip(row.indices, row.data, strict=True):
        lists.setdefault(word, []).append((position, weight))
first_query = dict(zip(query_bags[0].indices, query_bags[0].data, strict=True))

# %% tags=["claim"]
listed = np.sort(search_by_lists(first_query, lists, len(database)))[:10]
assert np.allclose(listed, inverted.kneighbors(query_bags[:1], 10)[0][0], atol=1e-5)

# %% [markdown]
# ### A hundred thousand words, and what they cost
#
# Large collections want large codebooks: the more words, the shorter the lists, and the better two instances are told
# apart. K-means with 100,000 words is out of reach here; drawing descriptors at random as words is free, and a graph
# over the words ([notebook 12](12_approximate_search.ipynb)) finds nearly the nearest one without comparing all. To
# have so many descriptors at all, the images set aside are rendered larger, and every extremum is kept, however weak.

# %%
larger = {"n_objects": 50, "n_views": 6, "n_distractors": 240, "image_size": 256}
large = datasets.load_photo_views("hard", **larger, random_state=SEED)
large = large[np.isin(large.column("region"), others.column("region"))]
everything = encoders.SIFT(None, contrast_threshold=0.0)
large_features = rerank.describe_images(large, everything)
pool = np.concatenate([d for _, d in large_features.values()])  # (n_descriptors, 128)
sample = np.concatenate([local[name][1] for name in queries.ids[:10]])
print(f"{len(pool):,} descriptors of {len(large)} images")

# %%
costs = []
for n_words in (10_000, min(100_000, len(pool))):
    words = encoders.SparseBagOfWords(n_words, Remembered(large_features), idf=False)
    began = time.perf_counter()
    words.fit(large).assign(sample[:1])  # the graph is built when it is first needed
    fitted = time.perf_counter()
    assigned = words.assign(sample)
    spent = time.perf_counter() - fitted
    same = (words.set_params(assignment="exact").assign(sample) == assigned).mean()
    costs.append((n_words, words.codebook_.nbytes / 1e6, fitted - began, 1e6 * spent / len(sample), same))
columns = ["words", "megabytes", "seconds to fit", "µs to assign one", "share that finds the nearest"]
pd.DataFrame(costs, columns=columns).set_index("words").round(2)

# %% [markdown]
# Seconds are those of the machine that built this page. The share says what the short cut costs: the missed
# ones get a word that is nearly as near.

# %% tags=["claim"]
assert costs[-1][0] == 100_000 and costs[-1][-1] > 0.8

# %% [markdown]
# ## Measure it
#
# Four methods, three levels, the same queries for all: two that know only colours (see
# [notebook 00](00_start_here.ipynb)), a bag of 1,000 visual words, and VLAD with 64 words.

# %%
rankings, spread, vectors = {}, [], {}
for level, (asking, stored, aside) in sets.items():
    detector = Remembered(features[level])
    methods = {
        "colour histogram": encoders.ColorHistogram(),
        "small image": encoders.TinyImage(),
        "visual words": encoders.BagOfWords(1000, detector, random_state=SEED),
        "VLAD": encoders.VLAD(64, detector, random_state=SEED),
    }
    for name, encoder in methods.items():
        encoder.fit(aside)
        vectors[level, name] = rows_q, rows_d = encoder.transform(asking), encoder.transform(stored)
        distances, found = Exact().fit(rows_d).kneighbors(rows_q, len(stored))
        rankings[level, name] = Ranking(asking.ids, stored.ids, found, distances)

# %% [markdown]
# The intervals are a bootstrap over *pieces*, because each piece is asked for by two queries.

# %%
truths = {level: asking.relevance(asking, stored) for level, (asking, stored, _) in sets.items()}
how = {"ties": "expected", "groups": asked}
scores = {key: evaluate(r, truths[key[0]], metrics=["map"], **how) for key, r in rankings.items()}
table = pd.DataFrame({key: s.summary.loc["map", ["mean", "low", "high"]] for key, s in scores.items()}).T
table.round(3)

# %%
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
colours = [plots.style.COLOURS[n] for n in (1, 2, 4, 3)]  # as in notebook 00
for place, name in enumerate(["colour histogram", "small image", "visual words", "VLAD"]):
    part = table.xs(name, level=1)
    gaps = np.abs(part[["low", "high"]].to_numpy(float).T - part["mean"].to_numpy(float))
    at = np.arange(len(part)) + 0.2 * place - 0.3
    style = {"color": colours[place], "hatch": ["", "//", "..", "xx"][place], "ec": "white"}
    ax.bar(at, part["mean"].astype(float), 0.19, yerr=gaps, label=name, **style)
ax.set(xticks=range(3), xticklabels=part.index, ylabel="mAP", ylim=(0, 1.2), xlabel="level")
ax.legend(frameon=False, ncols=4, fontsize=9, loc="upper center")
plots.show(plots.describe(ax, "mAP of four methods at three levels; local features fall least."))

# %% [markdown]
# And what does geometry add? On *hard*: **Re-ranking** (Philbin et al. 2007, *CVPR*,
# [doi:10.1109/CVPR.2007.383172](https://doi.org/10.1109/CVPR.2007.383172)) verifies the first 30 results and puts
# those with the most inliers first. **Query expansion** (Chum et al. 2007, *ICCV*,
# [doi:10.1109/ICCV.2007.4408891](https://doi.org/10.1109/ICCV.2007.4408891)) searches again with the mean of the
# query and its first results. If those are wrong, it searches for more of the wrong; so compare taking the first
# three, whatever they are, with taking only those that were verified.

# %%
hard = {name: r for (level, name), r in rankings.items() if level == "hard"}
verified = rerank.verify_ranking(hard["VLAD"], local, n=30)
trusted = verified.accepted(min_inliers=8)
hard_vectors = vectors["hard", "VLAD"]
hard["VLAD + average expansion"] = rerank.query_expansion(*hard_vectors, hard["VLAD"], n=3)
hard["VLAD + re-ranking"] = verified.ranking
hard["VLAD + re-ranking + verified expansion"] = rerank.query_expansion(
    *hard_vectors, verified.ranking, n=5, accepted=trusted
)
right = truth.gains(verified.ranking.indices)[trusted] > 0
print(f"{trusted.sum()} results were verified, {right.mean():.1%} of them rightly")

# %%
hard_scores = {name: evaluate(r, truth, metrics=["map", "p@1"], **how) for name, r in hard.items()}
means = {name: s.summary["mean"] for name, s in hard_scores.items()}
pd.DataFrame(means).T.round(3)


# %%
def gain(level, better, worse):
    """Paired difference of mAP between two methods on one level: mean, low, high."""
    chosen = hard if level == "hard" else {name: r for (where, name), r in rankings.items() if where == level}
    both = {name: chosen[name] for name in (better, worse)}
    row = compare(both, truths[level], **how, n_draws=2000, random_state=SEED).pairs.iloc[0]
    sign = 1 if row["a"] == better else -1
    return tuple(sorted(sign * row[["difference", "low", "high"]].to_numpy(float)))


names = [(m, w) for m in ("visual words", "VLAD") for w in ("colour histogram", "small image")]
gains = {(level, *pair): gain(level, *pair) for level in ("medium", "hard") for pair in names}
extra = [("VLAD", "visual words"), ("VLAD + re-ranking", "VLAD"), ("VLAD + average expansion", "VLAD")]
extra += [("VLAD + re-ranking + verified expansion", worse) for worse in ("VLAD", "VLAD + re-ranking")]
gains |= {("hard", *pair): gain("hard", *pair) for pair in extra}
pd.DataFrame(gains, index=["low", "difference", "high"]).T.round(3)

# %% [markdown]
# What this notebook claims about methods stands in one cell: the interval of each of these paired differences lies above
# zero, with a margin.

# %% tags=["claim"]
for level in ("medium", "hard"):
    for pair in names:
        assert gains[(level, *pair)][0] > 0.05, (level, pair)
assert gains["hard", "VLAD", "visual words"][0] > 0.05
assert gains["hard", "VLAD + re-ranking", "VLAD"][0] > 0.01
assert right.mean() > 0.9

# %% [markdown]
# **At equal size.** The VLAD above has eight times as many numbers as the bag of words. Does it win because it is
# longer? Compare 1,000 words with VLAD of 8 words (1,024 numbers), and 4,000 with 32 (4,096 numbers). Counts get
# their best weight, too: the power ½ damps a word that fills an image (Jégou et al. 2009, *CVPR*,
# [doi:10.1109/CVPR.2009.5206609](https://doi.org/10.1109/CVPR.2009.5206609)), if that is better on *medium*.


# %%
def ranked_by(encoder, level):
    asking, stored, aside = sets[level]
    encoder.set_params(detector=Remembered(features[level]), random_state=SEED).fit(aside)
    rows_q, rows_d = encoder.transform(asking), encoder.transform(stored)
    distances, found = Exact().fit(rows_d).kneighbors(rows_q, len(stored))
    return Ranking(asking.ids, stored.ids, found, distances)


def score_on_medium(power, n_words):
    counted = ranked_by(encoders.BagOfWords(n_words, power=power), "medium")
    return evaluate(counted, truths["medium"], metrics="map", **how)["map"]


# %%
rows = []
for n_words, n_centres in ((1000, 8), (4000, 32)):
    on_medium = {power: score_on_medium(power, n_words) for power in (1.0, 0.5)}
    power = max(on_medium, key=on_medium.get)
    pair = f"VLAD, {n_centres} words", f"{n_words:,} words"
    hard[pair[0]] = ranked_by(encoders.VLAD(n_centres), "hard")
    hard[pair[1]] = ranked_by(encoders.BagOfWords(n_words, power=power), "hard")
    means_of = [evaluate(hard[name], truth, metrics="map", **how)["map"] for name in pair]
    rows.append([*pair, power, *means_of, *gain("hard", *pair)])
columns = ["a", "b", "power of b", "mAP of a", "mAP of b", "low", "difference", "high"]
equal_size = pd.DataFrame(rows, columns=columns).set_index(["a", "b"])
equal_size.round(3)

# %% tags=["claim"]
assert equal_size["low"].iloc[1] > 0.02  # at about 4,000 numbers

# %% [markdown]
# (Intervals of the paired difference on *hard*, drawn by piece.) A large part of VLAD's lead in the table further up is
# its length and the plain weight of the counts. Read the rest from the intervals: where one contains zero, these queries
# cannot tell the two methods apart.

# %%
best = hard_scores["VLAD + re-ranking + verified expansion"]["map"]
low, middle, high = gains["hard", "VLAD + re-ranking + verified expansion", "VLAD + re-ranking"]
verdict = "above zero" if low > 0 else "not above zero: on this set we may not claim that it helps"
Markdown(
    f"On *hard*, mAP goes from {hard_scores['VLAD']['map']:.3f} (VLAD) to "
    f"{hard_scores['VLAD + re-ranking']['map']:.3f} (re-ranked) to {best:.3f} (expanded). Of the last step the "
    f"paired interval is {low:+.3f} to {high:+.3f}, which is {verdict}. The images are small and the warps are "
    "ours: these numbers compare methods with one another and do not stand beside published ones."
)

# %% [markdown]
# ### Where it fails
#
# **Texture-poor pieces.** The queries with the lowest average precision after re-ranking:

# %%
final = evaluate(verified.ranking, truth, metrics=["map"], ties="expected", n_bootstrap=0).per_query["map"]
worst = final.sort_values(kind="stable").index[:3]
plots.show(plots.ranked_list(verified.ranking, database, queries=queries, relevance=truth, rows=[*worst], k=7), dpi=72)

# %%
n_points = pd.Series({name: len(local[name][1]) for name in queries.ids})
few = n_points <= n_points.quantile(0.25)
relation = n_points.corr(final, method="spearman")
print("key points of the worst:", n_points[worst].to_dict())
print(f"mAP {final[few].mean():.3f} of the quarter with fewest key points, {final[~few].mean():.3f} of the others")
print(f"rank correlation of key points and average precision: {relation:.2f}")

# %% tags=["claim"]
assert final[~few].mean() > final[few].mean() + 0.15
assert relation > 0.2

# %% [markdown]
# **Repeated structure.** Bricks, letters, windows and stars look alike wherever they are. Of all the results that
# the labels call wrong, the one on which most matches agree:

# %%
wrong = truth.gains(verified.ranking.indices[:, :30]) == 0
row, column = np.unravel_index(np.where(wrong, verified.inliers, -1).argmax(), wrong.shape)
deceived, deceiver = queries.ids[row], verified.ranking.ids[row, column]
proof = verified.verifications[deceived, deceiver]
ends = local[deceived][0][proof.matches[:, 0]], local[deceiver][0][proof.matches[:, 1]]
print(f"{deceived} and {deceiver}: {proof.n_inliers} inliers, and yet not the same piece")
plots.show(plots.match_lines(queries[deceived], database[deceiver], *ends, inliers=proof.inliers), dpi=52)

# %% [markdown]
# Where dozens of matches agree to a pixel, doubt the label before the geometry. If the pair above shows *grass*:
# that photograph is a retouched texture in which strips come back (the notes of `load_photo_views` say how we
# measured it), so its pieces share pixels that the labels call different. Verified matches are a good way to find
# such mistakes in a data set of yours. All the verified pairs together:

# %%
false = np.where(wrong, verified.inliers, 0).ravel()
true = np.where(wrong, 0, verified.inliers).ravel()
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.arange(4, max(true.max(), false.max()) + 3, 2)
ax.hist(true[true > 0], bins, label="same piece", color=plots.style.COLOURS[0])
ax.hist(false[false > 0], bins, label="another piece", histtype="step", lw=2, color=plots.style.COLOURS[1])
ax.axvline(8, color="0.4", ls="--", lw=1, label="trusted from here on")
ax.set(xlabel="inliers (matches)", ylabel="verified pairs", yscale="log")
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Inliers of right and of wrong pairs: wrong ones rarely have more than eight."))

# %% [markdown] tags=["extra"]
# ### What is used today (extra)
#
# SIFT with a ratio test is the baseline; learned features and learned matchers find more matches where viewpoint and
# light change a lot. **ALIKED** (Zhao et al. 2023, *IEEE TIM*, [arXiv:2304.03608](https://arxiv.org/abs/2304.03608)) and
# **XFeat** (Potje et al. 2024, *CVPR*, [arXiv:2404.19174](https://arxiv.org/abs/2404.19174)) learn where to look and how to
# describe; **LightGlue** (Lindenberger et al. 2023, *ICCV*, [arXiv:2306.13643](https://arxiv.org/abs/2306.13643)) is a
# transformer that sees all key points of both images at once and decides which belong together, in place of the ratio
# test. RANSAC stays. The cell below is **not run** for this page: it needs a package and, once, a connection for the
# weights. It compares the inliers of both on the pair from above.


# %% tags=["extra"]
def lightglue_pairs(*two_images, n_points=1024):
    """Matched points (n, 2) and (n, 2), in pixels, of two RGB images by ALIKED and LightGlue."""
    try:
        glue, utils = map(importlib.import_module, ("lightglue", "lightglue.utils"))
        extractor = glue.ALIKED(max_num_keypoints=n_points).eval()  # fetches weights at first use
        matcher = glue.LightGlue(features="aliked").eval()
    except (ImportError, OSError) as error:
        how_to = "online, once: pip install git+https://github.com/cvg/LightGlue, then run again"
        raise RuntimeError(f"no ALIKED and LightGlue here ({error}); {how_to}") from error
    found = [extractor.extract(utils.numpy_image_to_torch(one)) for one in two_images]
    pairs = utils.rbd(matcher({"image0": found[0], "image1": found[1]}))["matches"].numpy()
    return [utils.rbd(one)["keypoints"].numpy()[pairs[:, n]] for n, one in enumerate(found)]


# %% tags=["extra"]
ONLINE = False  # True: fetch and run
if ONLINE:
    ends = lightglue_pairs(image, queries[shown])
    inliers = cv2.findHomography(*ends, cv2.RANSAC, 3.0)[1].ravel() > 0
    print(f"{inliers.sum()} inliers of {len(inliers)} matches; SIFT had {check.n_inliers}")
    plots.show(plots.match_lines(image, queries[shown], *ends, inliers=inliers), dpi=60)
else:
    print("not run: set ONLINE = True where there is a connection")

# %% [markdown]
# ## Try it
#
# Drag a box over the query to search for a part of it. How small may the part be? And what does the colour
# histogram make of the grey pieces?

# %%
both = {"VLAD": retriever, "colour histogram": Retriever(encoders.ColorHistogram()).fit(database)}
explorer = explore.QueryExplorer(both, queries=queries, query=shown, k=12, relevance=truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=56)

# %% [markdown]
# ## Exercise 1 ★ RootSIFT in three lines
#
# Divide each row by its sum and take the square root. A row of zeros stays zero.
#
# <details><summary>Hint 1: the idea</summary>
#
# One sum a row, kept as a column so that it divides the row. Where it is 0, divide by something else.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `descriptors.sum(axis=1, keepdims=True)` and `np.maximum(sums, 1e-12)`.
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

# %% [markdown]
# A right answer gives this picture: the largest of the 128 numbers weigh less than before.

# %%
plain = encoders.SIFT(max_keypoints=60, root=False).describe(image)[1]
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
for rows_of, label, dash, colour in ((plain, "SIFT", "--", plots.style.VERMILLION), (descriptors, "RootSIFT", "-", plots.style.BLUE)):
    shares = np.sort(rows_of**2 / (rows_of**2).sum(axis=1, keepdims=True), axis=1)[:, ::-1].mean(axis=0)
    ax.plot(np.arange(1, 129), shares.cumsum(), dash, color=colour, label=label)
ax.set(xlabel="largest numbers taken", ylabel="share of the squared length", ylim=(0, 1.02))
ax.legend(frameon=False)
plots.show(plots.describe(ax, "The largest numbers of SIFT hold more of its squared length than RootSIFT's."))

# %% [markdown]
# ## Exercise 2 ★★ tf-idf
#
# `counts` (n_images, n_words) says how often each image holds each word. Return `n_w / n * log(N / N_w)`,
# each row scaled to length 1. An image without words, and a word that no image holds, give zeros.
#
# <details><summary>Hint 1: the idea</summary>
#
# N_w counts images, not occurrences. Three divisions can meet a zero: by n, by N_w and by the length.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `(counts > 0).sum(axis=0)`, and `np.maximum(…, 1)` under the first two fractions.
#
# </details>


# %% tags=["exercise"]
def tf_idf(counts):
    """Weights of visual words: counts (n_images, n_words) -> (n_images, n_words), rows of length 1 or 0."""
    raise NotImplementedError


checks.check_tf_idf(tf_idf)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_tf_idf(counts):
    idf = np.log(len(counts) / np.maximum((counts > 0).sum(axis=0), 1))
    weighted = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * idf
    return weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-12)


checks.check_tf_idf(solution_tf_idf)

# %% [markdown]
# A right answer gives this picture: frequent words weigh little. (The package's idf is smoothed and never 0.)

# %%
holding = np.sort(np.asarray((database_bags > 0).sum(axis=0)).ravel())[::-1]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
axes[0].plot(holding, color=plots.style.BLUE)
axes[0].set(xlabel="word, by frequency", ylabel="images that hold it")
axes[1].plot(np.log(len(database) / np.maximum(holding, 1)), color=plots.style.BLUE)
axes[1].set(xlabel="word, by frequency", ylabel="log(N / N_w)")
plots.show(plots.describe(fig, "How many images hold each word, and its weight: rare words weigh most."))

# %% [markdown]
# ## Exercise 3 ★★★ one step of RANSAC
#
# Fit the homography that takes `source[sample]` to `target[sample]` exactly, four points each, and say for
# every match whether it lands within `threshold` pixels of its target.
#
# <details><summary>Hint 1: the idea</summary>
#
# Write each point as (x, y, 1), multiply by H, divide by the third number. Then measure distances.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `cv2.getPerspectiveTransform(a, b)` takes float32 points (4, 2); `np.c_[source, np.ones(len(source))] @
# H.T`.
#
# </details>


# %% tags=["exercise"]
def ransac_step(source, target, sample, threshold):
    """Inliers of one sample: points (n, 2) and (n, 2), rows (4,), pixels -> (n,) bool."""
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
# How often must one draw? If a share $w$ of the matches is right, a sample of four is right with
# probability $w^4$. For a 99 % chance of at least one right sample:

# %%
shares = np.linspace(0.1, 0.9, 81)
draws = np.log(0.01) / np.log(1 - shares**4)
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ax.semilogy(shares, draws, color=plots.style.BLUE)
ax.set(xlabel="share of right matches", ylabel="samples to draw")
plots.show(plots.describe(ax, "Samples to draw against the share of right matches: many thousands to a few."))

# %% [markdown]
# ## What we learned
#
# - Local patches, found at their own scale and turned to their own direction, survive much that spoils a comparison of
#   whole images pixel by pixel.
# - A codebook makes one vector of a set of patches: counts (visual words) or residuals (VLAD).
# - Geometry is evidence. A dozen matches on one homography are rarely an accident, and the homography
#   they give is right to a few pixels.
# - What query expansion adds on top of re-ranking has to be measured; here the interval above decides, and it does not
#   always leave out zero.
# - Where there is no texture there are no features, and repeated structure gives false evidence.
#
# ### Check yourself
#
# <details><summary>1. Why must a match be mutual, if the ratio test is passed already?</summary>
#
# Many descriptors of one image may have the same nearest descriptor in the other. At most one of them can
# be right.
#
# </details>
# <details><summary>2. Why do visual words want thousands of words, and VLAD only 64?</summary>
#
# A count only says *which* cell a descriptor fell into, so cells must be small. A residual says *where* in
# the cell it lies.
#
# </details>
# <details><summary>3. All matches lie on one line. What is wrong with RANSAC's homography?</summary>
#
# It is not determined: infinitely many homographies agree on a line. `rerank.verify` refuses it and says so.
#
# </details>
# <details><summary>4. Re-ranking looks at 30 results. What can it never do?</summary>
#
# Bring back what stands at rank 31 or beyond. Query expansion can, because it searches again.
#
# </details>
#
# ### What breaks at a million images

# %%
n_descriptors = np.mean([len(d) for _, d in local.values()])
bag_bytes = 8 * database_bags.nnz / database_bags.shape[0]
Markdown(
    f"An image here has {n_descriptors:.0f} descriptors; at 128 bytes each, a million images need "
    f"{n_descriptors * 128 / 1e3:.0f} GB for re-ranking alone, and usual photographs ten times that. An "
    f"inverted file needs {bag_bytes:.0f} bytes an image, {bag_bytes / 1e3:.1f} GB in all; with 1,000 words its "
    "lists are hundreds of thousands of images long, hence codebooks of 100,000 words and more. VLAD of "
    f"{retriever.embeddings.shape[1]:,} numbers has to be compressed ([notebook 11](11_hashing.ipynb)). And the 30 results that are re-ranked are few among a million."
)

# %% [markdown]
# ### Further reading
#
# - Lowe (2004), *Distinctive image features from scale-invariant keypoints*, IJCV,
#   [doi:10.1023/B:VISI.0000029664.99615.94](https://doi.org/10.1023/B:VISI.0000029664.99615.94). Still the
#   clearest account of scale, orientation and matching.
# - Arandjelović and Zisserman (2012), *Three things everyone should know to improve object retrieval*,
#   CVPR, [doi:10.1109/CVPR.2012.6248018](https://doi.org/10.1109/CVPR.2012.6248018). RootSIFT, and two ways
#   to expand.
# - Philbin, Chum, Isard, Sivic and Zisserman (2007), *Object retrieval with large vocabularies and fast
#   spatial matching*, CVPR, [doi:10.1109/CVPR.2007.383172](https://doi.org/10.1109/CVPR.2007.383172). Large
#   codebooks and re-ranking.
# - Chum, Philbin, Sivic, Isard and Zisserman (2007), *Total recall*, ICCV,
#   [doi:10.1109/ICCV.2007.4408891](https://doi.org/10.1109/ICCV.2007.4408891). Why expansion needs
#   verification.
# - Tolias, Avrithis and Jégou (2013), *To aggregate or not to aggregate: selective match kernels for image
#   search*, ICCV, [doi:10.1109/ICCV.2013.177](https://doi.org/10.1109/ICCV.2013.177). ASMK joins visual
#   words and VLAD.
#
# <!-- links:start -->
# Previous: [01_measuring_retrieval](01_measuring_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [03_cnn_features](03_cnn_features.ipynb)
# <!-- links:end -->
