"""The table of the course, and what is made from it: links, the course map, the README's contents."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Lesson:
    """One row of the course: number, name, topic, and what it shows. Numbers are fixed; a gap is a notebook still to come."""

    number: str
    name: str
    topic: str
    shows: str = ""

    @property
    def stem(self):
        return f"{self.number}_{self.name}"


_TABLE = """
00 start_here            | set-up check, hello retrieval, your own folder, course map
   A pretrained network finds the other views of an object, where colour, pixels and SIFT hardly do. A query left in its database makes any method look perfect.
01 measuring_retrieval   | metrics, protocols, traps, intervals, the Metric Lab
   "mAP" names at least six numbers: one list scores five times as much under another divisor. An interval draws what was sampled, or it is too narrow.
02 local_features        | SIFT, RootSIFT, visual words, VLAD, spatial verification
   At 4,000 numbers VLAD is ahead of visual words, at 1,000 not surely; a check of the geometry adds to both, and with few key points all of it finds much less.
03 cnn_features          | layers, sum/max/GeM pooling, whitening, against hand-made features
   For kinds of objects nothing made by hand comes near; for the very same object the layer decides, and textures stay SIFT's. GeM gains little, whitening can cost much.
04 multi_scale           | pyramids, R-MAC, several layers; stability under zoom
   In rendered frames a small object hurts, not two different zooms. Summing scales alone does not help; R-MAC helps in rendered scenes and hurts on whole photographs.
05 transfer_learning     | frozen, linear probe, what transfers to which domain
   Frozen features are a strong first answer in most domains; a probe helps the classes it learned, and no others.
06 domain_fine_tuning    | adapting to a narrow domain (thermal camera, land use, letters); frozen, head, last blocks, all; what is forgotten
   Fine-tuning gains much on a simulated thermal camera and a few hundredths on two real domains; weights half-way back lose less of the old one.
07 metric_learning       | contrastive, triplet mining, proxies, class-disjoint evaluation
   On equal terms most of nine methods end close together, plain classification among them; the hardest triplets alone collapse.
08 self_supervised       | without labels: SimCLR, SimSiam, collapse, what an augmentation teaches
   SimCLR gains over random weights, their batch norm adapted or not, on rendered and aerial images, not on flowers: an embedding tends to ignore what its augmentations vary.
09 attention             | attention pooling, salient regions, clutter
   A learned scorer helps to retrieve new categories; a centre prior and contrast, untrained, each bring about half of its gain, and on photographs it does not surely point better than they do.
10 transformers_and_graphs | ViT tokens; graph networks and diffusion over the neighbour graph
   Many vectors for an image gain, many for the query add little; smoothing over the neighbour graph gains without labels.
11 hashing               | LSH, ITQ, PQ, deep hashing; ties; bytes and latency
   Eight bytes keep most of what a kilobyte knows. ITQ first; ties between short codes must be scored by their expectation.
12 approximate_search    | Annoy, HNSW, IVF-PQ; recall against time and memory; beyond one machine
   Settings kept while a set grows cost trees and graphs recall, not lists; a missed neighbour is not always a missed answer.
13 on_device             | ONNX, int8, distillation; size, latency, neighbour overlap
   Eight bits keep the score and change one neighbour in ten; calibrated on plain grey pictures they break the network.
14 object_retrieval      | segmentation, proposals, region indexes, small objects
   Regions find medium and large objects that one vector misses, in rendered scenes and with pasted objects; on photographs of streets regions that were found lose, and true ones gain.
15 context_and_scenes    | layout, relations, contextual re-ranking
   A set of objects cannot tell "left of" from "right of"; triples can, as far as names and regions are right.
16 text_and_images       | joint embeddings, captions, composed queries
   One linear map between two frozen networks gives search by sentences; held-out combinations are found less well.
17 cross_domain          | sketch to photo, CORAL, adversarial alignment
   One mean per domain closes the gap for rendered outlines that look for photographs, not for real drawings; CORAL, AdaBN and DANN add nothing sure to their controls.
18 relevance_feedback    | Rocchio, SVM, personal profiles, simulated users
   A few marks help, measured on images that were never shown; the profile of somebody of another taste can harm.
19 active_learning       | which images to label
   On clothes typical images help at the start, and the classifier's questions in a skewed pool; on flowers neither is surely ahead of labelling images drawn at random.
20 incremental           | new classes, forgetting, backward-compatible embeddings
   Four exemplars per category bring back a part of what is forgotten; a rotation makes two networks comparable, not better.
21 explain               | why similar: maps scored against masks
   Maps find a planted shortcut, but not every map does; without a control no score of a map means anything.
22 adversarial           | attacks on retrieval, adversarial training
   A few grey levels undo a search that noise of that size hardly touches; a defence is worth what attacks that know of it leave.
23 generative            | GAN-made training images, memorisation checks
   The pictures of a plain GAN gave less than plain augmentation with five labels per class; a copying test needs planted copies.
24 your_own_dataset      | the whole kit on a folder of yours
   Copies, bursts and wrong labels are found first; with copies and bursts left in, any encoder looks good.
"""


def _parse(table):
    lines = table.strip().splitlines()
    rows = (
        re.match(r"(\d\d) (\w+) *\| *(.+)", line).groups() + (shown.strip(),)
        for line, shown in zip(lines[::2], lines[1::2], strict=True)
    )
    return tuple(Lesson(*row) for row in rows)


COURSE = _parse(_TABLE)


def stems_present(root=ROOT):
    """Return the stems, such as ``"00_start_here"``, of the notebooks that have a source, in order."""
    return sorted(
        path.stem for path in (Path(root) / "notebooks" / "sources").glob("[0-9][0-9]_*.py")
    )


def links(stem, present, course=COURSE):
    """Return the previous/next links of one notebook; a neighbour that is missing is "still to come"."""
    stems = [lesson.stem for lesson in course]
    if stem not in stems:
        raise ValueError(
            f"{stem!r} is not in the course; add its number and name to tools/course.py"
        )
    here = stems.index(stem)
    parts = []
    if here > 0:
        parts.append("Previous: " + _nearest(stems[here - 1 :: -1], present))
    if here > 0 and stems[0] in present:
        parts.append(f"[course map]({stems[0]}.ipynb)")
    if here + 1 < len(stems):
        parts.append("Next: " + _nearest(stems[here + 1 :], present))
    return " · ".join(parts)


def _nearest(stems, present):
    """Name the first of `stems`; where it is still to come, link the first one that exists behind it."""
    first = stems[0]
    if first in present:
        return f"[{first}]({first}.ipynb)"
    text = f"{first} (still to come)"
    beyond = next((stem for stem in stems if stem in present), None)
    return f"{text}, then [{beyond}]({beyond}.ipynb)" if beyond else text


def course_table(present, *, folder="", course=COURSE, shows=False):
    """Return the course as a Markdown table; notebooks that exist are links into `folder`; with `shows`, what each one shows."""
    rows = ["| no. | notebook | topic |", "|---|---|---|"]
    if shows:
        rows = ["| no. | notebook and topic | what it shows |", "|---|---|---|"]
    for lesson in course:
        there = lesson.stem in present
        name = f"[{lesson.name}]({folder}{lesson.stem}.ipynb)" if there else lesson.name
        topic = lesson.topic if there else f"{lesson.topic} (still to come)"
        cells = [f"{name}: {topic}", lesson.shows] if shows else [name, topic]
        rows.append(f"| {' | '.join([lesson.number, *cells])} |")
    return "\n".join(rows)


def replace_between(text, marker, new, *, prefix=""):
    """Replace what stands between each ``<!-- marker:start -->`` and ``<!-- marker:end -->`` in `text`.

    Every new line, and the markers, begin with `prefix` (``"# "`` in a py:percent source). A text without the
    markers comes back as it is; one marker without the other is a ValueError.
    """
    start, end = (f"{prefix}<!-- {marker}:{edge} -->" for edge in ("start", "end"))
    lines = "".join(f"{prefix}{line}".rstrip() + "\n" for line in new.splitlines())
    pair = re.compile(f"^{re.escape(start)}\n.*?^{re.escape(end)}$", re.DOTALL | re.MULTILINE)
    replaced, n_pairs = pair.subn(lambda _: f"{start}\n{lines}{end}", text)
    if not text.count(f"<!-- {marker}:start") == text.count(f"<!-- {marker}:end") == n_pairs:
        raise ValueError(
            f"expected {start!r} and {end!r} in pairs, each on a line of its own; mend the markers by hand"
        )
    return replaced


def generated_parts(stem, present, course=COURSE):
    """Return ``{marker: text}`` of what is generated inside the source of one notebook."""
    return {"links": links(stem, present, course), "course": course_table(present, course=course)}
