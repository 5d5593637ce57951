"""Names of ALBERT and ELECTRA in ``transformers``, as BERT's and back: their layers are BERT's, under other names and with other widths.

What all conversions go through (:mod:`nlphub.checkpoints.pivot`) has BERT's names without prefix; ``embeddings.project`` is the matrix that
takes narrow embeddings to the width of the layers.
"""

import re
from collections.abc import Iterable, Sequence

_ALBERT_LAYER = r"encoder\.albert_layer_groups\.0\.albert_layers\.0\."
_IN: dict[str, Sequence[tuple[str, str]]] = {  # theirs without prefix, as a regular expression -> BERT's
    "albert": (
        (r"encoder\.embedding_hidden_mapping_in\.", "embeddings.project."),
        (_ALBERT_LAYER + r"attention\.(query|key|value)\.", r"encoder.layer.0.attention.self.\1."),
        (_ALBERT_LAYER + r"attention\.(dense|LayerNorm)\.", r"encoder.layer.0.attention.output.\1."),
        (_ALBERT_LAYER + r"ffn\.", "encoder.layer.0.intermediate.dense."),
        (_ALBERT_LAYER + r"ffn_output\.", "encoder.layer.0.output.dense."),
        (_ALBERT_LAYER + r"full_layer_layer_norm\.", "encoder.layer.0.output.LayerNorm."),
        (r"pooler\.(weight|bias)", r"pooler.dense.\1"),
        (r"predictions\.(dense|LayerNorm)\.", r"cls.predictions.transform.\1."),
        (r"predictions\.(bias|decoder\.)", r"cls.predictions.\1"),
        (r"sop_classifier\.classifier\.", "cls.seq_relationship."),
    ),
    "electra": (
        (r"embeddings_project\.", "embeddings.project."),
        (r"generator_predictions\.(dense|LayerNorm)\.", r"cls.predictions.transform.\1."),
        (r"generator_lm_head\.weight", "cls.predictions.decoder.weight"),
        (r"generator_lm_head\.bias", "cls.predictions.bias"),
        (r"classifier\.dense\.", "pooler.dense."),
        (r"classifier\.out_proj\.", "classifier."),
    ),
}
_OUT: dict[str, Sequence[tuple[str, str]]] = {  # BERT's -> theirs with prefix
    "albert": (
        (r"embeddings\.project\.", "albert.encoder.embedding_hidden_mapping_in."),
        (r"embeddings\.", "albert.embeddings."),
        (r"encoder\.layer\.0\.attention\.self\.", "albert.encoder.albert_layer_groups.0.albert_layers.0.attention."),
        (r"encoder\.layer\.0\.attention\.output\.", "albert.encoder.albert_layer_groups.0.albert_layers.0.attention."),
        (r"encoder\.layer\.0\.intermediate\.dense\.", "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn."),
        (r"encoder\.layer\.0\.output\.dense\.", "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output."),
        (r"encoder\.layer\.0\.output\.LayerNorm\.", "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm."),
        (r"pooler\.dense\.", "albert.pooler."),
        (r"cls\.predictions\.transform\.", "predictions."),
        (r"cls\.predictions\.", "predictions."),
    ),
    "electra": (
        (r"embeddings\.project\.", "electra.embeddings_project."),
        (r"embeddings\.", "electra.embeddings."),
        (r"encoder\.", "electra.encoder."),
        (r"pooler\.dense\.", "classifier.dense."),
        (r"cls\.predictions\.transform\.", "generator_predictions."),
        (r"cls\.predictions\.bias", "generator_lm_head.bias"),
    ),
}
RELATIVES = tuple(_IN)


def name_in(name: str, family: str) -> str:
    """BERT's name, without prefix, of what a model of ``family`` calls ``name``; a name that is none of theirs stays as it is."""
    bare = name.removeprefix(f"{family}.")
    return _first(bare, _IN.get(family, ()))


def name_out(name: str, family: str, *, task: str | None, prefixed: bool) -> str:
    """What a model of ``family`` calls BERT's ``name``.

    Args:
        task: of the classifier: ELECTRA's for whole texts has two layers.
        prefixed: whether the model has a head; a bare one writes its names without the family's.
    """
    if family == "electra" and task == "seq-cls" and name.startswith("classifier."):
        return name.replace("classifier.", "classifier.out_proj.")
    found = _first(name, _OUT[family])
    return found if prefixed else found.removeprefix(f"{family}.")


def _first(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, other in rules:
        found, count = re.subn(f"^{pattern}", other, name)
        if count:
            return found
    return name
