"""What the shipped weights bring on the demo data, with 8, 20 and all examples of each intent: macro-F1 on the test set.

    python benchmarks/few_examples.py              # a table; trains what is not kept in benchmarks/results/few_examples.json yet
    python benchmarks/few_examples.py --line       # one line from what is kept; trains nothing, needs the base install only
    python benchmarks/few_examples.py --module runs/pretrain/module --json

Columns: the shipped weights trained as the recipe `intent` says, but to fixed epochs and in bfloat16; the same from random weights; the
shipped weights fine-tuned; TF-IDF (character 1 to 3 grams) + logistic regression.
All learn from the same rows; nothing is chosen on a dev or test set. Means over draws. Needs scikit-learn (extra "dev") to train.
"""

import argparse
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.files import publish_json
from nlphub.hub.registry import find_module
from nlphub.recipe import Recipe, load_recipe

KEPT = Path(__file__).parent / "results" / "few_examples.json"
COUNTS = (8, 20, 0)  # 0: all
DRAWS = {8: 5, 20: 3, 0: 1}
COLUMNS = {"ours": "ours", "random": "random", "tfidf": "TF-IDF+LR", "finetune": "finetune"}
METHODS = ("finetune",)  # columns that are the recipe with another train.method


def draw(examples: Examples, count: int, seed: int) -> Examples:
    """``count`` rows of each label, drawn by seed; all rows for 0."""
    if not count:
        return examples
    order = np.random.default_rng(seed).permutation(len(examples))
    seen: dict[str, int] = {}
    kept = []
    for row in order.tolist():
        label = str(examples[row].label)
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= count:
            kept.append(row)
    return Examples([examples[row] for row in sorted(kept)], source=examples.source)


def score(column: str, train: Examples, test: Examples, *, recipe: Recipe, seed: int, directory: Path | None) -> float:
    """Macro-F1 on ``test`` after learning from ``train``."""
    from nlphub.evaluation.metrics import classification_report

    if column == "tfidf":
        return classification_report(test.labels, linear(train, test), train.label_names).macro_f1
    import nlphub as hub
    from nlphub.nn.initialise import initialise

    module = hub.Module(**_named(directory), task="seq-cls", labels=train.label_names, seed=seed)
    if column == "random":
        initialise(module.encoder, seed=1000 + seed)
    method = column if column in METHODS else recipe.train.method
    settings = recipe.train.model_copy(update={"seed": seed, "precision": "bf16", "method": method})
    trainer = hub.Trainer(module, settings=settings, progress=False)
    trainer.train(train)
    return trainer.evaluate(test).score("macro_f1")


def linear(train: Examples, test: Examples) -> list[str]:
    """What logistic regression on TF-IDF features predicts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer, model = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    model.fit(vectorizer.fit_transform(train.texts), train.labels)
    return [str(label) for label in model.predict(vectorizer.transform(test.texts))]


def line(kept: Mapping[str, Any]) -> str:
    """One sentence of figures."""
    parts = []
    for count in COUNTS:
        found = {column: kept["scores"].get(f"{column}/{count}") for column in ("ours", "random", "tfidf")}
        if all(found.values()):
            ours, random, tfidf = (float(np.mean(values)) for values in found.values())
            parts.append(f"{count or 'all'} examples per intent: {ours:.2f} (random weights {random:.2f}, TF-IDF + LR {tfidf:.2f})")
    return f"macro-F1 on the demo data with ernie_tiny {kept['version']}, by " + "; ".join(parts)


def table(kept: Mapping[str, Any]) -> str:
    """Counts down, columns across."""
    rows = [f"{'examples per intent':20}" + "".join(f"{title:>14}" for title in COLUMNS.values())]
    for count in COUNTS:
        cells = [kept["scores"].get(f"{column}/{count}") for column in COLUMNS]
        rows.append(f"{count or 'all'!s:20}" + "".join(f"{np.mean(cell):14.3f}" if cell else f"{'-':>14}" for cell in cells))
    return "\n".join(rows)


def measure(directory: Path | None) -> dict[str, Any]:
    """All cells; those of the same weights and settings that are kept already are not made again."""
    import nlphub as hub
    from nlphub.checkpoints.native import weights_digest

    recipe = load_recipe("intent")
    splits = load_splits(recipe.data, seed=recipe.train.seed)
    train = Examples.of([*splits["train"], *splits.get("dev", ())])
    facts = {"weights_sha256": weights_digest(hub.Module(**_named(directory)).encoder), "recipe_sha256": recipe.digest()}
    facts["version"] = find_module("ernie_tiny").version if directory is None else str(directory)
    kept: dict[str, Any] = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    if {key: kept.get(key) for key in facts} != facts:
        kept = {**facts, "scores": {}}
    for column in COLUMNS:
        for count in COUNTS:
            if f"{column}/{count}" in kept["scores"]:
                continue
            kept["scores"][f"{column}/{count}"] = [
                round(score(column, draw(train, count, seed), splits["test"], recipe=recipe, seed=seed, directory=directory), 4)
                for seed in range(DRAWS[count])
            ]
            publish_json(KEPT, kept)
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", type=Path, help="a module folder instead of the shipped ernie_tiny")
    parser.add_argument("--line", action="store_true", help="one line of what is kept")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.line:
        print(line(json.loads(KEPT.read_text("utf-8"))))
        return
    logging.getLogger("nlphub").setLevel(logging.ERROR)
    kept = measure(arguments.module)
    print(json.dumps(kept, indent=2) if arguments.json else table(kept))


def _named(directory: Path | None) -> dict[str, Any]:
    return {"name": "ernie_tiny"} if directory is None else {"directory": directory}


if __name__ == "__main__":
    main()
