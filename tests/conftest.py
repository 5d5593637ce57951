"""What every test gets: a home folder of its own, a clean environment, no outside network. And the small parts that many tests use."""

import importlib.metadata as metadata
import ipaddress
import socket
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURS = ("NLPHUB_HOME", "NLPHUB_OFFLINE", "NLPHUB_MIRRORS", "NLPHUB_REGISTRY", "HF_HUB_OFFLINE")


@pytest.fixture(scope="session", autouse=True)
def torchs_kernels() -> Iterator[None]:
    """Or every home would compile kernels of its own; tests/kernels/test_native.py does. First of all, for the choice is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLPHUB_KERNELS", "builtin")
        yield


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "nlphub-home"
    monkeypatch.setenv("NLPHUB_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_outside_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections inside the machine are allowed (local servers of the tests), all others fail the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _local(address[0]):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    return


@pytest.fixture
def batch() -> Callable[..., Any]:
    """Packed batches of random ids: ``batch(lengths)``, or only the sequences ``rows`` of a data set with these lengths."""
    import numpy as np

    from nlphub.data.batching import pack
    from nlphub.nn.encoder import to_tensors
    from nlphub.text.encoding import Encoded

    def make(lengths: Sequence[int], *, rows: Sequence[int] | None = None) -> Any:
        generator, total = np.random.default_rng(0), sum(lengths)
        encoded = Encoded(
            ids=generator.integers(0, 50, total),
            types=generator.integers(0, 2, total),
            offsets=np.zeros((total, 2), np.int64),
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            truncated=np.zeros(len(lengths), np.bool_),
        )
        return to_tensors(pack(encoded, np.array(range(len(lengths)) if rows is None else rows)))

    return make


@pytest.fixture(scope="session")
def parts() -> dict[str, Any]:
    """A small classifier over the real tokenizer, as export_artefact takes it, with attention and logits far from uniform."""
    import torch

    from nlphub.nn.encoder import Encoder, EncoderConfig
    from nlphub.nn.heads import SequenceHead
    from nlphub.nn.initialise import initialise
    from nlphub.text.tokenizers import load_tokenizer

    labels = ("查物流", "退货", "转人工", 'say "hi"')
    tokenizer = load_tokenizer(Path(__file__).parents[1] / "tokenizers" / "zh_char")
    encoder = Encoder(EncoderConfig(vocab=len(tokenizer), layers=2, width=24, heads=3, inner=40, task_types=2, task_id=1))
    head = SequenceHead(24, len(labels))
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.mul_(8.0 if parameter.ndim > 1 else 1.0).add_(0.05 if parameter.ndim == 1 else 0.0)
    return {"encoder": encoder, "head": head, "tokenizer": tokenizer, "labels": labels, "card": {"architecture": "ernie_tiny"}}


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved module without a head: two layers, 32 wide, seeded weights. Small enough to train in a test."""
    from nlphub.checkpoints import native
    from nlphub.hub import zoo
    from nlphub.nn.initialise import initialise
    from nlphub.paths import bundle

    folder = tmp_path_factory.mktemp("small") / "module"
    folder.mkdir()
    parts = zoo.load("ernie_tiny")
    encoder = parts.transformer(layers=2, width=32, heads=2, inner=64)
    initialise(encoder, seed=3)
    tokenizer = parts.tokenizer(bundle() / "tokenizers" / "zh_char")
    native.save_checkpoint(folder, encoder=encoder, head=None, tokenizer=tokenizer, config={"architecture": "ernie_tiny"})
    return folder


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def linked_environment() -> Callable[[Path, list[str]], Path]:
    """A virtual environment that holds some requirements and nothing else, as links to what is installed here; its interpreter."""

    def make(root: Path, requirements: list[str]) -> Path:
        venv.create(root, with_pip=False, symlinks=True)
        (site,) = root.glob("lib/python*/site-packages")
        seen: set[tuple[str, str]] = set()
        for requirement in requirements:
            for distribution in _needed(requirement, seen):
                for name in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
                    if not (site / name).exists():
                        (site / name).symlink_to(distribution.locate_file(name))
        return root / "bin" / "python"

    return make


def _needed(requirement: str, seen: set[tuple[str, str]], extra: str = "") -> Iterator[metadata.Distribution]:
    """The installed distribution of a requirement and those of all that it requires here."""
    wanted = Requirement(requirement)
    if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
        return
    for chosen in ("", *wanted.extras):
        if (canonicalize_name(wanted.name), chosen) not in seen:
            seen.add((canonicalize_name(wanted.name), chosen))
            distribution = metadata.distribution(wanted.name)
            yield distribution
            for further in distribution.requires or ():
                yield from _needed(further, seen, chosen)
