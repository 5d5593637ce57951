"""The table of contents of a bundle (:mod:`nlphub.hub.bundles`) and the checks that its zip has to pass before a member is opened."""

import json
import os
import re
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from nlphub.errors import InputError, brief
from nlphub.hub.addresses import FILE
from nlphub.hub.document import MAX_BYTES, SCHEMA, without_repeats
from nlphub.hub.names import check_name, check_path, check_version

MANIFEST = "bundle.json"
_MOST = 10_000  # members
_LONGEST_DIRECTORY = 8 << 20  # bytes of a zip's central directory
_EXTRA = re.compile(r"(recipes/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml|wheels/[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\.whl)")
_DIGEST = re.compile("[0-9a-f]{64}")
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"  # of APPNOTE.TXT 4.3.14 to 4.3.16


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle.

    Attributes:
        bytes: its size.
        sha256: 64 hexadecimal digits.
    """

    bytes: int
    sha256: str


def parse_manifest(data: bytes) -> dict[str, Member]:
    """Path -> member.

    Raises:
        InputError: everything that is wrong with it.
    """
    try:
        values = json.loads(data, object_pairs_hook=without_repeats) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError) as wrong:
        raise InputError(f"{MANIFEST} is not JSON as it should be: {wrong}") from wrong
    if not isinstance(values, dict) or values.keys() != {"schema", "files"} or values["schema"] != SCHEMA:
        raise InputError(f'{MANIFEST} should be {{"schema": {SCHEMA}, "files": {{...}}}}; a newer schema needs a newer nlphub')
    files = values["files"]
    if not isinstance(files, dict) or len(files) > _MOST or FILE not in files:
        raise InputError(f"{MANIFEST}: files should name {FILE} and at most {_MOST:,} members")
    checked = ((path, check_name_of(path) or _fact_problem(facts)) for path, facts in files.items())
    if problems := [f"{brief(path)}: {problem}" for path, problem in checked if problem]:
        raise InputError(f"{MANIFEST} is not valid.", problems)
    return {path: Member(facts["bytes"], facts["sha256"]) for path, facts in files.items()}


def check_name_of(path: str) -> str | None:
    """Why a member may not have this name, ``None`` if it may."""
    if path == FILE or _EXTRA.fullmatch(path):
        return None if ".." not in path else "has '..' in it"
    parts = path.split("/", 3)
    if len(parts) < 4 or parts[0] != "modules":
        return "is neither registry.json nor modules/<name>/<version>/<file>, recipes/<name>.yaml or wheels/<name>.whl"
    try:
        check_name(parts[1])
        check_version(parts[2])
        check_path(parts[3])
    except ValueError as wrong:
        return str(wrong)
    return None


def check_members(infos: Sequence[zipfile.ZipInfo], files: Mapping[str, Member], size: int) -> Iterator[str]:
    """What is wrong with the members of a zip, beside what its manifest says of them.

    Args:
        infos: of the zip.
        files: of the manifest.
        size: bytes of the whole zip: stored members cannot be more than it.
    """
    counts = Counter(info.filename for info in infos)
    yield from (f"{brief(name)}: is in the zip {count} times" for name, count in counts.items() if count > 1)
    yield from (f"{brief(name)}: is in the zip and not in {MANIFEST}" for name in sorted(counts.keys() - files.keys() - {MANIFEST}))
    yield from (f"{brief(name)}: is in {MANIFEST} and not in the zip" for name in sorted(files.keys() - counts.keys()))
    for info in infos:
        member = files.get(info.filename)
        yield from (f"{brief(info.filename)}: {problem}" for problem in _member_problems(info, member))
    total, offsets = sum(info.file_size for info in infos), Counter(info.header_offset for info in infos)
    if total > size:
        yield f"its members say that they have {total:,} bytes, and the whole zip has {size:,}"
    if max(offsets.values(), default=1) > 1:
        yield "two members share their bytes"


def check_directory(stream: IO[bytes]) -> None:
    """Refuse a zip whose table of contents alone would fill the memory, before a library reads it.

    Raises:
        ValueError: it is larger than any that nlphub writes, or the file is no zip.
    """
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - (1 << 16) - 22)
    stream.seek(start)
    tail = stream.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise ValueError("it has no end of a central directory, which every zip has")
    length = struct.unpack("<I", tail[end + 12 : end + 16])[0]
    locator = tail[max(0, end - 20) : end]
    if locator.startswith(_LOCATOR):
        stream.seek(min(struct.unpack("<Q", locator[8:16])[0], size))
        record = stream.read(56)
        length = struct.unpack("<Q", record[40:48])[0] if record.startswith(_END64) and len(record) == 56 else size
    if length > _LONGEST_DIRECTORY:
        raise ValueError(f"its table of contents has {length:,} bytes, and nlphub writes at most {_LONGEST_DIRECTORY:,}")
    stream.seek(0)


def _member_problems(info: zipfile.ZipInfo, member: Member | None) -> Iterator[str]:
    mode = info.external_attr >> 16
    if info.is_dir() or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        yield "is no regular file but a folder, a link or a device"
    if info.flag_bits & 0x1:
        yield "is encrypted"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        yield "is compressed; nlphub stores, so that nothing is larger than it looks"
    if member is not None and info.file_size != member.bytes:
        yield f"has {info.file_size:,} bytes, and {MANIFEST} says {member.bytes:,}"


def _fact_problem(facts: Any) -> str | None:
    if not isinstance(facts, dict) or facts.keys() != {"bytes", "sha256"}:
        return 'should be {"bytes": ..., "sha256": ...}'
    if type(facts["bytes"]) is not int or not 0 <= facts["bytes"] <= 1 << 40:
        return f"bytes={brief(facts['bytes'])}"
    if not isinstance(facts["sha256"], str) or not _DIGEST.fullmatch(facts["sha256"]):
        return f"sha256={brief(facts['sha256'])}"
    return None
