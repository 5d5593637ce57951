"""PaddlePaddle's ``.pdparams``: read without unpickling, written, and its names of ERNIE and BERT as Hugging Face's, both ways.

Two generations of names are known: those of PaddleNLP (``encoder.layers.0.self_attn.q_proj.weight``) and of static graphs
(``encoder_layer_0_multi_head_att_query_fc.w_0``; PaddleNLP, ``match_static_to_dygraph.py``). Paddle keeps the matrix of a linear layer as
``(in, out)``, torch as ``(out, in)``: such matrices are transposed; embeddings and the decoder that is tied to them are not.

What these files hold was looked up in PaddleNLP 2.5 and compared with files of paddlepaddle 3.3 + paddlenlp 2.8.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from nlphub.checkpoints.arrays import Array, arrays_in, read_pickle, write_pickle
from nlphub.errors import WeightsError, brief

_TABLE, _PARTS = "StructuredToParameterName@@", "UnpackBigParamInfor@@"  # Paddle's own entries
_MOST_ARRAYS = 4096
_PREFIX = re.compile(r"^(model\.)?((ernie|bert)\.)?")
_LAYER = re.compile(r"(?<=layers\.)\d+|(?<=encoder_layer_)\d+|(?<=encoder\.layer\.)\d+")
_FLOATS = {"f2", "f4", "f8"}
_BF16 = "u2"  # numpy has no such type, so Paddle writes its bits

_LINEAR = (  # layers: PaddleNLP, static graph, Hugging Face
    ("encoder.layers.{}.self_attn.q_proj", "encoder_layer_{}_multi_head_att_query_fc", "encoder.layer.{}.attention.self.query"),
    ("encoder.layers.{}.self_attn.k_proj", "encoder_layer_{}_multi_head_att_key_fc", "encoder.layer.{}.attention.self.key"),
    ("encoder.layers.{}.self_attn.v_proj", "encoder_layer_{}_multi_head_att_value_fc", "encoder.layer.{}.attention.self.value"),
    ("encoder.layers.{}.self_attn.out_proj", "encoder_layer_{}_multi_head_att_output_fc", "encoder.layer.{}.attention.output.dense"),
    ("encoder.layers.{}.linear1", "encoder_layer_{}_ffn_fc_0", "encoder.layer.{}.intermediate.dense"),
    ("encoder.layers.{}.linear2", "encoder_layer_{}_ffn_fc_1", "encoder.layer.{}.output.dense"),
    ("pooler.dense", "pooled_fc", "pooler.dense"),
    ("cls.predictions.transform", "mask_lm_trans_fc", "cls.predictions.transform.dense"),
    ("classifier", "", "classifier"),
    ("cls.seq_relationship", "", "cls.seq_relationship"),
)
_NORMS = (
    ("embeddings.layer_norm", "pre_encoder_layer_norm", "embeddings.LayerNorm"),
    ("encoder.layers.{}.norm1", "encoder_layer_{}_post_att_layer_norm", "encoder.layer.{}.attention.output.LayerNorm"),
    ("encoder.layers.{}.norm2", "encoder_layer_{}_post_ffn_layer_norm", "encoder.layer.{}.output.LayerNorm"),
    ("cls.predictions.layer_norm", "mask_lm_trans_layer_norm", "cls.predictions.transform.LayerNorm"),
)
_PLAIN = (
    ("embeddings.word_embeddings.weight", "word_embedding", "embeddings.word_embeddings.weight"),
    ("embeddings.position_embeddings.weight", "pos_embedding", "embeddings.position_embeddings.weight"),
    ("embeddings.token_type_embeddings.weight", "sent_embedding", "embeddings.token_type_embeddings.weight"),
    ("embeddings.task_type_embeddings.weight", "task_embedding", "embeddings.task_type_embeddings.weight"),
    ("cls.predictions.decoder_bias", "mask_lm_out_fc.b_0", "cls.predictions.bias"),
    ("cls.predictions.decoder_weight", "", "cls.predictions.decoder.weight"),
    ("cls.predictions.decoder.weight", "", "cls.predictions.decoder.weight"),
    ("cls.predictions.decoder.bias", "", "cls.predictions.decoder.bias"),
)


def _rules(generation: int) -> dict[str, tuple[str, bool]]:
    """Their name with {} for a layer -> Hugging Face's, and whether the matrix is transposed; of one generation of names."""
    weight, bias = ((".weight", ".bias"), (".w_0", ".b_0"))[generation]
    scale, shift = ((".weight", ".bias"), ("_scale", "_bias"))[generation]
    rules = {row[generation]: (row[2], False) for row in _PLAIN if row[generation]}
    for row in (row for row in _LINEAR if row[generation]):
        rules |= {row[generation] + weight: (f"{row[2]}.weight", True), row[generation] + bias: (f"{row[2]}.bias", False)}
    for row in _NORMS:
        rules |= {row[generation] + scale: (f"{row[2]}.weight", False), row[generation] + shift: (f"{row[2]}.bias", False)}
    return rules


_RULES = _rules(1) | _rules(0)
_BACK = {name: (theirs, turned) for theirs, (name, turned) in _rules(0).items()}


def name_of(theirs: str) -> tuple[str, bool] | None:
    """Hugging Face's name of a tensor and whether it is transposed; ``None`` where the name is no ERNIE's or BERT's."""
    bare = _PREFIX.sub("", theirs)
    layer = _LAYER.search(bare)
    rule = _RULES.get(_LAYER.sub("{}", bare, count=1))
    return (rule[0].format(layer[0] if layer else ""), rule[1]) if rule else None


def name_for(name: str) -> tuple[str, bool]:
    """PaddleNLP's name, without prefix, of a tensor that Hugging Face calls ``name``, and whether it is transposed."""
    layer = _LAYER.search(name)
    theirs, turned = _BACK[_LAYER.sub("{}", name, count=1)]
    return theirs.format(layer[0] if layer else ""), turned


def is_static(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of a static graph."""
    return "word_embedding" in names


def read_pdparams(path: Path) -> dict[str, Array]:
    """The arrays of a ``.pdparams`` file under their own names, as they are stored (bfloat16 as uint16).

    Raises:
        WeightsError: it is damaged, is no table of arrays, or its pickle wants more than that; the opcode is named.
    """
    table = read_pickle(path)
    if not isinstance(table, dict) or not 0 < len(table) <= _MOST_ARRAYS or not all(isinstance(name, str) for name in table):
        raise WeightsError(f"{path} is no state dict of Paddle: it has to hold a table of at most {_MOST_ARRAYS} arrays by name")
    table.pop(_TABLE, None)
    parts = table.pop(_PARTS, {})
    try:
        arrays = {name: _array_of(name, value) for name, value in table.items()}
        arrays |= {name: _whole(name, facts, arrays) for name, facts in dict(parts).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise WeightsError(f"{path} is no state dict of Paddle: {wrong}") from wrong
    return arrays


def write_pdparams(stream: IO[bytes], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors under Paddle's own names as ``paddle.save`` does; float32, equal tensors give equal bytes."""
    write_pickle(stream, {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()})


def to_tensor(array: Array, *, turned: bool = False) -> Tensor:
    """An array as float32 in memory of its own.

    Raises:
        ValueError: it holds no floating-point numbers.
    """
    kind = array.dtype.str[1:]
    if kind == _BF16:
        wide = (array.astype(np.uint32) << 16).view(np.float32)
    elif kind in _FLOATS:
        wide = array.astype(np.float32)
    else:
        raise ValueError(f"it holds {array.dtype}, not floating-point numbers")
    return torch.from_numpy(np.array(wide.T if turned else wide, order="C", copy=True))


def _array_of(name: str, value: Any) -> Array:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # (the parameter's own name, its array), of later versions
    found = arrays_in(value)
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{brief(name)} is {brief(type(value).__name__)}, not an array")
    return found


def _whole(name: str, facts: Any, arrays: dict[str, Array]) -> Array:
    """An array that protocols 2 and 3 keep in slices, which are taken out of ``arrays``."""
    shape = tuple(facts["OriginShape"])
    joined = np.concatenate([arrays.pop(part).ravel() for part in _texts(facts["slices"])])
    if math.prod(shape) != joined.size:
        raise ValueError(f"the slices of {brief(name)} do not make {brief(shape)}")
    return joined.reshape(shape)


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"a slice is called {brief(value)}")
        yield value
