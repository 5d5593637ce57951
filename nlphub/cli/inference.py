"""``nlphub predict`` and ``nlphub export``."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import nlphub
from nlphub.cli.output import note, print_json
from nlphub.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(predict)
    app.command()(export)


def predict(
    folder: Annotated[Path, typer.Argument(help="An exported folder (runs without torch), a run or a saved module.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, or - for one text a line on standard input.")] = None,
    input_file: Annotated[str | None, typer.Option("--input", help="Read the texts from csv, tsv, jsonl, xlsx or parquet.")] = None,
    text: Annotated[str, typer.Option(help="Column of the text in --input.")] = "text",
    top: Annotated[int, typer.Option(min=1, help="How many labels to print for each text.")] = 3,
) -> None:
    """Label texts, or find spans in them: one JSON line for each, in their order.

    Example: nlphub predict dist/intent 我要退这双鞋 转人工
    """
    wanted = _texts(texts or [], input_file, text)
    answer, *_ = open_folder(folder, top_k=top)
    for given, prediction in zip(wanted, answer(wanted), strict=True):
        print(json.dumps({"text": given, **prediction.as_dict()}, ensure_ascii=False))


def export(
    source: Annotated[Path, typer.Argument(help="A run or a saved module.")],
    target: Annotated[Path, typer.Argument(help="The folder to write; an earlier artefact there is replaced whole.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Write an artefact that predicts without torch, and prove that it agrees with the module.

    Example: nlphub export runs/intent dist/intent
    """
    report = nlphub.Module(directory=source, import_code=False).export(target)
    if as_json:
        print_json({"folder": str(report.folder), "parity": asdict(report.parity), "files": dict(report.files)})
        return
    print(f"artefact  {report.folder}, {sum(report.files.values()):,} bytes")
    print(f"parity    probabilities differ by at most {report.parity.probabilities:.1e} from the module's, on {report.parity.texts} texts")


def open_folder(folder: Path, *, top_k: int = 1) -> tuple[Callable[[Sequence[Any]], list[Any]], Sequence[str], str]:
    """What answers for a folder, its labels and its task: the torch-free Predictor for an artefact, a Module for a run or a saved module.

    Raises:
        InputError: the folder is none of these.
    """
    if (folder / "nlphub.json").is_file():
        from nlphub.runtime.predictor import Predictor

        predictor = Predictor(folder)
        return lambda texts: predictor(texts, top_k=top_k), predictor.labels, predictor.artefact.task
    module = nlphub.Module(directory=folder, import_code=False)
    return lambda texts: module.predict(texts, top_k=top_k), module.labels, module.task_head.task  # fails clearly without a head


def _texts(given: list[str], input_file: str | None, column: str) -> list[str]:
    if bool(given) == bool(input_file):
        raise InputError("Give the texts either as arguments (or - for standard input) or with --input FILE")
    if input_file:
        from nlphub.data.read import load_data

        return load_data(input_file, text=column, label=None)["train"].texts
    if given == ["-"]:
        note("reading one text a line from standard input")
        return _decoded(sys.stdin.buffer.read()).splitlines()
    return given


def _decoded(data: bytes) -> str:
    """Piped text in the encodings that data files may have: UTF-8, or else GB18030."""
    from nlphub.data.encodings import decode

    return decode(data, name="standard input")
