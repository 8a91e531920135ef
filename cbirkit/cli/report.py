"""``cbirkit report``: the first look at a folder of images, as one HTML file."""

from .._atomic import expanded
from .choices import checked_folder, choose, out_folder, prepared_encoder
from .report_page import report_page
from .say import Failure, counted, file_name


def report_folder(arguments, printer):
    """Write the page.

    Parameters
    ----------
    arguments : argparse.Namespace
        folder, html, out, encoder, quiet.
    printer : cbirkit.cli.say.Printer

    Raises
    ------
    Failure
        There is no such folder, no image in it that can be read, or the page cannot be written.
    """
    from ..evaluation import survey
    from .pages import check_place, write_page

    images, folder = checked_folder(arguments), expanded(arguments.folder).resolve()
    path = expanded(arguments.html or f"report_{file_name(folder)}.html")
    check_place(path)
    out = out_folder(arguments)
    encoder, _ = choose(arguments, out, printer)
    try:
        fitted = prepared_encoder(encoder, images, out, printer, keep=False)
        found = survey(images, fitted, progress=not arguments.quiet)
    except ValueError as error:
        raise Failure(" ".join(str(error).split())) from error
    write_page(path, report_page(str(arguments.folder), found, encoder))
    printer.note(
        f"{counted(len(found.table), 'image')}, {len(found.problems)} that cannot be read, "
        f"{counted(len(found.copies), 'group')} of copies, {len(found.near_copies)} of near-copies"
    )
    printer.result(str(path))
