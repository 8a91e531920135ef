# %% [markdown]
# # 06 · Domain fine-tuning: train the network on your own domain?
#
# **Question.** When is it worth training the network on your own domain, how much of it should learn, and what does
# it forget?
#
# **Time:** about two minutes to run on two cores, offline. **Before this:** [notebook 03](03_cnn_features.ipynb) for
# the features, [notebook 05](05_transfer_learning.ipynb) for what they carry from one domain to another while the
# network itself is not trained.
#
# <!-- links:start -->
# Previous: [05_transfer_learning](05_transfer_learning.ipynb) · [course map](00_start_here.ipynb) · Next: [07_metric_learning](07_metric_learning.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **write** the loop that fine-tunes a network, and show that the package's gives the same weights;
# - **split** data by class, so that what is measured is retrieval of things nobody trained on;
# - **compare** a frozen network, a learned projection, the last blocks and the whole network, each with a rate tuned
#   by the same effort;
# - **measure** what the network forgets, and **trade** it against what it learns by interpolating weights.

# %%
import copy
import os
import runpy

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch.nn import functional as F
from tqdm.auto import tqdm

from cbirkit import ImageCollection, Retriever, checks, datasets, encoders, explore, learning, plots
from cbirkit.evaluation import compare, evaluate

# %%
SEED = 0
BACKBONE = "tiny"  # "resnet50" where there is internet
PROFILE = "quick"  # "full" trains on the satellite photographs, too, if CBIRKIT_REALDATA names the folder that has them

# %% [markdown]
# ## The goal
#
# The narrow domain is a thermal camera of 64 × 64 pixels: no colour, no paint, blurred outlines, hot spots that mean
# nothing. We simulate it on the rendered objects of [notebook 03](03_cnn_features.ipynb): a close-up of each, in which
# what the mask calls an object is warm, and of the light only a third is left.


# %%
def thermal(image, mask, random):
    """What a thermal camera sees of (64, 64, 3) uint8, whose objects have the numbers 1, 2, … in the mask (64, 64)."""
    heat = 0.4 * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) + np.append(0, random.uniform(30, 140, 9))[mask]  # (64, 64)
    for _ in range(random.integers(3)):  # hot spots
        distance = np.hypot(*(np.indices((64, 64)) - random.uniform(0, 64, (2, 1, 1))))
        heat += random.uniform(60, 140) * np.exp(-((distance / random.uniform(4, 11)) ** 2))
    heat = cv2.GaussianBlur(heat, None, 1.5) + random.normal(0, 4, (64, 64))
    return np.repeat(np.clip(heat, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


# %% [markdown]
# Of 49 *seen* categories, 37 have labelled images to train on, 16 of each; 12 are for validation: they choose the
# rates. The 15 *unseen* categories are queries and database. No category is in two of these parts: the split is
# **class-disjoint**. Other views of the query's own object count neither for nor against a method, so that nobody is
# paid for finding the object itself.


# %%
def camera(images, kind="thermal", seed=SEED):
    """Close-ups of the objects, by the thermal camera or in colour: an ImageCollection with the same table."""
    random = np.random.default_rng(seed)
    close = datasets.close_ups(images, 64)
    if kind == "colour":
        return close
    taken = [thermal(image, close.mask(row), random) for row, image in enumerate(close)]
    return ImageCollection.from_arrays(taken, ids=list(images.ids), table=images.table)


world = datasets.load_tabletop()
seen, unseen = world[world.column("seen_category")], world[~world.column("seen_category")]
drawn = np.random.RandomState(SEED).permutation(np.unique(seen.labels))
validation_classes, train_classes = drawn[:12], drawn[12:]
to_learn = seen[np.isin(seen.labels, train_classes) & seen.column("seen_instance")]  # four of the six objects of each

# %%


def some_of_each(seed):
    """Rows of `to_learn`: 16 of each class, drawn anew by each seed."""
    draw = np.random.RandomState(seed).permutation(len(to_learn))
    return np.sort(draw[pd.Series(to_learn.labels[draw]).groupby(to_learn.labels[draw]).cumcount() < 16])


labelled = {seed: camera(to_learn[some_of_each(seed)], seed=100 + seed) for seed in range(SEED, SEED + 3)}
validation = camera(seen[np.isin(seen.labels, validation_classes)][::3], seed=SEED)
tested = [unseen.split()[0], unseen.split()[1][::2]]  # half of the database, to save time
queries, database = (camera(part, seed=SEED) for part in tested)
truth = queries.relevance(queries, database, by="label", junk="instance")
print({name: len(part) for name, part in [("labelled", labelled[SEED]), ("validation", validation), ("queries", queries)]})

# %%
coloured = [camera(part, "colour") for part in tested]  # the same close-ups, by an ordinary camera
sample = np.unique(queries.labels, return_index=True)[1][:10]  # a query of each of ten categories
pairs = [*coloured[0][sample], *queries[sample]]
sheet = ImageCollection.from_arrays(pairs, labels=[*queries.labels[sample]] * 2)
plots.show(plots.contact_sheet(sheet, n=20, columns=10), dpi=64)

# %% tags=["claim"]
parts = [set(labelled[SEED].labels), set(validation.labels), set(queries.labels)]
assert sum(map(len, parts)) == len(set.union(*parts)) == 64 and set(database.labels) == parts[2]

# %% [markdown]
# Before: the network that ships with the kit knows photographs, and nothing of thermal cameras. After: all of its
# weights were trained for one epoch, 18 steps, on the labelled images. Watch it learn; the score is mAP among the
# validation classes.

# %%
STEPS = 18
base = encoders.Deep(BACKBONE, size=64)


def tune(mode, rate, seed=SEED, images=None, start=None, progress=False):
    """Fine-tune for `STEPS` steps of 32 images: (encoder, history); the start comes back if it did better on validation."""
    rates = rate if mode == "head" else {"backbone": rate, "classifier": 1e-2}
    settings = {"unfreeze": 0.5, "random_state": seed, "steps": STEPS, "progress": progress, "epochs": 1000}
    start, images = start or base, labelled[seed] if images is None else images
    return learning.fine_tune(start, images, mode=mode, validation=validation, learning_rate=rates, **settings)


tuned, history = tune("full", 3e-4, progress=True)

# %%
ranked = {
    name: Retriever(encoder, progress=False).fit(database).search(queries, k=None)
    for name, encoder in [("before", base), ("after", tuned)]
}
precision = {name: evaluate(r, truth, metrics=["map"], n_bootstrap=0).per_query["map"] for name, r in ranked.items()}
shown = (precision["after"] - precision["before"]).idxmax()  # the query that gains most; the losers come below
plots.show(plots.ranked_list(ranked["before"], database, queries=queries, relevance=truth, rows=[shown], k=8), dpi=64)

# %%
plots.show(plots.ranked_list(ranked["after"], database, queries=queries, relevance=truth, rows=[shown], k=8), dpi=64)

# %% [markdown]
# ## Background
#
# Let the encoder have weights $\theta$ that learn: it maps an image $I$ to an embedding $\phi_\theta(I) \in
# \mathbb{R}^{d}$. To adapt it to $C$ classes, a linear classifier $W \in \mathbb{R}^{C \times d}$, $b \in
# \mathbb{R}^{C}$ is put on top, and both are trained so that the right class becomes likely:
#
# $$L = -\log \frac{e^{z_y}}{\sum_c e^{z_c}}, \qquad z = W \phi_\theta(I) + b$$
#
# with $y$ the label of $I$. Afterwards $W$ and $b$ are thrown away: we wanted the embedding. Four ways to do it, by what
# learns:
#
# | way | what learns | what it costs |
# |---|---|---|
# | **frozen** | nothing | nothing |
# | **head** | a linear map of the embeddings | seconds; each image is encoded once |
# | **last** | the last blocks | the forward pass of all, the backward pass of some |
# | **full** | all weights $\theta$, at a small rate | the whole of training |
#
# Lower layers see edges and textures, which most domains share; upper ones see what the old classes needed (Yosinski
# et al. 2014, *NeurIPS*, [arXiv:1411.1792](https://arxiv.org/abs/1411.1792)). Hence small rates for the network and a
# large one for the classifier, which starts from nothing (Howard and Ruder 2018, *ACL*,
# [arXiv:1801.06146](https://arxiv.org/abs/1801.06146)).
#
# ### What is forgotten
#
# Nothing in $L$ asks the network to keep what it knew. **Catastrophic forgetting** is old (see Kirkpatrick et al.
# 2017, *PNAS*, [arXiv:1612.00796](https://arxiv.org/abs/1612.00796), who hold on to weights that mattered). Two cheap
# remedies: **replay** mixes images of the old domain into the training; and **WiSE-FT** (Wortsman et al. 2022,
# *CVPR*, [arXiv:2109.01903](https://arxiv.org/abs/2109.01903)) goes back a part of the way. With the weights
# $\theta_0$ before and $\theta_1$ after,
#
# $$\theta = (1 - \alpha)\, \theta_0 + \alpha\, \theta_1, \qquad 0 \le \alpha \le 1$$
#
# This is no average of two networks' answers, but one network, as quick as before. It works because fine-tuning begins at
# $\theta_0$: the two networks lie close to each other, with no hill of the loss between them (Neyshabur, Sedghi and Zhang
# 2020, *NeurIPS*, [arXiv:2008.11687](https://arxiv.org/abs/2008.11687)).

# %% [markdown]
# ## Build it
#
# ### The loop
#
# Forward, loss, backward, step: that is all of it. What the package adds is a schedule of the rate, validation,
# checkpoints and the picture above.


# %%
def train_by_hand(network, batches, rate, epochs):
    """Train a network {backbone, classifier} in place, all weights."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    network.train()
    for number in range(epochs):
        for images, targets in batches.epoch(number):  # (n, 3, h, w) float32 and (n,) int64
            features = network["backbone"](images).mean(dim=(2, 3))  # (n, d, h', w') -> (n, d)
            loss = F.cross_entropy(network["classifier"](features), targets)
            optimiser.zero_grad()
            loss.backward()  # the gradient of every weight
            optimiser.step()
    return network.eval()


# %%
few = learning.ImageBatches(labelled[SEED][::5], preprocessing=base.preprocessing, batch_size=32, random_state=SEED)
classifier = torch.nn.Linear(base.n_dims, len(few.classes))
start = torch.nn.ModuleDict({"backbone": encoders.Deep(BACKBONE, size=64, device="cpu").network, "classifier": classifier})
by_hand, by_package = copy.deepcopy(start), copy.deepcopy(start)


def class_loss(network, batch):
    """The same loss, as `learning.train` asks for it."""
    images, targets = batch
    return F.cross_entropy(network["classifier"](network["backbone"](images).mean(dim=(2, 3))), targets)


# %%
train_by_hand(by_hand, few, rate=1e-4, epochs=2)
plain = {"schedule": "constant", "weight_decay": 0.01, "device": "cpu", "progress": False}
learning.train(by_package, few, class_loss, epochs=2, learning_rate=1e-4, **plain)


def farthest(one, other):
    """Largest difference of a weight between two networks."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.float() - b.float()).abs().max()) for a, b in pairs)


print(f"moved by {farthest(by_hand, start):.1e} at most; by hand and package differ by {farthest(by_hand, by_package):.1e}")

# %% tags=["claim"]
assert farthest(by_hand, by_package) < 1e-5
assert farthest(by_hand, start) > 1e-4  # it did learn

# %% [markdown]
# ### The way back
#
# And interpolation is one line for each array of weights.


# %%
def between(before, after, alpha):
    """Weights (1 - alpha) before + alpha after, of two dicts of arrays with the same names and shapes."""
    return {name: (1 - alpha) * before[name] + alpha * after[name] for name in before}


weights = [{name: value.cpu().numpy() for name, value in e.network.state_dict().items()} for e in (base, tuned)]
third = between(*weights, 0.3)
packaged = learning.interpolate(base, tuned, 0.3).state_

# %% tags=["claim"]
assert third.keys() == packaged.keys()
assert all(np.allclose(third[name], packaged[name], atol=1e-6) for name in third if third[name].dtype.kind == "f")

# %% [markdown]
# ## Measure it
#
# ### The same effort for each
#
# A rate that suits one way ruins another, so a comparison at one rate compares rates. Each way gets three rates and
# the same number of steps; the validation classes decide. Of rates that come within 0.01 of the best, which is less than runs differ by, the smallest is taken: what moves less has
# less to forget.

# %%
RATES = {"head": (1e-3, 3e-3, 1e-2), "last": (3e-4, 1e-3, 3e-3), "full": (1e-4, 3e-4, 6e-4)}
runs = {("full", 3e-4, SEED): (tuned, history)}
wanted = [(mode, rate, SEED) for mode, rates in RATES.items() for rate in rates]
for key in tqdm(wanted, desc="rates", unit="run"):
    if key not in runs:
        runs[key] = tune(*key)
scores = {key: runs[key][1].best_score for key in wanted}
top = {mode: max(scores[mode, rate, SEED] for rate in rates) for mode, rates in RATES.items()}
best = {m: min(r for r in rates if scores[m, r, SEED] > top[m] - 0.01) for m, rates in RATES.items()}
tried = {mode: {f"rate {n}": scores[mode, rate, SEED] for n, rate in enumerate(rates, 1)} for mode, rates in RATES.items()}
print(f"frozen: {history.table['score'].iloc[0]:.3f}; rates tried: {RATES}; chosen: {best}")
pd.DataFrame(tried).T.round(3).rename_axis("validation mAP")

# %%
COLOUR_OF = dict(zip(["head", "last", "full", "full, fast", "replay", "other camera", "scratch"], plots.style.COLOURS, strict=True))
COLOUR_OF["frozen"] = plots.style.GREY  # one colour for each way, in all figures
fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for place, (mode, rates) in enumerate(RATES.items()):
    values = [scores[mode, rate, SEED] for rate in rates]
    ax.semilogx(rates, values, ["-o", "--s", "-.^"][place], color=COLOUR_OF[mode], label=mode)
    ax.plot(best[mode], scores[mode, best[mode], SEED], "o", ms=14, mfc="none", mec=COLOUR_OF[mode])
ax.axhline(history.table["score"].iloc[0], ls=":", color=COLOUR_OF["frozen"], label="frozen")
ax.set(xlabel="rate (ringed: the chosen one)", ylabel="validation mAP", ylim=(0, 1))
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Validation mAP against the rate: the whole network is highest, all lie above the frozen one."))

# %% tags=["claim"]
assert top["full"] > max(top["last"], top["head"]) + 0.05

# %% [markdown]
# ### Three seeds, two domains
#
# One run is an anecdote. Two more seeds draw other labelled images and other batches; the rates stay. The whole
# network is trained at twice its highest rate, too, to see what that gains and costs ("full, fast"). The *source* domain
# is photographs: views of pieces of ten photographs, as in [notebook 02](02_local_features.ipynb), encoded at the
# full size that the network was made for. Five more photographs are kept aside, for replay and for choosing.

# %%
views = datasets.load_photo_views("hard", n_objects=24, n_views=4, n_distractors=20, random_state=SEED)
views = ImageCollection.from_arrays(list(views), ids=list(views.ids), table=views.table)  # rendered once
photographs = views.column("source")
aside = np.random.RandomState(SEED).permutation(np.unique(photographs))[:5]
asked, stored = views[~np.isin(photographs, aside)].split()
photo_truth, pieces = asked.relevance(asked, stored), asked.column("instance")
kept = views[np.isin(photographs, aside) & ~pd.isna(views.column("instance"))]
print(len(asked), "queries and", len(stored), "database images from ten photographs,", len(kept), "kept aside")


# %%
def in_full(encoder):
    """The same weights for photographs of the size that the backbone was made for."""
    if hasattr(encoder, "steps"):  # a head: the encoder, then a projection
        return make_pipeline(clone(encoder[0]).set_params(size=None), encoder[-1])
    return clone(encoder).set_params(size=None)


def rank(encoder, those, these):
    """Ranking of all of `these` for each of `those`."""
    return Retriever(encoder, progress=False).fit(these).search(those, k=None)


def rank_all(encoder):
    """Rankings in the target domain and in the source domain."""
    return {"thermal": rank(encoder, queries, database), "photographs": rank(in_full(encoder), asked, stored)}


# %% [markdown]
# Two further runs tell what the gain is made of. **Scratch** is the same network with random weights, trained
# like the others. **Other camera** trains on the very same labelled views in *colour*, with as
# many steps: if that helps as much, then categories were learned and not the domain.

# %%
methods = {}
for seed in tqdm(labelled, desc="seeds", unit="seed"):
    for mode, rate in best.items():
        if (mode, rate, seed) not in runs:
            runs[mode, rate, seed] = tune(mode, rate, seed)
        methods[mode, seed] = runs[mode, rate, seed][0]

# %%
for seed in tqdm(labelled, desc="seeds", unit="seed"):
    methods["full, fast", seed] = tune("full", 2 * max(RATES["full"]), seed)[0]
in_colour = camera(to_learn[some_of_each(SEED)], "colour")
methods["other camera", SEED] = tune("full", best["full"], images=in_colour)[0]
random_start = encoders.Deep(BACKBONE, weights=None, size=64, random_state=SEED)
methods["scratch", SEED] = tune("full", best["full"], start=random_start)[0]

# %% [markdown]
# And **replay**: the photographs kept aside join the training, each piece a class of its own. The number of steps is
# the same, so that the target gets fewer of them.


# %%
def joined(seed):
    """The labelled thermal images, and the pieces of photographs kept aside: one collection."""
    labels = [*labelled[seed].labels, *kept.column("instance")]
    small = [base.preprocessing.resized(image) for image in kept]
    return type(kept).from_arrays([*labelled[seed], *small], labels=labels)


for seed in tqdm(labelled, desc="replay", unit="seed"):
    methods["replay", seed] = tune("full", best["full"], seed, images=joined(seed))[0]

# %%
rankings = {key: rank_all(encoder) for key, encoder in methods.items()}
frozen = rank_all(base)

# %%
truths = {"thermal": truth, "photographs": photo_truth}
flat = {("frozen", SEED): frozen} | rankings
rows = [
    (method, seed, domain, evaluate(ranking, truths[domain], metrics=["map"], n_bootstrap=0)["map"])
    for (method, seed), found in flat.items()
    for domain, ranking in found.items()
]
results = pd.DataFrame(rows, columns=["method", "seed", "domain", "mAP"])
hog = evaluate(rank(encoders.HOG(), queries, database), truth, metrics=["map"], n_bootstrap=0)["map"]
print(f"HOG, no network at all: {hog:.3f} on thermal")
table = results.groupby(["method", "domain"], sort=False)["mAP"].agg(["mean", "min", "max"])
points = results.pivot_table(index=["method", "seed"], columns="domain", values="mAP")
table.unstack()[[(part, domain) for domain in truths for part in ("mean", "min", "max")]].round(3)


# %% [markdown]
# And the same test views in colour, which nobody but "other camera" was trained on:

# %%
colour_truth = coloured[0].relevance(*coloured, by="label", junk="instance")
for name in ("frozen", "full", "other camera"):
    found = rank(methods.get((name, SEED), base), *coloured)
    score = evaluate(found, colour_truth, metrics=["map"], n_bootstrap=0)["map"]
    print(f"{name}: {score:.3f} on views in colour, {points.loc[(name, SEED), 'thermal']:.3f} on thermal images")

# %% [markdown]
# And the intervals of the differences, on the same queries. They draw what was sampled: the classes of the thermal images,
# since the question is what holds for new classes, and the pieces of the photographs.


# %%
def gain(method, seed, domain="thermal", over=None):
    """Paired difference of mAP to the frozen network (or another method): low, middle, high."""
    both = {"this": rankings[method, seed][domain], "that": (over or frozen)[domain]}
    groups = pieces if domain == "photographs" else queries.labels
    row = compare(both, truths[domain], groups=groups, n_draws=2000, random_state=SEED).pairs.iloc[0]
    return tuple(np.sort((1 if row["a"] == "this" else -1) * row[["low", "difference", "high"]].to_numpy(float)))


gains = {(domain, *key): gain(*key, domain) for domain in ("thermal", "photographs") for key in rankings}
shown_gains = pd.DataFrame(gains, index=["low", "difference", "high"]).T.round(3)
shown_gains.rename_axis(["difference to frozen", "method", "seed"])

# %% tags=["claim"]
means = points.groupby("method").mean()
for seed in labelled:
    assert gains["thermal", "full", seed][0] > 0.05  # the whole network learns the new domain,
    assert min(gains["thermal", m, seed][0] for m in ("head", "last")) > 0  # and its parts learn some of it
assert means.loc["full", "thermal"] > max(1.5 * means.loc["frozen", "thermal"], hog + 0.05)
assert gains["thermal", "scratch", SEED][2] < 0  # so few labels and steps are not enough without a start,
assert means.loc["full", "thermal"] > means.loc["other camera", "thermal"] + 0.04  # nor do other cameras' images do as much
assert means.loc["full, fast", "photographs"] < means.loc["full", "photographs"] - 0.02  # and a high rate forgets

# %%
lost = means["photographs"] - means.loc["frozen", "photographs"]
won = means["thermal"] - means.loc["frozen", "thermal"]
sure = [gains["photographs", "full", seed][2] < 0 for seed in labelled]
Markdown(
    f"Colour views of the same objects bring {won['other camera'] / won['full']:.0%} of what thermal ones bring: the network "
    "learns to tell such objects apart in either, and the rest of the gain is the camera. "
    f"Of the photographs the whole network loses {lost['full']:+.3f} mAP on the average of three runs (in {sum(sure)} of "
    f"{len(sure)} the interval leaves out zero), at the high rate {lost['full, fast']:+.3f}. At the chosen rate that is little: the training is "
    f"short. The head loses {lost['head']:+.3f}, but only if its projection is put on photographs, too: the network "
    "under it has not changed. Real photographs and longer training lose more, as the satellite images below will show."
)

# %%
fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
marks = dict(zip(results["method"].unique(), "os^vDX*P", strict=True))
for method, mark in marks.items():
    part = points.loc[method]
    ax.scatter(part["photographs"], part["thermal"], marker=mark, s=60, color=COLOUR_OF[method], ec="black", lw=0.5, label=method)
ax.set(xlabel="source: mAP on photographs", ylabel="target: mAP on thermal images")
ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Target against source mAP: the whole network is highest; replay and low rates lose less."))

# %% [markdown]
# ### Part of the way back
#
# The same plane, with the path from $\theta_0$ to $\theta_1$. Were gain and loss in step, it would be a straight line.
# It bends outwards: half of the way back keeps most of the gain, and the source is about as good as before.

# %%
ALPHAS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
path = {}
for seed in tqdm(labelled, desc="seeds", unit="seed"):
    after = methods["full", seed]
    for alpha in ALPHAS[1:-1]:
        rankings[f"alpha {alpha:g}", seed] = rank_all(learning.interpolate(base, after, float(alpha)))
    ends = {0.0: frozen, 1.0: rankings["full", seed]}
    for alpha in ALPHAS:
        found = ends.get(alpha) or rankings[f"alpha {alpha:g}", seed]
        path[seed, alpha] = {d: evaluate(found[d], truths[d], metrics=["map"], n_bootstrap=0)["map"] for d in truths}
wise = pd.DataFrame(path).T.rename_axis(["seed", "alpha"])
wise.groupby("alpha").mean().round(3)

# %% tags=["gallery"]
fig, ax = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
for place, seed in enumerate(labelled):
    ax.plot(wise.loc[seed, "photographs"], wise.loc[seed, "thermal"], "-o", ms=3, color="0.7", label=None if place else "each seed")
mean = wise.groupby("alpha").mean()
ax.plot(mean["photographs"], mean["thermal"], "-D", color=COLOUR_OF["full"], label="mean")
ax.plot(mean["photographs"].iloc[[0, -1]], mean["thermal"].iloc[[0, -1]], ":", color="black", label="straight")
for alpha, row in mean.iterrows():
    ax.annotate(f"α = {alpha:g}", (row["photographs"], row["thermal"]), xytext=(6, 6), textcoords="offset points")
place = points.loc["replay"].mean()
style = {"color": COLOUR_OF["replay"], "mec": "black", "ls": "", "label": "replay"}
ax.plot(place["photographs"], place["thermal"], "P", ms=9, **style)
ax.set(xlabel="source: mAP on photographs", ylabel="target: mAP on thermal images", title="Half of the way back keeps most of what was learned")
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Target against source mAP along alpha: the path bends outwards, above the straight line."))

# %% tags=["claim"]
gained = (mean["thermal"] - mean.loc[0, "thermal"]) / (mean.loc[1, "thermal"] - mean.loc[0, "thermal"])
assert gained.loc[0.5] > 0.65
assert mean.loc[0.5, "photographs"] > mean.loc[1, "photographs"]
assert mean.loc[0.5, "photographs"] > mean.loc[0, "photographs"] - 0.04

# %% [markdown]
# ### A real narrow domain: satellite photographs
#
# RSSCN7 (Zou et al. 2015, *IEEE GRSL*, [doi:10.1109/LGRS.2015.2475299](https://doi.org/10.1109/LGRS.2015.2475299)):
# aerial photographs of 7 classes, 60 of each here ([notebook 05](05_transfer_learning.ipynb) calls them *satellite*).
# The network learns from four classes; the images of the other three are queries and one another's database. There
# are three such splits. The images may not be passed on, so what the kit ships is the average precision of every
# query, made by `tools/fine_tune_real.py`: three rates for each method, 60 steps, the source domain measured too.
# With four classes to learn from there is none to spare for validation, so the rates were chosen on *other images of
# the same four*.

# %%
if PROFILE == "full" and os.environ.get("CBIRKIT_REALDATA"):
    real = runpy.run_path("../tools/fine_tune_real.py")["measure"](os.environ["CBIRKIT_REALDATA"], backbone=BACKBONE)
else:
    real = pd.read_csv(datasets.shipped_file("fine_tune_real.csv"))
ways = ["frozen", "head", "last", "full", "full, alpha 0.5"]
real.groupby(["domain", "split"], sort=False)[ways].mean().T.round(3).rename_axis(["domain, split"])


# %%
def paired_interval(rows, way, n_draws=2000):
    """Mean difference to the frozen network with its 95 % interval: low, middle, high."""
    of_class = rows["query"].str.rsplit(" ", n=1).str[0] + rows["split"].astype(str)  # "Grass 12", split 1
    of_piece = rows["query"].str.rsplit("/", n=1).str[0]
    units = of_class if rows["domain"].iloc[0] == "satellite" else of_piece  # what was sampled
    differences = (rows[way] - rows["frozen"]).groupby(units).mean().to_numpy()
    drawn = np.random.RandomState(SEED).randint(len(differences), size=(n_draws, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return low, differences.mean(), high


parts = dict(list(real.groupby("domain", sort=False)))
real_gains = {(domain, way): paired_interval(part, way) for domain, part in parts.items() for way in ways[1:]}
pd.DataFrame(real_gains, index=["low", "difference", "high"]).T.round(3).rename_axis(["domain", "way"])

# %% [markdown]
# All three splits together: the intervals draw classes (nine, three in each split) and pieces of photographs.

# %% tags=["record"]
half_back = "full, alpha 0.5"
assert real_gains["photographs", "full"][2] < -0.02  # it forgets,
assert real_gains["photographs", half_back][1] > 0.6 * real_gains["photographs", "full"][1]  # half the way back less

# %%
told = []
for way in ways[1:]:
    low, middle, high = real_gains["satellite", way]
    told.append(f"{way} {middle:+.3f} ({low:+.3f} to {high:+.3f})")
Markdown(f"New satellite classes, in our longer run: {'; '.join(told)}.")

# %% [markdown]
# On new satellite classes nothing is gained that these nine classes confirm. Why here and not on the thermal camera?
# Three reasons are likely. The frozen network was good to begin with; four classes say little about what tells a fifth
# apart, so the network learns what these four differ in, and drops the rest; and validation on the same four classes
# recommends the largest rate. That photographs are forgotten is sure.

# %% [markdown]
# ### Where it fails
#
# The thermal queries that lose most by fine-tuning, before and after:

# %%
change = (precision["after"] - precision["before"]).sort_values(kind="stable")
losers = [*change.index[:2]]
print(f"{(change < 0).mean():.1%} of the queries lose; the worst: {change.iloc[0]:+.3f}, {change.iloc[1]:+.3f}")
plots.show(plots.ranked_list(ranked["before"], database, queries=queries, relevance=truth, rows=losers, k=7), dpi=64)

# %%
plots.show(plots.ranked_list(ranked["after"], database, queries=queries, relevance=truth, rows=losers, k=7), dpi=64)

# %% [markdown]
# And the photographs that lose most when the whole network learns at the rate that was chosen for it:

# %%
before, after = (
    evaluate(r["photographs"], photo_truth, metrics=["map"], n_bootstrap=0).per_query["map"]
    for r in (frozen, rankings["full", SEED])
)
fallen = (after - before).sort_values(kind="stable").index[:2]
tuned_photos = rankings["full", SEED]["photographs"]
plots.show(plots.ranked_list(frozen["photographs"], stored, queries=asked, relevance=photo_truth, rows=[*fallen], k=6), dpi=60)

# %%
plots.show(plots.ranked_list(tuned_photos, stored, queries=asked, relevance=photo_truth, rows=[*fallen], k=6), dpi=60)

# %% [markdown]
# ## Try it
#
# Choose a thermal query and compare the network before with the one after. Which objects are still taken for one another?
# Drop in a photograph of yours, turned grey: what does a network trained on heat make of it?

# %%
both = {
    "before": Retriever(base, progress=False).fit(database),
    "after": Retriever(tuned, progress=False).fit(database),
}
explorer = explore.QueryExplorer(both, queries=queries, query=shown, k=12, relevance=truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=60)

# %% [markdown]
# ## Exercise 1 ★ no class in two parts
#
# `labels` (n_images,) are class names and `order` (n_classes,) is all of them once, as they were drawn. Return for every
# image "train" if its class is among the first `n_train` of `order`, "validation" for the next `n_validation`, else
# "test".
#
# <details><summary>Hint 1: the idea</summary>
#
# Split the classes, then look up each image's. Whoever splits the images tests on classes that were trained on.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `order[n_train : n_train + n_validation]`, `np.isin(labels, …)` and `np.where(…, "train", …)`.
#
# </details>


# %% tags=["exercise"]
def class_split(labels, order, n_train, n_validation):
    """Part of each image: labels (n_images,), order (n_classes,), two numbers of classes -> (n_images,) of str."""
    raise NotImplementedError


checks.check_class_split(class_split)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_class_split(labels, order, n_train, n_validation):
    trained, chosen_on = order[:n_train], order[n_train : n_train + n_validation]
    return np.where(np.isin(labels, trained), "train", np.where(np.isin(labels, chosen_on), "validation", "test"))


checks.check_class_split(solution_class_split)

# %% [markdown]
# A right answer splits by class. What a split by images would have made us believe: the network "full, fast" on *new images
# of the objects it was trained on*.

# %%
others = to_learn[np.setdiff1d(np.arange(len(to_learn)), some_of_each(SEED))]  # images that nobody trained on
others = others[np.isin(others.labels, train_classes[:15])]  # of as many classes as in the test
again = [camera(part, seed=SEED) for part in others.split()]
seen_truth = again[0].relevance(*again, by="label", junk="instance")
flattered = {}
for name, encoder in [("frozen", base), ("fine-tuned", methods["full, fast", SEED])]:
    found = rank(encoder, *again)
    flattered[name] = evaluate(found, seen_truth, metrics=["map"], n_bootstrap=0)["map"]
fair = {"frozen": points.loc[("frozen", SEED), "thermal"], "fine-tuned": points.loc[("full, fast", SEED), "thermal"]}
pd.DataFrame({"classes trained on": flattered, "new classes": fair}).T.round(3).rename_axis("mAP")

# %% tags=["claim"]
assert flattered["fine-tuned"] - flattered["frozen"] > fair["fine-tuned"] - fair["frozen"] + 0.02

# %% [markdown]
# ## Exercise 2 ★★ freeze all but the last blocks
#
# A network's weights have names: "stem.conv.weight", "blocks.11.narrow.bias", "last.0.weight". Say which learn if
# all is frozen but the `n_blocks` blocks with the highest numbers, and what begins with "last.".
#
# <details><summary>Hint 1: the idea</summary>
#
# Find the number of each block, as a whole number: as text, "9" comes after "11". The highest plus one is how many
# there are.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `name.split(".")` gives ["blocks", "11", "narrow", "bias"]; `int(…)` of the second.
#
# </details>


# %% tags=["exercise"]
def which_learn(names, n_blocks):
    """Which parameters learn: names, a list of str, and a number of blocks -> (n_names,) of bool."""
    raise NotImplementedError


checks.check_which_learn(which_learn)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_which_learn(names, n_blocks):
    numbers = np.array([int(name.split(".")[1]) if name.startswith("blocks.") else -1 for name in names])
    in_last_blocks = (numbers >= 0) & (numbers >= numbers.max() + 1 - n_blocks)
    return in_last_blocks | np.array([name.startswith("last.") for name in names])


checks.check_which_learn(solution_which_learn)

# %% [markdown]
# A right answer freezes what should not move. How far did each layer move? Of the networks trained above, the
# distance between the weights before and after, as a share of their length:

# %%
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
began = {name: value.cpu().numpy() for name, value in base.network.state_dict().items() if value.dim() > 1}
for place, method in enumerate(["last", "full, fast", "full"]):
    ended = methods[method, SEED].state_
    shares = [np.linalg.norm(ended[name] - value) / np.linalg.norm(value) for name, value in began.items()]
    ax.plot(shares, ["--", "-.", "-"][place], color=COLOUR_OF[method], label=method)
ax.set(xlabel="layer, from the pixels to the embedding", ylabel="share moved")
ax.legend(frameon=False)
plots.show(plots.describe(ax, "How far each layer moved: with the first frozen, zero; with a higher rate, farther."))

# %% [markdown]
# ## Exercise 3 ★★ choose alpha where it may be chosen
#
# On validation data, `target` and `source` (n,) are the scores of the networks at `alphas` (n,), among which is 0. Return
# the alpha with the highest target score among those that lose at most `most` of the source score at alpha = 0; of
# equal ones the smallest.
#
# <details><summary>Hint 1: the idea</summary>
#
# First find which alphas are allowed, then which of these is best. Do not count on an order of the alphas.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `source[alphas == 0][0]` is the score before; `target[allowed].max()` the best score; then `.min()` over the alphas that
# are allowed and reach it.
#
# </details>


# %% tags=["exercise"]
def choose_alpha(alphas, target, source, most):
    """The best alpha that loses at most `most` at the source: three arrays (n,) and a number -> float."""
    raise NotImplementedError


checks.check_choose_alpha(choose_alpha)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_choose_alpha(alphas, target, source, most):
    allowed = source[alphas == 0][0] - source <= most
    return float(alphas[allowed & (target == target[allowed].max())].min())


checks.check_choose_alpha(solution_choose_alpha)

# %% [markdown]
# A right answer gives this picture. The target is validated on the 12 thermal classes, the source on the photographs kept
# aside: neither has a query or a database image of the test. The network is "full, fast", which
# forgets more than the one chosen above.

# %%
forgetful = methods["full, fast", SEED]
steps_back = [learning.interpolate(base, forgetful, float(alpha)) for alpha in ALPHAS]
on_target = np.array([learning.retrieval_score(e.transform(validation), validation.labels) for e in steps_back])
on_source = np.array([learning.retrieval_score(in_full(e).transform(kept), kept.column("instance")) for e in steps_back])
MOST = 0.02
may = on_source >= on_source[0] - MOST
chosen_alpha = ALPHAS[np.where(may, on_target, -1).argmax()]
print(f"without the limit: α = {ALPHAS[on_target.argmax()]:g}; with it: α = {chosen_alpha:g}")

# %%
on_test = [evaluate(rank(in_full(e), asked, stored), photo_truth, metrics=["map"], n_bootstrap=0)["map"] for e in steps_back]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(ALPHAS, on_target, "-o", color=plots.style.BLUE, label="target (validation)")
ax.plot(ALPHAS, on_source, "--s", color=plots.style.VERMILLION, label="source (validation)")
ax.plot(ALPHAS, on_test, ":^", color=plots.style.GREY, label="source (test)")
ax.axhline(on_source[0] - MOST, color="black", lw=1, label=f"source may lose {MOST}")
ax.set(xlabel="α", ylabel="mAP", xticks=ALPHAS)
ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "mAP of target and source against alpha, with the least that the source must keep."))

# %% [markdown]
# Compare the two curves of the source. On the five photographs set aside the score rises at first, and the limit rules
# out only the last network; on the ten photographs of the test the same networks lose from the start. A limit protects
# only as far as its validation images stand for what must be kept: use more of them, from more photographs, or choose a
# smaller α than it allows. To see a limit that bites earlier, call your function with the grey curve as `source`.

# %% [markdown]
# ## What we learned
#
# - Fine-tuning pays where the domain is far from what the network knows and labels exist: on the thermal camera the
#   mAP of categories that nobody trained on rises by half and more, past HOG, which the frozen network loses to. On the
#   satellite photographs, with four classes to learn from and a network that was good already, no way of training
#   gained on new classes, and all but the last blocks alone seem to lose.
# - How much of the network should learn? On the thermal camera the more, the better, as long as each way has its own
#   rate. The head costs seconds and leaves the network as it is: whoever takes its projection off has what there was
#   before.
# - Validation on the target does not show what is forgotten. Measure the source, or nobody will.
# - Interpolating weights, replay and a small rate each buy back a part of it. Interpolation (WiSE-FT) also works on a
#   network that somebody else has fine-tuned, and needs no further training.
# - New classes are the test. On the objects it was trained on, a network seems to gain more. Here it learned to name
#   classes; [notebook 07](07_metric_learning.ipynb) trains on the distances themselves.
#
# ### Check yourself
#
# <details><summary>1. Why are the rates of the classifier and of the network different?</summary>
#
# The classifier starts from nothing and is thrown away. The network holds what we want to keep; large steps destroy
# it before the classifier's gradient means anything.
#
# </details>
# <details><summary>2. Validation mAP prefers one rate to another by a hundredth. Take it?</summary>
#
# Not without looking at what it costs elsewhere, and not on one seed: the difference is within what other images
# would have given. Of two rates that tie, the smaller one forgets less.
#
# </details>
# <details><summary>3. You fine-tuned the network. Which stored embeddings may you keep?</summary>
#
# None: before and after are two spaces, and distances between them mean nothing. A head on a frozen network only
# multiplies the old vectors by a matrix.
#
# </details>
# <details><summary>4. Interpolating a trained network with one trained from scratch gives nonsense. Why?</summary>
#
# Their weights have nothing to do with each other: channel 7 of one is not channel 7 of the other. WiSE-FT needs two
# networks of which one was fine-tuned from the other.
#
# </details>
#
# ### What breaks at a million images

# %%
new_rate = 1e6 / 400 / 60
Markdown(
    f"A fine-tuned network makes every stored embedding worthless: a million images have to be encoded again, "
    f"{new_rate:.0f} minutes of one core at 400 images a second, and the index built anew, while the old one still "
    "answers. A head avoids this: its matrix is applied to what is stored "
    f"({base.n_dims} x {base.n_dims} numbers, one product). With a million images the "
    f"{len(labelled[SEED])} labels are a drop: near-duplicates between training and database go unnoticed "
    "(`evaluation.check_leaks`), and every domain that the collection also holds must be measured, not one."
)

# %% [markdown]
# ### Further reading
#
# - Wortsman et al. (2022), *Robust fine-tuning of zero-shot models*, CVPR,
#   [arXiv:2109.01903](https://arxiv.org/abs/2109.01903). WiSE-FT: the curve that bends outwards, on many data sets.
# - Kumar, Raghunathan, Jones, Ma and Liang (2022), *Fine-tuning can distort pretrained features and underperform
#   out-of-distribution*, ICLR, [arXiv:2202.10054](https://arxiv.org/abs/2202.10054). Why a classifier that starts from
#   nothing pulls the features about, and why to train it first.
# - Howard and Ruder (2018), *Universal language model fine-tuning for text classification*, ACL,
#   [arXiv:1801.06146](https://arxiv.org/abs/1801.06146). Rates that differ by layer, and layers let go one after
#   another; about text, and true of images.
# - Kirkpatrick et al. (2017), *Overcoming catastrophic forgetting in neural networks*, PNAS,
#   [arXiv:1612.00796](https://arxiv.org/abs/1612.00796). Hold on to the weights that mattered; notebook 20, still to
#   come, goes on from there.
# - Yosinski, Clune, Bengio and Lipson (2014), *How transferable are features in deep neural networks?*, NeurIPS,
#   [arXiv:1411.1792](https://arxiv.org/abs/1411.1792). Which layers transfer, taken apart one by one.
#
# <!-- links:start -->
# Previous: [05_transfer_learning](05_transfer_learning.ipynb) · [course map](00_start_here.ipynb) · Next: [07_metric_learning](07_metric_learning.ipynb)
# <!-- links:end -->
