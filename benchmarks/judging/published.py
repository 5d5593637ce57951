"""Published figures of other networks on the same sets: a reference beside our own, never a bar.

They differ from ours in rows (marked), in the number of tokens trained, and often in the split that is judged. Sources:

``clue``   PaddleNLP examples/benchmark/clue README: dev of CLUE, grid search, rates of at most 5e-5, up to 128 tokens
``uer``    Hugging Face card uer/chinese_roberta_L-8_H-128: dev, rates up to 3e-4, 3 to 8 epochs
``wwm``    README of ymcui/Chinese-BERT-wwm: test, best of several runs
``lcner``  BERT-NER-Pytorch: dev of CLUENER, softmax
``thuc``   README of 649453932/Chinese-Text-Classification-Pytorch: test, trained on 180,000 titles
``ernie``  README of PaddlePaddle/ERNIE r2.0: test of MSRA
"""

from dataclasses import dataclass

MODELS = ("UER Mini", "UER Small", "ERNIE 3.0 Nano", "ERNIE 3.0 Mini", "BERT-base")
SOURCES = {
    "clue": "PaddleNLP examples/benchmark/clue README (dev)",
    "uer": "card of uer/chinese_roberta_L-8_H-128 (dev)",
    "wwm": "Chinese-BERT-wwm README (test)",
    "lcner": "BERT-NER-Pytorch README (dev, softmax)",
    "thuc": "Chinese-Text-Classification-Pytorch README (test, 180,000 titles)",
    "ernie": "ERNIE r2.0 README (test)",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure.

    Attributes:
        percent: accuracy, or F1 of spans, in percent.
        source: a key of ``SOURCES``.
        split: which split was judged there.
    """

    percent: float
    source: str
    split: str


def _row(source: str, split: str, *percent: float | None) -> dict[str, Figure]:
    return {name: Figure(value, source, split) for name, value in zip(MODELS, percent, strict=True) if value is not None}


FIGURES: dict[str, dict[str, Figure]] = {
    "tnews": _row("clue", "dev", 54.22, 55.41, 54.57, 55.24, 57.13),
    "iflytek": _row("clue", "dev", 41.63, 57.55, 48.36, 54.48, 61.29),
    "lcqmc": _row("uer", "dev", 86.1, 86.5, None, None, None) | _row("wwm", "test", None, None, None, None, 86.9),
    "afqmc": _row("clue", "dev", 69.32, 69.21, 70.51, 71.85, 74.63),
    "bq": _row("wwm", "test", None, None, None, None, 84.8),
    "ocnli": _row("clue", "dev", 67.36, 69.80, 70.61, 73.08, 75.22),
    "chnsenticorp": _row("uer", "dev", 93.7, 93.4, None, None, None) | _row("wwm", "test", None, None, None, None, 95.0),
    "thucnews": _row("thuc", "test", None, None, None, None, 94.83),
    "cluener": _row("lcner", "dev", None, None, None, None, 79.63),
    "msra": _row("ernie", "test", None, None, None, None, 92.6),
}
