# %% [markdown]
# # 05 · Transfer learning: what does a frozen network know of a domain it never saw?
#
# **Question.** A network that learned from photographs is given drawings, aerial images, digits, handwriting. It may
# not learn anything new. What does it transfer to which domain, and how many labels does that save?
#
# **Time:** about a minute and a half to run on two cores, offline. **Before this:** [notebook 00](00_start_here.ipynb),
# [notebook 01](01_measuring_retrieval.ipynb) for the numbers, [notebook 03](03_cnn_features.ipynb) for what pooled
# features are.
#
# <!-- links:start -->
# Previous: [04_multi_scale](04_multi_scale.ipynb) · [course map](00_start_here.ipynb) · Next: [06_domain_fine_tuning](06_domain_fine_tuning.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **measure** what one frozen network is worth in a domain, against features that nobody trained;
# - **fit** a linear probe in closed form and **tune** it without the test set;
# - **compare** probe, nearest neighbours, training from scratch and fine-tuning by the labels that each needs;
# - **recognise** negative transfer, and keep classification and retrieval of new classes apart.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from cbirkit import Ranking, Retriever, checks, compare, datasets, encoders, evaluate, explore, plots
from cbirkit.learning import ImageBatches, train
from cbirkit.nets.conv5 import Conv5

# %%
SEED = 0
BACKBONE = "tiny"  # "resnet50" where there is internet, with PROFILE "full": only vectors of tiny and lite0 ship
PROFILE = "quick"  # "full": encode the real images anew, from the folder that CBIRKIT_REALDATA names

# %% [markdown]
# ## The goal
#
# The images are line drawings of rendered objects, of 12 categories. The network (`tiny`) learned to
# name the photographs of ImageNet, and nobody ever told it what these drawings are. It is **frozen**: it learns nothing here.
# Below, a query and what the network finds for it; then what a grid of gradients (HOG) finds. Other views of the
# query's own object are left out, because finding them is easier than finding another mug. Six queries in ten are
# served worse than this one by the network.
#
# **Before you run the cells, predict:** in which of these domains does a network trained on photographs lose to
# features that nobody trained: paintings, line drawings, aerial images, handwritten letters, digits?

# %%
encoder_of = {
    "frozen network": encoders.Deep(BACKBONE),
    "random network": encoders.Deep(BACKBONE, weights=None),
    "colour": encoders.ColorHistogram(),
    "HOG": encoders.HOG(size=64, cell=16),
}
colour_of = dict(zip(encoder_of, (plots.style.BLUE, plots.style.BLACK, plots.style.VERMILLION, plots.style.PURPLE), strict=True))


def rank(embeddings, ids):
    """Rank all images for each of them, itself left out."""
    X = normalize(embeddings.astype(np.float64))  # (n_images, n_dims)
    return Ranking.from_distances(np.maximum(1 - X @ X.T, 0), ids, ids, exclude_self=True)


# %%
def drawn(labels, n, seed, held_out=None):
    """A mask (n_images,) of `n` images of each class, none of them held out."""
    random = np.random.default_rng([seed, n])
    free = np.ones(len(labels), bool) if held_out is None else ~held_out
    rows = [random.permutation(np.flatnonzero((labels == c) & free))[:n] for c in np.unique(labels)]
    return np.isin(np.arange(len(labels)), np.concatenate(rows))


# %%
pictures = datasets.load_tabletop("domains")
drawings = pictures[pictures.column("domain") == "drawing"]
drawing_rankings = {name: rank(encoder.transform(drawings), drawings.ids) for name, encoder in encoder_of.items()}
rankings, truths = {"drawings": drawing_rankings}, {"drawings": drawings.relevance(by="label", junk="instance")}

# %%
goal, truth = rankings["drawings"], truths["drawings"]
scores = evaluate(goal["frozen network"], truth, metrics=["map"], n_bootstrap=0).per_query["map"]
shown = scores.sort_values(kind="stable").index[int(0.6 * len(scores))]
plots.show(plots.ranked_list(goal["frozen network"], drawings, relevance=truth, rows=[shown], k=8), dpi=64)

# %%
plots.show(plots.ranked_list(goal["HOG"], drawings, relevance=truth, rows=[shown], k=8), dpi=64)

# %% [markdown]
# ## Background
#
# A frozen network is an encoder $\phi$ that gives each image $I$ an embedding $x = \phi(I)$ of shape $(d,)$. Razavian et al. (2014, *CVPR workshops*, [arXiv:1403.6382](https://arxiv.org/abs/1403.6382)) showed that
# such features, taken as they are, beat most of what had been made by hand for a task. Yosinski et al. (2014,
# *NeurIPS*, [arXiv:1411.1792](https://arxiv.org/abs/1411.1792)) showed that the further a task lies from the first
# one, the less the late layers are worth.
#
# A **linear probe** learns only a linear layer on top. Put the labelled embeddings into a matrix $X$ of shape
# $(n, d)$ and their labels into $Y$ of shape $(n, c)$, with +1 in the column of the class and −1 elsewhere. Subtract
# the means $\bar x$ and $\bar y$, and solve ridge regression:
#
# $$W = (X^\top X + \lambda I)^{-1} X^\top Y, \qquad s(x) = (x - \bar x)\, W + \bar y$$
#
# $W$ has the shape $(d, c)$, $\lambda > 0$ is the strength that keeps it small, and the class with the largest of the
# $c$ scores $s(x)$ is the answer. Nearest neighbours need no fit at all: the $k$ most similar labelled images vote.

# %% [markdown]
# ## Twelve domains
#
# Of real photographs, paintings, aerial images and letters only the embeddings ship with this course
# (`datasets.load_real`): *clothing*; *PACS* with its parts *photo*, *art*, *cartoon* and *sketch* (Li et al. 2017,
# *ICCV*, [arXiv:1710.03077](https://arxiv.org/abs/1710.03077)); *satellite* (RSSCN7); *letters* (Omniglot; Lake et al.
# 2015, *Science*, [doi:10.1126/science.aab3050](https://doi.org/10.1126/science.aab3050)). *Tabletop*, *night* and
# *drawings* are rendered; *digits* come with scikit-learn. `tiny`, a rounded EfficientNet-Lite0, has met none of the twelve.

# %%
real = {name: datasets.load_real(name) for name in ("clothing", "pacs", "satellite", "omniglot")}
SHIPPED = {"frozen network": "tiny", "random network": "random", "colour": "colour", "HOG": "HOG"}


def real_embeddings(features):
    """Embeddings of one real set by each encoder: those that ship, or made anew."""
    if PROFILE == "full":
        images = features.images()
        return {name: encoder.transform(images) for name, encoder in encoder_of.items()}
    return {name: features.embeddings(shipped) for name, shipped in SHIPPED.items()}


tables = {name: real_embeddings(features) for name, features in real.items()}

# %%
domain = real["pacs"].column("domain")
parts = {"clothing": ("clothing", None), "satellite": ("satellite", None), "letters": ("omniglot", None)}
parts |= {name: ("pacs", domain == name) for name in ("photo", "art", "cartoon", "sketch")}
for name, (which, rows) in parts.items():
    features = real[which]
    truths[name] = features.relevance(rows, rows)
    rankings[name] = {encoder: features.ranking(X, rows, rows) for encoder, X in tables[which].items()}

# %%
objects = datasets.load_tabletop()
objects = objects[~objects.column("seen_category").astype(bool)]  # 16 categories
digits = datasets.load_digits()
few = drawn(digits.labels, 30, SEED)  # thirty of each
made_here = {
    "photo views": datasets.load_photo_views(n_objects=50, n_views=5, n_distractors=0, random_state=SEED),
    "tabletop": objects,
    "night": pictures[pictures.column("domain") == "night"],
    "drawings": drawings,
    "digits": digits.subset(few),
}

# %%
encoded = {}
for name, images in made_here.items():
    own = "instance" in images.table
    by = {"by": "instance"} if name == "photo views" else {"by": "label", "junk": "instance" if own else None}
    truths[name] = images.relevance(**by)
    encoded[name] = {e: encoder.transform(images) for e, encoder in encoder_of.items()}
    rankings[name] = {e: rank(X, images.ids) for e, X in encoded[name].items()}

# %% [markdown]
# Relevant is what shows the same class (for *photo views* the same piece; rendered views of the query's own object do not
# count). Chance differs from domain to domain, so compare within a row, not between rows. The random network is the
# same network before it learned anything. The intervals draw whole classes (pieces for *photo views*): they say what
# to expect of other classes, and with seven classes they are wide.

# %%
ORDER = ["photo views", "photo", "tabletop", "clothing", "night", "art"]
ORDER += ["cartoon", "sketch", "drawings", "satellite", "letters", "digits"]
groups = {name: images.column("instance" if name == "photo views" else "label") for name, images in made_here.items()}
for name, (which, rows) in parts.items():
    groups[name] = real[which].labels if rows is None else real[which].labels[rows]
how = {"metrics": ["map"], "ties": "expected", "random_state": SEED}
summaries = {
    (name, e): evaluate(rankings[name][e], truths[name], groups=groups[name], **how).summary.loc["map"]
    for name in ORDER
    for e in encoder_of
}
found = pd.DataFrame({pair: s[["mean", "low", "high"]] for pair, s in summaries.items()}).T
found["mAP"] = [f"{m:.3f} ({low:.3f} to {high:.3f})" for m, low, high in found.to_numpy(float)]
found["mAP"].unstack().loc[ORDER, list(encoder_of)]

# %% [markdown]
# Who is first where? The height is the place among the four, the number the mAP.


# %% tags=["gallery"]
means = found["mean"].astype(float).unstack().loc[ORDER, list(encoder_of)]  # (12 domains, 4 encoders)
places = means.rank(axis=1, ascending=False)
fig, ax = plt.subplots(figsize=(9, 4.8), layout="constrained")
for number, name in enumerate(encoder_of):
    style = {"color": colour_of[name], "marker": plots.style.MARKERS[number], "ms": 11}
    ax.plot(range(len(ORDER)), places[name], label=name, ls=plots.style.LINES[number], **style)
    for x, (place, value) in enumerate(zip(places[name], means[name], strict=True)):
        ax.annotate(f"{value:.2f}", (x, place), (0, 9), textcoords="offset points", ha="center", fontsize=9)
ax.set(ylim=(4.4, 0.5), yticks=range(1, 5), ylabel="place (1 is best)")
ax.set_title(f"First in {(places['frozen network'] == 1).sum()} of {len(ORDER)} domains: the frozen network (numbers: mAP)", fontsize=15)
ax.set_xticks(range(len(ORDER)), ORDER, rotation=30, ha="right", fontsize=12)
fig.legend(frameon=False, ncols=4, loc="outside lower center", fontsize=13)
leads = ", ".join(f"{name}: {means.loc[name].idxmax()}" for name in ORDER)
plots.show(plots.describe(ax, f"Places of four encoders in twelve domains. First are: {leads}."))


# %%
def ahead(name, better, worse):
    """Paired difference of mAP of two encoders in one domain: low end, mean, high end."""
    chosen = {e: rankings[name][e] for e in (better, worse)}
    row = compare(chosen, truths[name], ties="expected", groups=groups[name], n_draws=2000, random_state=SEED).pairs.iloc[0]
    sign = 1 if row["a"] == better else -1
    return tuple(sorted(sign * row[["difference", "low", "high"]].to_numpy(float)))


flips = {pair: ahead(*pair) for name in ORDER for pair in [(name, "frozen network", "HOG")]}
flips |= {pair: ahead(*pair) for pair in [("satellite", "colour", "HOG"), ("clothing", "HOG", "colour")]}
since_training = ("digits", "frozen network", "random network")
flips[since_training] = ahead(*since_training)
pd.DataFrame(flips, index=["low", "mAP ahead", "high"]).T.round(3)

# %% tags=["claim"]
network = "frozen network"
for name in ("photo views", "photo", "tabletop", "clothing", "art", "cartoon", "satellite"):
    assert flips[name, network, "HOG"][0] > 0.02, name
assert flips["digits", network, "HOG"][2] < -0.02  # and here the order is the other way round
assert flips["satellite", "colour", "HOG"][1] > 0.02  # a second pair that changes places
assert flips["clothing", "HOG", "colour"][1] > 0.02

# %%
words = []
for name in ("sketch", "drawings", "letters"):
    low, middle, high = flips[name, network, "HOG"]
    order = "ahead of" if low > 0 else "behind" if high < 0 else "not to be told from"
    words.append(f"on *{name}* it is {order} HOG ({middle:+.3f}, {low:+.3f} to {high:+.3f})")
Markdown(
    f"How far a domain looks from photographs does not tell who wins: {'; '.join(words)}. On *digits* of 8 × 8 pixels plain gradients have "
    f"{means.loc['digits', 'HOG']:.2f}, the network {means.loc['digits', network]:.2f}, and the same "
    f"network before it learned anything {means.loc['digits', 'random network']:.2f}. On *satellite*, where fields are green and car parks "
    "grey, colour beats gradients; on *clothing* it is the other way round. **Measure in your own domain; a ranking of methods "
    "does not transfer.** These sets are small, so the numbers compare methods with one another and do not stand beside published ones."
)

# %% [markdown]
# How much do the pixels matter? `lite0` has the same weights, not rounded, and sees 224 × 224 pixels instead of 160 × 160:

# %%
larger = {}
for name, (which, rows) in parts.items():
    teacher = real[which].ranking("lite0", rows, rows)
    row = evaluate(teacher, truths[name], groups=groups[name], **how).summary.loc["map", "mean"]
    larger[name] = {"tiny": means.loc[name, network], "lite0": row}
pd.DataFrame(larger).T.assign(kept=lambda t: t["tiny"] / t["lite0"]).round(3)

# %% [markdown]
# ### The gap between domains
#
# One network, the same seven classes, four ways to depict them. The map is a projection by PCA, an illustration;
# how far it can be trusted stands above it, and no claim rests on it.

# %%
plots.show(plots.embedding_map(tables["pacs"][network], domain, random_state=SEED), dpi=64)

# %%
photo, sketch = domain == "photo", domain == "sketch"
cases = {"photo → photo": (photo, photo), "sketch → sketch": (sketch, sketch), "sketch → photo": (sketch, photo)}
across = {}
for name, (asked, searched) in cases.items():
    ranking = real["pacs"].ranking(tables["pacs"][network], asked, searched)
    relevance = real["pacs"].relevance(asked, searched)
    across[name] = evaluate(ranking, relevance, metrics=["map", "p@1"], random_state=SEED).summary["mean"]
pd.DataFrame(across).T.round(3)

# %% tags=["claim"]
assert across["sketch → photo"]["map"] < min(across[c]["map"] for c in ("photo → photo", "sketch → sketch")) - 0.1

# %% [markdown]
# Within each domain the network knows its way; from one to the other much of that is lost. Notebook 17, still to come,
# will take that up.
#
# ## Build it: a linear probe
#
# The formula of the background, in NumPy:


# %%
def fit_probe(embeddings, labels, strength):
    """Ridge probe: embeddings (n, d), labels (n,) -> a function from embeddings (m, d) to scores (m, c)."""
    classes = np.unique(labels)
    targets = np.where(labels[:, None] == classes, 1.0, -1.0)  # (n, c)
    centre, middle = embeddings.mean(axis=0), targets.mean(axis=0)  # (d,), (c,)
    X = embeddings - centre
    gram = X.T @ X + strength * np.eye(X.shape[1])  # (d, d)
    weights = np.linalg.solve(gram, X.T @ (targets - middle))  # (d, c)
    return lambda queries: (queries - centre) @ weights + middle


# %%
clothes, garment = tables["clothing"][network].astype(np.float64), real["clothing"].labels
draw = np.random.default_rng(SEED).permutation(len(clothes))
learn, test = draw[:200], draw[200:]
ours = fit_probe(clothes[learn], garment[learn], 0.1)(clothes[test])  # (800, 10)
library = RidgeClassifier(alpha=0.1).fit(clothes[learn], garment[learn])
assert np.allclose(ours, library.decision_function(clothes[test]), atol=1e-6)
answers = library.classes_[ours.argmax(axis=1)]
print(f"accuracy on {len(test)} images with {len(learn)} labels: {(answers == garment[test]).mean():.3f}")

# %% [markdown]
# ## Measure it: how many labels?
#
# Probe and neighbours get five settings each to choose from, and choose in the same way: by **leaving out** each
# labelled image once. The test images decide nothing. scikit-learn's `RidgeClassifierCV` does it for the probe, in
# closed form, by the squared error; for the neighbours it is a few lines.

# %%
STRENGTHS = np.logspace(-3, 1, 5)  # λ
NEIGHBOURS = (1, 3, 5, 9, 15)  # k


def by_probe(X, y, Q):
    spread = np.linalg.norm(X - X.mean(axis=0), axis=1).mean()  # a strength means the same for every encoder
    return RidgeClassifierCV(STRENGTHS).fit(X / spread, y).predict(Q / spread)


# %%
def by_neighbours(X, y, Q):
    """Labels of queries by the k most similar known images; k by leaving each known image out once."""
    near = np.argsort(1 - X @ X.T + 3 * np.eye(len(X)), axis=1)  # the image itself comes last
    depths = [k for k in NEIGHBOURS if k < len(X)]
    votes = {k: pd.DataFrame(y[near[:, :k]]).mode(axis=1)[0] for k in depths}
    best = max(depths, key=lambda k: (votes[k].to_numpy() == y).mean())
    return KNeighborsClassifier(best, metric="cosine", weights="distance").fit(X, y).predict(Q)


# %%
PER_CLASS, N_DRAWS = (1, 2, 5, 10, 20), 8


def accuracies(method, X, labels, held_out=None):
    """Accuracy on the images that did not teach (or on those held out): draws (rows) by labels per class (columns)."""
    X, hits = normalize(X), {}
    for at in [(s, n) for s in range(N_DRAWS) for n in PER_CLASS]:
        known = drawn(labels, at[1], SEED + at[0], held_out)
        test = ~known if held_out is None else held_out
        hits[at] = (method(X[known], labels[known], X[test]) == labels[test]).mean()
    return pd.Series(hits).unstack()


# %%
new_objects = ~objects.column("seen_instance").astype(bool)  # a third of the objects of each category: only for the test
problems = {
    "clothing": (tables["clothing"], garment, None),
    "satellite": (tables["satellite"], real["satellite"].labels, None),
    "tabletop": (encoded["tabletop"], objects.labels, new_objects),
}
ways = {"probe": (network, by_probe), "neighbours": (network, by_neighbours), "probe on HOG": ("HOG", by_probe)}
ways |= {"probe on random": ("random network", by_probe)}
curves = {
    (name, way): accuracies(method, embeddings[encoder], labels, held_out)
    for name, (embeddings, labels, held_out) in problems.items()
    for way, (encoder, method) in ways.items()
}

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
for ax, (name, (_, labels, _)) in zip(axes, problems.items(), strict=True):
    for number, (way, (encoder, _)) in enumerate(ways.items()):
        mean, error = curves[name, way].mean(), 1.96 * curves[name, way].std() / np.sqrt(N_DRAWS)
        style = {"color": plots.style.SKY if way == "neighbours" else colour_of[encoder], "marker": plots.style.MARKERS[number]}
        ax.errorbar(PER_CLASS, mean, error, label=way, ls=plots.style.LINES[number], capsize=2, **style)
    ax.axhline(1 / len(np.unique(labels)), color="0.5", lw=1, ls=":", label="chance")
    ax.set(xscale="log", xlabel="labels per class", title=name, ylim=(0, 1))
    ax.set_xticks(PER_CLASS, PER_CLASS)
    ax.minorticks_off()
axes[0].set_ylabel("accuracy (share of images)")
axes[0].legend(frameon=False, fontsize=8)
plots.show(plots.describe(fig, "Accuracy against labels a class: the probe on the frozen network is highest at 20."))

# %%
margin = pd.DataFrame({name: (curves[name, "probe"] - curves[name, "neighbours"]).mean() for name in problems})
saved = {name: curves[name, "probe"][5].mean() - curves[name, "probe on HOG"][10].mean() for name in problems}
print("probe minus neighbours, mean of the draws, by labels per class")
print(margin.T.round(3).to_string())
print("probe with 5 labels minus probe on HOG with 10:", {name: round(float(v), 3) for name, v in saved.items()})

# %% tags=["claim"]
assert (margin.loc[20] > 0.01).all()  # with twenty labels the probe leads everywhere
assert (margin.loc[1] < margin.loc[20]).all()  # with one there is little to learn from
assert min(saved.values()) > 0.02  # the frozen network halves the labels, at least

# %% [markdown]
# With one label a class there is nothing to weigh, and both compare with the same few images. The more labels, the
# more the probe can learn which numbers matter; neighbours go on trusting all of them alike.
#
# ### Scratch, probe, fine-tuning
#
# Two more ways to spend labels, on the rendered objects: a small network trained **from scratch**, and **fine-tuning**,
# in which the pretrained network (the *backbone*) learns along. A rate that suits a new classifier need not suit the
# backbone, so each way gets several rates, and *validation* images, which are not the test's, choose. **LP-FT** fits the
# probe first and starts the classifier there (Kumar et al. 2022, *ICLR*,
# [arXiv:2202.10054](https://arxiv.org/abs/2202.10054)). All run at 64 pixels, to save time, and the test is always on
# objects that nobody trained on.

# %%
STEPS, N_LABELS = 50, 20
small = encoders.Deep(BACKBONE, size=64)
class_names, classes = np.unique(objects.labels, return_inverse=True)
known = drawn(objects.labels, N_LABELS, SEED, new_objects)
validation = drawn(objects.labels, 8, SEED, new_objects | known)
pixels = small.preprocessing(list(objects))  # (n, 3, 64, 64)


def cross_entropy(net, batch):
    scores = net["classifier"](net["backbone"](batch[0]).mean(dim=(2, 3)))  # (n, c, h, w) -> (n, c) -> (n, classes)
    return torch.nn.functional.cross_entropy(scores, batch[1], label_smoothing=0.05)


# %%
@torch.inference_mode()
def accuracy_of(net, rows):
    """Fraction of the objects of a mask that a trained network labels rightly."""
    scores = [net["classifier"](net["backbone"](part).mean(dim=(2, 3))) for part in pixels[rows].split(64)]
    return (torch.cat(scores).argmax(dim=1).numpy() == classes[rows]).mean()


@torch.inference_mode()
def features_alive(net):
    """Fraction of the channels of the last map that are above 0 on any validation image."""
    return (net["backbone"](pixels[validation]).amax(dim=(0, 2, 3)) > 0).float().mean().item()


# %%
def train_classifier(backbone, classifier, rate, steps=STEPS):
    """A backbone and a linear classifier, trained together on the labelled objects."""
    net = torch.nn.ModuleDict({"backbone": backbone, "classifier": classifier})
    batches = ImageBatches(objects[known], classes[known], preprocessing=small.preprocessing, batch_size=32)
    settings = {"learning_rate": rate, "random_state": SEED, "progress": False, "device": "cpu"}
    train(net, batches, cross_entropy, steps=steps, **settings)
    return net


# %%
def fitted_classifier():
    """A linear classifier with the weights of a logistic regression on the frozen features: the LP of LP-FT."""
    features = small.network.cpu()(pixels[known]).mean(dim=(2, 3)).detach().numpy()
    fit = LogisticRegression(max_iter=2000).fit(features, classes[known])
    layer = torch.nn.Linear(small.n_dims, len(class_names))
    layer.load_state_dict({"weight": torch.tensor(fit.coef_), "bias": torch.tensor(fit.intercept_)})
    return layer.float()


# %%
def new_classifier(n_dims=small.n_dims):
    torch.manual_seed(SEED)
    return torch.nn.Linear(n_dims, len(class_names))


def from_scratch():
    torch.manual_seed(SEED)
    return Conv5()


runs = {("fine-tuned", rate): (small.network.cpu, new_classifier, rate, STEPS) for rate in (1e-2, 1e-3, 3e-4)}
runs |= {("LP-FT", rate): (small.network.cpu, fitted_classifier, rate, STEPS) for rate in (1e-3, 3e-4)}
runs["scratch", 2e-3] = (from_scratch, lambda: new_classifier(Conv5.n_dims), 2e-3, 6 * STEPS)

# %%
rows = {}
for key, (backbone, classifier, rate, steps) in runs.items():
    net = train_classifier(backbone(), classifier(), rate, steps)
    rows[key] = accuracy_of(net, validation), accuracy_of(net, new_objects), features_alive(net)
tried = pd.DataFrame(rows, index=["validation accuracy", "test accuracy", "features alive"]).T
tried.index.names = ["way", "rate"]
tried.round(3)

# %%
best = tried.loc[tried.groupby("way", sort=False)["validation accuracy"].idxmax()]
accuracy = best["test accuracy"].droplevel("rate")
at_64 = normalize(small.transform(objects))
for name, X in (("probe at 64 px", at_64), ("probe at the network's size", normalize(encoded["tabletop"][network]))):
    accuracy[name] = (by_probe(X[known], classes[known], X[new_objects]) == classes[new_objects]).mean()
accuracy.to_frame("test accuracy, rate chosen on validation").round(3)

# %% tags=["claim"]
assert accuracy["probe at 64 px"] > accuracy["scratch"] + 0.1
assert accuracy["fine-tuned"] > accuracy["scratch"] + 0.1
assert tried.loc[("fine-tuned", 1e-2), "test accuracy"] < accuracy["fine-tuned"] - 0.15  # the rate decides

# %%
hot, full_size = tried.loc[("fine-tuned", 1e-2)], accuracy["probe at the network's size"]
Markdown(
    f"At the classifier's own rate of 0.01 fine-tuning ends at {hot['test accuracy']:.3f} (chance is {1 / len(class_names):.3f}). That is not "
    f"forgetting: {hot['features alive']:.0%} of the network's features still respond to any image, and a network that answers nothing "
    f"cannot learn its way back. At the rate that validation chose, fine-tuning reaches {accuracy['fine-tuned']:.2f}, LP-FT {accuracy['LP-FT']:.2f}, "
    f"the probe of the same size {accuracy['probe at 64 px']:.2f}, and at the network's own size {full_size:.2f}; "
    f"with {len(np.unique(objects.column('instance')[new_objects]))} test objects, differences of a few hundredths cannot be told from chance. Fine-tuning costs a pass through the "
    "network, forwards and backwards, for every step, and gives another embedding for every image; the probe costs one multiplication."
)

# %% [markdown]
# So let what is known learn slowly, and choose the rate on validation images. [Notebook 06](06_domain_fine_tuning.ipynb) takes
# fine-tuning further.
#
# ### Classification is not retrieval
#
# The scores of a probe are an embedding, too: one number for each class that it knows. Is a database better searched
# by them? It depends on **whether the classes asked for are those that were learned**. Of the ten classes of clothes
# five are learned, on half of their images. The other half is searched, and, by themselves, the five classes that are
# new.


# %%
def probed_search(seed):
    """mAP of the embeddings and of the probe's scores, on learned classes and on new ones."""
    random = np.random.default_rng([SEED, seed])
    learned = np.isin(garment, random.permutation(np.unique(garment))[:5])
    known = learned & (random.random(len(garment)) < 0.5)
    probe = RidgeClassifierCV(STRENGTHS).fit(clothes[known], garment[known])
    both, out = {"embeddings": clothes, "scores": probe.decision_function(clothes)}, {}
    for classes_are, rows in {"learned": learned & ~known, "new": ~learned}.items():
        truth = real["clothing"].relevance(rows, rows)
        for name, X in both.items():
            ranking = real["clothing"].ranking(X, rows, rows)
            out[classes_are, name] = evaluate(ranking, truth, metrics=["map"], n_bootstrap=0)["map"]
    return out


# %%
searches = pd.DataFrame([probed_search(seed) for seed in range(5)])
searches.columns = pd.MultiIndex.from_tuples(searches.columns)
gain = pd.DataFrame({c: searches[c]["scores"] - searches[c]["embeddings"] for c in ("learned", "new")})
pd.concat([searches.mean().unstack(), gain.mean().rename("gain")], axis=1).round(3)

# %% tags=["claim"]
assert gain["learned"].min() > 0.08
assert gain["new"].mean() < 0  # negative transfer

# %%
verdict = "**negative transfer**" if gain["new"].mean() < 0 else "no transfer to speak of"
Markdown(
    f"On classes it learned, the probe's scores gain {gain['learned'].mean():+.3f} mAP; on new ones "
    f"{gain['new'].mean():+.3f} ({gain['new'].min():+.3f} to {gain['new'].max():+.3f} in five draws of the classes): {verdict}. Whoever tunes an "
    "embedding on the classes of the test sees the first number and gets the second. Hence metric learning "
    "([notebook 07](07_metric_learning.ipynb)) is scored on classes it has not seen."
)

# %% [markdown]
# ### Where it fails
#
# Digits for which the frozen network ranks worst. They are 8 × 8 pixels, blown up: blocks with hard edges, of
# which photographs have few. What it compares are the blocks.

# %%
lost = rankings["digits"][network]
per_digit = evaluate(lost, truths["digits"], metrics=["map"], n_bootstrap=0).per_query["map"]
worst = per_digit.sort_values(kind="stable").index[:3]
plots.show(plots.ranked_list(lost, made_here["digits"], relevance=truths["digits"], rows=[*worst], k=8), dpi=72)

# %% [markdown]
# ## Try it
#
# Click a drawing to use it as the query; switch between the encoders. For which categories does HOG hold its own?

# %%
shelf = drawings[drawn(drawings.labels, 8, SEED)]
shelf_truth = shelf.relevance(by="label", junk="instance")
on_shelf = {name: Retriever(encoder_of[name]).fit(shelf) for name in (network, "HOG")}
shelf_ranking = on_shelf[network].search(shelf, k=None)
per_drawing = evaluate(shelf_ranking, shelf_truth, metrics=["map"], n_bootstrap=0).per_query["map"]
asked_first = per_drawing.sort_values(kind="stable").index[int(0.75 * len(shelf))]
explorer = explore.QueryExplorer(on_shelf, query=asked_first, k=12, relevance=shelf_truth)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=72)

# %% [markdown]
# ## Exercise 1 ★ the nearest class mean
#
# Between neighbours and probe: average the embeddings of each class, and give each query the label of the mean with
# the largest cosine.
#
# <details><summary>Hint 1: the idea</summary>
#
# One mean a class, then divide each by its length: only now is a dot product a cosine.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.unique(labels)`, `embeddings[labels == c].mean(axis=0)`, `argmax(axis=1)`; `classes[best]` gives labels.
#
# </details>


# %% tags=["exercise"]
def nearest_class_mean(embeddings, labels, queries):
    """Embeddings (n, d), labels (n,), queries (m, d) -> labels (m,)."""
    raise NotImplementedError


checks.check_nearest_class_mean(nearest_class_mean)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_nearest_class_mean(embeddings, labels, queries):
    known_classes = np.unique(labels)
    class_means = np.stack([embeddings[labels == c].mean(axis=0) for c in known_classes])
    cosines = normalize(queries) @ normalize(class_means).T  # (m, c)
    return known_classes[cosines.argmax(axis=1)]


checks.check_nearest_class_mean(solution_nearest_class_mean)

# %% [markdown]
# ## Exercise 2 ★★ a strength chosen without the test set
#
# For each of `strengths`, leave out each labelled image once, fit a probe on the others, and see whether it is right
# on the one left out. Return the strength with the most hits; of equal ones the largest.
#
# <details><summary>Hint 1: the idea</summary>
#
# Two loops, over strengths and over images. What is left out must be out before `fit_probe` sees the mean.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `others = np.arange(len(labels)) != i`, `fit_probe(embeddings[others], labels[others], strength)`, and its scores belong
# to `np.unique(labels[others])`. Go through the strengths from the largest down and keep only what is better.
#
# </details>


# %% tags=["exercise"]
def choose_strength(embeddings, labels, strengths):
    """Embeddings (n, d), labels (n,), a list of strengths -> one of them."""
    raise NotImplementedError


checks.check_choose_strength(choose_strength)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_choose_strength(embeddings, labels, strengths):
    def hits(strength):
        right = 0
        for i in range(len(labels)):
            others = np.arange(len(labels)) != i
            score = fit_probe(embeddings[others], labels[others], strength)(embeddings[i : i + 1])[0]
            right += np.unique(labels[others])[score.argmax()] == labels[i]
        return right

    return max(sorted(strengths, reverse=True), key=hits)


checks.check_choose_strength(solution_choose_strength)

# %% [markdown]
# A right answer picks the top of the second curve here, not of the first: on the images learned from, less strength is
# never worse.

# %%
strengths = np.logspace(-4, 3, 15)
known = drawn(garment, 5, SEED)
seen, left_out = clothes[known], clothes[~known]
lines = {"images learned from": [], "other images": []}
for strength in strengths:
    guess = fit_probe(seen, garment[known], strength)
    for label, X, y in (("images learned from", seen, garment[known]), ("other images", left_out, garment[~known])):
        lines[label].append((library.classes_[guess(X).argmax(axis=1)] == y).mean())
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for number, (label, values) in enumerate(lines.items()):
    ax.semilogx(strengths, values, plots.style.LINES[number], color=plots.style.COLOURS[number], label=label)
ax.set(xlabel="strength λ", ylabel="accuracy (share of images)", ylim=(0, 1.05))
ax.legend(frameon=False)
plots.show(plots.describe(ax, "Accuracy against strength on images learned from, where least strength is as good as any, and on others, where it is not."))

# %% [markdown]
# ## Exercise 3 ★★★ beat the probe at 20 labels per class
#
# This one is open: it is judged by its result, on the aerial images. `known` and `queries` are dicts with the
# embeddings of "tiny", "colour", "HOG" and "VLAD"; return a label for each query. You must be right on two images in
# a hundred more than the probe on "tiny", on the mean of three draws of 6 seconds each at most.
#
# <details><summary>Hint 1: the idea</summary>
#
# Look at the chart of places: who was second on *satellite*? Encoders that err on different images help one another.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# Centre each table by the mean of `known`, divide it by the mean length of its rows, `np.hstack`, then
# `RidgeClassifierCV`. Learn nothing from the queries: the check asks for some of them alone.
#
# </details>


# %% tags=["exercise"]
def better_probe(known, labels, queries):
    """Dicts of encoder name to embeddings (n, d) and (m, d), labels (n,) -> labels (m,)."""
    raise NotImplementedError


checks.check_better_probe(better_probe)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_better_probe(known, labels, queries):
    left, right = [], []
    for encoder in ("tiny", "colour", "VLAD"):
        mean_of_known = known[encoder].mean(axis=0)
        spread = np.linalg.norm(known[encoder] - mean_of_known, axis=1).mean()
        left.append((known[encoder] - mean_of_known) / spread)
        right.append((queries[encoder] - mean_of_known) / spread)
    return RidgeClassifierCV(np.logspace(-2, 2, 9)).fit(np.hstack(left), labels).predict(np.hstack(right))


checks.check_better_probe(solution_better_probe)

# %% [markdown]
# A right answer wins on *satellite*. The same trick elsewhere? A probe on network and colour together, against the
# network alone:

# %%
joined = {}
for name, (embeddings, labels, held_out) in problems.items():
    pair = np.hstack([normalize(embeddings[e]) for e in (network, "colour")])
    joined[name] = accuracies(by_probe, pair, labels, held_out)[20].mean() - curves[name, "probe"][20].mean()
fig, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
ax.barh(list(joined), list(joined.values()), color=plots.style.COLOURS[0])
ax.axvline(0, color="0.3", lw=1)
ax.set(xlabel="gain in accuracy by adding colour, 20 labels per class")
ax.invert_yaxis()
told = ", ".join(f"{name} {value:+.3f}" for name, value in joined.items())
plots.show(plots.describe(ax, f"Gain by adding colour to the network: {told}."))

# %% tags=["claim"]
assert joined["satellite"] > joined["clothing"] + 0.01

# %% [markdown]
# What helps in one domain harms in another. A likely reason: where colour says nothing of the class, it is noise that a
# probe has to unlearn with the same few labels.
#
# ## What we learned
#
# - A frozen network is a strong first answer in most domains, even in some far from its own. Only a measurement tells in
#   which. On digits, gradients that nobody trained are better.
# - Labels are best spent on a probe first: closed form, tuned without the test set. It beats neighbours once there
#   are several labels a class, and training from scratch by far.
# - The rate decides what fine-tuning is worth: at a classifier's rate the network dies. Sweep it on validation images.
# - A probe improves the search for the classes it learned. For others it threw away what they differ in.
#
# ### Check yourself
#
# <details><summary>1. Why is the random network a fairer zero than chance?</summary>
#
# It has the same shape, size and pooling, so what it finds is due to the architecture and the pixels. The rest is
# what training transferred.
#
# </details>
# <details><summary>2. Why does the intercept not get the penalty λ?</summary>
#
# It only says how frequent a class is. Were it shrunk, scores would depend on where the origin of the embeddings
# happens to lie; subtracting both means does the same as leaving it free.
#
# </details>
# <details><summary>3. You tune λ on the test images, among five values. How bad is it?</summary>
#
# The reported number is the best of five, hence too high, most with few test images; and the comparison with a method
# that was not tuned in the same way is void. Leave-one-out costs nothing here.
#
# </details>
# <details><summary>4. A colleague fine-tunes on all classes and reports mAP on the same. What does it say of new ones?</summary>
#
# Little: above, the gain on learned classes was large, and new ones lost. Split by class, not by image.
#
# </details>
#
# ### What breaks at a million images

# %%
n_dims, n_classes = clothes.shape[1], len(np.unique(garment))
Markdown(
    f"A probe reads each embedding once: with {n_dims} numbers and {n_classes} classes, {n_dims * n_classes:,} products an image, and what it learns "
    f"from is a matrix of {n_dims} × {n_dims} whatever the number of images. Nearest neighbours compare a query with all "
    f"of them, {n_dims * 4 * 1e6 / 1e9:.1f} GB ([notebook 12](12_approximate_search.ipynb)). Encoding is paid once per network: change the backbone by a "
    "step of fine-tuning, and a million images have to be encoded anew (notebook 20, still to come). And a label error rate of one in "
    "a hundred, harmless in a table of 200 images, is 10,000 wrong neighbours."
)

# %% [markdown]
# ### Further reading
#
# - Razavian, Azizpour, Sullivan and Carlsson (2014), *CNN features off-the-shelf: an astounding baseline for
#   recognition*, CVPR workshops, [arXiv:1403.6382](https://arxiv.org/abs/1403.6382). The finding that began it.
# - Yosinski, Clune, Bengio and Lipson (2014), *How transferable are features in deep neural networks?*, NeurIPS,
#   [arXiv:1411.1792](https://arxiv.org/abs/1411.1792). Which layers are general, layer by layer.
# - Kornblith, Shlens and Le (2019), *Do better ImageNet models transfer better?*, CVPR,
#   [arXiv:1805.08974](https://arxiv.org/abs/1805.08974). Twelve data sets; mostly yes, and where not.
# - Kumar, Raghunathan, Jones, Ma and Liang (2022), *Fine-tuning can distort pretrained features and underperform
#   out-of-distribution*, ICLR, [arXiv:2202.10054](https://arxiv.org/abs/2202.10054). Probe first, then fine-tune.
#
# <!-- links:start -->
# Previous: [04_multi_scale](04_multi_scale.ipynb) · [course map](00_start_here.ipynb) · Next: [06_domain_fine_tuning](06_domain_fine_tuning.ipynb)
# <!-- links:end -->
