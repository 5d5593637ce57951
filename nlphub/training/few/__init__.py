"""Learning from a few examples of each label: prototypes, a contrastive stage before them, and choosing between these and fine-tuning."""
