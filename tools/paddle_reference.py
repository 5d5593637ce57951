"""A small random ERNIE and BERT by real paddlepaddle + paddlenlp, with its own hidden rows: what `nlphub convert` is held against.

These packages do not install beside nlphub's; give them an environment of their own, and run this file with its Python:

    python3 -m venv paddle
    paddle/bin/pip install paddlepaddle==3.3.0 paddlenlp==2.8.1
    paddle/bin/pip install huggingface_hub==0.23.5 "datasets<3" "aistudio-sdk==0.2.6" "setuptools<70" "numpy>=2,<2.3"
    paddle/bin/python tools/paddle_reference.py OUT
    python tools/paddle_compare.py OUT
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddlenlp import transformers

SMALL = {
    "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 64, "type_vocab_size": 4, "initializer_range": 0.3,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "ErnieModel": {"use_task_id": True, "task_type_vocab_size": 3},
    "ErnieForMaskedLM": {"use_task_id": False, "hidden_act": "relu"},
    "ErnieForSequenceClassification": {"use_task_id": True, "task_type_vocab_size": 16, "num_labels": 4},
    "BertModel": {},
}
VOCABULARY = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *(chr(0x4E00 + number) for number in range(55))]
TEXTS = ["一丁七万丈三上下", "①一☆丁〇", "丁 丁\t七", "", "½一²丁"]


def main(out: Path) -> None:
    for kind, changes in KINDS.items():
        paddle.seed(3)
        config = getattr(transformers, kind.removesuffix("Model").partition("For")[0] + "Config")(**SMALL, **changes)
        model = getattr(transformers, kind)(config)
        model.eval()
        for parameter in model.parameters():
            if len(parameter.shape) == 1:
                parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
        folder = out / kind
        model.save_pretrained(str(folder))
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
        np.savez(folder / "reference.npz", **outputs(model))
        print(kind, sorted(path.name for path in folder.iterdir()))
    tokenizer = transformers.ErnieTokenizer(str(out / "ErnieModel" / "vocab.txt"))
    (out / "tokens.json").write_text(json.dumps([[text, tokenizer(text)["input_ids"]] for text in TEXTS]), "utf-8")


def outputs(model: Any) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(0)
    ids, types = generator.integers(5, 60, (3, 9)), generator.integers(0, 2, (3, 9))
    with paddle.no_grad():
        found = model(paddle.to_tensor(ids), token_type_ids=paddle.to_tensor(types))
    first = found[0] if isinstance(found, (tuple, list)) else found
    return {"ids": ids, "types": types, "output": first.numpy()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
