# %% [markdown]
# # 03 · CNN features: what does a network trained for something else know about similarity?
#
# **Question.** A network learned to look at photographs for another purpose. What does it know about which images are
# alike, and how do you turn its feature map into one vector?
#
# **Time:** about a minute and a half to run on two cores, offline. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for the numbers, [notebook 02](02_local_features.ipynb) for VLAD.
#
# <!-- links:start -->
# Previous: [02_local_features](02_local_features.ipynb) · [course map](00_start_here.ipynb) · Next: [04_multi_scale](04_multi_scale.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **look into** a network: what its layers respond to, and which pixels one number depends on;
# - **build** average, max and GeM pooling, R-MAC and PCA-whitening, and show that they give what the package gives;
# - **choose** a layer and a pooling by measurement, for instances and for classes;
# - **tell** where such features lose against hand-made ones, and why.

# %%
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from torch import nn
from tqdm.auto import tqdm

from cbirkit import Ranking, Retriever, checks, compare, datasets, encoders, evaluate, explore, plots
from cbirkit.datasets.photographs import read_photograph
from cbirkit.indexes import Exact
from cbirkit.nets import pooling

# %%
SEED = 0
BACKBONE = "tiny"  # "resnet50" where there is internet; any convolutional network of torchvision
PROFILE = "quick"  # "full" encodes the real photographs anew, if CBIRKIT_REALDATA names the folder that has them
if BACKBONE == "tiny":
    torch.set_num_threads(1)  # for so small a network a second thread costs more than it brings

# %% [markdown]
# ## The goal
#
# `Deep("tiny")` is a network that ships with the kit: EfficientNet-Lite0 (`Deep("lite0")`), which was trained to name
# 1,000 kinds of objects on ImageNet, at half the pixels and with its weights rounded to six bits. It has met none of
# the images below.
#
# The images ask two different questions. **Tabletop** asks for the same *category*: rendered objects of 12 categories,
# whose material, pattern, colour, ground and light say nothing of the category. Other views of the query's own object
# count neither as right nor as wrong. **Photo views** (those of [notebook 02](02_local_features.ipynb)) ask for the
# same *instance*: pieces of photographs under rotation, perspective and occlusion. What is set aside serves for
# learning codebooks and, later, whitening. It is neither query nor database, and not even of the same categories.
#
# **Before you run the next cells, predict:** colour, local features (VLAD) or the network: which wins for categories,
# and which for instances?


# %%
def photo_views(seed):
    """Queries, database, images set aside, relevance, and the piece that each query shows."""
    sizes = {"n_objects": 40, "n_views": 6, "n_distractors": 240}
    views = datasets.load_photo_views("hard", **sizes, random_state=seed)
    pieces, number = views.column("region"), views.column("view")
    distractor = pd.isna(views.column("instance"))
    split = np.where(distractor & (number > 1), "left out", views.column("split"))
    split = np.where(np.isin(pieces, np.unique(pieces[distractor])[::2]), "aside", split)
    queries, database, aside = views.with_columns(split=split).split(parts=("query", "database", "aside"))
    return queries, database, aside, queries.relevance(queries, database), queries.column("instance")


# %%
def tabletop(seed):
    """Queries, database, images set aside, relevance, and the category of each query: 12 of 64 categories, drawn."""
    everything = datasets.load_tabletop()
    names = np.random.RandomState(seed).permutation(np.unique(everything.labels))
    tested = np.isin(everything.labels, names[:12])
    queries, database = everything[tested].split()
    aside = everything[~tested & (everything.column("split") == "aside")]
    relevance = queries.relevance(queries, database, by="label", junk="instance")
    return queries, database, aside, relevance, queries.labels


tasks = {"tabletop": tabletop(SEED), "photo views": photo_views(SEED)}
pixels = {name: [list(part) for part in task[:3]] for name, task in tasks.items()}
pd.DataFrame({n: [len(p) for p in task[:3]] for n, task in tasks.items()}, index=["queries", "database", "aside"])


# %%
def order(task, query_rows, database_rows):
    """The ranking of the whole database of a task, by vectors."""
    distances, found = Exact().fit(database_rows).kneighbors(query_rows, len(database_rows))
    return Ranking(task[0].ids, task[1].ids, found, distances)


def rank(name, encoder):
    """The same, by an encoder, which learns on the images set aside if it learns."""
    encoder.fit(pixels[name][2])
    return order(tasks[name], *(encoder.transform(part) for part in pixels[name][:2]))


deep = encoders.Deep(BACKBONE, device="cpu")
three = {"colour": encoders.ColorHistogram(), "VLAD": encoders.VLAD(random_state=SEED), BACKBONE: deep}
rankings = {("tabletop", label): rank("tabletop", encoder) for label, encoder in three.items()}

# %% [markdown]
# For the photo views the retrievers are kept, to be tried by hand below.

# %%
queries, database, _, truth, _ = tasks["photo views"]
found_by = {label: Retriever(one.fit(pixels["photo views"][2])).fit(database) for label, one in three.items()}
rankings |= {("photo views", label): one.search(queries, k=None) for label, one in found_by.items()}

# %% [markdown]
# What do colour ([notebook 00](00_start_here.ipynb)), VLAD ([notebook 02](02_local_features.ipynb)) and the network
# find? So that the picture flatters nobody, the query is the one on which the three score most like their averages.


# %%
def average_precision(name, label):
    """Average precision of each query."""
    scores = evaluate(rankings[name, label], tasks[name][3], metrics=["map"], ties="expected", n_bootstrap=0)
    return scores.per_query["map"]


# %%
def three_lists(name):
    """The typical query of a task, and what three methods find for it."""
    scores = pd.DataFrame({label: average_precision(name, label) for label in three})
    typical = (scores - scores.mean()).abs().sum(axis=1).idxmin()
    fig, axes = plt.subplots(3, 1, figsize=(9.4, 6), layout="constrained")
    for ax, label in zip(axes, three, strict=True):
        shown = {"queries": tasks[name][0], "relevance": tasks[name][3], "rows": [typical], "k": 7}
        plots.ranked_list(rankings[name, label], tasks[name][1], **shown, ax=ax)
        ax.set_title(f"{label}: average precision {scores.loc[typical, label]:.2f}", fontsize=10, loc="left")
    plots.show(fig, dpi=72)


three_lists("tabletop")

# %%
three_lists("photo views")

# %% [markdown]
# ## Background
#
# ### What the layers see
#
# A convolutional network turns an image into a stack of **feature maps**, $F \in \mathbb{R}^{c \times h \times w}$:
# at each of $h \times w$ places, $c$ numbers that say how strongly $c$ patterns were found there. Each layer reads the
# maps of the layer before it; from time to time a *stride* of 2 halves the sides. Below, five of its layers on one
# photograph: first the length of the vector at each place, then the one channel that varies most.

# %%
kept = re.compile(r"stem|last|(blocks|features|layer\d)\.\d+")
layers = [name for name in deep.layers() if kept.fullmatch(name)]
some = [layers[i] for i in np.linspace(0, len(layers) - 1, 5).round().astype(int)]
photograph = read_photograph("chelsea")
inside = {name: encoders.Deep(BACKBONE, layer=name, size=384).feature_maps([photograph])[0] for name in some}

# %% tags=["gallery"]
fig, axes = plt.subplots(2, 6, figsize=(9.6, 3.9), layout="constrained")
fig.suptitle("What five layers of a network respond to: edges first, then coarse parts", fontsize=15)
for column, (name, maps) in enumerate(inside.items(), start=1):
    axes[0, column].imshow(np.linalg.norm(maps, axis=0), cmap="viridis")  # (c, h, w) -> (h, w)
    axes[1, column].imshow(maps[maps.std(axis=(1, 2)).argmax()], cmap="viridis")
    axes[0, column].set_title(f"{name}\n{maps.shape[0]} × {maps.shape[1]} × {maps.shape[2]}", fontsize=9)
axes[0, 0].imshow(photograph, aspect="auto")
for ax in axes.ravel():
    ax.axis("off")
words = "A cat, and the maps of five layers on it: edges and fur first, then coarse blobs on eyes, nose and ears."
plots.show(plots.describe(fig, words), dpi=72)

# %% [markdown]
# What makes a channel of the last layer respond? Four channels, and the six database images on which each is
# strongest, at most two of one photograph; the frame is the cell.

# %%
last = {name: [deep.feature_maps(part) for part in parts] for name, parts in pixels.items()}  # (n, c, h, w) each
maps = last["photo views"][1]
cell = pixels["photo views"][1][0].shape[0] / maps.shape[-1]  # pixels a side
strongest = maps.max(axis=(2, 3))  # (n, c)
fig, axes = plt.subplots(4, 6, figsize=(7.6, 5.2), layout="constrained")
for row, channel in zip(axes, strongest.std(axis=0).argsort()[::-1][:4], strict=True):
    ranked = pd.Series(strongest[:, channel].argsort()[::-1])
    chosen = ranked[ranked.groupby(database.column("source")[ranked]).cumcount() < 2][:6]
    for ax, image in zip(row, chosen, strict=True):
        y, x = np.unravel_index(maps[image, channel].argmax(), maps.shape[2:])
        ax.imshow(database[image])
        ax.add_patch(plt.Rectangle((x * cell, y * cell), cell, cell, fill=False, color="white", lw=2))
        ax.axis("off")
plots.show(plots.describe(fig, "Four channels, one in each row: the images on which it responds most, with the cell framed."), dpi=64)

# %% [markdown]
# In nearly every image the *card* that hides a part of some views is what the channel responds to. Remember the card.
#
# ### What one cell can see
#
# A cell depends on a square of pixels, its **receptive field**. Its side $r$ and the step $j$ between the squares of
# neighbouring cells begin at 1 and 1, and a layer of kernel $k$ and stride $s$ makes of them
#
# $$r \leftarrow r + (k - 1)\, j, \qquad j \leftarrow j\, s$$

# %%
network = deep.network
sizes, size, step = {}, 1, 1
for name, module in network.named_modules():
    if isinstance(module, nn.Conv2d | nn.MaxPool2d) and "downsample" not in name:
        kernel, stride = (np.max(x) for x in (module.kernel_size, module.stride))
        size, step = size + (kernel - 1) * step, step * stride
        owner = next((layer for layer in layers if name.startswith(layer)), layers[-1])
        sizes[owner] = int(size), int(step)
pd.DataFrame({name: sizes[name] for name in some if name in sizes}, index=["side, pixels", "step, pixels"])

# %% [markdown]
# Is that so? Autograd knows: the pixels that a cell depends on are those where its gradient is not 0. A trained network
# has gradients that happen to vanish, so all its weights are set to averages first, which hides nothing. Then the same
# question to the trained one: which pixels *really* count?


# %%
def influence(net, side):
    """How strongly each pixel (side, side) moves the middle cell of the last map."""
    image = torch.full((1, 3, side, side), 1e-3, requires_grad=True)
    if net is network:
        image = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(SEED)).requires_grad_()
    maps = net(image)  # (n, c, h, w)
    maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    return image.grad.abs().sum(dim=(0, 1)).numpy()


# %%
averaging = deep.network
for module in averaging.modules():
    if isinstance(module, nn.Conv2d):
        nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        nn.init.zeros_(module.bias) if module.bias is not None else None
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()

# %%
side = int(32 * np.ceil(1.4 * size / 32))
possible, trained = influence(averaging, side), influence(network, side)
seen = np.flatnonzero(possible.sum(axis=0))
seen_side = seen[-1] - seen[0] + 1
ranked = np.sort(trained.ravel())[::-1]
half = np.sqrt((ranked.cumsum() < 0.5 * ranked.sum()).sum())  # as the side of a square
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), layout="constrained")
for ax, grid, title in ((axes[0], possible, "could count"), (axes[1], trained, "does count")):
    ax.imshow(np.log10(grid / grid.max() + 1e-6), cmap="magma", vmin=-4)
    corner, width = (seen[0], seen_side) if grid is possible else (seen.mean() - half / 2, half)
    ax.add_patch(plt.Rectangle((corner, corner), width, width, fill=False, color="white", ls="--"))
    ax.set(title=f"{title}: frame of {width:.0f} pixels", xlabel="pixels")
plots.show(plots.describe(fig, "Influence of each pixel on one cell: a large square that could count, a spot that does."))

# %% tags=["claim"]
print(f"computed {size} pixels, found {seen_side}; half of the influence lies on as many pixels as a square of {half:.0f}")
assert seen_side == size
assert half < 0.6 * size

# %% [markdown]
# The **effective** receptive field is far smaller than the possible one (Luo et al. 2016, *NeurIPS*,
# [arXiv:1701.04128](https://arxiv.org/abs/1701.04128)). At the network's own size every cell can see the whole image,
# but mostly looks at its own part of it.
#
# ### From a map to a vector
#
# Where a pattern was found must not matter, so the $h \times w$ places are **pooled**: for channel $k$, the average
# (SPoC, Babenko and Lempitsky 2015, *ICCV*, [arXiv:1510.07493](https://arxiv.org/abs/1510.07493)), the maximum (MAC),
# or the **generalised mean** (GeM, Radenović et al. 2018, *TPAMI*,
# [arXiv:1711.02512](https://arxiv.org/abs/1711.02512)) with an exponent $p$ between the two:
#
# $$f_k = \Big( \frac{1}{hw} \sum_{i,j} F_{kij}^{\,p} \Big)^{1/p}$$
#
# $p = 1$ is the average, $p \to \infty$ the maximum; 3 is usual. **R-MAC** (Tolias et al. 2016, *ICLR*,
# [arXiv:1511.05879](https://arxiv.org/abs/1511.05879)) takes the maximum in each of a set of square regions, scales
# these vectors to length 1, and adds them.

# %% [markdown]
# ## Build it
#
# ### Pooling


# %%
def average(maps):
    """(n, c, h, w) -> (n, c), as all of these."""
    return maps.mean(axis=(2, 3))


def maximum(maps):
    return maps.max(axis=(2, 3))


def gem(maps, p=3.0):
    return (np.maximum(maps, 1e-6) ** p).mean(axis=(2, 3)) ** (1 / p)


# %%
def unit(rows):
    """Rows of length 1; a row of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def rmac(maps):
    regions = pooling.rmac_regions(*maps.shape[2:])  # (top, left, side) at three scales
    return sum(unit(maximum(maps[:, :, t : t + side, l : l + side])) for t, l, side in regions)


pools = {"average": average, "max": maximum, "gem": gem, "rmac": rmac}
grid = np.zeros(maps.shape[2:], int)
for top, left, length in pooling.rmac_regions(*grid.shape):
    grid[top : top + length, left : left + length] += 1
print(f"R-MAC on a map of {grid.shape[0]} × {grid.shape[1]}: regions that hold each place\n{grid}")

# %% tags=["claim"]
few = pixels["photo views"][0][:8]
for name, pool in pools.items():
    theirs = pooling.POOLINGS[name](torch.from_numpy(last["photo views"][0][:8])).numpy()
    assert np.allclose(pool(last["photo views"][0][:8]), theirs, atol=1e-5), name
    package = encoders.Deep(BACKBONE, device="cpu", pooling=name).transform(few)
    assert np.allclose(unit(pool(last["photo views"][0][:8])), package, atol=1e-4), name

# %% [markdown]
# ### Whitening
#
# Channels are not equal: some are nearly always on, many say the same. **PCA-whitening** (Jégou and Chum 2012,
# *ECCV*, [doi:10.1007/978-3-642-33709-3_55](https://doi.org/10.1007/978-3-642-33709-3_55)) subtracts the mean $\mu
# \in \mathbb{R}^c$, turns the vectors into $n$ uncorrelated directions $P \in \mathbb{R}^{n \times c}$, and divides
# each by its standard deviation $\sigma_i$, to the power $a$:
#
# $$y = \mathrm{diag}(\sigma)^{-a}\, P\, (x - \mu), \qquad \text{then scaled to length 1}$$
#
# $a = 1$ whitens. $a = 0$ only centres and rotates, $a = 1/2$ goes half the way.


# %%
def whiten(aside, rows, n_dims, power):
    """Whitening of rows (n, c) by what was learned on aside (m, c): (n, n_dims), rows of length 1."""
    mean = aside.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((aside - mean).T, bias=True))  # (c,), (c, c), smallest first
    top = values.argsort()[::-1][:n_dims]
    return unit((rows - mean) @ (vectors[:, top] / np.sqrt(values[top]) ** power))


# %% tags=["claim"]
learned, rows = (unit(average(part)).astype(float) for part in (last["photo views"][2], last["photo views"][0]))
for power in (0.0, 0.5, 1.0):
    ours = whiten(learned, rows, 64, power)
    theirs = encoders.PCAWhitening(64, power=power).fit(learned).transform(rows)
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-3), power  # a direction may point either way

# %% [markdown]
# ## Measure it
#
# ### Three sets, nine methods
#
# Besides colour, small images and VLAD there is **HOG**, a grid of histograms of gradients (Dalal and Triggs 2005,
# *CVPR*, [doi:10.1109/CVPR.2005.177](https://doi.org/10.1109/CVPR.2005.177)), and the control that every such
# comparison needs: *the same architecture with random weights*. What it scores is owed to convolution and pooling,
# the rest to training.

# %%
methods = {
    "small image": encoders.TinyImage(),
    "HOG": encoders.HOG(),
    "random network": encoders.Deep(BACKBONE, weights=None, random_state=SEED),
}
for name in tqdm(tasks, desc="sets"):
    rankings |= {(name, label): rank(name, encoder) for label, encoder in methods.items()}
    for label, pool in pools.items():
        rankings[name, f"{BACKBONE}, {label}"] = order(tasks[name], *(unit(pool(m)) for m in last[name][:2]))
    del rankings[name, BACKBONE]  # which is the average again

# %% [markdown]
# The third set is real: 1,000 photographs of clothes of ten classes. Their embeddings ship (`datasets.load_real`), the
# photographs do not; `cbirkit prefetch photos` gets them. 400 images, drawn at random, are set aside; the rest are all
# queries and all database, each leaving itself out. Neither network has met a photograph of this source.

# %%
clothing = datasets.load_real("clothing")


def clothes(seed):
    """Rows of the images that are queries and database, rows set aside, relevance, class of each query."""
    mixed = np.random.RandomState(seed).permutation(len(clothing))
    asked = np.sort(mixed[400:])
    return asked, mixed[:400], clothing.relevance(asked, asked), clothing.labels[asked]


# %%
asked, _, same_class, garment = clothes(SEED)
shipped = {"colour": "colour", "HOG": "HOG", "random": "random network", "tiny": "tiny, average"}
shipped |= {"tiny max": "tiny, max", "tiny gem": "tiny, gem", "lite0": "lite0, average"}
vectors = {label: clothing.embeddings(name) for name, label in shipped.items()}
if PROFILE == "full":
    vectors |= {f"{BACKBONE}, {p}": encoders.Deep(BACKBONE, pooling=p).transform(clothing.images()) for p in pools}
rankings |= {("clothing", label): clothing.ranking(X, asked, asked) for label, X in vectors.items()}

# %%
truths = {name: task[3] for name, task in tasks.items()} | {"clothing": same_class}
groups = {name: task[4] for name, task in tasks.items()} | {"clothing": garment}
cells = {}
for (name, label), ranking in rankings.items():
    score = evaluate(ranking, truths[name], metrics=["map"], ties="expected", groups=groups[name])
    score = score.summary.loc["map"]
    cells[label, name] = f"{score['mean']:.3f} [{score['low']:.2f}, {score['high']:.2f}]"
ways = [*(f"{BACKBONE}, {label}" for label in pools), "lite0, average"]
table = pd.Series(cells).unstack().reindex(index=["colour", "small image", "HOG", "VLAD", "random network", *ways])
table[list(truths)].fillna("·")

# %% [markdown]
# mAP with 95 % intervals; a dot means: not measured. The intervals draw what was sampled: pieces for photo views, whole
# classes for tabletop and clothing, because the question is what holds for other classes. And the differences, paired
# on the same queries:


# %%
def gain(better, worse, relevance, group=None):
    """Paired difference of mAP between two rankings: low, difference, high."""
    how = {"ties": "expected", "groups": group, "n_draws": 2000, "random_state": SEED}
    row = compare({"a": better, "b": worse}, relevance, **how).pairs.iloc[0]
    sign = 1 if row["a"] == "a" else -1
    return tuple(sorted(sign * row[["difference", "low", "high"]].to_numpy(float)))


gains = {}
for name in truths:
    ours = rankings[name, "tiny, average" if name == "clothing" else f"{BACKBONE}, average"]
    for label in ("colour", "random network", "HOG", "VLAD"):
        if (name, label) in rankings:
            gains[name, label] = gain(ours, rankings[name, label], truths[name], groups[name])
pd.DataFrame(gains, index=["low", f"{BACKBONE} minus …", "high"]).T.round(3)

# %% tags=["claim"]
for name in ("photo views", "tabletop", "clothing"):
    assert gains[name, "random network"][0] > 0.03, name  # what training adds
    assert gains[name, "colour"][0] > 0.03, name
assert gains["photo views", "VLAD"][2] < 0  # local features win on instances under warps
assert gains["tabletop", "VLAD"][0] > 0.02  # and lose on categories
assert gains["tabletop", "HOG"][0] > 0.02

# %% [markdown]
# ### Which layer?
#
# One pass through the network, and a hook on each layer that keeps its map's average.


# %%
def averages(images, batch=64):
    """Of each layer the average of its map, rows of length 1: dict of (n, c)."""
    found, handles = {name: [] for name in layers}, []
    for name in layers:
        keep = lambda module, inputs, output, rows=found[name]: rows.append(output.mean(dim=(2, 3)))  # noqa: E731
        handles.append(network.get_submodule(name).register_forward_hook(keep, prepend=True))
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            network(deep.preprocessing(images[start : start + batch]))
    for handle in handles:
        handle.remove()
    return {name: unit(torch.cat(rows).numpy()) for name, rows in found.items()}


# %%
depth = {}
for name in tqdm(tasks, desc="sets"):
    asking, stored = (averages(part) for part in pixels[name][:2])
    for layer in layers:
        depth[name, layer] = order(tasks[name], asking[layer], stored[layer])
for layer in layers:
    known = "tiny" if layer == layers[-1] else f"tiny {layer}"
    if BACKBONE == "tiny" and known in clothing.encoders:
        depth["clothing", layer] = clothing.ranking(known, asked, asked)
curve = {key: evaluate(r, truths[key[0]], metrics=["map"], groups=groups[key[0]]) for key, r in depth.items()}
curve = pd.DataFrame({key: e.summary.loc["map", ["mean", "low", "high"]] for key, e in curve.items()}).T

# %%
fig, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
for number, name in enumerate(truths if BACKBONE == "tiny" else tasks):
    part = curve.loc[name].astype(float)
    at = [layers.index(layer) for layer in part.index]
    look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "ls": plots.style.LINES[number]}
    ax.plot(at, part["mean"], label=name, **look)
    ax.fill_between(at, part["low"], part["high"], color=look["color"], alpha=0.15, lw=0)
ax.set(xlabel="layer, from the image to the last", ylabel="mAP", ylim=(0, None))
ax.set_xticks(range(len(layers)), layers, rotation=60, fontsize=8)
ax.legend(frameon=False)
plots.show(plots.describe(ax, "mAP against depth on three sets: it rises with depth, and not everywhere to the very end."))

# %% tags=["claim"]
best = curve["mean"].astype(float).groupby(level=0).idxmax().str[1]
print("best layer:", ", ".join(f"{name}: {best[name]}" for name in truths if name in best))
rise = {name: gain(depth[name, layers[-1]], depth[name, layers[0]], truths[name], groups[name]) for name in best.index}
for name in truths:
    assert name not in rise or rise[name][0] > 0.03, name  # depth pays
late = gain(depth["photo views", layers[-3]], depth["photo views", layers[-1]], truths["photo views"], groups["photo views"])
print(f"photo views: {layers[-3]} minus the last layer {late[1]:+.3f}, from {late[0]:+.3f} to {late[2]:+.3f}")
assert late[0] > -0.02

# %% [markdown]
# Texture and colour are done early; what an object *is* comes late, and class retrieval needs it. Which layer is best is
# one more choice to be made on images that are not the test's; we go on with the last.
#
# ### Pooling and whitening, three times over
#
# The differences are small, and one sample of images proves little. So all of it is done three times: three draws of
# the categories and of the photo views, three ways to set clothes aside. First pooling, against the average. The
# clothing features are those that ship.

# %%
middle = "blocks.10" if BACKBONE == "tiny" else layers[len(layers) // 2]
halfway = encoders.Deep(BACKBONE, device="cpu", layer=middle)


def three_vectors(parts, maps=None):
    """For queries, database and images set aside: their vectors by each pooling, and by the layer half-way."""
    found = {label: [] for label in (*pools, middle)}
    for number, images in enumerate(parts):
        of_last = deep.feature_maps(images) if maps is None else maps[number]
        for label, pool in pools.items():
            found[label].append(unit(pool(of_last)))
        found[middle].append(halfway.transform(images))
    return found


# %%
worlds = {(name, SEED): (tasks[name], three_vectors(pixels[name], last[name])) for name in tasks}
for seed in tqdm((SEED + 1, SEED + 2), desc="seeds"):
    for name, task in (("photo views", photo_views(seed)), ("tabletop", tabletop(seed))):
        worlds[name, seed] = task, three_vectors([list(part) for part in task[:3]])
seeds = range(SEED, SEED + 3)

# %%
pooled = {}
for (name, seed), (task, vectors_of) in worlds.items():
    plain = order(task, *vectors_of["average"][:2])
    for label in ("gem", "max", "rmac"):
        pooled[label, name, seed] = gain(order(task, *vectors_of[label][:2]), plain, task[3], task[4])
for seed in seeds:
    rows, _, *truth_and_class = clothes(seed)
    plain = clothing.ranking("tiny", rows, rows)
    for label in ("gem", "max"):
        pooled[label, "clothing", seed] = gain(clothing.ranking(f"tiny {label}", rows, rows), plain, *truth_and_class)

# %%
def forest(results, title):
    """Differences with their intervals, one line each, zero marked."""
    fig, ax = plt.subplots(figsize=(7.4, 0.19 * len(results) + 1), layout="constrained")
    colours = dict(zip(sorted({name for _, name, _ in results}), plots.style.COLOURS, strict=False))
    lines = pd.Series(results).sort_index(level=[0, 1, 2], sort_remaining=False)
    for y, ((_, name, _), (low, middle, high)) in enumerate(lines.items()):
        ax.plot([low, high], [y, y], color=colours[name])
        ax.plot(middle, y, "o", color=colours[name], mfc="white" if low <= 0 <= high else colours[name])
    ax.set_yticks(range(len(lines)), [f"{a}, {b}, seed {c}" for a, b, c in lines.index], fontsize=8)
    ax.axvline(0, color="0.4", lw=1)
    ax.invert_yaxis()
    ax.set(xlabel=title + " (mAP; filled: the interval leaves out 0)")
    plots.show(plots.describe(ax, title + ": differences with 95 % intervals for each set and seed."), dpi=64)


# %%
forest(pooled, "pooling minus average")


# %%
def verdict(results, label, name):
    """In words, what the three seeds say."""
    parts = [results[key] for key in results if key[:2] == (label, name)]
    middle = np.mean([p[1] for p in parts])
    if all(p[0] > 0 for p in parts):
        return f"gains ({middle:+.3f})"
    if all(p[2] < 0 for p in parts):
        return f"costs ({middle:+.3f})"
    return f"no difference that all {len(parts)} intervals confirm ({middle:+.3f})"


said = {label: {name: verdict(pooled, label, name) for _, name, _ in pooled} for label in ("gem", "max")}
pd.DataFrame(said)

# %% tags=["claim"]
for seed in seeds:  # on classes GeM gains a little
    assert 0 < pooled["gem", "clothing", seed][1] < 0.05
    assert 0 < pooled["gem", "tabletop", seed][1] < 0.06

# %%
Markdown(
    f"GeM against the average: clothing, {said['gem']['clothing']}; tabletop, {said['gem']['tabletop']}; photo views, "
    f"{said['gem']['photo views']}. Radenović et al. report more, for networks that were trained with it. These maps have "
    f"only {maps.shape[2]} × {maps.shape[3]} places, and the network was trained with the average."
)

# %% [markdown]
# Now whitening. It does two things: it keeps some dimensions, and it makes them equally loud. To see the second alone,
# compare whitening ($a = 1$) with plain PCA ($a = 0$) **at the same number of dimensions**, and the last layer with one
# half-way at the same numbers. Both learn on the images set aside.

# %%
DIMS = (8, 16, 32, 64)


def whitening_gains(vectors, search, relevance, group):
    """Whitening minus PCA at equal dimensions; vectors is (queries, database, aside) of each layer."""
    found = {}
    for layer, (asking, stored, learn) in vectors.items():
        for n_dims in DIMS:
            pca, white = (encoders.PCAWhitening(n_dims, power=a).fit(learn) for a in (0.0, 1.0))
            both = [search(step.transform(asking), step.transform(stored)) for step in (white, pca)]
            found[layer, n_dims] = gain(*both, relevance, group)
    return found


# %%
whitened = {}
for (name, seed), (task, vectors_of) in worlds.items():
    of_layer = {"last": vectors_of["average"], middle: vectors_of[middle]}
    rows = whitening_gains(of_layer, lambda q, x, task=task: order(task, q, x), *task[3:])
    whitened |= {(layer, n_dims, name, seed): row for (layer, n_dims), row in rows.items()}

# %%
for seed in seeds:
    rows, learn, *truth_and_class = clothes(seed)
    names, of_layer = clothing.ids[rows], {}
    for layer, label in {"last": "tiny", middle: "tiny blocks.10"}.items():
        X = clothing.embeddings(label)
        of_layer[layer] = X[rows], X[rows], X[learn]

    def search(q, x, names=names):
        return Ranking.from_distances(1 - unit(q) @ unit(x).T, names, names, exclude_self=True)

    found = whitening_gains(of_layer, search, *truth_and_class)
    whitened |= {(layer, n_dims, "clothing", seed): row for (layer, n_dims), row in found.items()}

# %%
fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), sharey=True, layout="constrained")
for ax, name in zip(axes, truths, strict=True):
    for layer, number in {"last": 0, middle: 1}.items():
        parts = np.array([[whitened[layer, n, name, seed] for n in DIMS] for seed in seeds])  # (3, dims, 3)
        look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number]}
        ax.plot(DIMS, parts[:, :, 1].mean(axis=0), label=f"layer {layer}", **look)
        ax.fill_between(DIMS, parts[:, :, 0].min(axis=0), parts[:, :, 2].max(axis=0), color=look["color"], alpha=0.15, lw=0)
    ax.axhline(0, color="0.4", lw=1)
    ax.set(title=name, xlabel="dimensions kept", xscale="log")
    ax.set_xticks(DIMS, DIMS)
    ax.minorticks_off()
axes[0].set_ylabel("whitening minus PCA (mAP)")
axes[0].legend(frameon=False)
plots.show(plots.describe(fig, "What whitening adds to PCA at the same number of dimensions, on three sets, for two layers."), dpi=72)

# %% [markdown]
# The line is the mean of three seeds, the band reaches from the lowest low end to the highest high end of their
# intervals. In words, for the most and for the fewest dimensions:

# %%
ends = {f"{layer}, {n} dimensions": (layer, n) for layer in ("last", middle) for n in (DIMS[0], DIMS[-1])}
chosen = {(words, name, s): whitened[*key, name, s] for words, key in ends.items() for name in truths for s in seeds}
pd.DataFrame({words: {name: verdict(chosen, words, name) for name in truths} for words in ends})

# %% tags=["claim"]
for seed in seeds:
    change = {n: whitened["last", n, "clothing", seed][1] for n in DIMS}
    assert change[64] < -0.03  # on classes, whitening the last layer costs
    assert change[64] < change[16]  # and the more dimensions are made equal, the more
    assert whitened[middle, 64, "clothing", seed][1] > change[64] + 0.02  # half-way through the network less

# %% [markdown]
# Whitening makes all directions equally loud. On photographs of clothes that costs in the last layer, the more the more
# dimensions it turns up: training has made loud what tells kinds of objects apart, and the directions of small variance
# are quiet for a reason. Half-way through the network, at the same number of dimensions, it costs next to nothing. On
# the other two sets the picture differs: on tabletop both layers gain a little, on photo views the last one does. No
# setting is good for all: choose it on queries that you do not report.
#
# ### Larger images, several scales
#
# On photo views, against one scale at the usual size:

# %%
side = deep.preprocessing.shape[0]
sized = {"half as large again": {"size": side + side // 2}, "two scales": {"scales": (1.0, 1.41)}}
larger = {}
for label, options in sized.items():
    made = rank("photo views", encoders.Deep(BACKBONE, device="cpu", **options))
    score = evaluate(made, truth, metrics=["map"], n_bootstrap=0)["map"]
    larger[label] = score, *gain(made, rankings["photo views", f"{BACKBONE}, average"], truth, groups["photo views"])
pd.DataFrame(larger, index=["mAP", "low", "more than at the usual size", "high"]).T.round(3)

# %% tags=["claim"]
assert all(low < 0.02 for _, low, _, _ in larger.values())

# %% [markdown]
# The pixels are the same, only enlarged; what changes is how much of the image a cell looks at, for two and three times
# the work.
#
# ### Where it fails
#
# The queries of the photo views for which the network does worst:

# %%
rankings["photo views", BACKBONE] = rankings["photo views", f"{BACKBONE}, average"]
scores = pd.DataFrame({label: average_precision("photo views", label) for label in ("VLAD", BACKBONE)})
worst = scores[BACKBONE].sort_values(kind="stable").index[:3]
chosen = rankings["photo views", BACKBONE]
plots.show(plots.ranked_list(chosen, database, queries=queries, relevance=truth, rows=[*worst], k=7))

# %% [markdown]
# The cards! They are drawn at random and say nothing, but to a network that names things, "something with a card on it"
# is a description. How many of the ten first results have a card that hides something, for queries with a card and
# without? A second suspicion: photographs are upright, so nothing taught it to ignore rotation.

# %%
hidden = {part: np.array(found["occluder"].to_numpy(float) > 0) for part, found in (("q", queries.table), ("d", database.table))}
near = truth.gains(np.tile(np.arange(len(database)), (len(queries), 1))) > 0
turn = np.abs(queries.column("rotation")[:, None].astype(float) - database.column("rotation")[None].astype(float))
rows = []
for label in (BACKBONE, "VLAD"):
    made = rankings["photo views", label]
    cards = hidden["d"][made.indices[:, :10]].mean(axis=1)  # share of the first ten, for each query
    ranks = np.argsort(made.indices, axis=1)  # rank of each database image
    score = [scores[label].to_numpy()[mask].mean() for mask in (hidden["q"], ~hidden["q"])]
    turned = pd.Series(turn[near]).corr(pd.Series(ranks[near]), method="spearman")
    rows.append([cards[hidden["q"]].mean(), cards[~hidden["q"]].mean(), *score, turned])
columns = ["cards found, with", "cards found, without", "mAP with", "mAP without", "turn and rank, correlation"]
why = pd.DataFrame(rows, index=[BACKBONE, "VLAD"], columns=columns)
why.round(2)

# %% tags=["claim"]
assert why.loc[BACKBONE, "cards found, with"] > why.loc[BACKBONE, "cards found, without"] + 0.1
assert why.loc[BACKBONE, "cards found, with"] > why.loc["VLAD", "cards found, with"] + 0.05
assert why.loc[BACKBONE, "turn and rank, correlation"] > 0.04

# %% [markdown]
# Both hold. VLAD minds the cards less, since a plain card has key points at its edges only, and its patches are turned
# upright one by one. Which photographs are hard for whom?

# %%
hard_kinds = scores.groupby(queries.column("source")).mean().sort_values(BACKBONE)
colours = [plots.style.ORANGE, plots.style.BLUE]  # VLAD as before; the network
ax = hard_kinds.plot.barh(figsize=(6.4, 4.2), color=colours, width=0.8)
for bars, hatch in zip(ax.containers, ("", "///"), strict=True):
    plt.setp(bars, hatch=hatch, edgecolor="white")
ax.set(xlabel="mAP of the queries from this photograph", ylabel="")
ax.legend(frameon=False, loc="lower right")
plots.show(plots.describe(ax, "mAP by photograph for VLAD and the network; textures are hardest for the network."), dpi=64)

# %% [markdown]
# VLAD rests on key points, of which smooth pieces have few. Does the network do better there?

# %%
texture = queries.column("texture").astype(float)
smooth = np.where(texture <= np.quantile(texture, 0.25), "the smoothest quarter", "the others")
depends = scores.corrwith(pd.Series(texture, index=scores.index), method="spearman")
print("rank correlation of texture and average precision:", depends.round(2).to_dict())
scores.groupby(smooth).mean().round(3).rename_axis("mAP of")

# %% tags=["claim"]
assert depends["VLAD"] > depends[BACKBONE] + 0.1

# %% [markdown]
# The network depends on texture much less than VLAD does. That is not enough: read in the table who is ahead on the
# smooth pieces.
#
# ## Try it
#
# Compare the two retrievers on photo views: where does the network find the piece and VLAD not? Crop a query: how much
# of a thing does each need?

# %%
both = {label: found_by[label] for label in (BACKBONE, "VLAD")}
shown = (scores[BACKBONE] - scores["VLAD"]).idxmax()
explorer = explore.QueryExplorer(both, queries=queries, query=shown, k=12, relevance=truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=64)

# %% [markdown]
# ## Exercise 1 ★ which pixels does a cell see?
#
# Along one axis, a layer is a triple (kernel, stride, padding): its position $x$ reads `kernel` positions of the map
# before it, beginning at $x \cdot$ `stride` $-$ `padding`. Follow a cell of the last map back to the first and the last
# pixel. They may lie outside the image, where the padding is.
#
# <details><summary>Hint 1: the idea</summary>
#
# Keep two numbers, both equal to the cell at first, and go from the last layer to the first.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `for kernel, stride, padding in layers[::-1]`; the last position read is the first one + kernel − 1.
#
# </details>


# %% tags=["exercise"]
def seen_pixels(layers, cell):
    """First and last pixel: layers, a list of (kernel, stride, padding), cell a whole number -> (first, last)."""
    raise NotImplementedError


checks.check_seen_pixels(seen_pixels)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_seen_pixels(layers, cell):
    begin, end = cell, cell
    for kernel_, stride_, padding_ in layers[::-1]:
        begin, end = begin * stride_ - padding_, end * stride_ - padding_ + kernel_ - 1
    return begin, end


checks.check_seen_pixels(solution_seen_pixels)

# %% [markdown]
# A right answer gives this picture: what the middle cell of each layer could see, drawn on the photograph.

# %%
fig, ax = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
ax.imshow(datasets.reference_views(queries)[0], extent=(0, 384, 384, 0))
for number, name in enumerate(name for name in some if name in sizes):
    field = sizes[name][0]
    look = {"color": plots.style.COLOURS[number], "ls": plots.style.LINES[number], "lw": 2, "fill": False}
    ax.add_patch(plt.Rectangle((192 - field / 2, 192 - field / 2), field, field, label=f"{name}: {field}", **look))
ax.set(xlim=(0, 384), ylim=(384, 0), xlabel="pixels, of an image of 384")
ax.legend(fontsize=8, loc="lower left", title="layer: side in pixels")
plots.show(plots.describe(ax, "Squares of growing size around the middle of an image: the receptive fields of five layers."), dpi=64)

# %% [markdown]
# ## Exercise 2 ★★ GeM for every p
#
# Write GeM so that it holds for every $p \ge 1$ in float32: $p = 1$ is the average, `np.inf` the maximum, and neither
# $0.01^{64}$ nor $20^{200}$ may spoil it. A map of zeros gives 0.
#
# <details><summary>Hint 1: the idea</summary>
#
# Take the maximum $m$ of each map out: $x^p = m^p (x/m)^p$, and $x / m$ lies between 0 and 1.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `maps.max(axis=(2, 3), keepdims=True)`, `np.where(top > 0, top, 1)`, `np.isinf(p)`.
#
# </details>


# %% tags=["exercise"]
def stable_gem(maps, p):
    """GeM: maps (n, c, h, w) float32 >= 0 and p in [1, inf] -> (n, c)."""
    raise NotImplementedError


checks.check_stable_gem(stable_gem)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_stable_gem(maps, p):
    peak = maps.max(axis=(2, 3), keepdims=True)
    if np.isinf(p):
        return peak[:, :, 0, 0]
    shares = (maps / np.where(peak > 0, peak, 1)).astype(float)
    return (shares**p).mean(axis=(2, 3)) ** (1 / p) * peak[:, :, 0, 0]


checks.check_stable_gem(solution_stable_gem)

# %% [markdown]
# A right answer gives this picture: mAP from the average ($p = 1$) to nearly the maximum.

# %%
exponents = np.array([1, 1.5, 2, 3, 4, 6, 10, 30])
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for number, (name, task) in enumerate(tasks.items()):
    found = []
    for p in exponents:
        asking, stored = (unit(pooling.gem_pool(torch.from_numpy(m), p).numpy()) for m in last[name][:2])
        found.append(evaluate(order(task, asking, stored), task[3], metrics=["map"], n_bootstrap=0)["map"])
    ax.semilogx(exponents, found, plots.style.MARKERS[number] + "-", color=plots.style.COLOURS[number], label=name)
ax.set(xlabel="exponent p", ylabel="mAP", ylim=(0, None))
ax.set_xticks(exponents, [f"{p:g}" for p in exponents])
ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.85))
plots.show(plots.describe(ax, "mAP against the exponent of GeM on three sets: nearly flat, no peak at 3."), dpi=64)

# %% [markdown]
# ## Exercise 3 ★★ find the leak
#
# This whitening stood in a published script: `PCA(n_dims, whiten=True).fit_transform(embeddings)`, with queries and
# database in `embeddings`. Write it without the leak. `split` says of each row "query", "database" or "aside"; return
# the cosines between queries and database after PCA-whitening ($a = 1$) learned where it may be learned.
#
# <details><summary>Hint 1: the idea</summary>
#
# Mean, directions and standard deviations come from the rows set aside; they are applied to the others.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `encoders.PCAWhitening(n_dims).fit(…).transform(…)`, or `whiten` from above; then rows `split == "query"` times the
# transposed rows `split == "database"`.
#
# </details>


# %% tags=["exercise"]
def whitened_cosines(embeddings, split, n_dims):
    """Cosines (n_queries, n_database): embeddings (n, d), split (n,) of words, n_dims kept."""
    raise NotImplementedError


checks.check_whitened_cosines(whitened_cosines)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_whitened_cosines(embeddings, split, n_dims):
    fitted = encoders.PCAWhitening(n_dims).fit(embeddings[split == "aside"])
    q, x = (fitted.transform(embeddings[split == part]) for part in ("query", "database"))
    return q @ x.T


checks.check_whitened_cosines(solution_whitened_cosines)

# %% [markdown]
# A right answer gives the honest one of these numbers (mAP); beside it what the leak would have reported.

# %%
leaks = {}
for (name, seed), (task, vectors_of) in worlds.items():
    asking, stored, elsewhere = vectors_of["average"]
    for label, learned in {"honest": elsewhere, "leaked": np.concatenate([asking, stored])}.items():
        fitted = encoders.PCAWhitening(64).fit(learned)
        made = order(task, fitted.transform(asking), fitted.transform(stored))
        leaks[label, f"{name}, seed {seed}"] = evaluate(made, task[3], metrics=["map"], n_bootstrap=0)["map"]
pd.Series(leaks).unstack().T.round(3)

# %% [markdown]
# A leak need not raise the score to be one: a number about images that were used to make the method is a number about
# nothing else.
#
# ## Exercise 4 ★★★ CroW: weights for places and channels
#
# Kalantidis et al. (2016, *ECCV workshops*, [arXiv:1512.04065](https://arxiv.org/abs/1512.04065)) weigh before they
# add. With $S = \sum_k F_k$, $Q_k$ the share of places where channel $k$ is above 0, and $\lVert S \rVert$ the root
# of the sum of squares over places:
#
# $$f_k = \log\!\Big(\frac{\sum_m Q_m}{Q_k}\Big) \sum_{i,j} \sqrt{S_{ij} / \lVert S \rVert}\; F_{kij}$$
#
# Places where much happens count more, and channels that rarely fire count more. Where $Q_k = 0$, $f_k = 0$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Each image has its own S and Q. Keep the axes (`keepdims=True`) so that S of shape (n, 1, h, w) multiplies the maps.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.linalg.norm(S, axis=(2, 3), keepdims=True)`, `(maps > 0).mean(axis=(2, 3))`, `np.where(Q > 0, Q, 1)`.
#
# </details>


# %% tags=["exercise"]
def crow(maps):
    """Cross-dimensional weighting: maps (n, c, h, w) >= 0 -> (n, c), not normalised."""
    raise NotImplementedError


checks.check_crow(crow)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_crow(maps):
    total = maps.sum(axis=1, keepdims=True)  # (n, 1, h, w)
    length_ = np.linalg.norm(total, axis=(2, 3), keepdims=True)
    places = np.sqrt(total / np.where(length_ > 0, length_, 1))
    firing = (maps > 0).mean(axis=(2, 3))  # (n, c)
    rare = firing.sum(axis=1, keepdims=True) / np.where(firing > 0, firing, 1)
    return np.log(np.where(rare > 0, rare, 1)) * (maps * places).sum(axis=(2, 3))


checks.check_crow(solution_crow)

# %% [markdown]
# A right answer weighs places like this: bright is where much happens.

# %%
fig, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for column, position in enumerate(range(0, len(queries), len(queries) // 6)[:6]):
    energy = last["photo views"][0][position].sum(axis=0)  # (h, w)
    axes[0, column].imshow(queries[position])
    axes[1, column].imshow(np.sqrt(energy / np.linalg.norm(energy)), cmap="viridis", vmin=0)
for ax in axes.ravel():
    ax.axis("off")
plots.show(plots.describe(fig, "Six queries and the weight of each place of their maps."), dpi=64)

# %% [markdown]
# ## What we learned
#
# - A network trained to name objects has, layer by layer, turned pixels into kinds of objects. On photographs and on
#   rendered objects its last maps are a good general answer to "alike?", far above colour and the same network untrained.
# - A cell could see hundreds of pixels and mostly sees the middle of them. `tiny` has $5 \times 5$ cells.
# - GeM gains a hundredth or two on classes, nothing sure on instances: measure before you believe.
# - Whitening, compared with PCA at equal dimensions, costs much on clothes and gains a little elsewhere. It learns, so it
#   needs images of its own.
# - The same *instance* under strong warps is better found by local features. The network knows kinds of objects, and was
#   never taught to ignore a rotation or a card.
#
# ### Check yourself
#
# <details><summary>1. Why compare with the same network with random weights?</summary>
#
# Convolution and pooling alone make a descriptor of colours and edges. Only what exceeds it is owed to training.
#
# </details>
# <details><summary>2. A cell of the last map can see the whole image. Why does pooling still change anything?</summary>
#
# What it can see and what moves it differ: half of the influence lies in a spot, so cells describe parts.
#
# </details>
# <details><summary>3. Whitening lowered mAP on your set. Name two things to try before you drop it.</summary>
#
# A smaller exponent (half-whitening, or only centring), and fewer dimensions: what costs are the directions of small
# variance.
#
# </details>
# <details><summary>4. Someone picks the best layer on the queries and reports its mAP there. What is wrong?</summary>
#
# The layer was fitted to the test. Choose it on other queries, then report.
#
# </details>
#
# ### What breaks at a million images

# %%
width = last["photo views"][0].shape[1]
Markdown(
    f"{width} numbers of four bytes are {4 * width:,} bytes an image, {4 * width * 1e6 / 1e9:.1f} GB for a million: they "
    f"fit into memory, VLAD's {both['VLAD'].embeddings.shape[1]:,} would not. An exhaustive search reads all of it for "
    "every query ([notebook 12](12_approximate_search.ipynb) avoids that, [notebook 11](11_hashing.ipynb) makes the vectors smaller). Encoding is what takes the time, once "
    "for each image and each change of network, layer or size, which is why embeddings are stored with all of that in "
    "their key. And among a million images there are many of every kind: what was right in kind was enough here, and is "
    "not enough there, so the first hundred are re-ranked by geometry ([notebook 02](02_local_features.ipynb))."
)

# %% [markdown]
# ### Further reading
#
# - Razavian, Azizpour, Sullivan and Carlsson (2014), *CNN features off-the-shelf*, CVPR workshops,
#   [arXiv:1403.6382](https://arxiv.org/abs/1403.6382). The surprise: features trained for naming beat what was made for
#   each task.
# - Babenko and Lempitsky (2015), *Aggregating deep convolutional features for image retrieval*, ICCV,
#   [arXiv:1510.07493](https://arxiv.org/abs/1510.07493). SPoC: the plain sum, with whitening, is hard to beat. (Their
#   *Neural codes*, ECCV 2014, [arXiv:1404.1777](https://arxiv.org/abs/1404.1777), is the step before it.)
# - Tolias, Sicre and Jégou (2016), *Particular object retrieval with integral max-pooling of CNN activations*, ICLR,
#   [arXiv:1511.05879](https://arxiv.org/abs/1511.05879). R-MAC, and finding the object inside the image with the same
#   maps.
# - Radenović, Tolias and Chum (2018), *Fine-tuning CNN image retrieval with no human annotation*, TPAMI,
#   [arXiv:1711.02512](https://arxiv.org/abs/1711.02512). GeM, learned whitening, and training for instances.
# - Jégou and Chum (2012), *Negative evidences and co-occurrences in image retrieval: the benefit of PCA and
#   whitening*, ECCV, [doi:10.1007/978-3-642-33709-3_55](https://doi.org/10.1007/978-3-642-33709-3_55). Why whitening
#   works for instances.
#
# <!-- links:start -->
# Previous: [02_local_features](02_local_features.ipynb) · [course map](00_start_here.ipynb) · Next: [04_multi_scale](04_multi_scale.ipynb)
# <!-- links:end -->
