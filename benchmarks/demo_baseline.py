"""A fine-tuned run against TF-IDF + logistic regression (character 1-3 grams, scikit-learn) on the same test set.

    python benchmarks/demo_baseline.py runs/intent [--json]

The data are those of the run's recipe. The baseline learns from training and dev examples together, since the run uses both: it learns
from the one part and chooses its best weights by the other. Needs scikit-learn (extra "dev").
"""

import argparse
import json
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from nlphub.data.examples import Examples
from nlphub.data.read import load_splits
from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.recipe import load_recipe


def baseline(train: Examples, test: Examples) -> ClassificationMetrics:
    """Scores on ``test`` of the baseline that learned from ``train``."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=2000).fit(vectorizer.fit_transform(train.texts), train.labels)
    predicted = [str(label) for label in model.predict(vectorizer.transform(test.texts))]
    return classification_report(test.labels, predicted, train.label_names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.run / "recipe.yaml")
    splits = load_splits(recipe.data, seed=recipe.train.seed)
    seen = Examples.of([*splits["train"], *splits.get("dev", ())])
    theirs = baseline(seen, splits["test"])
    ours = json.loads((arguments.run / "report" / "metrics.json").read_text("utf-8"))
    pairs = {"accuracy": (ours["accuracy"], theirs.accuracy), "macro_f1": (ours["macro"]["f1"], theirs.macro_f1)}
    rows = [
        {"name": name, "ours": run, "peer": peer, "difference": run - peer, "peer_examples": len(seen)}
        for name, (run, peer) in pairs.items()
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':10}  {'this run':>8}  {'TF-IDF':>8}  {'difference':>10}")
    for row in rows:
        print(f"{row['name']:10}  {row['ours']:8.3f}  {row['peer']:8.3f}  {row['difference']:+10.3f}")


if __name__ == "__main__":
    main()
