"""First weights that know what counting can tell, for trainings that are too short to waste a start.

Word embeddings come from co-occurrences (:mod:`.embeddings`), position embeddings are sinusoids (Vaswani et al., 2017) in dimensions of
their own, and the heads of the first layers look at one neighbour each: a sinusoid is shifted by a rotation, which is a matrix. The idea
of starting attention as a convolution is that of Zheng et al. (2024, arXiv:2401.12511) and of mimetic initialisation (Trockman and Kolter,
2023, arXiv:2305.09828). Every weight is trained on. On two cores (4 layers x 256, 0.65 million tokens) a quarter fewer tokens reached
the loss of a random start; what remains of that after billions of tokens was not measured.

Notation: ``d`` width, ``k`` width of a head.
"""

import math

import torch
from torch import Tensor

from nlphub.data.shards import Corpus
from nlphub.errors import InputError
from nlphub.nn.encoder import Block, Encoder
from nlphub.training.pretraining.embeddings import context_vectors

_OFFSETS = (-1, 1, -2, 2, -3, 3)  # neighbours that the heads of a layer look at, head by head
_LAYERS = 2  # that start so
_BASE = 200.0  # the longest wave of the positions is this many times the shortest
_SHARPNESS = 1.0  # of the look: the next neighbour gets about a tenth of the weight
_DAMPING = 0.3  # of what the layers add to their input at first; DeepNet (Wang et al., 2022, arXiv:2203.00555) has (8 layers) ** -0.25
_COUNTED = 60_000_000  # tokens whose co-occurrences are counted


@torch.no_grad()
def start_from_counts(encoder: Encoder, corpus: Corpus, *, seed: int) -> None:
    """Set embeddings, the first layers' queries and keys, and the size of all layers' outputs, of a freshly initialised encoder.

    Args:
        encoder: all other weights are left as they are.
        corpus: of shards.
        seed: of the factorisation.

    Raises:
        InputError: its embeddings are narrower than its layers, or its layers share their weights: what is set here is for others.
    """
    if encoder.config.embedding or encoder.config.shared:
        raise InputError("starting from counts is for encoders of one width whose layers have weights of their own; start at random")
    config, own = encoder.config, encoder.config.head_size
    vectors = context_vectors(corpus, vocab=config.vocab, width=config.width - own, tokens=_COUNTED, seed=seed)
    waves = _waves(config.positions, own)
    word, position = encoder.embeddings.word.weight, encoder.embeddings.position.weight
    word.zero_()
    word[:, : config.width - own] = vectors
    position.zero_()
    position[:, config.width - own :] = waves * (vectors.norm(dim=1).mean() / waves.norm(dim=1).mean())
    encoder.embeddings.token_type.weight[:, config.width - own :] = 0.0
    for number, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        block.out.weight *= _DAMPING
        block.down.weight *= _DAMPING
        if number < _LAYERS:
            _look_at_neighbours(block, own)


def _waves(positions: int, width: int) -> Tensor:
    """``(positions, k)``: sines, then cosines, of ``k / 2`` frequencies."""
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * _frequencies(width)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def _frequencies(width: int) -> Tensor:
    return _BASE ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))


def _look_at_neighbours(block: Block, own: int) -> None:
    """Queries and keys that read positions alone; the query of head ``i`` is the position of neighbour ``i``."""
    width, mixed = block.config.width, block.config.mixed
    amplitude = math.sqrt(width) / math.sqrt(2) / math.sqrt(own / 2)  # of a wave after the embeddings' norm: half of the length is theirs
    scale = math.sqrt(_SHARPNESS * math.sqrt(own)) / amplitude
    weight = block.qkv.weight
    weight[: 2 * mixed] = 0.0
    for head in range(block.config.heads):
        rows = slice(head * own, (head + 1) * own)
        weight[:mixed][rows, width - own :] = scale * _shift(_OFFSETS[head % len(_OFFSETS)], own)
        weight[mixed : 2 * mixed][rows, width - own :] = scale * torch.eye(own)


def _shift(offset: int, width: int) -> Tensor:
    """``(k, k)``: takes the waves of a position to those of ``position + offset``."""
    angle = offset * _frequencies(width)
    cosine, sine = torch.diag(angle.cos()), torch.diag(angle.sin())
    return torch.cat([torch.cat([cosine, sine], dim=1), torch.cat([-sine, cosine], dim=1)]).float()
