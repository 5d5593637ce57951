"""A network over any number of texts: packed batches of bounded size, results in the caller's order.

Notation: ``b`` sequences, ``t`` tokens of all of them, ``d`` width, ``n`` outputs of a head.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nlphub.data.apart import texts_of
from nlphub.data.batching import Packed, pack, token_batches, token_rows
from nlphub.nn.encoder import Encoder, to_tensors
from nlphub.nn.heads import Head
from nlphub.nn.matching import BiEncoderHead
from nlphub.nn.prototype import content_means
from nlphub.text.encoding import Encoded, Ints

BATCH_TOKENS = 1024
"""Tokens of one inference batch on a CPU: enough for fast products, few enough for the caches (measured: twice as many take up to a tenth
more time on a busy machine and the same on a quiet one, 8192 a tenth more on both)."""
_ELSEWHERE = 8192  # the same on other devices, where few large calls count

Floats = NDArray[np.float32]


def head_logits(encoder: Encoder, head: Head, encoded: Encoded, wanted: NDArray[np.bool_] | None = None) -> Floats:
    """What a head says of a batch, without dropout.

    Args:
        wanted: ``(t,)`` the tokens that a head over all rows is asked about; default is all of them.

    Returns:
        ``(b, n)`` float32 of a head that answers for whole texts; ``(t, n)``, or one row for each wanted token, of a head on all rows.
    """
    if isinstance(head, BiEncoderHead):
        return compared(encoder, head, encoded)
    asked = np.ones(len(encoded.ids), np.bool_) if wanted is None else wanted
    place = np.cumsum(asked) - 1
    whole = head.rows == "cls" or head.per_text
    out = np.zeros((len(encoded) if whole else int(asked.sum()), head.labels), np.float32)
    for rows, packed in _batches(encoder, encoded):
        hidden = encoder(packed, rows=head.rows)
        if whole:
            out[rows] = _numpy(head(hidden, packed))
            continue
        tokens = token_rows(encoded, rows)
        chosen = np.flatnonzero(asked[tokens])
        if wanted is None:
            out[tokens] = _numpy(head(hidden, packed))
        elif len(chosen):
            out[place[tokens[chosen]]] = _numpy(head(hidden[torch.from_numpy(chosen).to(hidden.device)]))
    return out


def compared(encoder: Encoder, head: BiEncoderHead, encoded: Encoded) -> Floats:
    """``(b, n)`` float32 what a bi-encoder says of pairs from :func:`nlphub.data.apart.encode_apart`; each text is read once."""
    stamp = tuple((weight.data_ptr(), weight._version) for weight in encoder.parameters())  # any change of the weights makes another
    vectors = head.vectors.of(texts_of(encoded), lambda texts: sentence_vectors(encoder, texts, pooling="mean"), stamp=stamp)
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        first, second = (torch.from_numpy(vectors[side::2]).to(device) for side in (0, 1))
        return _numpy(head.compare(first, second))


def sentence_vectors(encoder: Encoder, encoded: Encoded, *, pooling: str) -> Floats:
    """``(b, d)`` float32; ``(b, 2d)`` of ``"first-last"``.

    Args:
        pooling: ``"mean"`` of all tokens' hidden rows, ``"content"``: the mean without [CLS] and the last [SEP], ``"first-last"``: the mean
            of what goes into the first layer beside the mean of what leaves the last one, or the ``"cls"`` row.
    """
    out = np.zeros((len(encoded), encoder.config.width * (2 if pooling == "first-last" else 1)), np.float32)
    for rows, packed in _batches(encoder, encoded):
        out[rows] = _numpy(_pooled(encoder, packed, pooling))
    return out


def _pooled(encoder: Encoder, packed: Packed[Tensor], pooling: str) -> Tensor:
    hidden: Tensor = encoder(packed, rows="cls" if pooling == "cls" else "all")
    if pooling == "cls":
        return hidden
    if pooling == "content":
        return content_means(hidden, packed)[0]
    lengths = packed.lengths.to(hidden.device)
    layers = [encoder.embeddings(packed), hidden] if pooling == "first-last" else [hidden]
    return torch.cat([torch.segment_reduce(layer, "mean", lengths=lengths) for layer in layers], dim=1)


def _batches(encoder: Encoder, encoded: Encoded) -> Iterator[tuple[Ints, Packed[Tensor]]]:
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        for rows in token_batches(encoded.lengths, max_tokens=BATCH_TOKENS if device.type == "cpu" else _ELSEWHERE):
            yield rows, to_tensors(pack(encoded, rows), device)


def _numpy(values: Tensor) -> Floats:
    return np.asarray(values.float().cpu().numpy())
