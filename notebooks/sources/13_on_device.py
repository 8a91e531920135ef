# %% [markdown]
# # 13 · On device: how small can a search engine be?
#
# **Question.** You want to search the photographs on a phone, without a server. What do you lose if the network
# shrinks to a third, and its embeddings to a hundredth?
#
# **Time:** about a minute and a half to run, offline; 45 minutes to work through, 80 with (extra). **Before this:**
# notebooks [01](01_measuring_retrieval.ipynb), [03](03_cnn_features.ipynb) and [11](11_hashing.ipynb).
#
# <!-- links:start -->
# Previous: [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: [14_object_retrieval](14_object_retrieval.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **export** a network to ONNX and show that it computes the same;
# - **quantise** it to 8 bits, with calibration images that suit it;
# - **cut** embeddings to a few bytes, and choose how by measurement.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import pandas as pd
import torch
from onnxruntime import InferenceSession, quantization
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from torch.nn import functional as F

from cbirkit import Ranking, Retriever, checks, compare, compress, datasets, evaluate, explore, plots
from cbirkit.encoders import Deep, base
from cbirkit.evaluation.resample import bootstrap_means, interval
from cbirkit.indexes import Exact

# %%
SEED = 0
N_TESTED, N_CALIBRATION = 16, 64
torch.set_num_threads(1)  # and onnxruntime has one, too: timings are of one core

# %% [markdown]
# ## The goal
#
# The pictures are rendered. 16 of 64 categories, drawn by `SEED`, are tested; what is learned, chosen or calibrated
# sees only the other 48. A result is right if it shows the query's category; other views of the query's own object are
# junk. `lite0` was trained on ImageNet: it met none of these pictures, though some of the categories (padlocks).

# %%
everything = datasets.load_tabletop()
names = np.random.RandomState(SEED).permutation(np.unique(everything.labels))
tested, split = np.isin(everything.labels, names[:N_TESTED]), everything.column("split")
queries, database = everything[tested].split()
aside = everything[~tested & (split == "aside")]
truth = queries.relevance(queries, database, by="label", junk="instance")


def order(query_rows, database_rows):
    # the ranking of the whole database, by embeddings
    distances, found = Exact().fit(database_rows).kneighbors(query_rows, len(database_rows))
    return Ranking(queries.ids, database.ids, found, distances)


# %% [markdown]
# **ONNX** is a file format for networks, read by phones and browsers. We export `lite0`, once, and make another file
# with 8 bits per weight and per activation. **Predict** before you run the next cells: of the ten nearest pictures of
# each one, how many do the small and the large share?

# %%
folder = Path(tempfile.mkdtemp())
encoder = Deep("lite0", size=128, resize="squash", device="cpu")
rng = np.random.default_rng(SEED)
pictures = [aside[int(row)] for row in rng.choice(len(aside), N_CALIBRATION, replace=False)]
compress.to_onnx(encoder, folder / "float32.onnx")
exported = compress.OnnxEncoder(folder / "float32.onnx")
compress.to_onnx(exported, folder / "int8.onnx", precision="int8", calibration=pictures)
sizes = {path.stem: path.stat().st_size / 1e6 for path in sorted(folder.glob("*.onnx"))}


# %%
def mean_ap(parts):
    # mean average precision of the embeddings of queries and database
    return evaluate(order(*parts), truth, metrics=["map"], ties="expected", n_bootstrap=0)["map"]


engines = {"float32": exported, "int8": compress.OnnxEncoder(folder / "int8.onnx")}
vectors = {name: [one.transform(part) for part in (queries, database)] for name, one in engines.items()}
rankings = {name: order(*parts) for name, parts in vectors.items()}

# %% tags=["gallery"]
per_query = evaluate(rankings["float32"], truth, metrics=["map"], n_bootstrap=0).per_query["map"]
typical = int((per_query - per_query.mean()).abs().argmin())  # the query nearest to the mean
fig, axes = plt.subplots(2, 1, figsize=(10, 5.2), layout="constrained")
for ax, name in zip(axes, rankings, strict=True):
    shown = {"queries": queries, "relevance": truth, "rows": [queries.ids[typical]], "k": 6}
    plots.ranked_list(rankings[name], database, **shown, ax=ax)
    both = np.vstack(vectors["float32"]), np.vstack(vectors[name])
    near = 10 * compress.neighbour_overlap(*both).mean()
    ax.set_title(f"{name}, {sizes[name]:.1f} MB: {near:.1f} of 10 nearest as float32 (mean)", loc="left")
plots.show(fig, dpi=100)

# %% [markdown]
# ## Background
#
# **Quantisation** stores a real number $x$ as a whole number $q$ of $b$ bits, with a step $s > 0$ and a zero point $z$
# (a whole number):
#
# $$q = \mathrm{clip}\big(\mathrm{round}(x / s) + z,\ q_{\min},\ q_{\max}\big), \qquad \hat{x} = s\,(q - z)$$
#
# Sums of products then run in whole numbers (Jacob et al. 2018, *CVPR*,
# [arXiv:1712.05877](https://arxiv.org/abs/1712.05877)). Two kinds of numbers need a step:
#
# - **Weights** are known. One step for each output channel, $s = \max|w| / 127$, $z = 0$.
# - **Activations**, what flows between layers, depend on the image. *Static* quantisation fixes their ranges in advance,
#   from **calibration** images. *Dynamic* quantisation finds them anew in each layer for each image.

# %%
chains = [["float\nnetwork", "rounded\nweights"], ["calibration\nimages", "ranges of\nactivations"]]
plots.show(plots.pipeline(chains, ["8-bit\nnetwork", "embedding", "fewer\ndimensions", "fewer bits"]))

# %% [markdown]
# ## Build it
#
# Is the exported file the same network?

# %% tags=["claim"]
fresh = [database[int(k)] for k in rng.choice(len(database), 24, replace=False)]
difference = np.abs(encoder.transform(fresh) - exported.transform(fresh)).max()
print(f"largest difference of a coordinate between PyTorch and the ONNX file: {difference:.0e}")
assert difference < 1e-4

# %% [markdown]
# Now round the weights ourselves. A convolution's are (channels out, channels in, height, width). Are these the
# numbers in the 8-bit file?


# %%
def rounded(weights):
    """Weights in 8 bits: whole numbers from -127 to 127, and the step, for each output channel."""
    step = np.maximum(np.abs(weights).max(axis=(1, 2, 3), keepdims=True), 1e-12) / 127
    return np.round(weights / step).astype(np.int8), step


graph = onnx.load(folder / "float32.onnx").graph
# four dimensions: convolutions
weights = [onnx.numpy_helper.to_array(one) for one in graph.initializer if len(one.dims) == 4]

# %% tags=["claim"]
stored = map(onnx.numpy_helper.to_array, onnx.load(folder / "int8.onnx").graph.initializer)
last = next(one for one in stored if one.shape == (1280, 320, 1, 1))  # the last convolution
ours, _ = rounded(next(one for one in weights if one.shape == last.shape))
print(f"equal to the file's: {(ours == last).mean():.4f} of the weights of the last layer")
assert (ours == last).mean() > 0.99 and np.abs(ours.astype(int) - last).max() <= 1

# %% [markdown]
# ## Measure it
#
# More files: two controls of the calibration (noise, plain grey); *dynamic*, and its control, a static file with the same
# weights (one step per layer). *Mixed*: the file encodes the queries, the float network the database, as when phones ask a server.

# %%
calibrations = {
    "int8, noise": list(rng.integers(0, 256, (N_CALIBRATION, 128, 128, 3), dtype=np.uint8)),
    "int8, plain grey": [np.full((128, 128, 3), 128, np.uint8)] * 4,
}
for name, images in calibrations.items():
    compress.to_onnx(exported, folder / f"{name}.onnx", precision="int8", calibration=images)
compress.to_onnx(exported, folder / "float16.onnx", precision="float16")
files = ("float32", "ready", "int8, dynamic")
float_file, ready, dynamic = (str(folder / f"{name}.onnx") for name in files)
# before it rounds, onnxruntime merges layers (as `to_onnx` has done for the others)
quantization.shape_inference.quant_pre_process(float_file, ready, skip_symbolic_shape=True)
quantization.quantize_dynamic(ready, dynamic, weight_type=quantization.QuantType.QUInt8)


# %%
class Feed(quantization.CalibrationDataReader):
    # onnxruntime asks for one calibration picture after another, until it gets None
    rows = iter([{"pixels": one[None]} for one in pictures])

    def get_next(self):
        return next(self.rows, None)


types = {name: quantization.QuantType.QUInt8 for name in ("weight_type", "activation_type")}
quantization.quantize_static(ready, str(folder / "int8, one step per layer.onnx"), Feed(), **types)
# float16 is slow here; what it costs is below, on photographs
more = [*calibrations, "int8, dynamic", "int8, one step per layer"]
engines |= {name: compress.OnnxEncoder(folder / f"{name}.onnx") for name in (*more, "float16")}
vectors |= {name: [engines[name].transform(part) for part in (queries, database)] for name in more}
large = vectors["float32"]


# %%
def change(new, old):
    # by how much mAP changes: [low, mean, high], 95 % over categories, paired by query
    kwargs = {"ties": "expected", "groups": queries.labels, "n_draws": 2000, "random_state": SEED}
    row = compare({"new": new, "old": old}, truth, **kwargs).pairs.iloc[0]
    sign = 1 if row["a"] == "new" else -1  # `a` is the better one
    return sorted([sign * row["low"], sign * row["difference"], sign * row["high"]])


by_class = pd.factorize(np.concatenate([queries.labels, database.labels]))[0]  # of each picture


# %%

def row(found):
    # mAP; its change and the overlap, against the float network, with intervals over categories
    low, mean, high = change(order(*found), rankings["float32"])
    stays = compress.neighbour_overlap(np.vstack(large), np.vstack(found))  # of each picture
    least, most = interval(bootstrap_means(stays[:, None], by_class, 2000, SEED)[:, 0])
    new = {"mAP": mean_ap(found), "low": low, "change": mean, "high": high}
    return new | {"overlap": stays.mean(), "least": least, "most": most}


table = pd.DataFrame({name: row(found) for name, found in vectors.items()}).T
table.insert(0, "MB", [(folder / f"{name}.onnx").stat().st_size / 1e6 for name in vectors])
table["mixed"] = [mean_ap([found[0], large[1]]) for found in vectors.values()]
table[["MB", "mAP", "mixed"]].round(3)


# %%
def side_by_side(rows):
    # what mAP shows of each row, beside what its user sees
    fig, axes = plt.subplots(1, 2, figsize=(9, 2.5), sharey=True, layout="constrained")
    ends = {"change": ["low", "high"], "overlap": ["least", "most"]}
    for ax, name, mark, colour in zip(axes, ends, "os", plots.style.COLOURS[:2], strict=True):
        sides = abs(rows[ends[name]].T - rows[name])  # from the point to either end
        ax.errorbar(rows[name], rows.index, xerr=sides, fmt=mark, color=colour, capsize=3)
    axes[0].set(xlabel="mAP, minus that of float32", ylim=(len(rows) - 0.5, -0.5))
    axes[0].axvline(0, color="0.5", ls="--", lw=1)
    axes[1].set(xlabel="overlap: fraction of the ten nearest that stays", xlim=(0, 1.03))
    plots.show(plots.describe(fig, "Change of mAP and overlap of the ten nearest, with intervals."))


# plain grey lies far outside
side_by_side(table.drop("int8, plain grey").sort_values("overlap", ascending=False))

# %% [markdown]
# Left: the *change* of mAP (plain grey: far outside). Right: *overlap*, the fraction of the ten nearest that stays, among
# all pictures. Both with 95 % intervals over categories, which are few.

# %% tags=["claim"]
assert table.loc["float32", "MB"] > 3.3 * table.loc["int8", "MB"]
assert (table.loc[["int8", "int8, one step per layer"], ["mAP", "mixed"]] > table.loc["float32", "mAP"] - 0.01).all(axis=None)
assert 0.8 < table.loc["int8", "overlap"] < 0.97
assert table.loc[["int8, noise", "int8, dynamic"], "overlap"].max() < table.loc["int8", "overlap"] - 0.04
assert abs(table.loc["int8, dynamic", "overlap"] - table.loc["int8, one step per layer", "overlap"]) < 0.04
assert table.loc["int8, plain grey", "mAP"] < 0.1

# %% [markdown]
# Less than a third of the size, and mAP stays within 0.01. But about one in ten neighbours changes: **mAP hides what a
# user sees**. The two networks can share one index. Noise costs neighbours and a little mAP, plain grey nearly
# everything. One step per layer costs a third of the neighbours, not measurably mAP.
#
# ### On photographs
#
# In our longer run (`tools/on_device_runs.py`), 1,120 photographs of three sets, at 224 pixels, ask the same. The 128
# calibration photographs are of other sources; "one source" are houses only.

# %% tags=["record"]
longer = pd.read_csv(datasets.shipped_file("on_device.csv"))
photos = longer[longer["part"] == "files"].pivot(index="name", columns="set", values=["map", "difference", "overlap"])
of = photos.loc
assert photos["difference"].drop("int8, plain grey").abs().to_numpy().max() < 0.01
assert (of["int8, plain grey", "difference"] < -0.2).all()
assert (of["int8, noise", "overlap"] < of["int8", "overlap"] - 0.005).all()
assert (of["int8, dynamic", "overlap"] < of["int8", "overlap"] - 0.2).all()
for alike in ("int8, 8 photographs", "int8, one source"):
    assert ((of[alike, "overlap"] - of["int8", "overlap"]).abs() < 0.005).all()
photos[["map", "overlap"]].round(3)

# %% [markdown]
# The same, with two null results: eight photographs, or houses only, calibrate as well as 128 mixed ones, and noise
# changes neighbours but, unlike on rendered pictures, hardly mAP. `lite0` was made for this: its ReLU6 hold the
# activations inside a block between 0 and 6 ([EfficientNet-Lite,
# 2020](https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html)); the outputs
# of blocks have no such limit (exercise 1). That int8 scores a few thousandths *higher* is unexplained.
#
# ### Time, and the trap of dynamic quantisation
#
# Milliseconds on one thread, medians.

# %%
timed = {"torch": encoder} | {name: engines[name] for name in ("float32", "float16", "int8", "int8, dynamic")}
times = {"one picture, ms": compress.latency(timed, fresh[:1], repeats=12)}
times["of a batch of 16, per picture, ms"] = {k: v / 16 for k, v in compress.latency(timed, fresh[:16], repeats=3).items()}
pd.DataFrame(times).round(1)

# %% [markdown]
# **Dynamic quantisation is the wrong tool for convolutions**: every layer first looks for the range of its input, and
# that takes time. The *neighbours* are lost to its weights: the static file with the same weights, one step per layer,
# keeps as few. In static files, `QuantizeLinear` and `DequantizeLinear` (**QDQ**) stand around every layer; the runtime
# merges them into one kernel in whole numbers. Sixteen-bit floats are quicker only where the processor computes with
# them; 8 bits, too, may bring little (check yourself, 3).
#
# ## Smaller embeddings
#
# A million embeddings of 1,280 floats are 5 GB. Five ways to shorten them, learned on other categories, whose mean is
# subtracted first. **Predict** which can beat all 1,280:
#
# - **PCA**: the directions of largest variance.
# - **Random projection**: the control, it learns nothing (one draw).
# - **Trained for d**: a linear map to $d$ dimensions, trained with labels (normalised softmax,
#   [notebook 07](07_metric_learning.ipynb)).
# - **Matryoshka** (Kusupati et al. 2022, *NeurIPS*, [arXiv:2205.13147](https://arxiv.org/abs/2205.13147)): one such map,
#   trained with the sum of the losses of its first 8, 16, 32 … dimensions. You cut it as you need, after training.
# - **Trained for 256, cut**: the control of nesting.

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
    # a map of centred rows (n, 1280) to max(dims) dimensions; a loss for the first d of them, for each d
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


# %%
def validation_map(found):
    # mAP of embeddings of the validation pictures: each is a query; the same object counts neither way
    images = everything[rows[validating]]
    relevance = images.relevance(by="label", junk="instance")
    distances, places = Exact().fit(base.unit(found)).kneighbors(n_neighbors=len(found) - 1)
    return evaluate(Ranking(images.ids, images.ids, places, distances), relevance, metrics=["map"], n_bootstrap=0)["map"]


def best(dims):
    # of three rates, by the mean mAP of validation categories over the sizes it was trained for
    maps, X = [train(dims, rate) for rate in RATES], learning[validating] - centre
    return maps[int(np.argmax([np.mean([validation_map(X @ m[:, :d]) for d in dims]) for m in maps]))]


# %%
nested, separate = best(DIMS), {d: best((d,)) for d in (8, 32, 256)}
pca = PCA(max(DIMS), random_state=SEED).fit(learning[~validating]).components_.T.astype(np.float32)
chance = rng.normal(size=(1280, max(DIMS))).astype(np.float32)
MAPS = {"Matryoshka": lambda d: nested[:, :d], "trained for d": separate.get, "PCA": lambda d: pca[:, :d],
        "trained for 256, cut": lambda d: separate[256][:, :d], "random projection": lambda d: chance[:, :d]}  # fmt: skip


def shortened(name, d):
    # queries and database, cut to d dimensions
    return [base.unit((part - centre) @ MAPS[name](d)) for part in large]


# %%
whole = mean_ap([base.unit(part - centre) for part in large])
sizes_of = {name: list(separate) if name == "trained for d" else DIMS for name in MAPS}
curves = pd.DataFrame({name: {d: mean_ap(shortened(name, d)) for d in ds} for name, ds in sizes_of.items()})
fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for name, colour, marker in zip(curves, plots.style.COLOURS, plots.style.MARKERS, strict=False):
    ax.semilogx(curves[name].dropna(), base=2, label=name, color=colour, marker=marker)
ax.axhline(whole, color="0.5", ls="--", lw=1, label="all 1,280, centred")
ax.set(xlabel="dimensions", ylabel="mAP", xticks=DIMS, xticklabels=DIMS)
ax.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "mAP against the number of dimensions for five ways to shorten an embedding."))

# %% [markdown]
# - The maps learned from labels end above all 1,280 dimensions (no interval drawn); PCA, without labels, stays below.
# - One nested map does about as well as a map trained for the size, at three sizes (one training each).
# - As floats, PCA beats the random projection here; as signs (below), or on photographs (extra), not always.
#
# ### Bits, at equal bytes
#
# 32 bytes per image hold 8 floats, 32 numbers of 8 bits, or 256 signs. **Predict** for each map: which is best?


# %%
def coded(name, kind, given=large):
    # queries and database in 32 bytes per image
    d = {"8 floats": 8, "32 in 8 bits": 32, "256 signs": 256}[kind]
    rows, *parts = [(part - centre) @ MAPS[name](d) for part in (learning[~validating], *given)]
    if kind == "256 signs":
        threshold = np.median(rows, axis=0)  # half of the learning pictures lie above
        return [np.where(part > threshold, 1.0, -1.0).astype(np.float32) for part in parts]
    step = np.abs(base.unit(rows)).max() / 127  # one for all 32 numbers
    floats = [base.unit(part) for part in parts]
    return floats if kind == "8 floats" else [np.round(part / step).clip(-127, 127) for part in floats]

# %%
KINDS, CODED = ["8 floats", "32 in 8 bits", "256 signs"], ("Matryoshka", "PCA", "random projection")
codes = {(name, kind): coded(name, kind) for name in CODED for kind in KINDS}
equal_bytes = pd.DataFrame([[mean_ap(codes[name, kind]) for name in CODED] for kind in KINDS], KINDS, CODED)
equal_bytes.round(3)

# %% [markdown]
# And the whole chain: an 8-bit network, then 32 bytes instead of 5,120. The codes were learned with the float network.

# %% tags=["claim"]
chain = {"int8, 1,280 floats": vectors["int8"]}
for way in ("PCA", "Matryoshka"):
    chain[f"float32, {way}, 32 bytes"] = codes[way, KINDS[1]]
    chain[f"int8, {way}, 32 bytes"] = coded(way, KINDS[1], vectors["int8"])
    assert abs(mean_ap(chain[f"int8, {way}, 32 bytes"]) - mean_ap(codes[way, KINDS[1]])) < 0.02
chained = pd.DataFrame({name: row(pair) for name, pair in chain.items()}).T
assert chained["overlap"].filter(like="Matryoshka").max() < chained["overlap"].filter(like="PCA").min() - 0.05
side_by_side(chained)

# %% tags=["claim"]
at_32 = {name: order(*shortened(name, 32)) for name in MAPS}
exact, small = ({name: order(*codes[name, kind]) for name in CODED} for kind in KINDS[:2])
pairs = {f"32 in 8 bits over 8 floats, {k}": change(small[k], exact[k]) for k in CODED}
pairs["Matryoshka over PCA, 32 dimensions"] = change(at_32["Matryoshka"], at_32["PCA"])
assert min(low for low, _, _ in pairs.values()) > 0
no_nesting = at_32["trained for 256, cut"]
pairs["Matryoshka over 256, cut, 32 dimensions"] = change(at_32["Matryoshka"], no_nesting)
assert (curves.loc[8:64, "PCA"] > curves.loc[8:64, "random projection"] + 0.02).all()
assert curves["PCA"].max() < whole + 0.01
assert (curves["Matryoshka"][list(separate)] > curves["trained for d"].dropna() - 0.06).all()
assert (equal_bytes.loc["32 in 8 bits"] > equal_bytes.loc["8 floats"] + 0.04).all()
pd.DataFrame(pairs, index=["low", "ahead by", "high"]).T.round(3)

# %% [markdown]
# - **The whole chain loses what its codes lose**: rounding the network first changes mAP by less than 0.02. Codes
#   change far more neighbours than rounding does, the nested map most: labels taught it another similarity.
# - **Spend bytes on dimensions first, not on bits**: 32 small numbers beat 8 exact ones, with all three maps. Whether
#   256 signs beat both depends on the map here; on photographs (extra) they do.
# - The last interval holds 0 here (not for every seed): that nesting adds anything is not shown.
#
# ## Try it
#
# The query whose neighbours the two engines share least. (`cbirkit web FOLDER --out SITE` makes a page of your images
# that searches in the browser, with `lite0` as ONNX.)

# %%
some = database[np.isin(database.labels, names[:4])]  # 120 pictures
both = {name: Retriever(engines[name], progress=False).fit(some) for name in ("float32", "int8")}
kept = np.isin(database.labels, names[:4])
worst = int(compress.neighbour_overlap(*(vectors[name][1][kept] for name in both)).argmin())  # the least in common
explorer = explore.QueryExplorer(both, query=some.ids[worst], k=8, by="label")
explorer

# %%
plots.show(explorer.static(), dpi=90)

# %% [markdown] tags=["extra"]
# ## 32 bytes for photographs (extra)
#
# In our longer run (`tools/on_device_runs.py`), PCA was learned on *other* photographs than those of the three sets:

# %% tags=["extra", "record"]
bytes_of = longer[longer["part"] == "codes"].pivot(index="name", columns="set", values="map").rename_axis(None)
for name in ("PCA", "random"):
    floats, numbers, signs = (bytes_of.loc[f"{name}, {kind}"] for kind in KINDS)
    assert (signs > numbers + 0.04).all() and (numbers > floats + 0.06).all()
learned = bytes_of.loc["PCA, 32 in 8 bits"] - bytes_of.loc["random, 32 in 8 bits"]
assert (learned[["clothing", "flowers"]] < 0).all() and learned["ucmerced"] > 0.05
bytes_of.loc[[f"{name}, {kind}" for name in ("PCA", "random") for kind in KINDS]].round(3)

# %% [markdown] tags=["extra"]
# On all three sets 256 signs are best, with PCA and with the random projection. PCA beats the random projection as 256
# signs on all three; as 32 numbers of 8 bits, on one only.

# %% [markdown] tags=["extra"]
# ## Distillation: a smaller network that learns from the large one (extra)
#
# A small network can learn from a large one's outputs instead of labels (Hinton et al. 2015,
# [arXiv:1503.02531](https://arxiv.org/abs/1503.02531)); for retrieval, from its embeddings or the distances between them
# (relational distillation: Park et al. 2019, *CVPR*, [arXiv:1904.05068](https://arxiv.org/abs/1904.05068)). Here, in
# small: the **student** is `lite0` cut off where its maps first have 192 channels, and one new linear layer from their
# mean to 1,280 numbers. Only that layer learns, by least squares, to give the teacher's embedding (centred). No label
# is used.

# %% tags=["extra"]
kernels = {one.name: tuple(one.dims) for one in graph.initializer}
node = next(n for n in graph.node if n.op_type == "Conv" and kernels[n.input[1]] == (192, 672, 1, 1))
onnx.utils.extract_model(str(folder / "float32.onnx"), str(folder / "student.onnx"), ["pixels"], [node.output[0]])
session = InferenceSession(folder / "student.onnx", exported.parts[0].get_session_options())


def pooled(images):
    """Means of the student's maps over the places, (n, 192)."""
    stacks = (np.stack([images[k] for k in range(i, min(i + 16, len(images)))]) for i in range(0, len(images), 16))
    return np.concatenate([session.run(None, {"pixels": stack})[0].mean(axis=(2, 3)) for stack in stacks])


# %% tags=["extra"]
seen, *parts = (pooled(images) for images in (everything[rows], queries, database))
middle, spread = seen[~validating].mean(axis=0), seen[~validating].std(axis=0)
seen, *parts = ((part - middle) / spread for part in (seen, *parts))


def head(targets):
    """A linear layer from pooled maps to targets; the penalty is the best of four on the validation categories."""
    heads = [Ridge(alpha).fit(seen[~validating], targets[~validating]) for alpha in (3, 30, 300, 3000)]
    return max(heads, key=lambda one: validation_map(one.predict(seen[validating])))


# %% [markdown] tags=["extra"]
# Two controls: the same cut network without the new layer, and with a layer that learns the labels of the same
# pictures. And two rivals that cost no training, both `lite0` with rounded numbers: the int8 file from above, and
# `Deep("tiny")`, which ships with the course (1 × 1 convolutions in 6 bits, others in 8). Rounded networks speak the
# teacher's language: their embeddings are centred with its mean.

# %% tags=["extra"]
one_hot = np.eye(len(known))[y] - np.eye(len(known))[y[~validating]].mean(axis=0)
layers = {"distilled": head(learning - centre), "learned from labels": head(one_hot)}
students = {"teacher, centred": [part - centre for part in large], "cut, no new layer": parts}
students |= {name: [layer.predict(part) for part in parts] for name, layer in layers.items()}
tiny = Deep("tiny", size=128, resize="squash", device="cpu")
students["tiny"] = [tiny.transform(part) - centre for part in (queries, database)]
students["int8"] = [part - centre for part in vectors["int8"]]
students = {name: [base.unit(part) for part in pair] for name, pair in students.items()}

# %% tags=["extra"]
bytes_cut, bytes_tiny = (folder / "student.onnx").stat().st_size, datasets.shipped_file("tiny.safetensors").stat().st_size
megabytes = {"teacher, centred": sizes["float32"], "cut, no new layer": bytes_cut / 1e6, "tiny": bytes_tiny / 1e6, "int8": sizes["int8"]}
megabytes |= {name: (bytes_cut + 4 * 192 * students[name][0].shape[1]) / 1e6 for name in layers}
teacher, compared = students["teacher, centred"], {}
for name, (asked, kept) in students.items():
    overlap = compress.neighbour_overlap(np.vstack(teacher), np.vstack([asked, kept])).mean()
    compared[name] = {"MB": megabytes[name], "mAP": mean_ap([asked, kept]), "overlap": overlap}
    if asked.shape[1] == 1280:
        compared[name]["mixed"] = mean_ap([asked, teacher[1]])
student = pd.DataFrame(compared).T.sort_values("overlap", ascending=False)
student.round(3)

# %% tags=["extra", "claim"]
gain = change(order(*students["distilled"]), order(*students["cut, no new layer"]))
rounding = change(order(*students["tiny"]), order(*students["distilled"]))
assert megabytes["distilled"] < 0.4 * table.loc["float32", "MB"] and gain[0] > 0.03
assert megabytes["tiny"] < megabytes["distilled"] and rounding[1] > 0
assert student.loc["tiny", "overlap"] > student.loc["distilled", "overlap"] + 0.1
assert student.loc["distilled", "mAP"] > 0.7 * student.loc["teacher, centred", "mAP"]
assert student.loc["distilled", "mixed"] > 0.6 * student.loc["teacher, centred", "mAP"]
assert student.loc["distilled", "overlap"] > student.loc[["cut, no new layer", "learned from labels"], "overlap"].max() + 0.08
assert student.loc["learned from labels", "mAP"] > student.loc["teacher, centred", "mAP"] + 0.05
pd.DataFrame({"the new layer": gain, "tiny - distilled": rounding}, index=["low", "mAP gained", "high"]).T.round(3)

# %% [markdown] tags=["extra"]
# The distilled student keeps most of the teacher's mAP, and it can query the **teacher's index**: nothing has to be
# embedded again. Labels make a better engine for categories, and a *different* one: fewer of the teacher's neighbours,
# and no common space.
#
# But **rounding is the better small network here**: `tiny` is half the student's file and keeps far more of the teacher.
# (When `tiny` was made, three distilled networks were worth less, too: `data/README.md`.) What the cut saves is
# *computing*: see "Energy" below. Round first; distil where the network must also be quicker, and round the student, too
# (not tried here).

# %% [markdown] tags=["extra"]
# ## An outside check: MLPerf Tiny (extra)
#
# MLPerf Tiny (Banbury et al. 2021, *NeurIPS Datasets and Benchmarks*,
# [arXiv:2106.07597](https://arxiv.org/abs/2106.07597)) publishes a ResNet-8 for CIFAR-10 in float and in int8, made by
# other people with another tool (TensorFlow Lite). In our longer run (`tools/resnet8_pair.py`), 100 photographs of
# CIFAR-10's test part query 900 of its training part, by the 64 numbers before the last layer. Both networks were
# trained on those 900, which flatters the mAP of both alike:

# %% tags=["extra", "record"]
pair = pd.read_csv(datasets.shipped_file("resnet8_pair.csv")).set_index(["network", "measure"])
both_way = pair.loc["int8 - float32"]
assert pair.loc[("float32", "bytes"), "value"] > 3 * pair.loc[("int8", "bytes"), "value"]
assert abs(both_way.loc["mAP", "value"]) < 0.01 and both_way.loc["mAP", "low"] < 0 < both_way.loc["mAP", "high"]
assert both_way.loc["same class", "high"] < 0.98 and both_way.loc["overlap", "high"] < 0.9
pair.drop(index="bytes", level="measure").round(3)

# %% [markdown] tags=["extra"]
# The same again: a third of the size, accuracy and mAP that cannot be told apart, and different names for about one
# photograph in twenty, different neighbours for more than one in ten. (Its accuracy lies below the 85 % that the
# benchmark asks for: these photographs are JPEGs, not the original pixels.)

# %% [markdown] tags=["extra"]
# ## Steps and ranges, looked at (extra)
#
# What does one step per channel bring, against one for a whole layer? And an activation beyond the calibrated range is
# cut off (**clipped**): how often does that happen to pictures, layer by layer, after each kind of calibration?

# %% tags=["extra", "claim"]
def error(weights, step):
    """Relative error of weights that are rounded to a step."""
    return np.linalg.norm(weights - step * np.round(weights / step)) / np.linalg.norm(weights)


per_channel = [error(one, rounded(one)[1]) for one in weights]
per_layer = [error(one, np.abs(one).max() / 127) for one in weights]
print(f"median error of a layer's weights: {np.median(per_channel):.4f}; with one step for all, {np.median(per_layer):.4f}")
assert np.median(per_layer) > 1.5 * np.median(per_channel)

# %% tags=["extra", "claim"]
graphs = {name: compress.operations(folder / f"{name}.onnx") for name in ("float32", "int8", "int8, dynamic")}
assert graphs["int8"]["QuantizeLinear"] > 40 and graphs["int8"]["DynamicQuantizeLinear"] == 0
assert graphs["int8, dynamic"]["DynamicQuantizeLinear"] == graphs["float32"]["Conv"]
pd.DataFrame(graphs).filter(regex="Conv|Quantize|Dequantize", axis=0).fillna(0).astype(int)

# %% tags=["extra"]
LAYERS = ["blocks.0", "blocks.2", "blocks.4", "blocks.6", None]
sources = {"pictures": pictures[:24]} | {name.split(", ")[1]: images[:24] for name, images in calibrations.items()}
clipped = {name: [] for name in sources}
for layer in LAYERS:
    deep = Deep("lite0", layer=layer, size=128, resize="squash", device="cpu")
    activations = deep.feature_maps(fresh)
    for name, images in sources.items():
        maps = deep.feature_maps(images)
        clipped[name].append(((activations < maps.min()) | (activations > maps.max())).mean())

# %% tags=["extra"]
fig, ax = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
for number, (name, fractions) in enumerate(clipped.items()):
    ax.plot(fractions, label=name, color=plots.style.COLOURS[number], marker=plots.style.MARKERS[number])
ax.set_yscale("symlog", linthresh=1e-5)
ax.set(xticks=range(len(LAYERS)), xticklabels=[layer or "last" for layer in LAYERS], xlabel="output of", ylabel="fraction clipped")
ax.legend(frameon=False, fontsize=9, title="calibrated on", loc="center left", bbox_to_anchor=(1, 0.5))
plots.show(plots.describe(ax, "Fraction of the activations of new pictures outside the range of each kind of calibration, by layer."))

# %% tags=["extra", "claim"]
assert max(clipped["noise"]) > 10 * max(clipped["pictures"])
assert max(clipped["plain grey"]) > 0.05

# %% [markdown] tags=["extra"]
# ## Energy and memory, on paper (extra)
#
# Horowitz (2014, *ISSCC*, [doi:10.1109/ISSCC.2014.6757323](https://doi.org/10.1109/ISSCC.2014.6757323)) gives picojoules
# per operation in a 45 nm process. We count multiply-adds of one picture, each weight read once from memory, and the
# largest input and output of a layer, which have to be kept at the same time:

# %% tags=["extra"]
shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][1:] for v in
          onnx.shape_inference.infer_shapes(onnx.load(folder / "float32.onnx")).graph.value_info}  # fmt: skip
convolutions = [node for node in graph.node if node.op_type == "Conv"]
multiply_adds = sum(np.prod(shapes[n.output[0]]) * np.prod(kernels[n.input[1]][1:]) for n in convolutions)
n_weights = sum(one.size for one in weights)
kept = max(np.prod(shapes[n.output[0]]) + np.prod(shapes.get(n.input[0], (128, 128, 3))) for n in convolutions)
PICOJOULES = {"float32": (3.7 + 0.9, 4), "float16": (1.1 + 0.4, 2), "int8": (0.2 + 0.1, 1)}  # multiply + add, bytes
paper = {name: {"sums, mJ": pj * multiply_adds / 1e9, "weights from DRAM, mJ": 1300 / 8 * size * n_weights / 1e9,
                "activations, MB": size * kept / 1e6} for name, (pj, size) in PICOJOULES.items()}  # fmt: skip
print(f"{multiply_adds / 1e6:.0f} million multiply-adds, {n_weights / 1e6:.1f} million weights")
pd.DataFrame(paper).T.round(3)

# %% [markdown] tags=["extra"]
# (1,300 pJ is the table's lower value for 64 bits from DRAM; an 8-bit product is added in 32 bits. Moving activations
# is left out. All are estimates for one process of 2014, no measurement.) For one picture of this size, **moving the
# weights costs more than computing with them**. For larger pictures, or a batch, count again.

# %% [markdown] tags=["extra"]
# ## What an embedding gives away (extra)
#
# "Only the embedding leaves the phone" is not privacy. Probes, learned on embeddings of other categories, read what was
# never asked for: the ground, the backdrop, the object's colour (hardly); and a ridge regression paints the picture
# back, 8 × 8 pixels of it.

# %% tags=["extra"]
probing = [(base.unit(learning - centre), rows), (base.unit(large[1] - centre), np.flatnonzero(tested & (split == "database")))]
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
target, real = thumbnails(rows), thumbnails(probing[1][1][:150])
painter = RidgeCV(np.logspace(-3, 2, 6)).fit(probing[0][0], target)
painted = painter.predict(probing[1][0][:150])
explained = 1 - ((real - painted) ** 2).sum() / ((real - target.mean(axis=0)) ** 2).sum()
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
# [arXiv:1506.02753](https://arxiv.org/abs/1506.02753)). Treat embeddings as you treat the pictures. Short codes give
# away less (and find less, as above).
#
# <details><summary>Check yourself: an embedding is sent, the photograph is not. What does the receiver know?</summary>
#
# Much: a linear map reads the ground, hardly the object's colour, and paints a coarse picture.
#
# </details>


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
# With your function: activations of one block after quantisation. Where the line bends, calibration saw too narrow a range. (Noise and grey look much alike; other blocks part them: "Steps and ranges", extra.)

# %%
deep = Deep("lite0", layer="blocks.5", size=128, resize="squash", device="cpu")
x = deep.feature_maps(fresh[:4]).ravel()[::7]
fig, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained", sharey=True)
for ax, (name, images) in zip(axes, {"pictures": pictures, **calibrations}.items(), strict=True):
    maps = deep.feature_maps(images[:16])
    low, high = min(float(maps.min()), 0), max(float(maps.max()), 0)
    codes = checks.first_written("quantised", x, low, high)
    if codes is not None:
        back = np.asarray(codes, dtype=float) - np.round(-255 * low / (high - low))
        ax.plot(x, (high - low) / 255 * back, ".", ms=2, color=plots.style.BLUE)
    ax.set(title=f"calibrated on {name.removeprefix('int8, ')}", xlabel="activation", ylabel="after quantisation" if ax is axes[0] else "")
plots.show(plots.describe(fig, "Activations after quantisation against before: a straight line, which bends where they are clipped."))

# %% [markdown] tags=["extra"]
# ## Exercise 2 ★★ cut a Matryoshka embedding (extra)
#
# Return the first `n_dims` of each embedding (n, d), scaled to length 1 and then stored in 8 bits: times 127, rounded,
# int8. A row whose first dimensions are all 0 stays 0.
#
# <details><summary>Hint 1: the idea</summary>
#
# Whose length do you divide by, and what is it for a row of zeros?
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `np.linalg.norm(…, axis=1, keepdims=True)`; `np.where` or `np.maximum` against dividing by 0; `np.round`.
#
# </details>


# %% tags=["extra", "exercise"]
def cut(embeddings, n_dims):
    """Embeddings (n, d), a whole number up to d -> int8 (n, n_dims)."""
    raise NotImplementedError


checks.check_cut(cut)

# %% [markdown] tags=["extra"]
# **Solution (click to open)**


# %% tags=["extra", "solution"]
def solution_cut(embeddings, n_dims):
    first = embeddings[:, :n_dims]
    length = np.linalg.norm(first, axis=1, keepdims=True)
    return np.round(127 * first / np.where(length > 0, length, 1)).astype(np.int8)


checks.check_cut(solution_cut)

# %% [markdown] tags=["extra"]
# mAP of the nested map, cut by your function, against bytes per image. What did 8 bits cost?

# %% tags=["extra"]
shorter = {d: [checks.first_written("cut", (part - centre) @ nested, d) for part in large] for d in DIMS}
found = {d: mean_ap([np.asarray(part, np.float32) for part in parts]) for d, parts in shorter.items() if parts[0] is not None}
fig, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.semilogx(found.keys(), found.values(), "o-", base=2, color=plots.style.BLUE)
ax.set(xlabel="bytes per image", ylabel="mAP", xticks=DIMS, xticklabels=DIMS)
plots.show(plots.describe(ax, "mAP of the cut embeddings in 8 bits against bytes per image."))

# %% [markdown]
# ## Exercise 3 ★★★ open: sixteen bytes
#
# Sixteen bytes per image, compared by Euclidean distance: how many of the ten nearest neighbours can you keep? Fit what
# you like on `reference` (n, d), encode `embeddings` (m, d) as uint8 (m, 16). **Predict** first: are 16 principal
# components best as they are, or each scaled to equal variance? The check wants twice the overlap of a random
# projection to 16 floats. Report what yours costs in mAP on the pictures above: with `mine = [sixteen_bytes(learning[~validating], part) - 127.5 for part in large]`, `change(order(*mine), rankings["float32"])` (`order`
# compares angles, hence 127.5).
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
# - Static 8-bit quantisation brought this network to a third and kept mAP, also when codes of 32 bytes (a 160th) follow;
#   of the ten nearest, about one changed.
# - Calibrate on pictures; a few suffice here. Plain grey breaks this network, noise costs neighbours.
# - Dynamic quantisation was slower; one step per layer cost neighbours. Measure time on the device.
# - At equal bytes, 32 numbers of 8 bits beat 8 floats.
#
# ### Check yourself
#
# <details><summary>1. mAP is the same, but a user complains that results changed. Can both be right?</summary>
#
# Yes: other right results, or other wrong ones, came. Measure the overlap.
#
# </details>
# <details><summary>2. Why may calibration pictures not be test pictures?</summary>
#
# Their ranges would fit the test pictures exactly: the loss could look smaller than it is.
#
# </details>
# <details><summary>3. Your int8 file is no quicker than the float one. What do you look at?</summary>
#
# Whether the runtime merges the QDQ nodes, and whether the processor has 8-bit instructions.
#
# </details>
# <details><summary>4. Phones change to int8; the server's index is of float32. Must it be built anew?</summary>
#
# No: look at *mixed*. mAP stays.
#
# </details>
#
# ### What breaks at a million images
#
# The index: 5 GB of floats; at 32 bytes each, 32 MB. See notebook [12](12_approximate_search.ipynb).
#
# ### Further reading
#
# - Nagel et al. (2021), *A white paper on neural network quantization*,
#   [arXiv:2106.08295](https://arxiv.org/abs/2106.08295): ranges, biases, training with quantisation.
# - Kusupati et al. (2022), *Matryoshka representation learning*,
#   [arXiv:2205.13147](https://arxiv.org/abs/2205.13147): at the scale of ImageNet.
# - Banbury et al. (2021), *MLPerf Tiny benchmark*, [arXiv:2106.07597](https://arxiv.org/abs/2106.07597): how devices are
#   compared.
#
# <!-- links:start -->
# Previous: [12_approximate_search](12_approximate_search.ipynb) · [course map](00_start_here.ipynb) · Next: [14_object_retrieval](14_object_retrieval.ipynb)
# <!-- links:end -->
