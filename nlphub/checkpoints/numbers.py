"""The numbers of official ERNIE checkpoints, by name: a ``.pdparams`` file alone does not tell its heads, activation and positions.

They lie in modules/ernie/numbers.json (PaddleNLP, ``ernie/configuration.py``), with the address that each file had. A config.json that lies
beside weights and contradicts them is an error.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlphub import paths
from nlphub.checkpoints import native
from nlphub.errors import InputError, UnknownNameError, WeightsError, brief, did_you_mean
from nlphub.hub.names import normal

THEIRS = {
    "vocab": "vocab_size", "layers": "num_hidden_layers", "width": "hidden_size", "heads": "num_attention_heads",
    "inner": "intermediate_size", "positions": "max_position_embeddings", "types": "type_vocab_size", "activation": "hidden_act",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Official:
    """An official checkpoint.

    Attributes:
        name: what it is called here, e.g. ``ernie_3_0_nano``.
        numbers: under the names of :class:`~nlphub.nn.config.EncoderConfig`; ``task_types`` 0 means no such embedding.
        source: where Baidu kept the file; these addresses are dead or unreliable since 2025.
    """

    name: str
    numbers: Mapping[str, int | str]
    source: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """As Hugging Face's and Paddle's config.json name them; task types are decided by the weights."""
        return {THEIRS[name]: value for name, value in self.numbers.items() if name in THEIRS}


def official(name: str) -> Official:
    """A checkpoint by its name or alias: ``ernie_3_0_nano``, ``ernie-3.0-nano-zh``, ``nghuyong/ernie-3.0-nano-zh``.

    Raises:
        UnknownNameError: there is none of this name.
    """
    table = _table()
    names = {normal(known): own for own, entry in table.items() for known in (own, *entry["aliases"])}
    if normal(name) not in names:
        raise UnknownNameError(
            f"The numbers of {brief(name)} are not known.{did_you_mean(normal(name), names)} Known are {', '.join(sorted(table))}; "
            "else give a config.json."
        )
    own = names[normal(name)]
    return Official(own, table[own]["numbers"], table[own]["source"])


def known_numbers(name: str) -> Official | None:
    """The numbers of a module, ``None`` where only its own config knows them."""
    return official(name) if name in _table() else None


def numbers_of(given: str | Path | None) -> dict[str, Any] | None:
    """What ``--numbers`` means: a name, or the path of a config.json."""
    if given is None:
        return None
    return native.read_json(Path(given)) if Path(given).suffix == ".json" else official(str(given)).facts


def check_agreement(path: Path, config: Mapping[str, Any], given: Mapping[str, Any] | None, *, of: str = "--numbers") -> None:
    """Compare the config beside the weights with the numbers that the caller named, or that are known ``of`` a module.

    Raises:
        InputError: they contradict one another.
    """
    both = [(name, config[name], value) for name, value in (given or {}).items() if name in config]
    wrong = [f"{name} is {brief(there)} there, and {value!r} by {of}" for name, there, value in both if there != value]
    if wrong:
        raise InputError(f"{path} contradicts the numbers that were asked for:", wrong)


def _table() -> dict[str, Any]:
    path = paths.bundle() / "modules" / "ernie" / "numbers.json"
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as damaged:
        raise WeightsError(f"{path} cannot be read ({damaged}): reinstall nlphub") from damaged
    return table
