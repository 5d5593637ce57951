"""Convert what `tools/paddle_reference.py` made, and compare hidden rows, logits and ids with paddlenlp's own.

python tools/paddle_compare.py OUT
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nlphub.checkpoints.convert import convert  # noqa: E402 - from this repository, installed or not
from nlphub.module import Module  # noqa: E402
from nlphub.nn.dense import dense_encode  # noqa: E402
from nlphub.text.wordpiece import WordPieceTokenizer  # noqa: E402

TOLERANCE = 1e-4


def main(reference: Path) -> int:
    worst = 0.0
    with tempfile.TemporaryDirectory() as place:
        for folder in sorted(path for path in reference.iterdir() if path.is_dir()):
            report = convert(folder, to="native", out=Path(place) / folder.name)
            difference = compare(Path(place) / folder.name, dict(np.load(folder / "reference.npz")), folder.name)
            worst = max(worst, difference)
            print(f"{folder.name:32} {len(report.fates)} keys, largest difference {difference:.2e}")
    vocabulary = (reference / "ErnieModel" / "vocab.txt").read_text("utf-8").split("\n")[:-1]
    tokens = json.loads((reference / "tokens.json").read_text("utf-8"))
    found = WordPieceTokenizer(vocabulary, symbols=True).encode([text for text, _ in tokens]).lists()
    same = found == [ids for _, ids in tokens]
    print(f"ids of {len(tokens)} texts {'equal' if same else 'differ'}")
    return int(worst > TOLERANCE or not same)


def compare(folder: Path, reference: dict[str, Any], kind: str) -> float:
    task = {"ErnieForMaskedLM": "mlm"}.get(kind)
    module = Module(directory=folder, task=task)
    ids, types = torch.from_numpy(reference["ids"]), torch.from_numpy(reference["types"])
    rows = module.head.rows if module.head is not None else "all"
    with torch.inference_mode():
        found = dense_encode(module.encoder, ids, torch.ones_like(ids), types, rows=rows)
        found = module.head(found) if module.head is not None else found
    return float(np.abs(found.numpy() - reference["output"]).max())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
