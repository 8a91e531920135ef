# %% [markdown]
# # 24 · Your own data set: from a folder to a search that you can defend
#
# **Question.** You have a folder of images and no benchmark. What is in it, which encoder suits it, where does the search
# fail, and how do you know?
#
# **Time:** about a minute to run on two cores, offline; three for a thousand images of yours. **Before this:**
# [00_start_here](00_start_here.ipynb) and [01_measuring_retrieval](01_measuring_retrieval.ipynb);
# [03_cnn_features](03_cnn_features.ipynb) for what the network is.
#
# <!-- links:start -->
# Previous: [23_generative](23_generative.ipynb) · [course map](00_start_here.ipynb)
# <!-- links:end -->

# %% [markdown]
# ## You will be able to
#
# - **look** at a folder before you trust it: sizes, classes, copies, outliers, broken files, doubtful labels;
# - **choose** an encoder by labels, and by what can be had without them;
# - **find** the queries and the classes that the search confuses;
# - **keep** what you made: an index that loads again, and a report that opens anywhere.

# %%
import contextlib
import io
import re
import tempfile
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown
from PIL import Image, ImageDraw, ImageEnhance

from cbirkit import ImageCollection, Relevance, Retriever, checks, cli, datasets, encoders, explore, plots
from cbirkit.evaluation import compare, evaluate, survey
from cbirkit.store import EmbeddingStore

# %% [markdown]
# The last four of these lines are yours to change. Everything below follows them.

# %%
SEED = 0
FOLDER = None  # or yours: FOLDER = "~/Pictures/birds", with a sub-folder per class, or without
LABELS = "folder"  # or a CSV file that names images and their labels: LABELS = "labels.csv"
SAME_OBJECT = r"([^/]+ \d+) view"  # what the file names of one object's images share; None: nothing
NETWORK = "lite0"  # or "tiny"; online also "resnet50", "timm/NAME" …

# %% [markdown]
# `lite0` was trained on the photographs of ImageNet, and has met none of the rendered pictures used here. Ask the same about
# your folder: pictures from the web may be among those that a network has learned from. Online, one line gives you a stronger
# network, such as DINOv2: `NETWORK = "timm/vit_small_patch14_dinov2.lvd142m"` (not run here).
#
# ## The goal
#
# A folder as people have them. Unless you named one of your own, the next cells write one: rendered objects, a sub-folder per
# class, two views of each object, and from each view a **burst** of two shots: the same moment, a slightly different frame.


# %%
def second_shot(image, rng):
    """The same moment again: tilted, framed and lit a little differently."""
    size, angle = image.shape[0], rng.uniform(4, 9) * rng.choice([-1, 1])
    side = size * rng.uniform(0.72, 0.84)
    left, top = (size - side) / 2 + rng.uniform(-0.03, 0.03, 2) * size
    tilted = Image.fromarray(image).rotate(angle, Image.Resampling.BICUBIC)
    box = (left, top, left + side, top + side)
    part = tilted.resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(ImageEnhance.Brightness(part).enhance(rng.uniform(0.75, 1.2)))


# %%
def write_object(folder, name, views, rng):
    """Two views of an object, each shot twice: ``mug 3 view 1a.jpg`` to ``mug 3 view 2b.jpg``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(views, start=1):
        for shot, pixels in (("a", image), ("b", second_shot(image, rng))):
            Image.fromarray(pixels).save(folder / f"{name} view {number}{shot}.jpg", quality=90)


# %% [markdown]
# So that there is something to find, the folder has the usual faults: copies under other names, copies saved again a little
# smaller, objects filed under a wrong class, a file that stops half way, and pictures that belong nowhere, of which one kind
# comes four times.


# %%
def strangers():
    """Pictures that belong nowhere; of the last kind there are four."""
    rng = np.random.RandomState(0)
    page, bars = Image.new("RGB", (240, 320), "white"), Image.new("RGB", (240, 120), "white")
    text = "Minutes of the meeting: nobody came."
    for line in range(20):
        ImageDraw.Draw(page).text((14, 12 + 15 * line), text[: 36 - 7 * line % 23], fill="black")
    for left in range(14, 220, 7):
        ImageDraw.Draw(bars).rectangle((left, 10, left + rng.randint(1, 6), 100), fill="black")
    patches = rng.randint(0, 256, (4, 6, 3)).astype(np.uint8).repeat(40, axis=0).repeat(40, axis=1)
    paper = rng.randint(240, 248, (4, 320, 240)).astype(np.uint8)
    blank = {f"blank {i}": Image.fromarray(paper[i]) for i in range(4)}
    chart = Image.fromarray(patches)
    return {"page of text": page, "colour chart": chart, "bar code": bars, **blank}


# %%
def add_faults(folder, rng):
    """12 copies, 12 smaller copies, the strangers, and a file that stops half way."""
    chosen = rng.choice(sorted(folder.rglob("*a.jpg")), 24, replace=False)
    for file in chosen[:12]:
        file.with_name(f"{file.stem} copy.jpg").write_bytes(file.read_bytes())
    for file in chosen[12:]:
        smaller = Image.open(file).resize((100, 100))
        smaller.save(file.with_name(f"{file.stem} small.jpg"), quality=60)
    for name, picture in strangers().items():
        picture.save(folder / f"{name}.png")
    (folder / "half.jpg").write_bytes(chosen[0].read_bytes()[:900])


# %%
def write_folder(folder):
    """14 classes of 5 objects of 4 images; three objects lie in the folder of another class."""
    world, rng = datasets.load_tabletop("objects"), np.random.RandomState(SEED)
    kinds = rng.choice(np.unique(world.labels), 14, replace=False)
    names = [f"{kind} {i}" for kind in kinds for i in rng.permutation(6)[:5]]
    astray = rng.choice(names, 3, replace=False)
    for number, name in enumerate(names):
        views = world[world.column("instance") == name]
        kind = kinds[(number // 5 + (name in astray)) % 14]  # its own class, or the next one
        write_object(folder / kind, name, views[rng.permutation(8)[:2]], rng)
    add_faults(folder, rng)


# %%
made = tempfile.TemporaryDirectory()  # removed again when the kernel ends
folder = Path(made.name, "pictures") if FOLDER is None else Path(FOLDER).expanduser()
if FOLDER is None:
    write_folder(folder)
as_shipped = FOLDER is None and NETWORK == "lite0"  # what the claims below are about
images = datasets.from_folder(folder, labels=LABELS)
readable = images.verify(progress=False)
plots.show(plots.contact_sheet(readable[:: max(1, len(readable) // 24)]), dpi=64)

# %% [markdown]
# **Predict.** A colour histogram knows next to nothing about shape. For how many of these images, would you say, is the nearest
# other image by colour of the same class? Write down your guess. The count comes twice below, and the two differ.
#
# ## Background
#
# With labels, a search is measured as everywhere in this course: each image is a query, itself left out, and **average
# precision** says how well its class was found (notebook [01](01_measuring_retrieval.ipynb)).
#
# Without labels there is one thing that you do know: an image and a changed version of it show the same object. With the
# change $t$ (a crop, a flip, another light), the encoder $\phi$, the $n$ images $I_i$ and the object $o_i$ that each shows,
# **consistency** is the fraction of changed images whose nearest image shows their own object:
#
# $$C = \frac{1}{n} \sum_{i=1}^{n} \mathbf{1}\big[\, o_i = o_{j(i)} \big], \qquad j(i) = \arg\min_j D\big(\phi(t(I_i)), \phi(I_j)\big)$$
#
# It is the score of an instance search that you made yourself, and the pretext of learning without labels (Wu et al. 2018,
# *CVPR*, [arXiv:1805.01978](https://arxiv.org/abs/1805.01978), teach a network to tell every image from every other
# one). It rewards what stands still under *your* $t$. Whether that is what your users mean by *alike*, it cannot know.

# %% [markdown]
# ### What is in it?
#
# One pass over the files: what cannot be read, how large the images are, which are the same. The network encodes every image
# once; the **store** keeps the embeddings for all that follows.

# %%
network, store = encoders.Deep(NETWORK), EmbeddingStore(Path(made.name, "store"))


def embed(encoder, some_images):
    """Embeddings (n, d), from the store where it has them."""
    return store.embed(encoder, some_images, progress=False).embeddings


found = survey(readable, embed(network, readable), progress=False)

# %%
facts = {
    "images that can be read": len(found.table),
    "files that cannot": len(found.problems),
    "groups of copies": len(found.copies),
    "groups of near-copies": len(found.near_copies),
    "classes": len(found.class_counts()),
}
labelled = len(found.class_counts()) > 1
print(found.problems.to_string(index=False) if len(found.problems) else "Every file can be read.")
pd.Series(facts).to_frame("number")

# %% [markdown]
# Now look. Turn the pages, go through the views, click a class to see its images, filter by any column. In a terminal,
# `cbirkit report FOLDER` writes the same as one HTML file.

# %%
looked = explore.CollectionExplorer(images, found=found, page_size=24)
looked

# %% [markdown]
# Four of its views as pictures, for places where notebooks do not run. First the classes: is one much larger than the
# others?

# %%
looked.view = "classes"
plots.show(looked.static(), dpi=80)

# %% [markdown]
# **Copies** have the same content, byte for byte. **Near-copies** (the near-duplicates of notebook
# [01](01_measuring_retrieval.ipynb)) show the same picture: saved again, scaled, or cut out a little differently. A **hash of
# differences** (is each cell of an 8 × 8 grid brighter than its neighbour?) proposes pairs, and so does the network; the pixels
# of the two, laid over each other, decide. They are candidates. Look before you delete.

# %%
for view in ["copies", "near-copies"]:
    looked.view = view
    plots.show(looked.static(), dpi=80)

# %% [markdown]
# **Outliers** are the images that are farthest from their three nearest neighbours, by the network: strange ones, but also
# the only ones of their kind.

# %%
looked.view = "outliers"
plots.show(looked.static(), dpi=80)
looked.view = "contact sheet"  # where you will find it when you scroll back

# %%
if FOLDER is None:
    single = {"page of text.png", "colour chart.png", "bar code.png"}
    blank = {f"blank {i}.png" for i in range(4)}
    second = {name for name in readable.ids if name.endswith("b.jpg")}
    near = {name for group in found.near_copies for name in group}
    chance = len(found.outliers) / len(readable)
    for words, kind in (("single strangers", single), ("blank pages", blank)):
        outlying = len(kind & set(found.outliers))
        by_chance = len(kind) * chance
        print(f"{words}: {outlying} of {len(kind)} are outliers ({by_chance:.1f} by chance)")
    print(f"second shots: {len(second & near)} of {len(second)} are near-copies")

# %% [markdown]
# Keep two limits in mind. Strangers of one kind are each other's neighbours, so the list does not show the blank pages. And
# most second shots are no near-copies: tilted, they do not fit the first pixel by pixel.

# %% tags=["claim"]
if as_shipped:
    assert [str(name).endswith("half.jpg") for name in found.problems["name"]] == [True]
    assert len(found.copies) == 12 and all(len(group) == 2 for group in found.copies)
    assert sum("small" in name for group in found.near_copies for name in group) >= 10
    assert single <= set(found.outliers) and not blank & set(found.outliers)
    assert len(second & near) < 0.6 * len(second)

# %% [markdown]
# Copies have no place in a measurement: a copy that is found in place of its original is no mistake. So of each group one
# stays. It is better to lose two pictures that only look like copies than to keep one that is a copy.
#
# ### Which images show the same object?
#
# Other views of the object itself are a subtler kind of copy. If the class is what you want to find, they are **junk**: neither
# right nor wrong, taken out before ranks are counted. Pixels cannot tell; file names often can, or the camera's clock, or the
# number of an article. Here the expression `SAME_OBJECT` finds the object in the file name.

# %%
copies = {name for group in found.copies + found.near_copies for name in group[1:]}
clean = found.images.subset(~np.isin(found.images.ids, list(copies)))


def object_of(name):
    """The object that a file name tells; an image without one is an object of its own."""
    match = re.search(SAME_OBJECT, name) if SAME_OBJECT else None
    return match[match.lastindex or 0] if match else name


clean = clean.with_columns(object=[object_of(name) for name in clean.ids])
n_objects = len(set(clean.column("object")))
print(f"Of {len(readable)} images, {len(clean)} are no copies. They show {n_objects} objects.")

# %% [markdown]
# ### Which labels are doubtful?
#
# An image whose neighbours carry another label is either hard or wrongly filed. For each class, take the mean cosine between
# the image and the members of the class; if another class is nearer than its own, the label is doubtful. The images of one
# object are usually filed together, right or wrong: so they do not vouch for each other, and what they say is averaged.
# (Confident learning, Northcutt et al. 2021, *JAIR*, [arXiv:1911.00068](https://arxiv.org/abs/1911.00068), asks a trained
# classifier instead of neighbours.)


# %%
def doubt(rows, labels, objects):
    """By how much another class is nearer than an image's own (n,), and which (n,)."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    names, own = np.unique(labels, return_inverse=True)
    members, same = np.eye(len(names))[own], objects[:, None] == objects  # (n, n_classes), (n, n)
    counts, each = ~same @ members, np.arange(len(own))  # images of other objects in each class
    means = (unit @ unit.T * ~same) @ members / np.maximum(counts, 1)
    means = same @ means / same.sum(axis=1, keepdims=True)  # the images of an object together
    mine = np.where(counts[each, own] > 0, means[each, own], np.inf)  # alone in its class: no doubt
    means[each, own] = -np.inf
    return means.max(axis=1) - mine, names[means.argmax(axis=1)]


# %%
if labelled:
    judged = clean.subset(clean.table["label"].notna().to_numpy())
    rows_judged = embed(network, judged)
    doubts, nearer = doubt(rows_judged, judged.labels, judged.column("object"))
    first = np.argsort(-doubts, kind="stable")[:24]
    listed = {"label": judged.labels, "nearer class": nearer, "doubt": doubts.round(3)}
    listed = pd.DataFrame(listed, index=judged.ids).iloc[first]
    asked = [f"{label}?" for label in listed["label"]]
    plots.show(plots.contact_sheet(judged[first], labels=asked, columns=8), dpi=80)
listed.head(8) if labelled else print("There are no labels.")

# %% [markdown]
# A person has to look at the list. Put the names that you found wrong into `confirmed`, and they are left out of everything
# below. In the folder that we wrote, the file name tells what you would see.

# %%
confirmed = []
if FOLDER is None:
    paths = map(Path, judged.ids)
    wrong = np.array([not path.name.startswith(path.parent.name) for path in paths])
    confirmed = judged.ids[first[wrong[first]]]
    chance = len(first) * wrong.mean()
    print(f"{len(confirmed)} of {wrong.sum()} misfiled images are in the list ({chance:.1f} by chance)")
clean = clean.subset(~np.isin(clean.ids, confirmed))

# %% [markdown]
# How far can such a list be trusted in a folder where nobody knows the errors? Plant some and count: give one object in
# twenty the label of another class, and read the list twice as far as there are errors. The control is a random order.


# %%
def plant(labels, objects, rng):
    """Labels of which one object in twenty has another class's."""
    planted, names = labels.copy(), np.unique(objects)
    for one in rng.choice(names, max(1, len(names) // 20), replace=False):
        planted[objects == one] = rng.choice(np.setdiff1d(labels, labels[objects == one]))
    return planted


def fraction_found(order, wrong):
    """Fraction of the wrong (n,) bool among the first of an order (n,), twice as many."""
    return wrong[order[: 2 * wrong.sum()]].sum() / wrong.sum()


# %%
fractions = {"by doubt": [], "in random order": []}
for draw in range(20) if labelled else ():
    rng, rest = np.random.RandomState(100 * SEED + draw), np.isin(judged.ids, clean.ids)
    true, objects, vectors = judged.labels[rest], judged.column("object")[rest], rows_judged[rest]
    planted = plant(true, objects, rng)
    order = np.argsort(-doubt(vectors, planted, objects)[0], kind="stable")
    fractions["by doubt"].append(fraction_found(order, planted != true))
    fractions["in random order"].append(fraction_found(rng.permutation(len(true)), planted != true))
planting = pd.DataFrame(fractions).agg(["mean", "min", "max"]).T
planting.rename_axis("planted errors found, 20 draws").round(2)

# %% tags=["claim"]
if as_shipped:
    assert planting.loc["by doubt", "mean"] > 0.6 and planting.loc["in random order", "mean"] < 0.25
    assert len(confirmed) > 0.6 * wrong.sum() > 0

# %% [markdown]
# ## Build it: consistency
#
# The change: a tenth cut off at the left, a fifth at the bottom, mirrored, and darker. Then the formula, in the open.


# %%
def changed(image):
    """Another version of an image (h, w, 3) uint8."""
    height, width = image.shape[:2]
    part = Image.fromarray(image).crop((width // 10, 0, width, height - height // 5)).resize((width, height))
    return np.asarray(ImageEnhance.Brightness(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).enhance(0.7))


def consistency(changed_rows, rows, objects):
    """Fraction of changed images (n, d) whose nearest of `rows` (n, d) shows their own object."""
    q = changed_rows / np.maximum(np.linalg.norm(changed_rows, axis=1, keepdims=True), 1e-12)
    x = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return float((objects[(q @ x.T).argmax(axis=1)] == objects).mean())


# %%
objects = clean.column("object")
names = [f"changed {name}" for name in clean.ids]
others = ImageCollection.from_arrays([changed(image) for image in clean], ids=names)
vectors, changed_vectors = embed(network, clean), embed(network, others)
same_object = Relevance.from_labels(others.ids, clean.ids, objects, objects)
nearest = Retriever(network, store=store, progress=False).fit(clean).search(others, k=1)
package = evaluate(nearest, same_object, metrics=["p@1"], groups=objects)["p@1"]

# %% tags=["claim"]
measured = consistency(changed_vectors, vectors, objects)
assert np.isclose(measured, package, atol=2 / len(clean))  # equal but for ties
assert consistency(vectors, vectors, objects) > 0.99  # nothing changed, everything found

# %% [markdown]
# ## Measure it: which encoder suits this folder?
#
# Four candidates, with labels and without. Nothing is learned from the folder but VLAD's words, for which half of it would
# have to be set aside; so VLAD stays out here, and notebook [02](02_local_features.ipynb) shows how it is done. Other images of
# the query's object are junk, and the intervals draw objects, not single images.

# %%
candidates = {
    "colour": encoders.ColorHistogram(),
    "small image": encoders.TinyImage(),
    "HOG": encoders.HOG(size=64, cell=16),
    "network": network,
}
rows = {name: embed(encoder, clean) for name, encoder in candidates.items()}
rows_changed = {name: embed(encoder, others) for name, encoder in candidates.items()}
unsupervised = {name: consistency(rows_changed[name], rows[name], objects) for name in candidates}
unsupervised = pd.Series(unsupervised)


# %%
def ranked(encoder, some_images):
    """Every image is a query, itself left out, and all the others are ranked."""
    retriever = Retriever(encoder, store=store, progress=False).fit(some_images)
    return retriever.search(some_images, k=None)


# %%
everything = {name: ranked(encoder, clean) for name, encoder in candidates.items()}
table = pd.DataFrame({"consistency": unsupervised.round(3)})
if labelled:
    truth = clean.relevance(by="label", junk="object")
    kwargs = {"metrics": ["map", "p@1"], "groups": objects}
    scores = {name: evaluate(ranking, truth, **kwargs) for name, ranking in everything.items()}
    summaries = {name: score.summary.loc["map"] for name, score in scores.items()}
    table["mAP"] = {name: f"{s['mean']:.3f} ({s['low']:.3f} to {s['high']:.3f})" for name, s in summaries.items()}
    table["P@1"] = {name: round(score["p@1"], 3) for name, score in scores.items()}
table

# %%
best = unsupervised.idxmax()
if labelled:
    best = max(summaries, key=lambda name: summaries[name]["mean"])
    paired = compare(everything, truth, groups=objects, n_draws=2000, random_state=SEED)
    ax = plots.metric_bars(scores, metrics=["map", "p@1"])
    ax.set_xlabel("score (0 to 1, higher is better), 95 % interval over objects")
    plots.show(ax)
print("the best by", "labels" if labelled else "consistency", "is", best)

# %%
remark = "Without labels there is nothing to compare the consistency with."
if labelled:
    by_labels = pd.Series({name: s["mean"] for name, s in summaries.items()})
    agreement = by_labels.corr(unsupervised, method="spearman")
    remark = (
        f"By labels *{best}* is first; by consistency *{unsupervised.idxmax()}*. The score without labels orders the four as the "
        f"labels do with a rank correlation of {agreement:.2f}. It says what stands still when an image is cut, mirrored and "
        "darkened, and that is part of what makes a search good, not all of it: a method that knew nothing of classes but "
        "recognised every picture would have 1."
    )
Markdown(remark)

# %% tags=["claim"]
if as_shipped:
    pairs = {frozenset((row.a, row.b)): row for row in paired.pairs.itertuples()}
    for name in ("colour", "small image", "HOG"):
        row = pairs[frozenset((name, "network"))]
        assert max(row.low, -row.high) > 0.1, name  # the interval leaves out zero
        assert by_labels["network"] > by_labels[name]
    assert unsupervised.idxmax() == "network"

# %% [markdown]
# ### Copies and bursts flatter
#
# What would the same search have scored with the copies left in, and with images of the query's own object counted as right?

# %%
flattered = {"every file counts": {}, "copies out": {}, "copies out, same object junk": {}}
for name, encoder in candidates.items() if labelled else ():
    files, without = readable.relevance(by="label"), clean.relevance(by="label")
    in_groups = [object_of(one) for one in readable.ids]
    loose = evaluate(ranked(encoder, readable), files, metrics=["p@1"], groups=in_groups)
    kinder = evaluate(everything[name], without, metrics=["p@1"], groups=objects)
    for key, score in zip(flattered, (loose, kinder, scores[name]), strict=True):
        flattered[key][name] = score["p@1"]
flattered = pd.DataFrame(flattered)
flattered.rename_axis("P@1").round(3) if labelled else print("There are no labels.")

# %%
if labelled:
    loose, strict = flattered["every file counts"], flattered["copies out, same object junk"]
    leads = [column["network"] - column["colour"] for column in (loose, strict)]
    message = (
        f"*Colour* would have scored {loose['colour']:.2f}. With nothing but other objects to find, "
        f"it scores {strict['colour']:.2f}. The lead of *network* over *colour* is "
        f"{leads[0]:.2f} in the first column and {leads[1]:.2f} in the last."
    )
    if n_objects == len(found.images.ids) - len(copies):
        message += " No name tells which images show one object: is there a burst among them?"
Markdown(message if labelled else "")

# %% tags=["claim"]
if as_shipped:
    assert loose["colour"] > 0.6 and strict["colour"] < 0.25
    assert leads[1] > leads[0] + 0.1

# %% [markdown]
# ### Where it fails
#
# The queries for which the best encoder does worst, and the classes that it takes for one another. A pair of classes that
# is often confused is a question to you: are they different to your users?

# %%
if labelled:
    per_query = scores[best].per_query["map"].dropna().sort_values(kind="stable")
    worst = [*per_query.index[:3]]
    plots.show(plots.ranked_list(everything[best], clean, queries=clean, relevance=truth, rows=worst, k=7), dpi=80)
else:
    plots.show(plots.ranked_list(everything[best], clean, queries=clean, rows=[*clean.ids[:3]], k=7), dpi=80)

# %%
if labelled:
    junk = truth.junk(everything[best].indices)  # the first answer of another object
    answers = clean.labels[everything[best].indices[np.arange(len(clean)), junk.argmin(axis=1)]]
    confused = pd.crosstab(pd.Series(clean.labels, name="asked"), pd.Series(answers, name="first answer"))
    classes = sorted(found.class_counts().index)
    confused = confused.reindex(index=classes, columns=classes, fill_value=0)
    fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    shares = confused.div(confused.sum(axis=1), axis=0)
    shown_grid = ax.imshow(shares, cmap="viridis", vmin=0, vmax=1)
    ax.set_xticks(range(len(shares)), shares.columns, rotation=60, ha="right", fontsize=8)
    ax.set_yticks(range(len(shares)), shares.index, fontsize=8)
    ax.set(xlabel="class of the first answer", ylabel="class asked for")
    fig.colorbar(shown_grid, label="share of the queries")
    plots.show(plots.describe(fig, "Class of the first answer against the class asked for; off the diagonal: confusions."), dpi=80)

# %% [markdown]
# ## Keep it
#
# A retriever is saved as one file, a zip of arrays and JSON, no pickle. Loaded, it answers as before. The images stay where they are.

# %%
kept = Path(made.name) / "kept"
retriever = Retriever(candidates[best], store=store, progress=False).fit(clean)
retriever.save(kept)
again = Retriever.load(kept, images=clean)
query = per_query.index[len(per_query) // 2] if labelled else clean.ids[len(clean) // 2]
before, after = (one.search(query, k=min(5, len(clean))) for one in (retriever, again))
print(kept.stat().st_size // 1024, "kB for", len(clean), "images:", zipfile.ZipFile(kept).namelist())

# %% tags=["claim"]
assert list(before.ids[0]) == list(after.ids[0])
assert {Path(part).suffix for part in zipfile.ZipFile(kept).namelist()} == {"", ".json"}

# %% [markdown]
# And a report for those who have no Python: one HTML file with what `survey` found. (In a terminal: `cbirkit report FOLDER`.)

# %%
page = Path(made.name) / "report.html"
with contextlib.redirect_stdout(io.StringIO()):  # it would print where the page is
    done = cli.main(["report", str(folder), "--quiet", "--encoder", NETWORK, "--html", str(page), "--out", str(Path(made.name) / "out")])
print(f"{page.name}: {page.stat().st_size // 1024} kB")

# %% tags=["claim"]
assert done == 0 and page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

# %% [markdown]
# ## Try it
#
# Search your own folder: click, crop, drop in a picture. Switch between the encoders.

# %%
both = {name: Retriever(candidates[name], store=store, progress=False).fit(clean) for name in dict.fromkeys([best, "colour"])}
known = {"relevance": truth} if labelled else {}
explorer = explore.QueryExplorer(both, query=query, k=12, **known)
explorer

# %% [markdown]
# The same view as a picture, for places where notebooks do not run:

# %%
plots.show(explorer.static(), dpi=80)

# %% [markdown]
# ### Try it: a map of the folder
#
# Which images lie together, and which apart? Two dimensions cannot keep what hundreds hold, so first ask how much each way
# of laying out loses. **Neighbour overlap** is the share of the ten nearest by embedding that are among the ten nearest on
# the map; **trustworthiness** (Venna and Kaski 2001, *ICANN*) is 1 where nothing is near on the map that is far in truth, and about
# a half at random.

# %%
unit = rows[best] / np.maximum(np.linalg.norm(rows[best], axis=1, keepdims=True), 1e-12)
ways = ["pca", "umap", "tsne"] if len(clean) >= 10 else ["pca"]
qualities = {way: explore.map_quality(explore.project(unit, way, random_state=SEED), unit) for way in ways}
maps = pd.DataFrame({w: {"overlap": q.overlap, "at random": q.chance, "trust": q.trustworthiness} for w, q in qualities.items()})
way = maps.loc["overlap"].idxmax()
maps.T.round(2)

# %% tags=["claim"]
if as_shipped:
    assert maps.loc["overlap", "pca"] + 0.1 < maps.loc["overlap", ["umap", "tsne"]].min()
    assert 5 * maps.loc["at random", way] < maps.loc["overlap", way] < 0.95  # much is kept, and not all

# %%
Markdown(
    f"Of the ten nearest images, {maps.loc['overlap', way]:.0%} are still among the ten nearest on the map by *{way}*: a map is for "
    "looking around, not for measuring. How far two groups lie apart on it says little: only what is near counts."
)

# %% [markdown]
# Rest on a point to see its image; click it, and the explorer above asks for it; draw round some points, with the mouse
# or with the arrow keys, to see them all. Colour by *error* to see where the search goes wrong.

# %%
seen = explore.EmbeddingMap(clean, rows[best], method=way, random_state=SEED).link(explorer).wait()
seen

# %% [markdown]
# The explorer searches, and the map marks what it shows:

# %% tags=["gallery"]
explorer.search(query)
figure = seen.static()
figure.axes[0].set_title(f"{len(clean)} images as a map; lines join one to the {explorer.k} that are found for it", fontsize=11)
plots.show(figure, dpi=72)

# %% [markdown]
# ## Exercise 1 ★ groups of copies
#
# `ids` (n,) are names, `digests` (n,) what their contents hash to. Return the groups of two or more names with the same
# digest, each sorted, the groups sorted by their first name.
#
# <details><summary>Hint 1: the idea</summary>
#
# Collect the names of each digest in a dict; keep the lists that are long enough; sort twice.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `groups.setdefault(digest, []).append(name)`, then `sorted(sorted(names) for names in groups.values() if …)`.
#
# </details>


# %% tags=["exercise"]
def copy_groups(ids, digests):
    """Groups of copies: two sequences of n str -> list of lists of str."""
    raise NotImplementedError


checks.check_copy_groups(copy_groups)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_copy_groups(ids, digests):
    names_of = {}
    for name, digest in zip(ids, digests, strict=True):
        names_of.setdefault(digest, []).append(name)
    return sorted(sorted(names) for names in names_of.values() if len(names) > 1)


checks.check_copy_groups(solution_copy_groups)

# %% [markdown]
# A right answer gives as many groups as `survey` found: the number in its table above.
#
# ## Exercise 2 ★★ a mean that hears every class
#
# In a folder of 900 cats and 9 dogs the mean over queries is about cats. `scores` (n,) are average precisions, NaN where a
# query has nothing to find; `labels` (n,) the classes. Return the mean over classes of the mean over their queries; a class
# without any score is left out, and with none at all the answer is NaN.
#
# <details><summary>Hint 1: the idea</summary>
#
# Take away the NaN first. Then a mean for each class that is left, and the mean of these.
#
# </details>
# <details><summary>Hint 2: the calls</summary>
#
# `kept = ~np.isnan(scores)`, `np.unique(labels[kept])`, `scores[kept & (labels == name)].mean()`.
#
# </details>


# %% tags=["exercise"]
def mean_over_classes(scores, labels):
    """Mean of the classes' means: (n,) float with NaN, (n,) of str -> float."""
    raise NotImplementedError


checks.check_mean_over_classes(mean_over_classes)

# %% [markdown]
# **Solution (click to open)**


# %% tags=["solution"]
def solution_mean_over_classes(scores, labels):
    kept_ = ~np.isnan(scores)
    means = [scores[kept_ & (labels == name)].mean() for name in np.unique(labels[kept_])]
    return float(np.mean(means)) if means else float("nan")


checks.check_mean_over_classes(solution_mean_over_classes)

# %% [markdown]
# A right answer gives the average of these bars: average precision by class, for the best encoder.

# %%
if labelled:
    by_class = scores[best].per_query["map"].groupby(clean.labels).mean().sort_values()
    fig, ax = plt.subplots(figsize=(6.4, 0.22 * len(by_class) + 0.8), layout="constrained")
    by_class.plot.barh(ax=ax, color=plots.style.COLOURS[0])
    ax.axvline(by_class.mean(), color="black", ls="--", label="mean over classes")
    ax.set(xlabel="mean average precision", ylabel="")
    ax.legend(frameon=False, loc="lower right")
    plots.show(plots.describe(ax, "Mean average precision of each class, and the mean over classes."), dpi=80)

# %% [markdown]
# ## What we learned
#
# - Look first. Broken files, copies, outliers and wrong labels are in most folders. Plant some yourself: then you know how
#   many of them a list finds.
# - With labels, measure: each image is a query, copies are removed, other images of its object are junk, and the interval
#   draws objects. Otherwise a burst makes any encoder look good.
# - Without labels, consistency under changes that you choose orders encoders by what stands still under them. It is a
#   hint, and looking at ranked lists is the other half.
# - The worst queries and the confused classes say what to do next: other labels, another encoder, or training ([06](06_domain_fine_tuning.ipynb), [07](07_metric_learning.ipynb)).
#
# ### Check yourself
#
# <details><summary>1. Why are other images of the query's object junk here, and not wrong answers?</summary>
#
# They are of the right class, so a search that shows them is not to blame. But finding them earns nothing: a second shot is
# found without knowing anything of the class.
#
# </details>
# <details><summary>2. Your change t keeps all colours. Which encoder will consistency flatter?</summary>
#
# The colour histogram: what it sees does not change. Choose changes as your users' images really vary.
#
# </details>
# <details><summary>3. A class has two images. What can its average precision be?</summary>
#
# One over the rank at which the other is found: 1, 1/2, 1/3 … A single query decides much; the interval says so.
#
# </details>
# <details><summary>4. The report names a file that cannot be read. What happens to the rest of the folder?</summary>
#
# Nothing: the file is named with its reason, and the others are indexed and searched.
#
# </details>
#
# ### What breaks at a million images

# %%
n_dims = rows[best].shape[1]
Markdown(
    f"Comparing all pairs for copies costs {(1e6 / len(clean)) ** 2:,.0f} times as much as for these {len(clean)}: exact copies still "
    "need one pass (a dict of digests), near-copies and outliers an index (notebook [12](12_approximate_search.ipynb)). "
    f"{n_dims} numbers an image are {n_dims * 4 * 1e6 / 1e9:.1f} GB. Nobody looks through a million images: draw a sample at random, and "
    "let the report name the classes, the copies and the outliers. Labels for a sample of a thousand give an interval that is good "
    "enough to choose an encoder."
)

# %% [markdown]
# ### Further reading
#
# - Wu, Xiong, Yu and Lin (2018), *Unsupervised feature learning via non-parametric instance discrimination*, CVPR,
#   [arXiv:1805.01978](https://arxiv.org/abs/1805.01978). Every image its own class: the idea behind consistency.
# - Barz and Denzler (2020), *Do we train on test data? Purging CIFAR of near-duplicates*, Journal of Imaging,
#   [arXiv:1902.00423](https://arxiv.org/abs/1902.00423). What copies between test and training images did to published figures.
# - Northcutt, Jiang and Chuang (2021), *Confident learning: estimating uncertainty in dataset labels*, JAIR,
#   [arXiv:1911.00068](https://arxiv.org/abs/1911.00068). It found errors in MNIST, which was taken to have none.
# - Venna and Kaski (2001), *Neighborhood preservation in nonlinear projection methods*, ICANN,
#   [doi:10.1007/3-540-44668-0_68](https://doi.org/10.1007/3-540-44668-0_68). What to ask of a map before believing it.
# - Torralba and Efros (2011), *Unbiased look at dataset bias*, CVPR,
#   [doi:10.1109/CVPR.2011.5995347](https://doi.org/10.1109/CVPR.2011.5995347). Every collection has a hand that shows.
#
# <!-- links:start -->
# Previous: [23_generative](23_generative.ipynb) · [course map](00_start_here.ipynb)
# <!-- links:end -->
