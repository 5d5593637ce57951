"""Only collected under ``TRITON_INTERPRET=1``, see the folder above."""

import functools
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="session")
def _words_may_wrap() -> None:
    """The hash of dropout wraps on purpose; looking for overflows takes a quarter of the interpreter's time and changes no result."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)


@pytest.fixture(autouse=True, scope="session")
def _builtins_are_looked_up_once() -> Iterator[None]:
    """Each call of a kernel's function goes through all members of ``triton.language``, a quarter of the interpreter's time, for those
    that are built in and not replaced yet. Which are built in does not change; whether they are replaced is still asked each time."""
    from triton.language.core import is_builtin
    from triton.runtime import interpreter

    @functools.cache
    def names(package: Any) -> list[str]:
        return [name for name, member in inspect.getmembers(package) if is_builtin(member)]

    def replace_builtins(package: Any, builder: Any, scope: Any) -> None:
        for name in names(package):
            if is_builtin(member := getattr(package, name)):
                interpreter._patch_attr(package, name, member, builder, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_builtin", replace_builtins)
        yield
