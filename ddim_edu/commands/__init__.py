"""What ``python -m ddim_edu.train`` and the other doors do."""
