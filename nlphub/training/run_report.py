"""What a run leaves for its report, and the report itself."""

import logging
from collections.abc import Mapping
from pathlib import Path

from nlphub.data.examples import Examples
from nlphub.errors import NlphubError
from nlphub.evaluation.report.collected import describe_splits
from nlphub.evaluation.report.judged import judged_answers, write_judged
from nlphub.evaluation.report.page import write_report
from nlphub.files import publish_json
from nlphub.labels import ONE_LABEL
from nlphub.module import Module
from nlphub.tasks import trainable

log = logging.getLogger(__name__)


def report_run(folder: Path, module: Module, splits: Mapping[str, Examples], judged_on: str | None) -> Path | None:
    """Write ``report/judged.jsonl`` (of seq-cls and text-matching), ``report/data.json`` and ``report/report.html``.

    A training that has succeeded does not fail for its report: what keeps it from being written is logged, with the command that mends it.

    Args:
        judged_on: the split that the run is judged on, if there is one.

    Returns:
        The report, or ``None``.
    """
    classifier = module.task in ONE_LABEL
    if classifier and judged_on is not None:
        judged = splits[judged_on]
        logits = module.logits(trainable(module.task).questions(judged))
        write_judged(folder / "report" / "judged.jsonl", judged_answers(judged, logits, module.labels, module.calibration))
    try:
        publish_json(folder / "report" / "data.json", describe_splits(splits, words=classifier))
        return write_report(folder)
    except NlphubError as wrong:
        log.warning("The report was not written: %s\nThe run is complete; afterwards make it with: nlphub report %s", wrong, folder)
        return None
