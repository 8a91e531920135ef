# %% [markdown]
# # 13 · On device: how small can a search engine be?
#
# **Question.** You want to search the photographs on a phone, without a server. What do you lose if the network and
# its embeddings shrink to a quarter, or to a fiftieth?
#
# **Time:** about a minute and a half to run, offline; an hour to work through. **Before this:** notebooks
# [01](01_measuring_retrieval.ipynb), [03](03_cnn_features.ipynb) and [11](11_hashing.ipynb).
#
# <!-- links:start -->
# Previous: [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: [14_object_retrieval](14_object_retrieval.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **export** a network to ONNX and show that it computes the same;
# - **quantise** it to 8 bits, with the right calibration images, and tell why the wrong ones fail;
# - **cut** embeddings to a few bytes, and choose how by measurement.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import pandas as pd
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from torch.nn import functional as F

from cbirkit import Ranking, Retriever, checks, compare, compress, datasets, evaluate, explore, plots
from cbirkit.encoders import Deep
from cbirkit.encoders.base import unit
from cbirkit.indexes import Exact

# %%
SEED = 0
N_TESTED, N_CALIBRATION = 16, 128
torch.set_num_threads(1)  # and onnxruntime has one, too: timings are of one core

# %% [markdown]
# ## The goal
#
# The pictures are rendered: 16 of 64 categories of objects are tested, drawn by `SEED`. A result is right if it shows
# the query's category; other views of the query's own object count neither way. What is learned, chosen or calibrated
# below sees pictures of the other 48 categories only. `lite0` was trained on ImageNet and has met none of them.

# %%
everything = datasets.load_tabletop()
names = np.random.RandomState(SEED).permutation(np.unique(everything.labels))
tested, split = np.isin(everything.labels, names[:N_TESTED]), everything.column("split")
queries, database = everything[tested].split()
aside = everything[~tested & (split == "aside")]
truth = queries.relevance(queries, database, by="label", junk="instance")


def order(query_rows, database_rows):
    """The ranking of the whole database, by embeddings."""
    distances, found = Exact().fit(database_rows).kneighbors(query_rows, len(database_rows))
    return Ranking(queries.ids, database.ids, found, distances)


# %% [markdown]
# **ONNX** is a file format for networks: a graph of operators with their weights. Runtimes for phones and browsers read
# it. We export `lite0`, once, and make another file with 8 bits per weight and per activation.

# %%
folder = Path(tempfile.mkdtemp())
encoder = Deep("lite0", size=128, resize="squash", device="cpu")
rng = np.random.default_rng(SEED)
pictures = [aside[int(row)] for row in rng.choice(len(aside), N_CALIBRATION, replace=False)]
compress.to_onnx(encoder, folder / "float32.onnx")
exported = compress.OnnxEncoder(folder / "float32.onnx")
compress.to_onnx(exported, folder / "int8.onnx", precision="int8", calibration=pictures)
small = compress.OnnxEncoder(folder / "int8.onnx")
sizes = {path.stem: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.onnx"))}
print(", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items()))

# %% [markdown]
# **Predict** before you run the next cell: of the first ten results, how many does the small network share with the
# large one?

# %%
vectors = {name: [one.transform(part) for part in (queries, database)] for name, one in
           {"float32": exported, "int8": small}.items()}  # fmt: skip
rankings = {name: order(*parts) for name, parts in vectors.items()}

# %% tags=["gallery"]
per_query = {name: evaluate(r, truth, metrics=["map"], n_bootstrap=0).per_query["map"] for name, r in rankings.items()}
typical = int((per_query["float32"] - per_query["float32"].mean()).abs().argmin())
fig, axes = plt.subplots(2, 1, figsize=(9.4, 4.2), layout="constrained")
for ax, name in zip(axes, rankings, strict=True):
    shown = {"queries": queries, "relevance": truth, "rows": [queries.ids[typical]], "k": 7}
    plots.ranked_list(rankings[name], database, **shown, ax=ax)
    ax.set_title(f"{name}, {sizes[name]:.1f} MB", fontsize=10, loc="left")
plots.show(fig, dpi=72)

# %% [markdown]
# ## Background
#
# **Quantisation** stores a real number $x$ as a whole number $q$ of $b$ bits, with a step $s > 0$ and a zero point $z$
# (a whole number):
#
# $$q = \mathrm{clip}\big(\mathrm{round}(x / s) + z,\ q_{\min},\ q_{\max}\big), \qquad \hat{x} = s\,(q - z)$$
#
# Sums of products then run in whole numbers (Jacob et al. 2018, *CVPR*,
# [arXiv:1712.05877](https://arxiv.org/abs/1712.05877); Nagel et al. 2021,
# [arXiv:2106.08295](https://arxiv.org/abs/2106.08295)). Two kinds of numbers need a step:
#
# - **Weights** are known. One step for each output channel, $s = \max|w| / 127$, $z = 0$.
# - **Activations**, what flows between layers, depend on the image. *Static* quantisation fixes their ranges in advance,
#   from **calibration** images. *Dynamic* quantisation finds them anew in each layer for each image.
#
# Embeddings shrink too: fewer dimensions, fewer bits per dimension.

# %%
chains = [["image", "network,\n8 bits"], ["calibration\nimages", "ranges of\nactivations"]]
plots.show(plots.pipeline(chains, ["embedding", "fewer\ndimensions", "fewer bits"]))

# %% [markdown]
# ## Build it
#
# Weights first. A convolution's weights are (channels out, channels in, height, width).


# %%
def rounded(weights, per_channel=True):
    """Weights in 8 bits: whole numbers from -127 to 127, and the step, for each output channel or for all."""
    axes = tuple(range(1, weights.ndim)) if per_channel else None
    step = np.maximum(np.abs(weights).max(axis=axes, keepdims=True), 1e-12) / 127
    return np.round(weights / step).astype(np.int8), step


graph = onnx.load(folder / "float32.onnx").graph
weights = [onnx.numpy_helper.to_array(one) for one in graph.initializer]
weights = [one for one in weights if one.ndim == 4]  # convolutions
error = {}
for per_channel in (True, False):
    parts = [(one, *rounded(one, per_channel)) for one in weights]
    error[per_channel] = np.array([np.linalg.norm(w - q * s) / np.linalg.norm(w) for w, q, s in parts])

# %% [markdown]
# Are these the numbers in the file? And what does one step per channel bring?

# %% tags=["claim"]
stored = [onnx.numpy_helper.to_array(one) for one in onnx.load(folder / "int8.onnx").graph.initializer]
last = next(one for one in stored if one.shape == (1280, 320, 1, 1))  # the last convolution
ours, _ = rounded(next(one for one in weights if one.shape == last.shape))
print(f"equal to the file's: {(ours == last).mean():.4f} of the weights of the last layer")
assert (ours == last).mean() > 0.99 and np.abs(ours.astype(int) - last).max() <= 1
assert np.median(error[False] / error[True]) > 1.5

# %% [markdown]
# ## Measure it
#
# More files, all read by the same code, which resizes every picture alike: 16 bits, dynamic, and three controls of the
# calibration.

# %%
label = rng.choice(np.unique(aside.labels))
one_category = everything[(everything.labels == label)]
calibrations = {
    "int8, one category": [one_category[k] for k in range(len(one_category))],
    "int8, noise": list(rng.integers(0, 256, (N_CALIBRATION, 128, 128, 3), dtype=np.uint8)),
    "int8, plain grey": [np.full((128, 128, 3), 128, np.uint8)] * 4,
}
for name, images in calibrations.items():
    compress.to_onnx(exported, folder / f"{name}.onnx", precision="int8", calibration=images)
compress.to_onnx(exported, folder / "float16.onnx", precision="float16")
quantize_dynamic(str(folder / "float32.onnx"), str(folder / "int8, dynamic.onnx"), weight_type=QuantType.QUInt8)

# %%
fresh = [database[int(k)] for k in rng.choice(len(database), 24, replace=False)]
sources = {"pictures": pictures[:48]} | {name.split(", ")[1]: images[:48] for name, images in calibrations.items()}
FILES = ["float32", "float16", "int8", *calibrations, "int8, dynamic"]
engines = {name: compress.OnnxEncoder(folder / f"{name}.onnx") for name in FILES}
for name in ("float16", *calibrations):
    vectors[name] = [engines[name].transform(part) for part in (queries, database)]

# %%
vectors["int8, dynamic"] = [engines["int8, dynamic"].transform(part) for part in (queries, database)]
large = vectors["float32"]


# %%
def row(name):
    """Size of a file, mean average precision with one encoder or two, and agreement with the float network."""
    both, mixed = order(*vectors[name]), order(vectors[name][0], large[1])
    scores = [evaluate(r, truth, metrics=["map"], groups=queries.labels).summary.loc["map"] for r in (both, mixed)]
    overlap = compress.neighbour_overlap(np.vstack(large), np.vstack(vectors[name])).mean()
    cell = f"{scores[0]['mean']:.3f} [{scores[0]['low']:.3f}, {scores[0]['high']:.3f}]"
    size = (folder / f"{name}.onnx").stat().st_size / 1e6
    return {"MB": size, "mAP [95 %]": cell, "mAP": scores[0]["mean"], "mixed": scores[1]["mean"], "overlap": overlap}


table = pd.DataFrame({name: row(name) for name in FILES}).T
table.drop(columns="mAP").infer_objects().round(3)

# %% [markdown]
# *mixed*: an int8 network encodes the queries, the float network encoded the database, as when a phone asks a server.
# *overlap*: which fraction of the ten nearest stays. Intervals draw categories; since every row is measured on the same
# queries, differences are surer than the intervals suggest:

# %%
made = {name: order(*vectors[name]) for name in FILES if name != "int8, plain grey"}
pairs = compare(made, truth, groups=queries.labels, n_draws=2000, random_state=SEED).pairs
against = pairs[(pairs["a"] == "float32") | (pairs["b"] == "float32")].copy()
sign = np.where(against["a"] == "float32", -1, 1)
against.insert(0, "file", np.where(sign > 0, against["a"], against["b"]))
ends = np.sort(against[["low", "high"]].to_numpy() * sign[:, None], axis=1)
against = against.assign(difference=sign * against["difference"], low=ends[:, 0], high=ends[:, 1])
against.set_index("file")[["difference", "low", "high"]].round(4)

# %% tags=["claim"]
assert table.loc["float32", "MB"] > 3.3 * table.loc["int8", "MB"]
for kind in ("mAP", "mixed"):
    assert table.loc["int8", kind] > table.loc["float32", kind] - 0.01
assert 0.8 < table.loc["int8", "overlap"] < 0.97
assert table.loc["int8, noise", "overlap"] < table.loc["int8", "overlap"] - 0.04
assert table.loc["int8, plain grey", "mAP"] < 0.1
assert abs(table.loc["int8, one category", "overlap"] - table.loc["int8", "overlap"]) < 0.03

# %% [markdown]
# Less than a third of the size, and mAP stays. But about one in ten neighbours changes: **mAP hides what a user sees**.
# The two networks can share one index. Calibration on noise costs neighbours, on plain grey everything. One category
# suffices, a null result for "calibrate on what you will see". Where a coarser file scores *higher*, do not sell it as a
# gain: these are 16 rendered categories.
#
# ### Time, and the trap of dynamic quantisation
#
# Milliseconds on one thread, here: median over rounds in which every engine has one turn.

# %%
timed = {"torch": encoder} | {name: engines[name] for name in ("float32", "float16", "int8", "int8, dynamic")}
one = compress.latency(timed, fresh[:1], repeats=12)
sixteen = compress.latency(timed, fresh[:16], repeats=3)
pd.DataFrame({"one picture, ms": one, "per picture in a batch, ms": {k: v / 16 for k, v in sixteen.items()}}).round(1)

# %%
graphs = {name: compress.operations(folder / f"{name}.onnx") for name in ("float32", "int8", "int8, dynamic")}
kinds = ["Conv", "ConvInteger", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"]
pd.DataFrame({name: [graph[kind] for kind in kinds] for name, graph in graphs.items()}, index=kinds)

# %% tags=["claim"]
assert graphs["int8"]["QuantizeLinear"] > 40 and graphs["int8"]["DynamicQuantizeLinear"] == 0
assert graphs["int8, dynamic"]["DynamicQuantizeLinear"] == graphs["float32"]["Conv"]
assert table.loc["int8, dynamic", "overlap"] < table.loc["int8", "overlap"] - 0.1

# %% [markdown]
# **Dynamic quantisation is the wrong tool for convolutions.** Every layer first looks for the range of its input; here
# it also has one step per layer for the weights, so that many neighbours change. In the static file,
# `QuantizeLinear` and `DequantizeLinear` (**QDQ**) stand around every layer; the runtime merges them into one kernel in
# whole numbers. Sixteen bits need hardware for them.
#
# ## Smaller embeddings
#
# A million embeddings of 1,280 floats are 5 GB, more than the network by far. Four ways to make them shorter, learned on
# other categories:
#
# - **PCA**: the directions of largest variance; the first *d* are the best *d* in that sense.
# - **Random projection**: the control, it learns nothing.
# - **Trained for d**: a linear map to $d$ dimensions, trained with labels (normalised softmax,
#   [notebook 07](07_metric_learning.ipynb)).
# - **Matryoshka** (Kusupati et al. 2022, *NeurIPS*, [arXiv:2205.13147](https://arxiv.org/abs/2205.13147)): one such map,
#   trained with the sum of the losses of its first 8, 16, 32 … dimensions. You cut it as you need, after training.

# %%
others = names[N_TESTED:]
rows = np.flatnonzero(np.isin(everything.labels, others[:32]) & (split == "database"))
learning = exported.transform(everything[rows])  # (960, 1280)
known, y = np.unique(everything.labels[rows], return_inverse=True)
validating = np.isin(known, others[:8])[y]
centre = learning[~validating].mean(axis=0)
DIMS, RATES = (8, 16, 32, 64, 128, 256), (1e-3, 3e-3, 1e-2)


# %%
def train(dims, rate, steps=200):
    """A map of centred rows (n, 1280) to max(dims) dimensions; a loss for the first d of them, for each d."""
    torch.manual_seed(SEED)
    X, classes = torch.from_numpy(learning - centre)[~validating], torch.from_numpy(y)[~validating]
    project, heads = torch.nn.Linear(1280, dims[-1]), [torch.nn.Linear(d, len(known)) for d in dims]
    optimiser = torch.optim.AdamW([p for part in (project, *heads) for p in part.parameters()], lr=rate)
    for _ in range(steps):
        some = torch.randint(len(X), (128,))
        z, loss = project(X[some]), 0
        for d, head in zip(dims, heads, strict=True):
            cosines = F.normalize(z[:, :d]) @ F.normalize(head.weight).T  # (128, classes)
            loss = loss + F.cross_entropy(16 * cosines, classes[some], label_smoothing=0.1)
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    return project.weight.detach().numpy().T  # (1280, d)


# %% [markdown]
# The rate of each is the best of three on eight categories that it was not trained on.


# %%
def validation_map(matrix):
    """Mean average precision on the validation categories: each picture is a query; the same object counts neither way."""
    images = everything[rows[validating]]
    relevance = images.relevance(by="label", junk="instance")
    found = unit((learning[validating] - centre) @ matrix)
    distances, places = Exact().fit(found).kneighbors(n_neighbors=len(found) - 1)
    return evaluate(Ranking(images.ids, images.ids, places, distances), relevance, metrics=["map"], n_bootstrap=0)["map"]


def best(dims):
    """The map of the best rate, by the mean over the sizes it was trained for."""
    maps = [train(dims, rate) for rate in RATES]
    return maps[int(np.argmax([np.mean([validation_map(m[:, :d]) for d in dims]) for m in maps]))]


# %%
nested, separate = best(DIMS), {d: best((d,)) for d in DIMS}
pca = PCA(max(DIMS), random_state=SEED).fit(learning[~validating]).components_.T.astype(np.float32)
chance = rng.normal(size=(1280, max(DIMS))).astype(np.float32)
MAPS = {"Matryoshka": lambda d: nested[:, :d], "trained for d": separate.get, "PCA": lambda d: pca[:, :d],
        "trained for 256, cut": lambda d: separate[256][:, :d], "random projection": lambda d: chance[:, :d]}  # fmt: skip


def shortened(name, d):
    """Queries and database, cut to d dimensions."""
    return [unit((part - centre) @ MAPS[name](d)) for part in large]


def mean_ap(parts):
    return evaluate(order(*parts), truth, metrics=["map"], ties="expected", n_bootstrap=0)["map"]


# %%
curves = pd.DataFrame({name: {d: mean_ap(shortened(name, d)) for d in DIMS} for name in MAPS})
curves.round(3)

# %%
fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
ax.set_prop_cycle(color=plots.style.COLOURS[:5], marker=plots.style.MARKERS[:5])
ax.semilogx(curves.index, curves, base=2, label=curves.columns)
ax.axhline(table.loc["float32", "mAP"], color="0.5", ls="--", lw=1, label="all 1,280 dimensions")
ax.set(xlabel="dimensions", ylabel="mAP", xticks=DIMS, xticklabels=DIMS)
ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "mAP against the number of dimensions for five ways to shorten an embedding."))

# %% [markdown]
# ### Bits, at equal bytes
#
# 32 bytes per image hold 8 floats, 32 numbers of 8 bits, or 256 signs. Which is best? Steps and thresholds come from the
# training rows.


# %%
def coded(name, kind):
    """Queries and database in 32 bytes per image."""
    d = {"floats": 8, "8 bits": 32, "signs": 256}[kind]
    rows, queried, stored_rows = [(part - centre) @ MAPS[name](d) for part in (learning[~validating], *large)]
    if kind == "signs":
        threshold = np.median(rows, axis=0)
        return [np.where(part > threshold, 1.0, -1.0).astype(np.float32) for part in (queried, stored_rows)]
    step = np.abs(unit(rows)).max() / 127
    return [np.round(unit(part) / step).clip(-127, 127) if kind == "8 bits" else unit(part) for part in (queried, stored_rows)]


KINDS = ["floats", "8 bits", "signs"]
equal_bytes = pd.DataFrame({name: {kind: mean_ap(coded(name, kind)) for kind in KINDS} for name in ("Matryoshka", "PCA", "random projection")})
print(f"mAP at 32 bytes per image; {table.loc['float32', 'mAP']:.3f} at 5,120 bytes")
equal_bytes.round(3)

# %% tags=["claim"]
assert (curves["Matryoshka"] > curves["PCA"] + 0.03).all()
assert (curves.loc[8:64, "PCA"] > curves.loc[8:64, "random projection"] + 0.02).all()
assert (curves["Matryoshka"] > curves["trained for d"] - 0.06).all()
for name in equal_bytes:
    assert equal_bytes.loc["8 bits", name] > equal_bytes.loc["floats", name] + 0.04

# %% [markdown]
# - **Spend bytes on dimensions first, not on bits**: 32 small numbers beat 8 exact ones, whatever the map.
# - One nested map serves every size about as well as a map trained for that size. A map trained for 256 dimensions and
#   cut falls behind; how far differs from draw to draw.
# - What lifts the learned maps above all 1,280 dimensions is **labels**, not nesting; PCA had none.
#
# ## Try it
#
# The 8-bit network as an encoder like any other. Click a result to search with it; where do the two engines differ?

# %%
some = database[np.random.default_rng(SEED).permutation(len(database))[:120]]
both = {name: Retriever(engines[name], progress=False).fit(some) for name in ("float32", "int8")}
explorer = explore.QueryExplorer(both, query=some.ids[0], k=8)
explorer

# %%
plots.show(explorer.static())

# %% [markdown] tags=["extra"]
# ## Why noise fails (extra)
#
# An activation beyond the calibrated range is cut off (**clipped**). How often does that happen to pictures, layer by
# layer, after each kind of calibration?

# %% tags=["extra"]
LAYERS = ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6", None]
clipped = {name: [] for name in sources}
for layer in LAYERS:
    deep = Deep("lite0", layer=layer, size=128, resize="squash", device="cpu")
    seen = deep.feature_maps(fresh)
    for name, images in sources.items():
        maps = deep.feature_maps(images)
        clipped[name].append(((seen < maps.min()) | (seen > maps.max())).mean())

# %% tags=["extra"]
fig, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
ax.set_prop_cycle(color=plots.style.COLOURS[:4], marker=plots.style.MARKERS[:4])
for name, fractions in clipped.items():
    ax.plot(fractions, label=name)
ax.set_yscale("symlog", linthresh=1e-5)
ax.set(xticks=range(len(LAYERS)), xticklabels=[layer or "last" for layer in LAYERS], xlabel="output of", ylabel="fraction clipped")
ax.legend(frameon=False, fontsize=9, title="calibrated on", loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Fraction of the activations of new pictures outside the range of each kind of calibration, by layer."))

# %% tags=["extra", "claim"]
assert max(clipped["noise"]) > 10 * max(clipped["pictures"])
assert max(clipped["plain grey"]) > 0.1

# %% [markdown] tags=["extra"]
# ## Which layers lose most? (extra)
#
# Depthwise convolutions filter each channel alone, and their channels differ most in scale.

# %% tags=["extra"]
depthwise = np.array([one.shape[1] == 1 for one in weights])
fig, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
for per_channel, marker in ((False, "o"), (True, "^")):
    for kind, colour in ((depthwise, plots.style.ORANGE), (~depthwise, plots.style.BLUE)):
        label = f"{'depthwise' if kind is depthwise else 'other'}, one step per {'channel' if per_channel else 'layer'}"
        ax.semilogy(np.flatnonzero(kind), error[per_channel][kind], marker, color=colour, label=label, ms=5)
ax.set(xlabel="convolution, from the first to the last", ylabel="relative error of the weights")
ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Error of the rounded weights in each layer: with one step per channel it is lower in all of them."))

# %% [markdown] tags=["extra"]
# ## Energy, on paper (extra)
#
# Horowitz (2014, *ISSCC*, [doi:10.1109/ISSCC.2014.6757323](https://doi.org/10.1109/ISSCC.2014.6757323)) gives picojoules
# per operation in a 45 nm process. We count multiply-adds of one picture, and each weight read once from memory:

# %% tags=["extra"]
counted = onnx.shape_inference.infer_shapes(onnx.load(folder / "float32.onnx")).graph
shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in counted.value_info}
kernels = {one.name: onnx.numpy_helper.to_array(one).shape for one in counted.initializer}
convolutions = [node for node in counted.node if node.op_type == "Conv"]
multiply_adds = sum(np.prod(shapes[n.output[0]][1:]) * np.prod(kernels[n.input[1]][1:]) for n in convolutions)
n_weights = sum(one.size for one in weights)
PICOJOULES = {"float32": (3.7 + 0.9, 4), "float16": (1.1 + 0.4, 2), "int8": (0.2 + 0.1, 1)}  # multiply + add, bytes
joules = {name: (pj * multiply_adds / 1e9, 1300 / 8 * size * n_weights / 1e9) for name, (pj, size) in PICOJOULES.items()}
print(f"{multiply_adds / 1e6:.0f} million multiply-adds, {n_weights / 1e6:.1f} million weights")
pd.DataFrame(joules, index=["sums, mJ", "weights from DRAM, mJ"]).T.round(3)

# %% [markdown] tags=["extra"]
# (1,300 pJ is the table's lower value for 64 bits from DRAM; an 8-bit product is added in 32 bits. Activations are left
# out.) **Moving the weights costs more than computing with them**: bytes are what you save.

# %% [markdown] tags=["extra"]
# ## What an embedding gives away (extra)
#
# "Only the embedding leaves the phone" is not privacy. Probes, learned on embeddings of other categories, read what was
# never asked for: the ground and the backdrop of the picture; and a ridge regression paints the picture back, 8 × 8
# pixels of it.

# %% tags=["extra"]
probing = [(unit(learning - centre), rows), (unit(large[1] - centre), np.flatnonzero(tested & (split == "database")))]
short = [(np.sign(part @ chance[:, :64]), which) for part, which in probing]
columns = {name: everything.column(name) for name in ("ground", "backdrop", "colour")}
read = {}
for label, ((X, a), (X_new, b)) in {"1,280 floats": probing, "64 random bits": short}.items():
    for name, values in columns.items():
        probe = LogisticRegression(C=100, max_iter=300).fit(X, values[a])
        most = (values[b] == pd.Series(values[a]).mode()[0]).mean()
        read[name, label] = {"accuracy": probe.score(X_new, values[b]), "most frequent value": most}
pd.DataFrame(read).T.round(2)

# %% tags=["extra"]
thumbnails = lambda which: np.stack([everything[int(k)].reshape(8, 16, 8, 16, 3).mean(axis=(1, 3)).ravel() for k in which])
target, seen = thumbnails(rows), thumbnails(probing[1][1][:150])
painter = RidgeCV(np.logspace(-3, 2, 6)).fit(probing[0][0], target)
painted = painter.predict(probing[1][0][:150])
explained = 1 - ((seen - painted) ** 2).sum() / ((seen - target.mean(axis=0)) ** 2).sum()
fig, axes = plt.subplots(2, 8, figsize=(9, 2.4), layout="constrained")
for column, k in enumerate(range(0, 144, 18)):
    axes[0, column].imshow(database[k])
    axes[1, column].imshow(painted[k].reshape(8, 8, 3).clip(0, 255).astype(np.uint8))
for ax in axes.ravel():
    ax.axis("off")
plots.show(plots.describe(fig, "Eight pictures, and below each what a linear map paints from its embedding: light, ground and colours return."))

# %% tags=["extra", "claim"]
print(f"the painted thumbnails explain {explained:.2f} of the variance of new pictures")
assert explained > 0.2
assert read["ground", "1,280 floats"]["accuracy"] > read["ground", "1,280 floats"]["most frequent value"] + 0.3

# %% [markdown] tags=["extra"]
# A linear map does this; learned decoders do far better (Dosovitskiy and Brox 2016, *CVPR*,
# [arXiv:1506.02753](https://arxiv.org/abs/1506.02753)). Treat embeddings as you treat the pictures. Short codes give away
# less, and find less.

# %% [markdown] tags=["extra"]
# ## Distillation, and how `tiny` was made (extra)
#
# `Deep("tiny")`, which ships with the course, is `lite0` with its weights rounded: 1 × 1 convolutions to 6 bits,
# others to 8, one step per channel. Nothing was trained. A network with another architecture has to **learn** from the
# large one (Hinton et al. 2015, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531)). For retrieval, it can learn the
# similarities themselves: relational distillation (Park et al. 2019, *CVPR*,
# [arXiv:1904.05068](https://arxiv.org/abs/1904.05068)).

# %% tags=["extra"]
rounded_encoder = Deep("tiny", size=128, resize="squash", device="cpu")
tiny = [rounded_encoder.transform(part) for part in (queries, database)]
overlap = compress.neighbour_overlap(np.vstack(large), np.vstack(tiny)).mean()
print(f"tiny: mAP {mean_ap(tiny):.3f}, overlap with the float network {overlap:.3f}")


# %% [markdown]
# ## Exercise 1 ★ quantise activations
#
# Return the whole numbers $q$, 0 to 255, that stand for `x` (any shape), if calibration saw the range from `low` to
# `high`. The range is first widened to hold 0, so that 0 is exact. The step is a 255th of it; the zero point is
# `-low / step`, rounded; what lies outside is clipped. If the range is 0 wide, the step is 1.
#
# <details><summary>Hint 1: the idea</summary>
#
# Widen, step, zero point; then the formula of the background.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `min(low, 0)`; `np.round`; `np.clip` before `.astype(np.uint8)`, which wraps around.
#
# </details>


# %% tags=["exercise"]
def quantised(x, low, high):
    """Floats of any shape, two floats -> uint8 of that shape."""
    raise NotImplementedError


checks.check_quantised(quantised)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_quantised(x, low, high):
    low, high = min(low, 0), max(high, 0)
    step = (high - low) / 255 or 1
    return np.clip(np.round(x / step) + np.round(-low / step), 0, 255).astype(np.uint8)


checks.check_quantised(solution_quantised)

# %% [markdown]
# With your function: activations of a picture, calibrated on pictures, on noise and on grey, against themselves.

# %%
deep = Deep("lite0", layer="blocks.5", size=128, resize="squash", device="cpu")
x = deep.feature_maps(fresh[:4]).ravel()[::7]
fig, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained", sharey=True)
for ax, name in zip(axes, ("pictures", "noise", "plain grey"), strict=True):
    maps = deep.feature_maps(sources[name][:16])
    low, high = min(float(maps.min()), 0), max(float(maps.max()), 0)
    codes = checks.first_written("quantised", x, low, high)
    if codes is not None:
        step = (high - low) / 255
        ax.plot(x, step * (np.asarray(codes, dtype=float) - np.round(-low / step)), ".", ms=2, color=plots.style.BLUE)
    ax.set(title=f"calibrated on {name}", xlabel="activation")
axes[0].set_ylabel("after quantisation")
plots.show(plots.describe(fig, "Activations after quantisation against before: a straight line, which bends where they are clipped."))

# %% [markdown]
# ## Exercise 2 ★★ cut a Matryoshka embedding
#
# Return the first `n_dims` of each embedding (n, d), scaled to length 1 and then stored in 8 bits: times 127, rounded,
# int8. A row whose first dimensions are all 0 stays 0.
#
# <details><summary>Hint 1: the idea</summary>
#
# After the cut, rows are shorter than 1, each by another factor. In which order do you cut, scale and round?
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.linalg.norm(…, axis=1, keepdims=True)`; `np.where` or `np.maximum` against dividing by 0; `np.round`.
#
# </details>


# %% tags=["exercise"]
def cut(embeddings, n_dims):
    """Embeddings (n, d), a whole number up to d -> int8 (n, n_dims)."""
    raise NotImplementedError


checks.check_cut(cut)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_cut(embeddings, n_dims):
    first = embeddings[:, :n_dims]
    length = np.linalg.norm(first, axis=1, keepdims=True)
    return np.round(127 * first / np.where(length > 0, length, 1)).astype(np.int8)


checks.check_cut(solution_cut)

# %% [markdown]
# mAP of the nested map, cut by your function, against bytes per image:

# %%
found = {}
for d in DIMS:
    parts = [checks.first_written("cut", (part - centre) @ nested, d) for part in large]
    if all(part is not None for part in parts):
        found[d] = mean_ap([np.asarray(part, np.float32) for part in parts])
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.semilogx(found.keys(), found.values(), "o-", base=2, color=plots.style.BLUE)
ax.set(xlabel="bytes per image", ylabel="mAP", xticks=DIMS, xticklabels=DIMS)
plots.show(plots.describe(ax, "mAP of the cut embeddings in 8 bits against bytes per image."))

# %% [markdown]
# ## Exercise 3 ★★★ open: sixteen bytes
#
# Sixteen bytes per image, compared by Euclidean distance: how many of the ten nearest neighbours can you keep? Fit what
# you like on `reference` (n, d), encode `embeddings` (m, d) as uint8 (m, 16). **Predict** first: are 16 principal
# components best, or weighted ones? The check wants twice the overlap of a random projection. Report yours with an
# interval over categories.
#
# <details><summary>Hint 1: the idea</summary>
#
# Directions first; then ranges for them. Distances suffer if each direction gets its own range.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.linalg.svd` or `PCA`; ranges from `reference`, such as percentiles; clip before you make bytes.
#
# </details>


# %% tags=["exercise"]
def sixteen_bytes(reference, embeddings):
    """Embeddings (n, d) to learn from, embeddings (m, d) -> uint8 (m, 16)."""
    raise NotImplementedError


checks.check_sixteen_bytes(sixteen_bytes)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_sixteen_bytes(reference, embeddings):
    fitted = PCA(16, random_state=0).fit(reference)
    reach = np.abs(fitted.transform(reference)).max()  # one step for all directions
    return np.clip(np.round(127.5 + 127.5 * fitted.transform(embeddings) / reach), 0, 255).astype(np.uint8)


checks.check_sixteen_bytes(solution_sixteen_bytes)

# %% [markdown]
# ## What we learned
#
# - Static 8-bit quantisation quarters a network and keeps mAP; neighbours change more than mAP tells.
# - Calibrate on varied pictures. Flat or random ones give wrong ranges.
# - Dynamic quantisation is not for convolutions. Measure time on the device.
# - Fewer bits per dimension cost less than fewer dimensions. Compare at equal bytes, with a random projection beside.
#
# ### Check yourself
#
# <details><summary>1. mAP is the same, but a user complains that results changed. Can both be right?</summary>
#
# Yes: other right results, or other wrong ones, took places of the ten nearest. Measure the overlap.
#
# </details>
# <details><summary>2. Why may calibration pictures not be test pictures?</summary>
#
# Their ranges would fit the test pictures exactly, and the loss would look smaller than it is.
#
# </details>
# <details><summary>3. Your int8 file is no quicker than the float one. What do you look at?</summary>
#
# Whether the runtime merges the QDQ nodes, and whether the processor has 8-bit instructions.
#
# </details>
# <details><summary>4. An embedding is sent, the photograph is not. What does the receiver know?</summary>
#
# Much: a linear map reads ground and colours from it.
#
# </details>
#
# ### What breaks at a million images
#
# The index: 5 GB of floats; at 32 bytes each, 32 MB. See notebook [12](12_approximate_search.ipynb).
#
# ### Further reading
#
# Nagel et al. (2021), *A white paper on neural network quantization*,
# [arXiv:2106.08295](https://arxiv.org/abs/2106.08295), for ranges, biases and training with quantisation; Banbury et al.
# (2021), *MLPerf Tiny Benchmark*, NeurIPS Datasets and Benchmarks,
# [arXiv:2106.07597](https://arxiv.org/abs/2106.07597), for how devices are compared.
#
# <!-- links:start -->
# Previous: [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: [14_object_retrieval](14_object_retrieval.ipynb)
# <!-- links:end -->
