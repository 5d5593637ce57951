"""Serving an exported folder with numpy and onnxruntime alone. Never imports torch."""
