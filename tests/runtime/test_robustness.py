"""An exported classifier answers alike, whatever the width, case or script of the same characters."""

from pathlib import Path

from nlphub.data.read import load_data
from nlphub.evaluation.robustness import check_robustness
from nlphub.runtime.predictor import Predictor


def test_width_case_and_script_never_flip_an_artefact(exported: Path) -> None:
    predictor = Predictor(exported, threads=1)
    texts = load_data("bundle:recipes/data/bank_intents/test.csv")["train"].texts[:200]
    answers = [answer.top[0][0] for answer in predictor(texts)]
    found = check_robustness(
        lambda texts: [answer.top[0][0] for answer in predictor(texts)],
        list(zip(texts, answers, strict=True)),
        only=["full-width", "case", "traditional", "homophones"],
    )
    *exact, homophones = found.outcomes
    assert [len(outcome.flips) for outcome in exact] == [0, 0, 0]
    assert min(outcome.changed for outcome in exact) > 5
    assert found.accuracy == 1
    assert len(homophones.flips) > 0  # the answers do depend on the characters
