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
# Measured with SEED = 0, 1, 2, 3: map@10/hits .79 .83 .83 .90, map@10/R .030 .031 .032 .035.
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
# pixels are all that these images have. VLAD, the best method of [notebook 00](00_start_here.ipynb), is missing: it
# was made for photographs.

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
# Measured with SEED = 0, 1, 2, 3: random .103 .104 .104 .103,
# colour histogram .130 .128 .127 .126, 4 x 4 .591 .576 .592 .600, 8 x 8 .672 .648 .663 .664.
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
# Measured with SEED = 0, 1, 2, 3: own class -.86 -.83 -.83 -.88, others .10 .22 .11 .17; P@10 .76 .72 .70 .62.
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
# Measured with SEED = 0, 1, 2, 3: left in 1.00 each, left out .09 .10 .10 .10.
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
# Measured with SEED = 0, 1, 2, 3: still there .53 .51 .57 .52; P@1 too high by .06 .06 .07 .10.
assert still_there > 0.3
assert right["first column dropped"] > right["removed by id"] + 0.03

# %% [markdown]
# The dropped image was another one, and the query stayed in its own list as a hit. The same happens with exact
# copies, with images that have no key point ([notebook 00](00_start_here.ipynb)), and with an approximate index that
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
# Measured with SEED = 0, 1, 2, 3: spread of 16 bits .14 .14 .15 .14, of 64 bits .05 .05 .05
# .04; best of 8 bits .47 .45 .44 .45, worst of 16 bits .27 .29 .34 .35.
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
# Measured with SEED = 0, 1, 2, 3: by hits, ten .93 .93 .93 .92, first .93 .95 .93 .92;
# by min(k, R), ten .86 .83 .85 .84, first .09 .10 .09 .09.
assert cautious.loc["only the first", "hits"] > cautious.loc["ten results", "hits"] - 0.05
assert cautious.loc["only the first", "min(k, R)"] < cautious.loc["ten results", "min(k, R)"] / 4

# %% [markdown]
# ### Trap 5: finite sum against trapezoid
#
# The official code of the Oxford and Paris benchmarks takes, at each hit, the mean of the precision before and after
# it: the area under the curve by trapezoids. Where positives are plenty, as among the digits, that hardly matters.
# Where they are few it does. For that we need photographs: views of pieces, as in [notebook 00](00_start_here.ipynb),
# only milder. Half of the pieces are set aside for trap 6.

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
# Measured with SEED = 0, 1, 2, 3: views .016 .016 .013 .017, digits .001 each.
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
# Measured with SEED = 0, 1, 2, 3: labels .37 .34 .37 .36; 16 dimensions .06 .07 .04 .05;
# 128 dimensions -.14 -.23 -.17 -.21.
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
# Measured with SEED = 0, 1, 2, 3: P@1 .58 .48 .45 .50 clean, .73 .63 .58 .63 with copies;
# all copies caught; alarms 0 0 1 0.
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
draws = np.random.RandomState(SEED).randint(0, len(queries), (1000, len(queries)))
low, high = np.percentile(runs[0][draws].mean(axis=1), [2.5, 97.5])
inside = np.mean((runs.mean(axis=1) >= low) & (runs.mean(axis=1) <= high))
print(
    f"mAP of 20 runs: {runs.mean():.3f}, from {runs.mean(axis=1).min():.3f} to {runs.mean(axis=1).max():.3f}"
)
print(f"the interval of run 0 over queries, {low:.3f} to {high:.3f}, holds {inside:.0%} of the runs")

# %% [markdown]
# The interval over queries tells how the score of *this* run would change with other queries. It knows nothing
# of other seeds: report both. And what if one takes the run (or the epoch) with the best score on the test
# queries? To see, let 40 queries choose, and measure the chosen run on the other 160; a thousand times.

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
# Measured with SEED = 0, 1, 2, 3: from lowest to highest run .11 .13 .13 .13; inside .05 .50
# .75 .30; gain on the 40 .059 .068 .067 .064, on the others .033 .043 .053 .046.
assert np.ptp(runs.mean(axis=1)) > 0.05 and inside < 0.95
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
# Measured with SEED = 0, 1, 2, 3: queries .89 .93 .91 .92, single results .61 .62 .68 .60.
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
# Measured with SEED = 0, 1, 2, 3: overlap .009 .029 .039 .048; difference .085 .070 .048
# .035, its low end .052 .041 .019 .010; p .0002 .0002 .0024 .0086.
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
# Measured with SEED = 0, 1, 2, 3: overlap .51 .52 .52 .50; map@10 exact .48 .48 .46 .44,
# 1 byte .39 .39 .40 .37, re-ranked .47 .47 .46 .43.
assert by_index.loc["IVF-PQ, 1 byte", "overlap@10"] < 0.65
assert by_index.loc["IVF-PQ, 1 byte", "map@10"] < by_index.loc["exact", "map@10"] - 0.03
assert by_index.loc["IVF-PQ, 8 bytes, re-ranked", "map@10"] > by_index.loc["exact", "map@10"] - 0.03

# %% [markdown]
# One embedding, three scores. State the index, and its overlap with the exact one, beside every score.
#
# ### Trap 12: a map read as evidence
#
# "The map shows well separated clusters." Maps such as t-SNE and UMAP are made to show clusters. Here is a map
# of pure noise, 200 vectors of 50 random numbers, in colours that k-means finds *on the map*. The silhouette
# (1: separate groups, 0: none) of the same groups, on the map and among the vectors, says how much is there.

# %% tags=["gallery"]
noise = np.random.RandomState(SEED).randn(200, 50)
on_map = manifold.TSNE(perplexity=5, max_iter=500, init="pca", random_state=SEED).fit_transform(noise)
groups = cluster.KMeans(8, n_init=3, random_state=SEED).fit_predict(on_map)
seen = {"on the map": silhouette_score(on_map, groups), "among the vectors": silhouette_score(noise, groups)}
print("silhouette:", ", ".join(f"{value:.2f} {name}" for name, value in seen.items()))
fig, ax = plt.subplots(figsize=(5.4, 4), layout="constrained")
ax = plots.embedding_map(on_map, groups, embeddings=noise, ax=ax)
ax.get_legend().remove()
ax.set_title(f"Groups found in pure noise, by a map (t-SNE)\n{ax.get_title()}", fontsize=10)
ax.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
plots.show(ax)

# %% tags=["claim"]
# Measured with SEED = 0, 1, 2, 3: on the map .37 .36 .35 .35, among the vectors .00 each.
# UMAP (300 points, 5 neighbours, 6 groups), not run here for its start-up time: .38 .40 .36 .36 and .00 each.
assert seen["on the map"] > 0.25 and abs(seen["among the vectors"]) < 0.05

# %% [markdown]
# The groups are an artefact. A map may suggest a question; the answer is a score on the vectors themselves.
#
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
