"""The parts of ``benchmarks/quality.py``: sets and rows, cells and their store, the models that are judged, the table."""
