"""The kernels in C++ compute what the reference defines; without a compiler there is one line in the log, and torch's operations."""

import functools
import logging
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nlphub as hub
from nlphub.checkpoints.native import weights_digest
from nlphub.errors import InputError
from nlphub.kernels import Draws, Dropout, Layout, Site, cpu, dispatch, native, reference
from nlphub.kernels.native import build
from nlphub.recipe import TrainSettings

LENGTHS = [[1], [7], [3, 3, 3], [1, 1, 2, 5, 5, 9, 40], [9, 2, 2, 9, 31, 1], [130, 131], [16, 17, 32, 33]]
HEADS = [(3, 8), (12, 26), (2, 64), (1, 17)]
needs_compiler = pytest.mark.skipif(bool(build.unfit()), reason=build.unfit() or "there is one")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is decided or loaded yet."""
    monkeypatch.delenv("NLPHUB_KERNELS")
    for forget in (build.library.cache_clear, dispatch.forget):
        forget()
    yield
    for forget in (build.library.cache_clear, dispatch.forget):
        forget()


def with_gradients(function: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    parts = [tensor.clone().requires_grad_() for tensor in given]
    out = function(*parts)
    slope = torch.linspace(-1, 1, out.numel()).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * slope).sum(), parts)]


def close(found: list[Tensor], expected: list[Tensor], *, atol: float = 3e-6, rtol: float = 2e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=atol, rtol=rtol)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(rows: int, probability: float, site: Site = Site.FEED_FORWARD_OUTPUT) -> Dropout | None:
    return Draws(5, torch.arange(rows) // 3, torch.arange(rows) % 3).dropout(probability, layer=1, site=site)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_attention_and_its_gradients_agree_with_the_reference(batch, lengths, single, probability):
    packed = batch(lengths)
    layout, rows = Layout.of(packed), len(lengths) if single else sum(lengths)
    for heads, size in HEADS:
        fused = normal(sum(lengths), 3 * heads * size)

        def attention(fused: Tensor, route=None, heads=heads, rows=rows) -> Tensor:
            q, k, v = fused.chunk(3, dim=1)  # columns of one tensor, as in the encoder
            return route.attention(q[:rows], k, v, layout, heads=heads, dropped=drawn(rows, probability, Site.ATTENTION))

        found, expected = (with_gradients(lambda x, r=route, f=attention: f(x, r), fused) for route in (native, reference))
        close(found, expected)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("probability", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(1, 5), (9, 16), (97, 312)], ids=str)
def test_add_norm_agrees_with_the_reference(shape, probability):
    given = [normal(*shape), normal(*shape, seed=1), *(normal(shape[1], seed=seed) for seed in (2, 3, 4))]
    dropped = drawn(shape[0], probability)

    def seam(*x: Tensor, route=None) -> Tensor:
        return route.add_norm(*x[:4], eps=1e-5, dropped=dropped, shift=x[4] if len(x) > 4 else None)

    for parts in (given[:4], given):
        found, expected = (with_gradients(functools.partial(seam, route=route), *parts) for route in (native, reference))
        close(found, expected, atol=1e-5)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("probability", [1e-6, 0.1, 0.999])
def test_dropout_masks_are_the_same_to_the_bit(probability):
    found, expected = (with_gradients(lambda x, r=route: r.dropout(x, drawn(40, probability)), normal(40, 33)) for route in (native, cpu))
    assert all(map(torch.equal, found, expected))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**63 - 1])
def test_keys_of_rows_are_the_same_to_the_bit(seed):
    examples, positions = torch.tensor([0, 1, 7, 2**31 + 5, 2**40 + 3, 9]), torch.arange(6) * 1000
    for layer, site in ((0, Site.EMBEDDINGS), (11, Site.HEAD)):
        found, expected = (route.row_keys(seed, layer, site, examples, positions) for route in (native, reference))
        assert found.dtype == torch.int32
        assert torch.equal(found, expected)
        strided = native.row_keys(seed, layer, site, examples[::2], positions[::2])
        assert torch.equal(strided, expected[::2])


@pytest.mark.usefixtures("compiled")
def test_gradients_of_columns_of_one_tensor_come_in_one_piece(batch):
    fused = normal(12, 3 * 24).requires_grad_()
    q, k, v = fused.chunk(3, dim=1)
    out = native.attention(q, k, v, Layout.of(batch([5, 7])), heads=3)
    assert [next_function[0].name() for next_function in out.grad_fn.next_functions if next_function[0]] == [
        "torch::autograd::AccumulateGrad"
    ]


@pytest.mark.usefixtures("compiled")
def test_any_number_of_threads_gives_the_same_bits(batch):
    lengths, before = [5, 9, 9, 30, 61], torch.get_num_threads()
    layout, fused, rows = Layout.of(batch(lengths)), normal(114, 72), normal(114, 24)

    def everything(fused: Tensor, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mixed = native.attention(*fused.chunk(3, dim=1), layout, heads=3, dropped=drawn(114, 0.2))
        return native.add_norm(mixed, rows, weight, bias, eps=1e-5, dropped=drawn(114, 0.1))

    outputs = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            outputs.append(with_gradients(everything, fused, rows, normal(24), normal(24, seed=1)))
    finally:
        torch.set_num_threads(before)
    for other in outputs[1:]:
        assert all(map(torch.equal, outputs[0], other))


@pytest.mark.usefixtures("compiled")
def test_rows_at_any_stride_are_read_as_they_lie(batch):
    layout, wide = Layout.of(batch([3, 4])), normal(24, 7)
    found, expected = (
        with_gradients(lambda x, r=route: r.attention(*x.t().chunk(3, dim=1), layout, heads=2), wide) for route in (native, reference)
    )
    close(found, expected)
    ours, theirs = (with_gradients(lambda x, r=route: r.dropout(x.t(), drawn(7, 0.5)), wide) for route in (native, reference))
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.usefixtures("compiled")
def test_a_number_that_is_none_is_not_hidden(batch):
    layout, fused = Layout.of(batch([4])), normal(4, 24).requires_grad_()
    with torch.no_grad():
        fused[2, 9] = torch.nan
    assert native.attention(*fused.chunk(3, dim=1), layout, heads=2).isnan().any()
    x = torch.tensor([[1.0, torch.nan, torch.inf]], requires_grad=True)
    assert native.add_norm(x, torch.zeros(1, 3), torch.ones(3), torch.zeros(3), eps=1e-5).isnan().all()


@pytest.mark.usefixtures("compiled")
def test_other_numbers_and_evaluation_take_torchs_operations(monkeypatch, batch):
    monkeypatch.setattr(native, "library", lambda: pytest.fail("the kernels were asked"))
    layout, fused = Layout.of(batch([4])), normal(4, 24)
    assert torch.equal(native.attention(*fused.chunk(3, dim=1), layout, heads=2), cpu.attention(*fused.chunk(3, dim=1), layout, heads=2))
    for tensor in (normal(4, 8).bfloat16().requires_grad_(), normal(4, 8).double().requires_grad_()):
        assert native.dropout(tensor, drawn(4, 0.5)).dtype == tensor.dtype


@needs_compiler
@pytest.mark.usefixtures("fresh")
def test_a_training_with_the_kernels_is_that_without_them(small_folder, monkeypatch):
    rows = [
        (f"{start}{middle}{end}", label)
        for label, middle in (("a", "还剩多少钱"), ("b", "怎么汇款"))
        for start in "请喂"
        for end in "啊呢？"
    ]
    settings, losses, digests = TrainSettings(epochs=2, batch_size=4, learning_rate=1e-3, max_tokens=24), {}, set()
    for wanted in ("auto", "builtin"):
        monkeypatch.setenv("NLPHUB_KERNELS", wanted)
        dispatch.forget()
        module = hub.Module(directory=small_folder)
        losses[wanted] = [step.loss for step in hub.Trainer(module, settings=settings, progress=False).steps(rows)]
        digests.add(weights_digest(module.encoder, module.head))
    assert losses["auto"] == pytest.approx(losses["builtin"], abs=2e-5)
    assert len(digests) == 2  # rounded otherwise: both ran


@needs_compiler
@pytest.mark.usefixtures("fresh")
def test_they_are_compiled_once_into_a_folder_of_ours(private_home, monkeypatch):
    path = build.build()
    assert path.parent == private_home / "cache" / "kernels"
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)] == [0o700, 0o700]
    asked, run = [], build._run
    monkeypatch.setattr(build, "_run", lambda command: (asked.append(command), run(command))[1])
    assert build.build() == path
    assert not any(str(source) in command for command in asked for source in build.SOURCES)


@pytest.mark.usefixtures("fresh")
def test_without_a_compiler_there_is_one_line_and_torchs_operations(monkeypatch, caplog):
    monkeypatch.setattr(build, "_COMPILERS", ("no-such-compiler",))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert not native.available()
            x = normal(4, 8).requires_grad_()
            assert torch.equal(native.dropout(x, drawn(4, 0.5)), cpu.dropout(x, drawn(4, 0.5)))
    assert len([record for record in caplog.records if "PyTorch's operations" in record.message]) == 1
    with pytest.raises(InputError, match="no-such-compiler"):
        build.build()


@needs_compiler
@pytest.mark.usefixtures("fresh")
def test_a_compiler_that_fails_is_told_and_done_without(monkeypatch, tmp_path, caplog):
    broken = tmp_path / "rows.cpp"
    broken.write_text("this is no C++")
    monkeypatch.setattr(build, "SOURCES", (broken,))
    with pytest.raises(InputError, match=r"failed: .*error"):
        build.build()
    with caplog.at_level(logging.INFO):
        assert not native.available()
    assert "failed" in caplog.text


@pytest.mark.parametrize("name", ["aarch64", "riscv64"])
def test_other_processors_take_torchs_operations(name, monkeypatch):
    monkeypatch.setattr(build.platform, "machine", lambda: name)
    assert name in build.unfit()


@needs_compiler
def test_the_command_compiles_and_explains(private_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NLPHUB_KERNELS", raising=False)
    commands = ("build", "explain")
    found = [
        subprocess.run([sys.executable, "-m", "nlphub", "kernels", command], capture_output=True, text=True, check=True)
        for command in commands
    ]
    assert Path(found[0].stdout.strip()).parent == private_home / "cache" / "kernels"
    assert "route" in found[1].stdout
    code = "from nlphub import kernels; print(kernels.computing('cpu'))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["native", Path(found[0].stdout.strip()).stem]
    monkeypatch.setenv("NLPHUB_KERNELS", "builtin")
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["builtin"]


def test_a_device_that_nobody_knows_is_an_error():
    done = subprocess.run([sys.executable, "-m", "nlphub", "kernels", "explain", "--device", "gpu"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--device 'gpu' is none of cpu, cuda, npu" in done.stderr
