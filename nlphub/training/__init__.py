"""Fine-tuning: the loop as a stream of facts, optimizers, checkpoints that resume exactly, whole runs from a recipe."""
