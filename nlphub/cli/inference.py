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
    pair: Annotated[
        str | None, typer.Option(help="Column of the second text in --input, for a module of pairs (of text-matching: pair).")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Take the texts two by two, and a tab in each line of standard input. So of text-matching.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many labels to print for each text.")] = 3,
) -> None:
    """Label texts or pairs of them, find spans, estimate numbers: one JSON line for each, in their order.

    Example: nlphub predict dist/intent 我要退这双鞋 转人工
    Of pairs: nlphub predict dist/matching 怎么退货 如何把东西退掉
    """
    answer, _, task = open_folder(folder, top_k=top)
    wanted = _texts(texts or [], input_file, text, pair, two=pairs or task == "text-matching")
    for given, prediction in zip(wanted, answer(wanted), strict=True):
        said = {"text": given} if isinstance(given, str) else dict(zip(("text", "pair"), given, strict=True))
        print(json.dumps({**said, **prediction.as_dict()}, ensure_ascii=False))


def export(
    source: Annotated[Path, typer.Argument(help="A run or a saved module.")],
    target: Annotated[
        Path | None, typer.Argument(help="What to write: a folder, or of text a file. An earlier export there is replaced whole.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The same as TARGET.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="onnx: artefact. text: one file that takes texts. transformers: for AutoModel.")
    ] = "onnx",
    pairs: Annotated[
        bool | None, typer.Option("--pairs/--single", help="What the text graph takes; default is what the run learnt from.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels the text graph answers with.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Write an artefact that predicts without torch, and prove that it agrees with the module.

    Example: nlphub export runs/intent dist/intent
    """
    from nlphub.training.run_folder import export_options

    if (target is None) == (out is None):
        raise InputError("Say once where to write: nlphub export RUN TARGET (or --out TARGET)")
    known = export_options(source) | ({} if pairs is None else {"pairs": pairs})
    module = nlphub.Module(directory=source, import_code=False)
    report = module.export(target or out or Path(), form=form, top_k=top, **known)
    if as_json:
        parity = asdict(report.parity) if report.parity else None
        text = report.text if isinstance(report.text, str) else asdict(report.text)
        print_json({"folder": str(report.folder), "parity": parity, "text_graph": text, "files": dict(report.files)})
        return
    print(f"written   {report.folder}, {sum(report.files.values()):,} bytes")
    if report.parity:
        print(
            f"parity    probabilities differ by at most {report.parity.probabilities:.1e} from the module's, on {report.parity.texts} texts"
        )
    if isinstance(report.text, str):
        print(f"text      no text graph: {report.text}")
    else:
        print(f"text      graph of text: at most {report.text.probabilities:.1e}, on {report.text.texts} strings")


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


def _texts(given: list[str], input_file: str | None, column: str, pair: str | None, *, two: bool) -> Sequence[str | tuple[str, str]]:
    if bool(given) == bool(input_file):
        raise InputError("Give the texts either as arguments (or - for standard input) or with --input FILE")
    if input_file:
        from nlphub.data.read import load_data

        examples = load_data(input_file, text=column, pair=pair or ("pair" if two else None), label=None)["train"]
        return examples.texts if examples.pairs is None else list(zip(examples.texts, examples.pairs, strict=True))
    if pair is not None:
        raise InputError(f"--pair {pair} is a column of --input FILE")
    if given == ["-"]:
        note(f"reading {'two texts with a tab between' if two else 'one text'} a line from standard input")
        lines = _decoded(sys.stdin.buffer.read()).splitlines()
        return _split(lines) if two else lines
    if two and len(given) % 2:
        raise InputError(f"The number of texts, {len(given)}, is odd: give pairs, e.g. nlphub predict FOLDER 怎么退货 如何把东西退掉")
    return list(zip(given[::2], given[1::2], strict=True)) if two else given


def _split(lines: list[str]) -> list[tuple[str, str]]:
    """The two texts of each line.

    Raises:
        InputError: some lines hold another number of texts; all of them.
    """
    cells = [line.split("\t") for line in lines]
    if wrong := [f"line {number} has {len(texts) - 1} tabs" for number, texts in enumerate(cells, start=1) if len(texts) != 2]:
        raise InputError("Each line of standard input holds two texts with one tab between them.", wrong)
    return [(first, second) for first, second in cells]


def _decoded(data: bytes) -> str:
    """Piped text in the encodings that data files may have: UTF-8, or else GB18030."""
    from nlphub.data.encodings import decode

    return decode(data, name="standard input")
