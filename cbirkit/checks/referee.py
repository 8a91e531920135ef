"""Autograde by nbgrader: only what answers need is run, and nbgrader's own process decides what they earn."""

import symtable

from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor

from cbirkit import checks


class Needed(NbGraderPreprocessor):
    """Has nbgrader pass over the notebook's own cells that no answer depends on: they take minutes, and it waits 30 seconds."""

    def preprocess(self, nb, resources):
        """Tag those cells; what a student added is run."""
        cells = [cell for cell in nb.cells if cell.cell_type == "code"]
        names = [_names(cell.source) for cell in cells]
        left = [
            n
            for n, cell in enumerate(cells)
            if not (utils.is_grade(cell) or utils.is_solution(cell))
        ]
        wanted = {name for n in range(len(cells)) if n not in left for name in names[n][0]}
        while more := [n for n in left if names[n][1] & wanted]:
            left = [n for n in left if n not in more]
            wanted.update(*(names[n][0] for n in more))
        for n in left:
            if checks.DEMONSTRATION in cells[n].metadata.get("tags", []):
                cells[n].metadata.tags.append("skip-execution")
        return nb, resources


def _names(source):
    """Global names that a cell uses, and those that it binds; none where it is no Python, such as a %magic."""
    try:
        tables = [symtable.symtable(source, "cell", "exec")]
    except (SyntaxError, ValueError):
        return set(), set()
    for table in tables:
        tables += table.get_children()
    symbols = [(table is tables[0], symbol) for table in tables for symbol in table.get_symbols()]
    used = {
        symbol.get_name()
        for top, symbol in symbols
        if symbol.is_referenced() and (top or symbol.is_global())
    }
    return used, {
        symbol.get_name()
        for top, symbol in symbols
        if top and (symbol.is_assigned() or symbol.is_imported())
    }


class Referee(NbGraderPreprocessor):
    """Takes what each graded cell recorded of the answer, runs the check on that, and writes the outputs that earn its points."""

    def preprocess_cell(self, cell, resources, index):
        """Replace the outputs of a graded cell by what was printed and the verdict; leave cells that are not ours."""
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if not (utils.is_grade(cell) and name.startswith("check_") and hasattr(checks, name)):
            return cell, resources
        records = [
            output.data[checks.RECORD]
            for output in cell.outputs
            if checks.RECORD in output.get("data", {})
        ]
        try:
            verdict = checks.verdict_on(name, records[-1] if records else "")
        except ValueError as error:
            verdict = checks.Verdict(name.removeprefix("check_"), "not yet", f"{error}.")
        failed = [output for output in cell.outputs if output.output_type == "error"]
        cell.outputs = [output for output in cell.outputs if output.get("name") == "stdout"]
        if records or not failed:
            failed = [self._output(verdict, cell.metadata.nbgrader.points)]
        cell.outputs += failed  # without a record, what happened, such as CellTimeoutError
        return cell, resources

    def _output(self, verdict, points):
        if verdict.passed:
            return new_output(
                "display_data", {"text/plain": repr(verdict), "text/html": verdict._repr_html_()}
            )
        if verdict.worth:
            return new_output("execute_result", {"text/plain": str(verdict.worth * points)})
        return new_output(
            "error", ename="NotPassed", evalue=repr(verdict), traceback=[repr(verdict)]
        )
