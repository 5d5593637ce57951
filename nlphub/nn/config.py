"""The numbers of an encoder, checked: what a module's transformer.py states and a checkpoint's config.json carries."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nlphub.errors import InputError, brief
from nlphub.kernels import ACTIVATIONS

# Bounds for numbers that came with a download; the hash of dropout has 16 bits for positions.
_MOST = {"vocab": 1 << 22, "layers": 256, "width": 1 << 14, "heads": 1 << 10, "inner": 1 << 16, "positions": 1 << 16, "types": 1 << 10}


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Shape of an ERNIE or BERT encoder: post-norm layers, learned positions.

    Attributes:
        vocab: entries of the vocabulary.
        layers: transformer layers.
        width: d, of every hidden row.
        heads: of attention, in each layer.
        inner: width of the feed-forward layer.
        positions: the longest sequence, with [CLS] and [SEP].
        types: token types.
        task_types: ERNIE's task types; 0 = no such embedding.
        task_id: the task type that is always used, below ``task_types``.
        activation: ``gelu`` (erf form) or ``relu``.
        dropout: probability at the embeddings and at the end of attention and feed-forward, in training.
        attention_dropout: probability for attention weights, in training.
        eps: of every LayerNorm.
        head_width: of each head; 0 = ``width / heads``. Another number is that of a network whose heads were pruned.
        embedding: width of the embeddings, which a matrix then takes to ``width`` (ALBERT, ELECTRA); 0 = ``width``, and no such matrix.
        shared: whether all layers have the weights of one (ALBERT, Lan et al., 2020).

    Raises:
        InputError: numbers that make no encoder; all mistakes at once.
    """

    vocab: int
    layers: int
    width: int
    heads: int
    inner: int
    positions: int = 512
    types: int = 2
    task_types: int = 0
    task_id: int = 0
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    eps: float = 1e-5
    head_width: int = 0
    embedding: int = 0
    shared: bool = False

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise InputError("These numbers make no encoder:", problems)

    @property
    def head_size(self) -> int:
        """k, the width of a head."""
        return self.head_width or self.width // self.heads

    @property
    def mixed(self) -> int:
        """Width of what all heads together give: ``width``, and less where heads were pruned."""
        return self.heads * self.head_size

    @property
    def embedded(self) -> int:
        """Width of the embeddings."""
        return self.embedding or self.width

    def whole(self) -> "EncoderConfig":
        """The numbers of the same network before its heads were pruned, as other libraries need them: k heads fill the width again.

        Raises:
            InputError: heads of this width cannot.
        """
        if self.width % self.head_size:
            raise InputError(f"heads of {self.head_size} do not fill width={self.width}: other libraries have no network of this shape")
        return replace(self, heads=self.width // self.head_size, head_width=0)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in config.json; what few networks have only where it says something."""
        return {name: value for name, value in asdict(self).items() if name not in _SELDOM or value}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> "EncoderConfig":
        """The config that :meth:`to_dict` gave.

        Raises:
            InputError: a key is missing or unknown, or a number is wrong.
        """
        known = {field.name for field in fields(cls)}
        unknown = [f"{name!r} is unknown; known are {', '.join(sorted(known))}" for name in numbers if name not in known]
        missing = [f"{name!r} is missing" for name in ("vocab", "layers", "width", "heads", "inner") if name not in numbers]
        if unknown or missing:
            raise InputError("This is no encoder config:", [*unknown, *missing])
        return cls(**numbers)


_SELDOM = ("head_width", "embedding", "shared")


def _problems(config: EncoderConfig) -> Iterator[str]:
    wrong = [name for name, most in _MOST.items() if not _is_int(getattr(config, name)) or not 1 <= getattr(config, name) <= most]
    yield from (f"{name}={brief(getattr(config, name))} must be a whole number from 1 to {_MOST[name]}" for name in wrong)
    if not _is_int(config.head_width) or not 0 <= config.head_width <= _MOST["width"]:
        yield f"head_width={brief(config.head_width)} must be a whole number up to {_MOST['width']}, 0 for width / heads"
    elif not wrong and not config.head_width and config.width % config.heads:
        yield f"width={config.width} must be a multiple of heads={config.heads}"
    if not _is_int(config.embedding) or not 0 <= config.embedding <= _MOST["width"]:
        yield f"embedding={brief(config.embedding)} must be a whole number up to {_MOST['width']}, 0 for width"
    if type(config.shared) is not bool:
        yield f"shared={brief(config.shared)} must be true or false"
    if not _is_int(config.task_types) or not 0 <= config.task_types <= _MOST["types"]:
        yield f"task_types={brief(config.task_types)} must be a whole number up to {_MOST['types']}, 0 for none"
    elif not _is_int(config.task_id) or not 0 <= config.task_id < max(1, config.task_types):
        yield f"task_id={brief(config.task_id)} must be at least 0 and below task_types={config.task_types}"
    if not isinstance(config.activation, str) or config.activation not in ACTIVATIONS:
        yield f"activation={brief(config.activation)} must be one of {', '.join(sorted(ACTIVATIONS))}"
    for name in ("dropout", "attention_dropout"):
        if not _is_number(getattr(config, name)) or not 0 <= getattr(config, name) < 1:
            yield f"{name}={brief(getattr(config, name))} must be at least 0 and below 1"
    if not _is_number(config.eps) or not 0 < config.eps < 1:
        yield f"eps={brief(config.eps)} must be above 0 and below 1"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
