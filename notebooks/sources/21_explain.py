# %% [markdown]
# # 21 · Explain: why are these two images similar?
#
# **Question.** A search engine says how similar two images are, in one number. Which part of the picture does it come
# from? And does a map that claims to show it tell the truth?
#
# **Time:** a minute and a half to run, offline; 45 minutes to work through, 80 with (extra). **Before this:** notebooks
# [01](01_measuring_retrieval.ipynb) and [03](03_cnn_features.ipynb).
#
# <!-- links:start -->
# Previous: [20_incremental](20_incremental.ipynb) · [course map](00_start_here.ipynb) · Next: [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **make** maps of a similarity, by hiding parts of the picture and by gradients;
# - **score** a map: does it point at the right place? Does the similarity fall when what it marks is deleted?
# - **check** a method against maps and networks that know nothing.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import make_pipeline

from cbirkit import Retriever, attacks, checks, datasets, explain, explore, plots
from cbirkit.encoders import Deep
from cbirkit.evaluation.resample import bootstrap_means, interval
from cbirkit.learning import LinearProjection

# %%
SEED = 0
N_PAIRS, N_BLOBS = 12, 2

# %% [markdown]
# ## The goal
#
# You search with a picture of one object. The first result is a page with **four** pictures on it. Which of them is the
# reason? In such mosaics, rendered here, you know: one quarter shows the query's object, from another side.
#
# The network, `lite0`, was trained on ImageNet and has met none of these pictures. We keep mosaics whose right quarter,
# alone, leads by a cosine of at least 0.1: the similarity then likely, not certainly, comes from there.

# %%
encoder = Deep("lite0", size=128, resize="squash", device="cpu")
tabletop = datasets.load_tabletop()
singles = tabletop[tabletop.column("seen_category")]  # the settings were chosen on the other categories
views = {part: singles[singles.column("split") == part] for part in ("query", "database")}


def any_of(part, column, value, rng):
    """Position of one picture of a part, drawn among those with this value in a column."""
    return int(rng.choice(np.flatnonzero(views[part].column(column) == value)))


def joined(quarters):
    """Four arrays as one, two by two."""
    return np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])


# %%
def mosaic(label, rng):
    """Query, the four quarters, mask of the object in its quarter, and which quarter is right."""
    others = rng.choice(np.setdiff1d(singles.labels, [label]), 3, replace=False)
    rows = [any_of("database", "label", name, rng) for name in (*others, label)]
    instance, place = views["database"].column("instance")[rows[3]], int(rng.integers(4))
    rows.insert(place, rows.pop())
    query = views["query"][any_of("query", "instance", instance, rng)]
    return query, [views["database"][row] for row in rows], views["database"].mask(rows[place]) == 1, place


# %%
rng, pairs, n_tried = np.random.default_rng(SEED), [], 0
for label in rng.permutation(np.unique(singles.labels)):
    if len(pairs) == N_PAIRS:
        break
    query, quarters, mask, place = mosaic(label, rng)
    scores, n_tried = explain.similarities(encoder, query, quarters), n_tried + 1
    if scores[place] >= np.delete(scores, place).max() + 0.1:
        where = [np.full(mask.shape, k == place) for k in range(4)]
        masks = {"quarter": joined(where), "object": joined([mask & one for one in where])}
        pairs.append({"query": query, "image": joined(quarters), "vector": explain.embedding(encoder, query)} | masks)
print(f"{len(pairs)} mosaics, each for another category, out of {n_tried} categories tried")

# %% [markdown]
# **Predict.** Two methods hide parts of the picture, one uses gradients pixel by pixel, one a map of 4 × 4 cells. Which
# will point at the right quarter? And at the object in it?

# %%
METHODS = {
    "occlusion": lambda *pair: explain.occlusion(*pair, window=0.3, cells=6),
    "RISE": lambda *pair: explain.rise(*pair, n_masks=80, cells=8, random_state=SEED),
    "Grad-CAM": explain.grad_cam,
    "integrated gradients": lambda *pair: explain.integrated_gradients(*pair, steps=8, smooth=0.06),
}


def maps_of(network, pair, methods=METHODS):
    """A map (h, w) by each method, for one pair and an encoder."""
    vector = explain.embedding(network, pair["query"])
    return {name: method(network, vector, pair["image"]) for name, method in methods.items()}


# %%
def overlay(ax, image, saliency, title=""):
    """An image in grey with a map over it: transparent where it is lowest, orange where it is highest."""
    low, high = saliency.min(), saliency.max()
    ax.imshow(image.mean(axis=2), cmap="gray", vmin=-60, vmax=300)
    ax.imshow(saliency, cmap="inferno", alpha=0.75 * np.clip((saliency - low) / max(high - low, 1e-9), 0, 1))
    y, x = np.unravel_index(saliency.argmax(), saliency.shape)
    ax.plot(x, y, "x", color=plots.style.SKY, ms=9, mew=2.5)
    ax.set_title(title, fontsize=10)
    ax.axis("off")


# %% tags=["gallery"]
fig, axes = plt.subplots(2, 2 + len(METHODS), figsize=(12, 4.3), subplot_kw={"xticks": [], "yticks": []}, layout="constrained")
for row, pair in zip(axes, pairs, strict=False):
    row[0].imshow(pair["query"]), row[1].imshow(pair["image"])
    for ax, (name, saliency) in zip(row[2:], maps_of(encoder, pair).items(), strict=True):
        overlay(ax, pair["image"], saliency, name if ax in axes[0] else "")
    for ax in row[1:]:
        ax.add_patch(plt.Rectangle(np.argwhere(pair["quarter"])[0][::-1], 127, 127, fill=False, ec=plots.style.GREEN, lw=2.5))
axes[0, 0].set_title("query", fontsize=10), axes[0, 1].set_title("what was found", fontsize=10)
plots.show(plots.describe(fig, "Two queries, mosaics, and four maps of each similarity: a cross marks the maximum, a frame the right quarter."))

# %% [markdown]
# Framed: the right quarter; crosses: the maxima. The four maps of a row explain the same number, and
# they need not agree.
#
# ## Background
#
# The similarity of a query $q$ and an image $x$ is $s(x) = \cos\big(f(x), f(q)\big)$ with the network $f$. A **map**
# $(h, w)$ says how much each pixel of $x$ matters to it. Let $b$ be the **fill**, what hidden pixels become ($x$ blurred,
# or grey), and $m$ a mask $(h, w)$, 1 where the image is shown:
#
# $$s_m = s\big(m \odot x + (1 - m) \odot b\big)$$
#
# - **Occlusion** (Zeiler and Fergus 2014, *ECCV*, [arXiv:1311.2901](https://arxiv.org/abs/1311.2901); for similarities
#   *SBSM*, Dong et al. 2019, *CVPR workshops*): hide a window and note what $s$ loses; a pixel gets the mean of the
#   windows that hide it.
# - **RISE** (Petsiuk et al. 2018, *BMVC*, [arXiv:1806.07421](https://arxiv.org/abs/1806.07421)): show a random half of
#   a grid's cells, many times; a pixel gets the mean $s_m$ of the masks that show it.
# - **Grad-CAM** (Selvaraju et al. 2017, *ICCV*, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391)): the last feature
#   map, its channels weighted by the mean gradient of $s$.
# - **Integrated gradients** (Sundararajan et al. 2017, *ICML*, [arXiv:1703.01365](https://arxiv.org/abs/1703.01365)):
#   the gradient of $s$ at each pixel, averaged on the straight line from $b$ to $x$, times $x - b$; here absolute values,
#   smoothed.
#
# The first two need only $s$ and work with any encoder. The others need the network.

# %%
black_box = ["image", "hide parts:\nmany images", "network", "many\nsimilarities"]
plots.show(plots.pipeline([black_box, ["image", "network", "one\nsimilarity", "gradient"]], ["map\n(h, w)"]))

# %% [markdown]
# ## Build it
#
# Occlusion with 4 × 4 windows side by side:

# %%
query, image = pairs[0]["vector"], pairs[0]["image"]  # (d,) and (256, 256, 3)
nothing, hidden = explain.filled(image, "blur"), []  # the fill b
for top in range(0, 256, 64):
    for left in range(0, 256, 64):
        other = image.copy()
        other[top : top + 64, left : left + 64] = nothing[top : top + 64, left : left + 64]
        hidden.append(other)
loss = explain.similarities(encoder, query, [image])[0] - explain.similarities(encoder, query, hidden)  # (16,)
blocks = np.kron(loss.reshape(4, 4), np.ones((64, 64)))  # (256, 256)
assert np.allclose(blocks, explain.occlusion(encoder, query, image, window=0.25, cells=4), atol=1e-4)

# %% [markdown] tags=["extra"]
# ### Integrated gradients in the open (extra)
#
# `attackable` is the encoder as a differentiable function of pixels ([notebook 22](22_adversarial.ipynb)); torch gives
# the gradient at points on the way. The package calls the library captum. With `smooth=0` it returns the signed map;
# otherwise, as above, absolute values, smoothed.

# %% tags=["extra"]
model, target = attacks.attackable(encoder), torch.from_numpy(query)
start, end = attacks.to_pixels([nothing]), attacks.to_pixels([image])  # (1, 3, 256, 256), from 0 to 1
slopes = torch.zeros_like(end)
for way in (np.arange(16) + 0.5) / 16:
    at = (start + way * (end - start)).requires_grad_(True)
    slopes += torch.autograd.grad((model(at) @ target).sum(), at)[0] / 16
by_hand = ((end - start) * slopes).sum(dim=(0, 1)).numpy()  # (256, 256), signed
packaged = explain.integrated_gradients(encoder, query, image, steps=16, smooth=0)
assert np.corrcoef(by_hand.ravel(), packaged.ravel())[0, 1] > 0.9

# %% [markdown] tags=["extra"]
# Integrated gradients are **complete**: their sum is what the similarity gains from the fill to the image, but for the
# error of a finite number of steps. This holds for the signed map only.

# %% tags=["extra", "claim"]
without, whole = explain.similarities(encoder, query, [nothing, image])
print(f"similarity {without:.3f} of the fill, {whole:.3f} of the image; the map adds up to {packaged.sum():.3f}")
assert abs(packaged.sum() - (whole - without)) < 0.06

# %% [markdown] tags=["extra"]
# ### Which part goes with which? (extra)
#
# A map shows one image. **Matched regions** show both: the cells of the two feature maps that are each other's nearest.
# (Late interaction, a topic of notebook 10, ranks by such pairs.) An earlier layer has more and smaller cells.

# %% tags=["extra"]
middle = Deep("lite0", layer="blocks.4", size=192, resize="squash", device="cpu")
matched = explain.matched_regions(middle, pairs[0]["query"], image, k=8)  # (8, 5): x, y, x, y, cosine
ax = plots.match_lines(pairs[0]["query"], image, matched[:, :2], matched[:, 2:4])
ax.set_title(f"8 pairs of cells, cosines {matched[-1, 4]:.2f} to {matched[0, 4]:.2f}")
plots.show(ax)

# %% [markdown]
# ## Measure it
#
# - **Pointing game** (Zhang et al. 2018, *IJCV*, [arXiv:1608.00507](https://arxiv.org/abs/1608.00507)): is the maximum
#   in the right quarter? On the object? Less noisy is the **mass**: which fraction of what lies above the map's mean is
#   in the right quarter?
# - **Deletion** (Petsiuk et al. 2018, as insertion): replace pixels by the fill, those with the highest values first.
#   The score is the area under the curve of the similarity: *low* is good.
# - **Insertion**: begin with the fill and put pixels back; *high* is good.
#
# Pointing asks whether the map agrees with you, the others whether it agrees with the network. Three controls ignore
# the picture: the **centre prior**, **random pixels**, and **random blobs**, smooth, of one size for all maps. A fourth
# has each map's own smoothness: the **next pair's map**, by the same method.

# %%
rng = np.random.default_rng(SEED)
for pair in pairs:
    pair["maps"] = {name: [saliency] for name, saliency in maps_of(encoder, pair).items()}
    pair["maps"] |= {"centre prior": [explain.centre_prior(pair["image"])], "random pixels": [rng.normal(size=(256, 256))]}
    pair["maps"]["random blobs"] = [explain.random_blobs(pair["image"], seed) for seed in rng.integers(2**31, size=N_BLOBS)]
for pair, after in zip(pairs, [*pairs[1:], pairs[0]], strict=True):
    pair["maps"] |= {f"the next pair's map, {name}": after["maps"][name] for name in METHODS}


# %%
def scored(pair, saliency):
    """All scores of one map."""
    row = {f"on the {part}": explain.pointing(saliency, pair[part]) for part in ("quarter", "object")}
    row["mass in the quarter"] = explain.mass_inside(saliency - saliency.mean(), pair["quarter"])
    for name in ("deletion", "insertion"):
        how = {"insert": name == "insertion", "steps": 5}
        row[name] = explain.area_under(explain.curve(encoder, pair["vector"], pair["image"], saliency, **how))
    return row


# %%
rows = []
for number, pair in enumerate(pairs):
    for name, maps in pair["maps"].items():
        rows += [{"pair": number, "method": name} | scored(pair, saliency) for saliency in maps]
scores = pd.DataFrame(rows)
mean = scores.groupby("method", sort=False).mean().drop(columns="pair")
print(f"by chance: on the quarter 0.25, on the object {np.mean([pair['object'].mean() for pair in pairs]):.2f}")
MAPS = [*METHODS, "centre prior", "random pixels", "random blobs"]
mean.loc[MAPS].round(3)

# %% [markdown]
# Every map is compared with the mean of the blobs *on the same pair*, and those of the four methods with the next
# pair's map (hollow); the interval draws pairs, which are categories. Deletion has its sign turned: above 0 is better.


# %%
SIGNS = {"mass in the quarter": 1, "deletion": -1, "insertion": 1}


def gain(name, column, other, of):
    """Mean difference from another map of the same pairs, with a 95 % interval over pairs."""
    per_pair = SIGNS[column] * of.pivot_table(index="pair", columns="method", values=column)
    difference = (per_pair[name] - per_pair[other]).to_numpy()[:, None]  # (pairs, 1)
    low, high = interval(bootstrap_means(difference, np.arange(N_PAIRS), 2000, 0)[:, 0])
    row = {"map": name, "over": other.removesuffix(f", {name}"), "score": column}
    return row | {"gain": difference.mean(), "low": low, "high": high}


# %%
gains = [gain(name, column, "random blobs", scores) for name in MAPS[:-1] for column in SIGNS]
gains += [gain(name, column, f"the next pair's map, {name}", scores) for name in METHODS for column in SIGNS]
gains = pd.DataFrame(gains)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, column in zip(axes, SIGNS, strict=True):
    for over, fill, shift in (("random blobs", plots.style.BLUE, 0), ("the next pair's map", "white", 0.3)):
        rows = gains[(gains["score"] == column) & (gains["over"] == over)]
        ends, y = [rows["gain"] - rows["low"], rows["high"] - rows["gain"]], np.arange(len(rows)) + shift
        ax.errorbar(rows["gain"], y, xerr=ends, fmt="o", color=plots.style.BLUE, mfc=fill, label=f"over {over}")
    ax.axvline(0, color="0.5", lw=1, ls="--")
    ax.set(xlabel=f"gain: {column}", yticks=range(6), yticklabels=MAPS[:-1], ylim=(5.5, -0.5))
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
plots.show(plots.describe(fig, "Gains of maps over random blobs and over the next pair's map, in three scores, with 95 % intervals."))

# %% tags=["claim"]
by = gains.set_index(["over", "map", "score"])
for name in ("occlusion", "RISE"):
    blobs, after = by.loc["random blobs"].loc[name], by.loc["the next pair's map"].loc[name]
    assert blobs.loc["deletion", "low"] > 0 and blobs.loc["insertion", "low"] > 0
    assert after.loc[["deletion", "insertion"], "gain"].min() > 0.01
assert mean.loc["Grad-CAM", "on the object"] < mean.loc["RISE", "on the object"]
blobs, pixels = mean.loc["random blobs"], mean.loc["random pixels"]
assert pixels["deletion"] < blobs["deletion"] - 0.01 and pixels["insertion"] < blobs["insertion"] - 0.01

# %% [markdown]
# In deletion and insertion, which hide parts as they do, occlusion and RISE beat the blobs and the next pair's maps: it is
# not only their smoothness. In mass, and for the two that use gradients, read the intervals: not every gain can be told
# from none. Grad-CAM hits the most quarters (of twelve) and no object: a quarter is only two by two of its cells.
#
# Now look at the **random pixels**. In deletion they beat the blobs, about as the gradient maps do: a picture full of
# holes loses similarity whatever the holes hide. In insertion they lose. Read both scores, beside a control.
#
# ### A network that knows nothing
#
# Adebayo et al. (2018, *NeurIPS*, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)) ask for a **sanity check**:
# give the network random weights. A map that stays the same (rank correlation 1) showed the picture, not the network.

# %%
untrained = Deep("lite0", None, size=128, resize="squash", device="cpu", random_state=SEED)
again, sanity = lambda *pair: explain.rise(*pair, n_masks=80, cells=8, random_state=SEED + 1), []  # other masks
for pair in pairs[:6]:
    for name, saliency in maps_of(untrained, pair, METHODS | {"RISE": again}).items():
        both = [pd.Series(one[::8, ::8].ravel()) for one in (pair["maps"][name][0], saliency)]
        sanity.append({"method": name, "rank correlation": np.nan_to_num(both[0].corr(both[1], "spearman"))})
sanity = pd.DataFrame(sanity).groupby("method", sort=False)["rank correlation"].agg(["mean", "min", "max"])
sanity.round(2)

# %% tags=["claim"]
assert sanity.loc["integrated gradients", "mean"] > max(0.4, sanity["mean"].drop("integrated gradients").max() + 0.1)

# %% [markdown]
# **Integrated gradients change least** (on average): perhaps since $x - b$ comes from the picture alone, and since signs
# were dropped. That a map of theirs looks convincing is little evidence. The others depend on the weights more (one
# random network), which does not make them right.

# %% [markdown] tags=["extra"]
# ### The sanity check, checked (extra)
#
# How alike can two maps be at all? RISE's ceiling is its own map of the *same* network with other masks. And integrated
# gradients: is it the absolute value that stays? Signed and absolute maps are compared, both without smoothing.
#
# RISE's ceiling turns out low: with 80 masks, much of its map is chance, so that its low correlation with the untrained
# network says less than it seems. In integrated gradients, the size of a value stays, not its sign; smoothing makes the
# maps more alike still.

# %% tags=["extra", "claim"]
def likeness(one, other):
    return pd.Series(one[::4, ::4].ravel()).corr(pd.Series(other[::4, ::4].ravel()), "spearman")


ceiling, raw = [], lambda *pair: explain.integrated_gradients(*pair, steps=8, smooth=0)
for pair in pairs[:6]:
    here, there = (maps_of(network, pair, {"raw": raw})["raw"] for network in (encoder, untrained))
    row = {"RISE, same network, other masks": likeness(again(encoder, pair["vector"], pair["image"]), pair["maps"]["RISE"][0])}
    row |= {"gradients, signed": likeness(here, there), "gradients, absolute": likeness(abs(here), abs(there))}
    ceiling.append(row)
ceiling = pd.DataFrame(ceiling).mean()
assert ceiling["RISE, same network, other masks"] > sanity.loc["RISE", "mean"] + 0.1
assert ceiling["gradients, absolute"] > ceiling["gradients, signed"] + 0.1
ceiling.round(2)

# %% [markdown]
# ## Counter-example: a planted shortcut
#
# Can maps tell that a network looks at the wrong place? In the corner of every training picture we put a **sticker**
# whose colour goes with the category. The small network `conv5` is fine-tuned to tell six new categories. Its **control**
# sees stickers of random colours (lower row).

# %%
SIDE, COLOURS = 48, [(220, 30, 30), (30, 150, 60), (40, 80, 220), (245, 205, 20), (150, 50, 190), (20, 190, 190)]
unseen = tabletop[~tabletop.column("seen_category")]
six = np.random.default_rng(SEED).choice(np.unique(unseen.labels), 6, replace=False)
close = datasets.close_ups(unseen[np.isin(unseen.labels, six)], SIDE)
kind = np.searchsorted(np.sort(six), close.labels)  # (288,): 0 to 5
tested = ~close.column("seen_instance").astype(bool)  # two of six objects per category
sticker_mask = np.pad(np.ones((9, 9), bool), (0, SIDE - 9))  # True in the upper left corner


def with_stickers(colours):
    """All pictures, each with a sticker of the given colour (n,)."""
    pairs = zip(close, colours, strict=True)
    return [np.where(sticker_mask[..., None], COLOURS[c], one).astype(np.uint8) for one, c in pairs]


# %%
rng = np.random.default_rng(SEED)
looks = {"goes with the category": with_stickers(kind), "at random": with_stickers(rng.integers(0, 6, len(kind)))}
looks |= {"of another category": with_stickers((kind + rng.integers(1, 6, len(kind))) % 6), "none": list(close)}
shown = [looks[name][i] for name in ("goes with the category", "at random") for i in np.flatnonzero(tested)[::16]]
plots.show(plots.contact_sheet(shown, n=12, columns=6, labels=list(close.labels[tested][::16]) * 2), dpi=60)


# %%
def fine_tuned(pictures):
    """`conv5`, trained on 37 other categories, fine-tuned to tell the six apart."""
    torch.manual_seed(SEED)
    weights = str(datasets.shipped_file("adversarial_standard.safetensors"))
    base = Deep("conv5", weights, size=SIDE, device="cpu")
    x, y = base.preprocessing([pictures[i] for i in np.flatnonzero(~tested)]), torch.from_numpy(kind[~tested])
    network, head = base.network.train(), torch.nn.Linear(96, 6)
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(150):
        batch = torch.randint(len(x), (32,))
        loss = torch.nn.functional.cross_entropy(head(network(x[batch]).mean(dim=(2, 3))), y[batch])
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    return base.with_state(network.eval().state_dict())


# %%
trained_on = {"shortcut": "goes with the category", "control": "at random"}
networks = {name: fine_tuned(looks[look]) for name, look in trained_on.items()}


def precision_at_1(queries, database):
    """Fraction of test pictures whose nearest training picture is of the same category; vectors (n, d)."""
    return np.mean(kind[~tested][(queries @ database.T).argmax(axis=1)] == kind[tested])


p_at_1 = pd.DataFrame(index=pd.Index(looks, name="sticker of the query"))
for name, network in networks.items():
    vectors = {look: network.transform(looks[look]) for look in looks}
    p_at_1[name] = [precision_at_1(own[tested], vectors[trained_on[name]][~tested]) for own in vectors.values()]
p_at_1.round(2)

# %% [markdown]
# The database is each network's training pictures, the queries show two new objects per category. With the stickers
# that it learned from, the network with the shortcut looks almost perfect; without any, it does about as well as its
# control. Ask the maps of two test objects of one category: how often is their maximum on the sticker?

# %%
found, examples, pictures = [], {}, looks["goes with the category"]
for name, network in networks.items():
    for number in range(6):
        mine = np.flatnonzero(tested & (kind == number))  # eight views of one object, then of another
        for image in mine[8:11]:
            pair = {"query": pictures[mine[0]], "image": pictures[image]}
            examples[name, number] = pair | {"maps": maps_of(network, pair)}
            for method, saliency in examples[name, number]["maps"].items():
                mass = explain.mass_inside(saliency - saliency.mean(), sticker_mask)
                found.append((name, method, explain.pointing(saliency, sticker_mask), mass))
found = pd.DataFrame(found, columns=["network", "method", "on the sticker", "mass"])
on_sticker = found.pivot_table(index="method", columns="network", sort=False)
on_sticker.round(2)

# %%
fig, axes = plt.subplots(2, len(METHODS), figsize=(9, 4.6), layout="constrained")
for row, name in zip(axes, networks, strict=True):
    for ax, (method, saliency) in zip(row, examples[name, 1]["maps"].items(), strict=True):
        overlay(ax, examples[name, 1]["image"], saliency, f"{name}: {method}")
plots.show(plots.describe(fig, "Four maps of one pair for the network with the shortcut, upper row, and its control; a cross marks each maximum."))

# %% tags=["claim"]
assert p_at_1.loc["goes with the category", "shortcut"] > 0.8
assert p_at_1.loc["of another category", "shortcut"] < 0.4
pointed, mass = on_sticker["on the sticker"], on_sticker["mass"].loc["Grad-CAM"]
for method in ("occlusion", "RISE", "integrated gradients"):
    assert pointed.loc[method, "shortcut"] > pointed.loc[method, "control"] + 0.4
assert pointed.loc["Grad-CAM", "shortcut"] < 0.4
assert mass["shortcut"] > 2 * sticker_mask.mean() > 4 * mass["control"]

# %% [markdown]
# Occlusion, RISE and integrated gradients find the sticker; in the control they point at it far less often (18
# pictures, one training). **Grad-CAM mostly points beside it** (coarse cells?), though its mass there is
# several times the sticker's area, and next to nothing in the control.

# %% [markdown] tags=["extra"]
# ### A shortcut that is not taken (extra)
#
# Is every sticker a shortcut? The same stickers, but now `lite0` is frozen, and only a linear head learns to tell the six
# categories.

# %% tags=["extra"]
frozen = Deep("lite0", size=128, resize="squash", device="cpu")
asked = ["goes with the category", "of another category"]
vectors = {look: frozen.transform([looks[look][i] for i in np.flatnonzero(tested)]) for look in asked}
linear, heads = pd.DataFrame(index=pd.Index(asked, name="sticker of the query")), {}
for name, learned in trained_on.items():
    known = frozen.transform([looks[learned][i] for i in np.flatnonzero(~tested)])
    head = LinearProjection(6, epochs=60, random_state=SEED).fit(known, kind[~tested])
    linear[name] = [precision_at_1(head.transform(own), head.transform(known)) for own in vectors.values()]
    heads[name] = make_pipeline(frozen, head)
linear.round(2)

# %% tags=["extra"]
by_hiding, hits = {"occlusion": METHODS["occlusion"]}, {name: [] for name in heads}  # no gradients here
for name, pipeline in heads.items():
    for number in range(6):
        mine = np.flatnonzero(tested & (kind == number))
        pair = {"query": pictures[mine[0]], "image": pictures[mine[8]]}
        hits[name].append(explain.pointing(maps_of(pipeline, pair, by_hiding)["occlusion"], sticker_mask))
print("maxima on the sticker:", {name: float(np.mean(found)) for name, found in hits.items()})

# %% tags=["extra", "claim"]
assert linear.loc["goes with the category", "shortcut"] < linear.loc["of another category", "shortcut"] + 0.1
assert linear.loc["of another category", "shortcut"] > p_at_1.loc["of another category", "shortcut"] + 0.3
assert np.mean(hits["shortcut"]) < 0.35

# %% [markdown] tags=["extra"]
# A **null result**: the head does not take this shortcut. Another sticker changes next to nothing, and the maps do not point
# at it. The categories are easy to tell in the features of `lite0`, and the sticker is a small part of them. Whether a
# shortcut is taken depends on the network, so test yours.

# %% [markdown] tags=["extra"]
# ## What a map does not show (extra)
#
# A map on the object is no proof that the network is right. Now queries and database show single objects. Where does the
# map of the first result point if that result is right (same category), and where if it is wrong?

# %% tags=["extra"]
drawn = np.random.default_rng(SEED).permutation(len(views["query"]))[:120]
database = views["database"][np.random.default_rng(SEED).permutation(len(views["database"]))[:400]]
asked = views["query"][drawn]
distances = 1 - encoder.transform(asked) @ encoder.transform(database).T
distances[asked.column("instance")[:, None] == database.column("instance")[None]] = np.inf  # other views are junk
nearest = distances.argmin(axis=1)
is_right = asked.labels == database.labels[nearest]
print(f"the first result has the right category for {is_right.mean():.2f} of the queries")

# %% tags=["extra"]
on_object = {"right results": [], "wrong results": []}
for name, which in (("right results", is_right), ("wrong results", ~is_right)):
    for i in np.flatnonzero(which)[:16]:
        image, mask = database[int(nearest[i])], database.mask(int(nearest[i])) == 1
        saliency = explain.occlusion(encoder, asked[int(i)], image, window=0.3, cells=6)
        both = saliency, explain.centre_prior(image)
        on_object[name].append([explain.pointing(one, mask) for one in both])
on_object = {name: np.mean(values, axis=0) for name, values in on_object.items()}
on_object = pd.DataFrame(on_object, ["occlusion", "centre prior"]).T
on_object.round(2)

# %% tags=["extra", "claim"]
hits = on_object["occlusion"] * [is_right.mean(), 1 - is_right.mean()]  # fraction of all results
misled = hits["wrong results"] / hits.sum()
print(f"{misled:.2f} of the first results whose map points at the object show the wrong category")
assert misled > 0.25
assert on_object.loc["right results", "occlusion"] > on_object.loc["wrong results", "occlusion"]

# %% [markdown] tags=["extra"]
# When the result is right, the map lies on the object more often. Still, many maps that lie where they should belong to
# wrong results, for most first results are wrong here. (Sixteen results of each kind, without an interval.) A map says
# *where* the network looked, not *what it took it for*. Note the centre prior: on pictures of single objects it is hard
# to beat, which is why the measurements above use mosaics.

# %% [markdown] tags=["extra"]
# ## In our longer run (extra)
#
# `tools/explain_runs.py` measured the same maps, of `lite0` again, on 36 mosaics (three seeds), on 20 **scenes**, where
# the image is a table with several objects on it, and on 20 photographs of **COCO** (Lin et al. 2014, *ECCV*,
# [arXiv:1405.0312](https://arxiv.org/abs/1405.0312)) with masks that people drew. Only numbers ship.

# %% tags=["extra"]
runs = pd.read_csv(datasets.shipped_file("explain.csv"))
by_set = runs[(runs["pictures"] != "validation") & (runs["fill"] == "blur")]
longer = by_set.groupby(["method", "pictures"]).mean(numeric_only=True).reset_index()
SETS, ORDER = ["mosaic", "scenes", "COCO"], [*METHODS, "centre prior", "random blobs"]
pointing = longer.pivot(index="method", columns="pictures", values="pointing").loc[ORDER, SETS]
pointing.loc["area of the object"] = longer.groupby("pictures")["area"].mean()[SETS]
insertion = longer.pivot(index="method", columns="pictures", values="insertion blur").loc[ORDER, SETS]
pd.concat({"pointing at the object": pointing, "insertion (high is good)": insertion}, axis=1).round(2)

# %% tags=["extra", "record"]
# A recorded run; SEED has no part in it.
for name in METHODS:
    assert (insertion.loc[name] > insertion.loc["random blobs"] + 0.01).all()
    assert pointing.loc[name, "COCO"] < pointing.loc["centre prior", "COCO"] + 0.1
    assert pointing.loc[name, "scenes"] < 0.35
assert pointing.loc["RISE", "mosaic"] > pointing.loc["random blobs", "mosaic"] + 0.2

# %% [markdown] tags=["extra"]
# On all three kinds of picture, every method has a higher mean insertion than the blobs (no intervals). **Yet on
# photographs, no method points at the object clearly more often than the centre prior** (20 pairs, too few to tell them
# apart), since people put objects in the middle. In scenes most maxima miss the object: with one vector per image, the
# similarity comes from the table and the light as well ([notebook 14](14_object_retrieval.ipynb)). A map that misses
# the object may be a good map of a network that looks elsewhere.
#
# ### Does the fill matter? (extra)
#
# Above, hidden pixels were replaced by the blurred image, which keeps its colours; grey puts edges around every hole. And
# each method has settings: the window of the occlusion and the step between windows, the cells of RISE, the smoothing of
# integrated gradients. Insertion minus deletion, with the lowest and the highest of all settings tried, on mosaics of
# other categories (maps and scores with the same fill; four mosaics, so the choice among settings is a rough one), and for
# the settings chosen there, on the pictures above:

# %% tags=["extra"]
validation, tried = runs[runs["pictures"] == "validation"].dropna(subset="setting"), []
for fill in explain.FILLS:
    rows = validation[validation["fill"] == fill]
    tried.append(rows.assign(gain=rows[f"insertion {fill}"] - rows[f"deletion {fill}"]))
by_setting = pd.concat(tried).groupby(["fill", "method", "setting"])["gain"].mean()
by_setting.groupby(["fill", "method"]).agg(["min", "max"]).round(3)

# %% tags=["extra"]
for fill in explain.FILLS:
    longer[fill] = longer[f"insertion {fill}"] - longer[f"deletion {fill}"]
both_fills = longer.pivot(index="method", columns="pictures", values=["blur", "grey"])
both_fills.round(3)

# %% tags=["extra", "record"]
hiding = ["occlusion", "RISE"]
others = ["integrated gradients", "centre prior", "random blobs", "random pixels"]
for fill in explain.FILLS:
    assert by_setting[fill][hiding].min() > by_setting[fill]["integrated gradients"].max() + 0.02
    assert (both_fills[fill].loc[hiding].min() > both_fills[fill].loc[others].max()).all()
    assert (both_fills[fill].loc["occlusion"] > both_fills[fill].loc["Grad-CAM"] + 0.01).all()

# %% [markdown] tags=["extra"]
# With either fill and with any of the settings, the methods that hide parts are ahead of integrated gradients and of the
# controls. Which of the two is better depends on the fill, and so does the place of Grad-CAM: small differences rank
# nothing. State the fill wherever you state the score.

# %% [markdown]
# ## Try it
#
# Pick a query, then click a wrong neighbour: do its maps tell you why it was found? Under each map stands what the
# similarity loses when the fifth of the picture that it marks highest is hidden.

# %%
some = views["database"][np.random.default_rng(SEED).permutation(len(views["database"]))[:80]]
explorer = explore.WhyExplorer(Retriever(encoder, progress=False).fit(some), k=6, by="label")
explorer

# %%
plots.show(explorer.static())

# %% [markdown]
# ## Exercise 1 ★ the pointing game
#
# Return 1 if the largest value of `saliency` (h, w) lies in `mask` (h, w), bool, else 0. If several pixels share the
# largest value, return the fraction of them in the mask. An empty mask gives NaN.
#
# <details><summary>Hint 1: the idea</summary>
#
# Find *all* pixels that have the largest value. Ask the mask about those.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `saliency.max()`; a bool array as an index picks pixels; `.mean()` of bool is a fraction.
#
# </details>


# %% tags=["exercise"]
def pointing_game(saliency, mask):
    """Maps and masks (h, w) -> a float from 0 to 1, NaN for an empty mask."""
    raise NotImplementedError


checks.check_pointing_game(pointing_game)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_pointing_game(saliency, mask):
    if not mask.any():
        return float("nan")
    return float(mask[saliency == saliency.max()].mean())


checks.check_pointing_game(solution_pointing_game)

# %% [markdown]
# Hits (dark) of each map in the right quarter, by your function (or the solution's). Which pairs are hard?

# %%
given = [[(pair["maps"][name][0], pair["quarter"]) for pair in pairs] for name in MAPS]
hits = np.array([[checks.first_written("pointing_game", *one) for one in row] for row in given], dtype=float)
fig, ax = plt.subplots(figsize=(6.5, 2.4), layout="constrained")
ax.imshow(hits, cmap="Blues", vmin=0, vmax=1)
ax.set(xlabel="pair", xticks=range(len(pairs)), yticks=range(len(MAPS)), yticklabels=MAPS)
plots.show(plots.describe(ax, "For each map and pair, dark where the maximum lies in the right quarter."))

# %% [markdown]
# ## Exercise 2 ★★ the deletion score
#
# `score` takes one image and returns its similarity. Replace 0, 1/steps, 2/steps, … and all of the pixels of `image`,
# rounded to whole ones, by those of `fill`, most important first. Return the area under the scores over [0, 1], by
# trapezoids. No two values of `saliency` are equal.
#
# <details><summary>Hint 1: the idea</summary>
#
# Sort the pixels once. For each of the `steps + 1` scores, replace the first n of them in a copy.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.argsort(…, axis=None)` sorts the flat map; `image.reshape(-1, 3)` is a list of pixels; `np.trapezoid` takes the
# distance of two points as `dx`.
#
# </details>


# %% tags=["exercise"]
def deletion_score(score, image, fill, saliency, steps):
    """A function of one image, images (h, w, 3), a map (h, w), a whole number -> a float."""
    raise NotImplementedError


checks.check_deletion_score(deletion_score)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_deletion_score(score, image, fill, saliency, steps):
    order, values = np.argsort(-saliency, axis=None), []
    for count in np.linspace(0, saliency.size, steps + 1).round().astype(int):
        less = image.reshape(-1, 3).copy()
        less[order[:count]] = fill.reshape(-1, 3)[order[:count]]
        values.append(score(less.reshape(image.shape)))
    return np.trapezoid(values, dx=1 / steps)


checks.check_deletion_score(solution_deletion_score)

# %% [markdown]
# Your score of the first pair's maps. Which is best? Does the order settle? (The table took 5.)

# %%
STEPS, pair = [1, 2, 4, 8], pairs[0]
score = lambda image: float(explain.similarities(encoder, pair["vector"], [image])[0])
given = score, pair["image"], explain.filled(pair["image"], "blur")
some = {name: pair["maps"][name][0] for name in [*METHODS, "random pixels", "random blobs"]}
own = {name: [checks.first_written("deletion_score", *given, one, steps) for steps in STEPS] for name, one in some.items()}
ax = pd.DataFrame(own, STEPS, dtype=float).plot(style=[f"{mark}-" for mark in plots.style.MARKERS[:6]], figsize=(6, 3))
ax.set(xlabel="steps", ylabel="deletion score (low is good)", xticks=STEPS)
ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Deletion score of six maps of one mosaic against the number of steps, from 1 to 8."))

# %% [markdown] tags=["extra"]
# ## Exercise 3 ★★ an occlusion map from overlapping windows (extra)
#
# `losses` (n,) holds what the similarity lost under each of n windows, `corners` (n, 2) row and column of each window's
# first pixel, `window` the height and width of all of them, `shape` that of the image. A pixel may lie under several
# windows: its value is the mean of their losses, and 0 where there is none. A window may reach over the lower or right
# edge.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two arrays of zeros: one for the sum of the losses, one that counts windows. Divide at the end.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# A slice such as `total[top : top + height, left : left + width]` is cut at the edge by itself; `np.maximum(…, 1)` saves
# you from dividing by 0.
#
# </details>


# %% tags=["extra", "exercise"]
def occlusion_map(losses, corners, window, shape):
    """Losses (n,), corners (n, 2), two pairs of whole numbers -> a map (h, w)."""
    raise NotImplementedError


checks.check_occlusion_map(occlusion_map)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_occlusion_map(losses, corners, window, shape):
    total, count = np.zeros(shape), np.zeros(shape)
    for drop, (row, column) in zip(losses, corners, strict=True):
        covered = np.s_[row : row + window[0], column : column + window[1]]
        total[covered] += drop
        count[covered] += 1
    return total / np.maximum(count, 1)


checks.check_occlusion_map(solution_occlusion_map)

# %% [markdown] tags=["extra"]
# With your function: windows side by side, and 36 windows that overlap.

# %% tags=["extra"]
image, nothing = pairs[0]["image"], explain.filled(pairs[0]["image"], "blur")
starts = np.linspace(0, 256 - 77, 6).round().astype(int)
corners, hidden = [(top, left) for top in starts for left in starts], []
for top, left in corners:
    hidden.append(image.copy())
    hidden[-1][top : top + 77, left : left + 77] = nothing[top : top + 77, left : left + 77]
whole, *scores_hidden = explain.similarities(encoder, pairs[0]["vector"], [image, *hidden])
given = whole - np.array(scores_hidden), np.array(corners), (77, 77), (256, 256)
overlapping = checks.first_written("occlusion_map", *given)
fig, axes = plt.subplots(1, 2, figsize=(5, 2.6), layout="constrained")
overlay(axes[0], image, blocks, "16 windows side by side")
if overlapping is not None:
    overlay(axes[1], image, overlapping, "36 windows that overlap")
plots.show(plots.describe(fig, "Two occlusion maps of one picture: of 16 windows side by side, and of 36 that overlap."))

# %% [markdown]
# ## Exercise 4 ★★★ open: a better map, with an interval
#
# Change the windows of the occlusion or the masks of RISE, or average two maps after ranking their pixels. **Predict**
# which score gains; then put your map in place of the centre prior. Tune with SEED 1 and report SEED 2 (which draws from
# the same objects), with intervals and the number of encodings.

# %%
def mine(encoder, vector, image):  # query vector (d,), image (h, w, 3) -> a map (h, w)
    return explain.centre_prior(image)


rows = [{"pair": n, "method": "mine"} | scored(one, mine(encoder, one["vector"], one["image"])) for n, one in enumerate(pairs)]
pd.DataFrame([gain("mine", column, "RISE", pd.concat([scores, pd.DataFrame(rows)])) for column in SIGNS]).round(3)

# %% [markdown] tags=["extra"]
# **Solution (click to open)** (extra)
#
# <details><summary>One idea, and what came out (SEED 0)</summary>
#
# The mean of two maps' ranks needs no new encodings. It cannot be told from RISE alone in any of the scores.
#
# </details>

# %% tags=["extra", "solution"]
ranks = {name: [pd.DataFrame(one["maps"][name][0]).stack().rank().to_numpy() for one in pairs] for name in ("occlusion", "RISE")}
averaged = [(one + two).reshape(256, 256) for one, two in zip(*ranks.values(), strict=True)]
judged = [{"pair": n, "method": "averaged"} | scored(pairs[n], one) for n, one in enumerate(averaged)]
pd.DataFrame([gain("averaged", column, "RISE", pd.concat([scores, pd.DataFrame(judged)])) for column in SIGNS]).round(3)

# %% [markdown]
# ## What we learned
#
# - **A map needs a score, and a score needs a control**: the random map, the centre prior, the random network.
# - Hiding parts costs an encoding per mask; gradients need the network.
# - Three of four maps found the shortcut, the fourth pointed beside it. Use more than one.
#
# ### Check yourself
#
# <details><summary>1. Why is a mosaic a fairer test than a picture of one object in the middle?</summary>
#
# In the middle, the centre prior scores well. On a mosaic it is right in one of four.
#
# </details>
# <details><summary>2. A method's map stays the same when the weights are random. What does it show?</summary>
#
# Something about the picture, such as its edges.
#
# </details>
# <details><summary>3. Deletion says that your map is excellent. Why do you also try insertion?</summary>
#
# Similarity falls whatever holes hide. In insertion, holes earn nothing.
#
# </details>
# <details><summary>4. All maps lie on the bird. May you conclude that the network knows birds?</summary>
#
# No. It may have used the bird's colour.
#
# </details>
#
# ### What breaks at a million images
#
# A map costs up to hundreds of encodings per *result*: explain only what somebody looks at.
#
# ### Further reading
#
# Geirhos et al. (2020), *Shortcut learning in deep neural networks*,
# [arXiv:2004.07780](https://arxiv.org/abs/2004.07780); Adebayo et al.
# ([arXiv:1810.03292](https://arxiv.org/abs/1810.03292)); Petsiuk et al.
# ([arXiv:1806.07421](https://arxiv.org/abs/1806.07421)).
#
# <!-- links:start -->
# Previous: [20_incremental](20_incremental.ipynb) · [course map](00_start_here.ipynb) · Next: [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->
