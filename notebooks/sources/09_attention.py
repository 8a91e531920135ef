# %% [markdown]
# # 09 · Attention: which parts of a picture should count?
#
# **Question.** Most of a picture is often not the object. Pooling counts every position of the feature map alike. Can a
# network learn which positions to count, and does it then find objects that it has never met?
#
# **Time:** two minutes to run, offline; 45 minutes to work through, more with the sections marked (extra). **Before this:** notebooks
# [01](01_measuring_retrieval.ipynb) and [03](03_cnn_features.ipynb).
#
# <!-- links:start -->
# Previous: [08_self_supervised](08_self_supervised.ipynb) · [course map](00_start_here.ipynb) · Next: [10_transformers_and_graphs](10_transformers_and_graphs.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **build** attention pooling, and train it on the feature maps of a frozen network;
# - **compare** it with fixed poolings, a centre prior and known masks, each at its own best setting;
# - **score** where a method looks with the pointing game, and say what that score does not tell (extra);
# - **find** weights that need no training.

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from cbirkit import Ranking, Retriever, checks, datasets, evaluate, explore, plots
from cbirkit.encoders import Deep
from cbirkit.encoders.base import PerImage
from cbirkit.indexes import Exact
from cbirkit.nets.pooling import attention_pool, crow_pool, gem_pool, mac_pool, spoc_pool
from cbirkit.objects import Region
from cbirkit.objects.masked_pooling import grid_weights
from cbirkit.rerank import verify, verify_ranking

# %%
SEED = 0
torch.set_num_threads(1)

# %% [markdown]
# ## The goal
#
# The pictures are **rendered**: an everyday object somewhere on a table, with up to two plain solids beside it. We ask
# for the same **category**: another mug of another shape, colour and material. Other views of the query's own object are
# junk. A mask tells which pixels belong to the object.
#
# Categories are split, not pictures. The head that we train learns from 37 categories, every setting is chosen on 12
# others, and what is reported comes from 15 more.

# %%
objects = datasets.load_tabletop()
view, seen = objects.column("view"), objects.column("seen_category")
names = np.random.RandomState(SEED).permutation(np.unique(objects.labels[seen]))
images = {
    "training": objects[np.isin(objects.labels, names[12:]) & np.isin(view, (0, 2, 4, 6))],
    "validation": objects[np.isin(objects.labels, names[:12]) & (view < 7)],
    "test": objects[~seen & (view < 7)],
}
categories, targets = np.unique(images["training"].labels, return_inverse=True)
targets = torch.from_numpy(targets)
inside = {p: np.stack([some.mask(i) == 1 for i in range(len(some))]) for p, some in images.items()}
print({p: len(some) for p, some in images.items()}, f"object: {inside['test'].mean():.0%} of pixels")
plots.show(plots.contact_sheet(images["test"][::40], n=16, columns=8), dpi=72)

# %% [markdown]
# **Predict.** Average pooling, GeM, a bell curve around the middle of the picture, a head that learns where to look, the
# true mask: which comes first, which last?
#
# The network is `lite0`, frozen: it learned to name photographs, of some of these categories too, but has met no
# rendered picture. Different poolings may prefer different layers, so one pass keeps the maps of four.

# %%
LAYERS = ["blocks.4", "blocks.5", "blocks.6", "bn2"]  # the last one is what `Deep` uses by default
encoder = Deep("lite0", size=160, resize="squash", device="cpu")
network, kept = encoder.network, {layer: [] for layer in LAYERS}
for layer in LAYERS:  # a hook is called with what its layer gave
    hook = lambda module, given, output, rows=kept[layer]: rows.append(output)
    network.get_submodule(layer).register_forward_hook(hook)


@torch.no_grad()
def maps_of(some):
    """Feature maps (n, c, h, w) by layer, all from one pass."""
    [rows.clear() for rows in kept.values()]
    for start in tqdm(range(0, len(some), 32)):
        network(encoder.preprocessing(list(some[start : start + 32])))
    return {layer: torch.cat(rows) for layer, rows in kept.items()}


# %%
maps = {"training": maps_of(images["training"])}

# %%
maps |= {part: maps_of(images[part]) for part in ("validation", "test")}
assert np.allclose(maps["test"]["bn2"][:8], encoder.feature_maps(images["test"][:8]), atol=1e-4)
pd.DataFrame({layer: found.shape[1:] for layer, found in maps["test"].items()}, ["c", "h", "w"])

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
# layers that sees one position at a time. Nobody tells it where objects are: it is trained to classify the pooled vector,
# and positions that help get more weight.

# %%
frozen = ["picture", "frozen\nnetwork", "feature map\n(c, h, w)"]
scored = ["the same\nfeature map", "score of each\nposition", "softplus", "weights\n(h, w)"]
plots.show(plots.pipeline([frozen, scored], ["weighted\nmean (c,)", "classifier\n(training only)"]))

# %% [markdown]
# ## Build it
#
# The whole head. A cell is one position's vector; it is standardised before it is scored. Only `classify` knows the 37 categories; after training it is thrown
# away. (`n_dims` stays empty in the core.)


# %%
class Head(nn.Module):
    def __init__(self, maps, n_classes, *n_dims):
        super().__init__()
        c = maps.shape[1]
        self.mean, self.std = maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3))  # (c,)
        self.scorer = nn.Sequential(nn.Linear(c, 64), nn.ReLU(), nn.Linear(64, 1), nn.Softplus())
        self.classify = nn.Sequential(*map(nn.Linear, (c, *n_dims), (*n_dims, n_classes)))

    def weights(self, maps):  # (n, c, h, w) -> (n, h, w)
        cells = (maps.flatten(2).transpose(1, 2).contiguous() - self.mean) / self.std  # (n, h * w, c)
        scores = self.scorer(cells)[..., 0]
        return (scores / scores.sum(dim=1, keepdim=True)).view(len(maps), *maps.shape[2:])

    def pool(self, maps):  # (n, c, h, w) -> (n, c)
        return (maps * self.weights(maps)[:, None]).sum(dim=(2, 3))


# %%
def train(head, layer, steps=200, rate=5e-3):
    """Classify the training pictures; a generator that gives the number of each step."""
    optimizer = torch.optim.AdamW(head.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(targets), (64,))
        pooled = head.pool(maps["training"][layer][rows])
        logits = head.classify((pooled - head.mean) / head.std)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, targets[rows], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
        yield step + 1


# %%
def trained(kind, layer, seed):
    """A head of one kind, trained at one layer."""
    torch.manual_seed(seed)
    head = kind(maps["training"][layer], len(categories))
    list(train(head, layer))  # all steps
    return head.eval().requires_grad_(False)


# %%
# How well do the vectors search? Views 0 and 1 of each object are queries, 2 to 6 the database.
asks = {part: some.column("view") < 2 for part, some in images.items()}
queries = {part: some[asks[part]] for part, some in images.items()}
databases = {part: some[~asks[part]] for part, some in images.items()}
judge = {"by": "label", "junk": "instance"}  # right: the category; junk: the same object
truth = {part: some.relevance(some, databases[part], **judge) for part, some in queries.items()}


# %%
def rank(part, vectors):
    """The ranking of a part's database, by the vectors (n, d) of all its pictures."""
    index = Exact().fit(np.asarray(vectors)[~asks[part]])
    distances, found = index.kneighbors(np.asarray(vectors)[asks[part]], len(databases[part]))
    return Ranking(queries[part].ids, databases[part].ids, found, distances)


def precisions(part, vectors):
    """Average precision of each query, (n_queries,)."""
    how = {"metrics": ["map"], "n_bootstrap": 0, "groups": queries[part].labels}
    found = evaluate(rank(part, vectors), truth[part], **how)
    return found.per_query["map"].to_numpy()


# %% [markdown]
# Where does a head trained at `blocks.5` look in test pictures, whose categories it has never met? (Each map has its own scale; the
# white line is the object.)

# %% tags=["gallery"]
head = trained(Head, "blocks.5", SEED)
learned = head.weights(maps["test"]["blocks.5"])  # (n, h, w)
pooled = attention_pool(maps["test"]["blocks.5"], learned)  # the package does the rest
assert torch.allclose(head.pool(maps["test"]["blocks.5"]), pooled, atol=1e-5)
shown = np.random.default_rng(SEED).choice(len(learned), 8, replace=False)
fig, axes = plt.subplots(2, 8, figsize=(11, 3.1), layout="constrained")
for (top, bottom), i in zip(axes.T, shown, strict=True):
    top.imshow(images["test"][i])
    top.set_title(images["test"].labels[i], fontsize=10)
    bottom.imshow(learned[i], cmap="viridis", extent=(0, 128, 128, 0))
    bottom.contour(inside["test"][i], levels=[0.5], colors="white", linewidths=1)
plt.setp(axes, xticks=[], yticks=[])
plots.show(plots.describe(fig, "Eight pictures, and attention brightest on the objects."), dpi=84)

# %% [markdown] tags=["extra"]
# ### How many steps? (extra)
#
# Validation stops improving long before 200 steps.

# %% tags=["extra"]
torch.manual_seed(SEED)
another, curve = Head(maps["training"]["blocks.5"], len(categories)), {}
for step in train(another, "blocks.5"):
    if step == 1 or step % 25 == 0:
        curve[step] = precisions("validation", another.pool(maps["validation"]["blocks.5"]).detach()).mean()
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.plot(curve.keys(), curve.values(), "o-", color=plots.style.BLUE)
ax.set(xlabel="training steps", ylabel="mAP, validation categories", ylim=(0, None))
plots.show(plots.describe(fig, "Validation mAP against training steps: it rises within the first steps and is then flat."))

# %% [markdown]
# ## Measure it
#
# Every rival gets its own best layer and setting. The **centre prior** weighs positions by a bell curve around the
# middle: photographers, and this renderer, put objects there. **Contrast** weighs a position by its distance to the
# picture's mean vector, to a power: what is unlike the rest stands out. The **mask** is an oracle: it cheats.
# The head, too, is trained at each layer. After the table of what was chosen, a figure shows each method at every layer,
# with its best setting there.


# %%
def centre_prior(maps, part, sigma):
    """Weights exp(-r² / 2 sigma²), r in sides of the picture."""
    y, x = torch.meshgrid(*[(torch.arange(n) + 0.5) / n - 0.5 for n in maps.shape[2:]], indexing="ij")
    bell = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    return attention_pool(maps, bell.expand(len(maps), -1, -1))


def contrast_weights(maps, power):
    return (maps - maps.mean(dim=(2, 3), keepdim=True)).norm(dim=1) ** power  # (n, h, w)


def contrast(maps, part, power):
    return attention_pool(maps, contrast_weights(maps, power))


# %%
def oracle(maps, part):
    regions = [Region.from_mask(mask) for mask in inside[part]]
    return attention_pool(maps, torch.from_numpy(grid_weights(regions, maps.shape[2:])).float())


# a pooling of the package as one that is called with maps and the part they are of
fixed = lambda pool, **settings: lambda maps, part: pool(maps, **settings)
candidates = [("mean", "", fixed(spoc_pool)), ("max", "", fixed(mac_pool)), ("mask (oracle)", "", oracle)]
candidates += [("GeM", f"p = {p}", fixed(gem_pool, p=p)) for p in (2.0, 3.0, 4.0, 6.0, 8.0)]
SIGMAS, POWERS = (0.03, 0.06, 0.08, 0.12, 0.2), (1, 3, 6, 9, 12, 16)
candidates += [("centre prior", f"σ = {s}", partial(centre_prior, sigma=s)) for s in SIGMAS]
candidates += [("contrast", f"power {p}", partial(contrast, power=p)) for p in POWERS]


# %%
def try_all(candidates):
    """Validation mAP of each method, at each layer and setting."""
    rows = []
    for method, setting, pool in tqdm(candidates):
        for layer in LAYERS:
            score = precisions("validation", pool(maps["validation"][layer], "validation")).mean()
            rows.append((method, layer, setting, score, pool))
    return pd.DataFrame(rows, columns=["method", "layer", "setting", "validation", "pool"])


best_of = lambda tried: tried.loc[tried.groupby("method")["validation"].idxmax()].set_index("method")
tried = try_all(candidates)
best = best_of(tried)
best[["layer", "setting", "validation"]].round(3)

# %%
on_validation = {}
for at in tqdm(LAYERS):
    vectors = trained(Head, at, SEED).pool(maps["validation"][at])
    on_validation[at] = precisions("validation", vectors).mean()
layer = max(on_validation, key=on_validation.get)
tops = tried.pivot_table("validation", "layer", "method", "max").loc[LAYERS]
tops["attention"] = pd.Series(on_validation)
tops = tops[tops.max().sort_values(ascending=False).index]  # the key from best to worst
ax = tops.plot(style=["o-", "s-", "^-", "D-", "v-", "P-", "X-"], figsize=(8, 3), xticks=range(4))
ax.set(ylim=0, xlabel="layer, from early to late", ylabel="mAP, validation")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
plots.show(plots.describe(ax, "Validation mAP by layer: each method has a best layer of its own."))

# %% [markdown]
# ### On categories that the head has not seen
#
# The head is trained three times from different random weights, and the results are averaged per query. Five controls
# take the weights of the first apart, at its own layer: **uniform** (the plain mean there), **random scorer** (the same head, never
# trained), **shuffled** (each picture's weights at random positions), **average map** (the mean of all weights on
# validation: a learned centre prior) and **of another picture**.

# %%
scores = {m: precisions("test", r.pool(maps["test"][r.layer], "test")) for m, r in best.iterrows()}
heads = [trained(Head, layer, 10 * SEED + n) for n in range(3)]
given, rng = maps["test"][layer], np.random.default_rng(SEED)
scores["attention"] = np.mean([precisions("test", one.pool(given)) for one in heads], axis=0)

# %%
torch.manual_seed(SEED)
never_trained = Head(maps["training"][layer], len(categories)).requires_grad_(False)
weights, average = heads[0].weights(given), heads[0].weights(maps["validation"][layer]).mean(dim=0)
controls = {
    "random scorer": never_trained.weights(given),
    "shuffled": torch.from_numpy(rng.permuted(weights.flatten(1).numpy(), axis=1)).view_as(weights),
    "of another picture": weights[rng.permutation(len(weights))],
    "average map": average.expand_as(weights),
    "uniform, same layer": torch.ones_like(weights),
}
scores |= {name: precisions("test", attention_pool(given, own)) for name, own in controls.items()}

# %% [markdown]
# **Intervals draw the 15 categories** (not the trainings): what we say should hold for other new categories. Differences are paired, query by query:
# each method minus GeM, and attention minus each method.

# %%
groups = [*queries["test"].table.groupby("label").indices.values()]  # queries of each category
drawn = np.random.default_rng(SEED).integers(0, len(groups), (2000, len(groups)))


def interval(values):
    """95 % interval of a mean over queries, by drawing categories: low, high."""
    means = np.array([values[rows].mean() for rows in groups])  # as many queries in each category
    return np.quantile(means[drawn].mean(axis=1), (0.025, 0.975))


def minus(one, other):
    """Mean difference of two methods, and its interval, as text."""
    gain = scores[one] - scores[other]
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(gain.mean(), *interval(gain))


# %%
table = pd.DataFrame({"mAP": {n: own.mean() for n, own in scores.items()}}).sort_values("mAP")[::-1]
table["minus GeM"] = [minus(name, "GeM") for name in table.index]
table["attention minus it"] = [minus("attention", name) for name in table.index]
table.round(3)

# %%
fig, ax = plt.subplots(figsize=(7.4, 4), layout="constrained")
kinds = {"learned": ["attention"], "fixed": [*best.index], "control": [*controls]}
for (kind, names), mark, hue in zip(kinds.items(), "Dso", plots.style.COLOURS, strict=False):
    gains = {table.index.get_loc(name): scores[name] - scores["GeM"] for name in names}
    ax.plot([gain.mean() for gain in gains.values()], [*gains], mark, ms=8, color=hue, label=kind)
    ax.hlines([*gains], *np.transpose([interval(gain) for gain in gains.values()]), color=hue)
ax.axvline(0, color="0.4", lw=1)
ax.set_yticks(range(len(table)), [f"{name}: {mAP:.2f}" for name, mAP in table["mAP"].items()])
ax.set(ylim=(len(table) - 0.5, -0.5), xlabel="mAP minus that of GeM (left: mAP)")
ax.legend(frameon=False, loc="lower right")
plots.show(plots.describe(fig, "Differences in mAP to GeM, with intervals; attention leads."))

# %% tags=["claim"]
for other in ("GeM", "centre prior", "contrast", "average map", "of another picture"):
    assert interval(scores["attention"] - scores[other])[0] > 0.02, other
assert scores["attention"].mean() - scores["random scorer"].mean() > 0.2
assert scores["attention"].mean() > scores["mask (oracle)"].mean() - 0.01
assert abs(scores["contrast"].mean() - scores["centre prior"].mean()) < 0.03
assert table.loc[["shuffled", "of another picture"], "mAP"].max() < table.loc["mean", "mAP"] - 0.02

# %% [markdown]
# - Was it your order? Learned attention is far ahead of GeM, and of the centre prior and contrast by half as much. These two
#   are level and untrained; the head had labels of 37 categories (labels without attention bring over half as much: extra). (At σ = 0.03, the edge of its grid, the
#   prior is the middle cell alone, so no smaller σ can differ.)
# - At its own layer the plain mean is far below GeM, so the weights bring more than the difference to GeM shows. The
#   gain is in *this* picture's weights: shuffled, they are no better than equal weights. Those of another picture bring
#   a part of it, since objects are often near the middle, and the average map ends about level with GeM.
# - The mask is no upper bound: attention is at least level with it (the interval reaches 0). The mask weighs all cells of the
#   object alike and knows no labels; perhaps the head learned which cells tell categories apart (not tested).

# %% [markdown] tags=["extra"]
# ## Where does it look? (extra)
#
# The **pointing game** (Zhang et al. 2016, *ECCV*, [arXiv:1608.00507](https://arxiv.org/abs/1608.00507)): is the point
# with the largest weight, here the centre of the strongest cell, on the object? Two priors stand beside it: the **average
# map**, whose peak is the middle, and the **area prior**, how often a random pixel hits.

# %% tags=["extra"]
side = weights.shape[1]
middles = ((np.arange(side) + 0.5) * 128 / side).astype(int)
on_object = inside["test"][:, middles][:, :, middles].reshape(len(weights), -1)  # centres of cells
looks = {f"attention, training {n + 1}": one.weights(given) for n, one in enumerate(heads)}
looks |= {"contrast": contrast_weights(given, 1)}
looks |= {name: controls[name] for name in ("random scorer", "average map")}
strongest = {name: w.flatten(1).argmax(dim=1).numpy() for name, w in looks.items()}
hit = {name: on_object[np.arange(len(weights)), cell] for name, cell in strongest.items()}
hit["area prior"] = inside["test"].mean(axis=(1, 2))
per_category = pd.DataFrame(hit).groupby(images["test"].labels).mean()
low, high = np.quantile(per_category.to_numpy()[drawn].mean(axis=1), (0.025, 0.975), axis=0)
pd.DataFrame({"hits": per_category.mean(), "low": low, "high": high}).round(3)

# %% tags=["extra", "claim"]
pointed = np.mean([hit[f"attention, training {n}"].mean() for n in (1, 2, 3)])
assert pointed > hit["average map"].mean() + 0.1 and pointed > hit["area prior"].mean() + 0.4
assert abs(pointed - hit["contrast"].mean()) < 0.1

# %% [markdown] tags=["extra"]
# Attention hits far more often than the middle. But contrast hits nearly as often, and its vectors find clearly less. **A
# map that points well need not rank well**: the game looks at one cell per picture; the search uses the weights of all.

# %% [markdown] tags=["extra"]
# ### When does it help, and where does it fail? (extra)
#
# By the size of the object in the query, in thirds, and by the number of solids beside it. Against GeM, small ones gain most from
# attention; on large ones there is less to leave out. With two solids every method finds less, even the mask.

# %% tags=["extra", "claim"]
area = inside["test"][asks["test"]].mean(axis=(1, 2))
third = np.digitize(area, np.quantile(area, [1 / 3, 2 / 3]))
beside = np.array([len(solids) for solids in queries["test"].column("distractors")])
by = {name: third == n for n, name in enumerate(("small", "medium", "large"))}
by |= {f"{n} beside": beside == n for n in range(3)}
methods = ["mean", "GeM", "centre prior", "contrast", "attention", "mask (oracle)"]
of_kind = {name: {m: scores[m][rows].mean() for m in methods} for name, rows in by.items()}
of_kind = pd.DataFrame(of_kind)
relative = of_kind.loc["attention"] / of_kind.loc["GeM"]
assert relative["small"] > relative["large"] + 0.2
of_kind.round(3)

# %% [markdown] tags=["extra"]
# The four queries that lose most against GeM, with the average precision of attention and of GeM. Look for a category that
# comes up again: attention keeps a few cells, and a shape may spread over more.

# %% tags=["extra"]
worst = np.argsort(scores["attention"] - scores["GeM"])[:4]
rows = np.flatnonzero(asks["test"])[worst]
fig, axes = plt.subplots(1, 8, figsize=(11, 1.7), layout="constrained")
for n, (query, i) in enumerate(zip(worst, rows, strict=True)):
    axes[2 * n].imshow(images["test"][i])
    told = f"{scores['attention'][query]:.2f}, GeM {scores['GeM'][query]:.2f}"
    axes[2 * n].set_title(f"{images['test'].labels[i]}\n{told}", fontsize=9)
    axes[2 * n + 1].imshow(weights[i], cmap="viridis", extent=(0, 128, 128, 0))
    axes[2 * n + 1].contour(inside["test"][i], levels=[0.5], colors="white", linewidths=1)
    axes[2 * n + 1].set_title("weights", fontsize=9)
for ax in axes:
    ax.axis("off")
plots.show(plots.describe(fig, "The four queries that lose most by attention, with average precision of both, and their weights."), dpi=84)

# %% [markdown] tags=["extra"]
# ### What else could be learned? (extra)
#
# **Squeeze and excitation** (SE; Hu et al. 2018, *CVPR*, [arXiv:1709.01507](https://arxiv.org/abs/1709.01507)) learns
# weights of channels. **CroW** (Kalantidis et al. 2016, *ECCV workshops*, [arXiv:1512.04065](https://arxiv.org/abs/1512.04065))
# computes weights without training: of positions, from how much fires there, and of channels, from how rarely they fire.
# Such **channel attention** changes *what* counts, the same at all positions; it cannot leave out a place. And one can
# learn a linear projection, to 128 dimensions, of the plain mean (**uniform + linear**) or on top of attention
# (**attention + linear**). All get the same steps, and their best layers on validation.


# %% tags=["extra"]
class Uniform(Head):
    """No attention: every position counts alike."""

    def pool(self, maps):
        return maps.mean(dim=(2, 3))


# %% tags=["extra"]
class SE(Uniform):
    """Squeeze and excitation: a gate (0 to 1) for each channel, from the mean of the map."""

    def __init__(self, maps, n_classes):
        super().__init__(maps, n_classes)
        c = maps.shape[1]
        self.gate = nn.Sequential(nn.Linear(c, 64), nn.ReLU(), nn.Linear(64, c), nn.Sigmoid())

    def pool(self, maps):
        mean = super().pool(maps)
        return mean * self.gate((mean - self.mean) / self.std)


# %% tags=["extra"]
def embedded(head, part, layer):
    """What the search compares: the projection where there is one, else the pooled vector."""
    pooled = head.pool(maps[part][layer])
    return head.classify[0]((pooled - head.mean) / head.std) if len(head.classify) > 1 else pooled


KINDS = {"SE": SE, "uniform + linear": lambda maps, n_classes: Uniform(maps, n_classes, 128)}
KINDS["attention + linear"] = lambda maps, n_classes: Head(maps, n_classes, 128)

# %% tags=["extra"]
of_layer = {name: {} for name in KINDS}
for at in tqdm(LAYERS[:3]):
    for name, kind in KINDS.items():
        vectors = embedded(trained(kind, at, SEED), "validation", at)
        of_layer[name][at] = precisions("validation", vectors).mean()

# %% tags=["extra"]
for name, kind in KINDS.items():
    vectors = embedded(trained(kind, "bn2", SEED), "validation", "bn2")
    of_layer[name]["bn2"] = precisions("validation", vectors).mean()
    at = max(of_layer[name], key=of_layer[name].get)
    three = [embedded(trained(kind, at, 10 * SEED + n), "test", at) for n in range(3)]
    found = [precisions("test", vectors) for vectors in three]
    scores[name] = np.mean(found, axis=0)
    print(f"{name} at {at}, three trainings:", *[f"{one.mean():.3f}" for one in found])

# %% tags=["extra", "claim"]
halves = [("CroW, positions", "", fixed(crow_pool, channel=False))]
halves += [("CroW, channels", "", fixed(crow_pool, spatial=False))]
for name, row in best_of(try_all(halves)).iterrows():
    scores[name] = precisions("test", row.pool(maps["test"][row.layer], "test"))
compared = ["CroW, channels", "SE", "CroW, positions", "attention", *[*KINDS][1:]]
assert (scores["attention"] - scores["mean"]).mean() > 0.1 + (scores["SE"] - scores["mean"]).mean()
assert abs((scores["CroW, channels"] - scores["mean"]).mean()) < 0.03
assert interval(scores["attention + linear"] - scores["uniform + linear"])[0] > 0.02
assert scores["attention + linear"].mean() > scores["attention"].mean() + 0.02
print("attention minus uniform + linear:", minus("attention", "uniform + linear"))
pd.DataFrame({"minus mean": {name: minus(name, "mean") for name in compared}})

# %% [markdown] tags=["extra"]
# Weights of channels change little: a channel that is turned down for the table is turned down for the object, too. (Those of
# positions are no guarantee: CroW's bring little.) A projection alone, **uniform + linear**, is the control for training
# itself: it brings a gain (the line above the table sets attention against it), and on top of attention it still helps. The two gains are not
# the same one.

# %% [markdown] tags=["extra"]
# ## On photographs (extra)
#
# Does a head that has only met rendered tables know where to look in photographs? In our longer run
# (`tools/attention_pointing.py`) the trained head was tried, without further training, on COCO photographs with masks;
# a hit on any annotated object counts. Intervals draw pictures.

# %% tags=["extra"]
coco = pd.read_csv(datasets.shipped_file("attention_pointing.csv"))
for kind in ("attention", "random"):
    coco[kind] = coco[[f"{kind}_{n}" for n in range(3)]].mean(axis=1)  # three trainings
photo = {size: rows.reset_index(drop=True) for size, rows in coco.groupby("size")}
again = np.random.default_rng(SEED).integers(0, len(photo[160]), (2000, len(photo[160])))


def with_interval(values):
    low, high = np.quantile(values.to_numpy()[again].mean(axis=1), (0.025, 0.975))
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


# %% tags=["extra", "record"]
rivals, lines = ["contrast", "centre", "random", "area"], {}
for size, rows in photo.items():
    lines[f"{size} pixels"] = [with_interval(rows[kind]) for kind in ["attention", *rivals]]
    lines[f"{size}, attention minus it"] = ["", *[with_interval(rows["attention"] - rows[kind]) for kind in rivals]]
print(len(photo[160]), "photographs")
for rows in photo.values():
    low = [np.quantile((rows["attention"] - rows[m]).to_numpy()[again].mean(axis=1), 0.025) for m in rivals]
    above = dict(zip(rivals, low, strict=True))
    assert above["area"] > 0.1 and above["random"] > 0.1
    assert above["centre"] < 0 and above["contrast"] < 0
pd.DataFrame(lines, index=["attention", *rivals])

# %% [markdown] tags=["extra"]
# It beats the area prior clearly: something of what it learned on tables holds for photographs. Whether it points better
# than the middle of the picture, or than contrast, which learned nothing, cannot be told from so few pictures.
# Photographers aim well: an area prior alone would have made this look like a success.

# %% [markdown] tags=["extra"]
# ## Local features that attention chose (extra)
#
# DELF keeps the positions with the highest scores as **local features**. **DELG** (Cao et al. 2020, *ECCV*,
# [arXiv:2001.05027](https://arxiv.org/abs/2001.05027)) takes both from one network: a pooled vector finds candidates, and
# local features, verified by geometry as in [notebook 02](02_local_features.ipynb), re-rank them. The question is now the
# **same object** in another view. Descriptors come from an early layer with a fine grid; positions are those with the
# largest attention, or, as a control, random ones. Each of the two gets its own number of features, ratio of the matches
# and tolerance in pixels, chosen on validation pictures.

# %% tags=["extra"]
FINE = 20  # cells a side of the early layer's map
local_encoder = Deep("lite0", layer="blocks.2", size=160, resize="squash", device="cpu")
y, x = np.divmod(np.arange(FINE**2), FINE)
points = (np.stack([x, y], axis=1) + 0.5) * 128 / FINE  # (positions, 2), pixels
local, order, smooth = {}, {}, {"size": (FINE, FINE), "mode": "bilinear"}
for part in ("validation", "test"):
    found = local_encoder.feature_maps(images[part])
    local[part] = found.reshape(len(found), found.shape[1], -1).transpose(0, 2, 1)  # (n, positions, c)
    large = nn.functional.interpolate(heads[0].weights(maps[part][layer])[:, None], **smooth).flatten(1)
    order[part] = {"attention": large.argsort(dim=1, descending=True).numpy()}  # (n, positions), best first
    order[part]["random positions"] = np.random.default_rng(SEED).permuted(order[part]["attention"], axis=1)

# %% tags=["extra"]
centre = local["validation"].mean(axis=(0, 1))
unit = lambda descriptors: (descriptors - centre) / np.linalg.norm(descriptors - centre, axis=-1, keepdims=True)
same = {part: queries[part].relevance(queries[part], databases[part], by="instance") for part in local}
first = {part: rank(part, heads[0].pool(maps[part][layer])) for part in local}


def reranked(part, kind, n_features, ratio, threshold, every=1):
    """First 20 results by the matches that agree with one homography, and the mAP; of every so many-th query."""
    rows, features = np.arange(0, len(queries[part]), every), {}
    for name, found, own in zip(images[part].ids, local[part], order[part][kind], strict=True):
        features[name] = points[own[:n_features]], unit(found[own[:n_features]])
    settings = {"n": 20, "n_jobs": 1, "progress": False, "ratio": ratio, "threshold": threshold}
    found = verify_ranking(first[part].select(rows), features, **settings)
    how = {"metrics": ["map"], "n_bootstrap": 0, "groups": queries[part].labels[rows]}
    return found, evaluate(found.ranking, same[part].select(rows), **how)["map"]


# %% tags=["extra"]
settings = [(n, ratio, pixels) for n in (40, 100) for ratio in (0.8, 0.95) for pixels in (8.0, 16.0)]
tuned = {}
for kind in order["test"]:  # on every third validation query
    tuned[kind] = [reranked("validation", kind, *one, every=3)[1] for one in tqdm(settings)]
pd.DataFrame(tuned, pd.MultiIndex.from_tuples(settings, names=["features", "ratio", "pixels"])).round(3)

# %% tags=["extra"]
chosen = {kind: settings[int(np.argmax(values))] for kind, values in tuned.items()}
found = {kind: reranked("test", kind, *one) for kind, one in chosen.items()}
how = {"metrics": ["map"], "n_bootstrap": 0, "groups": queries["test"].labels}
before = evaluate(first["test"], same["test"], **how)["map"]
lines = {"attention-pooled vector": ["", before]}
lines |= {f"re-ranked, {kind}": [str(chosen[kind]), found[kind][1]] for kind in found}
pd.DataFrame(lines, index=["features, ratio, pixels", "mAP"]).T

# %% [markdown] tags=["extra"]
# Re-ranking gains **nothing**, and that is the result. Validation chose the strict ratio, under which few matches are left,
# so that the order hardly changes; with the loose one it becomes much worse. Is the code wrong? A positive control, with
# the settings of attention: pictures against a copy of themselves that was shifted by two cells.

# %% tags=["extra"]
n_features, ratio, threshold = chosen["attention"]
rows = np.flatnonzero(~asks["test"])[:60]
shifted = local_encoder.feature_maps([np.roll(images["test"][i], 13, axis=1) for i in rows])
shifted = unit(shifted.reshape(60, shifted.shape[1], -1).transpose(0, 2, 1))
inliers = {"a shifted copy": []}
for i, copy in zip(rows, shifted, strict=True):
    pick = order["test"]["attention"][i, :n_features]
    pair = (points[pick], unit(local["test"][i, pick])), (points, copy)  # all positions of the copy: easier
    inliers["a shifted copy"].append(verify(*pair, ratio=ratio, threshold=threshold).n_inliers)
right = same["test"].gains(found["attention"][0].ranking.indices[:, :20]) > 0
inliers["the same object"] = found["attention"][0].inliers[right]
inliers["another object"] = found["attention"][0].inliers[~right]
pd.DataFrame({name: [np.median(v), np.mean(v)] for name, v in inliers.items()}, ["median", "mean"]).T.round(1)

# %% [markdown] tags=["extra"]
# Verification recognises copies. Between two views the objects turn, and ground and light change: for most pairs of the
# same object no match agrees. Whether the descriptors are too weak or no homography fits, this test cannot tell. DELG was
# made for landmarks, with their large flat walls. What attention does bring shows under the loose ratio: at random
# positions re-ranking does much more harm.

# %% tags=["extra", "claim"]
assert found["attention"][1] < before + 0.02
loose = {kind: np.mean([v for v, one in zip(tuned[kind], settings, strict=True) if one[1] == 0.95]) for kind in tuned}
assert loose["attention"] > loose["random positions"] + 0.05
assert np.mean(inliers["a shifted copy"]) > 4 * np.mean(inliers["the same object"])

# %% [markdown]
# ## Try it
#
# Choose a query, or crop one out of a picture with the mouse, and compare two poolings. (Every third picture of the
# database is searched.) What happens when you crop tightly around the object? Below is the same view as a picture.


# %%
class Pooled(PerImage):
    """Pictures to pooled vectors, by a function of maps."""

    def __init__(self, deep, pool):
        self.deep, self.pool = deep, pool

    @torch.no_grad()
    def _encode(self, image):
        return self.pool(torch.from_numpy(self.deep.feature_maps([image])))[0].numpy()


# %%
some, at = databases["test"][::3], partial(Deep, "lite0", size=160, resize="squash", device="cpu")
encoders = {"attention": Pooled(at(layer=layer), heads[0].pool)}
encoders["GeM"] = Pooled(at(layer=best.loc["GeM", "layer"]), partial(best.loc["GeM", "pool"], part="test"))
retrievers = {name: Retriever(one, progress=False).fit(some) for name, one in encoders.items()}

# %%
shown = {"queries": queries["test"], "query": str(queries["test"].ids[0]), "k": 8}
shown["relevance"] = queries["test"].relevance(queries["test"], some, **judge)
explorer = explore.QueryExplorer(retrievers, **shown)
explorer

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
# Weights first, then set those of the padding to 0, then divide by their sum.
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

# %% [markdown] tags=["extra"]
# ### What did it keep? (extra)
#
# With your function (until it is written, the solution's): the cosine of each cell to the pooled vector, from 0 (dark) to
# 1 (yellow), of the whole picture and of its upper two rows.

# %% tags=["extra"]
raw = torch.log(torch.expm1(weights[3].clamp(min=1e-6))).numpy()  # softplus of it: the weights
upper = np.arange(len(raw))[:, None].repeat(len(raw), 1) < 2
fig, axes = plt.subplots(1, 3, figsize=(7, 2.6), layout="constrained")
axes[0].imshow(images["test"][3])
for ax, valid, title in zip(axes[1:], (upper | True, upper), ("all", "two rows"), strict=True):
    own = checks.first_written("attention_pooling", given[3].numpy(), raw, valid)
    if own is not None:
        cosine = torch.cosine_similarity(torch.tensor(own).view(-1, 1, 1), given[3], dim=0)
        ax.imshow(cosine, cmap="viridis", vmin=0, vmax=1, extent=(0, 128, 128, 0))
        ax.set_title(f"valid: {title}", fontsize=10)
plots.show(plots.describe(fig, "A picture, and the cosine of each cell to its two pooled vectors."))

# %% [markdown] tags=["extra"]
# ## Exercise 2 ★★ the pointing game (extra)
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


# %% tags=["exercise", "extra"]
def pointing(weights, mask):
    """Weights (h, w), mask (H, W) of bool -> fraction of the strongest cells that hit, or NaN."""
    raise NotImplementedError


checks.check_pointing(pointing)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["solution", "extra"]
def solution_pointing(weights_, mask_):
    if not mask_.any():
        return float("nan")
    rows_, columns_ = np.nonzero(weights_ == weights_.max())
    rows_ = ((rows_ + 0.5) * mask_.shape[0] / weights_.shape[0]).astype(int)
    columns_ = ((columns_ + 0.5) * mask_.shape[1] / weights_.shape[1]).astype(int)
    return mask_[rows_, columns_].mean()


checks.check_pointing(solution_pointing)

# %% [markdown] tags=["extra"]
# With your function: hits by the size of the object.

# %% tags=["extra"]
hits = [checks.first_written("pointing", w, m) for w, m in zip(weights.numpy(), inside["test"], strict=True)]
by_size = pd.DataFrame({"attention": np.array(hits, dtype=float), "area prior": hit["area prior"]})
by_size = by_size.groupby(pd.qcut(by_size["area prior"], 6, labels=False)).mean()
fig, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
for (name, values), line in zip(by_size.items(), ("o-", "s--"), strict=True):
    ax.plot(by_size["area prior"], values, line, label=name)
ax.set(xlabel="fraction of the picture that the object covers", ylabel="pointing game", ylim=(0, 1))
ax.legend(frameon=False)
plots.show(plots.describe(fig, "Fraction of pointing-game hits against the size of the object, with the area prior."))

# %% [markdown]
# ## Exercise 3 ★★★ two backgrounds (open)
#
# Contrast was strong here. It can fail where a picture has two backgrounds, a wall above a table: the mean lies between
# them, and both are far from it. Find weights that need no training and put at least 0.1 more of their sum on the object
# than contrast does at any power. The maps of the check are random, NumPy arrays. Below the solution your weights are
# drawn and tried on the *validation* pictures. **Predict**: will they beat contrast there, too? **Choose** there; at the end, once, **report**:
#
# ```python
# some = maps["test"][best.loc["contrast", "layer"]]
# own = torch.as_tensor(rare_weights(some.numpy())).float()
# scores["rare"] = precisions("test", attention_pool(some, own))
# minus("rare", "contrast")
# ```
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
# Your weights, or the solution's, on validation pictures at contrast's layer. Look where they differ. Weights may pass the check, and still lie less on the objects and find
# less than contrast, as the solution's do here: the random maps of the check are not these pictures. Which pictures speak for rarity, which against it? White lines are the objects;
# beside the rows stand the mAP and the fraction of the weight that lies on the object, all pictures averaged.

# %%
part, some = "validation", maps["validation"][best.loc["contrast", "layer"]]
rows = {"contrast": contrast_weights(some, best.loc["contrast", "pool"].keywords["power"])}
yours = checks.first_written("rare_weights", some.numpy())
rows |= {} if yours is None else {"yours": torch.as_tensor(yours).float()}
# the fraction of each cell that the object covers, (n, h, w)
cover = torch.from_numpy(grid_weights([*map(Region.from_mask, inside[part])], some.shape[2:]))

# %%
shown = np.random.default_rng(SEED).choice(len(some), 8, replace=False)
fig, axes = plt.subplots(3, 8, figsize=(11, 4.6), layout="constrained")
for line, (name, own) in zip(axes, {"picture": None, **rows}.items(), strict=False):
    if own is not None:
        on_it = ((own * cover).sum(dim=(1, 2)) / own.sum(dim=(1, 2))).mean()
        mAP = precisions(part, attention_pool(some, own)).mean()
        name = f"{name}\nmAP {mAP:.3f}\non object {on_it:.2f}"
    line[0].set_ylabel(name, fontsize=10)
    for ax, i in zip(line, shown, strict=True):
        ax.imshow(images[part][i] if own is None else own[i], extent=(0, 128, 128, 0))
        ax.contour(inside[part][i], levels=[0.5], colors="white", linewidths=1)
plt.setp(axes, xticks=[], yticks=[])
plots.show(plots.describe(fig, "Eight pictures with outlined objects, and the weights of contrast and of yours."), dpi=84)

# %% [markdown]
# ## What we learned
#
# - A scorer of two layers, trained for seconds on a frozen map, finds rendered objects of categories that the head has
#   never met.
# - A centre prior and contrast each bring about half of the gain over GeM, untrained: compare with them.
# - Pointing well and ranking well are two things (extra); report both.
# - Attention does not know the query. Several objects become one vector; [notebook 14](14_object_retrieval.ipynb) gives
#   each its own.
#
# ### Check yourself
#
# <details><summary>1. Why does the table hold the plain mean of attention's own layer?</summary>
#
# GeM uses another layer. Only at the same layer does the difference tell what the weights bring.
#
# </details>
# <details><summary>2. What would it mean if the average map did as well as attention?</summary>
#
# That the head had learned where objects usually are, a centre prior, and does not look at the picture.
#
# </details>
# <details><summary>3. How could attention be better than the true mask?</summary>
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
# Attention does not make the vector longer, so the search costs no more. But weights learned on tables are weights for
# tables: on new pictures, play the pointing game before you trust them.
#
# ### Further reading
#
# - Noh et al. (2017), *Large-scale image retrieval with attentive deep local features*, ICCV,
#   [arXiv:1612.06321](https://arxiv.org/abs/1612.06321). The head of this notebook, for landmarks.
# - Cao, Araujo and Sim (2020), *Unifying deep local and global features for image search*, ECCV,
#   [arXiv:2001.05027](https://arxiv.org/abs/2001.05027). DELG: one network for both.
# - Kalantidis, Mellina and Osindero (2016), *Cross-dimensional weighting*, ECCV workshops,
#   [arXiv:1512.04065](https://arxiv.org/abs/1512.04065). Both kinds of weights without training.
#
# <!-- links:start -->
# Previous: [08_self_supervised](08_self_supervised.ipynb) · [course map](00_start_here.ipynb) · Next: [10_transformers_and_graphs](10_transformers_and_graphs.ipynb)
# <!-- links:end -->
