"""Let nbgrader's own process, in which nothing of a student's notebook runs, decide what a graded cell earns."""

from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor

from cbirkit import checks


class Referee(NbGraderPreprocessor):
    """Takes what each graded cell recorded of the answer, runs the check on that, and writes the outputs that earn its points.

    `cbirkit assignments` writes an nbgrader_config.json that puts it behind the execution of a notebook.
    """

    def preprocess_cell(self, cell, resources, index):
        """Replace the outputs of a graded cell by what was printed and the verdict; leave cells that are not ours."""
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if not (utils.is_grade(cell) and name.startswith("check_") and hasattr(checks, name)):
            return cell, resources
        records = [output for output in cell.outputs if checks.RECORD in output.get("data", {})]
        try:
            verdict = checks.verdict_on(name, records[-1].data[checks.RECORD] if records else "")
        except ValueError as error:
            verdict = checks.Verdict(name.removeprefix("check_"), "not yet", f"{error}.")
        failed = [output for output in cell.outputs if output.output_type == "error"]
        printed = [output for output in cell.outputs if output.get("name") == "stdout"]
        cell.outputs = [*records[-1:], *printed]  # the record stays: nbgrader may run a preprocessor twice
        if records or not failed:
            failed = [self._output(verdict, cell.metadata.nbgrader.points)]
        cell.outputs += failed  # without a record, what happened, such as CellTimeoutError
        return cell, resources

    def _output(self, verdict, points):
        if verdict.passed:
            return new_output("display_data", {"text/plain": repr(verdict), "text/html": verdict._repr_html_()})
        if verdict.worth:
            return new_output("execute_result", {"text/plain": str(verdict.worth * points)})
        return new_output("error", ename="NotPassed", evalue=repr(verdict), traceback=[repr(verdict)])
