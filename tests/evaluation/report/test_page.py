"""The report as a page: what it tells, that it loads nothing, that texts of users stay texts, that equal runs give equal bytes."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nlphub.errors import InputError, MissingExtraError
from nlphub.evaluation.report import write_report
from nlphub.files import publish_json

VOID = {"meta", "input", "br"}
HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "a\x00b\x1b[31m\x85c",
    "\ud800 alone",
    "\u202eevil\u202c",
    "שלום",
    "&lt;b&gt;",
    "]]>",
]


class Tags(HTMLParser):
    """Opened tags with their attributes, and whether they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(folder: Path, **options: str) -> str:
    return write_report(folder, **options).read_text("utf-8")


def test_a_report_tells_everything_that_a_run_knows(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    suspect = {"row": 3, "text": "卡里还有钱吗", "label": "挂失", "suggested": "查余额", "score": 0.0213}
    publish_json(folder / "report" / "suspects.json", [suspect])
    outcome = {"strength": "one", "changed": 9, "accuracy_before": 0.5, "accuracy_after": None, "flips": 2, "flip_rate": 0.2}
    publish_json(folder / "report" / "robustness.json", {"seed": 0, "texts": 60, "accuracy": 0.7, "perturbations": {"emoji": outcome}})
    text = Tags(page_of(folder)).text
    assert "银行" in text
    for chinese, english in (
        ("总体", "Headline"), ("准确率", "Accuracy"), ("宏平均 F1", "Macro-F1"), ("覆盖率", "Coverage"),
        ("校准误差 ECE", "Calibration error (ECE)"),
        ("各意图", "By intent"), ("混淆矩阵", "Confusion matrix"), ("最常混淆的意图", "Intents that are taken for one another"),
        ("拒绝多少，错多少", "Risk and coverage"), ("可疑的标注", "Labels that may be wrong"), ("最难的句子", "Hardest texts"),
        ("学习曲线", "Learning curve"), ("换种写法还答得一样吗", "Robustness"), ("数据", "Data"), ("配方与版本", "Recipe and lock"),
    ):  # fmt: skip
        assert chinese in text
        assert english in text
    for fact in (
        "卡里还有钱吗",
        "0.021",
        "表情",
        "macro_f1",
        "recipe_sha256",
        "learning_rate: 0.0003",
        "before calibration",
        "precision ≥ 90.0 %",
    ):
        assert fact in text, fact


def test_what_a_run_does_not_know_is_not_on_the_page(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    for name in ("judged.jsonl", "calibration.json", "data.json"):
        (folder / "report" / name).unlink()
    (folder / "metrics.jsonl").unlink()
    text = Tags(page_of(folder)).text
    for absent in (
        "Labels that may be wrong",
        "Robustness",
        "Risk and coverage",
        "Hardest",
        "Learning curve",
        "Data",
        "taken for one another",
    ):
        assert absent not in text
    assert "Accuracy" in text
    assert "Confusion matrix" in text


def test_a_run_that_was_judged_on_nothing_says_so(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    for name in ("judged.jsonl", "calibration.json", "metrics.json"):
        (folder / "report" / name).unlink()
    assert "there are no scores" in Tags(page_of(folder)).text


def test_a_run_that_was_judged_on_dev_says_that_this_flatters(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    scores = json.loads((folder / "report" / "metrics.json").read_text("utf-8"))
    assert "flatter" not in page_of(folder)
    publish_json(folder / "report" / "metrics.json", {**scores, "judged_on": "dev"})
    assert "flatter" in page_of(folder)


def test_the_page_of_a_token_run_has_its_scores_by_type(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    for name in ("judged.jsonl", "calibration.json"):
        (folder / "report" / name).unlink()
    row = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 7}
    micro = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}
    publish_json(
        folder / "report" / "metrics.json",
        {"judged_on": "test", "support": 7, "micro": micro, "macro": {"f1": 0.3}, "per_label": {"公司": row}},
    )
    recipe = "module: {name: ernie_tiny}\ntask: token-cls\ndata: {train: x.csv, spans: tags}\nrun: {folder: runs/x}\n"
    (folder / "recipe.yaml").write_text(recipe, "utf-8")
    text = Tags(page_of(folder)).text
    for fact in ("Span F1", "33.3 %", "公司", "By type", "training loss"):
        assert fact in text
    assert "Confusion matrix" not in text


def test_texts_and_labels_of_users_stay_text(make_run: Callable[..., Path]) -> None:
    labels = [f"{text}{number}" for number, text in enumerate(HOSTILE) if "\ud800" not in text]
    folder = make_run(labels, HOSTILE, right=0.3)
    publish_json(folder / "report" / "suspects.json", [{"text": HOSTILE[0], "label": "<b>", "suggested": "</bdi></td>", "score": 0.5}])
    page = page_of(folder)
    found = Tags(page)
    assert found.open == []
    assert [tag for tag, _ in found.seen].count("script") == 1
    assert not [tag for tag, _ in found.seen if tag in ("img", "b", "iframe", "a", "link", "base", "form")]
    assert not [name for _, attributes in found.seen for name in attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert "onerror=alert(1)" in found.text, "shown, not hidden"
    assert "{{ 7 * 7 }}" in found.text
    assert "␀" in found.text
    assert "‹U+202E›evil‹U+202C›" in found.text
    assert "שלום" in found.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)


def test_the_page_loads_nothing(make_run: Callable[..., Path]) -> None:
    page = page_of(make_run())
    assert not re.search(r"https?:|url\(|@import|//cdn|data:\w+/|import\(|fetch\(|XMLHttp|WebSocket", page)
    policy = next(facts["content"] for tag, facts in Tags(page).seen if tag == "meta" and facts.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy, "the browser runs this one and no other"


def test_equal_runs_give_equal_bytes_and_no_date(make_run: Callable[..., Path]) -> None:
    page = page_of(make_run())
    assert page == page_of(make_run())
    assert not re.search(r"20\d\d-\d\d-\d\d|\b\d\d:\d\d\b", page)


def test_a_page_of_150_labels_and_many_errors_is_below_a_megabyte(make_run: Callable[..., Path]) -> None:
    folder = make_run([f"很长的意图名字第{number}号" for number in range(150)], ["一句很长的话，" * 60, *["短句"] * 10], each=20, right=0.5)
    page = page_of(folder)
    assert len(page.encode()) < 1_000_000
    assert "其余 120 个 others" in page
    assert "(+" in page, "what is cut is said"


def test_both_languages_are_there_and_either_can_come_first(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run()
    for language, html in (("zh", "zh-Hans"), ("en", "en")):
        seen = Tags(page_of(folder, out=tmp_path / "x.html", language=language)).seen
        assert dict(seen)["html"]["lang"] == html
        assert [facts["id"] for tag, facts in seen if tag == "input" and "checked" in facts] == [f"language-{language}"]
    with pytest.raises(InputError, match="fr"):
        write_report(folder, language="fr")


def test_every_chinese_sentence_of_ours_has_an_english_twin(make_run: Callable[..., Path]) -> None:
    classes = [facts.get("class") or "" for _, facts in Tags(page_of(make_run())).seen]
    count = {language: sum(language in names.split() for names in classes) for language in ("zh", "en")}
    assert count["zh"] == count["en"] > 50


def test_a_page_is_made_without_torch_and_without_matplotlib(make_run: Callable[..., Path]) -> None:
    code = (
        "import sys\nfrom nlphub.evaluation.report import write_report\nwrite_report(sys.argv[1])\n"
        "print(sorted({'torch', 'matplotlib', 'datasets', 'jieba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, make_run()], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_jinja2_one_line_names_the_command(make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    folder = make_run()
    with pytest.raises(MissingExtraError, match=r"pip install 'nlphub\[train\]'"):
        write_report(folder)
    assert not (folder / "report" / "report.html").exists()
