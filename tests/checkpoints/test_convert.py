"""Checkpoints in and out: bit-equal weights, hidden rows to 1e-5, every key with its fate, nothing half written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import nlphub as hub
from nlphub.checkpoints import native
from nlphub.checkpoints.arrays import write_pickle
from nlphub.checkpoints.convert import convert
from nlphub.checkpoints.paddle import _LINEAR, _NORMS, _PLAIN, read_pdparams
from nlphub.cli.app import app
from nlphub.data.batching import pad
from nlphub.errors import InputError, NlphubError, WeightsError
from nlphub.nn.dense import dense_encode

VOCABULARY = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[UNK]",
    *"我爱中国退货物流今天气真好，。！？☆",
    "he",
    "##llo",
    "hello",
    *(f"w{i}" for i in range(20)),
]
SMALL = {
    "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 64, "initializer_range": 0.3, "layer_norm_eps": 1e-5,
}  # fmt: skip
TEXTS = ["我爱中国", "hello 退货☆！", "", "今天真好，he w3"]
KINDS = ["Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForPreTraining"]
FAMILIES = ["Bert", "Ernie", "ErnieTask"]
RELATIVES = ["Albert", "Electra"]
ONLY_PRETRAINING = {
    "cls.seq_relationship.weight", "cls.seq_relationship.bias", "sop_classifier.classifier.weight", "sop_classifier.classifier.bias",
    *(f"discriminator_predictions.{part}.{kind}" for part in ("dense", "dense_prediction") for kind in ("weight", "bias")),
}  # fmt: skip
TAGS = {0: "O", 1: "I-地", 2: "B-地", 3: "B-人", 4: "I-人"}


def made(folder: Path, family: str = "Bert", kind: str = "Model", *, safe: bool = True, **changes: Any) -> Any:
    """A folder as transformers writes it, far from uniform, with a vocabulary."""
    extra: dict[str, Any] = {"use_task_id": True, "task_type_vocab_size": 3} if family == "ErnieTask" else {}
    extra |= {"embedding_size": 16, "hidden_act": "gelu"} if family in RELATIVES else {}
    labels = {"id2label": TAGS, "label2id": {tag: i for i, tag in TAGS.items()}} if kind == "ForTokenClassification" else {}
    labels = {"id2label": {0: "退货", 1: "物流", 2: "其他"}} if kind == "ForSequenceClassification" else labels
    name = family.removesuffix("Task")
    torch.manual_seed(3)
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **extra, **labels, **changes})
    model = getattr(transformers, name + kind)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    if not safe:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    return model


def inputs(tokenizer: Any) -> dict[str, torch.Tensor]:
    arrays = pad(tokenizer.encode(TEXTS), np.arange(len(TEXTS)), pad_id=tokenizer.pad_id)
    return dict(zip(("input_ids", "attention_mask", "token_type_ids"), map(torch.from_numpy, arrays), strict=True))


def hidden(module: Any, given: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return dense_encode(module.encoder, **given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES + RELATIVES)
def test_there_and_back_keeps_every_bit_and_hidden_rows_agree(tmp_path, family, kind):
    model = made(tmp_path / "theirs", family, kind)
    report = convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    again = convert(tmp_path / "ours", to="transformers", out=tmp_path / "back")
    before, after = load_file(tmp_path / "theirs" / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    lost = {fate.source for fate in report.fates if fate.target is None}
    assert {fate.source for fate in report.fates} == set(before)
    assert lost <= ONLY_PRETRAINING
    if (family, kind) == ("Electra", "ForPreTraining"):  # without that head it is a bare model, whose names have no prefix
        before = {name.removeprefix("electra."): tensor for name, tensor in before.items()}
    order = [0, 3, 4, 2, 1] if kind == "ForTokenClassification" else slice(None)  # of our tags: 地 is their first type
    for name in before.keys() - lost:
        rows = [0, 2, 1, 3, 4] if name.startswith("classifier") and kind == "ForTokenClassification" else slice(None)
        assert torch.equal(after.pop(name), before[name][rows]), name
    assert not after, order
    assert (report.format, again.format) == ("transformers", "native")
    module = hub.Module(directory=tmp_path / "ours")
    given = inputs(module.tokenizer)
    base = getattr(model, family.removesuffix("Task").lower(), model)
    with torch.inference_mode():
        expected = base(**given).last_hidden_state
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(hidden(module, given)[seen], expected[seen], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["Model", "ForMaskedLM", "ForSequenceClassification"])
def test_through_paddle_and_back_keeps_every_bit(tmp_path, family, kind):
    made(tmp_path / "theirs", family, kind)
    convert(tmp_path / "theirs", to="paddle", out=tmp_path / "paddle")
    back = convert(tmp_path / "paddle", to="transformers", out=tmp_path / "back")
    before, after = load_file(tmp_path / "theirs" / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    matrices = [fate for fate in back.fates if fate.what == "transposed"]
    assert len(matrices) == 2 * 6 + {"Model": 1, "ForMaskedLM": 1, "ForSequenceClassification": 2}[kind]
    assert back.encoder["task_types"] == (3 if family == "ErnieTask" else 0)


@pytest.mark.parametrize("kind", ["Model", "ForSequenceClassification"])
def test_a_bin_is_read_as_its_safetensors(tmp_path, kind):
    made(tmp_path / "safe", "Bert", kind)
    made(tmp_path / "bin", "Bert", kind, safe=False)
    for name in ("safe", "bin"):
        convert(tmp_path / name, to="native", out=tmp_path / f"{name}-ours")
    one, other = (tmp_path / f"{name}-ours" / "model.safetensors" for name in ("safe", "bin"))
    assert one.read_bytes() == other.read_bytes()


def test_names_of_tensorflow_days_are_understood(tmp_path):
    made(tmp_path / "old", "Bert", "ForPreTraining")
    path = tmp_path / "old" / "model.safetensors"
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in load_file(path).items()
    }
    state["bert.embeddings.position_ids"] = torch.arange(64)[None]
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
    save_file(state, path, {"format": "pt"})
    report = convert(tmp_path / "old", to="native", out=tmp_path / "ours")
    why = {fate.source: fate.what for fate in report.fates if fate.target is None}
    assert "buffer" in why["bert.embeddings.position_ids"]
    assert "tied" in why["cls.predictions.decoder.weight"]
    assert "next sentences" in why["cls.seq_relationship.weight"]
    assert hub.Module(directory=tmp_path / "ours", task="mlm").trained


def test_a_classifier_and_its_labels_predict_the_same_everywhere(tmp_path):
    made(tmp_path / "theirs", "ErnieTask", "ForSequenceClassification")
    convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    convert(tmp_path / "ours", to="paddle", out=tmp_path / "paddle", family="bert")
    convert(tmp_path / "paddle", to="native", out=tmp_path / "again")
    one, other = hub.Module(directory=tmp_path / "ours"), hub.Module(directory=tmp_path / "again")
    assert one.labels == other.labels == ("退货", "物流", "其他")
    assert other.encoder.config.task_types == 0
    assert one.encoder.config.task_types == 3
    np.testing.assert_allclose(one.logits(TEXTS[:2]), other.logits(TEXTS[:2]), atol=1e-4)


def test_tags_are_put_into_our_order_and_others_are_refused(tmp_path):
    model = made(tmp_path / "theirs", "Bert", "ForTokenClassification")
    report = convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    module = hub.Module(directory=tmp_path / "ours")
    assert module.labels == ("地", "人")
    assert any("order O, B-地, I-地" in note for note in report.notes)
    given = inputs(module.tokenizer)
    with torch.inference_mode():
        expected = model(**given).logits[:, :, [0, 2, 1, 3, 4]]
        found = module.head(hidden(module, given))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    facts = json.loads((tmp_path / "theirs" / "config.json").read_text("utf-8"))
    facts["id2label"]["1"] = "E-地"
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(facts), "utf-8")
    with pytest.raises(WeightsError, match=r"not the tags|labels"):
        convert(tmp_path / "theirs", to="native", out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_the_shipped_module_goes_out_and_comes_back(tmp_path):
    folder = Path(hub.paths.bundle() if hasattr(hub, "paths") else Path(hub.__file__).parent.parent) / "modules" / "ernie_tiny"
    module = hub.Module(name="ernie_tiny", task="mlm")
    from nlphub.hub import store
    from nlphub.hub.registry import find_module

    place = store.install(find_module("ernie_tiny"))
    assert folder.exists()
    for to in ("paddle", "transformers"):
        convert(place, to=to, out=tmp_path / to)
        report = convert(tmp_path / to, to="native", out=tmp_path / f"{to}-back")
        again = hub.Module(directory=tmp_path / f"{to}-back", task="mlm")
        assert native.weights_digest(again.encoder, again.head) == native.weights_digest(module.encoder, module.head)
        assert again.tokenizer.digest == module.tokenizer.digest
        assert report.family == "bert"


def test_autotokenizer_of_a_converted_ernie_splits_symbols_too(tmp_path):
    made(tmp_path / "theirs", "Ernie")
    convert(tmp_path / "theirs", to="native", out=tmp_path / "ours")
    convert(tmp_path / "ours", to="transformers", out=tmp_path / "back")
    ours, other = hub.Module(directory=tmp_path / "ours").tokenizer, transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    texts = [*TEXTS, "he☆he", "½〇我", "Hello，  国"]
    assert other(texts)["input_ids"] == ours.encode(texts).lists()


def static(folder: Path, family: str = "Ernie") -> Path:
    """Weights as ERNIE's static graphs name them."""
    made(folder / "t", family, "ForMaskedLM", hidden_act="relu")
    state = load_file(folder / "t" / "model.safetensors")
    names = {theirs: (old, False) for _, old, theirs in _PLAIN if old}
    for _, old, theirs in _LINEAR:
        names |= {f"{theirs}.weight": (f"{old}.w_0", True), f"{theirs}.bias": (f"{old}.b_0", False)} if old else {}
    for _, old, theirs in _NORMS:
        names |= {f"{theirs}.weight": (f"{old}_scale", False), f"{theirs}.bias": (f"{old}_bias", False)}
    arrays = {}
    for name, tensor in state.items():
        bare = name.removeprefix("ernie.")
        layer = next((part for part in bare.split(".") if part.isdigit()), "")
        old, turned = names[bare.replace(f".{layer}.", ".{}.") if layer else bare]
        arrays[old.format(layer)] = (tensor.T if turned else tensor).numpy()
    with (folder / "ernie.pdparams").open("wb") as stream:
        write_pickle(stream, arrays)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    return folder / "ernie.pdparams"


def test_names_of_static_graphs_are_understood_and_their_eps_is_the_trained_one(tmp_path):
    path = static(tmp_path)
    with pytest.raises(InputError, match="--numbers"):
        convert(path, to="native", out=tmp_path / "ours")
    numbers = {name: value for name, value in SMALL.items() if name != "layer_norm_eps"} | {"type_vocab_size": 2, "hidden_act": "relu"}
    (tmp_path / "numbers.json").write_text(json.dumps(numbers), "utf-8")
    report = convert(path, to="transformers", out=tmp_path / "back", numbers=tmp_path / "numbers.json")
    assert (report.encoder["eps"], report.encoder["activation"], report.family) == (1e-5, "relu", "ernie")
    before, after = load_file(tmp_path / "t" / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert convert(path, to="native", out=tmp_path / "e", numbers=tmp_path / "numbers.json", eps=1e-7).encoder["eps"] == 1e-7


def paddle(tmp_path: Path, **changes: Any) -> Path:
    """A folder of PaddleNLP's, to be spoilt."""
    made(tmp_path / "t", "Ernie", "ForSequenceClassification")
    convert(tmp_path / "t", to="paddle", out=tmp_path / "p")
    arrays = dict(read_pdparams(tmp_path / "p" / "model_state.pdparams"))
    arrays |= {name: value for name, value in changes.items() if value is not None}
    with (tmp_path / "p" / "model_state.pdparams").open("wb") as stream:
        write_pickle(stream, {name: array for name, array in arrays.items() if name not in {n for n, v in changes.items() if v is None}})
    return tmp_path / "p"


WORDS = "ernie.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ernie.rel_pos_embeddings.weight": np.zeros((3, 3), np.float32)}, "rel_pos_embeddings"),
        ({WORDS: np.full((50, 24), np.nan, np.float32)}, "not finite in ernie.embeddings.word"),
        ({WORDS: np.zeros((51, 24), np.float32)}, "of another shape"),
        ({WORDS: None}, "missing: encoder.embeddings.word"),
        ({"classifier.weight": np.zeros((24, 4), np.float32)}, "of another shape"),
        ({"ernie.encoder.layers.7.norm1.weight": np.zeros(24, np.float32)}, "encoder.layer"),
        ({"ernie.pooler.dense.bias": None}, "missing: heads.seq-cls.pool.bias"),
        ({"model.embeddings.word_embeddings.weight": np.zeros((50, 24), np.float32)}, "the same weight"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, changes, complaint):
    with pytest.raises(WeightsError, match=complaint):
        convert(paddle(tmp_path, **changes), to="native", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"t", "p"}


def test_fine_tuned_checkpoints_of_paddlehub_are_understood(tmp_path):
    folder = paddle(tmp_path)
    arrays = {f"model.{name}": array for name, array in read_pdparams(folder / "model_state.pdparams").items()}
    with (folder / "model_state.pdparams").open("wb") as stream:
        write_pickle(stream, arrays)
    convert(folder, to="transformers", out=tmp_path / "back")
    before, after = load_file(tmp_path / "t" / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_classifier_whose_task_nobody_says_is_asked_for(tmp_path):
    folder = paddle(tmp_path)
    facts = json.loads((folder / "config.json").read_text("utf-8"))
    del facts["architectures"]
    (folder / "model_config.json").write_text(json.dumps({"init_args": [facts], "init_class": ""}), "utf-8")
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="--task seq-cls or --task token-cls"):
        convert(folder, to="native", out=tmp_path / "out")
    assert convert(folder, to="native", out=tmp_path / "out", task="seq-cls").format == "paddle"
    with pytest.raises(InputError, match="task='mlm' is none"):
        convert(folder, to="native", out=tmp_path / "other", task="mlm")


def test_an_untied_decoder_is_refused(tmp_path):
    made(tmp_path / "t", "Bert", "ForMaskedLM")
    path = tmp_path / "t" / "model.safetensors"
    save_file(load_file(path) | {"cls.predictions.decoder.weight": torch.zeros(50, 24)}, path, {"format": "pt"})
    with pytest.raises(WeightsError, match="not tied"):
        convert(tmp_path / "t", to="native", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"do_lower_case": "yes"}, "do_lower_case='yes'"),
        ({"strip_accents": False}, "strip_accents"),
        ({"tokenize_chinese_chars": False}, "chinese"),
    ],
)
def test_settings_of_a_tokenizer_that_are_not_known_are_refused(tmp_path, settings, complaint):
    made(tmp_path / "t")
    (tmp_path / "t" / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(WeightsError, match=complaint):
        convert(tmp_path / "t", to="native", out=tmp_path / "out")


def test_cased_vocabularies_small_ones_and_missing_ones(tmp_path):
    made(tmp_path / "t")
    (tmp_path / "t" / "tokenizer_config.json").write_text('{"do_lower_case": false}', "utf-8")
    (tmp_path / "t" / "vocab.txt").write_text("\n".join(VOCABULARY[:40]), "utf-8")
    report = convert(tmp_path / "t", to="native", out=tmp_path / "out")
    assert report.notes == ("10 rows of the embedding have no entry; they are called [row40] to [row49]",)
    assert not hub.Module(directory=tmp_path / "out").tokenizer.lowercase
    (tmp_path / "t" / "vocab.txt").write_text("\n".join([*VOCABULARY, *(f"x{i}" for i in range(20))]), "utf-8")
    with pytest.raises(WeightsError, match="embeds 50"):
        convert(tmp_path / "t", to="native", out=tmp_path / "out2")
    (tmp_path / "t" / "vocab.txt").unlink()
    with pytest.raises(WeightsError, match=r"lay vocab\.txt"):
        convert(tmp_path / "t", to="native", out=tmp_path / "out2")
    assert convert(tmp_path / "t", to="paddle", out=tmp_path / "out2").notes


def test_arguments_are_checked_at_once_and_a_folder_in_use_is_left_alone(tmp_path):
    made(tmp_path / "t")
    with pytest.raises(InputError, match="This conversion cannot begin") as found:
        convert(tmp_path / "nothing", to="onnx", out=tmp_path / "t", family="gpt2")
    assert len(found.value.problems) == 4
    (tmp_path / "t" / "x.ckpt.index").touch()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "t" / name).unlink()
    with pytest.raises(InputError, match="TensorFlow"):
        convert(tmp_path / "t", to="native", out=tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no checkpoint"):
        convert(tmp_path / "empty", to="native", out=tmp_path / "out")


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    made(tmp_path / "t")
    monkeypatch.setattr("nlphub.checkpoints.targets.publish_json", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        convert(tmp_path / "t", to="paddle", out=tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"t"}


def test_heads_without_a_network_elsewhere_are_refused(tmp_path, parts, small_folder):
    module = hub.Module(directory=small_folder, task="regression")
    module.save(tmp_path / "m")
    with pytest.raises(NlphubError, match="no other library"):
        convert(tmp_path / "m", to="paddle", out=tmp_path / "out")


def test_the_command_prints_facts(tmp_path):
    made(tmp_path / "t", "ErnieTask", "ForMaskedLM")
    run = CliRunner().invoke
    done = run(app, ["convert", str(tmp_path / "t"), "--to", "native", "--out", str(tmp_path / "a"), "--keys"])
    assert done.exit_code == 0, done.output
    assert "encoder.blocks.1.qkv.weight" in done.output
    done = run(app, ["convert", str(tmp_path / "a"), "--to", "transformers", "--family", "bert", "--out", str(tmp_path / "b"), "--json"])
    report = json.loads(done.stdout)
    assert report["family"] == "bert"
    assert "task type 0 of 3 was added to the token types" in report["notes"]
    assert transformers.BertForMaskedLM.from_pretrained(tmp_path / "b") is not None
    assert isinstance(run(app, ["convert", str(tmp_path / "t"), "--to", "x", "--out", str(tmp_path / "c")]).exception, InputError)
