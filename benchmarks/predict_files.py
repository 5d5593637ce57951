"""`nlphub predict --input FILE --output FILE`: memory at two sizes, and kill -9 at random moments.

    python benchmarks/predict_files.py [--artefact DIR] [--small 1000] [--rows 100000] [--kills 20] [--seed 0] [--json]

Without ``--artefact`` the network is a small one (two layers, 24 wide, random weights): memory depends on the groups of rows, not on it.
Every thousandth row is blank. Memory is the largest resident set that the system saw of the whole process. The exit code is 1 if the
larger file needs more than 16 MB above the smaller one, or if a killed job does not end with the bytes of one that was left alone.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MORE = 16 << 20  # bytes


def make_artefact(folder: Path) -> Path:
    """A small classifier over the bundled tokenizer."""
    import nlphub as hub
    from nlphub.export.onnx import export_artefact
    from nlphub.hub import zoo
    from nlphub.nn.heads import SequenceHead
    from nlphub.nn.initialise import initialise
    from nlphub.text.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(Path(hub.__file__).parents[1] / "tokenizers" / "zh_char")
    encoder, head = zoo.load("ernie_tiny").transformer(layers=2, width=24, heads=3, inner=40), SequenceHead(24, 3)
    for seed, part in enumerate((encoder, head)):
        initialise(part, seed)
    export_artefact(folder, encoder=encoder, head=head, tokenizer=tokenizer, labels=("查物流", "退货", "转人工"), card={})
    return folder


def write_texts(path: Path, rows: int) -> Path:
    """A csv of this many rows, of two columns: a row that is blank in both would be none."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("id,text\n")
        for n in range(rows):
            text = "" if n % 100 == 99 else f"我要查第{n}个快递到哪里了" + "退货" * (n % 7)
            stream.write(f"{n},{text}\n")
    return path


def start(artefact: Path, source: Path, output: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "nlphub", "predict", str(artefact), "--input", str(source), "--output", str(output)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUTF8": "1"})


def finish(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Exit code, and the largest resident set in bytes."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory(artefact: Path, work: Path, rows: int) -> dict[str, Any]:
    """Of a whole command over this many rows."""
    started = time.perf_counter()
    code, peak = finish(start(artefact, write_texts(work / f"{rows}.csv", rows), work / f"{rows}.jsonl"))
    return {"rows": rows, "code": code, "peak_bytes": peak, "seconds": round(time.perf_counter() - started, 1)}


def kills(artefact: Path, work: Path, rows: int, count: int, source: random.Random) -> dict[str, Any]:
    """A job that is killed again and again, beside one that is not."""
    texts = write_texts(work / "in.csv", rows)
    started = time.perf_counter()
    finish(start(artefact, texts, work / "whole.jsonl"))
    whole, killed, starts, restarts = time.perf_counter() - started, 0, 0, 0
    while killed < count:
        process = start(artefact, texts, work / "killed.jsonl")
        starts += 1
        try:
            process.wait(timeout=source.uniform(0.2, 1.0) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        if (work / "killed.jsonl").exists():
            restarts += 1
            if not same(work):
                break
            for path in work.glob("killed*"):
                path.unlink()
    code, _ = finish(start(artefact, texts, work / "killed.jsonl"))
    if code:
        sys.exit(f"the job that was killed cannot be ended: exit code {code}")
    return {"rows": rows, "kills": killed, "starts": starts, "completed": restarts + 1, "equal": same(work)}


def same(work: Path) -> bool:
    """Whether both files of both jobs have the same bytes."""
    return all((work / f"killed{suffix}").read_bytes() == (work / f"whole{suffix}").read_bytes() for suffix in (".jsonl", ".errors.jsonl"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artefact", type=Path)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        artefact = options.artefact or make_artefact(work / "artefact")
        sizes = [memory(artefact, work, rows) for rows in (options.small, options.rows)]
        killed = kills(artefact, work, max(options.small, options.rows // 5), options.kills, random.Random(options.seed))
    more = sizes[1]["peak_bytes"] - sizes[0]["peak_bytes"]
    flat = more <= MORE and not any(size["code"] for size in sizes)
    if options.json:
        print(json.dumps({"memory": sizes, "more_bytes": more, "flat": flat, "kills": killed}))
    else:
        for size in sizes:
            print(f"{size['rows']:8,} rows: at most {size['peak_bytes'] / 2**20:.0f} MB resident, {size['seconds']} s")
        print(f"{more / 2**20:+.1f} MB: {'flat' if flat else 'IT GROWS'}")
        print(f"{killed['kills']} kills in {killed['starts']} starts: {'the same bytes' if killed['equal'] else 'OTHER BYTES'}")
    sys.exit(not (flat and killed["equal"]))


if __name__ == "__main__":
    main()
