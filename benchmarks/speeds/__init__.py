"""The parts of ``benchmarks/speed.py``: rows and timing, configurations and texts, one file for each section."""
