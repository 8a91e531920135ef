# %% [markdown]
# # 23 · Generative models: can a network draw the training pictures that you lack?
#
# **Question.** You have five labelled pictures per class. A network learns to draw as many more as you like. Are they
# good, varied and new? Does a search engine trained on them find more?
#
# **Time:** a minute to run on two cores, offline; 45 minutes the core, about 100 with the extras. **Before this:**
# [notebook 01](01_measuring_retrieval.ipynb) for intervals, [notebook 07](07_metric_learning.ipynb) for learned
# embeddings.
#
# <!-- links:start -->
# Previous: [22_adversarial](22_adversarial.ipynb) · [course map](00_start_here.ipynb) · Next: [24_your_own_dataset](24_your_own_dataset.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **measure** how good and varied samples are, by precision and recall (extra: coverage);
# - **test** whether a generator copies its training pictures, with the right control;
# - **decide** which samples to train on, and **judge** a claim that they help retrieval.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import normalize

from cbirkit import ImageCollection, Retriever, checks, datasets, encoders, explore, generate, plots
from cbirkit.checks import first_written

# %%
SEED = 0
STEPS = (100, 500, 2000)

# %% [markdown]
# ## The goal
#
# The pictures are scikit-learn's 1,797 handwritten digits, of 8 × 8 grey pixels: a network learns to draw them in
# seconds. Thirteen people wrote them in 14 runs (one seems to have two: a “new” person may be known). Seven runs train
# the generator, except for a fifth of their digits, which is **held out**. Five, **new people**, test; two are for
# settings.

# %%
STARTS = (130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667)
digits = datasets.load_digits(scale=1)
labels = digits.labels.astype(int)
pixels = np.stack([image[..., 0] for image in digits]).reshape(-1, 64)
pixels = pixels.astype(np.float32) / 255  # (1797, 64), from 0 to 1
run_of = np.searchsorted(STARTS, np.arange(len(labels)), side="right")  # 0 to 13
of_split = np.random.RandomState(0)  # always this split, which the generator that ships knows
drawn = 2 + of_split.permutation(12)
is_known, is_out = np.isin(run_of, drawn[:7]), of_split.rand(len(labels)) < 0.2
train, held_out = np.flatnonzero(is_known & ~is_out), np.flatnonzero(is_known & is_out)
validation, new_people = np.flatnonzero(run_of < 2), np.flatnonzero(np.isin(run_of, drawn[7:]))
print(f"{len(train)} train, {len(held_out)} are held out, {len(new_people)} are of new people")

# %% [markdown]
# **Predict:** which row of each pair is generated? Its generator saw every training digit. Would one that sees only
# five labels per class help a search engine as much as plain crops and rotations do?

# %%
# Digits (n, 64) as one picture, dark on white, `columns` in a row.
def strip(rows, columns=10):
    digits_ = 1 - np.reshape(rows, (-1, 8, 8))
    framed = np.pad(digits_, ((0, 0), (1, 1), (1, 1)), constant_values=0.9)  # (n, 10, 10)
    return framed.reshape(-1, columns, 10, 10).transpose(0, 2, 1, 3).reshape(-1, 10 * columns)


# Show digits on an axis.
def draw(ax, rows, title, columns=10):
    ax.imshow(strip(rows, columns), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize=10)
    ax.axis("off")


# %% tags=["gallery"]
shipped = generate.GAN(10).load(datasets.shipped_file("generative.safetensors"))
rng, sides, answers = np.random.default_rng(SEED), [], []
for k in range(3):
    shown = np.array([rng.choice(train[labels[train] == c]) for c in range(10)])
    pair = [pixels[shown], shipped.sample(np.arange(10), random_state=100 * SEED + k)]
    first = int(rng.integers(2))  # which of the two is above
    sides.append(np.concatenate([pair[first], pair[1 - first]]))
    answers.append(("lower", "upper")[first])
fig, axes = plt.subplots(3, 1, figsize=(7.5, 5.6), layout="constrained")
for number, (ax, rows) in enumerate(zip(axes, sides, strict=True), 1):
    draw(ax, rows, f"pair {number}: which row is generated?")
plots.show(plots.describe(fig, "Three pairs of rows of digits: one row by people, one generated."))

# %%
told = "Generated, from pair 1 to pair 3: the " + ", the ".join(answers) + " row."
Markdown(f"<details><summary>The answer (click to open)</summary>\n\n{told}\n\n</details>")

# %% [markdown] tags=["extra"]
# ### Are the runs people? (extra)
#
# The [scikit-learn course of
# Inria](https://inria.github.io/scikit-learn-mooc/python_scripts/cross_validation_grouping.html) found them in the
# order of the file, which does not say who wrote what. If a run is a person, the digit most like a given one stands
# in the same run far more often than by chance.

# %% tags=["claim", "extra"]
apart = cdist(pixels, pixels) + np.where(labels[:, None] == labels, 0, np.inf)  # of one class
np.fill_diagonal(apart, np.inf)
same_run = (run_of[apart.argmin(axis=1)] == run_of).mean()
by_chance = np.mean([(run_of[np.isfinite(row)] == run_of[i]).mean() for i, row in enumerate(apart)])
print(f"the nearest digit is of the same run: {same_run:.2f}; by chance {by_chance:.2f}")
assert same_run > 5 * by_chance

# %% [markdown]
# ## Background
#
# A **generator** $G$ turns noise $z$ of shape $(16,)$ and a class $y$ into a picture of shape $(64,)$. A
# **discriminator** $D$ gives a picture and its class a number, above 0 for "real". They are trained against each other:
# a *generative adversarial network*, GAN (Goodfellow et al. 2014, *NeurIPS*,
# [arXiv:1406.2661](https://arxiv.org/abs/1406.2661)). The **hinge loss** (Lim and Ye 2017,
# [arXiv:1705.02894](https://arxiv.org/abs/1705.02894)) on real pictures $x$:
#
# $$L_D = \operatorname{mean} \max\big(0, 1 - D(x, y)\big) + \operatorname{mean} \max\big(0, 1 + D(G(z, y), y)\big)$$
#
# $$L_G = -\operatorname{mean} D(G(z, y), y)$$
#
# **Spectral normalisation** (Miyato et al. 2018, *ICLR*, [arXiv:1802.05957](https://arxiv.org/abs/1802.05957))
# divides each weight matrix of $D$ by its largest singular value, which bounds how fast $D$ can change.

# %%
chains = [["noise,\nclass", "generator", "samples,\nclass"], ["real pictures,\nclass"]]
plots.show(plots.pipeline(chains, ["batch", "discriminator", "real or\ngenerated?"]))

# %% [markdown]
# ## Build it: two losses, one game

# %%
# Scores (n,) of real and of generated pictures -> losses of discriminator and generator.
def hinge_losses(real, fake):
    of_discriminator = torch.clamp(1 - real, min=0).mean() + torch.clamp(1 + fake, min=0).mean()
    return of_discriminator, -fake.mean()


scores = torch.randn(2, 64, generator=torch.Generator().manual_seed(SEED))
assert torch.allclose(torch.stack(hinge_losses(*scores)), torch.stack(generate.hinge(*scores)))

# %% [markdown]
# At each step `GAN.train` shows $D$ real and generated digits; then $G$ learns while $D$ stands still.
# Samples come from a running average of $G$'s weights.

# %%
gan, snapshots = generate.GAN(10, random_state=SEED), {}
for step in STEPS:
    gan.train(pixels[train], labels[train], until=step)
    snapshots[step] = gan.sample(labels[train], random_state=SEED)
weight = gan.discriminator_.features[0].weight.detach()  # as torch has normalised it
assert abs(np.linalg.svd(weight.numpy(), compute_uv=False)[0] - 1) < 0.1

# %%
show = np.concatenate([np.flatnonzero(labels[train] == c)[:10] for c in range(10)])
fig, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for ax, (step, samples) in zip(axes, snapshots.items(), strict=False):
    draw(ax, samples[show], f"after {step} steps")
draw(axes[3], pixels[train][show], "real")
plots.show(plots.describe(fig, "Ten samples of each digit, three ages of the GAN; real digits."))

# %% [markdown]
# Along a row: of the many ways to write a digit (the *modes* of its distribution), the generator at first makes
# one. If that stays, it is **mode collapse** (here it passes).
#
# ## Measure it: good and varied?
#
# Draw a ball around every real picture, up to its $k$-th nearest *other* real picture ($k = 3$). **Precision** is the
# fraction of the samples in at least one ball. With the roles swapped it is **recall**: the fraction of the real
# pictures in a ball around a sample (Kynkäänniemi et al. 2019, *NeurIPS*,
# [arXiv:1904.06991](https://arxiv.org/abs/1904.06991)). The features are 12
# principal components of the two runs for settings; photographs need a trained network.

# %%
project = PCA(12, random_state=0).fit(pixels[validation]).transform
real, samples = project(pixels[train]), project(snapshots[STEPS[-1]])  # (n, 12)
radius = generate.radii(real, k=3)  # (n,), how they are found is part of Exercise 3 (extra)
inside = (cdist(samples, real) <= radius).any(axis=1)
assert np.isclose(inside.mean(), generate.precision(real, samples, k=3))

# %% [markdown]
# What would a perfect generator score? Not 1. The **control** is real: held-out digits of the same people.

# %%
# Precision and recall of rows of pixels, of as many as are held out.
def quality(rows, draw=SEED):
    rows = project(np.random.default_rng(draw).permutation(rows)[: len(held_out)])
    return {"precision": generate.precision(real, rows), "recall": generate.precision(rows, real)}


rows = {f"GAN, {step} steps": samples for step, samples in snapshots.items()}
rows |= {"held out, same people": pixels[held_out], "training digits, copied": pixels[train]}
table = pd.DataFrame({name: quality(some) for name, some in rows.items()}).T
draws = pd.DataFrame([quality(snapshots[STEPS[-1]], draw) for draw in range(20)])
print(f"GAN, {STEPS[-1]} steps, 20 draws of samples:", draws.agg(["min", "max"]).round(2).to_dict("list"))
table.round(2)

# %% tags=["claim"]
first, last = table.loc[f"GAN, {STEPS[0]} steps"], table.loc[f"GAN, {STEPS[2]} steps"]
control = table.loc["held out, same people"]
assert first["recall"] < 0.1 and last["recall"] > first["recall"] + 0.2
assert last["precision"] > 0.85 and control["recall"] > last["recall"] + 0.03
assert table.loc["training digits, copied", "precision"] == 1
assert table.loc["training digits, copied", "recall"] > control["recall"] - 0.1

# %% [markdown]
# Recall rises while the GAN trains, and stays below the control in all 20 draws of samples (one GAN; table: best draw). Precision alone
# says little: see 100 steps. **Copies (last row) score about as well as real digits do**.

# %% [markdown] tags=["extra"]
# ### Which modes are missing? (extra)
#
# Count modes that you can name: a digit as one person writes it, 70 in all. A sample meets the mode of its nearest
# training digit of its class.

# %% tags=["extra"]
def modes(rows, classes):
    """How many digits meet each mode, (7 people, 10 classes)."""
    other = np.where(labels[train] == classes[:, None], 0, np.inf)
    nearest = train[(cdist(project(rows), real) + other).argmin(axis=1)]
    counts = np.zeros((14, 10), int)
    np.add.at(counts, (run_of[nearest], labels[nearest]), 1)
    return counts[np.unique(run_of[train])]


some = np.random.default_rng(SEED).permutation(len(train))[: len(held_out)]
ages = [name for name in rows if name.startswith("GAN")]
met = {name: modes(rows[name][some], labels[train][some]) for name in ages}
met["held out, same people"] = modes(pixels[held_out], labels[held_out])
coverage = pd.Series({name: (counts > 0).sum() for name, counts in met.items()})
coverage.rename("modes met, of 70").to_frame()

# %% tags=["extra"]
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained", sharey=True)
for ax, name in zip(axes, [ages[0], ages[2], "held out, same people"], strict=True):
    shades = ax.imshow(met[name], cmap="Blues", vmin=0, vmax=8)
    for row, column in np.argwhere(met[name] == 0):
        ax.plot(column, row, "x", color=plots.style.VERMILLION)
    ax.set(title=name, xlabel="digit", xticks=range(10), yticks=range(7))
axes[0].set(ylabel="run", yticklabels=np.unique(run_of[train]))
fig.colorbar(shades, ax=axes, label="digits", extend="max")
plots.show(plots.describe(fig, "Digits that meet each of 70 modes; a cross where none does."))

# %% tags=["claim", "extra"]
assert coverage[f"GAN, {STEPS[0]} steps"] < coverage[f"GAN, {STEPS[2]} steps"] - 5

# %% [markdown]
# ## Does it copy?
#
# Take the distance, in pixels, of each sample and of each held-out digit to its nearest training digit. The **copying
# score** is the probability that a sample is nearer: 0.5 for a fair generator, 1 for a copier, anything for a collapsed one
# (after Meehan et al. 2020, *AISTATS*, [arXiv:2004.05675](https://arxiv.org/abs/2004.05675)). We plant copies: a
# fraction of the samples becomes training digits, a little paler. Luck: for the oldest GAN, held-out digits and samples
# are drawn anew, with replacement.

# %%
suspects = {f"GAN, {step} steps": samples for step, samples in snapshots.items()}
early, late = (f"GAN, {step} steps" for step in STEPS[1:])
for fraction in (0.1, 0.5, 1):
    copied = np.random.default_rng(SEED).random(len(train)) < fraction
    mixed = np.where(copied[:, None], 0.95 * pixels[train], suspects[early])
    suspects[f"{early}, {fraction:.0%} copied"] = mixed
partner = [np.random.default_rng(i).choice(train[labels[train] == labels[i]]) for i in train]
suspects["blends of two training digits"] = 0.7 * pixels[train] + 0.3 * pixels[partner]

# %%
controls = {"held out, same people": held_out, "new people": new_people}
copying = pd.DataFrame(index=list(suspects))
for who, out in controls.items():
    of = pixels[train], pixels[out]
    copying[who] = [generate.copying(*of, some) for some in suspects.values()]
luck = []
for draw_rng in map(np.random.default_rng, range(20)):
    again = draw_rng.choice(pixels[held_out], len(held_out)), draw_rng.choice(suspects[late], len(train))
    luck.append(generate.copying(pixels[train], *again))
print(f"{late}, drawn anew 20 times: from {min(luck):.2f} to {max(luck):.2f}")
copying.round(2)

# %% tags=["claim"]
fair, wrong = copying["held out, same people"], copying["new people"]
assert fair[late] > fair[early] + 0.03 and min(luck) > 0.52
assert fair[f"{early}, 10% copied"] - fair[early] < max(luck) - min(luck)
assert fair[f"{early}, 100% copied"] > 0.95 and fair[f"{early}, 50% copied"] > fair[early] + 0.1
assert wrong[late] > fair[late] + 0.04
assert fair["blends of two training digits"] > 0.6

# %% [markdown]
# Planted copies raise the score, but a tenth of copies moves it by less than the range of that luck. Half copied
# scores little above the GAN after 2,000 steps: look at the nearest pairs, too. **The longer this GAN trains, the
# nearer its samples come to the training digits**, in the end nearer than held-out digits are, and by more than luck.
# That need not be copying: blends of training digits score high, too.
#
# The second column has the wrong control. Against **new people** every generator looks more like a copier: it draws
# like the people it knows.
#
# ## In our longer run: does it help retrieval?
#
# `tools/generative_runs.py` trained embeddings with $k$ labels per class, on real digits, on generated ones, or on
# both. **Steps and batches are equal, and the generator saw the same $k$ labels and nothing else.** Rates and the
# mixture (never none) were chosen on the validation runs; the GAN, not tuned, has **1,500 steps at every k**. The
# strong control is *plain augmentation*: crops and rotations, of a strength chosen for real digits. The score is mAP
# on new people, digits of the query's own person being junk. Three seeds draw people, labels, weights.

# %%
runs = pd.read_csv(datasets.shipped_file("generative.csv"))
ALL = runs["k"].max()
main = runs[runs["trained on"].isin(["real", "generated", "both"])]
longer = main.pivot_table(index=["augmented", "trained on"], columns="k", values="map")
longer.rename(columns={ALL: "all"}).round(3)


# %%
# Scores of one row of the table, by run and seed.
def rows_of(name, augmented, k, score):
    some = runs[(runs["trained on"] == name) & (runs["augmented"] == augmented) & (runs["k"] == k)]
    return some.set_index(["run", "seed"])[score]


# Mean difference on the same people, and its 95 % interval when people are drawn.
def gain(better, worse, k, score="map"):
    change = (rows_of(*better, k, score) - rows_of(*worse, k, score)).groupby("run").mean()
    drawn = np.random.default_rng(0).choice(change, (2000, len(change))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"gain": change.mean(), "low": low, "high": high}


# %%
questions = {
    "augmentation of the real": (("real", True), ("real", False)),
    "generated added": (("both", False), ("real", False)),
    "generated added, all augmented": (("both", True), ("real", True)),
    "generated alone, all augmented": (("generated", True), ("real", True)),
}
cases = [(what, k) for what in questions for k in (5, 10, ALL)]
gains = pd.DataFrame([{"what": what, "k": k} | gain(*questions[what], k) for what, k in cases])
by = gains.replace({"k": {ALL: "all"}}).set_index(["what", "k"])
by.loc[["generated added", "generated added, all augmented"]].round(3)

# %%
fig, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
for number, k in enumerate((5, 10, "all")):
    some = by.xs(k, level="k").loc[list(questions)]
    around = [some["gain"] - some["low"], some["high"] - some["gain"]]
    look = {"fmt": plots.style.MARKERS[number], "color": plots.style.COLOURS[number]}
    y = np.arange(4) + 0.18 * (number - 1)
    ax.errorbar(some["gain"], y, xerr=around, label=f"k = {k}", **look)
ax.axvline(0, color="0.5", lw=1, ls="--")
shown_as = ["real: augmented − not", "both − real", "both − real, augmented", "generated − real, augmented"]
ax.set(xlabel="difference in mAP", yticks=range(4), yticklabels=shown_as)
ax.invert_yaxis()
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Gains in mAP at three numbers of labels, with 95 % intervals."))

# %% tags=["record"]
# A recorded run; SEED has no part in it.
for k in (5, 10):
    assert by.loc[("augmentation of the real", k), "low"] > 0
    for added in ("generated added", "generated added, all augmented"):
        assert abs(by.loc[(added, k), "gain"]) < 0.01
        assert by.loc[(added, k), "high"] < by.loc[("augmentation of the real", 5), "low"]
assert by.loc[("generated added", "all"), "high"] < 0
assert by.loc[("generated added, all augmented", "all"), "high"] < 0
assert (by.loc["generated alone, all augmented", "high"] < -0.01).all()

# %% [markdown]
# **No gain shown, for this GAN.** Plain augmentation gains where labels are few. Generated pictures alone lose at every $k$. With all labels they cost a little beside real ones. At 5 and 10 labels it is
# undecided whether they help: the mean change is under 0.01, and at 5 no interval reaches what augmentation gives.
# (Intervals draw few people, not labels or weights: too narrow; gains count each person once.)
#
# Why? Here is a GAN trained on five digits per class, for three lengths, and as a baseline **those real digits
# alone**: 50 pictures per row.

# %% tags=["claim"]
order = np.random.default_rng(SEED).permutation(train)
few = np.concatenate([order[labels[order] == c][:5] for c in range(10)])  # (50,)
small_gan, small_rows = generate.GAN(10, random_state=SEED), {}
for step in (150, 500, 1500):
    small_gan.train(pixels[few], labels[few], until=step)
    small_rows[f"GAN, {step} steps"] = small_gan.sample(labels[few], random_state=SEED)
small_rows["the real digits alone"] = pixels[few]
out = project(pixels[held_out])
small = pd.DataFrame({"recall of held-out digits": {name: generate.precision(project(x), out) for name, x in small_rows.items()}})
small["copying score"] = [generate.copying(pixels[few], pixels[held_out], x) for x in small_rows.values()]
assert small.iloc[0, 0] < 0.2 and small.iloc[0, 1] > 0.7  # averages
assert small.iloc[3, 0] > small.iloc[2, 0] + 0.15 and small.iloc[2, 1] > 0.9
small.round(2)

# %% [markdown]
# No length of the three recalls as much as the digits that the GAN learned from. (Fifty pictures have large balls:
# compare equal numbers only.) After 150 steps the score is high and recall near 0: these are
# no copies, but averages of five digits. Only when samples vary does a high score speak of copies. So look at them: each
# sample above its nearest training digit. **Which of the three is a copier's?**

# %%
one_each = [np.flatnonzero(labels[held_out] == c)[0] for c in range(10)]
pairs = {
    "GAN of 50 digits, 1,500 steps": (small_rows["GAN, 1500 steps"][::5], pixels[few]),
    f"GAN of {len(train)} digits, {STEPS[2]:,} steps": (suspects[late][show[::10]], pixels[train]),
    "digits held out": (pixels[held_out[one_each]], pixels[train]),
}
fig, axes = plt.subplots(3, 1, figsize=(6.5, 5), layout="constrained")
for ax, (name, (some, known)) in zip(axes, pairs.items(), strict=True):
    apart = cdist(some, known)
    title = f"{name}: mean distance {apart.min(axis=1).mean():.2f}"
    draw(ax, np.concatenate([some, known[apart.argmin(axis=1)]]), title)
plots.show(plots.describe(fig, "Digits above their nearest training digits: two GANs, and held out."))

# %% [markdown]
# The first: its digits lie far nearer to training digits than held-out digits do, although each looks like a fresh one
# while it stands alone. In the longer run, with as many samples as held-out digits (smaller balls):

# %% tags=["record"]
made_by = runs[runs["trained on"] == "generator"].groupby("k")
made_by = made_by[["recall", "copying"]].mean().rename(index={ALL: "all"})
assert made_by.loc[[5, 10], "copying"].min() > 0.9 and made_by.loc[[5, 10], "recall"].max() < 0.5
made_by.round(2)

# %% [markdown]
# With few labels nearly all samples lie nearer to training digits than held-out digits do, and few held-out digits are
# recalled.
#
# ## A search
#
# One network learns from the 50 real digits, one from them and 300 samples. **Predict**: which finds
# more digits of new people?

# %%
# The hidden layer of a small network that learns to name digits, for new people's digits.
def embedding(rows, names):
    net = MLPClassifier((64,), max_iter=2000, random_state=SEED).fit(rows, names)
    return normalize(np.maximum(pixels[new_people] @ net.coefs_[0] + net.intercepts_[0], 0))


asked = np.repeat(np.arange(10), 30)
made_few = small_gan.sample(asked, random_state=SEED)
both = np.concatenate([pixels[few], made_few]), np.concatenate([labels[few], asked])
embedded = {"real": embedding(pixels[few], labels[few]), "real and generated": embedding(*both)}

# %%
person, found, query = run_of[new_people], {}, rng.integers(len(new_people))
fig, axes = plt.subplots(2, 1, figsize=(7, 2.6), layout="constrained")
for ax, (name, vectors) in zip(axes, embedded.items(), strict=True):
    scores = vectors @ vectors.T - 9 * (person[:, None] == person)  # digits of the same person are junk
    best = np.argsort(-scores, axis=1)[:, :9]
    hits = labels[new_people][best] == labels[new_people][:, None]
    found[name] = pd.Series(hits.mean(axis=1)).groupby(person).mean()  # precision at 9, for each person
    draw(ax, pixels[new_people[np.append(query, best[query])]], f"learned from {name}: query, nine results")
plots.show(plots.describe(fig, "A query and nine results, by two networks: one of real digits, one of real and generated."))
pd.DataFrame(found).assign(change=lambda table: table["real and generated"] - table["real"]).round(3)

# %% [markdown]
# The fraction of right results among nine, for each new person, changes by less than 0.01 (one draw).

# %% [markdown] tags=["extra"]
# ## A misleading gain: what else the generator saw (extra)
#
# In many experiments the generator has seen more than the labels at hand: a *leak*. Here: five labels per
# class, and samples of the generator that saw *all* labels.

# %% tags=["record", "extra"]
# A recorded run; SEED has no part in it.
of_row = runs[runs["augmented"].astype(str) == "True"].groupby(["trained on", "k"])["map"].mean()
seen = {"real, k = 5": ("real", 5), "both, k = 5": ("both", 5)}
seen |= {"both, k = 5, generator saw all": ("both, leak", 5), "real, all": ("real", ALL)}
leak = pd.Series({name: of_row[key] for name, key in seen.items()}, name="mAP").to_frame()
leaked = gain(("both, leak", True), ("both", True), 5)
assert leaked["low"] > 0.01
assert leak.loc["real, all", "mAP"] > leak.loc["both, k = 5, generator saw all", "mAP"] + 0.01
leak.round(3)

# %% [markdown] tags=["extra"]
# The gain is real, and is no gain of generating. The control is the last row: whoever may show all real digits to a
# generator may also train on them.

# %% [markdown] tags=["extra"]
# ## Made to order: a rare class (extra)
#
# Here generated pictures should help most: three classes have four pictures each, all others all of theirs. The
# controls draw the rare classes as often as the others ("oversampled"), or as often as they come in the batches with
# generated pictures ("oversampled more"), with and without augmentation.

# %% tags=["extra"]
rare = runs[runs["k"] == 0].assign(augmented=lambda table: table["augmented"].astype(bool))
rare.groupby(["trained on", "augmented"])[["map rare", "map other"]].mean().round(3)

# %% tags=["extra"]
made_rare, oversampled = "rare: generated added", ("rare: oversampled", "rare: oversampled more")
contrasts = {"augmentation of the oversampled": ((oversampled[0], True), (oversampled[0], False))}
for more, words in ((False, ""), (True, ", augmented")):
    for control in oversampled:
        contrasts[f"generated, against {control[6:]}{words}"] = ((made_rare, more), (control, more))
gains_of_rare = pd.DataFrame({what: gain(*pair, 0, "map rare") for what, pair in contrasts.items()}).T
gains_of_rare.round(3)

# %% tags=["record", "extra"]
# A recorded run; SEED has no part in it.
assert gains_of_rare.loc["augmentation of the oversampled", "low"] > 0
assert gains_of_rare.loc["generated, against oversampled, augmented", "low"] > 0.01
assert gains_of_rare.loc["generated, against oversampled more", "high"] < 0
assert gains_of_rare.loc["generated, against oversampled more, augmented", "high"] < 0.02
by_seed = rare[rare["augmented"]].pivot_table(index="trained on", columns="seed", values="map rare")
by_seed.round(3)

# %% [markdown] tags=["extra"]
# Against the usual oversampling, generated pictures seem to gain. But their batches show the rare classes more often.
# When the real ones are drawn as often, **the gain is gone**: it came from the sampling. At equal frequency and without
# augmentation, four real pictures per class beat what a generator makes of them; with augmentation which is better is
# undecided. (Nine rare classes, three per draw; the table shows the three
# draws with augmentation.)

# %% [markdown] tags=["extra"]
# ## Objects, and a rare view (extra)
#
# `tools/generative_objects.py` trained the same GAN on objects: twelve categories of the rendered world of [notebook
# 03](03_cnn_features.ipynb), cut out, 32 × 32 grey pixels. Four objects of each category train it, except for a fifth
# of their views, which is held out; two more are **new objects**. Features are 12 components of other categories.
#
# Then **a view made to order**: of four categories only two pictures show the object turned to the right. A GAN with
# a class for each category *and* side draws more. The strong control needs no network: views from the left, mirrored.
# An embedding learns the categories; a fifth of each batch shows the rare views: the two real pictures again
# ("oversampled"), mirrored or generated ones, or all real ones ("not rare"); "as it is" has no such fifth. The score
# is the mAP of new objects' right views.

# %% tags=["extra"]
objects = pd.read_csv(datasets.shipped_file("generative_objects.csv"))
kinds = sorted(objects["category"].dropna().unique())
world = datasets.load_tabletop()
close = datasets.close_ups(world[np.isin(world.labels, kinds)], 32)
grey = np.stack(list(close)) @ [0.299, 0.587, 0.114] / 255
cut = np.where(np.stack([close.mask(i) > 0 for i in range(len(close))]), grey, 1)  # (n, 32, 32)
turn, trains = close.column("azimuth"), np.array([int(name.split()[-1]) < 4 for name in close.column("instance")])

# %% tags=["extra"]
by_class = generate.GAN(12).load(datasets.shipped_file("generative_objects.safetensors"))
by_side = generate.GAN(36).load(datasets.shipped_file("generative_rare_view.safetensors"))
four = objects[(objects["part"] == "rare view") & (objects["seed"] == 0)]["category"].unique()
wanted = np.repeat([kinds.index(name) for name in four], 4)
views = [np.flatnonzero(trains & (close.labels == name)) for name in four]
sheets = {"real": np.concatenate([cut[some[:4]] for some in views])}
sheets["generated"] = by_class.sample(wanted, random_state=SEED)
sheets["real, to the right"] = np.concatenate([cut[some[turn[some] > 20][:4]] for some in views])
sheets["to the left, mirrored"] = np.concatenate([cut[some[turn[some] < -20][:4]][:, :, ::-1] for some in views])
sheets["to the right, generated"] = by_side.sample(3 * wanted + 2, random_state=SEED)

# %% tags=["extra"]
fig, axes = plt.subplots(1, 5, figsize=(11, 2.5), layout="constrained")
for ax, (name, some) in zip(axes, sheets.items(), strict=True):
    whole = some.reshape(-1, 4, 32, 32).transpose(0, 2, 1, 3).reshape(-1, 128)
    ax.imshow(whole, cmap="gray", vmin=0, vmax=1)
    ax.set_title(name, fontsize=10)
    ax.axis("off")
plots.show(plots.describe(fig, "Four categories: real and generated pictures; the rare view real, mirrored and generated."))

# %% tags=["record", "extra"]
# Recorded by tools/generative_objects.py; SEED has no part in it.
samples_of = objects[objects["part"] == "samples"].set_index(["row", "seed"])[["precision", "recall", "copying"]]
trained_long, unseen = samples_of.loc["GAN, 3000 steps"], samples_of.loc["held-out views"]  # three seeds each
assert (samples_of.loc["GAN, 200 steps", "recall"] < 0.3).all() and (trained_long["recall"] > 0.8).all()
assert (trained_long["precision"] > unseen["precision"]).all() and (trained_long["copying"] > 0.65).all()
samples_of.groupby("row", sort=False).mean().round(2)

# %% tags=["record", "extra"]
view = objects[objects["part"] == "rare view"].pivot(index="category", columns="row", values="map")
pick = np.random.default_rng(0).integers(len(view), size=(2000, len(view)))  # categories, drawn again and again
contests = [("not rare", "as it is"), ("mirrored", "as it is"), ("generated", "as it is")]
contests += [("generated", "oversampled"), ("generated", "mirrored")]
at_order = {}
for one, another in contests:
    change = (view[one] - view[another]).to_numpy()
    low, high = np.quantile(change[pick].mean(axis=1), (0.025, 0.975))
    at_order[f"{one} − {another}"] = {"gain in mAP": change.mean(), "low": low, "high": high}
at_order = pd.DataFrame(at_order).T
assert at_order.loc["not rare − as it is", "low"] > 0.05 and at_order.loc["generated − as it is", "high"] < 0
assert at_order.loc["generated − mirrored", "high"] < -0.02 and at_order.loc["mirrored − as it is", "low"] < 0
assert at_order.loc["generated − oversampled", "low"] < 0 < at_order.loc["generated − oversampled", "high"]
at_order.round(3)

# %% [markdown] tags=["extra"]
# Some samples can be recognised, if you know the category; all are full of noise (perhaps three linear layers are too
# few for pictures of this size), which 12 components hardly see: recall comes close to that of held-out views, and
# precision is above theirs. The copying score, on pixels, says that samples stay nearer to the training pictures than
# other views of the same objects do.
#
# **The view made to order does not help either; against leaving the batches as they are, it costs.** A rare view costs
# much (first row). Generated ones (the last panel: two pictures to learn from, nearly one picture drawn) do not bring
# it back. They cannot be told from showing the two real pictures as often, and are worse than leaving the batches as
# they are and than mirrored views. The mirror, too, is not shown to beat leaving the batches as they are: its interval
# contains 0. (Each category is rare in one of three draws; intervals draw categories. One GAN per draw, three
# embeddings, equal steps; each row's rate was chosen on other categories.) Here each category and side has a code of
# its own, so nothing tells the GAN what the right sides of a chair and of a sofa have in common. One that separates the
# two might carry the view over. We tried neither that nor a convolutional GAN.

# %% [markdown] tags=["extra"]
# ## Try it (extra)
#
# Pick a generated digit: is a training digit too near?

# %% tags=["extra"]
def as_images(rows, names, ids):
    """Rows of pixels as pictures of 32 x 32."""
    grey = np.rint(255 - 255 * rows.reshape(-1, 8, 8)).astype(np.uint8)
    grey = grey.repeat(4, axis=1).repeat(4, axis=2)
    colour = np.repeat(grey[..., None], 3, axis=3)
    return ImageCollection.from_arrays(colour, labels=[str(c) for c in names], ids=ids)


database = as_images(pixels[train], labels[train], [f"real {i}" for i in train])
new = gan.sample(np.arange(10), random_state=SEED + 1)
made = as_images(new, np.arange(10), [f"generated {c}" for c in range(10)])
by_pixels = Retriever(encoders.TinyImage(8), progress=False).fit(database)
explorer = explore.QueryExplorer(by_pixels, queries=made, k=8, by="label")
explorer

# %% tags=["extra"]
plots.show(explorer.static())

# %% [markdown] tags=["extra"]
# ## Today's choice: diffusion (extra)
#
# Today one would train, or rather take, a **diffusion model** (Ho, Jain and Abbeel 2020, *NeurIPS*,
# [arXiv:2006.11239](https://arxiv.org/abs/2006.11239)). It learns to remove noise step by step; there is no opponent, and
# mode collapse is rare. A sample costs tens to hundreds of passes through the network, not one. What
# changes for retrieval?
#
# - **It can help, when it brings data from outside.** Azizi et al. (2023, *TMLR*,
#   [arXiv:2304.08466](https://arxiv.org/abs/2304.08466)) fine-tuned a large text-to-image model on ImageNet; its
#   samples, added to the real pictures, raised ImageNet accuracy. The model had seen far more than ImageNet: compare
#   the leak above.
# - **The control is retrieval.** Geng et al. (2024, *NeurIPS*, [arXiv:2406.05184](https://arxiv.org/abs/2406.05184))
#   searched the generator's own training pictures for the task: real pictures so found matched or beat generated ones
#   throughout.
# - **It copied more than GANs where both were tested.** Carlini et al. (2023, *USENIX Security*,
#   [arXiv:2301.13188](https://arxiv.org/abs/2301.13188)) extracted more than a thousand training pictures from
#   diffusion models, and found GANs less leaky.
# - **GANs made for few pictures** are not plain ones: DiffAugment (Zhao et al. 2020, *NeurIPS*,
#   [arXiv:2006.10738](https://arxiv.org/abs/2006.10738)) augments what the discriminator sees. We measured neither
#   these nor diffusion.
# - **Do not feed it its own samples in place of data.** Models so trained lose the tails of the distribution,
#   generation by generation (Shumailov et al. 2024, *Nature* 631,
#   [doi:10.1038/s41586-024-07566-y](https://doi.org/10.1038/s41586-024-07566-y)).

# %% [markdown]
# ## Exercise 1 ★★ a test of copying
#
# Write the copying score: of all pairs of a sample and a held-out picture, the fraction in which the sample is nearer to
# its nearest training picture than the held-out picture is to its own. Ties count half.
#
# <details><summary>Hint 1: the idea</summary>
#
# Each picture becomes one number. Compare all numbers of one list with all of the other.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `.min(axis=1)` of a `cdist`; `a[:, None]` beside `b` compares all pairs.
#
# </details>

# %% tags=["exercise"]
def copying_score(train, held_out, samples):
    """Three arrays (n, d), each with at least one row -> a float from 0 to 1."""
    raise NotImplementedError


checks.check_copying_score(copying_score)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_copying_score(train, held_out, samples):
    mine, theirs = (cdist(one, train).min(axis=1) for one in (samples, held_out))
    return (mine[:, None] < theirs).mean() + (mine[:, None] == theirs).mean() / 2


checks.check_copying_score(solution_copying_score)

# %% [markdown]
# With your function: a mean could hide a generator that copies one class.

# %%
fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
for number, name in enumerate((early, late, f"{early}, 50% copied")):
    per_class = []
    for c in range(10):
        of_train, out = train[labels[train] == c], held_out[labels[held_out] == c]
        given = pixels[of_train], pixels[out], suspects[name][labels[train] == c]
        per_class.append(first_written("copying_score", *given))
    look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "ls": ""}
    if None not in per_class:
        ax.plot(range(10), per_class, label=name, **look)
ax.axhline(0.5, color="0.5", lw=1, ls="--")
ax.set(xlabel="digit", ylabel="copying score", xticks=range(10), ylim=(0, 1))
ax.legend(fontsize=8, frameon=False)
plots.show(plots.describe(ax, "Copying score of each digit: two ages of the GAN, and half copied."))

# %% [markdown]
# ## Exercise 2 ★★★ open: which samples are worth keeping?
#
# You have five real digits per class, and 300 samples of a bad generator with the labels they were made for: nearly a
# third have a random label, nearly a third are mixed half and half with another digit. Return which to keep. The
# nearest neighbour among the real digits and what you keep has to name other people's digits better, by 0.02, than the
# real ones alone and than everything (mean of four draws). **Predict**: a few that are surely right, or many?
# **Defend** your rule by the accuracies that the check prints.
#
# <details><summary>Hint 1: the idea</summary>
#
# You have 50 pictures whose labels you trust. What would they call a sample?
#
# </details>
# <details><summary>Hint 2: where to look</summary>
#
# Distances of samples to real digits, or to what stands for a class.
#
# </details>

# %% tags=["exercise"]
def keep_samples(real, labels, samples, sample_labels):
    """Real (n, 64), labels (n,), samples (m, 64), labels they were made for (m,) -> bool (m,)."""
    raise NotImplementedError


checks.check_keep_samples(keep_samples)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_keep_samples(real, labels, samples, sample_labels):
    return labels[cdist(samples, real).argmin(axis=1)] == sample_labels


checks.check_keep_samples(solution_keep_samples)

# %% [markdown]
# With your function, on the GAN above after 1,500 steps, three labels in ten drawn anew: the change for each new person from the 50 real digits alone. By the solution hardly any gain is left, nor any harm.

# %%
said, by_lot = asked.copy(), np.random.default_rng(SEED)
drawn_anew = by_lot.random(300) < 0.3
said[drawn_anew] = by_lot.integers(10, size=drawn_anew.sum())
kept = first_written("keep_samples", pixels[few], labels[few], made_few, said)
choices = {"all samples": np.ones(300, bool), "what you keep": kept}

# %%
fig, ax = plt.subplots(figsize=(6, 2.4), layout="constrained")
alone = labels[few][cdist(pixels[new_people], pixels[few]).argmin(axis=1)] == labels[new_people]
written = {name: mask for name, mask in choices.items() if mask is not None}
for number, (name, mask) in enumerate(written.items()):
    known = np.concatenate([pixels[few], made_few[mask]])
    names = np.concatenate([labels[few], said[mask]])
    hits = names[cdist(pixels[new_people], known).argmin(axis=1)] == labels[new_people]
    change = pd.Series(hits.astype(float) - alone).groupby(run_of[new_people]).mean()
    look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number], "ls": ""}
    label = f"{name}: mean {change.mean():+.3f}"
    ax.plot(np.arange(5) + 0.1 * number, change, label=label, **look)
ax.axhline(0, color="0.5", lw=1, ls="--")
ax.set(xlabel="new person", ylabel="change in accuracy", xticks=range(5))
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Change in accuracy of five new people: all samples, those kept."))

# %% [markdown] tags=["extra"]
# ## Exercise 3 ★★ coverage of the real pictures (extra)
#
# Recall is blind in its own way: one sample far out has a huge ball. **Coverage** (Naeem et al. 2020, *ICML*,
# [arXiv:2002.09797](https://arxiv.org/abs/2002.09797)) draws balls around the *real* pictures only: what
# fraction of them holds a sample? A ball reaches to the `k`-th nearest other real picture, edge included (`k` ≥ 1), or
# to the farthest if there are fewer. A copy at distance 0 is another picture. There are at
# least two real pictures; without samples the answer is 0. Do not use `generate`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two tables of distances: among the real pictures, and from them to the samples.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.fill_diagonal`, `np.sort` with an axis, and `min` for a `k` that is too large.
#
# </details>

# %% tags=["extra", "exercise"]
def sample_coverage(real, samples, k):
    """Real (n, d), samples (m, d), a whole number -> a float from 0 to 1."""
    raise NotImplementedError


checks.check_sample_coverage(sample_coverage)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_sample_coverage(real, samples, k):
    among = cdist(real, real)
    np.fill_diagonal(among, np.inf)
    reach = np.sort(among, axis=1)[:, min(k, len(real) - 1) - 1]
    return float((cdist(real, samples) <= reach[:, None]).any(axis=1).mean())


checks.check_sample_coverage(solution_sample_coverage)

# %% [markdown] tags=["extra"]
# With your function (or the solution's): is coverage at 2,000 steps above the control? What may that mean? See the
# copying score.

# %% tags=["extra"]
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
for number, name in enumerate([*(f"GAN, {step} steps" for step in STEPS), "held out, same people"]):
    some = pixels[held_out] if number == 3 else snapshots[STEPS[number]][: len(held_out)]
    some = project(some)
    curve = [first_written("sample_coverage", real, some, k) for k in (1, 2, 3, 5, 8)]
    look = {"color": plots.style.COLOURS[number], "marker": plots.style.MARKERS[number]}
    if None not in curve:
        ax.plot((1, 2, 3, 5, 8), curve, label=name, **look)
ax.set(xlabel="k", ylabel="coverage", ylim=(0, 1))
ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
plots.show(plots.describe(ax, "Coverage against k: three ages of the GAN, and held-out digits."))

# %% [markdown]
# ## What we learned
#
# - A GAN can draw good pictures and few kinds: **precision and recall** tell. Both are blind to copies.
# - A **copying test** needs planted copies, and a control drawn like the training pictures.
# - A generator that saw only your pictures knows nothing beyond them, except what its design assumes. With five labels
#   per class a plain GAN gave less than plain augmentation; with ten this is undecided.
# - Control what else the generator saw, (extra).
#
# ### Check yourself
#
# <details><summary>1. Precision 0.95 and recall 0.05: what do the samples look like?</summary>
#
# Good, and all alike: mode collapse.
#
# </details>
# <details><summary>2. Precision and recall equal those of held-out pictures. What do you test next?</summary>
#
# Whether the samples are the training pictures.
#
# </details>
# <details><summary>3. Samples of a pretrained generator help. Which control is due? (extra)</summary>
#
# Real pictures from its training set.
#
# </details>
# <details><summary>4. A generator of employees' faces gets a copying score of 0.9 against strangers. Is it a
# copier?</summary>
#
# You cannot tell: hold out other pictures of the employees.
#
# </details>

# %% [markdown] tags=["extra"]
# ## What breaks at a million images (extra)
#
# The measures need all distances between samples and real pictures: use an index ([notebook
# 12](12_approximate_search.ipynb)) or a random part. Recall depends on the number of pictures.
#
# ### Further reading
#
# - Ravuri and Vinyals (2019), *Classification accuracy score*, NeurIPS,
#   [arXiv:1905.10887](https://arxiv.org/abs/1905.10887). Train on samples, test on real pictures: BigGAN lost 28
#   points on ImageNet.
# - Heusel et al. (2017), *GANs trained by a two time-scale update rule*, NeurIPS,
#   [arXiv:1706.08500](https://arxiv.org/abs/1706.08500): FID, the usual score. One number for quality and variety.
# - Naeem et al. (2020), [arXiv:2002.09797](https://arxiv.org/abs/2002.09797). What is wrong with measures of samples.
# - Meehan et al. (2020), [arXiv:2004.05675](https://arxiv.org/abs/2004.05675). Copying, region by region.
#
# <!-- links:start -->
# Previous: [22_adversarial](22_adversarial.ipynb) · [course map](00_start_here.ipynb) · Next: [24_your_own_dataset](24_your_own_dataset.ipynb)
# <!-- links:end -->
