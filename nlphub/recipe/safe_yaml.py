"""YAML for people who write recipes by hand: values only, bounded, and without YAML 1.1's surprises.

PyYAML reads ``1e-5`` as a string, ``no`` as false, ``010`` as 8 and ``12:30`` as 750, keeps the last of two equal keys, and builds Python
objects from tags. Here scalars follow the core schema of YAML 1.2.2 (section 10.3.2), equal keys are mistakes, tags and aliases are
refused, and depth and size have limits. A document becomes dictionaries, lists and scalars by a walk over PyYAML's nodes; nothing is
ever constructed by tag.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from nlphub.errors import RecipeError

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_DIGITS = 64  # characters of a number

Path = tuple[str | int | float | bool | None, ...]  # keys and indices from the root to a value

_CORE = "tag:yaml.org,2002:"
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")  # Unicode's own, which YAML 1.1 takes for line ends and 1.2 does not
_SCALARS = [  # tag, pattern of plain scalars, first characters
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), "-+.0123456789"),
]


@dataclass(slots=True)
class Document:
    """A document that was read.

    Attributes:
        value: dictionaries, lists, strings, numbers, booleans, ``None``.
        lines: the line of every value (of the key, for values of a mapping), by path, counted from 1.
        problems: mistakes that do not hinder reading on, such as equal keys, with their places.
    """

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(text: str, *, name: str) -> Document:
    """Read one YAML document.

    Args:
        name: of the file, for messages.

    Raises:
        RecipeError: it is not YAML, too large, too deep, or uses aliases or tags; with ``name:line:column``.
    """
    import yaml

    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise RecipeError(f"{name} is larger than {MAX_BYTES // 1024} KiB; a recipe holds values, not data")
    try:
        node = _loader()(text).get_single_node()
    except yaml.MarkedYAMLError as wrong:
        place = f":{wrong.problem_mark.line + 1}:{wrong.problem_mark.column + 1}" if wrong.problem_mark else ""
        raise RecipeError(f"{name}{place}: {wrong.problem or wrong.context}") from wrong
    except yaml.YAMLError as wrong:
        raise RecipeError(f"{name} is not YAML: {' '.join(str(wrong).split())}") from wrong
    document = Document(None)
    document.value = _value(node, (), document, name) if node is not None else None
    return document


def dump(value: Any) -> str:
    """YAML that keeps the order of keys and readable Chinese, and reads back as the same value here and in YAML 1.1."""
    import yaml

    return yaml.dump(value, Dumper=_dumper(), allow_unicode=True, sort_keys=False, width=120)


@cache
def _loader() -> "type[yaml.SafeLoader]":
    """PyYAML's scanner, parser and composer with our scalars and limits, made here so that importing this file does not import yaml."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute, filled below
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            if self.check_event(yaml.AliasEvent):
                raise yaml.MarkedYAMLError(problem=f"the alias *{event.anchor} is refused; write it out", problem_mark=event.start_mark)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(_CORE + tag, re.compile(f"(?:{pattern.pattern})$"), list(first))
    return Loader


@cache
def _dumper() -> "type[yaml.SafeDumper]":
    import yaml

    class Dumper(yaml.SafeDumper):
        """Knows both versions' scalars, so that a string that looks like a number in either is quoted."""

        def represent_str(self, text: str) -> Any:
            style = '"' if _LINE_ENDS.search(text) else None  # only this style escapes them; PyYAML's plain style would lose them
            return self.represent_scalar(_CORE + "str", text, style=style)

    Dumper.add_representer(str, Dumper.represent_str)
    for tag, pattern, first in _SCALARS:
        Dumper.add_implicit_resolver(_CORE + tag, re.compile(f"(?:{pattern.pattern})$"), list(first))
    return Dumper


def _value(node: Any, path: Path, document: Document, name: str) -> Any:
    """The value of a node; notes lines and problems in ``document``."""
    import yaml

    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode) and node.tag == _CORE + "seq":
        return [_value(item, (*path, index), document, name) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode) and node.tag == _CORE + "map":
        return _mapping(node, path, document, name)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, document, name)
    raise RecipeError(f"{name}:{node.start_mark.line + 1}: the tag {node.tag!r} is refused; recipes hold plain values only")


def _mapping(node: Any, path: Path, document: Document, name: str) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _value(key_node, (), Document(None), name)
        if not isinstance(key, str | int | float | bool | None):
            document.problems.append(f"{name}:{line}: a key is {key!r}; keys are words")
            continue
        if key in result:
            document.problems.append(f"{name}:{line}: {key!r} is given twice; first on line {document.lines[(*path, key)]}")
        else:
            document.lines[(*path, key)] = line
            result[key] = _value(value_node, (*path, key), document, name)
    return result


def _scalar(node: Any, document: Document, name: str) -> Any:
    kind, text = node.tag.removeprefix(_CORE), node.value
    try:
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind in ("int", "float") and len(text) > MAX_DIGITS:
            raise ValueError
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if kind == "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
    except (KeyError, ValueError):
        document.problems.append(f"{name}:{node.start_mark.line + 1}: {text[:40]!r} is not a value of type {kind}")
        return None
    raise RecipeError(f"{name}:{node.start_mark.line + 1}: the tag {node.tag!r} is refused; recipes hold plain values only")
