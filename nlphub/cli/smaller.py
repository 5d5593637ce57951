"""``nlphub shrink``, ``nlphub distill`` and ``nlphub compare``: smaller modules, and what they are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlphub.cli.output import note, print_json
from nlphub.errors import InputError, require

if TYPE_CHECKING:
    from nlphub.compress.run import Shrunk

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. distill.hidden=1 train.epochs=20")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(shrink)
    app.command()(distill)
    app.command()(compare)


def shrink(
    source: Annotated[str, typer.Argument(help="A run, a saved module, or a name of nlphub list.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; all or nothing.")],
    vocabulary: Annotated[
        list[str] | None, typer.Option(help="Texts whose characters stay: csv, tsv, jsonl, xlsx, parquet, or txt; may be repeated.")
    ] = None,
    text: Annotated[str, typer.Option(help="Column of the text in these files.")] = "text",
    common: Annotated[int, typer.Option(min=0, help="So many of the most frequent characters stay in any case.")] = 0,
    basics: Annotated[bool, typer.Option("--basics/--no-basics", help="Digits, Latin letters, punctuation stay in any case.")] = True,
    held_out: Annotated[str | None, typer.Option(help="Texts on which to count the characters that become [UNK].")] = None,
    layers: Annotated[int | None, typer.Option(help="How many layers stay.")] = None,
    heads: Annotated[int | None, typer.Option(help="How many attention heads of each layer stay.")] = None,
    inner: Annotated[int | None, typer.Option("--inner", "--width", help="How wide the feed-forward layers stay.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of recovery on the run's data; 0 = none. Default: the run's.")] = None,
    distill: Annotated[float, typer.Option(help="Share of the source's own answers in what recovery learns, 0 to 1.")] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a module that lies in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a module smaller: fewer characters, layers, heads, narrower layers. What stays is measured on the data of the run, which then
    teach it to recover.

    Example: nlphub shrink runs/intent --vocabulary questions.csv --layers 3 --heads 4 --width 768 --out runs/small
    """
    require("torch", extra="train", purpose="nlphub shrink")
    from nlphub.compress.run import Plan, shrink_folder
    from nlphub.compress.shrink import Shape

    files = tuple(vocabulary or ())
    plan = Plan(Shape(layers, heads, inner), files, held_out, text, common, basics, epochs, distill)
    done = shrink_folder(source, out, plan, overwrite=overwrite)
    if as_json:
        print_json(done.as_dict())
        return
    _print_shrunk(done)


def distill(
    teacher: Annotated[Path, typer.Argument(help="A fine-tuned run: its recipe says which data and settings are used.")],
    student: Annotated[str, typer.Argument(help="The module that learns: a folder (e.g. of nlphub shrink) or a name of nlphub list.")],
    overrides: Overrides = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="The folder of the new run. Default: TEACHER-distilled.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the same folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where an interrupted run stopped.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a module learn from a fine-tuned one: the teacher's recipe with another module and a section `distill`.

    Example: nlphub distill runs/intent small distill.unlabelled=tickets.csv distill.relations=1 --out runs/distilled
    """
    from nlphub.cli.training import finetune
    from nlphub.training.run_folder import RECIPE

    if not (teacher / RECIPE).is_file():
        raise InputError(
            f"{teacher} is no run: it has no {RECIPE}. With a recipe of your own: nlphub finetune RECIPE distill.teacher={teacher}"
        )
    place = Path(student).expanduser()
    module = f"module={{directory: {_quoted(place.absolute())}}}" if place.is_dir() else f"module={{name: {_quoted(student)}}}"
    folder = out or f"{teacher}-distilled"
    asked = [f"distill.teacher={_quoted(teacher)}", "train.method=finetune", f"run.folder={_quoted(folder)}", "export.folder=null"]
    finetune(str(teacher / RECIPE), [module, *asked, *(overrides or [])], overwrite=overwrite, resume=resume, as_json=as_json)


def compare(
    folders: Annotated[list[Path], typer.Argument(help="Runs, saved modules or exported folders; ratios are to the first.")],
    data: Annotated[str, typer.Option(help="Labelled texts: csv, tsv, jsonl, xlsx, parquet, or bundle:...")],
    text: Annotated[str, typer.Option(help="Column of the text.")] = "text",
    label: Annotated[str | None, typer.Option(help="Column of the label; of multi-label: labels, of regression: value.")] = None,
    pair: Annotated[str | None, typer.Option(help="Column of the second text, for modules of pairs.")] = None,
    spans: Annotated[str | None, typer.Option(help="Column of the spans or tags, for token-cls.")] = None,
    metric: Annotated[str | None, typer.Option(help="Which score; default is the first of the task.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Over all texts; the best counts.")] = 3,
    picture: Annotated[Path | None, typer.Option(help="Draw size, speed and score here, as SVG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Size, speed and score of several modules or artefacts on the same texts.

    Example: nlphub compare runs/intent runs/small dist/intent --data bundle:recipes/data/bank_intents/test.csv --picture sizes.svg
    """
    from nlphub.cli.inference import open_folder
    from nlphub.data.read import load_data
    from nlphub.files import publish_text

    require("torch", extra="train", purpose="nlphub compare")
    from nlphub.compress import compare as comparing
    from nlphub.compress.run import names_of

    places = [folder / "best" if (folder / "best" / "config.json").is_file() else folder for folder in folders]
    opened = zip(names_of(folders), places, (open_folder(place) for place in places), strict=True)
    candidates = [comparing.Candidate(name, place, *parts) for name, place, parts in opened]
    answers = {"multi-label": "labels", "regression": "value"}.get(candidates[0].task, "label")  # the argument, and its usual column
    columns = dict.fromkeys(("label", "labels", "value")) | {answers: label or answers}
    splits = load_data(data, text=text, pair=pair, spans=spans, label=columns["label"], labels=columns["labels"], value=columns["value"])
    examples = splits["train"]
    rows = comparing.compare(candidates, examples, metric=metric, rounds=rounds)
    if picture is not None:
        publish_text(picture, comparing.picture(rows))
        note(f"picture: {picture}")
    if as_json:
        print_json([row.as_dict() for row in rows])
    else:
        print(comparing.table(rows))


def _quoted(value: object) -> str:
    """As YAML in double quotes."""
    import json

    return json.dumps(str(value), ensure_ascii=False)


def _print_shrunk(done: "Shrunk") -> None:
    from nlphub.compress.card import scores_said, what_was_done

    before, after = done.sizes
    print(f"module       {done.folder}   open it with hub.Module(directory={str(done.folder)!r})")
    print(f"parameters   {before:,} -> {after:,} ({after / before:.0%})")
    facts = done.as_dict()
    for line in (*what_was_done(facts["smaller"]), *scores_said(facts)):
        print(f"             {line}")
    if done.recovery is None and done.smaller.importance is not None:
        note(f"nothing was learnt after the cut: fine-tune it (module.directory={done.folder}) or let it learn: nlphub distill")
