"""From text files to shards for pretraining: read, filter, deduplicate, decontaminate, tokenise, and say what was done."""
