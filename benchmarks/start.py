"""What starting costs above bare Python, in seconds of processor time: medians of interleaved runs.

    python benchmarks/start.py [--repeats 15] [--json]

`python benchmarks/speed.py start` measures these commands beside `import typer`, and first answers, loading and memory as well.
"""

import argparse
import json

from speeds.starting import COMMANDS, commands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    timings = commands(options.repeats)
    bare = timings.seconds("python")
    rows = [{"name": name, "seconds": timings.seconds(name), "above_python": timings.seconds(name) - bare} for name in COMMANDS]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']:15}  {row['seconds']:.3f} s  {row['above_python']:+.3f} s above Python")


if __name__ == "__main__":
    main()
