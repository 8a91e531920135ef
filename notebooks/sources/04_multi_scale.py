# %% [markdown]
# # 04 · Multi-scale: what if the object is nearer, or farther away?
#
# **Question.** The same mug fills one photograph and is a speck in another. Does a search still find it? Which of the
# many *multi-scale* methods help, and what do they cost? And when a search is wrong, how wrong is it?
#
# **Time:** about a minute and a half to run on two cores, offline; an hour to work through. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for the numbers, [notebook 03](03_cnn_features.ipynb) for feature maps,
# pooling and R-MAC.
#
# <!-- links:start -->
# Previous: [03_cnn_features](03_cnn_features.ipynb) · [course map](00_start_here.ipynb) · Next: [05_transfer_learning](05_transfer_learning.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **build** an image pyramid, a sum of scales and a descriptor of several layers;
# - **measure** a search at every pair of zooms, and **tell** the cost of a *mismatch* from the cost of being *small*;
# - **control** for computing time: are more scales better than one larger input?
# - **score** a ranking by a hierarchy of labels, so that a wrong mug costs less than a wrong hammer;
# - **choose** scales under a budget, and defend the choice with an interval.

# %%
from dataclasses import replace
from itertools import combinations

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from cbirkit import ImageCollection, Ranking, Retriever, checks, datasets, evaluate, explore, plots
from cbirkit.encoders import ColorHistogram, Deep
from cbirkit.evaluation.resample import bootstrap_means
from cbirkit.metrics import average_precision
from cbirkit.nets import pooling

# %%
SEED = 0
torch.set_num_threads(1)

# %% [markdown]
# ## The goal
#
# **Tabletop** has rendered pictures of everyday objects, with a mask and a box for each. From every picture we make
# four: the same object, cut from the same picture, where its longer side fills 90 %, 57 %, 36 % or 22 % of the frame.
# Each step is a factor of 1.58; the nearest and the farthest differ by a factor of four. Beyond the picture's edge its
# surroundings go on, blurred.

# %%
ZOOMS = (0.9, 0.57, 0.36, 0.225)  # longer side of the object, as a fraction of the frame
NAMES = ("close", "near", "mid", "far")
MARGIN = 250  # pixels of surroundings on each side
objects = datasets.load_tabletop()


def surrounded(row):
    """One picture in the middle of its blurred, mirrored surroundings, without the object in them."""
    picture, mask = objects[row], objects.mask(row)
    empty = picture.copy()
    empty[mask > 0] = np.median(picture[mask == 0], axis=0)
    around = cv2.GaussianBlur(empty, (0, 0), 8, borderType=cv2.BORDER_REFLECT)
    wide = cv2.copyMakeBorder(around, *[MARGIN] * 4, cv2.BORDER_REFLECT)
    wide[MARGIN:-MARGIN, MARGIN:-MARGIN] = picture
    return wide


# %%
def zoomed(row):
    """The object of one picture at all zooms: frames of 128 x 128 pixels."""
    wide, (left, top, right, bottom) = surrounded(row), objects.column("box")[row]
    frames = []
    for zoom in ZOOMS:
        side = round(max(right - left, bottom - top) / zoom)
        x, y = (left + right - side) // 2 + MARGIN, (top + bottom - side) // 2 + MARGIN
        how = cv2.INTER_AREA if side > 128 else cv2.INTER_LINEAR
        frames.append(cv2.resize(wide[y : y + side, x : x + side], (128, 128), interpolation=how))
    return frames


# %% [markdown]
# The seed draws 20 of the 64 categories for the **test**, and 12 others for **validation**, on which every method
# chooses its settings. Of each category there are four objects; a query shows one of them, and relevant are the *other*
# objects of its category in the database. Another view of the query's own object is junk.

# %%
drawn = np.random.RandomState(SEED).permutation(np.unique(objects.labels))
number = np.array([int(name.split()[-1]) for name in objects.column("instance")])
rows, frames = {}, {}
for part, names in {"test": drawn[:20], "validation": drawn[20:32]}.items():
    chosen = np.isin(objects.labels, names) & (number < 4)
    for role, view in {"queries": 0, "database": 2}.items():
        rows[part, role] = np.flatnonzero(chosen & (objects.column("view") == view))
for key, those in tqdm(rows.items()):
    frames[key] = [zoomed(row) for row in those]  # (n, 4) frames
label = {key: objects.labels[those] for key, those in rows.items()}
print({key: f"{len(those)} objects, {4 * len(those)} frames" for key, those in frames.items()})

# %% tags=["gallery"]
shown = [np.flatnonzero(label["test", "queries"] == name)[0] for name in drawn[:3]]
fig, axes = plt.subplots(3, 4, figsize=(7.4, 5.7), layout="constrained")
for line, position in zip(axes, shown, strict=True):
    for ax, frame in zip(line, frames["test", "queries"][position], strict=True):
        ax.imshow(frame)
        ax.axis("off")
for ax, name, zoom in zip(axes[0], NAMES, ZOOMS, strict=True):
    ax.set_title(f"{name}: {zoom:.0%}", fontsize=13)
plots.show(plots.describe(fig, "Three objects, each at four zooms: filling the frame, and smaller and smaller in it."), dpi=84)

# %% [markdown]
# You search close-ups with a close-up, close-ups with a far picture, far pictures with a close-up, and far pictures with
# a far one. **Before you go on, predict:** in which of the four does the search fail? Would *far with far* be easy,
# since the scales agree?
#
# ## Background
#
# An **image pyramid** (Burt and Adelson 1983, *IEEE Trans. Communications*,
# [doi:10.1109/TCOM.1983.1095851](https://doi.org/10.1109/TCOM.1983.1095851)) is the same image at several sizes. The
# network, whose filters have one size, runs on each. The usual descriptor **sums the scales** (Gordo et al. 2017,
# *IJCV*, [arXiv:1610.07940](https://arxiv.org/abs/1610.07940)): with $f(x_s) \in \mathbb{R}^c$ the pooled vector of the
# image at size $s$,
#
# $$f_{\text{sum}}(x) = \frac{v}{\lVert v \rVert}, \qquad v = \sum_{s} \frac{f(x_s)}{\lVert f(x_s) \rVert}$$
#
# **R-MAC** (Tolias et al. 2016, *ICLR*, [arXiv:1511.05879](https://arxiv.org/abs/1511.05879)) has several scales in
# *one* pass: it takes the maximum in square regions of three sizes on the feature map, and sums these. **Hypercolumns**
# (Hariharan et al. 2015, *CVPR*, [arXiv:1411.5752](https://arxiv.org/abs/1411.5752)) join several *layers*, for early
# layers have small cells and late ones large cells; the **feature pyramid** (Lin et al. 2017, *CVPR*,
# [arXiv:1612.03144](https://arxiv.org/abs/1612.03144)) trains such a combination for detection.

# %%
by_size = ["image at\nseveral sizes", "network,\nat each", "vectors of\nlength 1 (c,)", "their sum"]
by_region = ["image at\none size", "network", "maximum in\nregions of 3 sizes", "their sum"]
plots.show(plots.pipeline([by_size, by_region], ["vector (c,)", "ranking"]))

# %% [markdown]
# ## Build it
#
# One pass of `Deep("lite0")` (EfficientNet-Lite0, trained on ImageNet; it has never met a rendered picture) gives the
# maps of three layers. Each is pooled by the average and by R-MAC. All vectors get length 1.

# %%
deep = Deep("lite0", device="cpu")
network, LAYERS = deep.network, ("blocks.5", "blocks.6", "bn2")  # 192, 320 and 1280 channels; the last is bn2
maps = {}
for layer in LAYERS:  # each layer leaves its map in `maps` whenever the network runs
    keep = lambda module, given, made, layer=layer: maps.__setitem__(layer, made)  # noqa: E731
    network.get_submodule(layer).register_forward_hook(keep)


def unit(vectors):
    """Vectors of length 1, along the last axis."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# %%
def encode(stacks, size):
    """{(layer, pooling, size): (n, n_zooms, c)} of n stacks of frames."""
    flat = [frame for stack in stacks for frame in stack]
    prepared, found = replace(deep.preprocessing, size=size), {}
    for start in range(0, len(flat), 16):
        with torch.inference_mode():
            network(prepared(flat[start : start + 16]))
        for layer, made in maps.items():
            for name in ("average", "rmac"):
                found.setdefault((layer, name, size), []).append(pooling.POOLINGS[name](made).numpy())
    return {key: unit(np.concatenate(parts)).reshape(len(stacks), -1, parts[0].shape[1]) for key, parts in found.items()}


# %% [markdown]
# Three input sizes. The time of a pass goes with its pixels, so we count **cost** in passes at 128 × 128: 91 pixels
# cost 0.5, 128 cost 1, 181 cost 2. The frames have 128 pixels, so 181 only enlarges them: this adds no detail, but the
# object covers more cells. The budget for one image is 2, unless a row says more.

# %%
SIZES = (91, 128, 181)
vectors = {key: {} for key in frames}
for size in tqdm(SIZES[:2]):
    for key, stacks in frames.items():
        vectors[key] |= encode(stacks, size)

# %%
for key, stacks in frames.items():
    vectors[key] |= encode(stacks, SIZES[2])

# %% [markdown]
# The sum of scales in one line, and a check that the package gives the same (there, `scales` are multiples of `size`):


# %%
def summed(found, keys):
    """Sum of the vectors named, of length 1."""
    return unit(sum(found[key] for key in keys))


few = [frame for stack in frames["test", "queries"][:2] for frame in stack]
package = Deep("lite0", device="cpu", size=128, scales=(1.0, 91 / 128)).transform(few)
ours = summed(vectors["test", "queries"], [("bn2", "average", 128), ("bn2", "average", 91)])[:2]
assert np.allclose(package, ours.reshape(len(few), -1), atol=1e-4)

# %% [markdown]
# ## Measure it
#
# ### Every zoom against every zoom
#
# A cell of the table is a search of its own: queries at one zoom, the database at another. First one size: the average of
# the last layer at 181 pixels, which is also what validation will choose below.


# %%
def cell_scores(similar, part):
    """Average precision of each query; its own object is junk, and is taken out."""
    same = label[part, "queries"][:, None] == label[part, "database"]
    own = objects.column("instance")[rows[part, "queries"]][:, None] == objects.column("instance")[rows[part, "database"]]
    order = np.argsort(-np.where(own, -np.inf, similar), axis=1, kind="stable")[:, :-1]  # its own object comes last
    return average_precision(np.take_along_axis(same, order, axis=1))


def heat(asked, stored, part="test"):
    """(4, 4, n_queries): vectors (n, 4, c) of queries and database, at each pair of zooms."""
    scores = [cell_scores(asked[:, a] @ stored[:, b].T, part) for a, b in np.ndindex(4, 4)]
    return np.reshape(scores, (4, 4, -1))


# %%
one_key = ("bn2", "average", 181)
asked, stored = (vectors["test", role][one_key] for role in ("queries", "database"))
one_size = heat(asked, stored)
ids = {role: objects.ids[rows["test", role]] for role in ("queries", "database")}
known = [objects[rows["test", role]] for role in ("queries", "database")]
truth = objects.relevance(*known, by="label", junk="instance")
check = Ranking.from_distances(1 - asked[:, 0] @ stored[:, 3].T, ids["queries"], ids["database"])
score = evaluate(check, truth, metrics=["map"], groups=label["test", "queries"]).per_query["map"]
assert np.allclose(score, one_size[0, 3], atol=1e-6)  # the same as the package's


# %%
def draw_heat(ax, table, title, **look):
    """A table of scores by zoom as a picture with numbers."""
    ax.imshow(table, **({"cmap": "viridis", "vmin": 0, "vmax": 0.9} | look))
    for (a, b), value in np.ndenumerate(table):
        ax.text(b, a, f"{value:.2f}", ha="center", va="center", fontsize=11, color="black" if look or value >= 0.6 else "white")
    ax.set_xticks(range(4), NAMES)
    ax.set_yticks(range(4), NAMES)
    ax.set(title=title, xlabel="database", ylabel="query")


# %%
fig, ax = plt.subplots(figsize=(4.4, 4), layout="constrained")
draw_heat(ax, one_size.mean(axis=-1), "mAP, one size (181)")
plots.show(plots.describe(fig, "mAP of queries at four zooms in databases at four zooms; the far row and column are darkest."))

# %% [markdown]
# Close with close works best, and every step to a smaller object makes it worse, whichever side the small object is on.
# It is tempting to stop here and say: *the scales do not match, so match them.* Look at the last cell of the diagonal
# first. In *far with far* the scales match perfectly, and it is no better than *close with far*. In this table nothing
# is gained by matching: a small object is found better, or no worse, by a large query than by a small one. What counts
# is how small the objects are, not how far apart the zooms.


# %%
def gain(better, worse):
    """Mean difference of two scores per query, and its 95 % interval, drawing categories: difference, low, high."""
    codes = np.unique(label["test", "queries"], return_inverse=True)[1]
    draws = bootstrap_means((better - worse)[:, None], codes, 2000, SEED)
    return (better - worse).mean(), *np.percentile(draws, [2.5, 97.5])


matched = {f"{NAMES[a]} in {NAMES[b]}, minus {NAMES[b]} in {NAMES[b]}": gain(one_size[a, b], one_size[b, b]) for a, b in [(0, 2), (0, 3), (1, 3)]}
pd.DataFrame(matched, index=["difference", "low", "high"]).T.round(3)

# %% tags=["claim"]
means = one_size.mean(axis=-1)
assert means[0, 0] > means[0, 3] + 0.3  # a far object is not found
assert all(middle > -0.04 for middle, _, _ in matched.values())  # and matching the zoom does not help

# %% [markdown]
# ### Is it the pixels, or the scale?
#
# A far object is 29 pixels long in its frame of 128. Perhaps too little is left of it? **The control**: cut the middle
# 32 × 32 pixels out of each far frame and enlarge them. Not one pixel is added. (An oracle: it knows where the object
# is, and how large.)

# %%
far = frames["test", "database"]
enlarged = [[cv2.resize(stack[3][48:80, 48:80], (128, 128), interpolation=cv2.INTER_LINEAR)] for stack in far]
oracle = encode(enlarged, 181)[one_key][:, 0]
by_oracle = cell_scores(asked[:, 0] @ oracle.T, "test")
pd.Series({
    "close in close": means[0, 0], "close in far": means[0, 3], "close in far, enlarged": by_oracle.mean(),
}).round(3)  # fmt: skip

# %%
fig, axes = plt.subplots(2, 6, figsize=(8.4, 2.9), layout="constrained")
for column, position in enumerate(range(0, len(far), len(far) // 6 + 1)):
    axes[0, column].imshow(far[position][3])
    axes[1, column].imshow(enlarged[position][0])
for ax in axes.ravel():
    ax.axis("off")
plots.show(plots.describe(fig, "Six far frames, and below each its middle quarter, enlarged: blurred, but easy to name."), dpi=72)

# %% tags=["claim"]
recovered = gain(by_oracle, one_size[0, 3])
print(f"enlarging gives back {recovered[0]:.2f} (from {recovered[1]:.2f} to {recovered[2]:.2f})")
assert recovered[1] > 0.2
assert by_oracle.mean() > 0.7 * means[0, 0]

# %% [markdown]
# Most of the loss comes back: the pixels are nearly enough. The network cannot use them at that size: the object covers
# one or two cells of the last map, and the average over the map mixes a little object with much table. (The control
# changes two things at once: the object is larger, and the table is cut away.) So a multi-scale method must do one of
# two things: show the object larger, or keep the table out.
#
# ### Five methods under one budget
#
# - **One size**: average of one layer, the baseline, at its best layer and size.
# - **Sum of sizes**: two or three sizes, summed.
# - **Several layers**: the averages of two or three layers of one pass, one behind the other.
# - **R-MAC**: regions of three sizes in one pass.
# - **Sum of sizes, R-MAC**: both together.
#
# Each chooses its layer and sizes on the validation categories, by its mean over all pairs of zooms. Under a budget of
# 2 only one sum can be paid for, 91 + 128, and it costs less than one pass at 181. Further down, sums may cost more.
# Vectors have the 1,280 numbers of the last layer, or fewer, except those of several layers, which have up to 1,792.

# %%
settings = []  # (method, what is joined)
for layer in LAYERS:
    for method, how in {"one size": "average", "R-MAC": "rmac"}.items():
        settings += [(method, [(layer, how, size)]) for size in SIZES]
    for method, how in {"sum of sizes": "average", "sum of sizes, R-MAC": "rmac"}.items():
        settings += [(method, [(layer, how, size) for size in some]) for some in [*combinations(SIZES, 2), SIZES]]
for size in SIZES:
    settings += [("several layers", [(layer, "average", size) for layer in some]) for some in (LAYERS, LAYERS[1:])]


def joined(found, keys):
    """Sum of vectors of one layer; vectors of several layers stand one behind the other."""
    if len({layer for layer, _, _ in keys}) == 1:
        return summed(found, keys)
    return unit(np.concatenate([found[key] for key in keys], axis=-1))


# %%
def heat_of(keys, part):
    return heat(*(joined(vectors[part, role], keys) for role in ("queries", "database")), part)


tried = []
for method, keys in tqdm(settings):
    cost = sum((size / 128) ** 2 for size in {size for _, _, size in keys})
    setting = f"{'+'.join(dict.fromkeys(layer for layer, _, _ in keys))} {'+'.join(dict.fromkeys(str(size) for _, _, size in keys))}"
    tried.append({"method": method, "setting": setting, "cost": round(cost, 1), "keys": keys, "validation": heat_of(keys, "validation").mean()})
tried = pd.DataFrame(tried)
affordable = tried[tried["cost"] <= 2]
best = affordable.loc[affordable.groupby("method")["validation"].idxmax()].set_index("method")
best[["setting", "cost", "validation"]].round(3)

# %% [markdown]
# More rows are added. **Beyond the budget**: the best sums that cost more than 2. And the control for computing time: a
# *second pass at the same size*, 128, of the mirror image. Compare it with its neighbour, in which the second pass is
# at another size, 91, and costs less, and both with a single pass at 128.

# %%
for method, group in tried[tried["cost"] > 2].groupby("method"):
    best.loc[f"{method}, beyond the budget"] = group.loc[group["validation"].idxmax()].drop("method")
mirrored = {}
for role in ("queries", "database"):
    turned = [[np.ascontiguousarray(frame[:, ::-1]) for frame in stack] for stack in frames["test", role]]
    mirrored[role] = unit(encode(turned, 128)["bn2", "average", 128] + vectors["test", role]["bn2", "average", 128])

# %%
heats = {method: heat_of(row["keys"], "test") for method, row in best.iterrows()}
heats["image and mirror image"] = heat(mirrored["queries"], mirrored["database"])
heats["sum of 91 and 128"] = heat_of([("bn2", "average", 91), ("bn2", "average", 128)], "test")
heats["one size, 128"] = heat_of([("bn2", "average", 128)], "test")
base, lines = heats["one size"], {}
overall = {method: gain(table.mean(axis=(0, 1)), base.mean(axis=(0, 1))) for method, table in heats.items()}
close = {method: gain(table[0, 0], base[0, 0]) for method, table in heats.items()}
controls = {"image and mirror image": ["bn2 128", 2.0], "sum of 91 and 128": ["bn2 91+128", 1.5], "one size, 128": ["bn2 128", 1.0]}
for method, table in heats.items():
    setting, cost = controls[method] if method in controls else best.loc[method, ["setting", "cost"]]
    words = [f"{d:+.3f} [{low:+.3f}, {high:+.3f}]" for d, low, high in (overall[method], close[method])]
    lines[method] = [setting, cost, *(f"{one.mean():.3f}" for one in (table, table[0, 0], table[0, 3])), *words]
columns = ["setting", "cost", "all pairs", "close in close", "close in far", "all pairs, minus one size", "close in close, minus one size"]
pd.DataFrame(lines, index=columns).T

# %%
fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.6), layout="constrained")
for ax, method in zip(axes, ("one size", "sum of sizes", "R-MAC"), strict=True):
    draw_heat(ax, heats[method].mean(axis=-1), f"{method}\n{best.loc[method, 'setting']}")
plots.show(plots.describe(fig, "mAP by zoom of query and database: one size, sum of sizes, R-MAC; R-MAC is brightest in every cell."))

# %% tags=["claim"]
assert overall["R-MAC"][1] > 0.01  # regions gain
assert close["R-MAC"][1] > -0.02  # at no cost to close-ups
assert overall["sum of sizes"][2] < -0.01  # within the budget the sum loses
assert overall["sum of sizes, beyond the budget"][2] < 0.02  # and beyond it, it does not win
assert overall["several layers"][2] < 0.03
best_sum = heats["sum of sizes, R-MAC, beyond the budget"].mean(axis=(0, 1))
assert gain(best_sum, heats["R-MAC"].mean(axis=(0, 1)))[2] < 0.01  # nor does a sum on top of R-MAC
second_scale = gain(heats["sum of 91 and 128"].mean(axis=(0, 1)), heats["image and mirror image"].mean(axis=(0, 1)))
assert second_scale[2] < 0.02  # a second scale is not worth more than a second pass

# %% [markdown]
# Summing scales is what many papers do, and here it **loses**: the sum contains the vector of a small input, which is
# worse, and even where it may cost more than one pass at 181 pixels it is not better, with the same pooling. Here a
# larger input does more than several scales. R-MAC gains on top of it and needs no further pass. It gains most at near
# and mid. Perhaps its regions keep some of the table out, and even the smallest of them is too large for a far object.
# (The best input is the largest one tried here; the longer run below goes up to 256 pixels.)
#
# ### What does robustness to zoom cost?
#
# One expects a price: what is robust to zoom should be worse at the same zoom. Here is every setting that was tried,
# close-ups against the cells that are three steps apart.

# %%
tests = [heat_of(keys, "test").mean(axis=-1) for keys in tried["keys"]]
tried["close in close"] = [table[0, 0] for table in tests]
tried["close and far"] = [(table[0, 3] + table[3, 0]) / 2 for table in tests]
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for mark, (method, points) in enumerate(tried.groupby("method")):
    look = {"marker": plots.style.MARKERS[mark], "color": plots.style.COLOURS[mark], "label": method, "ls": "none"}
    ax.plot(points["close in close"], points["close and far"], **look)
ax.set(xlabel="mAP, close in close", ylabel="mAP, close in far and far in close", xlim=(0, None), ylim=(0, None))
ax.legend(frameon=False, fontsize=9)
plots.show(plots.describe(ax, "Each setting by its score on close-ups and across zooms: the points rise together."))

# %% tags=["claim"]
together = tried[["close in close", "close and far"]].corr(method="spearman").iloc[0, 1]
print(f"rank correlation over {len(tried)} settings: {together:.2f}")
assert together > 0.5

# %% [markdown]
# No trade on the whole: settings that find close-ups better mostly find far objects better, with exceptions. What a
# larger input costs is computing time.

# %% [markdown]
# ### The longer run: photographs and scenes
#
# Rendered frames with blurred surroundings are not photographs, and one object is not a scene. In our longer run
# (`tools/multi_scale_runs.py`, whose table ships with the course) inputs go up to 256 pixels, and there are two other
# sets. **COCO** (Lin et al. 2014, *ECCV*, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312)): 150 objects of 38
# categories, cut out of photographs by their boxes, with their own surroundings, at the first three zooms (so *far*
# means 36 % there); objects of the query's own photograph are junk. **Scenes**: a single object asks for the rendered
# scenes that hold its category, large, medium or small. Settings are chosen on one half of the categories and reported
# on the other, and the other way round, for three draws of the halves. One method more: **asked at several sizes**
# encodes the query at several sizes, and the nearest counts; the index stays as it is.

# %%
longer = pd.read_csv(datasets.shipped_file("multi_scale.csv"))
wanted = [("coco", part) for part in ("all zooms", "close in close", "close in far", "far in far")]
wanted += [("scenes", part) for part in ("all sizes", "large", "medium", "small")]
table = longer.pivot_table("mAP", "method", ["set", "part"])[wanted]  # means of three draws; in "coco", far is the third zoom
table.loc["random order"] = longer.pivot_table("chance", "method", ["set", "part"])[wanted].mean()
table.round(3)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.4), sharey=True, layout="constrained")
for ax, (name, part) in zip(axes, {"coco": "all zooms", "scenes": "all sizes"}.items(), strict=True):
    mine = longer[(longer["set"] == name) & (longer["part"] == part) & (longer["method"] != "one size")]
    for mark, (draw, one) in enumerate(mine.groupby("seed")):
        bars = [one["difference"] - one["difference_low"], one["difference_high"] - one["difference"]]
        look = {"color": plots.style.COLOURS[mark], "marker": plots.style.MARKERS[mark], "label": f"draw {draw}"}
        ax.errorbar(one["difference"], np.arange(len(one)) + 0.22 * (mark - 1), xerr=bars, ls="none", capsize=2, **look)
    ax.axvline(0, color="0.4", lw=1)
    ax.set(title=name, xlabel="mAP, minus one size", yticks=range(len(one)), yticklabels=one["method"], ylim=(5.6, -0.6))
axes[1].legend(frameon=False, fontsize=9)
plots.show(plots.describe(fig, "Difference to one size of six methods, on COCO and on scenes, with intervals, for three draws."))

# %% [markdown]
# Large objects in scenes gain most from R-MAC; small ones are at the level of a random order with every method
# ([notebook 14](14_object_retrieval.ipynb) goes on from there). There, the sum of sizes is worth a hundredth at most,
# and several layers lose a little. Asking at several sizes helps, but adds little to R-MAC. On photographs neither the
# sum of sizes nor several layers gain; R-MAC is ahead, but not surely in every draw; R-MAC *and* a sum of sizes is
# ahead in all three. And one thing differs there: far in far is **better** than close in far. So there a mismatch of
# zooms does cost something. A likely reason, which we did not test: a real photograph has surroundings that go with the
# object (a sink stands in a kitchen), and a close-up does not show them.

# %% tags=["record"]
photographs = longer[longer["part"] == "all zooms"].set_index("method")
in_scenes = longer[longer["part"] == "all sizes"].set_index("method")
assert (in_scenes.loc["R-MAC", "difference_low"] > 0).all()
assert (in_scenes.loc["sum of sizes", "difference"] < 0.015).all()
assert (table["scenes", "small"] - table.loc["random order", ("scenes", "small")]).abs().max() < 0.01
assert (photographs.loc["R-MAC, sum of sizes", "difference_low"] > 0).all()
assert (photographs.loc["R-MAC", "difference"] > 0).all()
assert (photographs.loc[["sum of sizes", "several layers"], "difference_high"] < 0.01).all()
assert table.loc["one size", ("coco", "far in far")] > table.loc["one size", ("coco", "close in far")] + 0.02

# %% [markdown]
# ### Where it fails
#
# Close queries, and what R-MAC at 181 pixels finds for them among the far frames: the three queries for which it stays
# farthest behind the enlarged frames. The same few frames come up again and again.

# %%
far_images, close_images = (
    ImageCollection.from_arrays([stack[zoom] for stack in frames["test", role]], ids=list(ids[role]), table=part.table[["label", "instance"]])
    for role, part, zoom in (("database", known[1], 3), ("queries", known[0], 0))
)
stored_by, asked_by = (joined(vectors["test", role], best.loc["R-MAC", "keys"]) for role in ("database", "queries"))
ranking = Ranking.from_distances(1 - asked_by[:, 0] @ stored_by[:, 3].T, ids["queries"], ids["database"])
worst = np.argsort(heats["R-MAC"][0, 3] - by_oracle)[:3]
plots.show(plots.ranked_list(ranking, far_images, queries=close_images, relevance=truth, rows=[int(row) for row in worst], k=7), dpi=72)

# %% [markdown]
# ## How wrong is wrong? Coarse and fine labels
#
# For a mug, a jug is a better mistake than a hammer. The catalogue has two levels: 64 categories in seven groups
# (kitchenware, tools, toys …). Average precision knows only the lower one. **Hierarchical average precision** (H-AP,
# Ramzi et al. 2022, *ECCV*, [arXiv:2207.04873](https://arxiv.org/abs/2207.04873)) takes graded relevance $r_k \ge 0$ of
# the item at rank $k$:
#
# $$\text{H-AP} = \frac{1}{\sum_k r_k} \sum_{k:\, r_k > 0} \frac{1}{k} \sum_{j \le k} \min(r_k, r_j)$$
#
# Every relevant item is scored at its rank: it gets the smaller of its own relevance and that of each item down to its
# rank, itself among them. So an item of the right group that stands above one of the right category adds only its own,
# smaller relevance there. With $r \in \{0, 1\}$ this is average precision.
#
# By hand: relevance 1 for the category, 1/2 for the group, in the order ½, 1, 0, ½. Rank 1: ½ / 1. Rank 2: (½ + 1) / 2.
# Rank 4: (½ + ½ + ½) / 4. Together 1.625; divided by the sum of relevance, 2: **0.8125**.


# %%
def hierarchical_ap(relevance):
    """Relevance (n_queries, n) in the order of the ranking -> H-AP (n_queries,)."""
    n = relevance.shape[1]
    smaller = np.minimum(relevance[:, :, None], relevance[:, None, :])  # (n_queries, k, j)
    found = (smaller * np.tri(n)).sum(axis=2)  # np.tri: only j <= k
    return (found / np.arange(1, n + 1)).sum(axis=1) / relevance.sum(axis=1)


def by_loops(row):
    """The formula as it stands, for one query."""
    ranks = [k for k in range(len(row)) if row[k] > 0]
    return sum(sum(min(row[k], row[j]) for j in range(k + 1)) / (k + 1) for k in ranks) / sum(row)


# %%
assert np.isclose(hierarchical_ap(np.array([[0.5, 1, 0, 0.5]])), 0.8125)
some = np.random.RandomState(SEED).choice([0, 0, 0.5, 1], (50, 30))
assert np.allclose(hierarchical_ap(some), [by_loops(row) for row in some])
assert np.allclose(hierarchical_ap(some > 0.9), average_precision(some > 0.9))

# %% [markdown]
# As in the paper, the weight of a level is shared out among its items: all items of the category together weigh 1, all
# *other* items of the group together 1/2. Three controls: a **random order**; colour, which should know neither level;
# and **shuffled groups**: the same ranking, scored with categories dealt to groups of the same sizes at random. H-AP
# contains the fine level, so a good search for categories scores well under any groups. Only what exceeds the shuffled
# ones comes from the hierarchy. (Unlike in the example above, one item of a category of three weighs 1/3.)

# %%
same_label = label["test", "queries"][:, None] == label["test", "database"]
own = objects.column("instance")[rows["test", "queries"]][:, None] == objects.column("instance")[rows["test", "database"]]
group_of = dict(zip(objects.labels, objects.column("group"), strict=True))


def levels(groups):
    """Relevance (n_queries, n_database): 1 over the category, 1/2 over the rest of the group; own object 0."""
    names = [np.array([groups[one] for one in label["test", role]]) for role in ("queries", "database")]
    fine = same_label & ~own
    coarse = (names[0][:, None] == names[1]) & ~same_label
    return fine / fine.sum(axis=1, keepdims=True) + 0.5 * coarse / np.maximum(coarse.sum(axis=1, keepdims=True), 1)


# %%
def scored(similar, relevance):
    """H-AP of each query, its own object taken out."""
    order = np.argsort(-np.where(own, -np.inf, similar), axis=1, kind="stable")[:, :-1]
    return hierarchical_ap(np.take_along_axis(relevance, order, axis=1))


random = np.random.RandomState(SEED)
present = list(drawn[:20])
deals = [levels(dict(zip(present, random.permutation([group_of[name] for name in present]), strict=True))) for _ in range(20)]
colour = {role: ColorHistogram().transform([stack[0] for stack in frames["test", role]]) for role in ("queries", "database")}
regions = asked_by, stored_by
similar = {"random order": random.rand(*own.shape), "colour, close in close": colour["queries"] @ colour["database"].T}
similar |= {f"{method}, {NAMES[a]} in {NAMES[b]}": q[:, a] @ d[:, b].T
            for method, (q, d) in {"one size": (asked, stored), "R-MAC": regions}.items()
            for a, b in [(0, 0), (0, 2), (0, 3)]}  # fmt: skip

# %%
true_groups, hierarchy, excess = levels(group_of), {}, {}
for name, values in similar.items():
    real, dealt = scored(values, true_groups), np.mean([scored(values, deal) for deal in deals], axis=0)
    excess[name] = gain(real, dealt)
    fine = cell_scores(values, "test").mean()
    hierarchy[name] = {"AP of categories": fine, "H-AP": real.mean(), "H-AP, shuffled groups": dealt.mean()}
hierarchy = pd.DataFrame(hierarchy).T
hierarchy["true minus shuffled, with interval"] = [f"{d:+.3f} [{low:+.3f}, {high:+.3f}]" for d, low, high in excess.values()]
hierarchy.round({"AP of categories": 3, "H-AP": 3, "H-AP, shuffled groups": 3})

# %% tags=["claim"]
for method in ("one size", "R-MAC"):
    assert excess[f"{method}, close in close"][0] > 0.015  # mistakes tend to stay in the group
    assert hierarchy.loc[f"{method}, close in close", "H-AP"] > hierarchy.loc["random order", "H-AP"] + 0.2
    assert excess[f"{method}, close in far"][0] < excess[f"{method}, close in close"][0]
assert abs(excess["random order"][0]) < 0.02

# %% [markdown]
# The network's mistakes are not random: on close-ups they stay within the group more often than chance would have it,
# though nothing taught it these groups. The excess is small beside H-AP itself, most of which is the fine level again.
# Report H-AP together with the shuffled control. As the object gets small, the excess shrinks, too.
#
# ## Try it
#
# You search the far frames with close-ups. Compare one size with R-MAC; crop a query, or drop in a picture of your own.

# %%
pair = {"one size": Deep("lite0", device="cpu", size=181), "R-MAC": Deep("lite0", device="cpu", size=181, pooling="rmac")}
retrievers = {name: Retriever(encoder).fit(far_images) for name, encoder in pair.items()}
liked = int(np.argmax(heats["R-MAC"][0, 3] - heats["one size"][0, 3]))
explorer = explore.QueryExplorer(retrievers, queries=close_images, query=close_images.ids[liked], k=12, relevance=truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=64)

# %% [markdown]
# ## Exercise 1 ★ an image pyramid
#
# Build the levels: the image itself as floats, then again and again half its height and width, each pixel the **mean of
# four**. An odd last row or column is left out. A level whose shorter side would be below `smallest` is not made; the
# image itself always is.
#
# <details><summary>Hint 1: the idea</summary>
#
# Four pixels of a block are the same array taken from four starting points, at every second row and column. Add them as
# floats: four bytes do not fit into a byte.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `x[0:h:2, 0:w:2]` and its three neighbours with `h` and `w` even; or `reshape(h // 2, 2, w // 2, 2, -1)` and a `mean` over
# two axes.
#
# </details>


# %% tags=["exercise"]
def image_pyramid(image, smallest):
    """Image (h, w, 3) uint8, smallest side in pixels -> list of float arrays, largest first."""
    raise NotImplementedError


checks.check_image_pyramid(image_pyramid)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_image_pyramid(image_, smallest_):
    levels_ = [image_.astype(float)]
    while min(levels_[-1].shape[:2]) // 2 >= smallest_:
        h_, w_ = (side_ // 2 for side_ in levels_[-1].shape[:2])
        blocks_ = levels_[-1][: 2 * h_, : 2 * w_].reshape(h_, 2, w_, 2, -1)
        levels_.append(blocks_.mean(axis=(1, 3)))
    return levels_


checks.check_image_pyramid(solution_image_pyramid)

# %% [markdown]
# A right answer gives the upper row of this picture. The lower row keeps every second pixel instead: the stripes of the
# ground turn into other, broad stripes (aliasing), at full contrast. A mean of four weakens them; it does not remove
# them.

# %%
striped = np.tile(np.where(np.arange(128) // 2 % 3, 220, 40)[:, None, None], (1, 128, 3)).astype(np.uint8)
striped = np.where(objects.mask(0)[..., None] > 0, objects[0], striped)
fig, axes = plt.subplots(2, 4, figsize=(7.6, 3.9), layout="constrained")
pyramid = [striped]
for level in range(1, 4):
    pyramid.append(cv2.resize(striped, (128 >> level, 128 >> level), interpolation=cv2.INTER_AREA))
for column, level in enumerate(pyramid):
    axes[0, column].imshow(level)
    axes[1, column].imshow(striped[:: 2**column, :: 2**column])
    axes[0, column].set_title(f"{len(level)} pixels", fontsize=10)
for ax in axes.ravel():
    ax.axis("off")
plots.show(plots.describe(fig, "A striped picture at four sizes, by means of blocks and by leaving pixels out, which changes the stripes."), dpi=64)

# %% [markdown]
# ## Exercise 2 ★ what does a mismatch cost?
#
# The table of scores by zoom mixes two things: that zooms differ, and that one of the two objects is small. Separate
# them: from the **poorer** of the two same-zoom searches of a pair, take off the score of the pair. Above 0, the
# mismatch costs something. The cell below draws it for `means`.
#
# <details><summary>Hint 1: the idea</summary>
#
# The diagonal holds the search of every zoom with itself. Cell (i, j) has two such values; which one is smaller is a
# matter of score, not of position.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.diagonal(table)`, and a broadcast with `[:, None]` inside `np.minimum`.
#
# </details>


# %% tags=["exercise"]
def mismatch_cost(table):
    """Scores (n, n), queries at zoom i in a database at zoom j -> (n, n)."""
    raise NotImplementedError


checks.check_mismatch_cost(mismatch_cost)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_mismatch_cost(table_):
    own_ = np.diagonal(table_)
    return np.minimum(own_[:, None], own_[None]) - table_


checks.check_mismatch_cost(solution_mismatch_cost)

# %% [markdown]
# A right answer gives this picture. Below 0, the larger of the two objects helps. (Until the exercise is solved, you see
# what the solution gives; where it was taken out, nothing.)


# %%
def first_written(name, *given, kind="solution"):
    """What your function gives, or else the solution's. None: neither is written."""
    for one in (name, f"{kind}_{name}"):
        try:
            return globals()[one](*given)
        except (NotImplementedError, KeyError):
            continue


costs = first_written("mismatch_cost", means)
if costs is not None:
    fig, ax = plt.subplots(figsize=(4.2, 3.8), layout="constrained")
    draw_heat(ax, costs, "what the mismatch costs", cmap="PuOr", vmin=-0.6, vmax=0.6)
    plots.show(plots.describe(fig, "The score lacking in each pair of zooms against its poorer zoom: about zero or below."))

# %% [markdown]
# ## Exercise 3 ★★ hierarchical precision
#
# H-AP is one way to use a hierarchy. An older one compares with the *best possible order* (Deng et al. 2011, *CVPR*,
# [doi:10.1109/CVPR.2011.5995516](https://doi.org/10.1109/CVPR.2011.5995516); Barz and Denzler 2019, *WACV*,
# [arXiv:1809.09924](https://arxiv.org/abs/1809.09924)): with $s_i$ the similarity of the label at rank $i$ to the
# query's,
#
# $$\text{HP@}k = \sum_{i \le k} s_i \;\Big/\; \max_{\text{orders}} \sum_{i \le k} s_i$$
#
# Give HP@k of every query for every $k$; a query to which nothing is similar gets 0.
#
# <details><summary>Hint 1: the idea</summary>
#
# The best order of a row has its largest values first. Both sums, for all k at once, are running sums along the ranks.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.sort(similarity, axis=1)` gives the smallest first; `cumsum(axis=1)`; `np.divide(…, out=np.zeros(…), where=…)` where the
# best sum may be 0.
#
# </details>


# %% tags=["exercise"]
def hierarchical_precision(similarity):
    """Similarity (n_queries, n), best rank first -> HP@k (n_queries, n), k = 1 … n."""
    raise NotImplementedError


checks.check_hierarchical_precision(hierarchical_precision)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_hierarchical_precision(similarity_):
    ideal_ = np.sort(similarity_, axis=1)[:, ::-1].cumsum(axis=1)
    return np.divide(similarity_.cumsum(axis=1), ideal_, out=np.zeros(ideal_.shape), where=ideal_ > 0)


checks.check_hierarchical_precision(solution_hierarchical_precision)

# %% [markdown]
# A right answer looks like this at $k = 10$, with similarity 1 for the category and 1/2 for the group:

# %%
graded = np.where(same_label & ~own, 1.0, np.where(true_groups > 0, 0.5, 0.0))
at_ten = {}
for name, values in similar.items():
    order = np.argsort(-np.where(own, -np.inf, values), axis=1, kind="stable")[:, :10]
    top, ideal = np.take_along_axis(graded, order, axis=1).sum(axis=1), -np.sort(-graded, axis=1)[:, :10].sum(axis=1)
    at_ten[name] = np.mean(top / ideal)
pd.Series(at_ten, name="HP@10").round(3).to_frame()

# %% [markdown]
# ## Exercise 4 ★★★ choose under a budget, and defend it (open)
#
# Someone pays for so many passes per image. Write the choice: of the settings whose cost is **at most** the budget, the
# one with the best score, as the mean over categories of the mean over their queries; of equals the cheapest; −1 if none
# can be paid for. A query without positives has NaN and is left out.
#
# Then predict, for budgets 0.5, 1, 2 and 4, which settings win. The rows of `tried` have `cost` and `keys`, and
# `heat_of(keys, "validation").mean(axis=(0, 1))` gives one score per query. Defend the choice at budget 2 against that at
# budget 1: use `gain` on the test categories. Is the difference worth twice the time? And budget 4 against budget 2?
#
# <details><summary>Hint 1: the idea</summary>
#
# First a table of settings by categories, then its mean. The position counts among all settings, so do not drop the
# costly ones: give them minus infinity.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.nanmean(scores[:, category == name], axis=1)` for each name in `np.unique(category)`; `np.lexsort((cost, -means))` sorts by
# the last key first.
#
# </details>


# %% tags=["exercise"]
def choose_scales(scores, category, cost, budget):
    """Scores (n_settings, n_queries), category (n_queries,), cost (n_settings,), a number -> position or -1."""
    raise NotImplementedError


checks.check_choose_scales(choose_scales)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_choose_scales(scores_, category_, cost_, budget_):
    kinds_ = [np.nanmean(scores_[:, category_ == name_], axis=1) for name_ in np.unique(category_)]
    means_ = np.where(cost_ <= budget_, np.mean(kinds_, axis=0).round(9), -np.inf)
    first_ = np.lexsort((cost_, -means_))[0]
    return int(first_) if cost_[first_] <= budget_ else -1


checks.check_choose_scales(solution_choose_scales)

# %%
per_query = np.array([heat_of(keys, "validation").mean(axis=(0, 1)) for keys in tried["keys"]])
given = per_query, label["validation", "queries"], tried["cost"].to_numpy()
for budget in (0.5, 1, 2, 4):
    position = first_written("choose_scales", *given, budget)
    if position is not None:
        pick = tried.iloc[position]
        print(budget, pick["method"], pick["setting"], f"test {heat_of(pick['keys'], 'test').mean():.3f}")

# %% [markdown]
# What there is to choose from: cost against the validation score. A setting that has another above it and to its left is
# never worth its cost.

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for mark, (method, points) in enumerate(tried.groupby("method")):
    look = {"marker": plots.style.MARKERS[mark], "color": plots.style.COLOURS[mark], "label": method, "ls": "none"}
    ax.plot(points["cost"], points["validation"], **look)
ax.set(xlabel="cost of an image, in passes at 128 × 128", ylabel="mAP on validation", ylim=(0, None))
ax.legend(frameon=False, fontsize=9, ncols=2)
plots.show(plots.describe(ax, "Validation score of every setting against its cost; one pass at a larger size lies above the sums."))

# %% [markdown]
# ## What we learned
#
# - A search across zooms fails where one of the two objects is **small**, not because the zooms differ (for one size
#   and R-MAC). Only the table of *all* pairs, with its diagonal, shows that. (On photographs, whose surroundings tell
#   something, both count.)
# - The pixels of a far object are nearly enough: enlarged, most are found again. Most of the loss is in the network.
# - Summing scales did not help here. With the same pooling, one pass at the largest input was better than the sums that
#   validation chose, costlier ones among them, and a second, smaller scale was worth no more than a second pass at the
#   same size.
# - R-MAC, which has its scales inside one pass, gained here and needed no further pass; on photographs, in our longer
#   run, a sum of sizes had to be added before the gain was sure.
# - Robustness to zoom had no price in accuracy. A larger input is paid for in computing time.
# - Hierarchical AP says how wrong a mistake is, if it stands beside its shuffled control.
#
# ### Check yourself
#
# <details><summary>1. A colleague finds mAP .7 close in close, and .2 close in far, and concludes that scales must be matched. Which number is missing?</summary>
#
# Far in far. Where it is as low as close in far, matching gains nothing: far objects are hardly recognised by either
# query.
#
# </details>
# <details><summary>2. Why sum the mirror image?</summary>
#
# It is a second pass without a second scale. What it gains over one pass comes from two passes, and a sum of scales has
# to gain more.
#
# </details>
# <details><summary>3. The enlarged far frame is found. Why is that no method yet?</summary>
#
# It was told where the object is, and how large. A method has to try windows (notebook 14) and pays for each.
#
# </details>
# <details><summary>4. Two methods have the same AP, and H-AP .60 and .55. What do you check before you call the first one's mistakes better?</summary>
#
# Both under shuffled groups: only the excess over those comes from the hierarchy. And its interval, from resampling
# whole categories.
#
# </details>
#
# ### What breaks at a million images
#
# A larger input is paid once for each image in the database: at 362 pixels eight times the work of 128. The vector stays
# as long as it was, so searching costs the same. Windows multiply both. Vectors for each scale kept apart multiply the
# index ([notebook 12](12_approximate_search.ipynb)), which is why sums are popular; measure first whether they help you.
#
# ### Further reading
#
# - Tolias, Sicre and Jégou (2016), *Particular object retrieval with integral max-pooling of CNN activations*, ICLR,
#   [arXiv:1511.05879](https://arxiv.org/abs/1511.05879). R-MAC; its regions are PCA-whitened there.
# - Gordo, Almazán, Revaud and Larlus (2017), *End-to-end learning of deep visual representations for image retrieval*,
#   IJCV, [arXiv:1610.07940](https://arxiv.org/abs/1610.07940). Several resolutions, for a network *trained* to retrieve
#   landmarks: there the sum gains.
# - Lin et al. (2017), *Feature pyramid networks for object detection*, CVPR,
#   [arXiv:1612.03144](https://arxiv.org/abs/1612.03144). Several layers, once they are trained together.
# - Ramzi et al. (2022), *Hierarchical average precision training for pertinent image retrieval*, ECCV,
#   [arXiv:2207.04873](https://arxiv.org/abs/2207.04873). H-AP, and how to train for it.
# - Barz and Denzler (2019), *Hierarchy-based image embeddings for semantic image retrieval*, WACV,
#   [arXiv:1809.09924](https://arxiv.org/abs/1809.09924). Embeddings whose distances are those of a tree.
#
# <!-- links:start -->
# Previous: [03_cnn_features](03_cnn_features.ipynb) · [course map](00_start_here.ipynb) · Next: [05_transfer_learning](05_transfer_learning.ipynb)
# <!-- links:end -->
