"""The table of the course, and what is made from it: links, the course map, the README's contents."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Lesson:
    """One row of the course: number, name and topic. Numbers are fixed; a gap is a notebook still to come."""

    number: str
    name: str
    topic: str

    @property
    def stem(self):
        return f"{self.number}_{self.name}"


_TABLE = """
00 start_here            | set-up check, hello retrieval, your own folder, course map
01 measuring_retrieval   | metrics, protocols, traps, intervals, the Metric Lab
02 local_features        | SIFT, RootSIFT, visual words, VLAD, spatial verification
03 cnn_features          | layers, sum/max/GeM pooling, whitening, against hand-made features
04 multi_scale           | pyramids, R-MAC, several layers; stability under zoom
05 transfer_learning     | frozen, linear probe, what transfers to which domain
06 domain_fine_tuning    | adapting to a narrow domain (thermal camera, satellite); frozen, head, last blocks, all; what is forgotten
07 metric_learning       | contrastive, triplet mining, proxies, class-disjoint evaluation
08 self_supervised       | SimCLR/BYOL/DINO-style without labels
09 attention             | attention pooling, salient regions, clutter
10 transformers_and_graphs | ViT tokens; graph networks and diffusion over the neighbour graph
11 hashing               | LSH, ITQ, PQ, deep hashing; ties; bytes and latency
12 approximate_search    | Annoy, HNSW, IVF-PQ; recall against time and memory; beyond one machine
13 on_device             | ONNX, int8, distillation; size, latency, neighbour overlap
14 object_retrieval      | segmentation, proposals, region indexes, small objects
15 context_and_scenes    | layout, relations, contextual re-ranking
16 text_and_images       | joint embeddings, captions, composed queries
17 cross_domain          | sketch to photo, CORAL, adversarial alignment
18 relevance_feedback    | Rocchio, SVM, personal profiles, simulated users
19 active_learning       | which images to label
20 incremental           | new classes, forgetting, backward-compatible embeddings
21 explain               | why similar: maps scored against masks
22 adversarial           | attacks on retrieval, adversarial training
23 generative            | GAN-made training images, memorisation checks
24 your_own_dataset      | the whole kit on a folder of yours
"""


def _parse(table):
    rows = (re.match(r"(\d\d) (\w+) *\| *(.+)", line) for line in table.strip().splitlines())
    return tuple(Lesson(*row.groups()) for row in rows)


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


def course_table(present, *, folder="", course=COURSE):
    """Return the course as a Markdown table; notebooks that exist are links into `folder`."""
    rows = ["| no. | notebook | topic | |", "|---|---|---|---|"]
    for lesson in course:
        there = lesson.stem in present
        name = f"[{lesson.name}]({folder}{lesson.stem}.ipynb)" if there else lesson.name
        rows.append(
            f"| {lesson.number} | {name} | {lesson.topic} | {'ready' if there else 'to come'} |"
        )
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
