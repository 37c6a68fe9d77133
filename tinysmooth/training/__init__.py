"""Training: fit, evaluate, checkpoint and resume, the run folder, weights on disk."""
