"""What the registry says of a module, as frozen records. The annotations are the schema that a registry file is checked against."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from nlphub.hub import names

TASKS = (
    "choice", "embedding", "joint", "mlm", "multi-label", "reading", "regression", "seq-cls", "text-matching", "token-cls",
)  # fmt: skip


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():  # also no terminal control and no text direction characters
        raise ValueError("should be one line of printable characters")
    return text


def _task(task: str) -> str:
    if task not in TASKS:
        raise ValueError(f"no such task; there are {', '.join(TASKS)}")
    return task


def _files(files: "tuple[FileEntry, ...]") -> "tuple[FileEntry, ...]":
    names.check_no_overlap(tuple(entry.path for entry in files))
    return files


_STRICT = ConfigDict(strict=True, extra="forbid")
Line = Annotated[str, Field(max_length=300), AfterValidator(_line)]
Name = Annotated[str, AfterValidator(names.check_name)]
Alias = Annotated[str, AfterValidator(names.check_alias)]
Version = Annotated[str, AfterValidator(names.check_version)]
Task = Annotated[str, AfterValidator(_task)]
Path = Annotated[str, AfterValidator(names.check_path)]
Source = Annotated[str, AfterValidator(names.check_source)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Language = Annotated[str, Field(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Licence = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$")]
Bytes = Annotated[int, Field(ge=0, le=1 << 40)]
RawPath = Annotated[str, AfterValidator(names.check_raw_path)]
Base = Annotated[str, Field(max_length=512), AfterValidator(names.check_base)]
RemoteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a module.

    Attributes:
        path: its place in the module's folder, with ``/``.
        bytes: its size; ``None`` is unknown, resolved and pinned at the first install.
        sha256: 64 hexadecimal digits; ``None`` likewise.
        sources: where it can be had, tried in order.
    """

    __pydantic_config__ = _STRICT
    path: Path
    bytes: Bytes | None
    sha256: Digest | None
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=16)]


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that has a checkpoint of others, from which a module is made when it is installed.

    Attributes:
        form: ``transformers`` or ``paddle``: how :mod:`nlphub.checkpoints` reads it.
        base: the place of its files.
        files: what a file is called here -> its name at that place. Of ``transformers`` nothing means the usual names.
    """

    __pydantic_config__ = _STRICT
    form: Literal["transformers", "paddle"]
    base: Base
    files: Annotated[Mapping[RawPath, RemoteName], Field(max_length=16)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.form == "paddle" and not self.files:
            raise ValueError("an origin of the form paddle has to name its files")


@dataclass(frozen=True, slots=True)
class Card:
    """One version of a module.

    Attributes:
        name: what it is called here, e.g. ``"ernie_tiny"``.
        version: e.g. ``"0.1.0"``.
        aliases: other names; ``-`` and ``.`` for ``_`` need no alias.
        summary: one line.
        licence: an SPDX identifier, of the weights; ``None`` is unknown, and taken from the publisher's card at the first install.
        language: a BCP 47 tag, e.g. ``"zh"``.
        architecture: the shipped folder of ``modules/`` that builds it.
        parameters: of the encoder, counted; ``None`` is unknown.
        tokenizer: the name of its tokenizer.
        tasks: for which it has heads, see :data:`TASKS`.
        upstream: whose checkpoint it is, or ``None`` for our own.
        files: all that its folder holds; nothing where it is made from one of ``origins``.
        origins: where a checkpoint of others can be had, tried in order.
        yanked: why this version is not to be installed any more; ``None``: it may.
    """

    __pydantic_config__ = _STRICT
    name: Name
    version: Version
    aliases: Annotated[tuple[Alias, ...], Field(max_length=16)]
    summary: Line
    licence: Licence | None
    language: Language
    architecture: Name
    parameters: Annotated[int, Field(ge=0)] | None
    tokenizer: Name
    tasks: Annotated[tuple[Task, ...], Field(max_length=len(TASKS))]
    upstream: Line | None
    files: Annotated[tuple[FileEntry, ...], Field(max_length=256), AfterValidator(_files)]
    origins: Annotated[tuple[Origin, ...], Field(max_length=16)] = ()
    yanked: Line | None = None

    def __post_init__(self) -> None:
        if bool(self.files) == bool(self.origins):
            raise ValueError("files=[] or origins=[]: a module has the one or is made from the other")

    @property
    def is_made(self) -> bool:
        """Whether it is made when it is installed: its digests are not known before."""
        return bool(self.origins)

    @property
    def title(self) -> str:
        """Name and version, for messages."""
        return f"{self.name} {self.version}"


def facts_of(card: Card) -> dict[str, Any]:
    """A card as plain values for a registry, without what it does not say."""
    return {name: value for name, value in asdict(card).items() if value or name not in ("origins", "yanked")}
