"""The preparation as a whole: scan all sources, choose what is kept, tokenise; each finished file is kept when a run is stopped.

The result depends on the sources, the evaluation data, the tokenizer and the settings, and on nothing else: not on the number of
workers, nor on how often the run was stopped. Their digest, the plan, stands in the folder, and a run with another plan is refused.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nlphub import files
from nlphub.data.corpus.card import Card, markdown, source_card, totals
from nlphub.data.corpus.contamination import Index, evaluation_files, evaluation_texts
from nlphub.data.corpus.counts import Counts
from nlphub.data.corpus.duplicates import LONG_LINE, Choice
from nlphub.data.corpus.parts import PART, Job, Part, part_paths, read_json, rules_of, save_choice, scan, tokenise
from nlphub.data.corpus.quality import Rules
from nlphub.data.corpus.sources import Source
from nlphub.data.corpus.workers import Run, workers_running
from nlphub.data.shards import SUFFIX
from nlphub.errors import InputError
from nlphub.text.characters import CharacterTokenizer

SCHEMA = 1  # of the card; also a new one whenever the same plan would give other shards

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_CARD, _README = "card.json", "README.md"  # of a finished preparation
_PLAN, _CHOSEN = "plan.json", "chosen.json"  # of one that goes on
_SPLITS = ("train", "dev")


def prepare_corpus(
    out: Path,
    sources: Sequence[Source],
    *,
    tokenizer: Path,
    exclude: Sequence[Path] = (),
    rules: Rules | None = None,
    held_out: float = 0.005,
    text: str = "text",
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Card:
    """Filter, deduplicate, decontaminate and tokenise text.

    Args:
        out: gets ``train/*.safetensors``, ``dev/*.safetensors`` (see :mod:`nlphub.data.shards`), ``card.json`` and ``README.md``.
        sources: what to read; the first copy of a text wins.
        tokenizer: its folder.
        exclude: evaluation data, see :func:`~nlphub.data.corpus.contamination.evaluation_files`.
        rules: thresholds of the filters.
        held_out: share of documents of each source that goes to ``dev/``.
        text: key of the text in rows of ``.jsonl``.
        seed: decides what is held out and what a cap keeps.
        workers: processes, started by spawn; a program that is not ``nlphub`` itself guards its main part as multiprocessing asks for.
        overwrite: replace what another preparation left in ``out``.
        progress: is called as work goes on.

    Returns:
        The data card, as in ``card.json``.

    Raises:
        InputError: a setting is wrong, or ``out`` holds something else.
        DataError: a file cannot be read.
        StoreError: another process prepares into ``out``.
    """
    _check(sources, held_out, workers)
    job = Job(out.absolute(), tokenizer.absolute(), text, rules or Rules())
    evaluation = evaluation_files(exclude)
    plan = _plan(job, sources, evaluation, held_out=held_out, seed=seed)
    with files.locked(out / ".lock", timeout=1.0):
        if not _begin(job, plan, overwrite):
            return _publish(job, _with_words_of_users(read_json(out / _CARD), sources))
        with workers_running(workers) as run:
            card = _prepare(job, sources, evaluation, plan, run, progress or (lambda what, done, total: None))
        _publish(job, card)
        files.discard_folder(job.work)
    return card


def _prepare(job: Job, sources: Sequence[Source], evaluation: list[Path], plan: Card, run: Run, progress: Progress) -> Card:
    """The three steps; what an earlier run has finished is left as it is."""
    index = job.work / f"evaluation{SUFFIX}"
    if not index.exists():
        progress("evaluation data", 0, 1)
        table = CharacterTokenizer.load(job.tokenizer).table
        Index.of((line for path in evaluation for line in evaluation_texts(path)), table).save(index)
    by_size = sorted(sources, key=lambda source: -source.path.stat().st_size)
    done, total = 0, sum(source.path.stat().st_size for source in sources)
    progress("reading", done, total)
    for _, source in run(scan, [(job, source) for source in by_size]):
        done += source.path.stat().st_size
        progress("reading", done, total)
    parts = [(source, path) for source in sources for path in part_paths(job.work, source.name)]
    _choose(job, parts, plan, progress)
    jobs = [(job, source, path) for source, path in parts]
    progress("tokenising", 0, len(jobs))
    for number, _ in enumerate(run(tokenise, jobs), 1):
        progress("tokenising", number, len(jobs))
    return _card(job, sources, parts, plan)


def _choose(job: Job, parts: Sequence[tuple[Source, Path]], plan: Card, progress: Progress) -> None:
    done = job.work / _CHOSEN
    if done.exists():
        return
    choice, settings = Choice([Part.open(path) for _, path in parts], [source for source, _ in parts]), plan["settings"]
    steps: list[Callable[[], None]] = [
        choice.drop_equal_documents,
        choice.drop_near_equal_documents,
        choice.drop_equal_lines,
        lambda: choice.hold_out(settings["held_out"], settings["seed"]),
        lambda: choice.cap(settings["seed"]),
    ]
    for number, step in enumerate(steps):
        progress("deduplicating", number, len(steps))
        step()
    for number, (_, path) in enumerate(parts):
        save_choice(job.work / "choices" / path.name, *choice.of_part(number))
    files.publish_json(done, choice.counts)


def _card(job: Job, sources: Sequence[Source], parts: Sequence[tuple[Source, Path]], plan: Card) -> Card:
    chosen = read_json(job.work / _CHOSEN)
    cards = []
    for source, facts in zip(sources, plan["sources"], strict=True):
        tokenised = [
            read_json(job.work / "tokenised" / f"{path.name.removesuffix(SUFFIX)}.json")
            for owner, path in parts
            if owner.name == source.name
        ]
        scanned = read_json(job.work / "scanned" / f"{source.name}.json")
        steps = Counts.total([scanned, chosen.get(source.name, {}), *(part["counts"] for part in tokenised)])
        cards.append(source_card(facts, steps, [shard for part in tokenised for shard in part["shards"]]))
    index = Index.open(job.work / f"evaluation{SUFFIX}")
    evaluation = {"files": plan["evaluation"], "grams": len(index.grams), "short": len(index.short)}
    card = {**plan, "plan": _digest(plan), "evaluation": evaluation, "sources": cards, "totals": totals(cards)}
    return _with_words_of_users(card, sources)


def _plan(job: Job, sources: Sequence[Source], evaluation: list[Path], *, held_out: float, seed: int) -> Card:
    """All that decides the result, as JSON."""
    tokenizer = CharacterTokenizer.load(job.tokenizer)
    return {
        "schema": SCHEMA,
        "sources": [
            {"name": source.name, "cap": source.cap, "weight": float(source.weight), "file": _file(source.path)} for source in sources
        ],
        "evaluation": [{"name": "/".join(path.parts[-2:]), "sha256": files.sha256(path)} for path in evaluation],
        "tokenizer": {"name": job.tokenizer.name, "digest": tokenizer.digest, "vocabulary": len(tokenizer)},
        "words": _segmenter(),
        "settings": {"seed": seed, "held_out": held_out, "text": job.text, "part": PART, "long_line": LONG_LINE, "rules": rules_of(job)},
    }


def _begin(job: Job, plan: Card, overwrite: bool) -> bool:
    """Make the folder ready to begin or to go on; False if all is done already."""
    card, digest = job.out / _CARD, _digest(plan)
    found = _plan_of(job)
    there = [name for name in (*_SPLITS, _README, _CARD) if (job.out / name).exists()]
    if not found and there:
        raise InputError(f"{job.out} holds {', '.join(there)}, and no preparation of ours made that; name another folder")
    if found and found != digest and not overwrite:
        raise InputError(
            f"{job.out} holds a preparation of other sources or settings ({found[:12]}); name another folder, or --overwrite it"
        )
    if found == digest and card.is_file() and not overwrite:
        files.discard_folder(job.work)
        return False
    if overwrite:
        files.discard_folder(job.work)
    files.publish_json(job.work / _PLAN, plan)  # in this order, a stop at any point leaves the old preparation whole or the new one begun
    card.unlink(missing_ok=True)
    if not (job.work / _CHOSEN).exists():
        for split in _SPLITS:
            files.discard_folder(job.out / split)
    for temporary in job.out.rglob(".*.part"):
        temporary.unlink() if temporary.is_file() else shutil.rmtree(temporary)
    for name in ("scanned", "parts", "choices", "tokenised"):
        (job.work / name).mkdir(exist_ok=True)
    return True


def _plan_of(job: Job) -> str:
    """The digest of the preparation that the folder holds, finished or not, or nothing."""
    for path, digest in ((job.out / _CARD, lambda card: str(card.get("plan"))), (job.work / _PLAN, _digest)):
        if path.is_file():
            return digest(read_json(path))
    return ""


def _publish(job: Job, card: Card) -> Card:
    files.publish_text(job.out / _README, markdown(card))
    files.publish_json(job.out / _CARD, card)
    return card


def _with_words_of_users(card: Card, sources: Sequence[Source]) -> Card:
    """Licences and origins are no part of the plan: mending one does not make the shards anew."""
    named = {source.name: {"licence": source.licence, "origin": source.origin} for source in sources}
    return card | {"sources": [facts | named[facts["name"]] for facts in card["sources"]]}


def _check(sources: Sequence[Source], held_out: float, workers: int) -> None:
    problems = []
    if not sources:
        problems.append("there is no source")
    if not 0 <= held_out < 1:
        problems.append(f"held_out={held_out!r} is a share of the documents, from 0 to below 1")
    if workers < 1:
        problems.append(f"workers={workers!r} is a number of processes, at least 1")
    if problems:
        raise InputError("This preparation cannot begin", problems)


def _file(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _segmenter() -> str:
    """The package that finds words, with its version: another one may find others."""
    name = "rjieba" if importlib.util.find_spec("rjieba") else "jieba"
    return f"{name} {importlib.metadata.version(name)}"


def _digest(plan: Card) -> str:
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
