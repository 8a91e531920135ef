# %% [markdown]
# # 06 · Domain fine-tuning: train the network on your own domain?
#
# **Question.** A network that learned from photographs is weak on the pictures of your camera. Should you train it on them?
# How much of it, and what does it forget?
#
# **Time:** one minute to run, offline; 45 minutes to work through, 70 with (extra).
# **Before this:** notebooks [03](03_cnn_features.ipynb) and [05](05_transfer_learning.ipynb).
#
# <!-- links:start -->
# Previous: [05_transfer_learning](05_transfer_learning.ipynb) · [course map](00_start_here.ipynb) · Next: [07_metric_learning](07_metric_learning.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **split** data by class, so that you measure search for classes that nobody trained on;
# - **choose** a network between the old and the new one, under a limit on what may be forgotten (extra);
# - **fine-tune** a network, and **defend** it with intervals in the new domain and in the old one.

# %%
import copy

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from torch.nn import functional as F

from cbirkit import ImageCollection, Retriever, checks, datasets, encoders, explore, learning, plots
from cbirkit.evaluation import compare, evaluate
from cbirkit.evaluation.resample import bootstrap_means, interval

# %%
SEED = 0
torch.set_num_threads(1)
base = encoders.Deep("tiny", size=64, device="cpu")

# %% [markdown]
# ## The goal
#
# A thermal camera of 64 × 64 pixels: no colour, blurred outlines, hot spots that mean nothing. It is **simulated** on rendered
# objects: each is warm, and of the light only some is left. The network `tiny` learned from the photographs of ImageNet.


# %%
def thermal(image, mask, random):
    """What a thermal camera sees of (64, 64, 3) uint8, whose objects have the numbers 1, 2, … in the mask (64, 64)."""
    warmth = np.append(0, random.uniform(30, 140, 9))[mask]  # (64, 64)
    heat = 0.4 * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) + warmth
    for _ in range(random.integers(3)):  # hot spots
        distance = np.hypot(*(np.indices((64, 64)) - random.uniform(0, 64, (2, 1, 1))))
        heat += random.uniform(60, 140) * np.exp(-((distance / random.uniform(4, 11)) ** 2))
    heat = cv2.GaussianBlur(heat, None, 1.5) + random.normal(0, 4, (64, 64))
    return np.repeat(np.clip(heat, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


# %%
def camera(images, seed=SEED):
    """The objects as the thermal camera sees them: an ImageCollection with the same table."""
    random, close = np.random.default_rng(seed), datasets.close_ups(images, 64)
    taken = [thermal(image, close.mask(row), random) for row, image in enumerate(close)]
    return ImageCollection.from_arrays(taken, ids=list(images.ids), table=images.table)


# %% [markdown]
# Of 64 categories, the network learns from 37 (16 images of each); 12 are for **validation**, which makes all choices; 15
# are the **test**, queries and database. No category is in two parts: the split is **class-disjoint**. Other views of the
# query's own object are junk.

# %%
world = datasets.load_tabletop()
seen, unseen = world[world.column("seen_category")], world[~world.column("seen_category")]
drawn = np.random.RandomState(SEED).permutation(np.unique(seen.labels))
to_learn = seen[np.isin(seen.labels, drawn[12:]) & seen.column("seen_instance")]  # four of six objects of each
order = np.random.RandomState(SEED).permutation(len(to_learn))
place = pd.Series(to_learn.labels[order]).groupby(to_learn.labels[order]).cumcount()  # within the category
labelled = camera(to_learn[np.sort(order[place < 16])], seed=SEED + 100)
validation = camera(seen[np.isin(seen.labels, drawn[:12])][::3])
half = unseen.split()[0], unseen.split()[1][::2]  # every other image of the database, to save time
queries, database = camera(half[0]), camera(half[1])
truth = queries.relevance(queries, database, by="label", junk="instance")

# %%
sample = np.unique(queries.labels, return_index=True)[1][:8]  # a query of each of eight categories
pairs = [*datasets.close_ups(half[0], 64)[sample], *queries[sample]]
sheet = ImageCollection.from_arrays(pairs, labels=[*queries.labels[sample]] * 2)
plots.show(plots.contact_sheet(sheet, n=16, columns=8), dpi=90)

# %% tags=["claim"]
parts = [set(labelled.labels), set(validation.labels), set(queries.labels)]
assert sum(map(len, parts)) == len(set.union(*parts)) == 64 and set(database.labels) == parts[2]

# %% [markdown]
# **Predict.** Below, what learns is nothing, a layer on top, the late half of the weights, or all. (1) Which finds most thermal
# images of *new* categories? (2) Which is worst on photographs afterwards?
#
# ## Background
#
# Four separate networks, and which weights learn:

# %%
same, learns = ["early blocks:\nas in tiny", "late blocks:\nas in tiny"], ":\ntrained on\nthermal images"
ways = {"frozen: tiny itself, which learned from photographs": same}
ways["head: tiny is kept, a new layer on top learns"] = [*same, f"projection{learns}"]
ways["last: starts as tiny, its late half learns"] = [same[0], f"late blocks{learns}"]
ways["full: starts as tiny, all of it learns"] = [f"early blocks{learns}", f"late blocks{learns}"]
fig, axes = plt.subplots(4, 1, figsize=(8, 5.6), layout="constrained")
for ax, (way, parts) in zip(axes, ways.items(), strict=True):
    plots.pipeline([["image", *parts]], ["embedding\n(d,)"], ax=ax).set(xlim=(-0.55, 4.45))
    ax.set_title(way, loc="left", fontsize=11)
plots.show(plots.describe(fig, "Four separate networks: frozen, head, last, full; which parts of each learn, and from what."))

# %% [markdown]
# A network with weights $\theta$ maps an image $I$ to an embedding $\phi_\theta(I)$ of shape $(d,)$. To adapt it to $C$
# classes, put a linear classifier on top, $W$ of shape $(C, d)$ and $b$ of shape $(C,)$, and make the right class $y$ likely by
# **cross-entropy**:
#
# $$L = -\log \frac{e^{z_y}}{\sum_c e^{z_c}}, \qquad z = W \phi_\theta(I) + b$$
#
# Afterwards $W$ and $b$ are thrown away: you wanted the embedding. They are new and may have a large rate; the network needs a
# small one (Howard and Ruder 2018, *ACL*, [arXiv:1801.06146](https://arxiv.org/abs/1801.06146)). Nothing in $L$ asks the
# network to keep what it knew; losing it is called **catastrophic forgetting** (a remedy: Kirkpatrick et al. 2017, *PNAS*,
# [arXiv:1612.00796](https://arxiv.org/abs/1612.00796)).
#
# ## Build it: the training loop
#
# A **step** is one batch of 32 images, an **epoch** one pass over all.


# %%
def class_loss(network, batch):
    images, targets = batch  # (n, 3, h, w) float32 and (n,) int64
    features = network["backbone"](images).mean(dim=(2, 3))  # (n, d, h', w') -> (n, d)
    return F.cross_entropy(network["classifier"](features), targets)


# %%
def train_by_hand(network, batches, rate, epochs):
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    for number in range(epochs):
        for batch in batches.epoch(number):
            optimiser.zero_grad()
            class_loss(network, batch).backward()  # the gradient of every weight
            optimiser.step()


# %%
torch.manual_seed(SEED)
few = learning.ImageBatches(labelled[::8], preprocessing=base.preprocessing, batch_size=32, random_state=SEED)
parts = {"backbone": base.network.train(), "classifier": torch.nn.Linear(base.n_dims, len(few.classes))}
start = torch.nn.ModuleDict(parts)
by_hand, by_package = copy.deepcopy(start), copy.deepcopy(start)
train_by_hand(by_hand, few, rate=1e-4, epochs=2)
plain = {"schedule": "constant", "weight_decay": 0.01, "device": "cpu", "progress": False}
learning.train(by_package, few, class_loss, epochs=2, learning_rate=1e-4, **plain)


def farthest(one, other):
    """Largest difference of a weight between two networks."""
    return max(float((a - b).detach().abs().max()) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# %% tags=["claim"]
assert farthest(by_hand, by_package) < 1e-5 and farthest(by_hand, start) > 1e-4  # it did move

# %% [markdown]
# ## Measure it: what is learned, what is forgotten
#
# `fine_tune` adds to this loop a schedule of the rate, a classifier that starts at the means of the classes, and
# validation: after each epoch, the mAP of the 12 validation categories decides which weights to keep. A rate of 0.001
# is high, so that forgetting shows; two epochs are few:


# %%
def tune(rate):
    """All weights learn: the encoder, and how its training went."""
    how = {"steps": 36, "epochs": 99, "random_state": SEED, "progress": False}
    how["learning_rate"] = {"backbone": rate, "classifier": 1e-2}
    return learning.fine_tune(base, labelled, mode="full", validation=validation, **how)


tuned, history = tune(1e-3)
history

# %% [markdown]
# To see what is forgotten, you need queries from the old domain, the **source**: views of pieces of seven photographs
# ([notebook 02](02_local_features.ipynb)), at the network's own 160 pixels. Relevant are other views of the same piece. Three more
# photographs are kept for validation. Five of flat surfaces are left out: on them less is forgotten (extra).

# %%
every = datasets.load_photo_views("hard", n_objects=75, n_views=4, n_distractors=20, random_state=SEED)
flat = np.isin(every.column("source"), ["brick", "coins", "grass", "gravel", "text"])  # much the same everywhere
views = ImageCollection.from_arrays(list(every[~flat]), ids=list(every[~flat].ids), table=every[~flat].table)
source = views.column("source")
aside = np.isin(source, np.random.RandomState(SEED).permutation(np.unique(source))[:3])
kept = views[aside & ~pd.isna(views.column("instance"))]
pieces, album = views[~aside].split()
truths = {"thermal": truth, "photographs": pieces.relevance(pieces, album)}
groups = {"thermal": queries.labels, "photographs": pieces.column("source")}


# %%
def in_full(encoder):
    """The same weights, for images of 160 × 160 pixels."""
    return clone(encoder).set_params(size=None)


def search(encoder):
    """Rankings of the test in both domains."""
    found = {"thermal": Retriever(encoder, progress=False).fit(database).search(queries, k=None)}
    return found | {"photographs": Retriever(in_full(encoder), progress=False).fit(album).search(pieces, k=None)}


# %%
def gain(domain, one, other):
    """How far one result of `search` is ahead of another in mAP: low end of the interval, difference, high end."""
    both = {"one": one[domain], "other": other[domain]}
    row = compare(both, truths[domain], groups=groups[domain], n_draws=2000, random_state=SEED).pairs.iloc[0]
    return sorted((1 if row["a"] == "one" else -1) * row[["low", "difference", "high"]].astype(float))


# %%
found = {0: search(base), 1: search(tuned)}
rows = {domain: gain(domain, found[1], found[0]) for domain in truths}
pd.DataFrame(rows, index=["low", "after minus before", "high"]).T.round(3)

# %% tags=["claim"]
assert rows["thermal"][0] > 0.1 and rows["photographs"][1] < -0.02

# %% [markdown]
# The 95 % intervals draw whole categories, or whole photographs (only seven: they are wide). **New categories** gain much; the
# old domain loses. The query of median gain, before and after:

# %%
per_query = {a: evaluate(found[a]["thermal"], truth, groups=queries.labels).per_query["map"] for a in found}
change = (per_query[1] - per_query[0]).sort_values(kind="stable")
typical = change.index[len(change) // 2]
plots.show(plots.ranked_list(found[0]["thermal"], database, queries=queries, relevance=truth, rows=[typical], k=7), dpi=80)
plots.show(plots.ranked_list(found[1]["thermal"], database, queries=queries, relevance=truth, rows=[typical], k=7), dpi=80)

# %% [markdown]
# ## Measure it: how much should learn?
#
# **In our longer run** (`python tools/fine_tune_thermal.py`) each way had its rates swept on validation, here with seed 0, in five
# epochs, after which validation hardly rises. The source: all ten photographs. (No row has the frozen network at 160 pixels.)

# %%
longer = pd.read_csv(datasets.shipped_file("fine_tune_thermal.csv"))
sweep = longer[longer["seed"] == 0].groupby(["way", "rate"])["validation"].first()
on_photographs = longer[(longer["seed"] == 0) & (longer["domain"] == "photographs")].groupby(["way", "rate"])["mAP"].mean()
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.4), sharey=True, layout="constrained")
titles = ("target: validation categories", "source: photographs")
for ax, values, title in zip(axes, (sweep, on_photographs), titles, strict=True):
    for way, mark, colour in zip(("head", "last", "full"), plots.style.MARKERS, plots.style.COLOURS, strict=False):
        ax.semilogx(values[way].index, values[way], mark + "-", color=colour, label=way)
    ax.axhline(values["frozen"].iloc[0], ls=":", color=plots.style.GREY, label="frozen")
    ax.set(xlabel="rate", ylabel="mAP", ylim=(0, 1), title=title)
axes[0].legend(frameon=False)
plots.show(plots.describe(fig, "mAP by rate: full leads on validation; the top rates of last and full lose the photographs."))

# %% [markdown]
# The more may learn, the better, each way at its own rate. Compare the largest rates of *last* and *full*:
# on the left they cost little, on the right much. **Validation on the target does not see what is forgotten.**
#
# Now the test, at the rates that validation chose, mean of three seeds, with 95 % intervals (you may skip three cells).
# **HOG**, histograms of edge directions, learned nothing. The control **full, colour** learns from the same views in
# colour (chosen on thermal validation, too); **full, half** is the way back of the next section. In the figure, up is better on
# thermal images, right on photographs.


# %%
def at_best(table, draw):
    """The rows of the rate with the best validation score, for each way and draw."""
    return table[table["validation"] == table.groupby([draw, "way"])["validation"].transform("max")]


def minus(table, domain, way, other="frozen"):
    """Difference in mAP between two ways, by group (mean over draws): low end of the interval, mean, high end."""
    means = table[table["domain"] == domain].groupby(["way", "group"])["mAP"].mean()
    values = (means[way] - means[other]).to_numpy()
    low, high = interval(bootstrap_means(values[:, None], np.arange(len(values)), 2000, SEED)[:, 0])
    return low, values.mean(), high


# %%
def compared(table, domains):
    """A row for each way: how far it is from the frozen network in each domain."""
    ways = [way for way in table["way"].unique() if way != "frozen"]
    columns = pd.MultiIndex.from_product([domains, ["low", "minus frozen", "high"]])
    return pd.DataFrame([np.ravel([minus(table, d, way) for d in domains]) for way in ways], ways, columns)


# %%
def plane(table, ax, domain="thermal"):
    """Each way as a point with its two 95 % intervals, seen from the frozen network at (0, 0); HOG as a band."""
    ways = [way for way in table["way"].unique() if way not in ("frozen", "HOG")]
    for way, colour, mark in zip(ways, plots.style.COLOURS, plots.style.MARKERS, strict=False):
        lost, gained = minus(table, "photographs", way), minus(table, domain, way)
        ax.plot([lost[0], lost[2]], [gained[1], gained[1]], color=colour)
        ax.plot([lost[1], lost[1]], [gained[0], gained[2]], color=colour)
        ax.plot(lost[1], gained[1], mark, color=colour, ms=9, label=way)
    low, _, high = minus(table, domain, "HOG")
    ax.axhspan(low, high, color=plots.style.GREY, alpha=0.15, label="HOG (its interval)")
    ax.plot(0, 0, "+", color="black", ms=14, mew=2, label="frozen")


# %%
fast = longer[(longer["way"] == "full") & (longer["rate"] == 1e-3)].assign(way="full, rate 0.001")
best = pd.concat([at_best(longer, "seed"), fast])
at_start = best[best["way"] == "frozen"].groupby("domain")["mAP"].mean()
print(f"frozen: {at_start['thermal']:.3f} on thermal images, {at_start['photographs']:.3f} on photographs")
fig, ax = plt.subplots(figsize=(7.4, 4), layout="constrained")
plane(best, ax)
ax.set(xlabel="change of mAP on photographs", ylabel="change of mAP on thermal images")
ax.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
plots.show(plots.describe(fig, "Change on photographs and on thermal images: full gains most; at rate 0.001 it loses photographs."))
compared(best, ["thermal", "photographs"]).round(3)

# %% tags=["record"]
pairs = [("thermal", "full", "last"), ("thermal", "last", "head"), ("thermal", "full", "HOG")]
pairs += [("thermal", "full", "full, colour"), ("photographs", "full", "last")]
more = {f"{domain}: {one} minus {other}": minus(best, domain, one, other) for domain, one, other in pairs}
assert minus(best, "thermal", "head")[0] > 0 and min(low for low, _, _ in [*more.values()][:4]) > 0
assert minus(best, "thermal", "HOG")[0] < 0 and minus(best, "photographs", "full")[1] > -0.05
assert 0.35 < minus(best, "thermal", "full, colour")[1] / minus(best, "thermal", "full")[1] < 0.65
assert minus(best, "photographs", "full, colour", "full")[2] < -0.02
assert minus(best, "photographs", "full", "last")[1] > 0
assert minus(best, "photographs", "full, rate 0.001")[2] < -0.05
assert minus(best, "thermal", "full, rate 0.001")[1] < minus(best, "thermal", "full")[1]
assert minus(best, "thermal", "full, half", "full")[2] < 0
pd.DataFrame(more, index=["low", "difference", "high"]).T.round(3)

# %% [markdown]
# HOG is ahead of the frozen network on average, if not clearly (the band contains 0); with all weights learning it is beaten. Colour
# images of the same objects bring about half of the gain, and lose more on photographs (on average at equal rates, too: not shown). At its best rate the whole
# network loses little there, on average no more than *last*; at 0.001 much. So (1) is *full*; (2) is decided by the rate.
#
# ## Part of the way back
#
# Let $\theta_0$ be the weights before and $\theta_1$ those after. **WiSE-FT** (Wortsman et al. 2022,
# [arXiv:2109.01903](https://arxiv.org/abs/2109.01903)) takes neither:
#
# $$\theta = (1 - \alpha)\, \theta_0 + \alpha\, \theta_1, \qquad 0 \le \alpha \le 1$$
#
# This is *one* network, as fast as before. It can work because training began at $\theta_0$: often the loss
# has no hill between networks tuned from one start (Neyshabur et al. 2020, *NeurIPS*, [arXiv:2008.11687](https://arxiv.org/abs/2008.11687)).


# %%
def between(before, after, alpha):
    """Two dicts of arrays with the same names and shapes -> the dict of arrays between them."""
    return {name: (1 - alpha) * before[name] + alpha * after[name] for name in before}


by_hand = between(base.network.state_dict(), tuned.network.state_dict(), 0.3)
by_package = learning.interpolate(base, tuned, 0.3).network.state_dict()
assert all(torch.allclose(by_hand[name], by_package[name], atol=1e-6) for name in by_package)

# %%
ALPHAS = np.array([0, 0.25, 0.5, 0.75, 1])
on_the_way = {alpha: learning.interpolate(base, tuned, float(alpha)) for alpha in ALPHAS}
found |= {alpha: search(on_the_way[alpha]) for alpha in ALPHAS[1:-1]}
path = {}
for alpha in ALPHAS:
    for domain in truths:
        path[alpha, domain] = evaluate(found[alpha][domain], truths[domain], groups=groups[domain])["map"]
path = pd.Series(path).unstack()

# %% tags=["gallery"]
fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(path["photographs"], path["thermal"], "o-", color=plots.style.BLUE, ms=8)
ax.plot(path["photographs"].iloc[[0, -1]], path["thermal"].iloc[[0, -1]], ":", color="0.3", label="straight line")
for alpha, (thermal_map, photo_map) in path[["thermal", "photographs"]].iterrows():
    ax.annotate(f"α = {alpha:g}", (photo_map, thermal_map), xytext=(9, 5), textcoords="offset points", fontsize=11)
ax.set(xlabel="source: mAP on photographs", xmargin=0.2, ymargin=0.2)
ax.set(ylabel="target: mAP on thermal images", title="Half of the way back keeps most of the gain")
ax.legend(frameon=False, loc="lower left")
plots.show(plots.describe(ax, "Target against source mAP along alpha: the path bends outwards, above the straight line."))

# %% tags=["claim"]
learned = (path["thermal"] - path.loc[0, "thermal"]) / (path.loc[1, "thermal"] - path.loc[0, "thermal"])
lost = (path["photographs"] - path.loc[0, "photographs"]) / (path.loc[1, "photographs"] - path.loc[0, "photographs"])
assert learned[0.5] > 0.8 and lost[0.5] < 0.95
assert gain("thermal", found[0.5], found[0])[0] > 0.1
rows = {f"{domain}: half minus after": gain(domain, found[0.5], found[1]) for domain in truths}
pd.DataFrame(rows, index=["low", "difference", "high"]).T.round(3)

# %% [markdown]
# Half of the way back keeps most of the gain, and loses less (how much less differs by seed). To pick α here would use the test. A lower rate does so, too
# (*full* in the longer run); half of the way back from *that* network gives up some.

# %% [markdown]
# ## Two real narrow domains
#
# *Land use*: UC Merced (Yang and Newsam 2010, *ACM GIS*, [doi:10.1145/1869790.1869829](https://doi.org/10.1145/1869790.1869829)), 20
# of the 100 aerial photographs of each of 21 classes. Three splits test each class once; 9 are learned from, 5 validate. *Letters*: Omniglot
# (Lake et al. 2015, *Science*, [doi:10.1126/science.aab3050](https://doi.org/10.1126/science.aab3050)), drawn by 20 people; Korean
# is learned from, Early Aramaic validates, Balinese is the test. **In our longer run** (`python tools/fine_tune_real.py`; the images
# do not ship), with the frozen network at its own 160 pixels, too:

# %% tags=["record"]
real = pd.read_csv(datasets.shipped_file("fine_tune_real.csv"))
chosen = {name: at_best(part, "split") for name, part in real.groupby("set")}
for name, part in chosen.items():
    at_start = part[(part["way"] == "frozen") & (part["domain"] == "target")]
    print(f"{name}: the frozen network has mAP {at_start['mAP'].mean():.3f}")
pd.concat({name: compared(part, ["target", "photographs"]) for name, part in chosen.items()}).round(3)

# %% tags=["record"]
land, letters = chosen["land use"], chosen["letters"]
assert min(minus(part, "target", "full")[0] for part in (land, letters)) > 0
assert max(minus(part, "target", "full")[2] for part in (land, letters)) < 0.1  # on the thermal camera: above 0.2
assert all((part.loc[part["way"] == "full", "rate"] == 1e-4).all() for part in (land, letters))
low, _, high = minus(land, "target", "full", "frozen, 160 pixels")
assert low < 0 < high
assert minus(letters, "target", "HOG")[0] < 0 < minus(letters, "target", "HOG")[2]

# %% [markdown]
# All weights gain on new classes of both, but only a few hundredths; on land use that cannot be told from what larger images gain
# without training (training on larger ones: not tried). On letters the frozen network cannot be told from HOG. The simulated camera
# flatters: **measure in your own domain.** (All weights did best at the smallest rate tried; on letters, validation still rose
# at the end.)

# %% [markdown] tags=["extra"]
# ## Where it fails (extra)
#
# The two thermal queries that lose most by training, after it:

# %% tags=["extra"]
losers = [*change.index[:2]]
told = ", ".join(f"{query} {change[query]:+.2f}" for query in losers)
print(f"{(change < 0).mean():.0%} of the queries lose average precision. Most of all: {told}")
plots.show(plots.ranked_list(found[1]["thermal"], database, queries=queries, relevance=truth, rows=losers, k=6), dpi=64)

# %% [markdown] tags=["extra"]
# And the photographs that lose most, before and after:

# %% tags=["extra"]
fallen = {a: evaluate(found[a]["photographs"], truths["photographs"], groups=groups["photographs"]).per_query["map"] for a in (0, 1)}
rows = [*(fallen[1] - fallen[0]).sort_values(kind="stable").index[:2]]
shown = {"queries": pieces, "relevance": truths["photographs"], "rows": rows, "k": 5}
plots.show(plots.ranked_list(found[0]["photographs"], album, **shown), dpi=60)

# %% tags=["extra"]
plots.show(plots.ranked_list(found[1]["photographs"], album, **shown), dpi=60)

# %% [markdown]
# ## Try it
#
# Click a thermal image to make it the query, and switch networks. Which categories are still taken for one another?

# %%
names = {"before": 0, "half of the way back": 0.5}
searchers = {name: Retriever(on_the_way[alpha], progress=False).fit(database) for name, alpha in names.items()}
explorer = explore.QueryExplorer(searchers, queries=queries, query=typical, k=8, relevance=truth)
explorer

# %%
plots.show(explorer.static(), dpi=72)

# %% [markdown]
# ## Exercise 1 ★ no class in two parts
#
# `labels` (n_images,) are class names and `order` (n_classes,) is all of them once, as they were drawn. Return for every
# image "train" if its class is among the first `n_train` of `order`, "validation" for the next `n_validation`, else
# "test".
#
# <details><summary>Hint 1: the idea</summary>
#
# Split the classes, then look up the class of each image.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.isin` tells whose class is in a slice of `order`; `np.where` or `np.select` turns masks into words.
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
# Your split of all rendered objects, beside splits by image and by object: how much of the test was also trained on?

# %%
random, objects = np.random.RandomState(SEED), world.column("instance")
order, each = random.permutation(np.unique(world.labels)), np.unique(objects)
drawn = dict(zip(each, random.choice(["train", "validation", "test"], len(each)), strict=True))
splits = {"by image": random.choice(["train", "validation", "test"], len(world))}
splits["by object"] = np.array([drawn[name] for name in objects])
yours = checks.first_written("class_split", world.labels, order, 37, 12)
if yours is not None:
    splits["yours, by class"] = np.asarray(yours)

# %%
also = pd.DataFrame(index=list(splits), columns=["categories", "objects"], dtype=float)
for name, part_of in splits.items():
    for column, values in zip(also, (world.labels, objects), strict=True):
        tested = np.unique(values[part_of == "test"])
        also.loc[name, column] = 100 * np.isin(tested, values[part_of == "train"]).mean()
ax = also[::-1].plot.barh(figsize=(6.4, 2.6), color=plots.style.COLOURS[:2])
for bars in ax.containers:
    ax.bar_label(bars, fmt=" %.0f %%")
ax.set(xlabel="of the test, also trained on (%)", xlim=(0, 115))
plots.show(plots.describe(ax, "By image, nearly all categories and objects of the test were trained on; by object, most categories; by class, none."))

# %% [markdown]
# What would a split by images have made you believe? **In our longer run**: the gain of the whole network on *new images of
# the objects it was trained on*, and on new categories.

# %% tags=["record"]
flattery = {name: minus(best, domain, "full") for name, domain in [("trained on", "trained classes"), ("new", "thermal")]}
assert flattery["trained on"][0] > flattery["new"][2]
pd.DataFrame(flattery, index=["low", "full minus frozen", "high"]).T.round(3).rename_axis("categories")

# %% [markdown] tags=["extra"]
# ## Exercise 2 ★★ choose α under a limit (extra)
#
# On validation data, `target` and `source` (n,) are the scores of the networks at `alphas` (n,), among which is 0. Return
# the α with the highest target score among those that lose at most `most` of the source score at α = 0; of
# equal ones the smallest.
#
# <details><summary>Hint 1: the idea</summary>
#
# First find which alphas are allowed, then which of these is best. Do not count on their order.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# A mask of the allowed: `alphas == 0` finds the score to compare with. Then `.max()` of their target scores, and `.min()` of
# the alphas that reach it.
#
# </details>


# %% tags=["extra", "exercise"]
def choose_alpha(alphas, target, source, most):
    """The best alpha that loses at most `most` at the source: three arrays (n,) and a number -> float."""
    raise NotImplementedError


checks.check_choose_alpha(choose_alpha)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_choose_alpha(alphas, target, source, most):
    allowed = source[alphas == 0][0] - source <= most
    return float(alphas[allowed & (target == target[allowed].max())].min())


checks.check_choose_alpha(solution_choose_alpha)

# %% [markdown] tags=["extra"]
# Your choices for the network above, by the limit. On the right, what each loses on the *test*, which chose nothing: is the
# limit kept? (Validation counts other views of the query's own object as relevant, the test leaves them out: compare
# differences, not levels.)

# %% tags=["extra"]
on_target, on_source = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
for n, alpha in enumerate(ALPHAS):
    encoder = on_the_way[alpha]
    on_target[n] = learning.retrieval_score(encoder.transform(validation), validation.labels)
    on_source[n] = learning.retrieval_score(in_full(encoder).transform(kept), kept.column("instance"))

# %% tags=["extra"]
limits = np.arange(0, 0.21, 0.01)
yours = [checks.first_written("choose_alpha", ALPHAS, on_target, on_source, most) for most in limits]
yours = pd.Series(yours, limits, dtype=float)
on_test = yours.map(path.loc[0, "photographs"] - path["photographs"])
fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.2), layout="constrained")
left.step(limits, yours, where="post", color=plots.style.BLUE)
right.plot(limits, on_test, "o", color=plots.style.VERMILLION, label="your choice")
right.plot(limits, limits, ":", color="0.3", label="limit")
left.set(xlabel="limit on the loss (validation)", ylabel="α", yticks=ALPHAS, xticks=limits[::5])
right.set(xlabel="limit on the loss (validation)", ylabel="loss on the test", xticks=limits[::5])
right.legend(frameon=False)
plots.show(plots.describe(fig, "Chosen alpha by the limit: the more may be lost, the larger; and what is lost on the test."))

# %% [markdown] tags=["extra"]
# Here no point lies above the dotted line, and most lie far below it: three photographs stand for others only roughly.
# (Why is no α above ½ chosen? On validation no larger one finds more.)
# **A limit is as good as its validation images.**

# %% [markdown] tags=["extra"]
# ### A limit on the wrong images (extra)
#
# Five photographs were left out above: bricks, coins, grass, gravel and print. What if they had validated the source?

# %% tags=["extra"]
surfaces = every[flat & ~pd.isna(every.column("instance"))]
left_out = []
for encoder in on_the_way.values():
    left_out.append(learning.retrieval_score(in_full(encoder).transform(surfaces), surfaces.column("instance")))
sources = {"bricks and the like": left_out, "validation": on_source, "test": path["photographs"].to_numpy()}
pd.DataFrame(sources, index=ALPHAS).T.round(3).rename_axis("mAP at α")

# %% tags=["extra", "claim"]
assert left_out[-1] - left_out[0] > path.loc[1, "photographs"] - path.loc[0, "photographs"]

# %% [markdown] tags=["extra"]
# They lose less than the photographs of the test, or even gain: a limit would seem kept where it is not.

# %% [markdown] tags=["extra"]
# ## Exercise 3 ★★ freeze all but the last blocks (extra)
#
# The weights of a network have names: "stem.conv.weight", "blocks.11.narrow.bias", "last.0.weight". Say which learn if
# all is frozen but the `n_blocks` blocks with the highest numbers, and what begins with "last.".
#
# <details><summary>Hint 1: the idea</summary>
#
# Find the number of each block, as a whole number: as text, "9" comes after "11". Not every network has 16 blocks.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `name.split(".")` gives ["blocks", "11", "narrow", "bias"]; `int(…)` of the second.
#
# </details>


# %% tags=["extra", "exercise"]
def which_learn(names, n_blocks):
    """Which parameters learn: names, a list of str, and a number of blocks -> (n_names,) of bool."""
    raise NotImplementedError


checks.check_which_learn(which_learn)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_which_learn(names, n_blocks):
    numbers = np.array([int(name.split(".")[1]) if name.startswith("blocks.") else -1 for name in names])
    in_last_blocks = (numbers >= 0) & (numbers >= numbers.max() + 1 - n_blocks)
    return in_last_blocks | np.array([name.startswith("last.") for name in names])


checks.check_which_learn(solution_which_learn)

# %% [markdown] tags=["extra"]
# How far did each layer move when all could? The distance between its weights before and after, relative to their length.
# Orange: what would have learned by your function, with four blocks.

# %% tags=["extra"]
before, after = base.network.state_dict(), tuned.network.state_dict()
names = [name for name, value in before.items() if value.dim() > 1]
moved = np.array([float((after[name] - before[name]).norm() / before[name].norm()) for name in names])
yours = checks.first_written("which_learn", names, 4)
learns = np.zeros(len(names), bool) if yours is None else np.array(yours, bool)
colours = np.where(learns, plots.style.VERMILLION, plots.style.BLUE)
fig, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
ax.bar(range(len(names)), moved, color=colours)
ax.set(xlabel="layer, from the pixels to the embedding", ylabel="relative distance moved")
plots.show(plots.describe(ax, "How far each layer moved in fine-tuning; the layers of the last blocks in another colour."))

# %% [markdown]
# ## Exercise 4 ★★★ open: a compromise of your own
#
# Can you beat the way back? Try a smaller rate, `mode="last"`, or **replay**: the images of `kept`, each piece a class,
# join `labelled` (`ImageCollection.from_arrays`). **Predict** first. Choose on validation data; if `kept` is trained
# on, what can validate the source? Then use the test **once**: report `gain` of `search(yours)` against `found[0.5]` in
# both domains, with the intervals. Which network would you ship, and to whom?

# %% [markdown]
# ## What we learned
#
# - On a simulated thermal camera fine-tuning helps new categories much, all weights most; on two real domains little.
# - Validation on the target does not see what is forgotten. Measure the source, on images that stand for it.
# - A rate too high forgets much: lower it. Going back part of the way mends some of it.
# - Here the network learned to name classes; [notebook 07](07_metric_learning.ipynb) trains the distances themselves.
#
# ### Check yourself
#
# <details><summary>1. Why do the classifier and the network have different rates?</summary>
#
# The classifier is new and is thrown away. The network holds what you want to keep.
#
# </details>
# <details><summary>2. Two rates tie on validation. Which do you take?</summary>
#
# The one that loses less of the source: measure it.
#
# </details>
# <details><summary>3. You fine-tuned the network. Which stored embeddings may you keep?</summary>
#
# None: distances between old and new ones mean nothing. With a head, multiply the stored embeddings by its matrix.
#
# </details>
# <details><summary>4. You interpolate between a fine-tuned network and one trained from scratch. What do you get?</summary>
#
# Nonsense: channel 7 of one is not channel 7 of the other.
#
# </details>
#
# ### What breaks at a million images
#
# After fine-tuning, all must be encoded again and the index built anew, while the old one still answers
# ([notebook 20](20_incremental.ipynb)). Near-copies in training and database go unnoticed (`evaluation.check_leaks` looks for them).
#
# ### Further reading
#
# - Wortsman et al. (2022), *Robust fine-tuning of zero-shot models*, CVPR,
#   [arXiv:2109.01903](https://arxiv.org/abs/2109.01903).
# - Kumar et al. (2022), *Fine-tuning can distort pretrained features and underperform out-of-distribution*, ICLR,
#   [arXiv:2202.10054](https://arxiv.org/abs/2202.10054). Why to train the classifier first.
# - Yosinski et al. (2014), *How transferable are features in deep neural networks?*, NeurIPS,
#   [arXiv:1411.1792](https://arxiv.org/abs/1411.1792).
#
# <!-- links:start -->
# Previous: [05_transfer_learning](05_transfer_learning.ipynb) · [course map](00_start_here.ipynb) · Next: [07_metric_learning](07_metric_learning.ipynb)
# <!-- links:end -->
