"""PaddleNLP from strings to labels, run by the Python of its own environment: ``python paddle_peer.py ARTEFACT TEXTS.json ROUNDS``.

Its threads are those of ``OMP_NUM_THREADS``. It imports nothing of nlphub, whose packages that environment does not have. The network has
the artefact's shape and random weights: its labels mean nothing, its time does. Prints the rates of all rounds, texts a second of
processor time, and the versions.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROWS = 32


def main(folder: str, given: str, rounds: str) -> None:
    import paddle
    from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification, ErnieTokenizer

    paddle.set_device("cpu")
    facts = json.loads((Path(folder) / "config.json").read_text("utf-8"))
    shape = {key: facts[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
    model = ErnieForSequenceClassification(ErnieConfig(**shape, max_position_embeddings=512, num_classes=len(facts["id2label"])))
    model.eval()
    tokenizer = ErnieTokenizer(str(Path(folder) / "vocab.txt"))
    texts = json.loads(Path(given).read_text("utf-8"))

    def answer(ordered: list[str]) -> None:
        with paddle.no_grad():
            for first in range(0, len(ordered), ROWS):
                batch = tokenizer(ordered[first : first + ROWS], padding=True, truncation=True, max_length=512, return_tensors="pd")
                model(batch["input_ids"], batch["token_type_ids"]).argmax(-1).numpy()

    answer(texts[:ROWS])
    rates = []
    for _ in range(int(rounds)):
        started = time.process_time()
        answer(sorted(texts, key=len))
        rates.append(len(texts) / (time.process_time() - started))
    print(json.dumps({"rates": rates, "paddlepaddle": version("paddlepaddle"), "paddlenlp": version("paddlenlp")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
