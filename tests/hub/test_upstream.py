"""Modules of others by name: fetched from a server that plays the Hugging Face hub, converted, pinned, and opened without a network."""

import hashlib
import json
import pickle
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load, load_file, save

import nlphub as hub
from nlphub import paths
from nlphub.checkpoints import upstream
from nlphub.checkpoints.convert import convert
from nlphub.checkpoints.numbers import official
from nlphub.data.batching import pad
from nlphub.errors import DigestError, FetchError, InputError, NlphubError, OfflineError, WeightsError
from nlphub.hub import bundles, lockfile, making, own, project, store
from nlphub.hub.cards import Card, Origin
from nlphub.hub.registry import find_module, list_modules, load_registry
from nlphub.nn.dense import dense_encode

COMMIT, LATER = "a" * 40, "b" * 40
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"我爱中国退货物流今天气真好，。！？", *(f"w{i}" for i in range(28))]
SMALL = {
    "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
README = "---\nlanguage: zh\nlicense: apache-2.0\n---\n# a card\n"
TEXTS = ["我爱中国", "退货！", "今天天气真好"]
BASE = "hf://org/small@main"


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """``published(seed=1, safe=True, **changes)``: the files of a small random ERNIE as transformers writes them."""

    def make(*, seed: int = 1, safe: bool = True, **changes: Any) -> dict[str, bytes]:
        torch.manual_seed(seed)
        folder = tmp_path / f"published-{len(list(tmp_path.glob('published-*')))}"
        model = transformers.ErnieForMaskedLM(transformers.ErnieConfig(**{**SMALL, **changes}))
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
        (folder / "README.md").write_text(README, "utf-8")
        if not safe:
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    return make


@pytest.fixture
def offer(server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``offer(files, commit=..., repository=...)``: the local server has them in a repository whose branch main is this commit."""
    from huggingface_hub import constants

    commits: dict[str, str] = {}

    def head(handler: Any) -> None:
        content = handler.server.files.get(handler.path)
        repository, _, rest = handler.path.removeprefix("/").partition("/resolve/")
        handler.close_connection, closing = True, {"Connection": "close"}
        if content is None:
            handler.answer(404, b"", closing | {"X-Error-Code": "EntryNotFound" if repository in commits else "RepoNotFound"})
            return
        revision = rest.partition("/")[0]
        headers = {"X-Repo-Commit": commits[repository] if revision == "main" else revision}
        handler.answer(200, b"", headers | closing | {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}, length=len(content))

    monkeypatch.setattr(server.RequestHandlerClass, "do_HEAD", head, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}", raising=False
    )

    def put(files: Mapping[str, bytes], *, commit: str = COMMIT, repository: str = "org/small") -> None:
        commits[repository] = commit
        for name, content in files.items():
            for revision in ("main", commit):
                server.files[f"/{repository}/resolve/{revision}/{name}"] = content

    return put


@pytest.fixture
def toy(write_registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Card]:
    """``toy(origin, ...)``: the card of a module that is made from these places."""

    def make(*origins: Mapping[str, Any], **changes: Any) -> Card:
        given = [{"form": "transformers", "base": BASE}] if not origins else list(origins)
        entry = {"files": [], "origins": given, "architecture": "ernie", "licence": None, "aliases": ["org/small", "small-zh"], **changes}
        monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"toy": entry})))
        return find_module("toy")

    return make


def hidden(module: Any) -> torch.Tensor:
    arrays = pad(module.tokenizer.encode(TEXTS), np.arange(len(TEXTS)), pad_id=module.tokenizer.pad_id)
    given = dict(zip(("input_ids", "attention_mask", "token_type_ids"), map(torch.from_numpy, arrays), strict=True))
    with torch.inference_mode():
        return dense_encode(module.encoder, **given)


def expected(files: Mapping[str, bytes], folder: Path, module: Any) -> torch.Tensor:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    arrays = pad(module.tokenizer.encode(TEXTS), np.arange(len(TEXTS)), pad_id=module.tokenizer.pad_id)
    given = dict(zip(("input_ids", "attention_mask", "token_type_ids"), map(torch.from_numpy, arrays), strict=True))
    model = transformers.ErnieModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**given).last_hidden_state


def test_a_module_is_fetched_converted_pinned_and_opened_again_without_a_network(
    published: Any, offer: Any, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = published()
    offer(files)
    card = toy()
    module = hub.Module(name="org/small", task="mlm")
    torch.testing.assert_close(hidden(module), expected(files, tmp_path / "theirs", module), atol=1e-5, rtol=1e-5)
    assert module.config["base"] == {"name": "toy", "version": "1.0.0", "licence": "apache-2.0"}
    made = lockfile.made_from(store.folder(card))
    assert made is not None
    for entry in made.files:
        name = {"card.md": "README.md"}.get(entry.path, entry.path)
        assert (entry.bytes, entry.sha256) == (len(files[name]), hashlib.sha256(files[name]).hexdigest())
        assert entry.sources == (f"hf://org/small@{COMMIT}/{name}",)
    assert not making.folder(card).exists()
    assert store.verify(card) == []
    assert (store.folder(card) / "card.md").read_text("utf-8") == README

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    assert torch.equal(hidden(hub.Module(name="small-zh")), hidden(module))
    monkeypatch.setenv("NLPHUB_REGISTRY", "")
    assert torch.equal(hidden(hub.Module(name="toy")), hidden(module))


def test_a_bin_is_taken_where_there_are_no_safetensors_and_a_mirror_where_the_hub_fails(
    published: Any, offer: Any, toy: Any, server: Any
) -> None:
    files = published(safe=False)
    offer({name: content for name, content in files.items() if name != "pytorch_model.bin"})
    offer(files, repository="org/mirror")
    card = toy({"form": "transformers", "base": BASE}, {"form": "transformers", "base": f"{server.address}/org/mirror/resolve/main"})
    upstream.install(card)
    made = lockfile.made_from(store.folder(card))
    assert made is not None
    assert {entry.path for entry in made.files} == {"config.json", "vocab.txt", "card.md", "pytorch_model.bin"}
    assert all(entry.sources[0].startswith(server.address) for entry in made.files)  # files of two places are never mixed


def test_files_of_two_places_are_never_mixed(published: Any, offer: Any, toy: Any, server: Any) -> None:
    files = published()
    half = {name: content for name, content in files.items() if name != "model.safetensors"}
    offer(half | {"tokenizer_config.json": b'{"do_lower_case": false}'})
    offer(files, repository="org/mirror")
    card = toy({"form": "transformers", "base": BASE}, {"form": "transformers", "base": f"{server.address}/org/mirror/resolve/main"})
    upstream.install(card)
    assert hub.Module(name="toy").tokenizer.lowercase
    made = lockfile.made_from(store.folder(card))
    assert made is not None
    assert "tokenizer_config.json" not in {entry.path for entry in made.files}


def test_a_pdparams_is_fetched_and_converted(published: Any, toy: Any, server: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "t"
    theirs.mkdir()
    for name, content in published().items():
        (theirs / name).write_bytes(content)
    convert(theirs, to="paddle", out=tmp_path / "p")
    for name in ("model_state.pdparams", "vocab.txt", "config.json"):
        server.files[f"/paddle/small_{name}"] = (tmp_path / "p" / name).read_bytes()
    names = {name: f"small_{name}" for name in ("model_state.pdparams", "vocab.txt", "config.json")}
    card = toy({"form": "paddle", "base": f"{server.address}/paddle", "files": names})
    module = hub.Module(name="toy")
    direct = convert(theirs, to="native", out=tmp_path / "ours")
    assert direct.encoder == module.encoder.config.to_dict()
    ours, made = (load_file(folder / "model.safetensors") for folder in (tmp_path / "ours", store.folder(card)))
    assert ours.keys() == made.keys()
    assert all(torch.equal(made[name], tensor) for name, tensor in ours.items())
    assert {path.name for path in store.folder(card).iterdir()} == {
        "config.json", "model.safetensors", "vocab.txt", "nlphub_tokenizer.json", lockfile.NAME,
    }  # fmt: skip


def test_a_config_that_contradicts_the_numbers_of_the_module_is_refused(published: Any, offer: Any, private_home: Path) -> None:
    offer(published(), repository="nghuyong/ernie-3.0-nano-zh")
    card = replace(find_module("ernie-3.0-nano-zh"), origins=(Origin("transformers", "hf://nghuyong/ernie-3.0-nano-zh@main"),))
    with pytest.raises(InputError, match=r"hidden_size is 24 there, and 312 by ernie_3_0_nano 1\.0\.0"):
        upstream.install(card)
    assert store.installed() == []
    with pytest.raises(InputError, match="Run: nlphub install ernie_3_0_nano"):
        store.install(card)  # the light rooms cannot convert, and say so


def test_another_architecture_than_the_registry_says_is_refused(published: Any, offer: Any, toy: Any) -> None:
    offer(published())
    with pytest.raises(WeightsError, match="is built by 'bert', and the files of its publisher are a 'ernie' model"):
        upstream.install(toy(architecture="bert"))
    assert store.installed() == []


def test_a_second_download_with_other_bytes_is_refused_by_the_lock(published: Any, offer: Any, toy: Any, server: Any) -> None:
    offer(published())
    card = toy()
    place = upstream.install(card)
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    offer(published(seed=2), commit=LATER)
    (place / "model.safetensors").chmod(0o600)
    (place / "model.safetensors").write_bytes(b"damaged")
    upstream.install(card)  # the branch has moved on, and the pinned commit is what is fetched
    assert (place / "model.safetensors").read_bytes() == before["model.safetensors"]
    offer(published(seed=2), commit=COMMIT)
    (place / "model.safetensors").unlink()
    with pytest.raises(DigestError, match=r"pinned by the first installation(.|\n)*nlphub remove toy --version 1\.0\.0"):
        upstream.install(card)
    assert store.verify(card) == ["model.safetensors: is missing"]


def test_what_was_pinned_may_come_from_another_place(published: Any, offer: Any, toy: Any, server: Any) -> None:
    files = published()
    offer(files)
    offer(files, repository="org/mirror")
    card = toy({"form": "transformers", "base": BASE}, {"form": "transformers", "base": f"{server.address}/org/mirror/resolve/main"})
    place = upstream.install(card)
    for path in [path for path in server.files if path.startswith("/org/small/")]:
        del server.files[path]
    (place / "vocab.txt").unlink()
    upstream.install(card)
    made = lockfile.made_from(place)
    assert made is not None
    assert store.verify(card) == []
    assert {entry.sources[0].partition("/resolve/")[0] for entry in made.files} == {f"{server.address}/org/mirror"}


def test_a_made_module_is_pinned_in_the_lock_of_a_project(
    published: Any, offer: Any, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(published())
    card = toy()
    upstream.install(card)
    pin = project.pin_of(card)
    project.write(tmp_path / "nlphub.lock", {"toy": pin})
    assert project.read(tmp_path / "nlphub.lock") == {"toy": pin}
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "elsewhere"))
    offer(published(seed=2), commit=LATER)
    upstream.install(project.locked_card("toy", pin), pins=pin.made)  # the branch has moved on; the pinned commit is still there
    project.check(card, pin)
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "third"))
    upstream.install(card)
    with pytest.raises(InputError, match=r"(?s)is not what nlphub\.lock pins.*model\.safetensors: has sha256"):
        project.check(card, pin)
    monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / "fourth"))
    offer(published(seed=2), commit=COMMIT)
    with pytest.raises(DigestError, match=r"model\.safetensors"):
        upstream.install(card, pins=pin.made)
    assert store.installed() == []


@pytest.mark.parametrize("step", [3, 5])
def test_a_killed_installation_leaves_no_module_or_a_whole_one_and_fetches_nothing_twice(
    published: Any, offer: Any, toy: Any, server: Any, killed_at: Any, step: int
) -> None:
    offer(published())
    card, number, killed = toy(), 1, True
    while killed:
        killed = killed_at(number, lambda: upstream.install(card))
        found = store.installed("toy")
        assert all(store.verify(card) == [] for _ in found)
        number += step * 7
    assert found
    weights = [path for path, _ in server.requests if path.endswith("model.safetensors")]
    assert len(weights) < number // (step * 7)  # what had arrived was kept
    assert torch.isfinite(hidden(hub.Module(name="toy"))).all()


class Call:
    def __reduce__(self) -> tuple[Any, ...]:
        return (__import__("os").system, ("touch executed",))


def claiming(elements: int) -> bytes:
    """A safetensors file whose header is larger than life."""
    header = json.dumps({"bert.x": {"dtype": "F32", "shape": [elements], "data_offsets": [0, 4 * elements]}}).encode()
    return len(header).to_bytes(8, "little") + header


HOSTILE: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a pickle that calls os.system": lambda files: {"model.safetensors": b"", "pytorch_model.bin": pickle.dumps({"x": Call()})},
    "no bytes": lambda files: {"model.safetensors": b""},
    "cut off": lambda files: {"model.safetensors": files["model.safetensors"][:-9]},
    "10^12 elements": lambda files: {"model.safetensors": claiming(10**12)},
    "not a number": lambda files: {"model.safetensors": changed(files, lambda tensor: tensor.fill_(float("nan")))},
    "whole numbers": lambda files: {"model.safetensors": changed(files, lambda tensor: tensor.to(torch.int64))},
    "no JSON": lambda files: {"config.json": b"{" * 10_000},
    "100 MB of JSON": lambda files: {"config.json": b'{"a": "' + b"x" * 100_000_000 + b'"}'},
    "a vocabulary of nothing": lambda files: {"vocab.txt": b""},
}


def changed(files: Mapping[str, bytes], action: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
    state = load(files["model.safetensors"])
    name = "ernie.encoder.layer.0.output.dense.weight"
    return save(state | {name: action(state[name].clone())}, {"format": "pt"})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_of_a_publisher_are_refused_and_nothing_of_them_is_run_or_kept(
    published: Any, offer: Any, toy: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = published()
    good = dict(files)
    spoilt = HOSTILE[name](files)
    if "pytorch_model.bin" in spoilt:
        del files["model.safetensors"], spoilt["model.safetensors"]
    offer(files | spoilt)
    card = toy()
    with pytest.raises(NlphubError):
        upstream.install(card)
    assert store.installed() == []
    assert not (tmp_path / "executed").exists()
    offer(good)
    upstream.install(card)  # what was refused is not kept for the next time
    assert store.verify(card) == []


def test_offline_nothing_is_asked_and_the_way_out_is_said(toy: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"nlphub bundle toy==1\.0\.0 -o site\.zip"):
        upstream.install(toy())
    assert server.requests == []


def test_offline_a_folder_of_this_machine_is_used_and_no_network(
    published: Any, toy: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    for name, content in published().items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    card = toy({"form": "transformers", "base": BASE}, {"form": "transformers", "base": folder.as_uri()})
    upstream.install(card)
    assert store.verify(card) == []
    assert server.requests == []


def test_when_no_place_has_it_the_reasons_of_each_are_named(toy: Any, server: Any, published: Any, offer: Any) -> None:
    offer({name: content for name, content in published().items() if name != "model.safetensors"})
    card = toy({"form": "transformers", "base": BASE}, {"form": "transformers", "base": f"{server.address}/none"})
    with pytest.raises(FetchError) as caught:
        upstream.install(card)
    assert "has neither model.safetensors nor pytorch_model.bin" in str(caught.value)
    assert f"{server.address}/none: " in str(caught.value)


def test_a_made_module_travels_in_bundles_and_in_hubs_of_ones_own(
    published: Any, offer: Any, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(published())
    card = toy()
    with pytest.raises(InputError, match="Run: nlphub install toy"):
        bundles.write_bundle(tmp_path / "site.zip", [card])
    upstream.install(card)
    bundles.write_bundle(tmp_path / "site.zip", [card])
    first = hidden(hub.Module(name="toy"))
    monkeypatch.delenv("NLPHUB_REGISTRY")
    added = own.add(card, to=tmp_path / "hub")
    assert added.card.licence == "apache-2.0"
    assert not added.card.is_made
    assert own.check(tmp_path / "hub") == []
    monkeypatch.setenv("NLPHUB_OFFLINE", "1")
    for number, registry in enumerate(("", str(tmp_path / "hub"))):
        monkeypatch.setenv("NLPHUB_HOME", str(tmp_path / f"home-{number}"))
        monkeypatch.setenv("NLPHUB_REGISTRY", registry)
        if not registry:
            bundles.install_bundle(tmp_path / "site.zip")
        assert torch.equal(hidden(hub.Module(name="toy")), first)


def test_the_shipped_registry_knows_the_modules_of_others_and_writes_nothing_from_memory() -> None:
    cards = {card.name: card for card in list_modules()}
    numbers = json.loads((paths.bundle() / "modules" / "ernie" / "numbers.json").read_text("utf-8"))
    made = {name: card for name, card in cards.items() if card.is_made}
    assert len(made) == 31
    for name, card in made.items():
        assert card.parameters is None
        assert card.files == ()
        assert card.upstream
        assert not any(origin.base.rpartition("@")[2] == COMMIT for origin in card.origins)
        if name in numbers:
            assert set(numbers[name]["aliases"]) == set(card.aliases)
            weights = [f"{origin.base}/{origin.files['model_state.pdparams']}" for origin in card.origins if origin.form == "paddle"]
            assert weights == [official(name).source]
    assert {"ernie_tiny_baidu", "ernie_1_0_base", "ernie_2_0_base_zh", "ernie_gram"} <= made.keys()
    for alias, name in {
        "ernie-3.0-nano-zh": "ernie_3_0_nano", "hfl/rbt3": "rbt3", "nghuyong/ernie-3.0-base-zh": "ernie_3_0_base",
        "bert-base-chinese": "bert_base_chinese", "uer/chinese_roberta_L-2_H-128": "uer_roberta_tiny", "ernie-tiny": "ernie_tiny",
    }.items():  # fmt: skip
        assert find_module(alias).name == name


def test_a_hub_may_offer_made_what_the_shipped_registry_only_knows_how_to_make(
    write_registry: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shipped = find_module("rbt3")
    facts = {"aliases": list(shipped.aliases), "architecture": "bert", "tasks": list(shipped.tasks), "tokenizer": "wordpiece"}
    promised = [{"path": "config.json", "bytes": 2, "sha256": "0" * 64, "sources": ["bundle:config.json"]}]
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"rbt3": facts | {"files": promised}})))
    assert find_module("hfl/rbt3").files[0].sha256 == "0" * 64
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"rbt3": facts | {"files": promised, "architecture": "ernie"}})))
    with pytest.raises(InputError, match="'rbt3' is taken by rbt3 of"):
        load_registry()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"files": [], "origins": []}, "a module has the one or is made from the other"),
        ({"origins": [{"form": "transformers", "base": BASE}]}, "a module has the one or is made from the other"),
        ({"files": [], "origins": [{"form": "pickle", "base": BASE}]}, "form='pickle'"),
        ({"files": [], "origins": [{"form": "paddle", "base": BASE}]}, "has to name its files"),
        ({"files": [], "origins": [{"form": "transformers", "base": "bundle:modules"}]}, "a place of files is no bundle"),
        ({"files": [], "origins": [{"form": "transformers", "base": "hf://org/small@abcdef0"}]}, "a commit has 40 hexadecimal digits"),
        ({"files": [], "origins": [{"form": "paddle", "base": BASE, "files": {"../x.bin": "x"}}]}, "origins.0.files"),
        ({"files": [], "origins": [{"form": "paddle", "base": BASE, "files": {"x.py": "x"}}]}, "a module is data only"),
        ({"files": [], "origins": [{"form": "paddle", "base": BASE, "files": {"x.bin": "../x"}}]}, "origins.0.files"),
    ],
)
def test_hostile_origins_are_refused(write_registry: Any, changes: Any, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        load_registry([write_registry({"toy": changes})])
    assert complaint in str(caught.value)


def test_a_branch_of_a_plain_module_is_made_a_commit_which_the_lock_keeps(
    offer: Any, server: Any, write_registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer({"a.txt": b"first", "b.txt": b"second"})
    files = [{"path": name, "bytes": None, "sha256": None, "sources": [f"hf://org/small@main/{name}"]} for name in ("a.txt", "b.txt")]
    monkeypatch.setenv("NLPHUB_REGISTRY", str(write_registry({"plain": {"files": files}})))
    card = find_module("plain")
    place = store.install(card)
    lock = lockfile.read(place)
    assert lock is not None
    assert {known.entry.sources for known in lock.values()} == {(f"hf://org/small@{COMMIT}/{name}",) for name in ("a.txt", "b.txt")}
    offer({"a.txt": b"later", "b.txt": b"later"}, commit=LATER)
    (place / "a.txt").unlink()
    store.install(card)
    assert (place / "a.txt").read_bytes() == b"first"  # the branch has moved on, the pinned commit has not
    offer({"a.txt": b"other"}, commit=COMMIT)
    (place / "a.txt").unlink()
    with pytest.raises(DigestError, match="the first installation pinned it"):
        store.install(card)


def test_a_server_that_does_not_say_which_commit_a_branch_is_is_not_believed(offer: Any, server: Any, toy: Any, published: Any) -> None:
    offer(published(), commit="not-a-commit")
    with pytest.raises(FetchError, match="does not say which commit main is"):
        upstream.install(toy())
