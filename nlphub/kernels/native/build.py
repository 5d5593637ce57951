"""The kernels in C++, compiled once for the processor at hand, into the user's cache.

The file's name is the digest of everything that decides its content: source, flags, version of the compiler and what it knows of the
processor. Nothing here is ever required: without a compiler the PyTorch route computes the same.
"""

import ctypes
import functools
import hashlib
import logging
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch  # its OpenMP library is the one that the kernels then share: one set of threads, not two

from nlphub.errors import InputError, NlphubError
from nlphub.files import publish
from nlphub.hub import private

log = logging.getLogger(__name__)

SOURCES = tuple(Path(__file__).with_name(name) for name in ("attention.cpp", "products.cpp", "rows.cpp"))
HEADER = Path(__file__).with_name("lanes.h")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-fPIC",
    "-shared",
)
_COMPILERS = ("g++", "clang++", "c++")
_SECONDS = 120  # for a compilation; it takes some
_AT, _LONG = ctypes.c_void_p, ctypes.c_long
_PRODUCT = (
    _AT,
    _LONG,
    _LONG,
    _AT,
    _LONG,
    _LONG,
    _AT,
    _LONG,
    _LONG,
    _LONG,
    _AT,
    _AT,
    _AT,
)  # what is called fifty times a step takes plain ints


def build() -> Path:
    """Compile the kernels, unless that was done before; the shared library.

    Raises:
        InputError: there is no compiler, or it fails; or the processor is none that these kernels are for.
        StoreError: the cache is not ours alone.
    """
    if why := unfit():
        raise InputError(f"The C++ kernels cannot be had here: {why}. Trainings take PyTorch's operations, with the same results.")
    compiler = _compiler()
    path = private.cache("kernels", f"{_digest(compiler)}.so")
    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / path.name
            _run([compiler, *FLAGS, *map(str, SOURCES), "-o", str(made)])
            with publish(path) as stream:
                stream.write(made.read_bytes())
        path.chmod(0o700)
    return path


def unfit() -> str:
    """Why these kernels are not for this machine; nothing where they are."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"they are for Linux on x86_64, and this is {sys.platform} on {platform.machine()}"
    if not torch.cpu.get_capabilities().get("avx2", False):
        return "this processor has no AVX2"
    return "" if _compiler() else f"there is no compiler (none of {', '.join(_COMPILERS)})"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded kernels, compiled if need be; ``None``, and one line in the log, where they cannot be had."""
    try:
        found = ctypes.CDLL(str(build()))
        found.product.argtypes = _PRODUCT
    except (NlphubError, OSError) as failure:
        log.info("training with PyTorch's operations: %s", failure)
        return None
    return found


def digest() -> str | None:
    """Of everything that decides what the kernels compute, source, compiler and processor; ``None`` where they cannot be had."""
    return Path(found._name).stem if (found := library()) is not None else None


def _compiler() -> str:
    return next((path for name in _COMPILERS if (path := shutil.which(name))), "")


def _digest(compiler: str) -> str:
    about = _run([compiler, "--version"]) + _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", "/dev/null"])
    read = [path.read_bytes() for path in (*SOURCES, HEADER)]
    return hashlib.sha256(b"\0".join([*read, " ".join(FLAGS).encode(), about])).hexdigest()


def _run(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.SubprocessError) as failure:
        told = getattr(failure, "stderr", None) or b""
        raise InputError(f"{command[0]} failed: {told.decode(errors='replace').strip()[-500:] or failure}") from failure
