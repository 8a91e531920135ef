# %% [markdown]
# # 21 · Explain: why are these two images similar?
#
# **Question.** A search engine says that two images are similar, and gives one number. Which part of the picture does
# that number come from? How do you find out whether a map that claims to show it tells the truth?
#
# **Time:** about a minute and a half to run on two cores, offline; an hour and a half to work through. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for intervals, [notebook 03](03_cnn_features.ipynb) for feature maps.
#
# <!-- links:start -->
# Previous: 20_incremental (still to come), then [14_object_retrieval](14_object_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **make** maps of a similarity in four ways: occlusion, RISE, Grad-CAM, integrated gradients;
# - **score** a map: does it point at the right place, and does the similarity fall when what it marks is deleted?
# - **check** a method against a centre prior, a random map and a network with random weights;
# - **find** a shortcut that a network has learned, and **say** what a map does not show.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from cbirkit import Retriever, attacks, checks, datasets, explain, explore, plots
from cbirkit.encoders import Deep

# %%
SEED = 0
N_PAIRS = 12

# %% [markdown]
# ## The goal
#
# You search with a picture of one object; a smaller thing may lie beside it. The first result is a page with **four**
# pictures on it. Which of the four is the reason? Such mosaics are a test with a known answer. The pictures are
# rendered, of everyday objects on a table. The query shows the same object as one quarter, from another side and under
# other light.
#
# The network is `lite0`, trained on photographs of ImageNet. It has met none of these pictures. A map cannot be right
# about a similarity that the network does not see, so we keep mosaics where the network **itself**, shown the four
# quarters one by one, prefers the right one, by a cosine of at least 0.1. This makes it likely, not certain, that the
# similarity to the whole mosaic comes from that quarter: a miss can be the map's fault or the network's.

# %%
encoder = Deep("lite0", size=128, resize="squash", device="cpu")
singles = datasets.load_tabletop()
singles = singles[singles.column("seen_category")]  # the settings were chosen on the other categories
views = {part: singles[singles.column("split") == part] for part in ("query", "database")}


def any_of(part, column, value, rng):
    """Position of one picture of a part, drawn among those with this value in a column."""
    return int(rng.choice(np.flatnonzero(views[part].column(column) == value)))


# %%
def mosaic(label, rng):
    """Query, the four quarters, mask of the object in its quarter, and which quarter is right."""
    others = rng.choice(np.setdiff1d(singles.labels, [label]), 3, replace=False)
    rows = [any_of("database", "label", name, rng) for name in (*others, label)]
    instance, place = views["database"].column("instance")[rows[3]], int(rng.integers(4))
    rows.insert(place, rows.pop())
    query = views["query"][any_of("query", "instance", instance, rng)]
    return query, [views["database"][row] for row in rows], views["database"].mask(rows[place]) == 1, place


def joined(quarters):
    """Four arrays as one, two by two."""
    return np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])


# %%
rng, pairs, n_tried = np.random.default_rng(SEED), [], 0
for label in rng.permutation(np.unique(singles.labels)):
    if len(pairs) == N_PAIRS:
        break
    query, quarters, thing, place = mosaic(label, rng)
    scores, n_tried = explain.similarities(encoder, query, quarters), n_tried + 1
    if scores[place] >= np.delete(scores, place).max() + 0.1:
        where = [np.full(thing.shape, k == place) for k in range(4)]
        masks = {"quarter": joined(where), "object": joined([thing & one for one in where])}
        pairs.append({"query": query, "image": joined(quarters), "vector": explain.embedding(encoder, query)} | masks)
print(f"{len(pairs)} mosaics, each for another category, out of {n_tried} categories tried")

# %% [markdown]
# **Before you run the next three cells, predict:** one of the four methods looks at gradients pixel by pixel, one at a map of
# 4 × 4 cells, two hide parts of the picture and measure. Which of them will point at the right quarter?

# %%
METHODS = {
    "occlusion": lambda *pair: explain.occlusion(*pair, window=0.3, cells=6),
    "RISE": lambda *pair: explain.rise(*pair, n_masks=80, cells=6, random_state=SEED),
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
first = pairs[0] | {"maps": maps_of(encoder, pairs[0])}
fig, axes = plt.subplots(1, 6, figsize=(12, 2.3), layout="constrained")
for ax, key in zip(axes, ("query", "image"), strict=False):
    ax.imshow(first[key])
    ax.set_title({"query": "query", "image": "what was found"}[key], fontsize=10)
    ax.axis("off")
for ax, (name, saliency) in zip(axes[2:], first["maps"].items(), strict=True):
    overlay(ax, first["image"], saliency, name)
plots.show(plots.describe(fig, "A query, a mosaic of four objects, and four maps of their similarity; a cross marks each maximum."))

# %% [markdown]
# The crosses do not agree, though all four maps explain the same number. Which one do you believe? A map needs a score,
# and a test whose answer is known.
#
# ## Background
#
# The similarity of a query $q$ and an image $x$ is $s(x) = \cos\big(f(x), f(q)\big)$ with the network $f$. A **map** gives
# every pixel of $x$ a number, shape $(h, w)$: how much it matters to $s(x)$. With $b$, an image in which there is nothing
# to see (here the blurred image, or grey; the **fill**), and a mask $m$ of shape $(h, w)$, 1 where the image is shown:
#
# $$s_m = s\big(m \odot x + (1 - m) \odot b\big)$$
#
# - **Occlusion** (Zeiler and Fergus 2014, *ECCV*, [arXiv:1311.2901](https://arxiv.org/abs/1311.2901); for similarities
#   *SBSM*, Dong et al. 2019, *CVPR workshops*): hide a window, note what $s$ loses, move on.
# - **RISE** (Petsiuk et al. 2018, *BMVC*, [arXiv:1806.07421](https://arxiv.org/abs/1806.07421)): show about half of the
#   cells of a grid, drawn at random; a pixel's number is the mean $s_m$ of the masks that show it.
# - **Grad-CAM** (Selvaraju et al. 2017, *ICCV*, [arXiv:1610.02391](https://arxiv.org/abs/1610.02391)): the last feature
#   map, its channels weighted by the mean gradient of $s$.
# - **Integrated gradients** (Sundararajan et al. 2017, *ICML*, [arXiv:1703.01365](https://arxiv.org/abs/1703.01365)):
#   the gradient of $s$ with respect to each pixel, averaged along the straight line from $b$ to $x$, times $x - b$.
#
# The first two need only the number $s$, so they work with any encoder. The others need the network.

# %%
black_box = ["image", "hide parts:\nmany images", "network", "many\nsimilarities"]
white_box = ["image", "network", "one\nsimilarity", "gradient"]
plots.show(plots.pipeline([black_box, white_box], ["map\n(h, w)"]))

# %% [markdown]
# ## Build it
#
# ### Occlusion and integrated gradients
#
# The smallest occlusion: 4 × 4 windows side by side, so that each pixel is hidden once. The package's windows may
# overlap; how to combine them then is Exercise 2.

# %%
query, image = first["vector"], first["image"]  # (d,) and (256, 256, 3)
nothing = explain.filled(image, "blur")  # the fill b
hidden = []
for top in range(0, 256, 64):
    for left in range(0, 256, 64):
        other = image.copy()
        other[top : top + 64, left : left + 64] = nothing[top : top + 64, left : left + 64]
        hidden.append(other)
loss = explain.similarities(encoder, query, [image])[0] - explain.similarities(encoder, query, hidden)  # (16,)
blocks = np.kron(loss.reshape(4, 4), np.ones((64, 64)))  # (256, 256)
assert np.allclose(blocks, explain.occlusion(encoder, query, image, window=0.25, cells=4), atol=1e-4)

# %% [markdown]
# Integrated gradients in the open. `attackable` is the encoder as a differentiable function of pixels ([notebook
# 22](22_adversarial.ipynb)); torch gives the gradient at points on the way. The package calls the library captum. With
# `smooth=0`, as here, it returns the signed map; otherwise it takes absolute values and smooths them.

# %%
model, target = attacks.attackable(encoder), torch.from_numpy(query)
start, end = attacks.to_pixels([nothing]), attacks.to_pixels([image])  # (1, 3, 256, 256), from 0 to 1
slopes = torch.zeros_like(end)
for way in (np.arange(16) + 0.5) / 16:
    at = (start + way * (end - start)).requires_grad_(True)
    slopes += torch.autograd.grad((model(at) @ target).sum(), at)[0] / 16
by_hand = ((end - start) * slopes).sum(dim=(0, 1)).numpy()  # (256, 256), signed
packaged = explain.integrated_gradients(encoder, query, image, steps=16, smooth=0)
assert np.corrcoef(by_hand.ravel(), packaged.ravel())[0, 1] > 0.9

# %% [markdown]
# Integrated gradients are **complete**: their sum is what the similarity gains from the fill to the image, but for the
# error of a finite number of steps. This holds for the signed map, not for the absolute values that are scored below.

# %% tags=["claim"]
without, whole = explain.similarities(encoder, query, [nothing, image])
print(f"similarity {without:.3f} of the fill, {whole:.3f} of the image; the map adds up to {packaged.sum():.3f}")
assert abs(packaged.sum() - (whole - without)) < 0.06

# %% [markdown] tags=["extra"]
# ### Which part goes with which? (extra)
#
# A map shows one image. **Matched regions** show both: of the two feature maps, take the cells that are each other's
# nearest. (Late interaction, a topic of notebook 10, ranks by such pairs.) Here the maps
# come from an earlier layer, which has more and smaller cells.

# %% tags=["extra"]
middle = Deep("lite0", layer="blocks.4", size=192, resize="squash", device="cpu")
matched = explain.matched_regions(middle, first["query"], image, k=8)  # (8, 5): x, y, x, y, cosine
ax = plots.match_lines(first["query"], image, matched[:, :2], matched[:, 2:4])
ax.set_title(f"8 pairs of cells, cosines {matched[-1, 4]:.2f} to {matched[0, 4]:.2f}")
plots.show(ax)

# %% [markdown]
# ## Measure it
#
# Three questions to a map:
#
# - **Pointing game** (Zhang et al. 2018, *IJCV*, [arXiv:1608.00507](https://arxiv.org/abs/1608.00507)): is the maximum
#   in the right quarter? On the object itself? (If several pixels share the maximum, the fraction of them that lies
#   there counts.) Less noisy is the **mass**: of all that lies above the map's mean, which fraction is in the right
#   quarter?
# - **Deletion**: replace pixels by the fill, those with the highest values first. A good map makes the similarity fall
#   fast: *low* is good. The score is the area under the curve of the similarity against the fraction deleted.
# - **Insertion**: begin with the fill and put pixels back. *High* is good.
#
# The pointing game compares with what a person would say, deletion with what the network does. And three controls that
# know nothing of the picture: the **centre prior**, which always points at the middle, **random pixels**, and **random
# blobs**, which are about as smooth as the maps.


# %%
rng = np.random.default_rng(SEED)


def controls(image):
    """Three maps that know nothing about the picture."""
    noise = rng.normal(size=image.shape[:2])
    blobs = gaussian_filter(noise, 24)
    return {"centre prior": explain.centre_prior(image), "random pixels": noise, "random blobs": blobs}


for pair in pairs[:6]:
    pair["maps"] = maps_of(encoder, pair) | controls(pair["image"])

# %%
for pair in pairs[6:]:
    pair["maps"] = maps_of(encoder, pair) | controls(pair["image"])


# %%
def area(pair, saliency, insert, fill):
    """Area under the deletion or the insertion curve of one map."""
    return explain.area_under(explain.curve(encoder, pair["vector"], pair["image"], saliency, insert=insert, steps=6, fill=fill))


rows = []
for number, pair in enumerate(pairs):
    for name, saliency in pair["maps"].items():
        row = {"pair": number, "method": name, "deletion": area(pair, saliency, False, "blur")}
        row |= {f"on the {part}": explain.pointing(saliency, pair[part]) for part in ("quarter", "object")}
        row["mass in the quarter"] = explain.mass_inside(saliency - saliency.mean(), pair["quarter"])
        rows.append(row | {"insertion": area(pair, saliency, True, "blur")})
scores = pd.DataFrame(rows)

# %%
mean = scores.groupby("method", sort=False).mean().drop(columns="pair")
mean[["on the quarter", "on the object", "mass in the quarter", "deletion", "insertion"]].round(3)

# %%
object_area = np.mean([pair["object"].mean() for pair in pairs])
Markdown(f"By chance, a map points at the right quarter in 0.25 and at the object in {object_area:.2f} of the pairs.")

# %% [markdown]
# **One interval rule.** Each pair belongs to another category, so to draw pairs is to draw categories. Every method is
# compared with the random blobs *on the same pair*, deletion with the sign turned so that above 0 is better.


# %%
def gain(name, column, other="random blobs", sign=1):
    """Mean difference to another map on the same pairs, with a 95 % interval over pairs (categories)."""
    table = scores.pivot(index="pair", columns="method", values=column)
    change = sign * (table[name] - table[other]).to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(change), (2000, len(change)))
    low, high = np.quantile(change[drawn].mean(axis=1), (0.025, 0.975))
    return {"map": name, "score": column, "gain": change.mean(), "low": low, "high": high}


SIGNS, compared = {"mass in the quarter": 1, "deletion": -1, "insertion": 1}, [*METHODS, "centre prior", "random pixels"]
gains = pd.DataFrame([gain(name, column, sign=sign) for name in compared for column, sign in SIGNS.items()])
gains.round(3)

# %%
fig, axes = plt.subplots(1, 3, figsize=(10, 2.6), layout="constrained", sharey=True)
for ax, column in zip(axes, SIGNS, strict=True):
    rows = gains[gains["score"] == column]
    around = [rows["gain"] - rows["low"], rows["high"] - rows["gain"]]
    ax.errorbar(rows["gain"], np.arange(len(rows)), xerr=around, fmt="o", color=plots.style.BLUE)
    ax.axvline(0, color="0.5", lw=1, ls="--")
    ax.set(xlabel=f"gain: {column}", yticks=np.arange(len(rows)), yticklabels=rows["map"])
axes[0].invert_yaxis()
plots.show(plots.describe(fig, "Gains of six maps over random blobs in mass, deletion and insertion, with 95 % intervals."))

# %% tags=["claim"]
by_map = gains.set_index(["map", "score"])
for name in ("occlusion", "RISE"):
    assert by_map.loc[(name, "deletion"), "low"] > 0 and by_map.loc[(name, "insertion"), "low"] > 0
    assert by_map.loc[(name, "mass in the quarter"), "gain"] > 0.08
assert mean.loc["Grad-CAM", "on the object"] < mean.loc["RISE", "on the object"]
blobs, pixels = mean.loc["random blobs"], mean.loc["random pixels"]
assert pixels["deletion"] < blobs["deletion"] - 0.01 and pixels["insertion"] < blobs["insertion"] - 0.01

# %% [markdown]
# The two methods that hide parts of the picture beat the blobs in all three scores. Of Grad-CAM and integrated
# gradients, read the intervals: with twelve categories, not every gain can be told from none. Grad-CAM finds quarters
# and misses the objects in them: a quarter is only two by two cells of its map. Occlusion misses many objects, too: its
# windows are large. (The blobs were drawn once per pair. Where this draw is a little unlucky, even the centre prior
# seems to gain; take that much off every gain.)
#
# Now look at the **random pixels**. They know nothing, and in deletion they beat the blobs. A picture with holes all
# over is like nothing that the network has met, and its similarity falls whatever the holes hide. In insertion they
# lose to the blobs. So read both scores, and compare a map with a control that is about as smooth.

# %% [markdown] tags=["extra"]
# ### Does the fill matter? (extra)
#
# A blurred fill keeps the colours of the picture; a grey one puts edges around every hole. Deletion with both:

# %% tags=["extra"]
by_grey = [area(pair, saliency, False, "grey") for pair in pairs for saliency in pair["maps"].values()]
fills = scores.assign(grey=by_grey).groupby("method", sort=False)[["deletion", "grey"]].mean()
fills.columns = ["blurred fill", "grey fill"]
fills.round(3)

# %% [markdown] tags=["extra"]
# The fill moves some methods enough to change their order, and brings the random pixels close to the best of them.
# Small differences in deletion rank nothing. State the fill wherever you state the score.

# %% [markdown]
# ### A network that knows nothing
#
# Adebayo et al. (2018, *NeurIPS*, [arXiv:1810.03292](https://arxiv.org/abs/1810.03292)) ask for a **sanity check**:
# give the network random weights. A map that stays the same showed the picture, not the network. We compare the two
# maps pixel by pixel by their rank correlation: 1 is the same order, 0 no relation, −1 the reverse.

# %%
untrained = Deep("lite0", None, size=128, resize="squash", device="cpu", random_state=SEED)


def agreement(one, other):
    """Rank correlation of two maps, on every eighth pixel; 0 where one of them is the same everywhere."""
    found = spearmanr(one[::8, ::8].ravel(), other[::8, ::8].ravel()).statistic
    return float(np.nan_to_num(found))


sanity = []
for pair in pairs[:6]:
    for name, saliency in maps_of(untrained, pair).items():
        sanity.append({"method": name, "rank correlation": agreement(pair["maps"][name], saliency)})
sanity = pd.DataFrame(sanity).groupby("method", sort=False)["rank correlation"].agg(["mean", "min", "max"])
sanity.round(2)

# %% tags=["claim"]
assert sanity.loc["integrated gradients", "mean"] > sanity["mean"].drop("integrated gradients").max() + 0.1
assert sanity.loc["integrated gradients", "mean"] > 0.4

# %% [markdown]
# **Integrated gradients change least.** A network that has learned nothing gives a similar map for most pairs: $x - b$
# is a factor of it, and this is large at the edges of every object, whatever the network. It does not make the method
# worthless, as the next section shows, but a map of it that looks convincing is no evidence. The random network is a
# weak test of the others, too: it only says that they depend on the weights, not that they are right.

# %% [markdown]
# ## Counter-example: a planted shortcut
#
# What are maps good for? To find out that a network looks at the wrong thing. We plant one. Six categories that the small
# network `conv5` has not met; in the corner of every training picture sits a **sticker**, and its colour goes with the
# category. The network is fine-tuned to tell the categories. Its **control** sees the same pictures and the same
# stickers, but there the colours are drawn at random.

# %%
SIDE, COLOURS = 48, [(220, 30, 30), (30, 150, 60), (40, 80, 220), (245, 205, 20), (150, 50, 190), (20, 190, 190)]
unseen = datasets.load_tabletop()
unseen = unseen[~unseen.column("seen_category")]
six = np.random.default_rng(SEED).choice(np.unique(unseen.labels), 6, replace=False)
close = datasets.close_ups(unseen[np.isin(unseen.labels, six)], SIDE)
kind = np.searchsorted(np.sort(six), close.labels)  # (288,): 0 to 5
tested = ~close.column("seen_instance").astype(bool)  # two of six objects per category
sticker_mask = np.zeros((SIDE, SIDE), bool)
sticker_mask[:9, :9] = True


def with_stickers(colours):
    """All pictures, each with a sticker of the given colour (n,)."""
    return [np.where(sticker_mask[..., None], COLOURS[c], picture).astype(np.uint8) for picture, c in zip(close, colours, strict=True)]


# %%
rng = np.random.default_rng(SEED)
looks = {"goes with the category": with_stickers(kind), "at random": with_stickers(rng.integers(0, 6, len(kind)))}
looks["of another category"] = with_stickers((kind + rng.integers(1, 6, len(kind))) % 6)
looks["none"] = list(close)
shown = [looks[name][i] for name in ("goes with the category", "at random") for i in np.flatnonzero(tested)[::16]]
plots.show(plots.contact_sheet(shown, n=12, columns=6), dpi=60)


# %%
def fine_tuned(pictures):
    """`conv5`, trained on 37 other categories, fine-tuned to tell the six apart."""
    torch.manual_seed(SEED)
    base = Deep("conv5", str(datasets.shipped_file("adversarial_standard.safetensors")), size=SIDE, device="cpu")
    x, y = base.preprocessing([p for p, out in zip(pictures, tested, strict=True) if not out]), torch.from_numpy(kind[~tested])
    network, head = base.network.train(), torch.nn.Linear(96, 6)
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(150):
        batch = torch.randint(len(x), (32,))
        loss = torch.nn.functional.cross_entropy(head(network(x[batch]).mean(dim=(2, 3))), y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return base.with_state(network.eval().state_dict())


# %%
trained_on = {"shortcut": "goes with the category", "control": "at random"}
networks = {name: fine_tuned(looks[look]) for name, look in trained_on.items()}

# %% [markdown]
# The database is the training pictures of each network. The queries are pictures of two new objects per category. On
# pictures like those that it learned from, the network with the shortcut looks almost perfect:


# %%
def precision_at_1(name, look):
    """Fraction of test pictures whose nearest training picture shows the same category."""
    embedded = {one: networks[name].transform(looks[one]) for one in {look, trained_on[name]}}
    nearest = (embedded[look][tested] @ embedded[trained_on[name]][~tested].T).argmax(axis=1)
    return float((kind[~tested][nearest] == kind[tested]).mean())


p_at_1 = pd.DataFrame({name: {look: precision_at_1(name, look) for look in looks} for name in networks})
p_at_1.index.name = "sticker of the query"
p_at_1.round(2)

# %% [markdown]
# Without changing the test set, would you have noticed? Now ask the maps: a query and an image of the same category,
# of two different test objects, with the sticker that goes with the category. How often is the maximum on the sticker?

# %%
small = METHODS | {"occlusion": lambda *pair: explain.occlusion(*pair, window=0.25, cells=8)}
found, examples, pictures = [], {}, looks["goes with the category"]
for name, network in networks.items():
    for number in range(6):
        mine = np.flatnonzero(tested & (kind == number))  # eight views of one object, then of another
        for image in mine[8:11]:
            pair = {"query": pictures[mine[0]], "image": pictures[image]}
            examples[name, number] = pair | {"maps": maps_of(network, pair, small)}
            for method, saliency in examples[name, number]["maps"].items():
                hit, mass = explain.pointing(saliency, sticker_mask), explain.mass_inside(saliency - saliency.mean(), sticker_mask)
                found.append((name, method, number, hit, mass))
found = pd.DataFrame(found, columns=["network", "method", "category", "on the sticker", "mass"])

# %%
on_sticker = found.pivot_table(index="method", columns="network", values=["on the sticker", "mass"], sort=False)
Markdown(f"The sticker covers {sticker_mask.mean():.3f} of the picture, and lies in its upper left corner.")

# %%
on_sticker.round(2)

# %%
fig, axes = plt.subplots(2, 5, figsize=(10, 4.2), layout="constrained")
for row, name in zip(axes, networks, strict=True):
    one = examples[name, 1]
    row[0].imshow(one["image"])
    row[0].set_title(f"{name}: image", fontsize=10)
    row[0].axis("off")
    for ax, (method, saliency) in zip(row[1:], one["maps"].items(), strict=True):
        overlay(ax, one["image"], saliency, method)
plots.show(plots.describe(fig, "Four maps of one pair for the network with the shortcut, upper row, and its control; a cross marks each maximum."))

# %% tags=["claim"]
assert p_at_1.loc["goes with the category", "shortcut"] > 0.9 and p_at_1.loc["of another category", "shortcut"] < 0.4
pointed = on_sticker["on the sticker"]
for method in ("occlusion", "RISE", "integrated gradients"):
    assert pointed.loc[method, "shortcut"] > pointed.loc[method, "control"] + 0.4
assert pointed.loc["Grad-CAM", "shortcut"] < 0.4

# %% [markdown]
# Occlusion, RISE and integrated gradients find the sticker. In the control, where its colour says nothing about the
# category, they point at it far less often. **Grad-CAM mostly points beside it.** Its map has few cells, and is smeared
# when it is enlarged: look at the picture. A strict pointing game calls that a miss. The table's other half is kinder:
# of its mass, several times the sticker's own area lies on the sticker, and next to nothing in the control. Two scores,
# two verdicts, one map: report both.
#
# ## What a map does not show
#
# A map on the object is no proof that the network is right. Here the queries and the database are pictures of single
# objects. For results that are right (same category) and results that are wrong, where does the map point?

# %%
drawn = np.random.default_rng(SEED).permutation(len(views["query"]))[:120]
database = views["database"][np.random.default_rng(SEED).permutation(len(views["database"]))[:400]]
asked = views["query"][drawn]
distances = 1 - encoder.transform(asked) @ encoder.transform(database).T
distances[asked.column("instance")[:, None] == database.column("instance")[None]] = np.inf  # other views are junk
nearest = distances.argmin(axis=1)
is_right = asked.labels == database.labels[nearest]
print(f"the first result has the right category for {is_right.mean():.2f} of the queries")

# %%
on_object = {"right results": [], "wrong results": []}
for name, which in (("right results", is_right), ("wrong results", ~is_right)):
    for i in np.flatnonzero(which)[:16]:
        image, thing = database[int(nearest[i])], database.mask(int(nearest[i])) == 1
        saliency = explain.occlusion(encoder, asked[int(i)], image, window=0.3, cells=6)
        on_object[name].append((explain.pointing(saliency, thing), explain.pointing(explain.centre_prior(image), thing)))
pd.DataFrame({name: np.mean(values, axis=0) for name, values in on_object.items()}, ["occlusion", "centre prior"]).T.round(2)

# %%
share = {name: np.mean([hit for hit, _ in values]) for name, values in on_object.items()}
on_and_wrong, on_and_right = (1 - is_right.mean()) * share["wrong results"], is_right.mean() * share["right results"]
misled = on_and_wrong / (on_and_wrong + on_and_right)
Markdown(f"Of all first results whose map points at the object, a fraction of {misled:.2f} shows the wrong category.")

# %% tags=["claim"]
assert misled > 0.25
assert share["right results"] > share["wrong results"]

# %% [markdown]
# When the result is right, the map lies on the object more often. Still, many maps that lie where they should belong to
# wrong results: most first results are wrong here, so such a map is some evidence and no proof. (Sixteen results of
# each kind, without an interval.) A map says *where* the network looked, and not *what it took it for*. Note the centre
# prior, too: on pictures of single objects it is hard to beat, which is why the measurements above use mosaics.

# %% [markdown]
# ## In our longer run
#
# Twelve pairs are few. `tools/explain_runs.py` measured the same maps, of `lite0` again, on 36 mosaics (three seeds), on 20
# **scenes**, where the query is one object and the image a table with several things on it, and on 20 photographs of
# **COCO** (Lin et al. 2014, *ECCV*, [arXiv:1405.0312](https://arxiv.org/abs/1405.0312)) with masks that people drew. Only
# numbers ship. Each method's one setting was chosen on mosaics of other categories. Pointing at the object:

# %%
runs = pd.read_csv(datasets.shipped_file("explain.csv"))
longer = runs[runs["pictures"] != "validation"].groupby(["method", "pictures"]).mean(numeric_only=True)
SETS, ORDER = ["mosaic", "scenes", "COCO"], ["occlusion", "RISE", "Grad-CAM", "integrated gradients", "centre prior", "random blobs"]
pointing = longer["pointing"].unstack()[SETS].loc[ORDER]
pointing.loc["area of the object"] = longer["area"].unstack()[SETS].loc["RISE"]
pointing.round(2)

# %% [markdown]
# And insertion, where high is good:

# %%
insertion = longer["insertion blur"].unstack()[SETS].loc[ORDER]
insertion.round(3)

# %% tags=["record"]
# A recorded run; SEED has no part in it.
for name in METHODS:
    assert (insertion.loc[name] > insertion.loc["random blobs"] + 0.01).all()
    assert pointing.loc[name, "COCO"] < pointing.loc["centre prior", "COCO"] + 0.1
    assert pointing.loc[name, "scenes"] < 0.35
assert pointing.loc["RISE", "mosaic"] > pointing.loc["random blobs", "mosaic"] + 0.2

# %% [markdown]
# On all three kinds of picture, every method finds the pixels that matter to the network better than blobs do. **Yet on
# photographs, no method points at the object clearly more often than the centre prior** (20 pairs, too few to tell them
# apart), since people put things in the middle. In scenes most maxima miss the object. Both can be true: with one
# vector per image, the similarity comes from the table and the light as well ([notebook
# 14](14_object_retrieval.ipynb)). A map that misses the object need not be a bad map. It may be a good map of a network
# that looks elsewhere.

# %% [markdown]
# ## Try it
#
# Pick a query, then click one of its neighbours. Under each map stands what the similarity loses when the fifth of the
# picture that the map marks highest is hidden; a smooth random map is there to compare with. Pick a wrong
# neighbour: do its maps tell you why it was found? (Neighbours show their distance, 1 minus the similarity.)

# %%
some = views["database"][np.random.default_rng(SEED).permutation(len(views["database"]))[:80]]
retriever = Retriever(encoder, progress=False).fit(some)
explorer = explore.WhyExplorer(retriever, k=6, by="label")
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static())

# %% [markdown]
# ## Exercise 1 ★ the pointing game
#
# Write the score yourself: `saliency` (h, w) numbers, `mask` (h, w) bool. If the largest value of the map lies in the
# mask, the answer is 1, else 0. Several pixels may share the largest value: then return the fraction of them that lie in
# the mask. An empty mask gives NaN.
#
# <details><summary>Hint 1: the idea</summary>
#
# First find *all* pixels that have the largest value. Then ask the mask about those.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `saliency.max()` gives the value; a bool array as an index picks pixels; `.mean()` of bool is a fraction.
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
# The package's version of this function gives this picture: hits and misses of each map, pair by pair. The centre prior
# has four equal maxima, one in each quarter: a fraction of 0.25.

# %%
table = scores.pivot(index="method", columns="pair", values="on the quarter").loc[[*pairs[0]["maps"]]]
fig, ax = plt.subplots(figsize=(6.5, 2.4), layout="constrained")
ax.imshow(table, cmap="Blues", vmin=0, vmax=1.4)
for row, column in np.argwhere(table.to_numpy() > 0.5):
    ax.plot(column, row, "w", marker=plots.style.TICK, ms=9)
ax.set(xlabel="pair", xticks=range(len(pairs)), yticks=range(len(table)), yticklabels=table.index)
plots.show(plots.describe(ax, "For each map and pair, a tick where the maximum lies in the right quarter."))

# %% [markdown]
# ## Exercise 2 ★★ an occlusion map from overlapping windows
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


# %% tags=["exercise"]
def occlusion_map(losses, corners, window, shape):
    """Losses (n,), corners (n, 2), two pairs of whole numbers -> a map (h, w)."""
    raise NotImplementedError


checks.check_occlusion_map(occlusion_map)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_occlusion_map(losses, corners, window, shape):
    total, count = np.zeros(shape), np.zeros(shape)
    for drop, (row, column) in zip(losses, corners, strict=True):
        covered = np.s_[row : row + window[0], column : column + window[1]]
        total[covered] += drop
        count[covered] += 1
    return total / np.maximum(count, 1)


checks.check_occlusion_map(solution_occlusion_map)

# %% [markdown]
# The package's version of this function gives this picture: windows side by side, and windows that overlap.

# %%
fig, axes = plt.subplots(1, 2, figsize=(5, 2.6), layout="constrained")
overlay(axes[0], first["image"], blocks, "16 windows side by side")
overlay(axes[1], first["image"], first["maps"]["occlusion"], "36 windows that overlap")
plots.show(plots.describe(fig, "Two occlusion maps of one picture: of 16 windows side by side, and of 36 that overlap."))

# %% [markdown]
# ## Exercise 3 ★★ the deletion score
#
# `score` takes one image and returns its similarity. Delete `image` step by step: with 0, 1/steps, 2/steps, … and all of
# its pixels replaced by those of `fill`, most important first. A fraction is of all pixels, rounded to whole ones. Return
# the area under the scores over [0, 1], by trapezoids. No two values of `saliency` are equal.
#
# <details><summary>Hint 1: the idea</summary>
#
# Sort the pixels once. For each step make a copy of the image, replace the first n of the sorted pixels, ask for the
# score. That makes `steps + 1` scores.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.argsort(…, axis=None)` sorts the flat map; `image.reshape(-1, 3)` is an image as a list of pixels; `np.trapezoid`
# takes the distance of two points as `dx`.
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
# The package's version of this function gives this picture: the curves under which the area is taken, for the first
# pair. One pair proves little: compare the areas with the table above.

# %%
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for number, (name, saliency) in enumerate(pairs[0]["maps"].items()):
    values = explain.curve(encoder, pairs[0]["vector"], pairs[0]["image"], saliency, steps=6)
    style = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "ls": plots.style.LINES[number % 6]}
    ax.plot(np.linspace(0, 1, 7), values, label=f"{name}: {explain.area_under(values):.2f}", **style)
ax.set(xlabel="fraction of the pixels deleted", ylabel="similarity to the query")
ax.legend(frameon=False, fontsize=8)
plots.show(plots.describe(ax, "Similarity of one mosaic to its query while it is deleted in the order of seven maps."))

# %% [markdown]
# ## Exercise 4 ★★★ open: a better map, with an interval
#
# Choose one of: the windows of the occlusion, the number and size of RISE's masks, the mean of two maps after ranking
# their pixels. **Predict** first which score will gain, on the quarter or deletion, and which will not. Add your map by
# `METHODS["mine"] = …`, a function of encoder, query vector and image, in the cell where `METHODS` is made, run
# everything from "The goal" to "Measure it" again (the `assert` lines tell of the maps above: skip them), and compare
# it with the best of the four by `gain(…, other=…)`. Tune with SEED 1, and report what SEED 2 says, with the interval.
# What did your choice cost in encodings per map?
#
# ## What we learned
#
# - A similarity can be explained from outside, by hiding parts, or from inside, by gradients. Hiding works with any
#   encoder and costs an encoding per mask.
# - **A map needs a score, and a score needs a control**: the centre prior, the random map, the random network.
# - Pointing asks whether the map agrees with you, deletion whether it agrees with the network. They can differ.
# - Maps found a planted shortcut, three of them in most pairs and a coarse one roughly. Use more than one, and more than
#   one score.
# - A map says where, not what. On right answers it lies on the object more often. Still, many maps that lie on the
#   object belong to wrong answers.
#
# ### Check yourself
#
# <details><summary>1. Why is a mosaic a fairer test than a picture of one object in the middle?</summary>
#
# A map that always points at the middle scores well on pictures of single objects. On a mosaic it is right in one of four.
#
# </details>
# <details><summary>2. A method's map stays the same when the network's weights are random. What does it show?</summary>
#
# Something about the picture, such as its edges or its middle. It cannot show what the network has learned.
#
# </details>
# <details><summary>3. Deletion with a black fill says that your map is excellent. Why do you try another fill?</summary>
#
# The fill makes pictures that no network has met: similarity may fall because of black holes and their edges. If the
# order of the methods changes with the fill, it is the fill that was measured.
#
# </details>
# <details><summary>4. All maps lie on the bird. May you conclude that the network knows birds?</summary>
#
# No. It may have used the bird's colour, or take it for something else: see the wrong results above.
#
# </details>
#
# ### What breaks at a million images
#
# A map costs from one to hundreds of encodings per *result*, so nobody makes maps of a whole database. Explain the results
# that somebody looks at, when they ask. What does scale is a test like the sticker's: change one thing in a few thousand
# queries and count how many first results change.
#
# ### Further reading
#
# - Petsiuk, Das and Saenko (2018), *RISE*, BMVC, [arXiv:1806.07421](https://arxiv.org/abs/1806.07421). Deletion and
#   insertion.
# - Adebayo et al. (2018), *Sanity checks for saliency maps*, NeurIPS,
#   [arXiv:1810.03292](https://arxiv.org/abs/1810.03292). Which methods fail with random weights.
# - Stylianou, Souvenir and Pless (2019), *Visualizing deep similarity networks*, WACV,
#   [arXiv:1901.00536](https://arxiv.org/abs/1901.00536). With average pooling, a similarity is a sum over pairs of cells.
# - Geirhos et al. (2020), *Shortcut learning in deep neural networks*, Nature Machine Intelligence,
#   [arXiv:2004.07780](https://arxiv.org/abs/2004.07780). Stickers in the wild.
#
# <!-- links:start -->
# Previous: 20_incremental (still to come), then [14_object_retrieval](14_object_retrieval.ipynb) · [course map](00_start_here.ipynb) · Next: [22_adversarial](22_adversarial.ipynb)
# <!-- links:end -->
