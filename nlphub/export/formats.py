"""Which forms an export can have: the artefact, one file that takes texts, a folder that ``transformers`` opens."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nlphub.checkpoints import huggingface
from nlphub.errors import ExportError, InputError, did_you_mean
from nlphub.export.onnx import ExportReport, export_artefact, require_exportable
from nlphub.files import publish
from nlphub.nn.heads import Head
from nlphub.runtime import artefact
from nlphub.tasks import outputs_of
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.tokenizers import Tokenizer

FORMATS = ("onnx", "text", "transformers")


def export_as(
    form: str,
    target: Path,
    *,
    card: Mapping[str, Any],
    recipe: str | None = None,
    pairs: bool | None = None,
    top_k: int = 5,
    **module: Any,
) -> ExportReport:
    """Export a module.

    Args:
        form: ``onnx``: the artefact that ``nlphub.Predictor`` runs, with all that other tools open; ``text``: its text graph alone, one
            file; ``transformers``: config.json, weights and tokenizer for ``AutoModel...`` and ``AutoTokenizer``.
        target: a folder; of ``text`` a file.
        recipe: digest of the recipe that made the module, to be written down.
        pairs: whether the text graph takes two texts for each answer; default is what the task takes.
        top_k: candidates of an answer of the text graph; at most as many as there are labels.
        card, module: the other arguments of :func:`~nlphub.export.onnx.export_artefact`.

    Raises:
        InputError: there is no such form.
        ExportError: the module has no such form, or what was written is not the module; nothing is left behind.
    """
    if form == "transformers":
        return _transformers(target, module["encoder"], module["head"], module["tokenizer"], module["labels"])
    options = {**module, "card": {**card, "recipe": recipe}, "pairs": pairs, "top_k": top_k}
    if form == "onnx":
        return export_artefact(target, **options)
    if form == "text":
        return _text_file(target, options)
    raise InputError(f"format={form!r} is none of {', '.join(FORMATS)}.{did_you_mean(str(form), FORMATS)}")


def _text_file(target: Path, options: Mapping[str, Any]) -> ExportReport:
    """The text graph of an artefact, which is made and proven as a whole and then left behind."""
    if target.is_dir():
        raise ExportError(f"{target} is a folder, and --format text writes one file: name it, e.g. {target / 'model_text.onnx'}")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "artefact"
        require_exportable(folder, task=options["head"].task)
        from nlphub.export.textgraph import why_not  # it imports onnx, which is there by now

        if reason := why_not(options["head"], options["tokenizer"]):
            raise ExportError(f"This module has no text graph: {reason}. Use --format onnx, and nlphub.Predictor in Python.")
        report = export_artefact(folder, **options)
        with publish(target.absolute()) as stream:
            stream.write((folder / artefact.TEXT_GRAPH).read_bytes())
    return ExportReport(target, report.parity, {target.name: target.stat().st_size}, report.text)


def _transformers(folder: Path, encoder: Any, head: Head, tokenizer: Tokenizer, labels: Sequence[str]) -> ExportReport:
    if reason := huggingface.why_not(head):
        raise ExportError(f"{reason}. The encoder alone can be written: nlphub.checkpoints.huggingface.save_folder without a head")
    if not isinstance(tokenizer, CharacterTokenizer):
        raise ExportError("Only the tokenizer of characters can be written for transformers so far")
    names = () if head.answers_words else outputs_of(head.task, labels)
    huggingface.save_folder(folder, encoder=encoder, head=head, tokenizer=tokenizer, labels=names)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    return ExportReport(folder, None, files, "a folder for transformers has no graph")
