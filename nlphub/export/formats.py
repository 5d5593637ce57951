"""Which forms an export can have: the artefact, one file that takes texts or ids, a folder for ``transformers``, files for phones."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nlphub.checkpoints import huggingface
from nlphub.data.examples import Examples
from nlphub.errors import ExportError, InputError, did_you_mean
from nlphub.export.onnx import ExportReport, export_artefact, require_graphs
from nlphub.files import publish
from nlphub.nn.heads import Head
from nlphub.runtime import artefact
from nlphub.tasks import outputs_of
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.tokenizers import Tokenizer

FORMATS = ("onnx", "text", "ids", "transformers", "ort", "pt2", "triton", "openvino")
_ONE_PRECISION = ("transformers", "pt2", "openvino")  # float32


def export_as(
    form: str,
    target: Path,
    *,
    card: Mapping[str, Any],
    recipe: str | None = None,
    pairs: bool | None = None,
    top_k: int = 5,
    int8: str = "none",
    int8_bound: float = 0.5,
    fp16: bool = False,
    dev: Any = None,
    **module: Any,
) -> ExportReport:
    """Export a module.

    Args:
        form: ``onnx``: the artefact that ``nlphub.Predictor`` runs, with all that other tools open; ``text``: its text graph alone, one
            file; ``ids``: the same of its graph of ids; ``transformers``: config.json, weights and tokenizer for ``AutoModel...`` and
            ``AutoTokenizer``; ``ort``: both graphs in the format of small builds of onnxruntime, for phones
            (:mod:`nlphub.export.phones`); ``pt2``: a program for ``torch.export.load`` (:mod:`nlphub.export.program`); ``triton``: a
            model of NVIDIA's inference server (:mod:`nlphub.export.inference_server`); ``openvino``: a folder for Intel's runtime
            (:mod:`nlphub.export.openvino_folder`). Of ``text``, ``ids``, ``ort`` and ``triton``, int8 is made instead of float32, not
            besides.
        target: a folder; of ``text``, ``ids`` and ``pt2`` a file.
        recipe: digest of the recipe that made the module, to be written down.
        pairs: whether the text graph takes two texts for each answer; default is what the task takes.
        top_k: candidates of an answer of the text graph; at most as many as there are labels.
        int8: ``none``, ``dynamic``, ``static`` or ``auto``, see :class:`nlphub.export.reduced.Reduction`.
        int8_bound: points of the score, 0 to 100, that a smaller graph may lose.
        fp16: of ``onnx``: a graph for graphics cards besides.
        dev: labelled examples, as :meth:`nlphub.data.examples.Examples.of` takes them, for ``int8`` and ``fp16``.
        card, module: the other arguments of :func:`~nlphub.export.onnx.export_artefact`.

    Raises:
        InputError: there is no such form, or it has no such precision.
        ExportError: the module has no such form, or what was written is not the module; nothing is left behind.
    """
    if form not in FORMATS:
        raise InputError(f"format={form!r} is none of {', '.join(FORMATS)}.{did_you_mean(str(form), FORMATS)}")
    if (form in _ONE_PRECISION and int8 != "none") or (form != "onnx" and fp16):
        raise InputError(f"format={form!r} has no {'float16' if fp16 else 'int8'} form; the artefact, --format onnx, has both")
    if form == "transformers":
        return _transformers(target, module["encoder"], module["head"], module["tokenizer"], module["labels"])
    require_graphs(module["head"].task)
    from nlphub.export.reduced import Reduction  # it imports onnx, which is there by now

    reduction = Reduction(int8, int8_bound, fp16, None if dev is None else Examples.of(dev))
    reduction.check()
    options = {**module, "card": {**card, "recipe": recipe}, "pairs": pairs, "top_k": top_k, "reduction": reduction}
    if form == "onnx":
        return export_artefact(target, **options)
    if form in ("text", "ids"):
        return _one_file(target, form, options)
    return _writer(form)(target, options)


def _writer(form: str) -> Callable[[Path, Mapping[str, Any]], ExportReport]:
    """What writes a form for another runtime; imported only now, for each brings packages of its own."""
    if form == "ort":
        from nlphub.export.phones import export_for_phones

        return export_for_phones
    if form == "pt2":
        from nlphub.export.program import export_program

        return export_program
    if form == "triton":
        from nlphub.export.inference_server import export_for_server

        return export_for_server
    from nlphub.export.openvino_folder import export_for_openvino

    return export_for_openvino


def _one_file(target: Path, form: str, options: Mapping[str, Any]) -> ExportReport:
    """A graph of an artefact, which is made and proven as a whole and then left behind."""
    if target.is_dir():
        raise ExportError(f"{target} is a folder, and --format {form} writes one file: name it, e.g. {target / f'model_{form}.onnx'}")
    import onnx

    from nlphub.export.textgraph import why_not

    if form == "text" and (reason := why_not(options["head"], options["tokenizer"])):
        raise ExportError(f"This module has no text graph: {reason}. Use --format onnx, and nlphub.Predictor in Python.")
    names = artefact.TEXT_GRAPHS if form == "text" else artefact.GRAPHS
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "artefact"
        report = export_artefact(folder, **options)
        made = onnx.load(folder / names["fp32" if options["reduction"].int8 == "none" else "int8"])  # with weights that stand elsewhere
        with publish(target.absolute()) as stream:
            stream.write(made.SerializeToString())
    return replace(report, folder=target, files={target.name: target.stat().st_size})


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
