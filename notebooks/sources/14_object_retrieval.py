# %% [markdown]
# # 14 · Object retrieval: how do you search for a thing rather than for an image?
#
# **Question.** One vector says what an image is like as a whole. A thing that takes up one twentieth of it hardly moves
# that vector. How can a search find the thing, say where it is, and what does that cost?
#
# **Time:** about a minute and a half to run on two cores, offline. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for the numbers, [notebook 03](03_cnn_features.ipynb) for feature maps
# and pooling.
#
# <!-- links:start -->
# Previous: 13_on_device (still to come), then [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: 15_context_and_scenes (still to come), then [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **cut** an image into regions in three ways: by colour, by a network that learned to, by sliding windows;
# - **embed** all regions of an image from one pass of a network, by averaging its feature map under masks;
# - **search** by the best region, for one thing or for two together, and show where it was found;
# - **measure** what that gains by the size of the thing, and what it costs in vectors and milliseconds;
# - **tell** a wrong cut from a wrong scale, and mend the second without a larger index.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from cbirkit import Ranking, checks, compare, datasets, evaluate, explore, objects, plots
from cbirkit.datasets.scenes import object_relevance
from cbirkit.encoders import Deep
from cbirkit.explore.object_view import outlined
from cbirkit.objects import Felzenszwalb, Region, RegionQuery, RegionRetriever, Segmenter, pool_regions

# %%
SEED = 0
torch.set_num_threads(1)

# %% [markdown]
# ## The goal
#
# The database holds drawn scenes of two to four things, in three sizes. A query is one thing among others, with a
# mask around it, as somebody would draw it. Relevant is a scene that holds **this very thing**: its shape, colours
# and texture, turned and lit differently. Everything is known about drawn scenes, so what is found can be checked to
# the pixel.

# %%
choose = {"classes": "unseen", "n_instances": 6, "n_views": 1, "size": 128, "random_state": SEED}
database = datasets.load_scenes("multi", **choose)
asked = datasets.load_scenes("clutter", **choose)
queries = [RegionQuery(asked[i], asked.mask(i) > 0, name=str(asked.ids[i])) for i in range(len(asked))]
SIZES = ("small", "medium", "large")
truth = {size: object_relevance(asked, database, by="instances", size=size) for size in SIZES}
truth["all"] = object_relevance(asked, database, by="instances")
print(f"{len(queries)} queries, {len(database)} scenes, {truth['all'].n_positives.mean():.1f} right ones a query")

# %% [markdown]
# Below: one query, with its mask outlined, and what one vector for each image and the regions find for it. In the
# lower row the outline is the region by which the image was found.

# %%
encoder = Deep("tiny", layer="blocks.10", size=320, device="cpu")
by_whole = RegionRetriever(encoder, progress=False).fit(database, regions=[[]] * len(database))
by_region = RegionRetriever(encoder, Segmenter(device="cpu"), progress=False).fit(database)
ready = [by_whole.embedded(query) for query in queries]  # embedded once, for all searches
found = {"one vector an image": by_whole.search(ready, k=len(database))}
found["regions"] = by_region.search(ready, k=len(database))


# %%
def judged(name):
    """Average precision of each query."""
    return evaluate(found[name].ranking, truth["all"], metrics=["map"], n_bootstrap=0).per_query["map"]


gain = judged("regions") - judged("one vector an image")
typical = int(np.argsort(gain.to_numpy())[int(0.6 * len(gain))])  # a query that gains about what most do


# %%
def draw_results(ax, result, query, n=7):
    """A row: the query, then what was found with its region; right ones by a mark."""
    right = truth["all"].gains(result.ranking.indices)[query] > 0
    rows = [(outlined(queries[query].image, [Region.from_mask(queries[query].region)], 128), "query")]
    for rank in range(n):
        picture = database[int(result.ranking.indices[query, rank])]
        rows.append((outlined(picture, result.regions[query][rank], 128), f"{rank + 1}. " + ("right" if right[rank] else "wrong")))
    for place, (picture, words) in enumerate(rows):
        left = place * 1.1 + (0.25 if place else 0)
        ax.imshow(picture, extent=(left, left + 1, 1, 0))
        colour = {"right": plots.style.GREEN, "wrong": plots.style.VERMILLION}.get(words.split()[-1], "black")
        ax.text(left, 1.04, words, va="top", fontsize=8, color=colour, weight="bold" if "right" in words else None)
    ax.set(xlim=(0, 9.1), ylim=(1.25, -0.02))
    ax.axis("off")


# %% tags=["gallery"]
fig, axes = plt.subplots(2, 1, figsize=(9.6, 3.5), layout="constrained")
for ax, (name, result) in zip(axes, found.items(), strict=True):
    draw_results(ax, result, typical)
    ax.set_title(f"{name}: average precision {judged(name).iloc[typical]:.2f}", fontsize=15, loc="left")
plots.show(plots.describe(fig, "A masked thing, and the first seven scenes that one vector an image and regions find; regions outlined."), dpi=92)

# %% [markdown]
# ## Background
#
# [Notebook 02](02_local_features.ipynb) finds a thing again by its key points and their geometry. Here a network
# looks at regions, which also works for things without corners. Three papers stand behind this. **Selective search**
# (Uijlings et al. 2013, *IJCV*, [doi:10.1007/s11263-013-0620-5](https://doi.org/10.1007/s11263-013-0620-5)) begins
# with the small even segments of Felzenszwalb and Huttenlocher (2004, *IJCV*,
# [doi:10.1023/B:VISI.0000022288.19776.77](https://doi.org/10.1023/B:VISI.0000022288.19776.77)), joins the two most
# similar neighbours again and again, and takes every segment on the way as a **proposal**: a region that may be a
# thing. **U-Net** (Ronneberger et al. 2015, *MICCAI*, [arXiv:1505.04597](https://arxiv.org/abs/1505.04597)) learns
# from masks which pixel belongs to a thing. **Detect-to-Retrieve** (Teichmann et al. 2019, *CVPR*,
# [arXiv:1812.01584](https://arxiv.org/abs/1812.01584)) indexes regions for the search of landmarks.
#
# A region with the mask $m$ gets the average of the feature map $F$ of shape $(c, h, w)$
# ([notebook 03](03_cnn_features.ipynb)), each cell weighted by the share $m_{ij}$ of it that the mask covers. A query
# $q$, a region itself, is compared with the regions $r$ of an image:
#
# $$x_r = \frac{\sum_{ij} m_{ij}\, F_{:,ij}}{\sum_{ij} m_{ij}}, \qquad D(q, \text{image}) = \min_{r} \; \bigl(1 - \cos(x_q, x_r)\bigr)$$
#
# By the minimum, an image is as near as its best region. The network runs **once for each image**, however many regions
# there are.

# %% [markdown]
# ## Build it
#
# ### Masked pooling
#
# The mask has more pixels than the map has cells, so it is brought to the grid by area. A thing smaller than a cell then
# still has a share of it. The package does the same for masks and grids of any size.

# %%
picture, mask = database[0], database.mask(0) == 1
feature_map = encoder.feature_maps([picture])[0]  # (c, h, w)
c, h, w = feature_map.shape
fine = np.kron(mask, np.ones((h, w)))  # each pixel in h x w parts: (128 h, 128 w)
shares = fine.reshape(h, 128, w, 128).mean(axis=(1, 3))  # (h, w): share of each cell
vector = (feature_map * shares).sum(axis=(1, 2)) / shares.sum()  # (c,)
vector /= np.linalg.norm(vector)
assert np.allclose(vector, pool_regions(feature_map, [Region.from_mask(mask)])[0], atol=1e-5)
print(f"the map has {c} channels in {h} x {w} cells; this thing covers {shares.sum():.1f} of them")

# %%
fig, axes = plt.subplots(1, 3, figsize=(8.4, 2.9), layout="constrained")
axes[0].imshow(outlined(picture, [Region.from_mask(mask)], 256))
axes[1].imshow(shares, cmap="gray", vmin=0, vmax=1)
axes[2].imshow(np.linalg.norm(feature_map, axis=0), cmap="viridis")
for ax, title in zip(axes, ("a thing and its mask", "share of each cell", "length of the map's vectors"), strict=True):
    ax.set_title(title, fontsize=10)
    ax.axis("off")
plots.show(plots.describe(fig, "A scene with one thing outlined; the mask on the 20 x 20 grid of the map; how long the map's vectors are."))

# %% [markdown]
# ### Three ways to cut an image
#
# - **By colour.** Superpixels (SLIC, Achanta et al. 2012, *TPAMI*,
#   [doi:10.1109/TPAMI.2012.120](https://doi.org/10.1109/TPAMI.2012.120), or Felzenszwalb's segments), joined step by
#   step. What stands out from its surroundings ranks first. **GrabCut** (Rother et al. 2004, *ACM TOG*,
#   [doi:10.1145/1015706.1015720](https://doi.org/10.1145/1015706.1015720)) needs a box, and finds what is inside:
#   good for a query, not for a database.
# - **By a network that learned to.** `Segmenter`, a small U-Net, was trained on scenes whose masks are known, of
#   other classes than those here. It knows nothing of photographs; for these there is `TorchvisionSegmenter` (Mask
#   R-CNN, DeepLab) where their weights can be had.
# - **By not looking.** Sliding windows of three sizes: the honest baseline, which everything else has to beat.

# %%
cuts = {"windows": objects.SlidingPyramid(), "SLIC": objects.SLIC(), "Felzenszwalb": Felzenszwalb(), "network": Segmenter(device="cpu")}
example = next(i for i, sizes in enumerate(database.column("sizes")) if len(set(sizes)) == 3)
fig, axes = plt.subplots(1, 5, figsize=(11.5, 2.7), layout="constrained")
boxes = database.column("boxes")[example]
cuts_drawn = {"GrabCut in a box": objects.GrabCut(boxes[0] + np.array([-6, -6, 6, 6]))} | cuts
for ax, (name, proposer) in zip(axes, cuts_drawn.items(), strict=True):
    regions = proposer.propose(database[example])
    ax.imshow(outlined(database[example], regions[:6], 256))
    ax.set_title(f"{name}: {len(regions)}", fontsize=10)
    ax.axis("off")
plots.show(plots.describe(fig, "One scene cut in five ways, the first six regions of each outlined, and how many there are."))

# %% [markdown]
# How good is a cut? For every thing, the largest **overlap** (intersection over union of the masks) that any region
# reaches:


# %%
def things_of(i):
    """The true regions of a scene."""
    mask = database.mask(i)
    return [Region.from_mask(mask == number) for number in np.unique(mask) if number]


def best_overlaps(regions, i):
    """For each thing of a scene, its size and the best overlap."""
    pairs = zip(database.column("sizes")[i], things_of(i), strict=False)
    return [(size, max((objects.mask_iou(region, thing) for region in regions), default=0.0)) for size, thing in pairs]


# %%
retrievers, overlaps = {}, {}
ways = {"one vector": [[]] * len(database)} | dict.fromkeys(cuts) | {"true regions": [things_of(i) for i in range(len(database))]}
for name, given in tqdm(ways.items(), desc="cutting and embedding"):
    retriever = RegionRetriever(encoder, cuts.get(name), progress=False).fit(database, regions=given)
    rows = [row for i, regions in enumerate(retriever.regions_) for row in best_overlaps(regions, i)]
    retrievers[name], overlaps[name] = retriever, pd.DataFrame(rows, columns=["size", "overlap"]).groupby("size")["overlap"].mean()
pd.DataFrame(overlaps).T[list(SIZES)].round(2)

# %% [markdown]
# ## Measure it
#
# mAP by the size of the thing **in the searched scene**. Scenes that hold the thing in another size are not counted
# then. Each column has its own random level: a size with fewer right scenes is harder to guess. "One vector" and
# regions are both asked with the *masked* query: what differs is the database.

# %%
noise = np.random.default_rng(SEED).random((len(queries), len(database)))
names = [query.name for query in queries]
results = {name: retriever.search(ready, k=len(database)) for name, retriever in retrievers.items()}
rankings = {name: result.ranking for name, result in results.items()}
rankings["chance"] = Ranking.from_distances(noise, names, database.ids)


def by_size(ranking):
    """mAP for things of all sizes together, and of each."""
    return {size: evaluate(ranking, truth[size], metrics=["map"], n_bootstrap=0)["map"] for size in ("all", *SIZES)}


# %%
table = pd.DataFrame({name: by_size(ranking) for name, ranking in rankings.items()}).T
costs = {name: len(one.embeddings_) / len(database) for name, one in retrievers.items()}
table["vectors a scene"] = pd.Series(costs)
table["ms to cut"] = pd.Series({name: 1000 * one.seconds_["regions"] / len(database) for name, one in retrievers.items()})
table.round({"vectors a scene": 1, "ms to cut": 1}).round(3)


# %%
def against(name, size, other="one vector"):
    """Paired difference of mAP and its 95 % interval: difference, low, high."""
    pair = compare({name: rankings[name], other: rankings[other]}, truth[size], n_draws=2000).pairs.iloc[0]
    sign = 1 if pair["a"] == name else -1
    low, high = sorted((sign * pair["low"], sign * pair["high"]))
    return sign * pair["difference"], low, high


differences = {size: against("network", size) for size in ("all", *SIZES)}
pd.DataFrame(differences, index=["network minus one vector", "low", "high"]).T.round(3)

# %% tags=["claim"]
assert differences["all"][1] > 0.1 and differences["medium"][1] > 0.1 and differences["large"][1] > 0.1
assert table.loc["network", "all"] > table.loc["windows", "all"] + 0.05
assert costs["network"] < costs["windows"] / 5

# %% [markdown]
# Regions win clearly for medium and large things, with a handful of vectors a scene. The network's few regions are
# worth more than all the windows. But look at the small things: even the **true** regions find little. So it is not
# the cut that is wrong.
#
# ### Small things: the wrong scale
#
# A query thing fills a good part of its image. The same thing, small, is seen by the network at a third of that size: its
# stripes are finer, its outline takes up fewer cells. So ask with the query *made smaller*: run its image through the
# network at half the size. The index stays as it is; only the query is embedded again.

# %%
SCALES = (1.0, 0.7, 0.5, 0.35)
index, by_scale, tries = retrievers["network"], {}, []
for scale in tqdm(SCALES, desc="scales of the query"):
    index.query_scales = (scale,)
    tries.append([index.embedded(query) for query in queries])
    by_scale[scale] = by_size(index.search(tries[-1], k=len(database)).ranking)
index.query_scales = SCALES
at_all = [replace(query, vectors=np.concatenate([t[i].vectors for t in tries])) for i, query in enumerate(queries)]
for name, one in (("network", index), ("one vector", retrievers["one vector"])):
    rankings[f"{name}, 4 scales"] = one.search(at_all, k=len(database)).ranking

# %%
scales = pd.DataFrame(by_scale).T
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for number, size in enumerate(SIZES):
    style = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "ls": plots.style.LINES[number]}
    ax.plot(scales.index, scales[size], label=f"{size} things", **style)
ax.set(xlabel="size at which the query is asked (1: as the database)", ylabel="mAP", ylim=(0, None), xticks=SCALES)
ax.legend(frameon=False)
plots.show(plots.describe(ax, "mAP of small, medium and large things against the scale of the query: small things peak at small scales."))

# %%
more = {name: by_size(rankings[name]) for name in ("one vector, 4 scales", "network", "network, 4 scales")}
scaled = {size: against("network, 4 scales", size, "one vector, 4 scales") for size in SIZES}
pd.DataFrame(more).T.round(3)

# %% [markdown]
# Asked at four scales, the query counts at its nearest one. That is a compromise: with four tries wrong regions come
# nearer, too, so it is worse than the right scale alone, and better than the wrong one. Against one vector with the
# same four tries:

# %%
pd.DataFrame(scaled, index=["4 scales: network minus one vector", "low", "high"]).T.round(3)

# %% tags=["claim"]
assert scaled["small"][1] > 0
assert scales.loc[0.35, "small"] > scales.loc[1.0, "small"] + 0.1
assert scales.loc[0.35, "large"] < scales.loc[1.0, "large"] - 0.1

# %% [markdown]
# ### Is what was found the thing?
#
# A scene can be found for the wrong reason. For each right scene: the overlap of the region by which it was found
# with the thing itself. The vertical line is the usual bar of 0.5.


# %%
def found_overlaps(result):
    """Overlap of the found region with the thing, in each right scene."""
    gains, out = truth["all"].gains(result.ranking.indices), []
    for query, rank in np.argwhere(gains > 0):
        scene = int(result.ranking.indices[query, rank])
        place = database.column("instances")[scene].index(asked.column("instances")[query][0])
        mask = database.mask(scene) == place + 1
        if mask.any():
            out.append(objects.mask_iou(result.regions[query][rank][0], Region.from_mask(mask)))
    return np.array(out)


# %%
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
hit = {}
for number, name in enumerate(("windows", "Felzenszwalb", "network")):
    values = np.sort(found_overlaps(results[name]))
    hit[name] = (values >= 0.5).mean()
    style = {"color": plots.style.COLOURS[number], "ls": plots.style.LINES[number], "label": f"{name}: {hit[name]:.0%} at 0.5"}
    ax.plot(values, 1 - np.arange(len(values)) / len(values), **style)
ax.axvline(0.5, color="0.5", lw=1, ls=":")
ax.set(xlabel="overlap of the found region with the thing", ylabel="share of right scenes, at least", xlim=(0, 1), ylim=(0, 1))
ax.legend(frameon=False, loc="lower left")
plots.show(plots.describe(ax, "Share of right scenes whose found region overlaps the thing by at least so much, for three ways to cut."))

# %% tags=["claim"]
assert hit["network"] > hit["windows"] + 0.2

# %% [markdown]
# ### Pruning: how many regions are enough?
#
# Felzenszwalb gives up to 16 regions a scene, sorted by how much they stand out. Keeping the best few makes the index
# smaller, and nothing is encoded anew.

# %%
pruned = {}
for n in (1, 2, 4, 8, 16):
    few = retrievers["Felzenszwalb"].pruned(n)
    score = by_size(few.search(ready, k=len(database)).ranking)["all"]
    pruned[n] = {"mAP": score, "vectors a scene": len(few.embeddings_) / len(database)}
pruned = pd.DataFrame(pruned).T
pruned.round(3)

# %% tags=["claim"]
assert pruned.loc[8, "mAP"] > 0.9 * pruned.loc[16, "mAP"]

# %% [markdown]
# ### This and that
#
# A query of two parts: each has to be answered by *another* region of the scene, and the mean of the two distances
# counts. And a filter: among the scenes that are known to hold a class (by a label, a tag, an earlier pass), search
# for the thing.

# %%
index.query_scales = (1.0,)
pairs = [i for i, held in enumerate(database.column("instances")) if len(held) > 1]
both, single = [], []
for i in pairs:
    parts = [asked.column("instances").tolist().index((name,)) for name in database.column("instances")[i][:2]]
    both.append(tuple(ready[part] for part in parts))
    single.append(ready[parts[0]])
ranks = {}
for name, wanted in (("this", single), ("this and that", both)):
    ranks[name] = [int(np.flatnonzero(index.search(q, k=len(database)).ranking.indices[0] == i)[0]) + 1 for i, q in zip(pairs, wanted, strict=True)]

# %%
held = index.holding(database.column("classes")[pairs[0]][0])
filtered = index.search(single[0], k=5, where=held)
print(f"{held.sum()} of {len(held)} scenes hold the class {database.column('classes')[pairs[0]][0]!r}; found among them:", *filtered.ranking.ids[0][:3])
first = {name: np.array(r) == 1 for name, r in ranks.items()}
print(f"{len(pairs)} scenes, each asked for by what it holds")
pd.DataFrame({name: {"median rank": np.median(r), "found first": first[name].mean()} for name, r in ranks.items()}).T

# %% tags=["claim"]
gained = first["this and that"].astype(float) - first["this"]
drawn = np.random.RandomState(SEED).randint(len(pairs), size=(2000, len(pairs)))
low, high = np.percentile(gained[drawn].mean(axis=1), [2.5, 97.5])
print(f"found first more often by two parts than by one: {gained.mean():+.2f} ({low:+.2f} to {high:+.2f})")
assert low > 0

# %% [markdown]
# ### On photographs
#
# Three sets, measured by `benchmarks/object_retrieval.py`, which takes minutes; its table ships with the course.
# **Pasted**: a photograph of one of 100 things (UKBench; Nistér and Stewénius 2006, *CVPR*,
# [doi:10.1109/CVPR.2006.264](https://doi.org/10.1109/CVPR.2006.264)) asks for the 300 other photographs into which
# other views of it were pasted, at a fifth, a third and half of their side. **Streets**: a masked car, pedestrian or
# sign of CamVid (Brostow et al. 2009, *Pattern Recognition Letters*,
# [doi:10.1016/j.patrec.2008.04.005](https://doi.org/10.1016/j.patrec.2008.04.005)) asks for frames of *other* drives
# that hold such a thing. And the scenes above, larger, with three seeds. What is best for regions need not be best
# for whole images, so **each method has its own layer** of two: the even queries choose it, the odd ones report.

# %%
shipped = pd.read_csv(datasets.shipped_file("object_retrieval.csv"))
own = shipped[shipped["encoder"] == "own"]
scenes = own[(own["set"] == "scenes") & (own["part"] == "small")]
columns = ["method", "seed", "layer", "mean", "chance", "difference", "difference_low", "difference_high", "overlap", "vectors"]
scenes.loc[scenes["method"].isin(["whole images", "Felzenszwalb", "network", "network, scales"]), columns].round(3)

# %% tags=["record"]
lows = scenes.set_index(["method", "seed"])["difference_low"].unstack()
assert (lows.loc["network, scales"] > 0.02).all()

# %%
real = own[own["set"].isin(["pasted", "streets"])]
keep = ["whole images", "whole images, scales", "windows", "Felzenszwalb", "Felzenszwalb, scales", "true regions"]
real = real[real["method"].isin(keep)]
order = ["small", "medium", "large", "car", "pedestrian", "sign"]
cells = real.set_index(["method", "set", "part"])["mean"].unstack(["set", "part"])
wanted = [("pasted", part) for part in order[:3]] + [("streets", part) for part in order[3:]]
random_order = real.groupby(["set", "part"])["chance"].mean().rename("chance")
pd.concat([cells.loc[keep, wanted], random_order.to_frame().T[wanted]]).round(3)

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.3), layout="constrained")
for ax, (name, parts) in zip(axes, {"pasted": order[:3], "streets": order[3:]}.items(), strict=True):
    rows = real[(real["set"] == name) & real["method"].isin(keep[2:])]
    for number, (method, mine) in enumerate(rows.groupby("method", sort=False)):
        mine = mine.set_index("part").loc[parts]
        bars = [mine["difference"] - mine["difference_low"], mine["difference_high"] - mine["difference"]]
        style = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "label": method}
        ax.errorbar(np.arange(3) + 0.14 * (number - 1.5), mine["difference"], bars, ls="none", capsize=3, **style)
    ax.axhline(0, color="0.4", lw=1)
    ax.set(title=name, xticks=range(3), xticklabels=parts, ylabel="mAP, minus that of one vector")
axes[0].legend(frameon=False)
plots.show(plots.describe(fig, "Difference in mAP to one vector an image, with paired intervals, on pasted things by size and on streets by class."))

# %% [markdown]
# Photographs are harder, and the two panels say different things. **Pasted** objects are squares, and square windows
# cut them at least as well as segments of one colour. The smallest are found by neither unless the query is asked at
# several scales, and even then rarely; for the others the scales gain most. One vector is stronger here than a single
# layer for every method would show: at its own layer it finds large objects well. On **streets**, chance is high: most
# frames hold a car. Masks that are known help for all three classes (they also tell which frames hold such objects at
# all, so this is an upper bound); Felzenszwalb's regions help for none: a car or a person of several colours, in front
# of a house, is no segment. Here the *cut* is what is wrong, which is what Mask R-CNN, trained on photographs, is for.

# %% tags=["record"]
street = real[real["set"] == "streets"].set_index(["method", "part"])
paste = real[real["set"] == "pasted"].set_index(["method", "part"])
assert (street.loc["true regions"].loc[order[3:], "difference_low"] > 0).all()
assert (street.loc["Felzenszwalb"].loc[order[3:], "difference_high"] < 0).all()
assert paste.loc[("windows", "large"), "difference_low"] > 0.05
assert paste.loc[("Felzenszwalb, scales", "medium"), "difference_low"] > 0.1

# %% [markdown]
# ### Where it fails
#
# The queries that regions serve worst, and the first scenes that they find. Look at the outlines: is the region a
# thing at all? Is it of the same colours, but another shape?

# %%
worst = judged("regions").to_numpy().argsort()[:3]
fig, axes = plt.subplots(3, 1, figsize=(9.6, 4.6), layout="constrained")
for ax, query in zip(axes, worst, strict=True):
    draw_results(ax, found["regions"], int(query))
plots.show(plots.describe(fig, "The three worst queries and the seven scenes found first for each, with the regions outlined."), dpi=84)

# %% [markdown]
# ## Try it
#
# Click on a thing in the query image, or drag a box around it. "Holds" keeps scenes that are known to hold a class.
# In the menu, classes have names such as `star5`.

# %%
index.query_scales = SCALES
best_query = int(gain.to_numpy().argmax())
explorer = explore.ObjectExplorer(index, queries=asked, query=str(asked.ids[best_query]), region=queries[best_query].region, k=8)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=84)

# %% [markdown]
# ## Exercise 1 ★ masked pooling in three lines
#
# A feature map and a mask whose sides are whole multiples of the map's. Give the mean of the map under the mask, weighted
# by the share of each cell that the mask covers, of length 1.
#
# <details><summary>Hint 1: the idea</summary>
#
# Cut the mask into blocks, one a cell; the mean of a block is the share of its cell. Then a weighted mean, then a norm.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `mask.reshape(h, H // h, w, W // w).mean(axis=(1, 3))` gives the shares `(h, w)`; they multiply `feature_map` as
# they are.
#
# </details>


# %% tags=["exercise"]
def masked_pooling(feature_map, mask):
    """Map (c, h, w), mask (H, W) of bool -> vector (c,) of length 1."""
    raise NotImplementedError


checks.check_masked_pooling(masked_pooling)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_masked_pooling(map_, mask_):
    shares_ = mask_.reshape(map_.shape[1], -1, map_.shape[2], mask_.shape[1] // map_.shape[2]).mean(axis=(1, 3))
    vector_ = (map_ * shares_).sum(axis=(1, 2)) / shares_.sum()
    return vector_ / np.linalg.norm(vector_)


checks.check_masked_pooling(solution_masked_pooling)

# %% [markdown]
# A right answer gives this picture: how alike each cell of a scene is to the pooled vector of one thing. It lights up
# where the thing is.

# %%
region = things_of(example)[0]
pooled = pool_regions(encoder.feature_maps([database[example]])[0], [region])[0]
cells = encoder.feature_maps([database[example]])[0]
likeness = np.einsum("c,chw->hw", pooled, cells / np.linalg.norm(cells, axis=0))  # cosine of each cell
fig, axes = plt.subplots(1, 2, figsize=(6, 2.9), layout="constrained")
axes[0].imshow(outlined(database[example], [region], 256))
shown = axes[1].imshow(likeness, cmap="viridis")
fig.colorbar(shown, ax=axes[1], label="cosine to the pooled vector")
for ax in axes:
    ax.axis("off")
plots.show(plots.describe(fig, "A scene with one thing outlined, and the cosine of each cell of the map to the thing's vector."))

# %% [markdown]
# ## Exercise 2 ★ from regions to images
#
# A search gave the distance of every region. Give the distance of every *image*: that of its best region, and
# infinity for an image without a region. The regions come in any order.
#
# <details><summary>Hint 1: the idea</summary>
#
# Begin with infinity for every image, and take the smaller of what is there and what comes.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `np.minimum.at(best, owners, distances)`: an index that repeats is used each time.
#
# </details>


# %% tags=["exercise"]
def image_distances(distances, owners, n_images):
    """Distances (n_regions,), which image each is of (n_regions,) -> (n_images,)."""
    raise NotImplementedError


checks.check_image_distances(image_distances)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_image_distances(distances_, owners_, n_):
    best_ = np.full(n_, np.inf)
    np.minimum.at(best_, owners_, distances_)
    return best_


checks.check_image_distances(solution_image_distances)

# %% [markdown]
# A right answer gives this picture: the distances of all regions to one query, and the best of each scene.

# %%
one_index = retrievers["Felzenszwalb"]
near = 1 - one_index.embeddings_ @ one_index.embed(ready[typical])[0]
best = pd.Series(near).groupby(one_index.owners_).min()
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(one_index.owners_, near, ".", ms=3, color=plots.style.GREY, label="a region")
ax.plot(best.index, best, "o", ms=5, color=plots.style.BLUE, label="the best of its scene")
right = np.flatnonzero(truth["all"].gains(np.arange(len(database))[None].repeat(len(queries), 0))[typical] > 0)
ax.plot(right, best[right], "o", ms=11, mfc="none", color=plots.style.VERMILLION, label="holds the thing")
ax.set(xlabel="scene", ylabel="distance to the query")
ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2))
plots.show(plots.describe(ax, "Distances of all regions by scene, the smallest of each scene, and the scenes that hold the thing."))

# %% [markdown]
# ## Exercise 3 ★★ non-maximum suppression
#
# Windows find a thing many times. Keep the best box, drop those that overlap it by more than `iou`, and go on with
# what is left. A box that was dropped drops nobody.
#
# <details><summary>Hint 1: the idea</summary>
#
# Walk through the boxes by falling score; keep one if it overlaps none of *those kept* by too much.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `cbirkit.objects.box_iou(boxes, boxes)` gives all overlaps; `np.argsort(-scores)` the order.
#
# </details>


# %% tags=["exercise"]
def suppressed(boxes, scores, iou):
    """Boxes (n, 4) as x0, y0, x1, y1, scores (n,) -> positions kept, best first."""
    raise NotImplementedError


checks.check_suppressed(suppressed)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_suppressed(boxes_, scores_, iou_):
    kept_ = []
    for i_ in np.argsort(-scores_):
        low_, high_ = np.maximum(boxes_[i_, :2], boxes_[kept_, :2]), np.minimum(boxes_[i_, 2:], boxes_[kept_, 2:])
        common_ = np.maximum(high_ - low_, 0).prod(axis=1)
        areas_ = (boxes_[kept_, 2:] - boxes_[kept_, :2]).prod(axis=1) + (boxes_[i_, 2:] - boxes_[i_, :2]).prod()
        if (common_ <= iou_ * (areas_ - common_)).all():
            kept_.append(int(i_))
    return np.array(kept_, dtype=np.int64)


checks.check_suppressed(solution_suppressed)

# %% [markdown]
# A right answer gives this picture: the ten windows nearest to a query in its best scene, and what is left of them.

# %%
windows = retrievers["windows"]
scene = int(results["windows"].ranking.indices[typical, 0])
mine = [(r, row) for r, row in zip(windows.regions_[scene], np.flatnonzero(windows.owners_ == scene), strict=True)][:-1]
scores = np.array([windows.embeddings_[row] @ windows.embed(ready[typical])[0] for _, row in mine])
top = np.argsort(-scores)[:10]
left = top[objects.non_maximum_suppression([mine[i][0].box for i in top], scores[top], 0.3)]
fig, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
for ax, chosen, title in zip(axes, (top, left), ("ten nearest windows", f"{len(left)} after suppression"), strict=True):
    ax.imshow(outlined(database[scene], [mine[i][0] for i in chosen], 256))
    ax.set_title(title, fontsize=10)
    ax.axis("off")
plots.show(plots.describe(fig, "A scene with the ten nearest windows outlined, and with those that non-maximum suppression leaves."))

# %% [markdown]
# ## What we learned
#
# - One vector an image is dominated by what fills the image. Regions with vectors of their own find things, and say
#   where.
# - All regions share one pass of the network: masked pooling costs next to nothing beside it.
# - A good cut needs few regions: on drawn scenes a handful from the network beat all the windows.
# - A right cut is not enough. Small things were missed because of their scale, and asking at several scales mended
#   much of it.
# - Drawn scenes are easy to cut: flat grounds, clear borders. On photographs the same ways to cut gain less, or nothing.
#
# ### Check yourself
#
# <details><summary>1. Why can an image at rank 1 still be found for the wrong reason, and how did we see it?</summary>
#
# Another region of it may have been the near one. The overlap of the found region with the thing tells.
#
# </details>
# <details><summary>2. An image has a dozen regions. What grows twelvefold, and what does not grow at all?</summary>
#
# Vectors, memory and the time of an exact search grow. The passes of the network do not.
#
# </details>
# <details><summary>3. Why is mAP for each size compared with a random level of its own?</summary>
#
# Sizes differ in how many right scenes there are, and the mAP of a random order follows that number.
#
# </details>
# <details><summary>4. Why may one region not answer both parts of "this and that"?</summary>
#
# A scene with one thing that is a little like both would then score as well as one that holds both.
#
# </details>
#
# ### What breaks at a million images
#
# Five regions for each image are five million vectors: an approximate index
# ([notebook 12](12_approximate_search.ipynb)) asked for the nearest few hundred regions (`depth=`) instead of all,
# codes of a few bytes ([notebook 11](11_hashing.ipynb)), and masks kept on disk, for only those that are shown are
# needed.
#
# ### Further reading
#
# - Uijlings et al. (2013), *Selective search for object recognition*, IJCV,
#   [doi:10.1007/s11263-013-0620-5](https://doi.org/10.1007/s11263-013-0620-5). Proposals by merging, still the
#   clearest account.
# - Teichmann et al. (2019), *Detect-to-Retrieve*, CVPR, [arXiv:1812.01584](https://arxiv.org/abs/1812.01584). Regions
#   in landmark search, and how to aggregate them when they are too many.
# - He et al. (2017), *Mask R-CNN*, ICCV, [arXiv:1703.06870](https://arxiv.org/abs/1703.06870). Boxes and masks from
#   one network.
# - Kirillov et al. (2023), *Segment anything*, ICCV, [arXiv:2304.02643](https://arxiv.org/abs/2304.02643). A mask for
#   every click, where a GPU is at hand.
#
# <!-- links:start -->
# Previous: 13_on_device (still to come), then [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: 15_context_and_scenes (still to come), then [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->
