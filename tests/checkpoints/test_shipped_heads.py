"""A pretrained module ships heads beside its encoder, in any stored form; every way to open it gives the same tensors."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import nlphub as hub
from nlphub.checkpoints import native
from nlphub.checkpoints.compact import FORMS
from nlphub.errors import WeightsError
from nlphub.hub import zoo
from nlphub.nn.heads import MaskedLMHead, SequenceHead
from nlphub.nn.initialise import initialise
from nlphub.paths import bundle


def parts() -> dict[str, Any]:
    """Encoder, tokenizer and a masked-LM head of a small network, as pretraining leaves them."""
    made = zoo.load("ernie_tiny")
    encoder = made.transformer(layers=1, width=32, heads=2, inner=48)
    tokenizer = made.tokenizer(bundle() / "tokenizers" / "zh_char")
    head = MaskedLMHead(32, len(tokenizer))
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed + 7)
    torch.nn.init.normal_(head.bias, generator=torch.Generator().manual_seed(0))
    return {"encoder": encoder, "tokenizer": tokenizer, "mlm": head}


def shipped(folder: Path, *, form: str = "fp32", **config: Any) -> Path:
    folder.mkdir()
    made = parts()
    facts = {"architecture": "ernie_tiny", **config}
    native.save_checkpoint(
        folder, encoder=made["encoder"], head=None, tokenizer=made["tokenizer"], config=facts, pretrained=[made["mlm"]], form=form
    )
    return folder


def test_the_config_lists_the_heads_and_a_saved_module_does_not(tmp_path):
    folder = shipped(tmp_path / "m", heads=["embedding"], initial_seed=3)
    config = native.load_config(folder)
    assert (config["task"], config["heads"], "initial_seed" in config) == (None, ["mlm"], False)
    hub.Module(directory=folder, task="seq-cls", num_classes=2).save(tmp_path / "saved")
    assert "heads" not in native.load_config(tmp_path / "saved")


def test_a_new_head_starts_on_the_encoder_without_a_warning(tmp_path, caplog):
    folder = shipped(tmp_path / "m")
    with caplog.at_level(logging.WARNING):
        module = hub.Module(directory=folder, task="seq-cls", labels=["退货", "转人工"])
        bare = hub.Module(directory=folder)
    assert caplog.text == ""
    assert not module.trained
    assert bare.head is None
    assert native.weights_digest(module.encoder) == native.weights_digest(bare.encoder) == native.weights_digest(parts()["encoder"])


def test_a_shipped_head_is_loaded_and_trained(tmp_path):
    module = hub.Module(directory=shipped(tmp_path / "m"), task="mlm")
    assert module.trained
    assert native.weights_digest(module.encoder, module.head) == native.weights_digest(parts()["encoder"], parts()["mlm"])
    module.save(tmp_path / "saved")
    config = native.load_config(tmp_path / "saved")
    assert (config["task"], "heads" in config) == ("mlm", False)


def test_a_checkpoint_brings_its_shipped_head_to_a_module_that_asks_for_it(tmp_path):
    start, folder = shipped(tmp_path / "start"), tmp_path / "m"
    shutil.copytree(start, folder)
    encoder, head = parts()["encoder"], parts()["mlm"]
    initialise(encoder, 99)
    native.save_weights(folder / "model.safetensors", native.tensors(encoder, head))
    module = hub.Module(directory=start, task="mlm", load_checkpoint=folder)
    assert module.trained
    assert native.weights_digest(module.encoder, module.head) == native.weights_digest(encoder, head)
    classifier = hub.Module(directory=start, task="seq-cls", num_classes=2, load_checkpoint=folder)
    assert not classifier.trained
    assert native.weights_digest(classifier.encoder) == native.weights_digest(encoder)


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_open_a_file_gives_the_same_tensors(tmp_path, form, monkeypatch):
    folder, plain = shipped(tmp_path / "m", form=form), shipped(tmp_path / "plain")
    hub_folder = as_hub(tmp_path / "hub", folder)
    monkeypatch.setenv("NLPHUB_REGISTRY", str(hub_folder))
    made = parts()
    native.load_weights(folder / "model.safetensors", encoder=made["encoder"], head=made["mlm"])
    expected = native.weights_digest(made["encoder"], made["mlm"])
    assert (expected == native.weights_digest(parts()["encoder"], parts()["mlm"])) == (form == "fp32")
    for module in (
        hub.Module(directory=folder, task="mlm"),
        hub.Module(name="small_one", task="mlm"),
        hub.Module(directory=plain, task="mlm", load_checkpoint=folder),
        hub.Module(directory=plain, task="mlm", load_checkpoint=folder / "model.safetensors"),
    ):
        assert native.weights_digest(module.encoder, module.head) == expected
        module.save(tmp_path / "saved")  # stays float32
        again = hub.Module(directory=tmp_path / "saved")
        assert native.weights_digest(again.encoder, again.head) == expected


def as_hub(folder: Path, module: Path) -> Path:
    """A hub folder of one module, by its files."""
    from nlphub.files import sha256

    place = folder / "modules" / "small_one"
    place.parent.mkdir(parents=True)
    shutil.copytree(module, place)
    card = json.loads((bundle() / "registry.json").read_text("utf-8"))["modules"]["ernie_tiny"]
    files = [
        {"path": path.name, "bytes": path.stat().st_size, "sha256": sha256(path), "sources": [f"bundle:modules/small_one/{path.name}"]}
        for path in sorted(place.iterdir())
    ]
    modules = {"small_one": card | {"aliases": [], "files": files}}
    (folder / "registry.json").write_text(json.dumps({"schema": 1, "modules": modules}), "utf-8")
    return folder


@pytest.mark.parametrize("heads", ["mlm", ["mlm", "mlm"], ["nonsense"], [1], [["mlm"]], {"mlm": 1}], ids=str)
def test_a_wrong_list_of_heads_is_named(tmp_path, heads):
    change(shipped(tmp_path / "m"), heads=heads)
    with pytest.raises(WeightsError, match="heads: expected a list of different tasks"):
        native.load_config(tmp_path / "m")


def test_a_head_is_the_modules_own_or_shipped_but_not_both(tmp_path):
    change(shipped(tmp_path / "m"), task="mlm")
    with pytest.raises(WeightsError, match="heads: 'mlm' is the task of this module already"):
        native.load_config(tmp_path / "m")


def test_heads_that_are_not_listed_are_not_expected(tmp_path):
    folder = shipped(tmp_path / "m")
    change(folder, heads=[])
    module = hub.Module(directory=folder, task="mlm")
    assert not module.trained, "nobody says that this head belongs to the encoder"
    change(folder, heads=["mlm", "embedding"])
    made = parts()
    native.save_weights(folder / "model.safetensors", native.tensors(made["encoder"], SequenceHead(32, 3)))
    with pytest.raises(WeightsError, match=r"missing: heads\.mlm\.bias"):
        hub.Module(directory=folder, task="mlm")
    extra = {**native.tensors(made["encoder"], made["mlm"]), "heads.mlm.more": torch.zeros(2)}
    native.save_weights(folder / "model.safetensors", extra)
    with pytest.raises(WeightsError, match=r"not expected: heads\.mlm\.more"):
        hub.Module(directory=folder, task="mlm")


def change(folder: Path, **facts: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | facts), "utf-8")
