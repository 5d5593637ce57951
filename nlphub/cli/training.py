"""``nlphub finetune`` and ``nlphub evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nlphub
from nlphub.cli.output import note, print_json, print_table, shown
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.training.run import Run


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(finetune)
    app.command()(evaluate)


def finetune(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe (nlphub recipe list) or a path.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. train.epochs=3 data.train=my.csv")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where an interrupted run stopped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Fine-tune, evaluate, save and export, as a recipe says.

    Example: nlphub finetune intent data.train=questions.csv data.test=null data.text=问题 data.label=意图 run.folder=runs/mine
    """
    from nlphub.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    try:
        run = nlphub.finetune(loaded, overwrite=overwrite, resume=resume)  # torch is imported here, only for a recipe that is right
    except KeyboardInterrupt:
        note(f"interrupted; go on with the same command and --resume (the run is in {loaded.run.folder})")
        raise typer.Exit(130) from None
    if as_json:
        print_json(_as_dict(run))
    else:
        _print_run(run)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="A run, a saved module or an exported folder.")],
    data: Annotated[str, typer.Argument(help="Labelled data: csv, tsv, jsonl, xlsx, parquet.")],
    text: Annotated[str, typer.Option(help="Column of the text.")] = "text",
    label: Annotated[str | None, typer.Option(help="Column of the label, or of the intent (default: label, of joint intent).")] = None,
    pair: Annotated[str | None, typer.Option(help="Column of the second text, for a module of pairs.")] = None,
    spans: Annotated[str | None, typer.Option(help="Column of the spans or tags, for token-cls.")] = None,
    labels: Annotated[str | None, typer.Option(help="Column of the sets of labels, for multi-label (default: labels).")] = None,
    value: Annotated[str | None, typer.Option(help="Column of the numbers, for regression (default: value).")] = None,
    slots: Annotated[str | None, typer.Option(help="Column of the slots, for joint (default: slots).")] = None,
    form: Annotated[str | None, typer.Option("--format", help="Of token-cls: conll, doccano, label-studio or words.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the confusion matrix here, as SVG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score a fine-tuned module on labelled data.

    Example: nlphub evaluate dist/intent new_questions.xlsx --text 问题 --label 意图
    """
    from nlphub.cli.inference import open_folder
    from nlphub.data.read import load_data
    from nlphub.evaluation.metrics import ClassificationMetrics
    from nlphub.evaluation.report import confusion_svg
    from nlphub.files import publish_text
    from nlphub.tasks import trainable

    predict, known, name = open_folder(folder)
    labels, value = labels or {"multi-label": "labels"}.get(name), value or {"regression": "value"}.get(name)
    label, slots = label or {"joint": "intent"}.get(name, "label"), slots or {"joint": "slots"}.get(name)
    columns: dict[str, Any] = {"text": text, "label": label, "pair": pair, "spans": spans, "labels": labels, "value": value, "slots": slots}
    splits = load_data(data, **columns, format=form, nested=True)
    examples, task = splits["train"], trainable(name)
    task.check_judged(examples, known)
    metrics = task.judge(examples, predict(task.questions(examples)), known)
    if picture is not None:
        if not isinstance(metrics, ClassificationMetrics):
            raise InputError(f"--picture draws a confusion matrix, and task {name} has none")
        publish_text(picture, confusion_svg(metrics))
        note(f"confusion matrix: {picture}")
    if as_json:
        print_json(metrics.as_dict())
    else:
        print(metrics.table())


def _print_run(run: "Run") -> None:
    if run.metrics is not None:
        print(f"Scores on the {run.judged_on} set\n\n{run.metrics.table()}\n")
        if run.picture is not None:
            print(f"confusion matrix  {run.picture}")
    if run.calibrated is not None:
        print(f"calibration       {run.calibrated.summary()}")
    if run.page is not None:
        print(f"report            {run.page}")
    print(f"run               {run.folder}")
    print(f"weights sha256    {run.weights_digest}")
    if run.report.choice is not None:
        print(f"method            {run.report.choice.summary()}")
    if run.report.steps:
        print(f"speed             {run.report.examples_per_second:.0f} examples/s over {run.report.seconds:.0f} s of training")
    else:
        print("training          had ended before; nothing was left to do")
    if run.artefact is not None:
        print(f"artefact          {run.artefact}\n")
        print_table(("text", "label", "score"), [(shown(text), *answer.cells()) for text, answer in run.predictions.items()])


def _as_dict(run: "Run") -> dict[str, object]:
    return {
        "run": str(run.folder),
        "judged_on": run.judged_on,
        "metrics": run.metrics.as_dict() if run.metrics else None,
        "calibration": run.calibrated.as_dict() if run.calibrated else None,
        "weights_sha256": run.weights_digest,
        "report": str(run.page) if run.page else None,
        "artefact": str(run.artefact) if run.artefact else None,
        "method": run.report.choice.as_dict() if run.report.choice else None,
        "steps": run.report.steps,
        "seconds": run.report.seconds,
        "examples_per_second": run.report.examples_per_second,
        "predictions": [{"text": text, **answer.as_dict()} for text, answer in run.predictions.items()],
    }
