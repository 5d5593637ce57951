"""``nlphub report``."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(report)


def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run of nlphub finetune.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; default: report/report.html in the run.")] = None,
    language: Annotated[str, typer.Option(help="What the page begins with, zh or en; it holds both.")] = "zh",
) -> None:
    """Make the report of a run again: one HTML file, from what the run left in its folder.

    Example: nlphub report runs/intent --out intent.html --language en
    """
    from nlphub.evaluation.report import write_report

    print(write_report(folder, out, language=language))
