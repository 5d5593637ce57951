"""What starting costs above bare Python, in seconds of processor time: medians of interleaved runs.

python benchmarks/start.py [--repeats 15] [--json]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

COMMANDS = {
    "python": ["-c", "pass"],
    "import nlphub": ["-c", "import nlphub"],
    "import typer": ["-c", "import typer"],
    "nlphub --help": ["-m", "nlphub", "--help"],
    "nlphub list": ["-m", "nlphub", "list"],
}


def seconds(arguments: list[str]) -> float:
    """User + system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.repeats):
        for name, arguments in COMMANDS.items():
            measured[name].append(seconds(arguments))
    bare = statistics.median(measured["python"])
    rows = [
        {"name": name, "seconds": statistics.median(values), "above_python": statistics.median(values) - bare}
        for name, values in measured.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']:15}  {row['seconds']:.3f} s  {row['above_python']:+.3f} s above Python")


if __name__ == "__main__":
    main()
