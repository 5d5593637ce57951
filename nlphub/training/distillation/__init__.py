"""One module teaches another: by its answers, its hidden states and its attention relations, on labelled, unlabelled and invented texts."""
