"""``nlphub predict``."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import nlphub
from nlphub.cli.output import print_json
from nlphub.errors import InputError

if TYPE_CHECKING:
    from nlphub.cli.predicting import Opened


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(predict)


def predict(
    folder: Annotated[Path, typer.Argument(help="An exported folder (runs without torch), a run or a saved module.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts, or - for one text a line on standard input, answered as they come.")
    ] = None,
    input_file: Annotated[
        str | None, typer.Option("--input", help="Read the texts from csv, tsv, jsonl, txt, xlsx or parquet, of any size.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the answers of --input to this .jsonl; a stopped command goes on where it was.")
    ] = None,
    text: Annotated[str, typer.Option(help="Column of the text in --input.")] = "text",
    pair: Annotated[
        str | None, typer.Option(help="Column of the second text in --input, for a module of pairs (of text-matching: pair).")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Take the texts two by two, and a tab in each line of standard input. So of text-matching.")
    ] = False,
    encoding: Annotated[str | None, typer.Option(help="Of --input or standard input; default: UTF-8 or GB18030, found out.")] = None,
    quotes: Annotated[bool, typer.Option("--quotes/--no-quotes", help="Whether fields of csv and tsv may be quoted.")] = True,
    top: Annotated[int, typer.Option(min=1, help="How many labels to print for each text.")] = 3,
    words: Annotated[bool, typer.Option("--words", help="Of a saved module of mlm: neighbouring [MASK] are filled as one word.")] = False,
    perplexity: Annotated[bool, typer.Option("--perplexity", help="Of a saved module of mlm: how odd it finds each text.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of an exported folder; default: one for each core.")] = None,
    precision: Annotated[str, typer.Option(help="Of an exported folder: fp32, or int8 or fp16 where the export made them.")] = "fp32",
    provider: Annotated[str, typer.Option(help="Of an exported folder: cpu, cuda, openvino or directml.")] = "cpu",
    engine: Annotated[
        str, typer.Option(help="What computes --output: here, or ray: all machines of the cluster at RAY_ADDRESS (an exported folder).")
    ] = "here",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make --output again, whatever is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done to --output as JSON.")] = False,
) -> None:
    """Label texts or pairs of them, find spans and slots, estimate numbers: one JSON line for each, in their order.

    Example: nlphub predict dist/intent 我要退这双鞋 转人工
    Of pairs: nlphub predict dist/matching 怎么退货 如何把东西退掉
    Of a file: nlphub predict dist/intent --input big.csv --text 问题 --output out.jsonl
    """
    from nlphub.cli import predicting

    if bool(texts) == bool(input_file):
        raise InputError("Give the texts either as arguments (or - for standard input) or with --input FILE")
    of_input = {"--pair": pair, "--output": output}
    of_output = {"--overwrite": overwrite, "--json": as_json, "--engine": engine != "here"}
    wrong = [f"{name} is of --input FILE" for name, given in of_input.items() if given and not input_file]
    wrong += [f"{name} is of --output FILE" for name, given in of_output.items() if given and not output]
    if engine != "here":
        alone = {"--threads": threads, "--words": words, "--perplexity": perplexity}
        wrong += [f"{name} is of this process, not of --engine {engine}" for name, given in alone.items() if given]
    if wrong:
        raise InputError("Some options do not go together.", wrong)
    about = "words" if words else "perplexity" if perplexity else None
    if words or perplexity:
        answer, task = _about_words(folder, top, words, perplexity)
        opened = predicting.Opened(answer, task, lambda: f"{_digest(folder)} {about}")
    else:
        opened = _opened(folder, top, engine, {"threads": threads, "precision": precision, "provider": provider})
    two = pairs or opened.task == "text-matching"
    if texts:
        predicting.answer_texts(opened, texts, two=two, encoding=encoding)
        return
    options = {"text": text, "pair": pair or ("pair" if two else None), "encoding": encoding, "quotes": quotes}
    done = predicting.answer_input(opened, input_file or "", output, options, top=top, overwrite=overwrite)
    if done and as_json:
        print_json(done.as_dict())


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


def _about_words(folder: Path, top_k: int, words: bool, perplexity: bool) -> tuple[Callable[[Sequence[Any]], list[Any]], str]:
    """What only a module of mlm answers, and its task.

    Raises:
        InputError: both are asked for, or the folder holds no such module.
    """
    from nlphub import fill_words, score_sentences

    if words and perplexity:
        raise InputError("Give --words or --perplexity, not both")
    if (folder / "nlphub.json").is_file():
        raise InputError(f"{folder} is an artefact, and --words and --perplexity need a saved module of task mlm: module.save(FOLDER)")
    module = nlphub.Module(directory=folder, import_code=False)
    if perplexity:
        return lambda texts: score_sentences(module, texts), module.task_head.task
    return lambda texts: fill_words(module, texts, top_k=top_k), module.task_head.task


def _opened(folder: Path, top: int, engine: str, running: dict[str, Any]) -> "Opened":
    """As :func:`open_folder`, for ``predict``.

    Args:
        engine: of whole files.
        running: options of an artefact's Predictor.
    """
    from nlphub.cli.predicting import Opened

    if (folder / "nlphub.json").is_file():
        from nlphub.runtime.predictor import Predictor

        predictor = Predictor(folder, **running)
        cluster = None if engine == "here" else predictor.engine(engine, top_k=top)
        return Opened(lambda texts: predictor(texts, top_k=top), predictor.artefact.task, lambda: predictor.identity, cluster)
    if engine != "here" or running != {"threads": None, "precision": "fp32", "provider": "cpu"}:
        raise InputError(
            f"--threads, --precision, --provider and --engine are of exported folders, and {folder} is none; make one with `nlphub export`"
        )
    answer, _, task = open_folder(folder, top_k=top)
    return Opened(answer, task, lambda: _digest(folder))


def _digest(folder: Path) -> str:
    """Of all files of a saved module."""
    from nlphub.checkpoints.folders import module_folder
    from nlphub.runtime.artefact import describe

    files = describe(module_folder(folder, import_code=False))
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
