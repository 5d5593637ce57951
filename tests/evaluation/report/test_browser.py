"""The report in a real browser, where one is installed: no complaint on the console, the script runs under the page's own policy."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nlphub.evaluation.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium, then also see tools/check_report.mjs")
def test_a_browser_shows_the_page_without_complaint(make_run: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(make_run(texts=["</script><img src=x onerror=alert(1)>", "卡丢了"]))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    done = subprocess.run([str(CHROMIUM), *options, page.as_uri()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert len(re.findall('<button type="button">', done.stdout)) == 6, "the headers of one table"
    assert "<img" not in done.stdout
