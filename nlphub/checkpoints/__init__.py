"""Weights on disk and from elsewhere: our safetensors folder behind a gate, and Hugging Face's names both ways."""
