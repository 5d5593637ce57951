"""Checkpoints of others in, and ours out: one function, and a report that knows what became of every key.

    report = hub.convert("ernie_3.0_nano_zh.pdparams", numbers="ernie_3_0_nano", to="native", out="ernie_nano")
    hub.Module(directory="ernie_nano")

Nothing that is read is executed or unpickled, and the result is written whole or not at all. TensorFlow checkpoints are not read: without
TensorFlow there is no reader of their bundles that could be trusted with every file; ``transformers`` converts them where it is installed.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nlphub.aligned import aligned
from nlphub.checkpoints import native
from nlphub.checkpoints.native_source import read_module
from nlphub.checkpoints.numbers import numbers_of
from nlphub.checkpoints.pivot import Checkpoint, Fate
from nlphub.checkpoints.relatives import RELATIVES
from nlphub.checkpoints.sources import BIN, read_huggingface, read_paddle
from nlphub.checkpoints.targets import write_huggingface, write_native, write_paddle
from nlphub.errors import InputError, brief
from nlphub.files import publish_folder

TARGETS = ("native", "transformers", "paddle")
FAMILIES = ("bert", "ernie")


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did.

    Attributes:
        source: the folder or file that was read.
        format: of the source: ``native``, ``transformers`` or ``paddle``.
        to: the target's format.
        out: the folder that was written.
        family: ``bert``, ``ernie``, ``albert`` or ``electra``, of the result.
        encoder: its numbers, under nlphub's names.
        fates: of every key of the source.
        notes: what else there is to know.
    """

    source: str
    format: str
    to: str
    out: str
    family: str
    encoder: dict[str, Any]
    fates: tuple[Fate, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def table(self) -> str:
        """Every key with its fate, a line each."""
        return aligned(("KEY", "BECAME", "HOW"), [(fate.source, fate.target or "-", fate.what) for fate in self.fates])

    def __str__(self) -> str:
        """A summary in a few lines."""
        counts = Counter("left out" if fate.target is None else fate.what for fate in self.fates)
        how = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        numbers = ", ".join(f"{name} {self.encoder[name]}" for name in ("layers", "width", "heads", "inner", "vocab", "activation", "eps"))
        lines = [f"{self.source} ({self.format}) -> {self.out} ({self.to}, {self.family})", f"{len(self.fates)} keys: {how}", numbers]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def convert(
    source: str | Path,
    *,
    to: str,
    out: str | Path,
    family: str | None = None,
    task: str | None = None,
    numbers: str | Path | None = None,
    eps: float | None = None,
) -> Report:
    """Convert a checkpoint: nlphub's, ``transformers``' or PaddleNLP's to any of the three.

    Args:
        source: a folder (of a module, of ``save_pretrained``, of PaddleNLP) or a ``.pdparams`` file.
        to: ``native``, ``transformers`` or ``paddle``.
        out: a folder that does not exist yet, or is empty.
        family: ``ernie`` or ``bert`` for the result; default is the source's. For ``bert`` a task type is folded into the token types.
        task: ``seq-cls`` or ``token-cls``, of a classifier whose config does not say so.
        numbers: for ``.pdparams`` without config: the name of an official checkpoint (``ernie_3_0_nano``), or a config.json.
        eps: of every LayerNorm, where the source's own is wrong (PaddleNLP writes 1e-12 for weights that were trained with 1e-5).

    Raises:
        InputError: arguments that are wrong, or ``out`` is in use.
        WeightsError: the source is damaged, refused, or holds a key that nobody can explain; nothing is written.
    """
    path, place = Path(source).absolute(), Path(out).absolute()
    _require(path, to, place, family)
    kind, found = _read(path, task, numbers)
    if eps is not None:
        found.notes.append(f"eps of the norms is {eps:g} as asked for, not the source's {found.config.eps:g}")
        found.config = replace(found.config, eps=eps)
    result = family or found.family
    _require_relative(found.family, result, to)
    _explain(found, result, to)
    with publish_folder(place) as temporary:
        if to == "native":
            write_native(temporary, found, architecture=result)
        else:
            (write_huggingface if to == "transformers" else write_paddle)(temporary, found, family=result)
    return Report(str(path), kind, to, str(place), result, found.config.to_dict(), found.fates, tuple(found.notes))


def _require(path: Path, to: str, place: Path, family: str | None) -> None:
    problems = [] if to in TARGETS else [f"to={brief(to)} must be one of {', '.join(TARGETS)}"]
    problems += [] if family in (None, *FAMILIES) else [f"family={brief(family)} must be one of {', '.join(FAMILIES)}"]
    problems += [] if path.exists() else [f"there is nothing at {path}"]
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        problems.append(f"{place} is in use: name a folder that does not exist yet")
    if to == "native" and family == "bert":
        problems.append("to='native' keeps ERNIE's task types: family is for transformers and paddle")
    if problems:
        raise InputError("This conversion cannot begin:", problems)


def _require_relative(source: str, result: str, to: str) -> None:
    """ALBERT and ELECTRA become nothing else, and PaddleNLP has other names for them."""
    if {source, result} & {*RELATIVES} and source != result:
        raise InputError(f"this checkpoint is {source}, which cannot become {result}: leave --family out")
    if result in RELATIVES and to == "paddle":
        raise InputError(f"{result} is not written for PaddleNLP; --to transformers or native")


def _read(path: Path, task: str | None, numbers: str | Path | None) -> tuple[str, Checkpoint]:
    if path.is_file() and path.suffix != ".pdparams":
        raise InputError(f"{path.name}: a source is a folder with a config.json, or a .pdparams file")
    if path.is_file() or any(path.glob("*.pdparams")):
        return "paddle", read_paddle(path, task=task, numbers=numbers_of(numbers))
    config = native.read_json(path / native.CONFIG) if (path / native.CONFIG).is_file() else {}
    if "architecture" in config:
        return "native", read_module(path)
    if (path / native.CONFIG).is_file() and any((path / name).is_file() for name in (native.WEIGHTS, BIN)):
        return "transformers", read_huggingface(path, task=task)
    if any(path.glob("*.ckpt*")):
        raise InputError(
            f"{path} holds a TensorFlow checkpoint, which nlphub does not read; save it with transformers as safetensors first"
        )
    raise InputError(f"{path} holds no checkpoint that is known here: no *.pdparams, and no config.json with {native.WEIGHTS} or {BIN}")


def _explain(found: Checkpoint, family: str, to: str) -> None:
    """Notes on what the target cannot keep as it is."""
    if found.config.task_types and family == "bert" and to != "native":
        found.notes.append(f"task type {found.config.task_id} of {found.config.task_types} was added to the token types")
    if family == "ernie" and found.config.task_types and found.config.task_id and to == "transformers":
        found.notes.append(f"transformers takes task type 0 unless it is given task_type_ids; these weights use {found.config.task_id}")
