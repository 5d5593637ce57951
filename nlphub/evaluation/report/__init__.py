"""The report of a run: one HTML file that explains a classifier to whoever has to decide about it.

``write_report(RUN)`` makes it from what a run leaves in its folder, without torch and without the data:

======================  ==================================================================================================
:mod:`judged`           ``report/judged.jsonl``: what the module answered to each judged text
:mod:`collected`        ``report/data.json``: profiles of the data, words of each label
:mod:`run_files`        everything that a run's folder holds, read and checked
:mod:`headline`         the first figures, with intervals
:mod:`pairs`            labels that are taken for one another, and what to do about it
:mod:`confusion`        the confusion matrix as a picture; :mod:`chart` draws lines
:mod:`shown`            what texts of users look like on a page: nothing hidden, nothing executed
:mod:`page`             puts it all into ``page.html.j2``
======================  ==================================================================================================
"""

from nlphub.evaluation.report.confusion import FONTS, confusion_svg
from nlphub.evaluation.report.page import LANGUAGES, render_report, write_report

__all__ = ["FONTS", "LANGUAGES", "confusion_svg", "render_report", "write_report"]
