"""The confusion matrix as SVG: well-formed, deterministic, readable, and Chinese text is drawn as Chinese text."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import resvg_py

from nlphub.evaluation.metrics import ClassificationMetrics, classification_report
from nlphub.evaluation.report import FONTS, confusion_svg

NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
SVG = "{http://www.w3.org/2000/svg}"


def measured(labels: list[str], *, examples: int = 300, right: float = 0.8, seed: int = 0) -> ClassificationMetrics:
    random = np.random.default_rng(seed)
    truth = [labels[i] for i in random.integers(len(labels), size=examples)]
    predicted = [label if random.random() < right else labels[random.integers(len(labels))] for label in truth]
    return classification_report(truth, predicted, labels)


def texts(svg: str) -> list[str]:
    """The visible texts."""
    return ["".join(part for part in (element.text or "",)) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def render(svg: str) -> bytes:
    """A PNG drawn with Debian's Noto Sans CJK and no other font."""
    if not NOTO.is_file():
        pytest.fail(f"{NOTO} is missing, so nobody knows whether Chinese labels are drawn; run: apt-get install -y fonts-noto-cjk")
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=[str(NOTO)], skip_system_fonts=True))


def glyph(character: str) -> bytes:
    """One character by itself in the fonts of the picture."""
    return render(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" font-family="{FONTS}" font-size="30">'
        f'<rect width="40" height="40" fill="#fff"/><text x="5" y="30">{character}</text></svg>'
    )


def test_every_character_of_the_picture_is_drawn_and_none_is_a_box() -> None:
    """A character without a glyph is drawn as the same box (or nothing) as any other one without; those with a glyph all differ."""
    missing = {glyph("\U0010fffd"), glyph("\ue123"), glyph(" ")}
    labels = ["查余额", "挂失银行卡", "转账未到账", "网点查询", "R2理财"]
    characters = sorted(set("".join(texts(confusion_svg(measured(labels))))) - {" "})
    assert len(characters) > 50
    drawn = {character: glyph(character) for character in characters}
    assert [character for character, picture in drawn.items() if picture in missing] == []
    assert len(set(drawn.values())) == len(characters)


def test_labels_are_visible_in_the_rendered_picture() -> None:
    """Another label gives another picture; the same label, the same."""
    pictures = [render(confusion_svg(measured([first, "挂失"]))) for first in ("查余额", "查余领", "查余额")]
    assert pictures[0] == pictures[2] != pictures[1]
    assert pictures[0].startswith(b"\x89PNG")


@pytest.mark.parametrize("n", [1, 2, 21, 60, 120])
def test_pictures_of_few_and_many_labels_are_well_formed_and_hold_all_labels(n: int) -> None:
    labels = [f"意图{number}" for number in range(n)]
    svg = confusion_svg(measured(labels, examples=20 * n))
    root, found = ET.fromstring(svg), texts(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(found.count(label) == 2 for label in labels), "each label stands at its row and at its column"
    for element in root.iter(f"{SVG}rect"):
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        assert x + float(element.attrib["width"]) <= width
        assert y + float(element.attrib["height"]) <= height
    assert all(float(element.get("font-size", root.attrib["font-size"])) >= 7 for element in root.iter(f"{SVG}text"))
    assert render(svg)


def test_both_axes_are_named_in_both_languages() -> None:
    found = " ".join(texts(confusion_svg(measured(["a", "b"]), title="第一次")))
    for words in ("真实标签 true label", "预测标签 predicted label", "占该行的比例", "share of the row", "第一次", "accuracy", "准确率"):
        assert words in found


def test_counts_stand_in_the_cells_and_in_the_tooltips() -> None:
    metrics = classification_report(["a"] * 3 + ["b"] * 2, ["a", "a", "b", "b", "b"], ["a", "b"])
    root = ET.fromstring(confusion_svg(metrics))
    tips = [title.text for title in root.iter(f"{SVG}title")][1:]
    assert tips == ["a → a: 2 (66.7%)", "a → b: 1 (33.3%)", "b → b: 2 (100.0%)"]
    assert texts(confusion_svg(metrics))[-3:] == ["2", "1", "2"]


def test_colours_are_shares_of_the_row_and_errors_have_their_own() -> None:
    metrics = classification_report(["a"] * 4 + ["b"] * 100, ["a", "a", "b", "b"] + ["b"] * 50 + ["a"] * 50, ["a", "b"])
    fills = [(rect.get("fill"), rect.get("fill-opacity")) for rect in ET.fromstring(confusion_svg(metrics)).iter(f"{SVG}rect")][1:]
    assert fills[0] == fills[3] != fills[1] == fills[2]


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert confusion_svg(measured(["a", "b", "c"])) == confusion_svg(measured(["a", "b", "c"]))


def test_a_long_label_is_cut_and_whole_in_its_tooltip() -> None:
    long = "很长很长的意图名字" * 5
    root = ET.fromstring(confusion_svg(measured([long, "b"])))
    shown = [element for element in root.iter(f"{SVG}text") if (element.text or "").startswith("很长")]
    assert [element.findtext(f"{SVG}title") for element in shown] == [long, long]
    assert all(len(element.text or "") <= 14 and (element.text or "").endswith("…") for element in shown)


@pytest.mark.parametrize("label", ["<script>&\"'", "a\x00b\x1f", "\ud800", "]]>", "\U0001f44b"])
def test_hostile_labels_stay_text(label: str) -> None:
    svg = confusion_svg(measured([label, "b"]), title=label)
    svg.encode("utf-8")
    assert "script" not in {element.tag.removeprefix(SVG) for element in ET.fromstring(svg).iter()}


def test_the_fonts_are_chinese_ones_by_name() -> None:
    root = ET.fromstring(confusion_svg(measured(["a", "b"])))
    assert root.attrib["font-family"] == FONTS
    assert [name.strip(" '") for name in FONTS.split(",")][:2] == ["Noto Sans CJK SC", "Source Han Sans SC"]
    assert FONTS.endswith("sans-serif")
