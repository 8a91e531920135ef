# %% [markdown]
# # 09 · Attention: which parts of a picture should count?
#
# **Question.** Most of a picture is often not the object. Pooling counts every position of the feature map alike. Can a
# network learn which positions to count, and does it then find objects that it has never met?
#
# **Time:** about two minutes to run on two cores, offline; an hour to work through. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for the numbers, [notebook 03](03_cnn_features.ipynb) for feature maps and
# pooling.
#
# <!-- links:start -->
# Previous: [08_self_supervised](08_self_supervised.ipynb) · [course map](00_start_here.ipynb) · Next: [10_transformers_and_graphs](10_transformers_and_graphs.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **build** attention pooling, and train it on the feature maps of a frozen network;
# - **compare** it with fixed poolings, a centre prior and known masks, each at its own best setting;
# - **tell apart** spatial attention (which positions count) and channel attention (which features count);
# - **score** where a method looks with the pointing game, and know what that score does not say.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from cbirkit import Ranking, Retriever, checks, datasets, evaluate, explore, plots
from cbirkit.encoders import Deep
from cbirkit.encoders.base import PerImage
from cbirkit.indexes import Exact
from cbirkit.nets.pooling import attention_pool, crow_pool, gem_pool, mac_pool, spoc_pool
from cbirkit.objects import Region
from cbirkit.objects.masked_pooling import grid_weights
from cbirkit.rerank import verify

# %%
SEED = 0
torch.set_num_threads(1)

# %% [markdown]
# ## The goal
#
# The pictures are **rendered**: an everyday object somewhere on a table, with up to two plain solids beside it. We ask
# for the same **category**: another mug of another shape, colour and material, on another ground. Other views of the
# query's own object are junk: they count neither as right nor as wrong. A mask tells which pixels belong to the object.
#
# Categories are split, not pictures. The head that we train learns from 37 categories. Every setting is chosen on 12
# others, drawn by the seed. What is reported comes from 15 more, which nothing has learned from.

# %%
objects = datasets.load_tabletop()
view, seen = objects.column("view"), objects.column("seen_category")
names = np.random.RandomState(SEED).permutation(np.unique(objects.labels[seen]))
images = {
    "training": objects[np.isin(objects.labels, names[12:]) & np.isin(view, (0, 2, 4, 6))],
    "validation": objects[np.isin(objects.labels, names[:12]) & (view < 7)],
    "test": objects[~seen & (view < 7)],
}
inside = {part: np.stack([some.mask(i) == 1 for i in range(len(some))]) for part, some in images.items()}
print({part: len(some) for part, some in images.items()})
print(f"the object covers {100 * inside['test'].mean():.0f} % of the pixels of a test picture")

# %%
plots.show(plots.contact_sheet(images["test"][::40], n=16, columns=8), dpi=72)

# %% [markdown]
# **Before you go on, predict.** Average pooling, GeM, a bell curve around the middle of the picture, a head that learns
# where to look, the true mask: which comes first, which last? And how far apart are the head and the mask?
#
# The network is `lite0`, frozen: it learned to name photographs and has never met a rendered picture. Different poolings
# may prefer different layers, so one pass keeps the maps of four.

# %%
LAYERS = ["blocks.4", "blocks.5", "blocks.6", "bn2"]  # the last one is what `Deep` uses by default
encoder = Deep("lite0", size=160, resize="squash", device="cpu")
network, kept = encoder.network, {layer: [] for layer in LAYERS}
for layer in LAYERS:  # a hook is called with what its layer gave
    hook = partial(lambda layer, module, given, output: kept[layer].append(output), layer)
    network.get_submodule(layer).register_forward_hook(hook)


# %%
@torch.no_grad()
def maps_of(some):
    """Feature maps (n, c, h, w) by layer, all from one pass."""
    for rows in kept.values():
        rows.clear()
    for start in tqdm(range(0, len(some), 32)):
        network(encoder.preprocessing(list(some[start : start + 32])))
    return {layer: torch.cat(rows) for layer, rows in kept.items()}


# %%
maps = {"training": maps_of(images["training"])}

# %%
maps["validation"] = maps_of(images["validation"])

# %%
maps["test"] = maps_of(images["test"])
few = images["test"][np.arange(8)]
assert np.allclose(maps["test"]["bn2"][:8], encoder.feature_maps(few), atol=1e-4)
pd.DataFrame({layer: found.shape[1:] for layer, found in maps["test"].items()}, index=["channels", "height", "width"])

# %% [markdown]
# ## Background
#
# A feature map $F$ has a vector $F_{:,ij} \in \mathbb{R}^c$ at each of $h \times w$ positions. **Spatial attention**
# gives each position a weight $a_{ij} \ge 0$:
#
# $$x = \frac{\sum_{ij} a_{ij}\, F_{:,ij}}{\sum_{ij} a_{ij}} \in \mathbb{R}^c,
# \qquad a_{ij} = \operatorname{softplus}\bigl(s(F_{:,ij})\bigr), \quad \operatorname{softplus}(z) = \ln(1 + e^z)$$
#
# Average pooling has $a_{ij} = 1$, masked pooling ([notebook 14](14_object_retrieval.ipynb)) the mask. **DELF** (Noh et
# al. 2017, *ICCV*, [arXiv:1612.06321](https://arxiv.org/abs/1612.06321)) *learns* the scorer $s$, a network of two
# layers that sees one position at a time. Nobody tells it where objects are. It is trained to classify the pooled
# vector, and positions that help get more weight. The softplus keeps every weight positive, so every position gets a
# gradient.
#
# **CroW** (Kalantidis et al. 2016, *ECCV workshops*, [arXiv:1512.04065](https://arxiv.org/abs/1512.04065)) computes
# weights without training: for positions, from how much fires there; for channels, from how rarely they fire.
# **Squeeze and excitation** (SE; Hu et al. 2018, *CVPR*, [arXiv:1709.01507](https://arxiv.org/abs/1709.01507)) learns
# weights of channels. Such **channel attention** changes *what* counts, the same at all positions; it cannot leave out
# a place.

# %%
frozen = ["picture", "frozen\nnetwork", "feature map\n(c, h, w)"]
scored = ["the same\nfeature map", "score of each\nposition", "softplus", "weights\n(h, w)"]
plots.show(plots.pipeline([frozen, scored], ["weighted\nmean (c,)", "classifier\n(training only)"]))

# %% [markdown]
# ## Build it
#
# The whole head. Its scorer is the same at all positions, so it works on maps of any size. Only `classify` knows the 37
# categories; after training it is thrown away.


# %%
class Layers(nn.Module):
    """What the head learns: a scorer of positions, a projection where one is wanted, a classifier."""

    def __init__(self, maps, n_classes, n_dims=None):
        super().__init__()
        c = maps.shape[1]
        self.mean, self.std = maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3))  # (c,)
        self.scorer = nn.Sequential(nn.Linear(c, 64), nn.ReLU(), nn.Linear(64, 1), nn.Softplus())
        self.project = nn.Linear(c, n_dims) if n_dims else nn.Identity()
        self.classify = nn.Linear(n_dims or c, n_classes)


# %%
class Head(Layers):
    def weights(self, maps):  # (n, c, h, w) -> (n, h, w)
        cells = maps.flatten(2).transpose(1, 2).contiguous()  # (n, h * w, c)
        scores = self.scorer((cells - self.mean) / self.std)[..., 0]  # (n, h * w)
        return (scores / scores.sum(dim=1, keepdim=True)).view(len(maps), *maps.shape[2:])

    def pool(self, maps):  # (n, c, h, w) -> (n, c)
        return (maps * self.weights(maps)[:, None]).sum(dim=(2, 3))

    def forward(self, maps):
        return self.project((self.pool(maps) - self.mean) / self.std)


# %% [markdown]
# Training is that of any classifier. The network is frozen and its maps are at hand, so 200 steps take a few seconds.

# %%
categories, targets = np.unique(images["training"].labels, return_inverse=True)
targets = torch.from_numpy(targets)


# %%
def train(head, layer, steps=200, rate=5e-3):
    """Classify the training pictures; a generator that gives the head after each step."""
    optimizer = torch.optim.AdamW(head.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(targets), (64,))
        logits = head.classify(head(maps["training"][layer][rows]))
        optimizer.zero_grad()
        cross_entropy(logits, targets[rows], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
        yield head


# %% [markdown]
# How well do the vectors search? Views 0 and 1 of each object are queries, views 2 to 6 the database.

# %%
asks = {part: some.column("view") < 2 for part, some in images.items()}
queries = {part: some[asks[part]] for part, some in images.items()}
databases = {part: some[~asks[part]] for part, some in images.items()}
truth = {
    part: queries[part].relevance(queries[part], databases[part], by="label", junk="instance")
    for part in ("validation", "test")
}


# %%
def rank(part, vectors):
    """The ranking of a part's database, by the vectors (n, d) of all its pictures."""
    index = Exact().fit(np.asarray(vectors)[~asks[part]])
    distances, found = index.kneighbors(np.asarray(vectors)[asks[part]], len(databases[part]))
    return Ranking(queries[part].ids, databases[part].ids, found, distances)


def precisions(part, vectors):
    """Average precision of each query, (n_queries,)."""
    found = evaluate(rank(part, vectors), truth[part], metrics=["map"], n_bootstrap=0, groups=queries[part].labels)
    return found.per_query["map"].to_numpy()


# %%
torch.manual_seed(SEED)
head = Head(maps["training"]["blocks.5"], len(categories))
curve = {0: precisions("validation", head.pool(maps["validation"]["blocks.5"]).detach()).mean()}
for step, _ in enumerate(train(head, "blocks.5"), start=1):
    if step % 25 == 0:
        with torch.no_grad():
            curve[step] = precisions("validation", head.pool(maps["validation"]["blocks.5"])).mean()
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.plot(curve.keys(), curve.values(), "o-", color=plots.style.BLUE)
ax.set(xlabel="training steps", ylabel="mAP, validation categories", ylim=(0, None))
plots.show(plots.describe(fig, "Validation mAP against training steps: it rises within the first steps and is then flat."))

# %% [markdown]
# For this head, validation stops improving long before the end; every head below gets the same 200 steps. What did it
# learn? Here is where it looks in test pictures, whose categories it has never met. Each map has its own scale; the
# white line is the object.

# %% tags=["gallery"]
with torch.no_grad():
    learned = head.weights(maps["test"]["blocks.5"]).numpy()  # (n, h, w)
chosen = np.random.default_rng(SEED).choice(len(learned), 8, replace=False)
fig, axes = plt.subplots(2, 8, figsize=(11, 3.1), layout="constrained")
fig.suptitle("Attention that learned from 37 categories, on pictures of 15 others", fontsize=14)
for (top, bottom), i in zip(axes.T, chosen, strict=True):
    top.imshow(images["test"][i])
    top.set_title(images["test"].labels[i], fontsize=10)
    bottom.imshow(learned[i], cmap="viridis", extent=(0, 128, 128, 0))
    bottom.contour(inside["test"][i], levels=[0.5], colors="white", linewidths=1)
for ax in axes.ravel():
    ax.axis("off")
plots.show(plots.describe(fig, "Eight pictures of unknown categories, and below each the weights of a 5 x 5 grid, brightest on the object."), dpi=84)

# %% [markdown]
# The package's `attention_pool` takes such weights and does the rest:

# %%
with torch.no_grad():
    pooled = head.pool(maps["test"]["blocks.5"])
assert torch.allclose(pooled, attention_pool(maps["test"]["blocks.5"], torch.from_numpy(learned)), atol=1e-5)

# %% [markdown]
# ## Measure it
#
# ### Every method at its best
#
# The fixed poolings, each with its settings. The **centre prior** weighs positions by a bell curve around the middle of
# the picture: photographers, and this renderer, put objects near the middle. **Contrast** weighs a position by its
# distance to the picture's mean vector, to a power: what is unlike the rest stands out, and nothing is trained. The
# **mask** is an oracle: it cheats.


# %%
def centre_prior(maps, part, sigma):
    """Weights exp(-r² / 2 sigma²), r in sides of the picture."""
    y, x = torch.meshgrid(*[(torch.arange(n) + 0.5) / n - 0.5 for n in maps.shape[2:]], indexing="ij")
    bell = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    return attention_pool(maps, bell.expand(len(maps), -1, -1))


def contrast(maps, part, power):
    distance = (maps - maps.mean(dim=(2, 3), keepdim=True)).norm(dim=1)  # (n, h, w)
    return attention_pool(maps, distance**power)


def oracle(maps, part):
    regions = [Region.from_mask(mask) for mask in inside[part]]
    return attention_pool(maps, torch.from_numpy(grid_weights(regions, maps.shape[2:])).float())


# %%
def fixed(pool, **settings):
    """A pooling of the package as one that is called with maps and the part they are of."""
    return lambda maps, part: pool(maps, **settings)


candidates = [("mean", "", fixed(spoc_pool)), ("max", "", fixed(mac_pool)), ("mask (oracle)", "", oracle)]
candidates += [("GeM", f"p = {p}", fixed(gem_pool, p=p)) for p in (2.0, 3.0, 4.0, 6.0, 8.0)]
candidates += [("CroW, positions", "", fixed(crow_pool, channel=False))]
candidates += [("CroW, channels", "", fixed(crow_pool, spatial=False)), ("CroW, both", "", fixed(crow_pool))]
candidates += [("centre prior", f"σ = {s}", partial(centre_prior, sigma=s)) for s in (0.03, 0.06, 0.08, 0.12, 0.2)]
candidates += [("contrast", f"power {p}", partial(contrast, power=p)) for p in (1, 3, 6, 9, 12, 16)]

# %%
rows = []
for method, setting, pool in tqdm(candidates):
    for layer in LAYERS:
        score = precisions("validation", pool(maps["validation"][layer], "validation")).mean()
        rows.append((method, layer, setting, score, pool))
tried = pd.DataFrame(rows, columns=["method", "layer", "setting", "validation", "pool"])
best = tried.loc[tried.groupby("method")["validation"].idxmax()].set_index("method")

# %% [markdown]
# Now the trained heads, each at each layer, with the same number of steps. **Attention** learns nothing but weights: what
# is compared is still the frozen vectors, averaged. **Attention + linear** also learns a projection to 128 dimensions.
# Two more tell what brings the gain:
#
# - **uniform + linear**: the same projection, trained as long, on the plain mean. If it does as well as **attention +
#   linear**, training helped, not attention.
# - **SE**: learned weights of channels, none of positions.


# %%
class Uniform(Head):
    """No attention: every position counts alike."""

    def pool(self, maps):
        return maps.mean(dim=(2, 3))


# %%
class SE(Uniform):
    """Squeeze and excitation: a gate (0 to 1) for each channel, from the mean of the map."""

    def __init__(self, maps, n_classes):
        super().__init__(maps, n_classes)
        c = maps.shape[1]
        self.gate = nn.Sequential(nn.Linear(c, 64), nn.ReLU(), nn.Linear(64, c), nn.Sigmoid())

    def pool(self, maps):
        mean = super().pool(maps)
        return mean * self.gate((mean - self.mean) / self.std)


# %%
HEADS = {
    "attention": Head,
    "SE": SE,
    "attention + linear": partial(Head, n_dims=128),
    "uniform + linear": partial(Uniform, n_dims=128),
}


def trained(method, layer, seed):
    """A head of one kind, trained at one layer."""
    torch.manual_seed(seed)
    head = HEADS[method](maps["training"][layer], len(categories))
    for _ in train(head, layer):
        pass
    return head.eval().requires_grad_(False)


# %%
def embedded(head, method, part, layer):
    """What the search compares: the projection where there is one, else the pooled vector."""
    return head(maps[part][layer]) if "linear" in method else head.pool(maps[part][layer])


rows = []
for layer in tqdm(LAYERS[:3]):
    for method in HEADS:
        one = trained(method, layer, SEED)
        score = precisions("validation", embedded(one, method, "validation", layer)).mean()
        rows.append((method, layer, "", score))

# %%
for method in tqdm(HEADS):
    one = trained(method, "bn2", SEED)
    rows.append((method, "bn2", "", precisions("validation", embedded(one, method, "validation", "bn2")).mean()))
heads_tried = pd.DataFrame(rows, columns=["method", "layer", "setting", "validation"])
best_heads = heads_tried.loc[heads_tried.groupby("method")["validation"].idxmax()].set_index("method")

# %% [markdown]
# ### On categories that nobody has seen
#
# Each at what validation chose; heads are trained three times from different random weights, and the three results are
# averaged per query. Five controls take the weights apart, all at the layer of **attention**: **uniform, same layer**
# (the plain mean there), **random scorer** (the same head, never trained), **shuffled** (each picture's weights at
# random positions), **average map** (the mean of all weights on validation: a learned centre prior) and **of another
# picture**.

# %%
scores = {m: precisions("test", row.pool(maps["test"][row.layer], "test")) for m, row in best.iterrows()}
heads = {}
for method, row in tqdm(best_heads.iterrows(), total=len(best_heads)):
    heads[method] = [trained(method, row.layer, 10 * SEED + n) for n in range(3)]
    three = [precisions("test", embedded(one, method, "test", row.layer)) for one in heads[method]]
    scores[method] = np.mean(three, axis=0)
    print(method, "three trainings:", *[f"{one.mean():.3f}" for one in three])

# %%
layer = best_heads.loc["attention", "layer"]
given, rng = maps["test"][layer], np.random.default_rng(SEED)
weights = heads["attention"][0].weights(given)
torch.manual_seed(SEED)
never_trained = Head(maps["training"][layer], len(categories)).requires_grad_(False)
average = heads["attention"][0].weights(maps["validation"][layer]).mean(dim=0)
controls = {
    "random scorer": never_trained.weights(given),
    "shuffled": torch.from_numpy(rng.permuted(weights.flatten(1).numpy(), axis=1)).view_as(weights),
    "of another picture": weights[rng.permutation(len(weights))],
    "average map": average.expand_as(weights),
    "uniform, same layer": torch.ones_like(weights),
}
scores |= {name: precisions("test", attention_pool(given, own)) for name, own in controls.items()}

# %% [markdown]
# **Intervals draw categories.** What we say should hold for other new categories, so the bootstrap draws whole
# categories with replacement. The last three columns are the difference to GeM on the same queries and its interval.

# %%
groups = [np.flatnonzero(queries["test"].labels == name) for name in np.unique(queries["test"].labels)]
drawn = np.random.default_rng(SEED).integers(0, len(groups), (2000, len(groups)))


def interval(values):
    """95 % interval of a mean over queries, by drawing categories: low, high."""
    means = np.array([values[rows].mean() for rows in groups])  # categories have equally many queries
    return np.quantile(means[drawn].mean(axis=1), (0.025, 0.975))


# %%
rows = []
chosen = pd.concat([best.drop(columns="pool"), best_heads])
for method, values in scores.items():
    where = chosen.loc[method] if method in chosen.index else pd.Series({"layer": layer, "setting": "control"})
    low, high = interval(values - scores["GeM"])
    rows.append((method, where["layer"], where["setting"], values.mean(), (values - scores["GeM"]).mean(), low, high))
columns = ["method", "layer", "setting", "mAP", "minus GeM", "low", "high"]
table = pd.DataFrame(rows, columns=columns).set_index("method").sort_values("mAP", ascending=False)
table.round(3)

# %%
shown = table.drop(["CroW, positions", "CroW, channels", "max", "of another picture"])[::-1]
kinds = {name: plots.style.BLUE for name in HEADS} | {name: plots.style.GREY for name in controls}
fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for y, (method, row) in enumerate(shown.iterrows()):
    mark = {"attention": "D", "mask (oracle)": "*"}.get(method, "o")
    ax.plot([row["low"], row["high"]], [y, y], color=kinds.get(method, plots.style.VERMILLION))
    ax.plot(row["minus GeM"], y, mark, ms=8, color=kinds.get(method, plots.style.VERMILLION))
ax.axvline(0, color="0.4", lw=1)
ax.set(yticks=range(len(shown)), yticklabels=shown.index, xlabel="mAP on test categories, minus that of GeM")
ax.set_title("blue: trained heads, vermillion: fixed, grey: controls", fontsize=10)
plots.show(plots.describe(fig, "Difference in mAP to GeM of each method, with intervals over categories; attention heads lead."))

# %% [markdown]
# - Learned attention is ahead of GeM by much, and of the centre prior and of contrast by about half as much. Those two
#   are level with each other, and need no training: much of what one might credit to learning comes without it.
# - At its own layer the plain mean is far below GeM, so the weights bring more than the difference to GeM shows. The
#   gain is in *this* picture's weights: shuffled, they are worth nothing. Those of another picture bring a part of it,
#   since objects are often near the middle, and the average map, a learned centre prior, ends about level with GeM.
#   (The centre prior that validation chose is so narrow that only the middle cell is left.)
# - Training a projection alone (uniform + linear) brings as much as contrast. On top of attention, a projection still
#   helps, so the two gains are not the same one.
# - The mask is no upper bound: attention is at least level with it. A mask says which cells belong to the object; the
#   head may also learn which of them tell categories apart.

# %% tags=["claim"]
for other in ("GeM", "centre prior", "contrast", "average map", "of another picture"):
    assert interval(scores["attention"] - scores[other])[0] > 0.02, other
assert interval(scores["attention + linear"] - scores["uniform + linear"])[0] > 0.02
assert scores["attention"].mean() - scores["random scorer"].mean() > 0.2
assert scores["attention"].mean() > scores["mask (oracle)"].mean() - 0.01
assert abs(scores["contrast"].mean() - scores["centre prior"].mean()) < 0.03
assert max(scores["shuffled"].mean(), scores["of another picture"].mean()) < scores["mean"].mean() - 0.02
assert scores["attention + linear"].mean() > scores["attention"].mean() + 0.02

# %% [markdown]
# ### Positions or channels?
#
# CroW's two halves, and SE, against their own baseline, the mean: weights of channels change little here. They cannot
# remove a table; they only turn down channels that fire on tables, for the object as well. Weights of positions are no
# guarantee, either: those of CroW bring little. (Attention also uses another layer than the mean.)

# %%
pairs = ["CroW, channels", "SE", "CroW, positions", "attention"]
rows = [[(scores[name] - scores["mean"]).mean(), *interval(scores[name] - scores["mean"])] for name in pairs]
pd.DataFrame(rows, pairs, ["minus mean", "low", "high"]).round(3)

# %% tags=["claim"]
assert (scores["attention"] - scores["mean"]).mean() > 0.1 + (scores["SE"] - scores["mean"]).mean()
assert abs((scores["CroW, channels"] - scores["mean"]).mean()) < 0.03

# %% [markdown]
# ### When does it help?
#
# By the size of the object in the query, in thirds, and by the number of solids beside it. Against GeM, small objects
# gain most from attention; on large ones there is less to leave out. With two solids every method finds less, even the
# mask.

# %%
area = inside["test"][asks["test"]].mean(axis=(1, 2))
third = np.digitize(area, np.quantile(area, [1 / 3, 2 / 3]))
beside = np.array([len(solids) for solids in queries["test"].column("distractors")])
by = {name: third == n for n, name in enumerate(("small", "medium", "large"))}
by |= {f"{n} beside": beside == n for n in range(3)}
methods = ["mean", "GeM", "centre prior", "contrast", "attention", "mask (oracle)"]
pd.DataFrame({name: {method: scores[method][rows].mean() for method in methods} for name, rows in by.items()}).round(3)

# %% tags=["claim"]
relative = [scores["attention"][by[name]].mean() / scores["GeM"][by[name]].mean() for name in ("small", "large")]
assert relative[0] > relative[1] + 0.2

# %% [markdown]
# ### Where it fails
#
# The four queries that lose most against GeM, and their weights. Look for a category that comes up again: attention
# keeps a few cells, and a shape may spread over more. Above each picture stands the average precision with attention
# (the mean of three trainings) and with GeM, beside it the weights of the first training.

# %%
worst = np.argsort(scores["attention"] - scores["GeM"])[:4]
rows = np.flatnonzero(asks["test"])[worst]
fig, axes = plt.subplots(1, 8, figsize=(11, 1.7), layout="constrained")
for n, (query, i) in enumerate(zip(worst, rows, strict=True)):
    axes[2 * n].imshow(images["test"][i])
    told = f"{scores['attention'][query]:.2f}, GeM {scores['GeM'][query]:.2f}"
    axes[2 * n].set_title(f"{images['test'].labels[i]}\n{told}", fontsize=9)
    axes[2 * n + 1].imshow(weights[i], cmap="viridis", extent=(0, 128, 128, 0))
    axes[2 * n + 1].set_title("weights", fontsize=9)
for ax in axes:
    ax.axis("off")
plots.show(plots.describe(fig, "The four queries that lose most by attention, with average precision of both, and their weights."), dpi=84)

# %% [markdown]
# ## Where does it look?
#
# The **pointing game** (Zhang et al. 2016, *ECCV*, [arXiv:1608.00507](https://arxiv.org/abs/1608.00507)): is the point
# with the largest weight on the object? Here the point is the centre of the strongest cell. Two priors stand beside it:
# the **average map**, whose peak is the middle of the picture, and the **area prior**, how often a random pixel hits.

# %%
side = weights.shape[1]
middles = ((np.arange(side) + 0.5) * 128 / side).astype(int)
on_object = inside["test"][:, middles][:, :, middles].reshape(len(weights), -1)  # is a cell's centre on it?
features = maps["test"][layer]
looks = {f"attention, training {n + 1}": one.weights(features) for n, one in enumerate(heads["attention"])}
looks |= {"contrast": (features - features.mean(dim=(2, 3), keepdim=True)).norm(dim=1)}
looks |= {"random scorer": controls["random scorer"], "average map": controls["average map"]}
hit = {m: on_object[np.arange(len(weights)), w.flatten(1).argmax(dim=1).numpy()] for m, w in looks.items()}
hit["area prior"] = inside["test"].mean(axis=(1, 2))

# %%
of_category = [np.flatnonzero(images["test"].labels == name) for name in np.unique(images["test"].labels)]
rows = []
for method, values in hit.items():
    means = np.array([values[own].mean() for own in of_category])
    rows.append((method, means.mean(), *np.quantile(means[drawn].mean(axis=1), (0.025, 0.975))))
pd.DataFrame(rows, columns=["method", "hits", "low", "high"]).round(3)

# %% [markdown]
# Attention hits far more often than the middle (the average map peaks there). But contrast hits nearly as often, and
# its vectors find clearly less. **A map that points well need not rank well**: the game looks at one cell per picture; the search
# uses the weights of all.

# %% tags=["claim"]
pointed = np.mean([hit[f"attention, training {n}"].mean() for n in (1, 2, 3)])
assert pointed > hit["average map"].mean() + 0.1 and pointed > hit["area prior"].mean() + 0.4
assert abs(pointed - hit["contrast"].mean()) < 0.1

# %% [markdown]
# ### On photographs
#
# Does a head that has only met rendered tables know where to look in photographs? In our longer run
# (`tools/attention_pointing.py`) the trained head was tried, without further training, on COCO photographs with masks;
# a hit on any annotated object counts. Intervals draw pictures.

# %%
coco = pd.read_csv(datasets.shipped_file("attention_pointing.csv"))
for kind in ("attention", "random"):
    coco[kind] = coco[[f"{kind}_{n}" for n in range(3)]].mean(axis=1)  # three trainings
photo = {size: rows.reset_index(drop=True) for size, rows in coco.groupby("size")}
again = np.random.default_rng(SEED).integers(0, len(photo[160]), (2000, len(photo[160])))


# %%
def with_interval(values):
    low, high = np.quantile(values.to_numpy()[again].mean(axis=1), (0.025, 0.975))
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


kinds_of = ["attention", "contrast", "centre", "random", "area"]
lines = {f"{size} pixels": [with_interval(rows[kind]) for kind in kinds_of] for size, rows in photo.items()}
print(len(photo[160]), "photographs")
pd.DataFrame(lines, index=kinds_of)

# %%
gaps = {size: [with_interval(rows["attention"] - rows[kind]) for kind in kinds_of[1:]] for size, rows in photo.items()}
pd.DataFrame(gaps, index=[f"attention minus {kind}" for kind in kinds_of[1:]])

# %% [markdown]
# It beats the area prior clearly: something of what it learned on tables holds for photographs. Whether it points
# better than the middle of the picture, or than contrast, which learned nothing, cannot be told from so few pictures.
# Photographers aim well: an area prior alone would have made this look like a success.

# %% tags=["record"]
for rows in photo.values():
    low = [np.quantile((rows["attention"] - rows[m]).to_numpy()[again].mean(axis=1), 0.025) for m in kinds_of[1:]]
    above = dict(zip(kinds_of[1:], low, strict=True))
    assert above["area"] > 0.1 and above["random"] > 0.1
    assert above["centre"] < 0 and above["contrast"] < 0

# %% [markdown]
# ## Local features that attention chose (extra)
#
# DELF keeps the positions with the highest scores as **local features**, and **DELG** (Cao et al. 2020, *ECCV*,
# [arXiv:2001.05027](https://arxiv.org/abs/2001.05027)) takes both from one network: a pooled vector finds candidates, and
# local features, verified by geometry as in [notebook 02](02_local_features.ipynb), re-rank them. The question is now
# the **same object** in another view. Descriptors come from an early layer with a fine grid; the 40 positions are those
# with the largest attention, or, as a control, drawn at random.

# %% tags=["extra"]
local_encoder = Deep("lite0", layer="blocks.2", size=160, resize="squash", device="cpu")
local = local_encoder.feature_maps(images["test"])  # (n, 40, 20, 20)
n, c, fine, _ = local.shape
descriptors = local.reshape(n, c, -1).transpose(0, 2, 1)  # (n, positions, c)
descriptors = descriptors - descriptors.mean(axis=(0, 1))
descriptors /= np.linalg.norm(descriptors, axis=2, keepdims=True)
y, x = np.divmod(np.arange(fine**2), fine)
points = (np.stack([x, y], axis=1) + 0.5) * 128 / fine  # (positions, 2), pixels

# %% tags=["extra"]
smooth = {"size": (fine, fine), "mode": "bilinear"}
large = nn.functional.interpolate(weights[:, None], **smooth).flatten(1).numpy()  # (n, positions)
picks = {"attention": np.argsort(-large, axis=1)[:, :40]}
picks["random positions"] = np.argsort(rng.random(large.shape), axis=1)[:, :40]


def agreeing(a, b, pick):
    """Matches between pictures a and b that agree with one homography."""
    one, two = ((points[pick[i]], descriptors[i][pick[i]]) for i in (a, b))
    return verify(one, two, ratio=0.95, threshold=8.0).n_inliers


# %% tags=["extra"]
same = queries["test"].relevance(queries["test"], databases["test"], by="instance")
first = rank("test", heads["attention"][0].pool(given))
of_query, of_item = np.flatnonzero(asks["test"]), np.flatnonzero(~asks["test"])
counts = {}
for name, pick in picks.items():
    pairs_of = zip(of_query, of_item[first.indices[:, :20]], strict=True)
    counts[name] = np.array([[agreeing(q, i, pick) for i in items] for q, items in tqdm(pairs_of, total=len(of_query))])

# %% tags=["extra"]
ranked = {"attention-pooled vector": first}
for name, inliers in counts.items():
    order = np.argsort(-inliers, axis=1, kind="stable")  # among equals the old order
    indices = first.indices.copy()
    indices[:, :20] = np.take_along_axis(first.indices[:, :20], order, axis=1)
    places = np.tile(np.arange(indices.shape[1], dtype=float), (len(indices), 1))
    ranked[f"re-ranked, {name}"] = Ranking(first.query_ids, first.database_ids, indices, places)
by_object = {m: evaluate(r, same, metrics=["map", "p@1"], groups=queries["test"].labels) for m, r in ranked.items()}
pd.DataFrame({method: found.summary["mean"] for method, found in by_object.items()}).T.round(3)

# %% [markdown]
# Re-ranking makes it **worse**, and that is the result. Is the code wrong? A positive control: pictures against a
# copy of themselves that was shifted by two cells. Their matches agree well:

# %% tags=["extra"]
shifted = [np.roll(images["test"][i], 13, axis=1) for i in of_item[:60]]
moved = local_encoder.feature_maps(shifted).reshape(60, c, -1).transpose(0, 2, 1) - local.mean(axis=(0, 2, 3))
pick = picks["attention"]
copies = [verify((points[pick[i]], descriptors[i][pick[i]]), (points, m), ratio=0.95, threshold=8.0).n_inliers
          for i, m in zip(of_item[:60], moved / np.linalg.norm(moved, axis=2, keepdims=True), strict=True)]  # fmt: skip
right = same.gains(first.indices[:, :20]) > 0
inliers = {"a shifted copy": np.array(copies)}
inliers |= {"the same object": counts["attention"][right], "another object": counts["attention"][~right]}
pd.DataFrame({name: [np.median(v), v.mean()] for name, v in inliers.items()}, ["median inliers", "mean inliers"]).T.round(1)

# %% [markdown]
# Verification recognises copies. (All positions of the copy take part here, so this test is easier.) Between two views
# the objects turn, and ground and light change; few matches then agree. Whether the descriptors are too weak or no
# homography fits, this test cannot tell. DELG was made for landmarks, with their large flat walls. What attention does
# bring shows in the control: at random positions re-ranking does far more harm.

# %% tags=["extra", "claim"]
reranked = {name: by_object[f"re-ranked, {name}"].summary.loc["map", "mean"] for name in picks}
assert by_object["attention-pooled vector"].summary.loc["map", "mean"] > reranked["attention"] + 0.05
assert reranked["attention"] > reranked["random positions"] + 0.03
assert inliers["a shifted copy"].mean() > 4 * inliers["the same object"].mean()

# %% [markdown]
# ## Try it
#
# Choose a query, or crop one out of a picture with the mouse, and compare two poolings side by side. (Every third
# picture of the database is searched.) What happens when you crop tightly around the object?


# %%
class Pooled(PerImage):
    """Pictures to pooled vectors, by a function of maps."""

    def __init__(self, deep, pool):
        self.deep, self.pool = deep, pool

    @torch.no_grad()
    def _encode(self, image):
        return self.pool(torch.from_numpy(self.deep.feature_maps([image])))[0].numpy()


# %%
some = databases["test"][::3]
shown_truth = queries["test"].relevance(queries["test"], some, by="label", junk="instance")
gem = best.loc["GeM"]
deep = {one: Deep("lite0", layer=one, size=160, resize="squash", device="cpu") for one in (layer, gem["layer"])}
encoders_shown = {"attention": Pooled(deep[layer], heads["attention"][0].pool)}
encoders_shown["GeM"] = Pooled(deep[gem["layer"]], partial(gem["pool"], part="test"))
retrievers = {name: Retriever(one, progress=False).fit(some) for name, one in encoders_shown.items()}
explorer = explore.QueryExplorer(retrievers, queries=queries["test"], query=str(queries["test"].ids[0]), k=8, relevance=shown_truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=84)

# %% [markdown]
# ## Exercise 1 ★ attention pooling by hand
#
# A batch holds pictures of several shapes, padded to the same shape. Positions of the padding are not `valid` and must
# have no weight. Pool one map with NumPy: weights from the softplus of the scores, over valid positions only, with sum
# 1. Scores may be as large as 2,000.
#
# <details><summary>Hint 1: the idea</summary>
#
# Weights first, then set those of the padding to 0, then divide by their sum. The order matters.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `np.exp(2000)` is infinite. `np.logaddexp(a, b)` is $\ln(e^a + e^b)$ and never overflows; which `a` and `b` give a
# softplus?
#
# </details>


# %% tags=["exercise"]
def attention_pooling(feature_map, scores, valid):
    """Map (c, h, w), scores (h, w), valid (h, w) of bool -> (c,)."""
    raise NotImplementedError


checks.check_attention_pooling(attention_pooling)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_attention_pooling(map_, scores_, valid_):
    weights_ = np.logaddexp(0, scores_) * valid_
    return (map_ * weights_).sum(axis=(1, 2)) / weights_.sum()


checks.check_attention_pooling(solution_attention_pooling)

# %% [markdown]
# A right answer gives this picture: the vector of a picture of which only the upper two rows are valid, beside that of
# the whole picture, as cosines to all cells. (Until you have written it, both vectors are the plain mean.)


# %%
def or_mean(feature_map, scores, valid):
    """Your function; the plain mean until it is written."""
    try:
        return attention_pooling(feature_map, scores, valid)
    except NotImplementedError:
        return feature_map.mean(axis=(1, 2))


# %%
one_map, raw = features[3].numpy(), torch.log(torch.expm1(weights[3].clamp(min=1e-6))).numpy()
upper = np.arange(side)[:, None].repeat(side, 1) < side // 2
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6), layout="constrained")
axes[0].imshow(images["test"][3])
for ax, valid, title in zip(axes[1:], (np.ones_like(upper), upper), ("all valid", "upper two rows valid"), strict=True):
    own = or_mean(one_map, raw, valid)
    cosine = np.einsum("c,chw->hw", own / np.linalg.norm(own), one_map / np.linalg.norm(one_map, axis=0))
    shown_map = ax.imshow(cosine, cmap="viridis", vmin=0, vmax=1, extent=(0, 128, 128, 0))
    ax.set_title(title, fontsize=10)
fig.colorbar(shown_map, ax=axes, label="cosine to the pooled vector")
plots.show(plots.describe(fig, "A picture, and the cosine of each cell to its pooled vector, from all positions and from the upper two rows."))

# %% [markdown]
# ## Exercise 2 ★★ the pointing game
#
# Above, ties did not occur and no mask was empty. Write the score for any map and any mask: the pixel at the centre of
# the strongest cell, `floor((i + 0.5) * H / h)` for cell `i` of `h`; among equally strong cells the fraction that hits;
# NaN where the mask is empty, so that `np.nanmean` leaves the picture out.
#
# <details><summary>Hint 1: the idea</summary>
#
# List all strongest cells, find the pixel of each, and average what the mask says there.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.nonzero(condition)` gives rows and columns; `mask[rows, columns]` takes arrays of whole numbers.
#
# </details>


# %% tags=["exercise"]
def pointing(weights, mask):
    """Weights (h, w), mask (H, W) of bool -> fraction of the strongest cells that hit, or NaN."""
    raise NotImplementedError


checks.check_pointing(pointing)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_pointing(weights_, mask_):
    if not mask_.any():
        return float("nan")
    rows_, columns_ = np.nonzero(weights_ == weights_.max())
    rows_ = ((rows_ + 0.5) * mask_.shape[0] / weights_.shape[0]).astype(int)
    columns_ = ((columns_ + 0.5) * mask_.shape[1] / weights_.shape[1]).astype(int)
    return mask_[rows_, columns_].mean()


checks.check_pointing(solution_pointing)

# %% [markdown]
# A right answer gives this picture: hits by the size of the object. Without one, it shows the area prior alone.

# %%
try:
    own_hits = np.array([pointing(w, m) for w, m in zip(weights.numpy(), inside["test"], strict=True)])
except NotImplementedError:
    own_hits = None
sizes = hit["area prior"]
tenth = np.digitize(sizes, np.quantile(sizes, np.linspace(0, 1, 7)[1:-1]))
across = [sizes[tenth == t].mean() for t in range(6)]
fig, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
ax.plot(across, across, "s--", color=plots.style.GREY, label="area prior")
if own_hits is not None:
    ax.plot(across, [np.nanmean(own_hits[tenth == t]) for t in range(6)], "o-", color=plots.style.BLUE, label="attention")
ax.set(xlabel="fraction of the picture that the object covers", ylabel="pointing game", ylim=(0, 1))
ax.legend(frameon=False)
plots.show(plots.describe(fig, "Fraction of pointing-game hits against the size of the object, with the area prior."))

# %% [markdown]
# ## Exercise 3 ★★★ two backgrounds (open)
#
# Contrast was strong here. It can fail where a picture has two backgrounds, a wall above a table: the mean lies between
# them, and both are far from it. Find weights that need no training and put at least 0.1 more of their sum on the
# object than contrast does at any power: a higher power alone is not enough. The maps of the check are random, NumPy
# arrays. Then try `rare_weights(maps["validation"][layer].numpy())` with `attention_pool` and `precisions` and, once,
# the same on the test maps: give the difference to contrast with `interval`, and say what you would report.
#
# <details><summary>Hint 1: the idea</summary>
#
# A background cell has many cells like it, an object's few. The picture's mean does not know that; pairs of cells do.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.einsum("ncp,ncq->npq", cells, cells)` compares all pairs of cells of each picture. Think of what to do with a row
# of it, and of a power.
#
# </details>


# %% tags=["exercise"]
def rare_weights(maps):
    """Maps (n, c, h, w) -> weights (n, h, w), not below 0."""
    raise NotImplementedError


checks.check_rare_weights(rare_weights)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_rare_weights(maps_):
    cells_ = maps_.reshape(*maps_.shape[:2], -1)
    cells_ = cells_ / np.maximum(np.linalg.norm(cells_, axis=1, keepdims=True), 1e-12)
    alike_ = np.maximum(np.einsum("ncp,ncq->npq", cells_, cells_), 0).mean(axis=2)
    return (1 / np.maximum(alike_, 1e-3) ** 6).reshape(len(maps_), *maps_.shape[2:])


checks.check_rare_weights(solution_rare_weights)

# %% [markdown]
# ## What we learned
#
# - Attention pooling is a weighted mean whose weights are learned. A scorer of two layers, trained for seconds on a
#   frozen map, finds objects of categories that it has never met.
# - Compare it with the cheap rivals: a centre prior and contrast each bring about half of the gain without training.
# - Weights of channels cannot leave out a background. Weights of positions can.
# - Pointing well and ranking well are two things; report both.
# - Attention does not know the query. Where several objects get weight, it averages them into one vector; [notebook
#   14](14_object_retrieval.ipynb) gives each a vector of its own.
#
# ### Check yourself
#
# <details><summary>1. Why is "uniform + linear" in the table?</summary>
#
# It has the same training, steps and kind of linear layer, but no attention, each at its own best layer. The difference
# tells what attention adds to the best that a projection does alone.
#
# </details>
# <details><summary>2. What would it mean if the average map did as well as attention?</summary>
#
# That the head had learned where objects usually are, a centre prior, and does not look at the picture.
#
# </details>
# <details><summary>3. How can attention be better than the true mask?</summary>
#
# A mask weighs all cells of the object alike. Attention may prefer the parts that tell categories apart.
#
# </details>
# <details><summary>4. A method hits in 60 % of photographs. What do you ask first?</summary>
#
# How large the objects are (area prior), and how often the middle hits (centre prior).
#
# </details>
#
# ### What breaks at a million images
#
# Attention does not make the vector longer: it has one number per channel of its layer. The search costs no more, and
# the scorer is small beside the network. Local features are another matter: 40 per image are 40 million vectors to
# store, which is why DELG keeps them for re-ranking and reads them for a hundred candidates only. And weights learned
# on tables are weights for tables: on new pictures, play the pointing game before you trust them.
#
# ### Further reading
#
# - Noh et al. (2017), *Large-scale image retrieval with attentive deep local features*, ICCV,
#   [arXiv:1612.06321](https://arxiv.org/abs/1612.06321). The head of this notebook, for landmarks.
# - Cao, Araujo and Sim (2020), *Unifying deep local and global features for image search*, ECCV,
#   [arXiv:2001.05027](https://arxiv.org/abs/2001.05027). DELG: one network for both.
# - Kalantidis, Mellina and Osindero (2016), *Cross-dimensional weighting*, ECCV workshops,
#   [arXiv:1512.04065](https://arxiv.org/abs/1512.04065). Both kinds of weights without training.
# - Hu, Shen and Sun (2018), *Squeeze-and-excitation networks*, CVPR,
#   [arXiv:1709.01507](https://arxiv.org/abs/1709.01507). Channel attention inside a network, where it belongs.
#
# <!-- links:start -->
# Previous: [08_self_supervised](08_self_supervised.ipynb) · [course map](00_start_here.ipynb) · Next: [10_transformers_and_graphs](10_transformers_and_graphs.ipynb)
# <!-- links:end -->
