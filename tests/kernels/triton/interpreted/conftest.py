"""Only collected under ``TRITON_INTERPRET=1``, see the folder above."""

from dataclasses import replace

import pytest


@pytest.fixture(autouse=True, scope="session")
def _words_may_wrap() -> None:
    """The hash of dropout wraps on purpose; looking for overflows takes a quarter of the interpreter's time and changes no result."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    builder.options = replace(builder.options, sanitize_overflow=False)
