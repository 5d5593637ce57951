"""The parts of `benchmarks/gpu.py`: each is a function `run(setting) -> Found` in a file of its own."""
