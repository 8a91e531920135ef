# %% [markdown]
# # 19 · Active learning: which images should you label first?
#
# **Question.** You have a thousand photographs and time to label a hundred. Does it pay to choose which, and how would
# you know?
#
# **Time:** a minute and a half to run, offline; 45 minutes the core, about 75 with the extras. **Before this:** notebooks
# [01](01_measuring_retrieval.ipynb) and [05](05_transfer_learning.ipynb).
#
# <!-- links:start -->
# Previous: [18_relevance_feedback](18_relevance_feedback.ipynb) · [course map](00_start_here.ipynb) · Next: [20_incremental](20_incremental.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **choose** images to label in six ways, and **write** a rule of your own;
# - **compare** it fairly with random labels: paired, with an interval, in minutes of work;
# - **find** wrong labels by asking a classifier that never saw them.

# %%
import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import normalize
from tqdm.auto import tqdm

from cbirkit import checks, datasets, explore, labelling, plots
from cbirkit.encoders import Deep
from cbirkit.evaluation.resample import bootstrap_means, interval
from cbirkit.metrics import average_precision

# %%
SEED = 0
SECONDS_PER_LABEL = 6  # our assumption: look, decide, press a key

# %% [markdown]
# ## The goal
#
# 120 rendered pictures of six kinds of vessel, 12 of them labelled at random. Which six would you label next? Three
# answers: any; **typical** ones of groups without a label; those where a classifier wavers **between two classes**.
#
# **Predict:** which row asks most for bowls and teapots, labelled once so far? Which rule helps now, and which later?

# %%
KINDS = ["mug", "jug", "teapot", "watering can", "bowl", "bucket"]
tabletop = datasets.load_tabletop()
rng = np.random.default_rng(SEED)
of_kind = lambda name: np.flatnonzero((tabletop.labels == name) & (tabletop.column("split") == "database"))
vessels = tabletop[np.concatenate([rng.choice(of_kind(name), 20, replace=False) for name in KINDS])]
vectors = normalize(Deep("lite0", size=128, device="cpu").fit_transform(vessels).astype(float))  # (120, 1280)

# %%
labelled = rng.permutation(len(vessels))[:12]
unlabelled = np.setdiff1d(np.arange(len(vessels)), labelled)
p = labelling.probabilities(vectors[labelled], vessels.labels[labelled], vectors)  # (120, n_classes)
classes = np.unique(vessels.labels[labelled])
asked = {}
for name in ("random", "typiclust", "margin"):
    asked[name] = labelling.propose(vectors, labelled, vessels.labels[labelled], 6, strategy=name, random_state=SEED)
print("labelled so far:", pd.Series(vessels.labels[labelled]).value_counts().to_dict())

# %% tags=["gallery"]
fig, axes = plt.subplots(3, 6, figsize=(9.6, 6.6), layout="constrained")
for row, (name, images) in zip(axes, asked.items(), strict=True):
    for ax, image in zip(row, images, strict=True):
        first, second = np.argsort(-p[image])[:2]
        ax.imshow(vessels[int(image)])
        ax.set_title(f"{classes[first]} {p[image, first]:.2f}\n{classes[second]} {p[image, second]:.2f}", fontsize=9)
        ax.set(xticks=[], yticks=[], xlabel=vessels.labels[image])
    row[0].set_ylabel(name, fontsize=12)
plots.show(plots.describe(fig, "Six pictures that each of three rules asks for, with the two most probable classes above and the true one below."))

# %% [markdown]
# Here margin asks for most bowls and teapots, with one label each so far. One batch decides nothing: so we measure.
#
# ## Background
#
# **Pool-based active learning** is a loop: learn from the labels so far, choose $n$ images of the pool, have them
# labelled, again. The embeddings stay; only a linear **softmax classifier** is learned anew. Let $p$ $(c,)$ be its
# probabilities for an image $x$ $(d,)$, and $p_{(1)} \ge p_{(2)}$ the two largest.

# %%
look = ["embeddings of\nall images", "look at\nthe pool"]
ask = ["classifier of\nthe labels so far", "look at its\nprobabilities"]
plots.show(plots.pipeline([look, ask], ["choose\nn images", "a person\nlabels them", "learn again,\ngo on"]))

# %% [markdown]
# Three strategies look at the pool:
#
# - **random**, the baseline;
# - **TypiClust** (Hacohen et al. 2022, *ICML*, [arXiv:2202.02794](https://arxiv.org/abs/2202.02794)): k-means into as
#   many clusters as there will be labels; of the largest without a label, the image whose neighbours are nearest. Its
#   control, **clusters**, takes *any* image of each: random, but spread;
# - **core-set** (Sener and Savarese 2018, *ICLR*, [arXiv:1708.00489](https://arxiv.org/abs/1708.00489)): the image
#   that is farthest from all labelled ones, again and again.
#
# Three ask the classifier:
#
# - **margin** (Scheffer et al. 2001, *IDA*, [doi:10.1007/3-540-44816-0_31](https://doi.org/10.1007/3-540-44816-0_31)):
#   the smallest $p_{(1)} - p_{(2)}$; **entropy**: the largest $-\sum_k p_k \log p_k$;
# - **BADGE** (Ash et al. 2020, *ICLR*, [arXiv:1906.03671](https://arxiv.org/abs/1906.03671)): with $\hat y$ the guess
#   as a one-hot vector $(c,)$, the gradient of the last layer would be
#
# $$g_x = (p - \hat y) \otimes x \qquad (c, d)$$
#
# It is long where the classifier is uncertain. BADGE draws images with long and *different* gradients, as k-means++ draws
# centres: with probabilities in proportion to the squared distance to those that are chosen.
#
# ## Build it: BADGE

# %%
pool = vectors[unlabelled]  # (108, 1280)
residual = p[unlabelled] - np.eye(len(classes))[p[unlabelled].argmax(axis=1)]  # (108, c)
gradients = (residual[:, :, None] * pool[:, None, :]).reshape(len(pool), -1)  # (108, c * 1280)
random = np.random.RandomState(SEED)
chosen = [int((gradients**2).sum(axis=1).argmax())]  # the longest
while len(chosen) < 6:
    away = np.min([((gradients - gradients[i]) ** 2).sum(axis=1) for i in chosen], axis=0)  # (108,)
    chosen.append(int(random.choice(len(pool), p=away / away.sum())))
asked["badge"] = labelling.propose(vectors, labelled, vessels.labels[labelled], 6, strategy="badge", random_state=SEED)
assert np.array_equal(unlabelled[chosen], asked["badge"])

# %% [markdown]
# ## Measure it
#
# Photographs now: `clothing` (10 classes), embedded by `lite0`, which was not trained on them (but ImageNet has
# garments among its classes). Many published gains vanished in fairer comparisons (Munjal et al. 2022, *CVPR*,
# [arXiv:2002.09564](https://arxiv.org/abs/2002.09564)), so:
#
# - **Test images** are not in the pool. All strategies share pool, test images and the first 20 random labels.
# - The classifier's regularisation is chosen by cross-validation within the labels, anew for each set of them. All ask
#   for 20, 40 and 60 images at once. No strategy was tuned.
# - **Two scores**, means over classes: accuracy, and mAP. Each test image searches the other test images by its frozen
#   embedding joined with the square roots of its probabilities (weights chosen on `satellite`).
# - **Five draws, ten classes**: the interval is the wider of one that draws classes and one that draws draws; still a
#   little too narrow.


# %%
def unit_vectors(features, encoder="lite0"):
    return normalize(features.embeddings(encoder).astype(float))


def split(labels, rng, rarest=1.0):
    """Positions of the pool, shuffled, and of test images; in the pool, classes shrink, the last to `rarest` of its size."""
    pool, test, names = [], [], rng.permutation(np.unique(labels))
    for name, kept in zip(names, np.geomspace(1, rarest, len(names)), strict=True):
        rows = rng.permutation(np.flatnonzero(labels == name))
        n_test = len(rows) * 2 // 5
        test = [*test, *rows[:n_test]]
        pool = [*pool, *rows[n_test:][: round(kept * (len(rows) - n_test))]]
    return rng.permutation(pool), np.array(test)


# %%
def judged(X, labels, pool, at, test, classifier=labelling.probabilities):
    """Scores of each class of the test images after learning from the images `at`; images in the pool, and asked for."""
    p = classifier(X[at], labels[at], X[test])  # (n_test, n_known)
    Z = np.hstack([normalize(X[test] - X[pool].mean(axis=0)), 2 * np.sqrt(p)])
    order = np.argsort(99 * np.eye(len(Z)) - Z @ Z.T, axis=1)[:, :-1]  # the query itself is last
    right = labels[test][order] == labels[test][:, None]
    scores = {"accuracy": np.unique(labels[at])[p.argmax(axis=1)] == labels[test]}
    scores["mAP"] = [average_precision(row) for row in right]
    table = pd.DataFrame(scores).groupby(labels[test]).mean()
    count = lambda rows: pd.Series(labels[rows]).value_counts().reindex(table.index, fill_value=0)
    return table.assign(**{"images in the pool": count(pool), "asked": count(at)})


# %%
def curve(features, strategy, draw, sizes, *, choose_by="lite0", cold=False, rarest=1.0, **how):
    """Scores for each number of labels but the first, which are random (`cold`: chosen, too); a strategy is a name or a function."""
    X, V, labels = unit_vectors(features), unit_vectors(features, choose_by), features.labels.astype(str)
    pool, test = split(labels, np.random.default_rng([SEED, draw]), rarest)
    choose = partial(labelling.propose, strategy=strategy, random_state=100 * SEED + draw)
    choose = strategy if callable(strategy) else choose
    at, rows = np.arange(0 if cold else sizes[0]), []  # the pool is shuffled
    for size in sizes if cold else sizes[1:]:
        at = np.append(at, choose(V[pool], at, labels[pool[at]], size - len(at))).astype(int)
        rows.append(judged(X, labels, pool, pool[at], test, **how).assign(labels=size))
    table = pd.concat(rows).rename_axis("class").reset_index()
    return table.assign(strategy=getattr(strategy, "__name__", strategy), draw=draw)


# %%
def curves(features, strategies, sizes, **settings):
    """The curves of several strategies, five draws each."""
    turns = [(name, draw) for name in strategies for draw in range(5)]
    return pd.concat([curve(features, *turn, sizes, **settings) for turn in tqdm(turns)])

# %%
clothing, SIZES = datasets.load_real("clothing"), (20, 40, 80, 140)
X, names = unit_vectors(clothing), clothing.labels.astype(str)
by_pool = curves(clothing, ["random", "clusters", "typiclust", "core_set"], SIZES)
by_classifier = curves(clothing, ["margin", "entropy", "badge"], SIZES)
balanced = pd.concat([by_pool, by_classifier])


# %%
def summary(table, score="accuracy"):
    """Mean score for each number of labels, and their mean."""
    means = table.pivot_table(index="strategy", columns="labels", values=score, sort=False)
    means["mean"] = means.mean(axis=1)
    return means


summary(balanced).round(3)

# %%
pools = [split(names, np.random.default_rng([SEED, draw])) for draw in range(5)]
whole = np.mean([judged(X, names, pool, pool, test)["accuracy"].mean() for pool, test in pools])
means = summary(balanced).drop(columns="mean").sort_values(140, ascending=False)
draws = balanced[balanced["strategy"] == "random"].pivot_table(index="labels", columns="draw", values="accuracy")

# %%
fig, ax = plt.subplots(figsize=(7.4, 3.4), layout="constrained")
ax.fill_between(draws.index, draws.min(axis=1), draws.max(axis=1), color="0.85", label="random, five draws")
ax.plot(SIZES[1:], means.loc["random", [*SIZES[1:]]], color="black", marker=".", label="random, mean")
others = means.drop("random").iterrows()
for (name, line), colour, marker in zip(others, plots.style.COLOURS, plots.style.MARKERS, strict=False):
    ax.plot(SIZES[1:], line[[*SIZES[1:]]], color=colour, marker=marker, label=name)
ax.axhline(whole, color="0.4", ls="--", lw=1, label=f"all {len(pools[0][0])} images labelled")
ax.set(xlabel="labels", ylabel="accuracy", xticks=SIZES[1:])
ax.legend(frameon=False, fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Mean accuracy of six strategies and a control against the number of labels, the range of five random draws, and the accuracy with all labels."))

# %% [markdown]
# The grey band is the luck of a random draw. But strategies share draws, so we compare them with random **draw by draw
# and class by class**.


# %%
def gain(table, name, score="accuracy", other="random", labels=None):
    """Mean difference of two strategies, and the wider of two 95 % intervals: classes are drawn, or draws."""
    some = table if labels is None else table[table["labels"] == labels]
    means = some.pivot_table(index="draw", columns=["strategy", "class"], values=score)
    values = (means[name] - means[other]).to_numpy()  # (draws, classes)
    ends = []
    for one in (values.mean(axis=0), values.mean(axis=1)):
        ends.append(interval(bootstrap_means(one[:, None], np.arange(len(one)), 2000, 0)[:, 0]))
    return values.mean(), *max(ends, key=np.ptp)


# %%
LOOKS = {"accuracy": (plots.style.BLUE, "o-"), "mAP": (plots.style.ORANGE, "s--")}


def draw_gain(ax, table, name):
    """Gain over random in both scores against the number of labels, with intervals."""
    sizes = sorted(table["labels"].unique())
    for score, (colour, mark) in LOOKS.items():
        mean, low, high = 100 * np.array([gain(table, name, score, labels=size) for size in sizes]).T
        ax.plot(sizes, mean, mark, color=colour, label=score)
        ax.fill_between(sizes, low, high, color=colour, alpha=0.2, lw=0)
    ax.axhline(0, color="0.4", lw=1)
    ax.set(title=name, xlabel="labels", xticks=sizes)


# %%
def draw_gains(table, about):
    """A panel for each strategy."""
    names = [name for name in table["strategy"].unique() if name != "random"]
    fig, axes = plt.subplots(1, len(names), figsize=(2 * len(names), 2.8), layout="constrained", sharey=True)
    for ax, name in zip(axes, names, strict=True):
        draw_gain(ax, table, name)
    axes[0].set_ylabel("gain over random (points)")
    axes[0].legend(frameon=False, fontsize=9)
    plots.show(plots.describe(fig, f"Gains over random labels {about}, against the number of labels, with 95 % intervals."))


# %%
gains = {score: pd.DataFrame({name: gain(balanced, name, score) for name in means.index.drop("random")}).T for score in LOOKS}
order = gains["mAP"].sort_values(0).index
fig, ax = plt.subplots(figsize=(7.4, 3.2), layout="constrained")
for (score, (colour, mark)), shift in zip(LOOKS.items(), (0.12, -0.12), strict=True):
    middle, low, high = 100 * gains[score].loc[order].to_numpy().T
    ax.errorbar(middle, np.arange(len(order)) + shift, xerr=[middle - low, high - middle], fmt=mark[0], color=colour, capsize=3, label=score)
ax.axvline(0, color="0.4", lw=1)
ax.set(yticks=range(len(order)), yticklabels=order, xlabel="gain over random, mean of 40, 80 and 140 labels (points)")
ax.legend(frameon=False, fontsize=10)
plots.show(plots.describe(ax, "Gain over random labels of five strategies and a control on clothing, in accuracy and mAP, with 95 % intervals."))

# %% [markdown]
# - **TypiClust** gains in mAP, averaged over sizes; **clusters** cannot be told from random. **BADGE** is highest at
#   140 labels, with this seed.
# - **Core-set** is behind in the mean of both scores, probably because what is farthest is odd.
# - **Entropy** is behind **margin** in the mean, perhaps since it asks for images that could be *anything*.
#
# In accuracy, nearly every interval holds 0, and of twelve one may miss it by luck. mAP, which looks at whole
# rankings and partly at the same frozen embeddings, tells more.

# %% tags=["claim"]
assert gain(balanced, "typiclust")[0] > 0.01 and gain(balanced, "typiclust", "mAP")[1] > 0
assert gain(balanced, "core_set")[0] < -0.015 and gain(balanced, "core_set", "mAP")[0] < -0.005
assert gain(balanced, "entropy", other="margin")[0] < -0.005
assert gain(balanced, "entropy", "mAP", other="margin")[0] < -0.005

# %% [markdown]
# ### A skewed pool
#
# That pool has 60 images of each class. Real pools do not. Now the most frequent class keeps its 60, the rarest six; the
# test images stay balanced.

# %%
few = curves(clothing, ["random", "typiclust", "margin", "badge"], SIZES, rarest=0.1)
draw_gains(few, "of three strategies in a skewed pool")
summary(few).round(3)

# %% tags=["claim"]
last = few[few["labels"] == SIZES[-1]]
rare = last[last["images in the pool"] <= 13].groupby("strategy")[["asked", "accuracy", "mAP"]].mean()
for name in ("margin", "badge"):
    assert gain(few, name, labels=140)[0] > 0.01 and gain(few, name, "mAP", labels=140)[0] > 0
    assert rare.loc[name, "asked"] > rare.loc["random", "asked"] + 0.5

# %% [markdown]
# With 140 labels margin and BADGE are ahead in the mean of both scores; with one of three seeds their intervals in mAP
# held 0. **Where does the gain come from?** By the size of a class in the pool: labels asked for, and accuracy.

# %%
by_size = last.pivot_table(index="images in the pool", columns="strategy", values=["asked", "accuracy"])
fig, axes = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained")
look = {"style": ["o-", "s-", "^-", "D-"], "color": list(plots.style.COLOURS[:4])}
by_size["asked"].plot(ax=axes[0], ylabel="of 140 labels", **look).legend(frameon=False, fontsize=9)
by_size["accuracy"].plot(ax=axes[1], ylabel="accuracy", legend=False, **look)
plots.show(plots.describe(fig, "Labels asked for, and accuracy, against the size of a class in the pool."))

# %% [markdown]
# Random labels come in proportion to the pool. Margin and BADGE ask for more of the rare classes and fewer of the
# frequent ones, and are better in the rare, on average. Likely, a classifier that has met few images
# of a class is unsure, and asks for more. (A control was not run: as many random images of each class.)
#
# ### Cold start
#
# Without labels there is no classifier to ask: margin, entropy and BADGE of the package then choose as TypiClust does.

# %%
cold = curves(clothing, ["random", "clusters", "typiclust", "core_set"], (10, 20, 30), cold=True)
draw_gains(cold, "of three strategies that start without a label")
summary(cold).round(3)

# %% tags=["claim"]
assert gain(cold, "typiclust")[0] > 0.03 and gain(cold, "typiclust", "mAP")[1] > 0
assert gain(cold, "typiclust", other="clusters")[0] > 0.01

# %% [markdown]
# Typical images gain in mAP; in accuracy, most at ten labels (wide band): a random ten misses several classes,
# which then score 0.
#
# ### Labels are time
#
# How many labels does each strategy need to be as accurate as random is at the end? (Straight lines between the
# measured sizes; NaN: not reached.) A label costs six seconds, we assume; computing, far quicker, is left out.
# Hard images may take longer: *break-even* says how many times. (No intervals: the balanced half is undecided.)

# %%
def minutes(table):
    """Labels, and minutes of labelling, until each strategy is as accurate as random at the end."""
    means, rows = summary(table).drop(columns="mean"), {}
    for name in means.index.intersection(["random", "typiclust", "core_set", "margin", "badge"], sort=False):
        best = np.maximum.accumulate(means.loc[name].to_numpy())
        target = means.loc["random"].iloc[-1]
        n = np.interp(target, best, means.columns.astype(float)) if best[-1] >= target else np.nan
        rows[name] = {"labels": n, "minutes": n * SECONDS_PER_LABEL / 60, "break-even": means.columns[-1] / n}
    return pd.DataFrame(rows).T


pd.concat({"balanced pool": minutes(balanced), "skewed pool": minutes(few)}, axis=1).round(1)

# %% [markdown]
# ### Which labels are wrong?
#
# People err. **Confident learning** (Northcutt et al. 2021, *JAIR*, [arXiv:1911.00068](https://arxiv.org/abs/1911.00068))
# asks a classifier that was learned without the image, for $p_k(x)$. The threshold $t_k$ of class $k$ is the mean of
# $p_k$ over the images labelled $k$. An image is **suspect** if, of the classes with $p_k(x) \ge t_k$, the most
# probable is not its label. Suspects are sorted by the probability of their label minus that of this class, smallest
# first.
#
# We make one label in ten wrong: any other class, or, as people would, the one that looks most like it.


# %%
V = unit_vectors(clothing, "MobileNetV2")


def spoiled(kind, draw):
    """Labels of a pool, one in ten of them wrong, and which: by chance or by likeness."""
    rng = np.random.default_rng([SEED, draw])
    pool, test = split(names, rng)
    wrong = rng.choice(len(pool), len(pool) // 10, replace=False)
    p = labelling.probabilities(V[test], names[test], V[pool[wrong]])  # another network says what looks alike
    p = rng.random(p.shape) if kind == "chance" else p
    known = np.unique(names[test])
    p[known == names[pool[wrong]][:, None]] = -1
    given = names[pool].copy()
    given[wrong] = known[p.argmax(axis=1)]
    return X[pool], given, np.isin(np.arange(len(pool)), wrong)


# %%
found = []
for kind, draw in tqdm([(kind, draw) for kind in ("chance", "likeness") for draw in range(10)]):
    rows, given, wrong = spoiled(kind, draw)
    # both rankings see the same probabilities; the strength C is the one that `labelling.probabilities` chooses on these labels
    p_held = cross_val_predict(LogisticRegression(C=10, max_iter=300), rows, given, cv=5, method="predict_proba")
    hits = wrong[labelling.suspects(rows, given, p=p_held)["image"]]
    p_given = p_held[np.unique(given) == given[:, None]]  # of the label that is given
    row = {"errors by": kind, "first 30": hits[:30].mean(), "lowest p": wrong[np.argsort(p_given)[:30]].mean()}
    row |= {"all suspects": hits.mean(), "number": len(hits), "of all errors": hits.sum() / wrong.sum()}
    found.append(row)

# %%
each = pd.DataFrame(found)
each["difference"] = each["lowest p"] - each["first 30"]
found = each.groupby("errors by").mean()
apart = [d.to_numpy()[:, None] for _, d in each.groupby("errors by")["difference"]]  # (10 draws, 1) each
found[["low", "high"]] = [interval(bootstrap_means(d, np.arange(10), 2000, 0)[:, 0]) for d in apart]
found.round(2).T

# %% tags=["claim"]
assert found.loc["chance", "first 30"] > 0.6 and found.loc["likeness", "first 30"] > 0.5
assert found.loc["chance", "low"] > 0 and found.loc["likeness", "difference"] < -0.015  # lowest p - first 30

# %% [markdown]
# One label in ten is wrong; of the first 30 suspects, most are. The baseline sorts the *same* probabilities by that
# of the given label (*lowest p*): better for errors by chance, in the mean worse for errors by likeness
# (*difference*, with the interval of ten draws, which held 0 with one of three seeds). Thresholds say where to stop:
# there, most suspects are labelled rightly, and some errors stay hidden; a "false" suspect may be a true error of the
# set.

# %% [markdown] tags=["extra"]
# ### Two controls (extra)
#
# Does margin suffer from batches? It may ask for 20 near-copies. And in the skewed pool, does it gain only because its
# labels are more balanced? Then weighting the classes of random labels should do as well.

# %% tags=["extra"]
by_five = curves(clothing, ["margin"], (20, 25, 30, 35, 40)).assign(strategy="margin by 5")
batches = pd.concat([balanced, by_five])
weighted = lambda X, y, others: LogisticRegression(C=100, class_weight="balanced", max_iter=300).fit(X, y).predict_proba(others)
reweighted = curves(clothing, ["random", "margin"], SIZES, rarest=0.1, classifier=weighted)
controls = {"margin by 5, 40 labels": gain(batches, "margin by 5", other="margin", labels=40)}
controls["margin, classes weighted, 140 labels"] = gain(reweighted, "margin", labels=140)
controls["the same, mAP"] = gain(reweighted, "margin", "mAP", labels=140)
pd.DataFrame(controls, ["gain", "low", "high"]).T.round(3)

# %% [markdown] tags=["extra"]
# An interval that holds 0 decides nothing: of batches, five draws tell little. A gain that stays although both weigh
# their classes is more than a matter of weights. Whether rare *images*, which weights cannot replace, explain it
# stays open.

# %% [markdown] tags=["extra"]
# ### Typical first, the classifier later? (extra)
#
# Each half was measured by itself: typical images from no label on, the classifier's questions after 20 random
# labels. Do they add up? BADGE without labels *is* that schedule: its first 20 are TypiClust's, all later ones are
# the classifier's. Its rivals: TypiClust from first to last, and random labels of the same pools.

# %% tags=["extra"]
rows = {}
for pool_is, rarest, before in (("balanced", 1.0, balanced), ("skewed", 0.1, few)):
    plan = curves(clothing, ["typiclust", "badge"], SIZES, cold=True, rarest=rarest)
    plan = pd.concat([plan, before[before["strategy"] == "random"]])
    for other, score in [(other, score) for other in ("random", "typiclust") for score in LOOKS]:
        rows[pool_is, other, score] = gain(plan, "badge", score, other=other, labels=140)
schedule = pd.DataFrame(rows, ["gain at 140", "low", "high"]).T.rename_axis(["pool", "against", "score"])
schedule.round(3)

# %% tags=["extra", "claim"]
assert (schedule.loc[("skewed", "random"), "gain at 140"] > 0).all()
for name in ("margin", "badge"):
    assert rare.loc[name, "accuracy"] > rare.loc["random", "accuracy"]

# %% [markdown] tags=["extra"]
# In the skewed pool the schedule is ahead of random in the mean of both scores. Against TypiClust from first to last,
# read the table: in a balanced pool a later switch to the classifier is not shown to add anything with this seed. So
# "typical first, the classifier later" is shown for a skewed pool only. (With intervals of five draws.)

# %% [markdown] tags=["extra"]
# ### Another set: flowers (extra)

# %% tags=["extra"]
flowers = curves(datasets.load_real("flowers"), ["random", "typiclust", "margin", "badge"], (10, 20, 40, 70))
summary(flowers).round(3)

# %% tags=["extra"]
draw_gains(flowers, "of three strategies on flowers")

# %% tags=["extra", "claim"]
for name in ("typiclust", "margin", "badge"):
    assert gain(flowers, name)[1] < 0 and gain(flowers, name, "mAP")[1] < 0

# %% [markdown] tags=["extra"]
# Five classes, and `lite0` knows flowers well: over the whole curve, **no gain can be told from none**.

# %% [markdown] tags=["extra"]
# ### Chosen by one network, used with another (extra)
#
# Labels outlive networks. Here MobileNetV2, or colour histograms, choose by TypiClust; `lite0` learns from what they
# chose.

# %% tags=["extra"]
others = {"lite0": gain(balanced, "typiclust", labels=40)}
for encoder in ("MobileNetV2", "colour"):
    table = pd.concat([balanced, curves(clothing, ["typiclust"], (20, 40), choose_by=encoder).assign(strategy="other")])
    others[encoder] = gain(table, "other", labels=40)
pd.DataFrame(others, ["gain over random at 40 labels", "low", "high"]).T.round(3)

# %% [markdown] tags=["extra"]
# Read the intervals before you read the order: at one number of labels, ten classes decide little. That a network which
# knows garments is of more use than colours is likely, not shown.

# %% [markdown]
# ## Try it
#
# Be the one who is asked: keys 1 to 6 name a picture, and the next ones are chosen by margin.

# %%
file = Path(tempfile.mkdtemp()) / "labels.csv"
explorer = explore.LabelExplorer(vessels, vectors, file, classes=KINDS)
explorer

# %%
# The same, going on with a file of 60 labels (of images drawn at random; we played the person).
done = np.random.RandomState(SEED).permutation(len(vessels))[:60]
played = file.with_name("played.csv")
pd.DataFrame({"path": vessels.ids[done], "label": vessels.labels[done]}).to_csv(played, index=False)
plots.show(explore.LabelExplorer(vessels, vectors, played, classes=KINDS).static(), dpi=90)

# %% [markdown]
# ## Exercise 1 ★ the smallest margins, with ties
#
# `p` (n_images, n_classes) holds probabilities of **all** images, `labelled` the positions of those that have a label, in
# any order. Return the `n` other positions with the smallest margin, smallest first. Equal margins go by position. If
# fewer than `n` are left, return all.
#
# <details><summary>Hint 1: the idea</summary>
#
# Sort each row, then the images. Leave out the labelled ones *before* you cut.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.sort(…, axis=1)`; `np.argsort(…, kind="stable")` keeps the order of equal values; `np.isin(a, b)` says which of `a`
# are in `b`.
#
# </details>


# %% tags=["exercise"]
def least_margins(p, labelled, n):
    """Probabilities (n_images, n_classes), positions, a number -> n positions, int."""
    raise NotImplementedError


checks.check_least_margins(least_margins)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_least_margins(p, labelled, n):
    ordered = np.sort(p, axis=1)
    order = np.argsort(ordered[:, -1] - ordered[:, -2], kind="stable")
    return order[~np.isin(order, labelled)][:n]


checks.check_least_margins(solution_least_margins)

# %% [markdown]
# The six vessels that your function asks for:

# %%
own = checks.first_written("least_margins", p, labelled, 6)
if own is not None:
    plots.show(plots.contact_sheet(vessels[np.asarray(own, dtype=int)], n=6, columns=6))

# %% [markdown] tags=["extra"]
# ## Exercise 2 ★★ confident learning (extra)
#
# `p` (n_images, n_classes) holds held-out probabilities, `labels` (n_images,) whole numbers. Return a bool for each
# image: is it suspect, as defined above? A class that no image is labelled with has no threshold, and nobody reaches
# it. An image that reaches no threshold is not suspect.
#
# <details><summary>Hint 1: the idea</summary>
#
# First the thresholds, one per class. Then put something in place of all probabilities that do not reach theirs, so
# that they cannot be the largest.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `p[labels == k, k]` are the probabilities of class k of the images labelled k; `np.where(…, p, …)`; `.argmax(axis=1)`,
# which gives 0 for a row of equal values.
#
# </details>


# %% tags=["extra", "exercise"]
def confident_errors(p, labels):
    """Probabilities (n_images, n_classes) and labels (n_images,) -> bool (n_images,)."""
    raise NotImplementedError


checks.check_confident_errors(confident_errors)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_confident_errors(p, labels):
    limits = np.full(p.shape[1], np.inf)
    for k in np.unique(labels):
        limits[k] = p[labels == k, k].mean()
    confident = np.where(p >= limits, p, -1)
    return (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)


checks.check_confident_errors(solution_confident_errors)

# %% [markdown] tags=["extra"]
# Your suspects among the labels of `clothing` as they are, by label and by the most probable class. Which are errors?
# Only a look at the picture tells, and these photographs do not ship.

# %% tags=["extra"]
halves = np.arange(len(names)) % 2 == 0
p_held = np.zeros((len(names), 10))
for half in (halves, ~halves):
    p_held[half] = labelling.probabilities(X[~half], names[~half], X[half])
known, numbers = np.unique(names, return_inverse=True)
own = checks.first_written("confident_errors", p_held, numbers)

# %% tags=["extra"]
if own is not None:
    counts, sure = np.zeros((10, 10), int), np.where(own[:, None], p_held, 0).argmax(axis=1)
    np.add.at(counts, (numbers[own], sure[own]), 1)
    fig, ax = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
    ax.imshow(counts, cmap="Blues", vmax=2 * counts.max())
    for row, column in np.argwhere(counts):
        ax.text(column, row, counts[row, column], ha="center", va="center", fontsize=9)
    ax.set(xticks=range(10), yticks=range(10), yticklabels=known, xlabel="most probable class", ylabel="label")
    ax.set_xticklabels(known, rotation=60, ha="right")
    plots.show(plots.describe(ax, f"Suspect labels of clothing: {counts.sum()} images, by label and by most probable class."))

# %% [markdown]
# ## Exercise 3 ★★★ open: a rule of your own
#
# Write a rule that gets `embeddings` (n_images, d) of a pool, positions `labelled` (none at first), their `labels` and
# `n`, and returns `n` other positions. The check uses it on aerial images of seven classes, from no label to 56, and
# compares with random: gain 6.5 points of accuracy, on average over four sizes and four draws. **Predict first** which of
# the six would pass; return `labelling.propose(…, strategy="badge")` to see. It may be a part of your rule; so may
# `labelling.probabilities`.
#
# Then defend it: `curves` takes a function, too. Set SEED to 1, then 2: what does `gain(…, "better_choice",
# other="badge")` say?
#
# <details><summary>Hint 1: the idea</summary>
#
# First typical images, spread out; then uncertain ones, not all of one kind.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `len(set(labels)) < 2` tells a cold start. `sklearn.cluster.KMeans(n, n_init=1, random_state=0).fit_predict(…)` puts
# candidates into n groups.
#
# </details>


# %% tags=["exercise"]
def better_choice(embeddings, labelled, labels, n):
    """Embeddings (n_images, d), positions, their labels, a number -> n other positions."""
    raise NotImplementedError


checks.check_better_choice(better_choice)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_better_choice(embeddings, labelled, labels, n):
    if len(set(labels)) < 2:
        return labelling.propose(embeddings, labelled, labels, n, strategy="typiclust")
    close = labelling.propose(embeddings, labelled, labels, min(3 * n, len(embeddings) - len(labelled)), strategy="margin")
    group = KMeans(n, n_init=1, random_state=0).fit_predict(embeddings[close])
    return np.array([close[np.flatnonzero(group == one)[0]] for one in range(n)])  # the least margin of each


checks.check_better_choice(solution_better_choice)

# %% [markdown]
# What your rule asks for first among the vessels, with no label at all:

# %%
own = checks.first_written("better_choice", vectors, np.array([], int), vessels.labels[:0], 6)
if own is not None:
    plots.show(plots.contact_sheet(vessels[np.asarray(own, dtype=int)], n=6, columns=6))

# %% [markdown]
# ## What we learned
#
# - Random labels are a strong baseline. Compare at several budgets, paired, over draws and classes.
# - On clothing typical images pay at the start, and the classifier's questions in a skewed pool, where they ask for more
#   of the rare classes. On flowers (extra) no gain could be told.
# - Held-out predictions find many wrong labels. A person decides.
#
# ### Check yourself
#
# <details><summary>1. Your strategy beats random by three points with 80 labels, in one run. What is missing?</summary>
#
# Other draws, an interval, other numbers of labels.
#
# </details>
# <details><summary>2. Why may margin fall behind random on few labels?</summary>
#
# Its classifier is bad: what it cannot decide may be odd, and say little about where the classes meet.
#
# </details>
# <details><summary>3. You estimate accuracy by cross-validation on the images that margin chose. What is wrong?</summary>
#
# They are the hard ones. Keep a random test set.
#
# </details>
# <details><summary>4. A classifier doubts a label. Is it wrong?</summary>
#
# Not always: the image may be rare, or the classifier wrong. A person looks.
#
# </details>

# %% [markdown] tags=["extra"]
# ## What breaks at a million images (extra)
#
# Clusters and farthest points need many distances: choose among a random subset.
#
# ### Further reading
#
# Settles (2009), *Active learning literature survey*, University of Wisconsin, TR 1648. Lowell, Lipton and Wallace
# (2019), *Practical obstacles to deploying active learning*, *EMNLP*,
# [arXiv:1807.04801](https://arxiv.org/abs/1807.04801). Hacohen, Dekel and Weinshall (2022),
# [arXiv:2202.02794](https://arxiv.org/abs/2202.02794), on few labels. Northcutt et al. (2021),
# [arXiv:1911.00068](https://arxiv.org/abs/1911.00068), on wrong labels.
#
# <!-- links:start -->
# Previous: [18_relevance_feedback](18_relevance_feedback.ipynb) · [course map](00_start_here.ipynb) · Next: [20_incremental](20_incremental.ipynb)
# <!-- links:end -->
