"""Modules as folders that run without torch: an ONNX graph with its proof, tokenizer, labels and card."""
