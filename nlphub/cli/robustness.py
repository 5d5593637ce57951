"""``nlphub check-robustness``."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlphub.cli.output import note, print_json
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.data.examples import Examples
    from nlphub.evaluation.robustness import Robustness

TASK = "seq-cls"  # the one whose answers are labels of whole texts


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(check_robustness)


def check_robustness(
    folder: Annotated[Path, typer.Argument(help="A run, a saved module or an exported folder.")],
    data: Annotated[str, typer.Argument(help="Labelled data: csv, tsv, jsonl, xlsx, parquet.")],
    text: Annotated[str, typer.Option(help="Column of the text.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the label.")] = "label",
    pair: Annotated[str | None, typer.Option(help="Column of the second text, for a module of pairs.")] = None,
    only: Annotated[str | None, typer.Option(metavar="NAME,...", help="These perturbations alone, e.g. homophones,speech.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed perturbs a text in the same way.")] = 0,
    flips: Annotated[Path | None, typer.Option(help="Write every text whose answer changed here, as csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Write labelled texts otherwise (full width, traditional, homophones, typing slips, speech, ...) and compare the answers.

    Answers are the most probable labels, as for evaluate; the figures of a perturbation are of the texts that it changed.

    Example: nlphub check-robustness dist/intent new_questions.xlsx --text 问题 --label 意图 --flips flips.csv
    """
    from nlphub.cli.inference import open_folder
    from nlphub.data.read import load_data
    from nlphub.evaluation.report.run_files import is_run
    from nlphub.evaluation.robustness import selected
    from nlphub.files import publish_json, publish_text
    from nlphub.tasks import trainable

    names = None if only is None else [name.strip() for name in only.split(",")]
    selected(names)  # a wrong name is said before anything is opened
    predict, labels, task = open_folder(folder)
    if task != TASK:
        raise InputError(f"check-robustness compares the labels of whole texts ({TASK}), and {folder} has task {task}")
    examples = load_data(data, text=text, label=label, pair=pair)["train"]
    trainable(task).check_judged(examples, labels)
    found = _watched(predict, examples, seed=seed, only=names)
    if is_run(folder):
        publish_json(folder / "report" / "robustness.json", found.as_dict())
        note(f"kept for the report; show it there with: nlphub report {folder}")
    if flips is not None:
        publish_text(flips, found.flips_csv())
        note(f"flips: {flips}")
    if as_json:
        print_json(found.as_dict())
    else:
        print(found.table())


def _watched(predict: Callable[[Sequence[Any]], list[Any]], examples: "Examples", *, seed: int, only: Sequence[str] | None) -> "Robustness":
    """The check, with a bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from nlphub.evaluation import robustness

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("predicting", total=1 + len(robustness.selected(only)))

        def labels(texts: list[Any]) -> list[str]:
            answers = [answer.top[0][0] for answer in predict(texts)]
            bar.advance(task)
            return answers

        return robustness.check_robustness(labels, examples, seed=seed, only=only)
