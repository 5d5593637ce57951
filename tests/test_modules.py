"""The contract of every folder in modules/: three names, true numbers, an encoder that learns and does not mix its batch up."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nlphub.checkpoints import native
from nlphub.data.batching import Packed, pack
from nlphub.hub import zoo
from nlphub.kernels import Noise
from nlphub.nn.encoder import Encoder, EncoderConfig, to_tensors
from nlphub.nn.heads import Head
from nlphub.nn.initialise import initialise
from nlphub.text.tokenizers import load_tokenizer

ROOT = Path(__file__).parent.parent
REGISTRY = json.loads((ROOT / "registry.json").read_text("utf-8"))["modules"]
FOLDERS = sorted(path.name for path in (ROOT / "modules").iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
NAMES = [name for name in FOLDERS if (ROOT / "modules" / name / "config.json").is_file()]  # the others build what was converted
SMALL = {"layers": 1, "width": 32, "heads": 2, "inner": 48}
TEXTS = ["我要退这双鞋", "转人工", "", "查一下物流", "hello 123", "他说：「今天天气很好」", "？"]
LABELS = 3

pytestmark = pytest.mark.parametrize("name", NAMES)


def config_of(name: str) -> dict[str, Any]:
    return native.load_config(ROOT / "modules" / name)


def tokenizer_of(name: str) -> Any:
    return zoo.load(name).tokenizer(ROOT / "tokenizers" / REGISTRY[name]["tokenizer"])


def small(name: str, task: str) -> tuple[Encoder, Head]:
    """A tiny encoder of the module with one of its heads, seeded."""
    parts = zoo.load(name)
    encoder = parts.transformer(**SMALL)
    head = parts.heads[task].build(32, outputs(task, encoder.config.vocab), dropout=0.1)
    head.attach(encoder)
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
    return encoder, head


def batch(name: str, rows: list[int] | None = None) -> Packed[Tensor]:
    encoded = tokenizer_of(name).encode(TEXTS)
    return to_tensors(pack(encoded, np.array(range(len(TEXTS)) if rows is None else rows)))


def logits(encoder: Encoder, head: Head, packed: Packed[Tensor], *, noise: Noise | None = None) -> Tensor:
    return head(encoder(packed, rows=head.rows, noise=noise), packed, noise=noise)


def outputs(task: str, vocab: int) -> list[str]:
    """Names of as many outputs as a head of the task has in these tests."""
    if task == "joint":
        return ["intent:a", "intent:b", "O", "B-x", "I-x"]
    return [str(number) for number in range({"mlm": vocab, "regression": 1}.get(task, LABELS))]


def targets(head: Head, rows: int) -> Any:
    if head.task == "joint":
        return torch.arange(len(TEXTS)) % 2, torch.arange(rows) % 3
    if head.task == "regression":
        return torch.linspace(-1, 1, rows)
    numbers = torch.arange(rows) % head.labels
    return F.one_hot(numbers, head.labels).float() if head.task == "multi-label" else numbers


def tasks(name: str) -> list[str]:
    return sorted(zoo.load(name).heads)


def test_a_folder_holds_code_config_and_card(name):
    folder = ROOT / "modules" / name
    files = {"__init__.py", "transformer.py", "tokenizer.py", "heads.py", "config.json", "README.md"}
    assert files <= {path.name for path in folder.iterdir()}
    for path in folder.glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path
        assert path.read_text("utf-8").count("\n") <= 60, f"{path}: shared mathematics belongs into nlphub.nn"


def test_the_registry_states_the_truth(name):
    card, parts = REGISTRY[name], zoo.load(name)
    with torch.device("meta"):
        encoder = parts.transformer()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == card["parameters"]
    assert sorted(card["tasks"]) == sorted(parts.heads)
    assert (ROOT / "tokenizers" / card["tokenizer"]).is_dir()
    assert card["architecture"] == name


def test_config_code_and_tokenizer_agree(name):
    config, tokenizer = config_of(name), tokenizer_of(name)
    with torch.device("meta"):
        encoder = zoo.load(name).transformer()
    assert EncoderConfig.from_dict(config["encoder"]) == encoder.config
    assert config["architecture"] == name
    assert encoder.config.vocab == len(tokenizer)
    assert encoder.config.positions >= tokenizer.max_length
    native.check_tokenizer(config, tokenizer)
    assert config["tokenizer"]["digest"] == tokenizer.digest
    assert config["tokenizer"]["name"] == REGISTRY[name]["tokenizer"]


def test_heads_are_listed_under_their_task(name):
    for task, head in zoo.load(name).heads.items():
        assert issubclass(head, Head)
        assert head.task == task
        assert head.rows in ("all", "cls")


def test_the_tokenizer_keeps_its_contract(name, tmp_path):
    tokenizer = tokenizer_of(name)
    encoded = tokenizer.encode(TEXTS)
    assert len(encoded) == len(TEXTS)
    assert encoded.ids.min() >= 0
    assert encoded.ids.max() < len(tokenizer)
    for ids in encoded.lists():
        assert (ids[0], ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
    assert tokenizer.decode(encoded.lists()[0]) == "我要退这双鞋"
    assert tokenizer.encode(["长" * 9999]).lengths.tolist() == [tokenizer.max_length]
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.digest == tokenizer.digest
    assert again.encode(TEXTS).lists() == encoded.lists()


def test_the_tokenizer_masks_whole_words(name):
    tokenizer = tokenizer_of(name)
    encoded = tokenizer.encode(TEXTS)
    starts = tokenizer.words(TEXTS, encoded)
    assert starts.shape == encoded.ids.shape
    assert starts[encoded.starts[:-1]].all()  # [CLS] stands alone
    assert 0 < starts.sum() < len(starts)  # some words have several characters
    first, again, other = (tokenizer.mask(encoded, starts, generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.ids, again.ids)
    assert not np.array_equal(first.ids, other.ids)
    chosen = first.targets >= 0
    assert np.array_equal(first.targets[chosen], encoded.ids[chosen])
    assert np.array_equal(first.ids[~chosen], encoded.ids[~chosen])
    word = np.cumsum(starts)
    assert not set(word[chosen]) & set(word[~chosen])  # a word is masked whole or not at all


def test_logits_have_their_shape_and_losses_are_finite(name):
    packed = batch(name)
    for task in tasks(name):
        encoder, head = small(name, task)
        out = logits(encoder, head, packed)
        rows = len(TEXTS) if head.rows == "cls" else len(packed.ids)
        assert out.shape == (rows, head.labels)
        losses = head.loss(out, targets(head, rows), packed=packed)
        assert losses.shape == ((len(TEXTS),) if task == "joint" else (rows,))
        assert losses.dtype == torch.float32
        assert losses.isfinite().all()


def test_every_parameter_learns(name):
    packed = batch(name)
    for task in tasks(name):
        encoder, head = small(name, task)
        out = logits(encoder, head, packed, noise=Noise(1))
        head.loss(out, targets(head, len(out)), packed=packed).mean().backward()
        for part in (encoder, head):
            for parameter_name, parameter in part.named_parameters():
                assert parameter.grad is not None, parameter_name
                assert parameter.grad.isfinite().all(), parameter_name
                if not parameter_name.endswith("qkv.bias"):  # its key third has no effect: softmax does not see it
                    assert parameter.grad.abs().max() > 0, parameter_name


def test_batch_order_and_batch_mates_do_not_change_logits(name):
    order = [3, 0, 6, 2, 5, 1, 4]
    for task in (task for task in tasks(name) if zoo.load(name).heads[task].rows == "cls"):
        encoder, head = small(name, task)
        together = logits(encoder, head, batch(name))
        torch.testing.assert_close(logits(encoder, head, batch(name, order)), together[order], atol=1e-6, rtol=1e-5)
        for row in range(len(TEXTS)):
            torch.testing.assert_close(logits(encoder, head, batch(name, [row])), together[[row]], atol=1e-6, rtol=1e-5)


def test_saved_weights_come_back_bitwise(name, tmp_path):
    for task in tasks(name):
        encoder, head = small(name, task)
        folder = tmp_path / task
        folder.mkdir()
        native.save_checkpoint(folder, encoder=encoder, head=head, tokenizer=tokenizer_of(name), config=config_of(name))
        config = native.load_config(folder)
        again = zoo.load(config["architecture"]).transformer(**config["encoder"])
        other = zoo.load(name).heads[task].build(32, outputs(task, encoder.config.vocab), dropout=0.1)
        other.attach(again)
        native.load_weights(folder, encoder=again, head=other)
        assert native.weights_digest(again, other) == native.weights_digest(encoder, head)
        assert torch.equal(logits(again, other, batch(name)), logits(encoder, head, batch(name)))


def test_one_training_step_lowers_the_loss(name):
    packed = batch(name)
    for task in tasks(name):
        encoder, head = small(name, task)
        optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
        wanted = targets(head, len(logits(encoder, head, packed)))
        before = head.loss(logits(encoder, head, packed), wanted, packed=packed).mean()
        before.backward()
        optimizer.step()
        assert head.loss(logits(encoder, head, packed), wanted, packed=packed).mean() < before


def test_untrained_weights_are_made_from_the_seed_alone(name):
    seed = config_of(name).get("initial_seed")
    if seed is None:
        assert any(entry["path"] == native.WEIGHTS for entry in REGISTRY[name]["files"]), "a module has weights or the seed that makes them"
        return
    digests = set()
    for state in (1, 2):
        torch.manual_seed(state)
        encoder = zoo.load(name).transformer(**SMALL)
        initialise(encoder, seed)
        digests.add(native.weights_digest(encoder))
    assert len(digests) == 1
    assert "random" in (ROOT / "modules" / name / "README.md").read_text("utf-8").lower()
