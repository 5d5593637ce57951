"""Where a conversion ends: a :class:`Checkpoint` as a folder of nlphub's, of ``transformers``, or of PaddleNLP.

Each function fills a folder that its caller publishes whole.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from nlphub import __version__
from nlphub.checkpoints import huggingface_tokenizer, native
from nlphub.checkpoints.huggingface_config import config_to_huggingface
from nlphub.checkpoints.native_source import POOL
from nlphub.checkpoints.paddle import name_for, write_pdparams
from nlphub.checkpoints.pivot import TIED, Checkpoint, ours
from nlphub.checkpoints.relatives import RELATIVES, name_out
from nlphub.errors import InputError, WeightsError
from nlphub.files import publish, publish_json
from nlphub.hub import zoo
from nlphub.nn.encoder import Encoder
from nlphub.nn.heads import Head
from nlphub.tasks import outputs_of
from nlphub.text.characters import CharacterTokenizer
from nlphub.text.wordpiece import WordPieceTokenizer

PDPARAMS = "model_state.pdparams"

_TASK_TYPE, _TOKEN_TYPE = "embeddings.task_type_embeddings.weight", "embeddings.token_type_embeddings.weight"
_ENCODER = ("embeddings.", "encoder.", "pooler.")


def write_native(folder: Path, found: Checkpoint, *, architecture: str) -> None:
    """A module's folder, which ``hub.Module(directory=...)`` opens.

    Args:
        architecture: the folder of ``modules/`` that builds it.

    Raises:
        WeightsError: there is no tokenizer, or the labels of a head for tokens are no tags of spans.
    """
    if found.tokenizer is None:
        raise WeightsError("a module needs its tokenizer: lay vocab.txt (and the tokenizer's other files) beside the weights")
    labels, tensors = _own_labels(found)
    named = ours(tensors, task=found.task)
    pool = {} if found.task == "seq-cls" else {name: named.pop(name) for name in POOL if name in named}
    parts = zoo.load(architecture)
    tasks = ([found.task] if found.task else []) + (["mlm"] if found.fills_masks else [])
    with torch.device("meta"):
        encoder = Encoder(found.config)
        names = {"mlm": ("",) * found.config.vocab}
        heads = {task: parts.heads[task].fitting(found.config, names.get(task, found.labels), dropout=0.0) for task in tasks}
    _load(encoder, heads, named)
    native.save_checkpoint(
        folder,
        encoder=encoder,
        head=heads.pop(found.task, None) if found.task else None,
        tokenizer=found.tokenizer,
        config={"architecture": architecture, **({"labels": list(labels)} if labels else {})},
        pretrained=list(heads.values()),
    )
    if pool:  # not a head, but what other libraries begin a classifier with
        native.save_weights(folder / native.WEIGHTS, named | pool)


def write_huggingface(folder: Path, found: Checkpoint, *, family: str) -> None:
    """A folder that ``transformers`` opens.

    Args:
        family: of the checkpoint; an ERNIE may become ``bert``, for which a task type is folded into the token types.
    """
    tensors = folded(found) if family == "bert" else found.tensors
    has_head = bool(found.task) or found.fills_masks  # without one, as save_pretrained of a bare model names them
    state = {_their_name(name, family, found.task, has_head): tensor.contiguous() for name, tensor in tensors.items()}
    publish_json(folder / native.CONFIG, _facts(found, family) | {"nlphub": __version__, "tie_word_embeddings": True})
    _write_tokenizer(folder, found)
    with publish(folder / native.WEIGHTS) as stream:
        stream.write(save(state, {"format": "pt"}))


def _their_name(name: str, family: str, task: str | None, has_head: bool) -> str:
    if family in RELATIVES:
        return name_out(name, family, task=task, prefixed=has_head)
    return f"{family}.{name}" if has_head and name.startswith(_ENCODER) else name


def write_paddle(folder: Path, found: Checkpoint, *, family: str) -> None:
    """A folder that PaddleNLP opens; ``family`` as of :func:`write_huggingface`."""
    tensors = dict(folded(found) if family == "bert" else found.tensors)
    if found.fills_masks:  # PaddleNLP 2.8 expects the tied ones too
        tensors |= {name: tensors[twin] for name, twin in TIED.items()}
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        theirs, turned = name_for(name)
        state[(f"{family}." if name.startswith(_ENCODER) else "") + theirs] = tensor.T if turned else tensor
    publish_json(folder / native.CONFIG, _facts(found, family) | {"nlphub": __version__})
    if found.tokenizer is not None:
        found.tokenizer.save(folder)
        lowercase = getattr(found.tokenizer, "lowercase", True)
        name = f"{family.capitalize()}Tokenizer"
        publish_json(folder / "tokenizer_config.json", {"do_lower_case": lowercase, "tokenizer_class": name})
    with publish(folder / PDPARAMS) as stream:
        write_pdparams(stream, state)


def folded(found: Checkpoint) -> dict[str, Tensor]:
    """The weights without task types: the one that is always used is added to each token type."""
    tensors = dict(found.tensors)
    if _TASK_TYPE in tensors:
        tensors[_TOKEN_TYPE] = tensors[_TOKEN_TYPE] + tensors.pop(_TASK_TYPE)[found.config.task_id]
    return tensors


def _facts(found: Checkpoint, family: str) -> dict[str, Any]:
    task = found.task or ("mlm" if found.fills_masks else None)
    return config_to_huggingface(found.config, labels=found.labels, task=task, model_type=family)


def _write_tokenizer(folder: Path, found: Checkpoint) -> None:
    """Ours, so that the way back is exact, and Hugging Face's form of it where there is one."""
    if found.tokenizer is None:
        return
    found.tokenizer.save(folder)
    if isinstance(found.tokenizer, CharacterTokenizer | WordPieceTokenizer):
        longest = min(found.tokenizer.max_length, found.config.positions)
        huggingface_tokenizer.save_tokenizer(folder, found.tokenizer, max_length=longest)
    else:
        found.notes.append("transformers has no form of this sub-word tokenizer: only nlphub's own files of it were written")


def _load(encoder: Encoder, heads: Mapping[str, Head], named: Mapping[str, Tensor]) -> None:
    for start, part in (("encoder.", encoder), *((f"heads.{task}.", head) for task, head in heads.items())):
        state = {name.removeprefix(start): tensor for name, tensor in named.items() if name.startswith(start)}
        part.load_state_dict(state, assign=True)


def _own_labels(found: Checkpoint) -> tuple[Sequence[str], dict[str, Tensor]]:
    """Labels as nlphub names them: the types of spans for a head on tokens, whose rows are put into the order of our tags."""
    if found.task != "token-cls":
        return found.labels, found.tensors
    types = tuple(dict.fromkeys(tag[2:] for tag in found.labels if tag[:2] in ("B-", "I-")))
    try:
        wanted = outputs_of("token-cls", types)
    except InputError:
        wanted = ()
    if sorted(wanted) != sorted(found.labels):
        raise WeightsError(f"the outputs {', '.join(found.labels[:8])} are not the tags O, B-x and I-x of spans, which token-cls has")
    order = [found.labels.index(tag) for tag in wanted]
    if order != sorted(order):
        found.notes.append(f"the rows of the classifier were put into the order {', '.join(wanted)}")
    rows = {name: found.tensors[name][order] for name in ("classifier.weight", "classifier.bias")}
    return types, {**found.tensors, **rows}
