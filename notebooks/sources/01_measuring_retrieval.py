# %% [markdown]
# # 01 · Measuring retrieval: what does this number mean?
#
# **Question.** Two papers report mAP on the same images. When are the two numbers comparable, and when is the
# difference real?
#
# **Time:** about half a minute to run on two cores, offline. **Before this:** [notebook 00](00_start_here.ipynb).
#
# <!-- links:start -->
# Previous: [00_start_here](00_start_here.ipynb) · [course map](00_start_here.ipynb) · Next: [02_local_features](02_local_features.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **compute** average precision and its relatives by hand, and say which of them a paper means;
# - **spot** a dozen ways in which a protocol makes a bad method look good, and measure what each is worth;
# - **give** a score with its interval, and compare two methods on the same queries;
# - **write** a protocol that others can repeat.

# %%
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image
from sklearn import cluster, decomposition, discriminant_analysis, manifold
from sklearn.metrics import average_precision_score, silhouette_score

from cbirkit import Ranking, Retriever, checks, compare, datasets, encoders, evaluate, explore, metrics, plots
from cbirkit.evaluation import check_leaks
from cbirkit.images import ImageCollection
from cbirkit.indexes import IVFPQ
from cbirkit.ranking import Relevance

# %% [markdown]
# ## The goal
#
# The images are handwritten digits, a few of them queries, the others the database, and an image is relevant if
# it shows the same digit. The method is as simple as can be: shrink the image to 4 × 4 pixels and compare. Here
# is one query and the first of its results.

# %%
SEED = 0
digits = datasets.load_digits(random_state=SEED)
queries, database = digits.split()
truth = queries.relevance(queries, database)
small = Retriever(encoders.TinyImage(size=4)).fit(database).search(queries, k=None)
precision = evaluate(small, truth, metrics="p@10", n_bootstrap=0).per_query["p@10"]
example = precision.index[(precision - 0.6).abs().argmin()]  # a query that is neither easy nor hopeless
plots.show(plots.ranked_list(small, database, queries=queries, relevance=truth, rows=[example], k=10))

# %% [markdown]
# How good is this list? Every number below has been published under the name "average precision", "mAP" or
# "recall", for the very same list.

# %%
at = list(queries.ids).index(example)
names = ["map", "trapezoid_map", "map@r", "map@10", "map@10/R", "map@10/hits", "p@10", "recall@10"]
one_query = queries.relevance(queries[[example]], database)
one_list = evaluate(small.select([at]), one_query, metrics=[*names, "hit_rate@10"], n_bootstrap=0)
one_list.summary[["mean"]].round(3).T

# %%
Markdown("What each of them is:\n\n- " + "\n- ".join(one_list.protocol.split("\n")[:9]))

# %% tags=["claim"]
same_list = one_list.summary["mean"]
assert same_list["map@10/hits"] > 5 * same_list["map@10/R"]
assert same_list["hit_rate@10"] == 1 and same_list["recall@10"] < 0.1  # both are called "Recall@10"

# %% [markdown]
# None of them is wrong. But two such numbers can be compared only if they were computed in the same way, and this
# notebook is about all that has to be the same.
#
# ## Background
#
# Let $r_i \in \{0, 1\}$ say whether the result at rank $i$ is relevant, and let $R$ be the number of positives
# of the query in the database, found or not. Precision and recall at a cut-off $k$ are
#
# $$P(k) = \frac{1}{k} \sum_{i=1}^{k} r_i \qquad\qquad \mathrm{recall}(k) = \frac{1}{R} \sum_{i=1}^{k} r_i$$
#
# *Average precision* takes the precision at each rank where recall grows, and divides by $R$, so that a positive that
# is never found counts as 0 (Buckley and Voorhees 2000, *SIGIR*,
# [doi:10.1145/345508.345543](https://doi.org/10.1145/345508.345543)):
#
# $$AP = \frac{1}{R} \sum_{i=1}^{n} r_i \, P(i)$$
#
# *mAP* is its mean over the queries. Some results are **junk**, neither right nor wrong: the query itself, or
# a picture of which nobody can say what it shows. Junk is deleted before ranks are counted. A query without
# positives has no AP at all; it is left out of the mean, and the report says how many there were.
#
# ## Build it
#
# Metrics see nothing but $r$. The step before is where most goes wrong: from ranked *ids* to what counts.


# %%
def what_counts(ranked_ids, query_id, positives, junk=()):
    """Relevance (n,) bool of the results that count, nearest first: no query, no junk."""
    counts = [one for one in ranked_ids if one != query_id and one not in junk]
    return np.array([one in positives for one in counts], dtype=bool)


def precision_and_recall(relevant, n_positives):
    """Precision (n,) and recall (n,) after each rank."""
    hits = np.cumsum(relevant)
    return hits / np.arange(1, len(relevant) + 1), hits / n_positives


# %% [markdown]
# On a list of ten, with the query and one junk image in it, so that eight results count:

# %%
r = what_counts(list("aqbcdjefgh"), "q", positives=set("bdh"), junk={"j"})
toy_precision, toy_recall = precision_and_recall(r, n_positives=3)
toy = {"relevant": r, "precision": toy_precision, "recall": toy_recall}
pd.DataFrame(toy, index=pd.RangeIndex(1, len(r) + 1, name="rank")).round(3).T

# %% [markdown]
# AP is the mean height of the marked points. (A positive beyond the end of the list would be one more point,
# at height 0.)

# %%
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ranks = np.arange(1, len(r) + 1)
ax.plot(ranks, toy_precision, ":", color=plots.style.GREY, label="precision at every rank")
ax.plot(ranks[r], toy_precision[r], "o", ms=9, color=plots.style.BLUE, label="precision at a relevant rank")
for rank, height in zip(ranks[r], toy_precision[r], strict=True):
    ax.annotate(f"{height:.3f}", (rank, height), (8, 5 if height > 0.4 else -14), textcoords="offset points")
ax.axhline(toy_precision[r].mean(), color=plots.style.VERMILLION, ls="--", label="their mean: AP")
ax.set(xlabel="rank", ylabel="precision", ylim=(0, 1), xlim=(0.5, 8.9))
ax.legend(frameon=False, ncols=2, loc="upper right")
words = f"Precision at 8 ranks; hits at ranks 2, 4 and 8; AP is the mean of their precisions, {toy_precision[r].mean():.3f}."
plots.show(plots.describe(ax, words))

# %% [markdown]
# The package must give the same, for every query.

# %% tags=["claim"]
label_of = dict(zip(database.ids, database.labels, strict=True))
scores = evaluate(small, truth, metrics=["map", "p@10", "recall@10"], n_bootstrap=0)
columns = queries.ids, queries.labels, small.ids, scores.per_query.values
for query, label, ranked, score in zip(*columns, strict=True):
    wanted = {one for one in database.ids if label_of[one] == label}
    p, recall = precision_and_recall(what_counts(ranked, query, wanted), len(wanted))
    rises = np.diff(recall, prepend=0) > 0
    assert np.allclose([p[rises].sum() / len(wanted), p[9], recall[9]], score[:3])
sklearn_says = average_precision_score(r, -np.arange(len(r)))
assert np.isclose(metrics.average_precision(r), sklearn_says)
print(f"{len(queries)} queries agree; scikit-learn's average precision is this one too")

# %% [markdown]
# ## Measure it
#
# A score means little alone: it needs a floor below it and a competitor beside it. Random order is the floor; colour
# histograms come from [notebook 00](00_start_here.ipynb) (on grey digits they see only how much ink there is); 8 × 8
# pixels are all that these images have. VLAD and the network of [notebook 00](00_start_here.ipynb) are missing: they
# were made for photographs.

# %%
chance = np.random.RandomState(SEED).rand(len(queries), len(database))
pixels = encoders.TinyImage(size=8)
full = Retriever(pixels).fit(database).search(queries, k=None)
systems = {
    "random": Ranking.from_distances(chance, queries.ids, database.ids),
    "colour histogram": Retriever(encoders.ColorHistogram()).fit(database).search(queries, k=None),
    "4 x 4 pixels": small,
    "8 x 8 pixels": full,
}
# Images of few colours are often at equal distances: see trap 3 for what "expected" means.
compared = compare(systems, truth, ties="expected", n_draws=2000, random_state=SEED)
compared.summary.round(3)

# %%
how = {"metrics": ["map", "p@1"], "ties": "expected"}
evaluated = {name: evaluate(one, truth, **how) for name, one in systems.items()}
plots.show(plots.metric_bars(evaluated))

# %% tags=["claim"]
m = compared.summary["mean"]
assert m["random"] < 0.13
assert m["random"] + 0.02 < m["colour histogram"] < m["4 x 4 pixels"] - 0.2
assert m["8 x 8 pixels"] > m["4 x 4 pixels"] + 0.03

# %% [markdown]
# Note that chance is not 0: one image in ten is relevant. A score means little without the share of positives
# beside it.
#
# ### Where it fails
#
# The queries on which the better method has the lowest average precision:

# %%
hardest = compared.per_query["8 x 8 pixels"].sort_values(kind="stable").index[:3]
plots.show(plots.ranked_list(full, database, queries=queries, relevance=truth, rows=list(hardest), k=8))

# %% [markdown]
# Digits written in a way that few others have, it seems: much of their own class is far away. If that is the
# reason, AP should fall with the mean distance to the own class, over all queries; and not with the mean distance
# to the others. Rank correlation tells. And AP can be low though the first results are right, since it counts
# *all* positives.

# %% tags=["claim"]
own = truth.relevant(full.indices)  # (n_queries, n_database), as are the distances
ap_full = compared.per_query["8 x 8 pixels"]
away = pd.DataFrame({"AP": ap_full, "P@10": own[:, :10].mean(axis=1)}, index=queries.ids)
away["distance to own class"] = (full.distances * own).sum(axis=1) / own.sum(axis=1)
away["distance to others"] = (full.distances * ~own).sum(axis=1) / (~own).sum(axis=1)
goes_with = away.corr(method="spearman")["AP"]
lowest = away.nsmallest(20, "AP")[["AP", "P@10"]].mean()
print(goes_with.drop("AP").round(2).to_string())
print(f"the 20 queries of lowest AP: mean AP {lowest['AP']:.2f}, mean P@10 {lowest['P@10']:.2f}")
assert goes_with["distance to own class"] < -0.7 and abs(goes_with["distance to others"]) < 0.4
assert lowest["P@10"] > 2 * lowest["AP"]

# %% [markdown]
# ## Twelve traps
#
# In each of these experiments the method stays **as good or as bad as it is**; only the way of measuring changes.
#
# ### Trap 1: the query is left in
#
# Give every image a vector of random numbers. Such an embedding knows nothing. Each image asks, once with
# itself in the database and once removed by its id.

# %%
crowd = digits[::3]
blind = np.random.RandomState(SEED).randn(len(crowd), 16)  # (n, 16)
gaps = np.linalg.norm(blind[:, None] - blind[None], axis=2)  # (n, n)
knows_all = {}
for left_in in (True, False):
    found = Ranking.from_distances(gaps, crowd.ids, crowd.ids, k=1, exclude_self=not left_in)
    first = found.indices[:, 0]
    knows_all["left in" if left_in else "left out"] = np.mean(crowd.labels[first] == crowd.labels)
print(", ".join(f"query {name}: P@1 = {value:.2f}" for name, value in knows_all.items()))

# %% tags=["claim"]
assert knows_all["left in"] == 1 and knows_all["left out"] < 0.2

# %% [markdown]
# ### Trap 2: the first column is dropped
#
# "The query finds itself first, so we drop the first column." Not where distances tie. Turn every image into 12 bits,
# each the side of a random plane on which it lies ([notebook 11](11_hashing.ipynb) has more of such codes); images
# with equal codes are at distance 0, and any of them may come first.


# %%
def sign_codes(vectors, n_bits, seed):
    """On which side of random planes each vector lies: (n, d) -> (n, n_bits) bool."""
    planes = np.random.RandomState(seed).randn(vectors.shape[1], n_bits)
    return vectors @ planes > 0


def hamming(a, b):
    """Number of bits that differ: (n, n_bits), (m, n_bits) -> (n, m)."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    return np.rint(a @ (1 - b).T + (1 - a) @ b.T).astype(int)


# %%
vectors = pixels.transform(digits).astype(np.float64)  # (n, d)
in_database, in_queries = digits.positions(database.ids), digits.positions(queries.ids)
vectors -= vectors[in_database].mean(axis=0)
codes = sign_codes(vectors, 12, SEED)
everyone = Ranking.from_distances(hamming(codes, codes), digits.ids, digits.ids, k=20)
by_id = Ranking.from_distances(hamming(codes, codes), digits.ids, digits.ids, k=20, exclude_self=True)
still_there = (everyone.indices[:, 1:] == np.arange(len(digits))[:, None]).any(axis=1).mean()
right = {
    "first column dropped": np.mean(digits.labels[everyone.indices[:, 1]] == digits.labels),
    "removed by id": np.mean(digits.labels[by_id.indices[:, 0]] == digits.labels),
}
print(
    f"in {still_there:.0%} of the lists the query is still there; P@1:",
    {k: float(v.round(3)) for k, v in right.items()},
)

# %% tags=["claim"]
assert still_there > 0.3
assert right["first column dropped"] > right["removed by id"] + 0.03

# %% [markdown]
# The dropped image was another one, and the query stayed in its own list as a hit. The same happens with exact
# copies, with images that have no key point ([notebook 02](02_local_features.ipynb)), and with an approximate index that
# misses the query.
#
# ### Trap 3: ties in Hamming rankings
#
# A code of 16 bits has only 17 distances, so most of a ranking is ties. Sorting must put equals in *some*
# order, and the score depends on it: worst, if positives come last within each tie, best if first. What does
# not depend on luck is the mean over all orders, which has a closed form (McSherry and Najork 2008).

# %%
in_ties = {}
for n_bits in (8, 16, 32, 64):
    bits = sign_codes(vectors, n_bits, SEED)
    apart = hamming(bits[in_queries], bits[in_database])
    coded = Ranking.from_distances(apart, queries.ids, database.ids)
    kinds = ["worst_map", "expected_map", "best_map"]
    in_ties[n_bits] = evaluate(coded, truth, metrics=kinds, n_bootstrap=0).summary["mean"]
in_ties = pd.DataFrame(in_ties).T.rename_axis("bits")
in_ties.round(3)

# %%
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
place = np.arange(len(in_ties))
ends = in_ties["worst_map"], in_ties["best_map"]
ax.vlines(place, *ends, color=plots.style.GREY, lw=5, label="worst to best order")
ax.plot(place, in_ties["expected_map"], "D", color=plots.style.BLUE, label="expected")
ax.set_xticks(place, in_ties.index)
ax.set(xlabel="bits of a code", ylabel="mAP", ylim=(0, 0.8))
ax.legend(frameon=False, loc="upper left")
words = "mAP of codes of 8 to 64 bits: the range between the worst and the best order within ties shrinks with the bits."
plots.show(plots.describe(ax, words))

# %% tags=["claim"]
spread = in_ties["best_map"] - in_ties["worst_map"]
assert spread[16] > 0.1 and spread[64] < 0.07
assert (in_ties.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)  # worst < expected < best, whatever the bits
shorter_wins = in_ties.loc[8, "best_map"] > in_ties.loc[16, "worst_map"]
assert shorter_wins  # given luck with the order, the shorter code looks better

# %% [markdown]
# ### Trap 4: what AP@k is divided by
#
# Who looks at the first $k$ results only must decide what a perfect list is. Dividing by $\min(k, R)$ lets a
# list of $k$ hits score 1. Dividing by $R$ makes 1 unreachable where $R > k$. Dividing by the *hits found*
# rewards finding less, as two lists for a query with $R = 3$ show:

# %%
lists = {"finds one of three": [1, 0, 0, 0], "finds all three": [1, 1, 0, 1]}
divided = {
    name: {n: metrics.average_precision_at_k(found_hits, 4, 3, n) for n in ("hits", "min(k, R)", "R")}
    for name, found_hits in lists.items()
}
pd.DataFrame(divided).T.round(3)

# %% [markdown]
# Does that happen with real rankings? A "cautious" system shows only its first result, and nothing else.

# %%
hits_in_ten = truth.relevant(small.indices)[:, :10]  # (n_queries, 10)
answers = {"ten results": hits_in_ten, "only the first": hits_in_ten[:, :1]}
cautious = {
    name: {
        n: metrics.average_precision_at_k(h, 10, truth.n_positives, n).mean()
        for n in ("hits", "min(k, R)", "R")
    }
    for name, h in answers.items()
}
cautious = pd.DataFrame(cautious).T
cautious.round(3)

# %% tags=["claim"]
assert divided["finds one of three"]["hits"] > divided["finds all three"]["hits"]
assert cautious.loc["only the first", "hits"] > cautious.loc["ten results", "hits"] - 0.05
assert cautious.loc["only the first", "min(k, R)"] < cautious.loc["ten results", "min(k, R)"] / 4

# %% [markdown]
# ### Trap 5: finite sum against trapezoid
#
# The official code of the Oxford and Paris benchmarks takes, at each hit, the mean of the precision before and after
# it: the area under the curve by trapezoids. Where positives are plenty, as among the digits, that hardly matters.
# Where they are few it does. For that we need photographs: *views*, pieces of 15 real photographs, rotated, zoomed,
# blurred, recoloured and partly covered. Half of the pieces are set aside for trap 6.

# %%
views = datasets.load_photo_views("medium", n_objects=60, n_distractors=0, image_size=64, random_state=SEED)
piece = views.column("instance")
set_aside = np.isin(piece, np.unique(piece)[::2])
view_vectors = encoders.TinyImage(size=16).transform(views)  # (n, d)
view_queries, view_database = views[~set_aside].split()
view_truth = view_queries.relevance(view_queries, view_database)
plots.show(plots.contact_sheet(views[::20], n=16, labels=False))


# %%
def rank_views(embeddings):
    """Ranking of the view database by cosine distance; embeddings (n, d) of all views, in their order."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = unit[views.positions(view_queries.ids)] @ unit[views.positions(view_database.ids)].T
    return Ranking.from_distances(1 - cosine, view_queries.ids, view_database.ids)


both = ["map", "trapezoid_map"]
few = evaluate(rank_views(view_vectors), view_truth, metrics=both, n_bootstrap=0)
many = evaluate(full, truth, metrics=both, n_bootstrap=0)
areas = pd.DataFrame({"views": few.summary["mean"], "digits": many.summary["mean"]}).T
areas["positives of a query"] = [view_truth.n_positives.mean(), truth.n_positives.mean()]
areas.round(3)

# %% tags=["claim"]
lower = areas["map"] - areas["trapezoid_map"]
assert lower["views"] > 0.008 and lower["digits"] < 0.003

# %% [markdown]
# Neither is more correct; but a difference of one or two hundredths ("points") is what papers are written about.
#
# ### Trap 6: whitening fitted on the test images
#
# Whatever learns must not learn from the images it is tested on. Whitening learns directions and scales from
# embeddings, so that all directions count the same ([notebook 03](03_cnn_features.ipynb) builds it); "learned
# whitening" also uses labels (here: linear discriminant analysis). Each is fitted twice, on the test images and on
# the pieces set aside.

# %%
reduced = decomposition.PCA(64, random_state=SEED).fit(view_vectors[set_aside]).transform(view_vectors)
methods = {
    "PCA whitening, 16 dimensions": (decomposition.PCA(16, whiten=True, random_state=SEED), view_vectors),
    "PCA whitening, 128 dimensions": (decomposition.PCA(128, whiten=True, random_state=SEED), view_vectors),
    "learned with labels": (discriminant_analysis.LinearDiscriminantAnalysis(), reduced),
}
fitted = {}
for name, (method, given) in methods.items():
    for where, rows in (("on test images", ~set_aside), ("on others", set_aside)):
        whitened = rank_views(method.fit(given[rows], piece[rows]).transform(given))
        fitted[name, where] = evaluate(whitened, view_truth, metrics="map", n_bootstrap=0)["map"]
fitted = pd.Series(fitted).unstack()
fitted.round(3)

# %% tags=["claim"]
leak = fitted["on test images"] - fitted["on others"]
assert leak["learned with labels"] > 0.2
assert leak["PCA whitening, 16 dimensions"] > 0.01
assert leak["PCA whitening, 128 dimensions"] < -0.05

# %% [markdown]
# With labels the leak is enormous. Without labels it is a few points for 16 dimensions, and with 128 the effect is
# reversed: so many directions, estimated from so few test images, amplify what is unique to each. A leak need not
# flatter. It makes the number mean something else, and that is enough to avoid it.
#
# ### Trap 7: near-duplicates between the splits
#
# Photographs get saved again, resized, re-compressed, and land in both splits under another name. Here every
# third query is put into the database once more, as a JPEG of low quality.

# %%
copies = []
for image in view_queries[::3]:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    copies.append(np.asarray(Image.open(file)))
copy_ids = [f"copy of {one}" for one in view_queries.ids[::3]]
pieces = [*view_database.column("instance"), *view_queries.column("instance")[::3]]
ids = [*view_database.ids, *copy_ids]
table = pd.DataFrame({"instance": pieces}, index=ids)
leaky = ImageCollection.from_arrays([*view_database, *copies], ids=ids, table=table, name="with copies")

# %%
lifted = {}
for name, images in (("clean", view_database), ("with copies", leaky)):
    answer = Retriever(encoders.ColorHistogram()).fit(images).search(view_queries, k=None)
    known = view_queries.relevance(view_queries, images)
    lifted[name] = evaluate(answer, known, metrics=["p@1", "map"], n_bootstrap=0).summary["mean"]
pd.DataFrame(lifted).T.round(3)

# %% [markdown]
# `check_leaks` looks for shared ids, shared contents and near-duplicates before you measure. What it lists are
# candidates: look at them.

# %%
suspects = check_leaks(leaky, view_queries, label=None)
caught = np.isin(copy_ids, suspects["train"]).mean()
false_alarms = len(check_leaks(view_database, view_queries, label=None))
print(f"{caught:.0%} of {len(copy_ids)} copies caught; {false_alarms} alarms in the clean database")
suspects.head(3)

# %% tags=["claim"]
assert lifted["with copies"]["p@1"] > lifted["clean"]["p@1"] + 0.07
assert caught >= 0.75 and false_alarms <= 3

# %% [markdown]
# ### Trap 8: one seed, and the best epoch
#
# Many methods roll dice: initial weights, the order of batches, or our random planes. Twenty runs of the *same*
# method, 16-bit codes, differ in nothing but the seed.

# %%
runs = []
for run in range(20):
    bits = sign_codes(vectors, 16, 1000 * SEED + run)
    coded = Ranking.from_distances(hamming(bits[in_queries], bits[in_database]), queries.ids, database.ids)
    runs.append(evaluate(coded, truth, metrics="expected_map", n_bootstrap=0).per_query["expected_map"])
runs = np.array(runs)  # (n_runs, n_queries)
run_means = runs.mean(axis=1)
low, high = run_means.min(), run_means.max()
print(f"mAP of 20 runs: {run_means.mean():.3f}, from {low:.3f} to {high:.3f}")

# %% [markdown]
# Give each run its 95 % interval over queries, and ask how many of the *other* 19 runs lie inside.

# %%
draws = np.random.RandomState(SEED).randint(0, len(queries), (1000, len(queries)))
ends = np.percentile(runs[:, draws].mean(axis=2), [2.5, 97.5], axis=1)  # (2, n_runs)
inside = (run_means >= ends[0][:, None]) & (run_means <= ends[1][:, None])  # (n_runs, n_runs)
inside = (inside.sum(axis=1) - 1) / 19  # every run lies in its own interval
print("fraction of the other runs inside an interval: ", end="")
print(f"lowest {inside.min():.0%}, median {np.median(inside):.0%}, highest {inside.max():.0%}")

# %%
fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ranked_runs = np.argsort(run_means)
bars = np.abs(ends - run_means)[:, ranked_runs]
look = {"fmt": "o", "color": plots.style.BLUE, "ecolor": plots.style.SKY, "capsize": 2}
ax.errorbar(range(1, 21), run_means[ranked_runs], yerr=bars, **look)
ax.axhline(run_means.mean(), color=plots.style.VERMILLION, ls="--", label="mean of the 20 runs")
ax.set(xlabel="run, sorted by its score", ylabel="mAP", xticks=[1, 5, 10, 15, 20])
ax.legend(frameon=False, loc="upper left")
words = f"20 runs that differ in the seed only, mAP {low:.3f} to {high:.3f}, with their intervals."
plots.show(plots.describe(ax, words))

# %% [markdown]
# The interval over queries says how the score of *this* run would change with other queries. It knows nothing
# of other seeds, and the run that you happen to have may be the lowest or the highest of these: report both. And
# what if one takes the run (or the epoch) with the best score on the test queries? To see, let 40 queries choose,
# and measure the chosen run on the other 160; a thousand times.

# %%
shuffle = np.random.RandomState(SEED)
gain = {"on the 40 queries that chose it": [], "on the 160 others": []}
for _ in range(1000):
    order = shuffle.permutation(len(queries))
    choose, rest = runs[:, order[:40]].mean(axis=1), runs[:, order[40:]].mean(axis=1)
    gain["on the 40 queries that chose it"].append(choose.max() - choose.mean())
    gain["on the 160 others"].append(rest[choose.argmax()] - rest.mean())
gain = {name: float(np.mean(values)) for name, values in gain.items()}
print("best of 20 runs over their mean:", ", ".join(f"{value:+.3f} {name}" for name, value in gain.items()))

# %% tags=["claim"]
assert np.ptp(run_means) > 0.05
assert np.median(inside) < 0.8 and inside.max() < 0.95  # promised: 95 %, for queries
assert gain["on the 40 queries that chose it"] > gain["on the 160 others"] + 0.003

# %% [markdown]
# Part of the gain was luck. (And what is left belongs to a lucky seed, not to the method.) Choose on validation
# queries; report all seeds.
#
# ### Trap 9: no interval, or the wrong one
#
# How far can a mean over few queries be off? Take 30 queries, build an interval, see whether it holds the mean of
# all; a thousand times. The bootstrap draws *queries*. The tempting short cut takes each of the ten results of
# each query as a witness of its own.

# %%
tries, n_few = np.random.RandomState(SEED), 30
p10 = evaluate(small, truth, metrics="p@10", n_bootstrap=0).per_query["p@10"].to_numpy()
held, widths = {"queries": [], "single results": []}, {"queries": [], "single results": []}
for _ in range(1000):
    some = tries.choice(p10, n_few)
    boot = np.percentile(some[tries.randint(0, n_few, (400, n_few))].mean(axis=1), [2.5, 97.5])
    half = 1.96 * np.sqrt(some.mean() * (1 - some.mean()) / (10 * n_few))
    for name, (a, b) in (("queries", boot), ("single results", (some.mean() - half, some.mean() + half))):
        held[name].append(a <= p10.mean() <= b)
        widths[name].append(b - a)
cover = pd.DataFrame({"holds the true mean": held, "mean width": widths}).map(np.mean)
cover.round(3)

# %% tags=["claim"]
assert cover.loc["queries", "holds the true mean"] > 0.85
assert cover.loc["single results", "holds the true mean"] < 0.8

# %% [markdown]
# Both promise 95 %. The bootstrap over queries comes close; with so few queries it is still a little too narrow.
# The short cut is far off, because the ten results of one query succeed and fail together. (Where queries share
# an object, they do too: then draw objects, as [notebook 00](00_start_here.ipynb) does.)
#
# ### Trap 10: comparing intervals instead of queries
#
# Two methods, half of the queries, and intervals that overlap. Is the difference chance? Both methods answered
# the same queries, hard ones and easy ones; what counts is the difference *on each query*.

# %%
some_queries = np.arange(0, len(queries), 2)
pair = {name: systems[name].select(some_queries) for name in ("4 x 4 pixels", "8 x 8 pixels")}
paired = compare(pair, truth, n_draws=5000, random_state=SEED)
print(paired.summary[["mean", "low", "high"]].round(3).to_string())
paired.pairs[["a", "b", "difference", "low", "high", "p", "a_better", "b_better"]].round(4)

# %% tags=["claim"]
better, worse = paired.summary.loc["8 x 8 pixels"], paired.summary.loc["4 x 4 pixels"]
assert better["low"] < worse["high"]  # the intervals overlap ...
assert (
    paired.pairs.loc[0, "low"] > 0 and paired.pairs.loc[0, "p"] < 0.05
)  # ... and the difference is no chance
assert paired.pairs.loc[0, "a"] == "8 x 8 pixels"

# %% [markdown]
# With more than two methods, the p-values have to be corrected for the number of pairs; `compare` does so
# (`p_holm`), and [notebook 00](00_start_here.ipynb) shows it.
#
# ### Trap 11: the index misses, and the embedding gets the blame
#
# Large databases are searched approximately ([notebook 12](12_approximate_search.ipynb)). If the score drops, is the
# embedding bad, or did the index not find what lies nearest? Ask the exact index the same question. `overlap@10` is
# the share of the true ten nearest neighbours that were found (the "recall" of approximate search, and a third
# meaning of the word).

# %%
all_queries, all_database = views.split()
all_truth = all_queries.relevance(all_queries, all_database)
candidates = {
    "exact": None,
    "IVF-PQ, 1 byte": IVFPQ(n_lists=16, n_codes=1, nprobe=1, rerank=0, random_state=SEED),
    "IVF-PQ, 8 bytes, re-ranked": IVFPQ(n_lists=16, n_codes=8, nprobe=8, random_state=SEED),
}

# %%
by_index, nearest = {}, None
for name, index in candidates.items():
    ten = Retriever(pixels, index).fit(all_database).search(all_queries, k=10)
    by_index[name] = evaluate(ten, all_truth, metrics=["p@1", "map@10"], ties="expected", n_bootstrap=0).summary["mean"]
    nearest = ten.indices if index is None else nearest
    shared = [len(np.intersect1d(a, b)) / 10 for a, b in zip(ten.indices, nearest, strict=True)]
    by_index[name]["overlap@10"] = np.mean(shared)
by_index = pd.DataFrame(by_index).T
by_index.round(3)

# %% tags=["claim"]
assert by_index.loc["IVF-PQ, 1 byte", "overlap@10"] < 0.65
assert by_index.loc["IVF-PQ, 1 byte", "map@10"] < by_index.loc["exact", "map@10"] - 0.03
assert by_index.loc["IVF-PQ, 8 bytes, re-ranked", "map@10"] > by_index.loc["exact", "map@10"] - 0.03

# %% [markdown]
# One embedding, three scores. State the index, and its overlap with the exact one, beside every score.
#
# ### Trap 12: a map read as evidence
#
# "The map shows well separated clusters." Maps such as t-SNE and UMAP are made to show clusters. Here is pure
# noise, 200 vectors of 50 random numbers, in three planes: a t-SNE map, the first two principal components, and
# the first two columns, on which no method has worked at all. The colours are groups that k-means finds *in the
# plane*. The silhouette says how separate groups are (1: far apart, 0: not at all).


# %%
def planes_of(embeddings):
    """Three ways to draw embeddings (n, d) in the plane: name to points (n, 2)."""
    tsne = manifold.TSNE(perplexity=5, max_iter=500, init="pca", random_state=SEED)
    pca = decomposition.PCA(2, random_state=SEED)
    flat = {"t-SNE": tsne.fit_transform(embeddings), "PCA": pca.fit_transform(embeddings)}
    return flat | {"two columns": embeddings[:, :2]}


def groups_in(plane, n_groups):
    """Group of each point (n, 2) as k-means finds it in the plane: (n,)."""
    return cluster.KMeans(n_groups, n_init=3, random_state=SEED).fit_predict(plane)


# %% tags=["gallery"]
noise = np.random.RandomState(SEED).randn(200, 50)
fig, axes = plt.subplots(1, 3, figsize=(10, 4), layout="constrained")
seen = pd.DataFrame(columns=["in the plane", "among the vectors"], dtype=float)
for ax, (name, plane) in zip(axes, planes_of(noise).items(), strict=True):
    groups, faithful = groups_in(plane, 8), manifold.trustworthiness(noise, plane, n_neighbors=10)
    seen.loc[name] = silhouette_score(plane, groups), silhouette_score(noise, groups)
    plots.embedding_map(plane, groups, ax=ax).get_legend().remove()
    told = f"silhouette {seen.loc[name, 'in the plane']:.2f}, trustworthiness {faithful:.2f}"
    ax.set_title(f"{name}\n{told}", fontsize=10)
fig.suptitle("Groups found in pure noise, in three planes", fontsize=13)
plots.show(plots.describe(fig, "Noise in three planes: k-means finds eight neat groups in each."))

# %% [markdown]
# (Trustworthiness is 1 where neighbours in the plane are neighbours among the vectors, and 0.5 for a random plane.)
#
# The silhouette in the plane says nothing about t-SNE, nor about the noise. The groups were found in the plane and
# scored in the same plane, and k-means cuts any cloud of points into compact pieces. So score the same groups among the
# vectors. Can that score find groups at all? As a control, the same steps on 200 digits:

# %% tags=["claim"]
digit_vectors = vectors[::9]  # (200, d)
digit_groups = groups_in(planes_of(digit_vectors)["t-SNE"], 8)
real = silhouette_score(digit_vectors, digit_groups)
print((seen.round(2) + 0.0).to_string())  # + 0.0: -0.00 becomes 0.00
print(f"groups found on a map of digits: silhouette {real:.2f} among the vectors")
assert seen["among the vectors"].abs().max() < 0.05
assert real > 0.1
assert (seen["in the plane"] > 0.25).all()  # noise looks grouped in every plane

# %% [markdown]
# A map may suggest a question; the answer is a score on the vectors themselves, with noise as the control.

# %% [markdown] tags=["extra"]
# ### What t-SNE adds to noise (extra)
#
# Cut the planes of five draws of noise into more and smaller groups:

# %% tags=["extra"]
group_counts, in_planes = (4, 8, 16, 32, 48), []
for draw in range(5):
    for name, plane in planes_of(np.random.RandomState([SEED, draw]).randn(200, 50)).items():
        for n_groups in group_counts:
            score = silhouette_score(plane, groups_in(plane, n_groups))
            in_planes.append({"plane": name, "groups": n_groups, "draw": draw, "silhouette": score})
in_planes = pd.DataFrame(in_planes).pivot_table("silhouette", ["groups", "draw"], "plane")
over_draws = in_planes.groupby("groups")
over_draws.mean().round(3)

# %% tags=["extra"]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, mark, colour in zip(in_planes, "os^", plots.style.COLOURS[:3], strict=True):
    ax.plot(group_counts, over_draws[name].mean(), mark + "-", color=colour, label=name)
    ends_of = over_draws[name].min(), over_draws[name].max()
    ax.fill_between(group_counts, *ends_of, color=colour, alpha=0.15)
ax.set(xlabel="groups that k-means is asked for", ylabel="silhouette in the plane", ylim=(0.2, 0.6))
ax.legend(frameon=False, ncols=3)
words = "Silhouette by number of groups: t-SNE is above the others for many groups only."
plots.show(plots.describe(ax, words))

# %% tags=["extra", "claim"]
controls = in_planes[["PCA", "two columns"]].max(axis=1)
added = (in_planes["t-SNE"] - controls).groupby("groups").mean()
print("t-SNE over the better of the two controls:", added.round(3).to_dict())
assert abs(added[8]) < 0.04 and added[48] > 0.03

# %% [markdown] tags=["extra"]
# (Bands reach from the lowest to the highest draw.) A few large groups look no better on the map than in two columns
# of noise. Many small ones do: t-SNE pulls the nearest neighbours of each point together, about as many as its
# *perplexity* says, here 5; and noise has nearest neighbours too. The clumps and gaps that you see are of that size.

# %% [markdown] tags=["extra"]
# ## One threshold for all queries: micro-AP (extra)
#
# Copy detection and landmark recognition ask another question: not "what is nearest to this query?" but "is this pair
# a match?". One threshold on the distance has to do for all queries. So all pairs of a query and a database image go
# into *one* list, sorted by distance, and the average precision of that list is **micro-AP** (µAP or GAP; Douze et al.
# 2021, [arXiv:2106.09672](https://arxiv.org/abs/2106.09672), for copies; Weyand et al. 2020, *CVPR*,
# [arXiv:2004.01804](https://arxiv.org/abs/2004.01804), for landmarks). mAP is the *macro* average: first one AP per
# query, then the mean.


# %% tags=["extra"]
def pool(distances, relevant):
    """All pairs in one list, nearest first: relevance (n * m,) and query (n * m,) of each pair."""
    order = np.argsort(distances, axis=None, kind="stable")  # distances (n, m)
    return np.ravel(relevant)[order], order // np.shape(distances)[1]


def micro_ap(relevant, query, counts):
    """Average precision of a pooled list in which query i stands counts[i] times."""
    weight = counts[query]
    hits = np.cumsum(weight * relevant)
    precision = hits / np.maximum(np.cumsum(weight), 1)
    return (weight * relevant * precision).sum() / hits[-1]


# %% [markdown] tags=["extra"]
# Three queries with four database images each. Every query puts its positives first, so mAP is 1. Then the distances
# of query *c* shrink to a fifth; its own ranking stays the same. Before you run the cell: what happens to mAP, and
# what to micro-AP?

# %% tags=["extra"]
three_lists = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)  # queries a, b, c
one_scale = np.array([[0.10, 0.50, 0.60, 0.80], [0.20, 0.30, 0.70, 0.90], [0.15, 0.55, 0.65, 0.85]])
two_scales = one_scale * np.array([[1], [1], [0.2]])
pooled_scores = {}
for name, apart in (("one scale", one_scale), ("c on a scale of its own", two_scales)):
    pooled_hits, of_query = pool(apart, three_lists)
    micro = micro_ap(pooled_hits, of_query, np.ones(3))
    pooled_scores[name] = metrics.average_precision(three_lists).mean(), micro
    letters = np.array(list("abc"))[of_query]
    print(f"{name}:", *np.char.add(letters, np.where(pooled_hits, "+", "-")))
pd.DataFrame(pooled_scores, index=["mAP", "micro-AP"]).T.round(3)

# %% tags=["extra"]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.4), layout="constrained", sharey=True)
for ax, apart, name in zip(axes, (one_scale, two_scales), pooled_scores, strict=True):
    for place in range(3):
        yes = three_lists[place]
        ax.plot(apart[place][yes], [place] * yes.sum(), "o", ms=9, color=plots.style.BLUE)
        ax.plot(apart[place][~yes], [place] * (~yes).sum(), "x", ms=9, color=plots.style.VERMILLION)
    ax.axvline(0.4, color=plots.style.GREY, ls="--")
    ax.set_title(f"{name}: micro-AP {pooled_scores[name][1]:.3f}", fontsize=11)
    ax.set(xlabel="distance (no unit)", xlim=(0, 1))
axes[0].set(yticks=range(3), yticklabels=list("abc"), ylabel="query", ylim=(2.5, -0.5))
words = "Pairs of three queries by distance: positives, negatives, a threshold as dashed line."
plots.show(plots.describe(fig, words))

# %% [markdown] tags=["extra"]
# Circles are positives, crosses negatives. On one scale the dashed threshold separates them all. On two scales no
# threshold does: one that takes in the positives of *b* takes in every negative of *c*. By hand, the four positives now
# stand at ranks 1, 2, 6 and 7 of the pooled list.

# %% tags=["extra", "claim"]
assert np.allclose(pooled_scores["one scale"], 1)
by_hand = (1 / 1 + 2 / 2 + 3 / 6 + 4 / 7) / 4
assert np.allclose(pooled_scores["c on a scale of its own"], [1, by_hand])
assert np.isclose(by_hand, average_precision_score(three_lists.ravel(), -two_scales.ravel()))

# %% [markdown] tags=["extra"]
# Does this happen with real distances? For the 4 × 4 pixels, divide the distances of each query by their median, which
# needs no labels and leaves mAP as it is. The control divides by the median of *another* query.

# %% tags=["extra"]
apart, is_hit = small.distances, truth.relevant(small.indices)  # (n_queries, n_database)
middle = np.median(apart, axis=1, keepdims=True)
others = np.random.RandomState(SEED).permutation(middle)
scaled = {"as they are": apart, "own median": apart / middle, "another's median": apart / others}
pooled = {name: pool(one, is_hit) for name, one in scaled.items()}
score = {name: micro_ap(*one, np.ones(len(queries))) for name, one in pooled.items()}
counts = [np.bincount(draw, minlength=len(queries)) for draw in draws[:300]]  # queries are drawn
in_draws = pd.DataFrame({name: [micro_ap(*one, c) for c in counts] for name, one in pooled.items()})
change = in_draws.sub(in_draws["as they are"], axis=0).quantile([0.025, 0.975])

# %% tags=["extra"]
macro = m["4 x 4 pixels"]
by_scale = pd.DataFrame({"micro-AP": score, "low": change.iloc[0], "high": change.iloc[1]})
by_scale.insert(1, "change", by_scale["micro-AP"] - score["as they are"])
print(f"mAP is {macro:.3f} in every row; low, high: 95 % interval over queries of the change")
by_scale.round(3)

# %% tags=["extra", "claim"]
assert score["as they are"] < macro - 0.03
assert by_scale.loc["own median", "low"] > 0.02  # most of the gap was scale
assert by_scale.loc["another's median", "high"] < 0  # dividing by just any number does harm

# %% [markdown] tags=["extra"]
# Two more differences: a query with many positives weighs more in micro-AP than one with few, and a query *without* any
# positive counts, since all of its results are false alarms. mAP leaves such a query out. State which of the two
# you report; a method can be better in one and worse in the other.
#
# ## Junk in revisited Oxford (extra)
#
# Radenović et al. (2018, *CVPR*, [arXiv:1803.11285](https://arxiv.org/abs/1803.11285)) labelled the Oxford and Paris
# buildings again. For each query, a database image is *easy* (the building is clearly seen), *hard* (seen under
# conditions that are difficult to match), *unclear* (nobody can tell, or it shows another side), or negative. Three
# settings use the same labels:
#
# | setting | positives | junk, deleted before ranks are counted |
# |---|---|---|
# | easy | easy | hard, unclear |
# | medium | easy, hard | unclear |
# | hard | hard | easy, unclear |
#
# Take a ranked list of eight images. Work out the three APs on paper first.

# %% tags=["extra"]
eight = list("abcdefgh")  # as ranked, nearest first
kinds = ["easy", "unclear", "negative", "hard", "easy", "negative", "hard", "negative"]
settings = {  # positives, junk
    "easy": (["easy"], ["hard", "unclear"]),
    "medium": (["easy", "hard"], ["unclear"]),
    "hard": (["hard"], ["easy", "unclear"]),
}
shown_list = pd.DataFrame({"label": kinds}, index=pd.Index(eight, name="image"))
for name, (good, junk) in settings.items():
    judged = np.where(np.isin(kinds, good), "right", "wrong")
    shown_list[name] = np.where(np.isin(kinds, junk), "deleted", judged)
shown_list.T

# %% [markdown] tags=["extra"]
# In *easy*, five images are left, with hits at ranks 1 and 3; in *medium* seven, with hits at 1, 3, 4 and 6; in *hard*
# five, with hits at 2 and 4. The package gets the junk as a list for each query. The last column counts junk as
# wrong instead.

# %% tags=["extra"]
on_paper = {
    "easy": (1 / 1 + 2 / 3) / 2,
    "medium": (1 / 1 + 2 / 3 + 3 / 4 + 4 / 6) / 4,
    "hard": (1 / 2 + 2 / 4) / 2,
}

# %% tags=["extra"]
one_ranking, revisited = Ranking.from_distances([np.arange(8.0)], ["q"], eight), {}
for name, (good, junk) in settings.items():
    positives, ignored = (np.array(eight)[np.isin(kinds, some)] for some in (good, junk))
    revisited[name] = {"by hand": on_paper[name]}
    for column, left_out in (("junk deleted", ignored), ("junk as wrong", [])):
        known = Relevance.from_sets(["q"], eight, [positives], junk=[left_out])
        revisited[name][column] = evaluate(one_ranking, known, metrics="map", n_bootstrap=0)["map"]
revisited = pd.DataFrame(revisited).T
revisited.round(3)

# %% tags=["extra", "claim"]
assert np.allclose(revisited["by hand"], revisited["junk deleted"])
for name, (good, junk) in settings.items():  # what_counts, from the beginning, agrees
    positives, ignored = (np.array(eight)[np.isin(kinds, some)] for some in (good, junk))
    counted = what_counts(eight, "q", positives, ignored)
    assert np.isclose(metrics.average_precision(counted, len(positives)), on_paper[name])
assert (revisited["junk as wrong"] < revisited["junk deleted"] - 0.05).all()

# %% [markdown] tags=["extra"]
# Counting junk as wrong would punish a method in *hard* for finding the easy images first, as any good method does. The
# same list has three scores, so a paper must name the setting; most report medium and hard. Some queries have no easy
# image: in *easy* they are left out of the mean. The official code takes AP by trapezoids (trap 5).

# %% [markdown]
# ## Try it
#
# Click a result: relevant, not relevant, junk. Click the sign between two results to tie them. Choose a number
# in the table to see, term by term, how it comes about. Can you find a list with an AP below 0.1 whose "AP@k over
# hits" is 1?

# %%
lab = explore.MetricLab(preset="ties of 2, 3 and 4")
lab

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(lab.static())

# %% [markdown]
# The lab holds the examples, worked by hand, by which the package is tested; each shows why published numbers disagree.

# %%
presets = {name: explore.MetricLab(preset=name).table["value"] for name in lab.presets}
called_map = ["map", "trapezoid_map", "map@r", "expected_map", "worst_map", "best_map"]
pd.DataFrame(presets).T[called_map].round(3)

# %% [markdown]
# ## Exercise 1 ★ average precision
#
# Write it. `relevant` holds true and false, nearest first; `n_positives` is $R$. A query without positives
# gives `float("nan")`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Count hits from the first rank on. Where a hit stands, take hits / rank. Add these up, and divide by R.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.cumsum(relevant)` counts, `np.arange(1, len(relevant) + 1)` are the ranks, and `[relevant]` picks.
#
# </details>


# %% tags=["exercise"]
def average_precision(relevant, n_positives):
    """Average precision: relevant (n,) bool, n_positives int -> float."""
    raise NotImplementedError


checks.check_average_precision(average_precision)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_average_precision(relevant, n_positives):
    if n_positives == 0:
        return float("nan")
    precisions = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return precisions[relevant].sum() / n_positives


checks.check_average_precision(solution_average_precision)

# %% [markdown]
# A right answer gives, for the example query at the top, the first number of its table:

# %%
example_hits = truth.relevant(small.indices)[at]
print(f"AP of query {example}: {metrics.average_precision(example_hits, truth.n_positives[at]):.3f}")

# %% [markdown]
# ## Exercise 2 ★★ find the bugs
#
# This function was found in a repository. It runs, it returns numbers between 0 and 1, and it is wrong in three
# ways. Try it on small lists, find them, and write it right.


# %%
def faulty_average_precision(relevant, n_positives):
    hits, total = 0, 0.0
    for rank, is_relevant in enumerate(relevant, start=1):
        if is_relevant:
            total += hits / rank
            hits += 1
    return total / max(hits, 1)


for faulty_case in ([True], [True, True], [False, True, False, True]):
    print(faulty_case, faulty_average_precision(faulty_case, 2))

# %% [markdown]
# <details><summary>Hint 1: the idea</summary>
#
# Work [True] with R = 1 by hand: it is perfect. Then [True] with R = 2. Then a query with R = 0.
#
# </details>
# <details><summary>Hint 2: the lines</summary>
#
# When is a hit counted, before or after the precision at its rank is taken? What is `n_positives` for? And what
# does `max(hits, 1)` hide?
#
# </details>


# %% tags=["exercise"]
def mended_average_precision(relevant, n_positives):
    """Average precision, the faulty function above made right."""
    raise NotImplementedError


checks.check_mended_average_precision(mended_average_precision)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_mended_average_precision(relevant, n_positives):
    hits, total = 0, 0.0
    for rank, is_relevant in enumerate(relevant, start=1):
        if is_relevant:
            hits += 1  # counted before the precision is taken
            total += hits / rank
    return total / n_positives if n_positives else float("nan")  # R, not the hits; no positives, no AP


checks.check_mended_average_precision(solution_mended_average_precision)

# %% [markdown]
# What the bugs are worth on our digits:

# %%
every_hit = truth.relevant(small.indices)
wrong = np.mean([faulty_average_precision(h, n) for h, n in zip(every_hit, truth.n_positives, strict=True)])
print(
    f"mAP of 4 x 4 pixels: {m['4 x 4 pixels']:.3f}; by the faulty function {wrong:.3f}, and nothing looks odd"
)

# %% [markdown]
# ## Exercise 3 ★★ what counts
#
# Remove the query **by its id**, and the junk, from a ranked list. The query may stand anywhere, or be missing;
# so may the junk.
#
# <details><summary>Hint 1: the idea</summary>
#
# Do not count places. Ask of each id whether it is one of those that must go.
#
# </details>
# <details><summary>Hint 2: the call</summary>
#
# `np.isin(ranked_ids, [query_id, *junk_ids])` is true where an id is one of these; `~` turns it round.
#
# </details>


# %% tags=["exercise"]
def counted_results(ranked_ids, query_id, junk_ids):
    """Results that count, in order: (n,) array of str, str, list of str -> array of at most n str."""
    raise NotImplementedError


checks.check_counted_results(counted_results)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_counted_results(ranked_ids, query_id, junk_ids):
    return ranked_ids[~np.isin(ranked_ids, [query_id, *junk_ids])]


checks.check_counted_results(solution_counted_results)

# %% [markdown]
# ## Exercise 4 ★★★ an interval over queries
#
# `scores` holds one score for each query, NaN for a query without positives. Each row of `draws` names the
# queries of one bootstrap draw, as positions among those that **have** a score. Return the ends of the 95 %
# percentile interval of the mean, as `np.percentile` finds them.
#
# <details><summary>Hint 1: the idea</summary>
#
# Leave the NaNs out. Then every row of draws gives a mean; the interval leaves out 2.5 % of the means on
# either side.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `scored[draws]` has the shape of `draws`; then `.mean(axis=1)` and `np.percentile(means, [2.5, 97.5])`.
#
# </details>


# %% tags=["exercise"]
def bootstrap_interval(scores, draws):
    """95 % interval of the mean: scores (n_queries,), draws (n_draws, n_scored) int -> (low, high)."""
    raise NotImplementedError


checks.check_bootstrap_interval(bootstrap_interval)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_bootstrap_interval(scores, draws):
    scored = scores[~np.isnan(scores)]  # (n_scored,)
    means = scored[draws].mean(axis=1)  # (n_draws, n_scored) -> (n_draws,)
    low_end, high_end = np.percentile(means, [2.5, 97.5])
    return low_end, high_end


checks.check_bootstrap_interval(solution_bootstrap_interval)

# %% [markdown]
# The picture behind it: the means of a thousand draws of the queries, and where the interval ends.

# %%
ap_small = compared.per_query["4 x 4 pixels"].to_numpy()
drawn_means = ap_small[draws].mean(axis=1)
cuts = np.percentile(drawn_means, [2.5, 97.5])
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.hist(drawn_means, bins=30, color=plots.style.SKY)
for end, side, shift in zip(cuts, ("low", "high"), (-58, 5), strict=True):
    ax.axvline(end, color=plots.style.VERMILLION, ls="--")
    ax.annotate(f"{side} {end:.3f}", (end, 0), (shift, 95), textcoords="offset points")
ax.set(xlabel="mAP of 4 x 4 pixels in a draw of 200 queries", ylabel="draws")
words = f"Histogram of the mAP in 1,000 bootstrap draws; the 95 % interval is {cuts[0]:.3f} to {cuts[1]:.3f}."
plots.show(plots.describe(ax, words))

# %% [markdown]
# ## What we learned
#
# - "mAP" names at least six numbers. A score without its protocol (estimator, cut-off, divisor, query, junk,
#   ties, split, queries left out) cannot be compared with anything.
# - The query is removed by its id, junk before ranks are counted, and ties are scored by their expectation.
# - What learns must learn elsewhere, and near-duplicates are looked for before measuring.
# - Queries are the witnesses: intervals are drawn over them, and methods are compared on each of them. An interval over
#   queries knows nothing of seeds: report several.
#
# Every score that the kit computes carries its protocol. This is the one of the table under *Measure it*:

# %%
print(compared.protocol)

# %% [markdown]
# ### Check yourself
#
# <details><summary>1. A paper reports Recall@1 = 0.80 where each query has 160 positives. What did it compute?</summary>
#
# The hit rate: recall in the sense of this notebook cannot exceed 1/160 with a single result.
#
# </details>
# <details><summary>2. Why is AP@10 divided by the hits found a bad idea?</summary>
#
# A list with one hit, at rank 1, scores 1 whatever else it misses; finding more can only lower the score.
#
# </details>
# <details><summary>3. You have 16-bit codes and NumPy's argsort. Which mAP do you report?</summary>
#
# The expectation over orders within ties. What argsort gives depends on the order in which files were read.
#
# </details>
# <details><summary>4. Two intervals overlap. May you say that the methods do not differ?</summary>
#
# No. Compare them query by query: hard queries are hard for both, and that common part cancels.
#
# </details>
#
# ### What breaks at a million images

# %%
million, kept = 10**6, 100
share = truth.n_positives.mean() / len(database)
Markdown(
    f"A full ranking of a million images is {million * 16 / 1e6:.0f} MB a query (positions and distances), so "
    f"rankings get cut, and AP of a cut list is another number: with {share:.0%} positives, the first {kept} of a "
    f"million hold at most {kept / (share * million):.1%} of them. Use AP@k, and say so. Nobody judges a million "
    "images for every query: positives that nobody marked count as wrong. And among a million there are always "
    "near-duplicates."
)

# %% [markdown]
# ### Further reading
#
# - Buckley and Voorhees (2000), *Evaluating evaluation measure stability*, SIGIR,
#   [doi:10.1145/345508.345543](https://doi.org/10.1145/345508.345543). How many queries it takes before a
#   measure says something.
# - McSherry and Najork (2008), *Computing information retrieval performance measures efficiently in the presence
#   of tied scores*, ECIR, [doi:10.1007/978-3-540-78646-7_38](https://doi.org/10.1007/978-3-540-78646-7_38). The
#   closed forms behind trap 3.
# - Musgrave, Belongie and Lim (2020), *A metric learning reality check*, ECCV,
#   [arXiv:2003.08505](https://arxiv.org/abs/2003.08505). Ten years of progress, measured again under one
#   protocol: most of it is gone. MAP@R comes from here.
# - Radenović, Iscen, Tolias, Avrithis and Chum (2018), *Revisiting Oxford and Paris*, CVPR,
#   [arXiv:1803.11285](https://arxiv.org/abs/1803.11285). Wrong labels found and mended, junk defined, and the
#   trapezoid kept.
# - Smucker, Allan and Carterette (2007), *A comparison of statistical significance tests for information
#   retrieval evaluation*, CIKM, [doi:10.1145/1321440.1321528](https://doi.org/10.1145/1321440.1321528). Why the
#   paired permutation test.
# - Barz and Denzler (2020), *Do we train on test data? Purging CIFAR of near-duplicates*, J. Imaging,
#   [arXiv:1902.00423](https://arxiv.org/abs/1902.00423). Trap 7 in a data set that everybody used.
#
# <!-- links:start -->
# Previous: [00_start_here](00_start_here.ipynb) · [course map](00_start_here.ipynb) · Next: [02_local_features](02_local_features.ipynb)
# <!-- links:end -->
