"""Pickles of weights, read without ``pickle``: an interpreter of our own that knows only the opcodes of plain data.

A pickle is a program for a small stack machine; what makes it dangerous is that it may name any function and call it. Here a name is looked
up in a closed table that the caller gives (one of numpy's, one of torch's), a call makes a description, never runs what is named, and
everything else is refused with the opcode, its place and what it asked for. ``pickletools`` only takes the file apart.

Nothing that is read is larger than the file: lengths are checked before memory is taken, tables have texts or numbers as keys (a nested
tuple could take for ever to hash), and the number of opcodes is bounded.
"""

import io
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from nlphub.errors import WeightsError, brief

_MOST_OPCODES = 1 << 23
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG1", "BINFLOAT", "FLOAT", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_MARK = object()


class Pending(Protocol):
    """What a call in a pickle makes: it may be given its state later."""

    def build(self, state: Any) -> None: ...


Names = Mapping[tuple[str, str], Callable[..., Any]]  # (module, name) -> what stands for a call of it here


class Unpickler:
    """Reads pickles from a stream, one after the other.

    Args:
        stream: of a file; it is read from its present place on.
        path: for messages.
        names: the closed table; a name that is not called stands for its function here.
        persistent: makes something of a persistent id, where the format has such.
    """

    def __init__(self, stream: BinaryIO, path: Path, names: Names, persistent: Callable[[Any], Any] | None = None) -> None:
        self._stream, self._path, self._names, self._persistent = Bounded(stream), path, names, persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._at = ("", 0)

    def load(self) -> Any:
        """The value of the next pickle.

        Raises:
            WeightsError: it is damaged, or wants more than plain data; the message names the opcode.
        """
        self._stack, self._memo = [], {}
        try:
            for count, (opcode, argument, place) in enumerate(pickletools.genops(self._stream)):  # type: ignore[arg-type]
                self._at = (opcode.name, place or 0)
                if count > _MOST_OPCODES:
                    raise self.refusal(f"is one of more than {_MOST_OPCODES:,}")
                self._step(opcode.name, argument)
            (value,) = self._stack
        except WeightsError:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError) as damaged:
            what = f"{type(damaged).__name__}: {str(damaged)[:120]}"
            raise WeightsError(f"{self._path} is damaged: no pickle of weights ({what})") from damaged
        return value

    def refusal(self, why: str) -> WeightsError:
        """The error for what is not plain data."""
        name, place = self._at
        return WeightsError(
            f"{self._path} is refused: opcode {name} at byte {place:,} {why}. Only arrays, texts, numbers and tables are read from a "
            "pickle, and nothing in it was run. If you trust this file, load it where it was made and save its weights as safetensors."
        )

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self._stack.append(argument)
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name not in ("PROTO", "FRAME", "STOP"):
            act = getattr(self, f"_do_{name.lower()}", None)
            if act is None:
                raise self.refusal("is not one that weights need")
            act(argument)

    def _since_mark(self) -> list[Any]:
        """What was pushed since the last mark, which goes too."""
        place = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count or any(value is _MARK for value in self._stack[-count:]):
            raise ValueError("the stack is too short")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _do_pop(self, _: Any) -> None:
        self._stack.pop()

    def _do_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _do_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _do_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _do_tuple1(self, _: Any) -> None:
        self._stack.append(tuple(self._take(1)))

    def _do_tuple2(self, _: Any) -> None:
        self._stack.append(tuple(self._take(2)))

    def _do_tuple3(self, _: Any) -> None:
        self._stack.append(tuple(self._take(3)))

    def _do_list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    def _do_dict(self, _: Any) -> None:
        values = self._since_mark()
        self._stack.append({})
        self._fill(values)

    def _do_append(self, _: Any) -> None:
        (value,) = self._take(1)
        self._listed().append(value)

    def _do_appends(self, _: Any) -> None:
        values = self._since_mark()
        self._listed().extend(values)

    def _do_setitem(self, _: Any) -> None:
        self._fill(self._take(2))

    def _do_setitems(self, _: Any) -> None:
        self._fill(self._since_mark())

    def _do_additems(self, _: Any) -> None:
        values = self._since_mark()
        if type(self._stack[-1]) is not set or not all(_is_plain(value) for value in values):
            raise self.refusal("puts something other than texts and numbers into a set")
        self._stack[-1].update(values)

    def _do_put(self, number: Any) -> None:
        self._memo[int(number)] = self._stack[-1]

    _do_binput = _do_long_binput = _do_put

    def _do_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_get(self, number: Any) -> None:
        self._stack.append(self._memo[int(number)])

    _do_binget = _do_long_binget = _do_get

    def _do_global(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._name(module, name)

    def _do_stack_global(self, _: Any) -> None:
        module, name = self._take(2)
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in self._names:
            raise self.refusal(f"asks for {brief(f'{module}.{name}')}")
        self._stack.append(self._names[module, name])

    def _do_reduce(self, _: Any) -> None:
        function, arguments = self._take(2)
        if function not in self._names.values() or type(arguments) is not tuple:
            raise self.refusal(f"calls {brief(function)}")
        self._stack.append(function(*arguments))

    def _do_build(self, _: Any) -> None:
        target, state = self._take(2)
        self._stack.append(target)
        if type(target) is dict and type(state) is dict:
            return  # an OrderedDict of torch brings notes of its own as attributes
        if not hasattr(target, "build"):
            raise self.refusal(f"gives a state to {brief(type(target).__name__)}")
        target.build(state)

    def _do_binpersid(self, _: Any) -> None:
        (identity,) = self._take(1)
        if self._persistent is None:
            raise self.refusal("asks for something outside this file")
        self._stack.append(self._persistent(identity))

    def _listed(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise self.refusal(f"appends to {brief(type(self._stack[-1]).__name__)}")
        found: list[Any] = self._stack[-1]
        return found

    def _fill(self, values: list[Any]) -> None:
        keys = values[::2]
        if len(values) % 2 or not self._stack or type(self._stack[-1]) is not dict or not all(map(_is_plain, keys)):
            raise self.refusal("fills a table whose keys are not all texts or numbers")
        self._stack[-1].update(zip(keys, values[1::2], strict=True))


class Bounded:
    """A stream that never takes memory for bytes that its file does not have."""

    def __init__(self, stream: BinaryIO) -> None:
        place = stream.tell()
        self._stream, self._end = stream, stream.seek(0, io.SEEK_END)
        stream.seek(place)

    def read(self, count: int) -> bytes:
        """As of a file."""
        return self._stream.read(min(count, self._end - self._stream.tell()))

    def readline(self) -> bytes:
        """As of a file."""
        return self._stream.readline()

    def tell(self) -> int:
        """As of a file."""
        return self._stream.tell()


def _is_plain(value: Any) -> bool:
    return type(value) in (str, int)
