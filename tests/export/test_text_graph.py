"""Texts in, answers out, in one ONNX file: the same answers as the module, whatever the strings are."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

import nlphub.export.onnx as export
import nlphub.export.texttokens as texttokens
from nlphub.calibration import NEUTRAL, Calibration, references_of
from nlphub.data.batching import pad
from nlphub.errors import ExportError, InputError, StoreError
from nlphub.export.nodes import DOMAINS, Nodes
from nlphub.export.onnx import export_artefact, write_graph
from nlphub.export.probe import probe_pairs, probe_texts
from nlphub.export.textgraph import Answering, TextParity, TextSettings, measure_text_parity, why_not, write_text_graph
from nlphub.nn.dense import DenseModel
from nlphub.nn.heads import TokenHead
from nlphub.nn.inference import head_logits
from nlphub.nn.matching import BiEncoderHead
from nlphub.nn.prototypes import fit_prototypes, labelled
from nlphub.runtime.predictor import Predictor
from nlphub.runtime.textgraph import TextGraph, well_formed
from nlphub.text.characters import CharacterTokenizer

VARIANTS = ["我的订单号abc12还没到", "我的訂單號ABC12還沒到", "我的订单号ＡＢＣ１２还没到", "我的訂單號ａｂｃ１２還沒到"]
Ids = Callable[..., tuple[np.ndarray, ...]]


@pytest.fixture(scope="module")
def model(parts: dict[str, Any]) -> DenseModel:
    return DenseModel(parts["encoder"], parts["head"]).eval()


@pytest.fixture(scope="module")
def body(model: DenseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of ids, made once."""
    path = tmp_path_factory.mktemp("body") / "model.onnx"
    write_graph(model, path)
    return path


@pytest.fixture
def made(parts: dict[str, Any], body: Path, tmp_path: Path) -> Callable[..., tuple[Path, Answering]]:
    def make(*, calibration: Calibration = NEUTRAL, max_length: int = 512, pairs: bool = False, top_k: int = 5) -> tuple[Path, Answering]:
        answering = Answering(parts["tokenizer"], parts["labels"], calibration, max_length)
        path = tmp_path / "model_text.onnx"
        write_text_graph(path, body, answering, settings=TextSettings(pairs, top_k), facts={"labels": list(parts["labels"])})
        return path, answering

    return make


def calibrated(kind: str, model: DenseModel, tokenizer: Any) -> Calibration:
    """Thresholds that accept some answers and reject others."""
    texts = [text for text in probe_texts(tokenizer, max_length=64) if 0 < len(text) < 60]
    logits = head_logits(model.encoder, model.head, tokenizer.encode(texts))
    references = references_of(logits[:50]) if kind == "neighbours" else None
    level = {"probability": 0.32, "energy": float(np.log(np.exp(logits).sum(1)).mean()), "neighbours": 0.99}[kind]
    return Calibration(1.7, kind, level, {"退货": level * 1.01, 'say "hi"': level * 0.99}, references)


@pytest.mark.parametrize("kind", ["probability", "energy", "neighbours"])
def test_answers_are_those_of_the_module_for_every_confidence(model, made, parts, kind):
    path, answering = made(calibration=calibrated(kind, model, parts["tokenizer"]), max_length=64)
    probe = probe_texts(parts["tokenizer"], max_length=64)
    parity = measure_text_parity(path, model, answering, probe, tolerance=1e-5)
    assert parity.holds
    assert parity.texts == len(probe) > 100
    accepted = [answer.accepted for answer in TextGraph(path)(probe)]
    assert 5 < sum(accepted) < len(probe) - 5


def test_pairs_are_cut_and_answered_as_the_module_does(model, made, parts):
    path, answering = made(max_length=20, pairs=True)
    probe = probe_pairs(parts["tokenizer"], max_length=20)
    assert measure_text_parity(path, model, answering, probe, tolerance=1e-5).holds
    assert TextGraph(path)([("好", "")])[0] != TextGraph(path)([("", "好")])[0]


@pytest.fixture
def quick(body: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports take the graph of ids that is there already."""

    def write(model: Any, path: Path) -> None:
        path.parent.mkdir(parents=True)
        shutil.copy(body, path)

    monkeypatch.setattr(export, "write_graph", write)


@pytest.fixture
def ids_of(parts: dict[str, Any]) -> Ids:
    """Only what the graph makes for the network: ids, mask and types."""

    def run(
        texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int = 512, tokenizer: Any = None
    ) -> tuple[np.ndarray, ...]:
        nodes, names = Nodes(), ["texts"] if pairs is None else ["texts", "pairs"]
        texttokens.add_tokenizer(
            nodes, *names, *([None] if pairs is None else []), tokenizer=tokenizer or parts["tokenizer"], max_length=max_length
        )
        inputs = [helper.make_tensor_value_info(name, TensorProto.STRING, ["b"]) for name in names]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        graph = helper.make_graph(nodes.nodes, "tokens", inputs, outputs, initializer=nodes.constants)
        opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(*each) for each in DOMAINS.items())]
        session = onnxruntime.InferenceSession(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
        given = {
            name: np.array(list(map(well_formed, each)), object)
            for name, each in zip(names, (texts, pairs), strict=False)
            if each is not None
        }
        return tuple(session.run(None, given))

    return run


def assert_equal_ids(found: tuple[np.ndarray, ...], tokenizer: Any, *texts: Any, max_length: int) -> None:
    encoded = tokenizer.encode(*texts, max_length=max_length)
    for ours, theirs in zip(found, pad(encoded, np.arange(len(encoded)), pad_id=tokenizer.pad_id), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("max_length", [512, 7, 3])
def test_ids_mask_and_types_are_those_of_the_tokenizer(parts, ids_of, max_length):
    texts = probe_texts(parts["tokenizer"], max_length=max_length)
    assert_equal_ids(ids_of(texts, max_length=max_length), parts["tokenizer"], texts, max_length=max_length)


@pytest.mark.parametrize("max_length", [512, 21, 20, 4])
def test_pairs_have_the_ids_of_the_tokenizer(parts, ids_of, max_length):
    first, second = map(list, zip(*probe_pairs(parts["tokenizer"], max_length=max_length), strict=True))
    assert_equal_ids(ids_of(first, second, max_length=max_length), parts["tokenizer"], first, second, max_length=max_length)


def test_every_code_point_gets_the_id_of_the_tokenizer(parts, ids_of):
    texts = ["".join(map(chr, range(first, first + 256))) for first in range(0, 0x110000, 256)]
    for first in range(0, len(texts), 1088):
        chosen = texts[first : first + 1088]
        assert_equal_ids(ids_of(chosen), parts["tokenizer"], chosen, max_length=512)


@pytest.mark.parametrize("texts", [[""], ["", ""], [" \u3000"], ["", "a"], ["\x00"], ["a" * 1000, "", "b"]], ids=repr)
def test_batches_of_nothing_and_of_little_have_their_special_entries(parts, ids_of, texts):
    assert_equal_ids(ids_of(texts), parts["tokenizer"], texts, max_length=512)


def test_as_much_of_a_text_is_looked_at_as_the_tokenizer_looks_at(parts, ids_of):
    small = CharacterTokenizer(parts["tokenizer"].vocabulary, parts["tokenizer"].table, max_length=40)
    for length in (639, 640, 641, 100_000):
        texts = [" " * (length - 1) + "退货", "好" * length, "物流"]
        assert_equal_ids(ids_of(texts, max_length=40, tokenizer=small), small, texts, max_length=40)


def test_a_line_of_100000_characters_does_not_change_the_others(made):
    graph = TextGraph(made(max_length=64)[0])
    texts = ["我要退这双鞋", "转人工", "a"]
    alone = [answer.score for answer in graph(texts)]
    beside = graph([*texts, "好 " * 50_000])
    assert [answer.score for answer in beside[:3]] == pytest.approx(alone, abs=1e-6)
    assert beside[3].score == pytest.approx(graph(["好 " * 4096])[0].score, abs=1e-6)


def test_variants_of_a_sentence_have_bit_identical_scores(made):
    graph = TextGraph(made()[0])
    assert len({graph([text])[0] for text in VARIANTS}) == 1
    assert len(set(graph([*VARIANTS, "一个更长的句子，它让大家都有了补齐"])[:4])) == 1
    assert graph(["我的订单号abc13还没到"])[0] != graph(VARIANTS[:1])[0]


def test_no_texts_have_no_answers(made):
    assert TextGraph(made()[0])([]) == []


def test_lone_surrogates_become_the_replacement_character_at_every_entrance(model, made, parts):
    assert well_formed("a\ud800b\udfff😀") == "a\ufffdb\ufffd😀"
    graph, broken = TextGraph(made()[0]), "我要\ud83d退货\udc00"
    assert graph([broken]) == graph([well_formed(broken)])
    encode = parts["tokenizer"].encode
    assert encode([broken]).lists() == encode([well_formed(broken)]).lists()


def test_the_file_speaks_for_itself(made, parts):
    path, _ = made(calibration=Calibration(threshold=0.3), top_k=2)
    session = onnxruntime.InferenceSession(str(path))
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [("texts", "tensor(string)", ["batch"])]
    kinds = [(each.name, each.type, each.shape) for each in session.get_outputs()]
    assert kinds == [
        ("label", "tensor(string)", ["batch"]), ("score", "tensor(float)", ["batch"]), ("accepted", "tensor(bool)", ["batch"]),
        ("labels", "tensor(string)", ["batch", 2]), ("scores", "tensor(float)", ["batch", 2]),
    ]  # fmt: skip
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == list(parts["labels"])
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {"", "com.microsoft", "ai.onnx.ml"}
    assert {node.op_type for node in model.graph.node if node.domain == "com.microsoft"} == {"Tokenizer"}
    onnx.checker.check_model(onnx.load(path), full_check=False, skip_opset_compatibility_check=True)


def test_equal_exports_have_equal_bytes(made):
    assert made()[0].read_bytes() == made()[0].read_bytes()


def test_a_rejected_answer_has_no_label_but_keeps_its_candidates(made, parts):
    (answer,) = TextGraph(made(calibration=Calibration(threshold=1.0))[0])(["好"])
    assert (answer.label, answer.accepted, len(answer.top)) == (None, False, 4)
    raw = onnxruntime.InferenceSession(str(made(calibration=Calibration(threshold=1.0))[0])).run(
        ["label"], {"texts": np.array(["好"], object)}
    )
    assert raw[0].tolist() == [""]


@pytest.mark.parametrize("given", [[1], [("a", "b")], [None], [b"a"]], ids=str)
def test_what_is_no_text_is_refused(made, given):
    with pytest.raises(InputError, match="single texts"):
        TextGraph(made()[0])(given)


@pytest.mark.parametrize("given", [["a"], [("a", 1)], [("a", "b", "c")]], ids=str)
def test_what_is_no_pair_is_refused(made, given):
    with pytest.raises(InputError, match="takes pairs"):
        TextGraph(made(pairs=True)[0])(given)


def test_fewer_pairs_than_texts_are_an_error_and_no_answer(made):
    session = onnxruntime.InferenceSession(str(made(pairs=True)[0]))
    with pytest.raises(Exception, match=r"[Rr]eshape"):
        session.run(None, {"texts": np.array(["a", "b"], object), "pairs": np.array(["a"], object)})


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(StoreError, match="cannot run"):
        TextGraph(tmp_path / "x.onnx")


def test_prototypes_with_their_n_grams_answer_from_text_too(parts, tmp_path):
    generator, tokenizer = random.Random(3), parts["tokenizer"]
    texts = ["".join(generator.choice("我要退这双鞋转人工查物流") for _ in range(generator.randint(2, 12))) for _ in range(40)]
    encoded = tokenizer.encode(texts)
    ids = [encoded.ids[a:b] for a, b in zip(encoded.starts, encoded.starts[1:], strict=False)]
    head = fit_prototypes(parts["encoder"], labelled(ids, [number % 4 for number in range(40)]), 4).head
    report = export_artefact(tmp_path / "out", **{**parts, "head": head})
    assert isinstance(report.text, TextParity)
    assert report.text.probabilities < 1e-5
    given = [*texts[:5], *VARIANTS]
    for ours, theirs in zip(
        Predictor(tmp_path / "out")(given), TextGraph(tmp_path / "out" / "onnx" / "model_text.onnx")(given), strict=True
    ):
        assert theirs.label == ours.label
        assert theirs.score == pytest.approx(ours.score, abs=1e-5)


def test_a_text_graph_that_is_not_the_module_is_refused_and_nothing_is_left(quick, parts, tmp_path, monkeypatch):
    right = texttokens.lookup_table
    monkeypatch.setattr(texttokens, "lookup_table", lambda tokenizer: {**right(tokenizer), "退": tokenizer.unknown_id})
    with pytest.raises(ExportError, match="does not answer as the module"):
        export_artefact(tmp_path / "out", **parts)
    assert list(tmp_path.glob("*out*")) == list(tmp_path.glob(".*out*")) == []


def test_an_artefact_says_what_its_text_graph_is(quick, parts, tmp_path):
    calibration = Calibration(2.0, threshold=0.25, thresholds={"退货": 0.5})
    export_artefact(
        tmp_path / "out", **{**parts, "card": {**parts["card"], "recipe": "ab12"}}, calibration=calibration, pairs=True, top_k=3
    )
    graph = TextGraph(tmp_path / "out" / "onnx" / "model_text.onnx")
    facts = json.loads((tmp_path / "out" / "nlphub.json").read_text("utf-8"))
    assert {name: json.loads(value) for name, value in graph.facts.items()} == {
        name: value for name, value in facts.items() if name not in ("files", "parity", "schema", "weights_in")
    }
    assert facts["recipe"] == "ab12"
    assert facts["calibration"]["thresholds"] == {"退货": 0.5}
    assert facts["parity"]["text_graph"]["differ"] == 0
    assert graph.takes_pairs
    assert len(graph([("好", "坏")])[0].top) == 3


def test_modules_without_a_text_graph_say_why(parts):
    assert why_not(parts["head"], parts["tokenizer"]) is None
    assert "token-cls" in str(why_not(TokenHead(24, 5), parts["tokenizer"]))
    assert "each by itself" in str(why_not(BiEncoderHead(24, 2), parts["tokenizer"]))
    assert "pieces of words" in str(why_not(parts["head"], object()))  # type: ignore[arg-type]


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True])
def test_candidates_are_a_positive_whole_number(parts, top_k):
    with pytest.raises(ExportError, match="top_k"):
        TextSettings.of(parts["head"], pairs=None, top_k=top_k)


def test_the_margin_decides_what_may_differ(parts, made, model):
    path, answering = made(calibration=Calibration(threshold=0.25 + 1e-9))
    with torch.no_grad():
        kept = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
        model.head.classifier.bias.zero_()
        model.head.classifier.weight.zero_()  # all labels are equally probable, and just below the threshold
    try:
        parity = measure_text_parity(path, model, answering, ["好", "坏"], tolerance=1.0)
    finally:
        model.head.load_state_dict(kept)
    assert (parity.differ, parity.close) == (0, 2)
    assert parity.holds
