"""Words, code lines, cells and seconds of every notebook, in docs/course.md.

`python tools/measure_course.py` counts; with `--log FILE` the seconds come from a test run that was given `--durations=0`,
otherwise those of the page stay. The core path is what is left without the cells tagged `extra`.
"""

import argparse
import re
from pathlib import Path

import course
import notebook_source

from cbirkit._atomic import write_bytes

PAGE = course.ROOT / "docs" / "course.md"
HEAD = """# The course in numbers

Made by `python tools/measure_course.py`. The core path is a notebook without its sections marked (extra); hints and answers that are folded count
as words, solutions as code. Limits: 60 cells, 1,500 words and 250 lines of code for the core path, 90 cells for the whole. Seconds are those of
one run of the whole notebook among the tests, two at a time on two cores, each with one thread; blank: not measured yet, and not in the sum.

| no. | notebook | core cells | core words | core code lines | cells | words | code lines | seconds |
|---|---|---|---|---|---|---|---|---|
"""
LIMITS = {"cells": 60, "words": 1500, "code": 250}


def words(text):
    """How many words a cell of prose has: no HTML, no formulas on lines of their own, no addresses, no generated links."""
    text = re.sub(r"<!-- (\w+):start -->.*?<!-- \1:end -->", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>|\$\$.*?\$\$|\]\([^)]*\)", " ", text, flags=re.DOTALL)
    return len(re.findall(r"\S*[A-Za-z0-9]\S*", text))


def code_lines(text):
    """How many lines of a cell hold code."""
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines()
    )


def counted(notebook, *, extra):
    """Cells, words and code lines of a notebook, with or without the cells tagged `extra`."""
    cells = [c for c in notebook.cells if extra or "extra" not in c.metadata.get("tags", [])]
    prose = [words(c.source) for c in cells if c.cell_type == "markdown"]
    code = [code_lines(c.source) for c in cells if c.cell_type == "code"]
    return {"cells": len(cells), "words": sum(prose), "code": sum(code)}


def seconds_in(text):
    """`{stem: seconds}` of a page as `table` writes it, or of what pytest prints with `--durations=0`."""
    rows = re.findall(r"^\| (\d\d) \| \[?(\w+)\b.*\| (\d+) \|$", text, flags=re.MULTILINE)
    found = {f"{number}_{name}": int(n) for number, name, n in rows}
    runs = r"([\d.]+)s call .*test_source_runs_and_its_claims_hold\[(\w+)\]"
    return found | {stem: round(float(n)) for n, stem in re.findall(runs, text)}


def table(seconds):
    """The rows of the page, a sum last."""
    rows, sums = [], [0] * 7
    for lesson in course.COURSE:
        path = notebook_source.source_path(course.ROOT, lesson.stem)
        if not path.exists():
            continue
        notebook = notebook_source.read_source(path)
        core, whole = (counted(notebook, extra=extra) for extra in (False, True))
        numbers = [*core.values(), *whole.values(), seconds.get(lesson.stem, 0)]
        sums = [a + b for a, b in zip(sums, numbers, strict=True)]
        told = [f"{n:,}" + "*" * (n > LIMITS[what]) for what, n in core.items()]
        told += [f"{n:,}" for n in whole.values()] + [str(numbers[-1] or "")]
        name = f"[{lesson.name}](../notebooks/{lesson.stem}.ipynb)"
        rows.append(f"| {lesson.number} | {name} | {' | '.join(told)} |")
    rows.append(f"| | **sum** | {' | '.join(f'{n:,}' for n in sums)} |")
    return "\n".join(rows) + "\n\n\\* above the limit.\n"


def main():
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, help="what a test run with --durations=0 printed")
    args = parser.parse_args()
    seconds = seconds_in(PAGE.read_text()) if PAGE.exists() else {}
    if args.log:
        seconds |= seconds_in(args.log.read_text(errors="replace"))
    write_bytes(PAGE, (HEAD + table(seconds)).encode())
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
