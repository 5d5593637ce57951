"""The two jobs that worker processes do: scan a source into parts, and turn a part into shards. Each leaves whole files or nothing.

A part is a stretch of a source, about four million characters of it, and becomes at most one shard of ``train/`` and one of ``dev/``.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nlphub import files
from nlphub.data.arrays import Array, open_arrays, write_arrays
from nlphub.data.corpus import counts
from nlphub.data.corpus.batch import Batch, Flags, edges_of, hashes, sums
from nlphub.data.corpus.contamination import Index, decontaminate
from nlphub.data.corpus.counts import Counts
from nlphub.data.corpus.documents import Document, cut, read_documents
from nlphub.data.corpus.minhash import signatures
from nlphub.data.corpus.quality import Rules, screen
from nlphub.data.corpus.sources import Source
from nlphub.data.shards import SUFFIX, write_shard
from nlphub.errors import InputError
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.encoding import Ints

PART = 1 << 22  # characters, as read
DROPPED, TO_TRAIN, TO_DEV = 0, 1, 2  # what became of a document

_SCAN = {
    "text": ("uint8",),
    "documents": ("int64",),
    "characters": ("int64",),
    "document_hashes": ("uint64",),
    "line_hashes": ("uint64",),
    "signatures": ("uint32",),
}
_CHOICE = {"lines": ("uint8",), "documents": ("uint8",)}
_ENCODED = 1 << 20  # characters that are tokenised together


@dataclass(frozen=True, slots=True)
class Job:
    """What workers have to know.

    Attributes:
        out: the folder of the preparation.
        tokenizer: folder of the tokenizer.
        text: key of the text in rows of ``.jsonl``.
        rules: thresholds of the filters.
    """

    out: Path
    tokenizer: Path
    text: str
    rules: Rules

    @property
    def work(self) -> Path:
        """The folder of intermediate files, which is gone when all is done."""
        return self.out / ".pretrain-data"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A scanned part: what passed the filters.

    Attributes:
        path: of its file.
        text: the UTF-8 of its lines, with line ends between them.
        documents: ``(d + 1,)`` edges in lines.
        characters: ``(l,)`` normalised characters of each line.
        document_hashes: ``(d,)`` of all normalised characters.
        line_hashes: ``(l,)``.
        signatures: ``(d, 112)``, see :mod:`nlphub.data.corpus.minhash`.
    """

    path: Path
    text: Array
    documents: Ints
    characters: Ints
    document_hashes: Array
    line_hashes: Array
    signatures: Array

    @classmethod
    def open(cls, path: Path) -> "Part":
        """Map a part into memory."""
        return cls(path, **open_arrays(path, _SCAN)[0])

    def lines(self) -> list[str]:
        """The text of all lines."""
        return self.text.tobytes().decode("utf-8").split("\n") if len(self.characters) else []


def part_paths(work: Path, source: str) -> list[Path]:
    """The parts of a source that were scanned."""
    return sorted((work / "parts").glob(f"{_escape(source)}-[0-9][0-9][0-9][0-9][0-9]{SUFFIX}"))


def scan(job: Job, source: Source) -> Path:
    """Read and filter a source into parts; what was counted lies in the file that is returned, and is written last."""
    done = job.work / "scanned" / f"{source.name}.json"
    if not done.exists():
        tokenizer, tally, bad = _tokenizer(job.tokenizer), Counts(), [0]
        documents = read_documents(source.path, text=job.text, report=lambda _: bad.__setitem__(0, bad[0] + 1))
        for number, group in enumerate(_groups(documents)):
            _scan_part(job.work / "parts" / f"{source.name}-{number:05}{SUFFIX}", group, tokenizer, job.rules, tally)
        tally.add(counts.UNREADABLE, lines=bad[0])
        files.publish_json(done, tally)
    return done


def save_choice(path: Path, lines: Flags, documents: Array) -> None:
    """Publish which lines of a part are kept, and what becomes of its documents."""
    write_arrays(path, {"lines": lines.astype(np.uint8), "documents": documents.astype(np.uint8)}, {})


def tokenise(job: Job, source: Source, path: Path) -> Path:
    """Turn the chosen lines of a part into shards; what was counted lies in the file that is returned, and is written last."""
    done = job.work / "tokenised" / f"{path.name.removesuffix(SUFFIX)}.json"
    if not done.exists():
        tally, tokenizer = Counts(), _tokenizer(job.tokenizer)
        batch, fates = _chosen(job, path, tokenizer, tally)
        shards = []
        for folder, step, fate in (("train", counts.TRAIN, TO_TRAIN), ("dev", counts.DEV, TO_DEV)):
            part, _ = _documents(batch, fates == fate)
            tally.add(step, documents=len(part), lines=len(part.lines), characters=len(part.codes))
            if len(part):
                shards.append(_write(job.out, f"{folder}/{path.name}", part, source, tokenizer))
        files.publish_json(done, {"counts": tally, "shards": shards})
    return done


def read_json(path: Path) -> Any:
    """A file of counts that a job left."""
    return json.loads(path.read_text("utf-8"))


def rules_of(job: Job) -> dict[str, Any]:
    """The thresholds, for the data card."""
    return asdict(job.rules)


def _scan_part(path: Path, group: list[Document], tokenizer: CharacterTokenizer, rules: Rules, tally: Counts) -> None:
    batch = Batch.of(group, tokenizer.table)
    tally.add(counts.READ, documents=len(batch), lines=len(batch.lines), characters=len(batch.codes))
    batch = batch.take(screen(batch, rules, tally))
    batch, edges = _documents(batch, np.diff(batch.documents) > 0)
    arrays: dict[str, Array] = {
        "text": np.frombuffer("\n".join(batch.lines).encode("utf-8"), np.uint8),
        "documents": batch.documents,
        "characters": batch.characters,
        "document_hashes": hashes(batch.codes, edges),
        "line_hashes": hashes(batch.codes, batch.edges),
        "signatures": np.ascontiguousarray(signatures(batch.codes, edges)),
    }
    write_arrays(path, arrays, {})


def _chosen(job: Job, path: Path, tokenizer: CharacterTokenizer, tally: Counts) -> tuple[Batch, Array]:
    """The lines of a part that go into shards, and ``(d,)`` what becomes of its documents."""
    part, choice = Part.open(path), open_arrays(job.work / "choices" / path.name, _CHOICE)[0]
    batch = Batch.fold(part.lines(), part.documents, tokenizer.table).take(choice["lines"].astype(np.bool_))
    batch, _ = decontaminate(batch, Index.open(job.work / f"evaluation{SUFFIX}"), tally)
    fates = choice["documents"].copy()
    characters = sums(batch.characters, batch.documents)
    gone = (fates != DROPPED) & (characters < job.rules.short)
    fates[gone] = DROPPED
    tally.add(counts.LEFT_SHORT, documents=gone.sum(), lines=np.diff(batch.documents)[gone].sum(), characters=characters[gone].sum())
    return batch, fates


def _documents(batch: Batch, chosen: Flags) -> tuple[Batch, Ints]:
    """Only the chosen documents, and the edges of their characters."""
    kept = batch.take(chosen[batch.document_of_line])
    kept = Batch(kept.lines, edges_of(np.diff(kept.documents)[chosen]), kept.codes, kept.edges)
    return kept, kept.document_edges


def _write(out: Path, name: str, batch: Batch, source: Source, tokenizer: CharacterTokenizer) -> dict[str, Any]:
    """Write one shard; returns what the data card says of it."""
    ids, word_starts, lengths = _encode(batch, tokenizer)
    path = out / name
    write_shard(
        path,
        ids=ids,
        word_starts=word_starts,
        starts=edges_of(lengths),
        tokenizer_digest=tokenizer.digest,
        source=source.name,
        weight=source.weight,
    )
    facts = {"path": name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
    return facts | {"documents": len(batch), "tokens": len(ids), "words": int(word_starts.sum())}


def _encode(batch: Batch, tokenizer: CharacterTokenizer) -> tuple[Array, Flags, Ints]:
    """``(t,)`` ids, ``(t,)`` word starts and ``(d,)`` tokens of each document, without special tokens."""
    limit = tokenizer.max_length - 2
    pieces = [list(cut(line, limit)) for line in batch.lines]
    owner = np.repeat(batch.document_of_line, list(map(len, pieces)))
    texts = list(itertools.chain.from_iterable(pieces))
    ids, starts, lengths = [np.zeros(0, np.uint16)], [np.zeros(0, np.bool_)], [np.zeros(0, np.int64)]
    for group in _groups_of_texts(texts):
        encoded = tokenizer.encode(group)
        if encoded.truncated.any():
            raise InputError(f"This tokenizer makes more tokens than characters, and so cannot be used here: {group[0]!r:.60}")
        body = encoded.offsets[:, 1] > encoded.offsets[:, 0]
        ids.append(encoded.ids[body].astype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32))
        starts.append(tokenizer.words(group, encoded)[body])
        lengths.append(sums(body, encoded.starts))
    tokens = np.bincount(owner, weights=np.concatenate(lengths), minlength=len(batch)).astype(np.int64)
    return np.concatenate(ids), np.concatenate(starts), tokens


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in groups of about :data:`PART` characters; at least one group, so that an empty source has a part, too."""
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += sum(map(len, document))
        if size >= PART:
            yield group
            group, size = [], 0
    yield group


def _groups_of_texts(texts: list[str]) -> Iterator[list[str]]:
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts))) // _ENCODED
    edges = [0, *(np.flatnonzero(np.diff(ends)) + 1).tolist(), len(texts)]
    yield from (texts[a:b] for a, b in itertools.pairwise(edges) if a < b)


def _escape(name: str) -> str:
    """A name with the special characters of glob patterns taken literally."""
    return "".join(f"[{character}]" if character in "[*?" else character for character in name)


@cache
def _tokenizer(folder: Path) -> CharacterTokenizer:
    return CharacterTokenizer.load(folder)
