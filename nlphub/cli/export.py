"""``nlphub export``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nlphub
from nlphub.cli.output import print_json, print_table
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.data.examples import Examples
    from nlphub.export.onnx import ExportReport

_SMALLER = ("int8", "int8_bound", "fp16")  # what a recipe says of its artefact; other forms have it only where it is asked for
_ANSWERS = {"token-cls": "spans", "multi-label": "labels", "regression": "value"}  # columns of the answers; else "label"


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(export)


def export(
    source: Annotated[Path, typer.Argument(help="A run or a saved module.")],
    target: Annotated[
        Path | None, typer.Argument(help="What to write: a folder, or of text and ids a file. An earlier export there is replaced whole.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The same as TARGET.")] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx: artefact. text: one file that takes texts. ids: one that takes ids. transformers: for AutoModel. ort: for phones. "
            "triton: for NVIDIA's inference server. pt2: for torch.export. openvino: for Intel's runtime.",
        ),
    ] = "onnx",
    pairs: Annotated[
        bool | None, typer.Option("--pairs/--single", help="What the text graph takes; default is what the run learnt from.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels the text graph answers with.")] = 5,
    int8: Annotated[
        str | None,
        typer.Option(
            help="none, auto, dynamic or static: 8 bits, if little is lost. Default: what the recipe says of the artefact, else none."
        ),
    ] = None,
    int8_bound: Annotated[float | None, typer.Option(help="Points of the score that they may lose on the development data (0.5).")] = None,
    fp16: Annotated[bool | None, typer.Option("--fp16/--no-fp16", help="A graph in float16 for graphics cards too.")] = None,
    data: Annotated[str | None, typer.Option(help="Labelled data that decide that; default is the run's dev set.")] = None,
    text: Annotated[str, typer.Option(help="Column of the text in --data.")] = "text",
    label: Annotated[
        str | None, typer.Option(help="Column of the answers in --data: label, or what the task calls it: spans, labels, value.")
    ] = None,
    pair: Annotated[str | None, typer.Option(help="Column of the second text in --data, for a module of pairs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Write an artefact that predicts without torch, and prove that it agrees with the module.

    Example: nlphub export runs/intent dist/intent
    Smaller: nlphub export runs/intent dist/intent --int8 auto
    """
    from nlphub.training.run_folder import dev_examples, export_options

    if (target is None) == (out is None):
        raise InputError("Say once where to write: nlphub export RUN TARGET (or --out TARGET)")
    asked = {"pairs": pairs, "int8": int8, "int8_bound": int8_bound, "fp16": fp16}
    known = {name: value for name, value in export_options(source).items() if form == "onnx" or name not in _SMALLER}
    known |= {name: value for name, value in asked.items() if value is not None}
    module = nlphub.Module(directory=source, import_code=False)
    if known.get("int8", "none") != "none" or known.get("fp16"):
        known["dev"] = dev_examples(source) if data is None else _read(data, module.task, text, label, pair)
    report = module.export(target or out or Path(), form=form, top_k=top, **known)
    if as_json:
        print_json(_as_dict(report))
    else:
        _print(report)


def _read(data: str, task: str | None, text: str, label: str | None, pair: str | None) -> "Examples":
    """Labelled examples of a task, in the columns that it usually has."""
    from nlphub.data.read import load_data

    columns: dict[str, Any] = {"text": text, "label": None, "pair": pair or {"text-matching": "pair"}.get(task or "")}
    columns |= {"slots": "slots"} if task == "joint" else {}
    answers = _ANSWERS.get(task or "", "label")
    return load_data(data, **columns | {answers: label or answers})["train"]


def _as_dict(report: "ExportReport") -> dict[str, object]:
    return {
        "folder": str(report.folder),
        "parity": asdict(report.parity) if report.parity else None,
        "text_graph": report.text if isinstance(report.text, str) else asdict(report.text),
        "files": dict(report.files),
        "reduced": report.reduced,
    }


def _print(report: "ExportReport") -> None:
    print(f"written   {report.folder}, {sum(report.files.values()):,} bytes")
    if report.parity:
        print(
            f"parity    probabilities differ by at most {report.parity.probabilities:.1e} from the module's, on {report.parity.texts} texts"
        )
    if isinstance(report.text, str):
        print(f"text      no text graph: {report.text}")
    else:
        print(f"text      graph of text: at most {report.text.probabilities:.1e}, on {report.text.texts} strings")
    if report.reduced:
        from nlphub.export.table import HEADER, notes, rows

        print()
        print_table(HEADER, rows(report.reduced))
        print("\n".join(["", *notes(report.reduced)]))
