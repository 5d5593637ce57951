"""Small Chinese texts that read like text to the filters, made from words of ours by a seed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from nlphub.text.characters import CharacterTokenizer
from nlphub.text.tokenizers import load_tokenizer

WORDS = (
    "银行 客户 今天 已经 通过 手机 办理 一张 新的 信用卡 但是 还没有 收到 短信 所以 打电话 询问 柜台 营业 "
    "时间 经理 建议 明天 上午 带上 身份证 天气 很好 孩子们 在公园 放风筝 老人 坐在 长椅上 聊天 河边 柳树 "
    "发芽 春天 终于 来了 工程师 修改 程序 测试 发现 错误 服务器 重新 启动 数据 厨师 先把 土豆 切成 细丝 "
    "放进 清水 泡十分钟 然后 热锅 下油 翻炒 几下 加盐 出锅 学生 读完 小说 写下 感想 老师 认真 批改 作文 "
    "火车 穿过 隧道"
)

Make = Callable[..., list[str]]


@pytest.fixture
def sentences() -> Make:
    """``sentences(n, seed=0, words=12)``: ``n`` different sentences of about 30 characters."""

    def make(count: int, *, seed: int = 0, words: int = 12) -> list[str]:
        generator = np.random.default_rng(seed)
        return ["".join(generator.choice(WORDS.split(), words)) + "。" for _ in range(count)]

    return make


@pytest.fixture
def documents(sentences: Make) -> Callable[..., list[list[str]]]:
    """``documents(n, seed=0, lines=4)``: documents of so many sentences."""

    def make(count: int, *, seed: int = 0, lines: int = 4) -> list[list[str]]:
        every = sentences(count * lines, seed=seed)
        return [every[i : i + lines] for i in range(0, len(every), lines)]

    return make


@pytest.fixture
def text_file() -> Callable[[Path, Sequence[Sequence[str]]], Path]:
    """``text_file(path, documents)`` writes one paragraph a line and a blank line between documents."""

    def write(path: Path, documents: Sequence[Sequence[str]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def tokenizer() -> CharacterTokenizer:
    """The real one."""
    return load_tokenizer(Path(__file__).parents[2] / "tokenizers" / "zh_char")
