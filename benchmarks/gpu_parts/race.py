"""A few rows through every kernel of ours, forward and backward: what compute-sanitizer watches. Run as a file."""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from gpu_parts.facts import Peaks, Setting
from gpu_parts.rows import attention_rows, functions, other_rows


def main() -> None:
    setting = Setting(torch.device("cuda"), False, Path(), None, time.perf_counter() + 100, 1.0, Peaks(1.0, 1.0))
    given = [attention_rows((3, 17, 40, 100), setting, heads=2, width=26, dropout=True, single=single) for single in (False, True)]
    given += [other_rows(operation, 64, 312, setting) for operation in ("add_norm", "bias_gelu", "dropout")]
    for rows in given:
        for name, function, _ in functions(rows):
            if name == "triton" and function is not None:
                rows.run(function)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
