"""tokenizers/zh_char is what its command builds."""

import subprocess
import sys
import unicodedata
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = {"unicodedata": unicodedata.unidata_version, "opencc": metadata.version("opencc"), "jieba": metadata.version("jieba")}
BUILT_WITH = {"unicodedata": "14.0.0", "opencc": "1.4.2", "jieba": "0.42.1"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "build_zh_char.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})


def test_building_again_gives_the_same_files_and_other_sources_are_refused() -> None:
    done = run("--check")
    if HERE == BUILT_WITH:
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        assert done.returncode == 1
        assert "a build would change ids" in done.stderr


def test_a_difference_is_named(tmp_path: Path) -> None:
    if HERE == BUILT_WITH:
        (tmp_path / "vocab.txt").write_text("", encoding="utf-8")
        done = run("--check", "--folder", str(tmp_path))
        assert done.returncode == 1
        assert "differs: folds.tsv, golden.jsonl, nlphub_tokenizer.json, vocab.txt" in done.stdout


def test_coverage_says_which_variable_it_needs() -> None:
    done = run("--coverage")
    assert done.returncode == 1
    assert "NLPHUB_DATA" in done.stderr
