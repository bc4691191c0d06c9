"""The laboratory: data, checkpoints, recipes and training."""
