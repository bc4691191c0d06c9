"""Saved models, read and written: ``from ddim_edu.models import load``."""

from ddim_edu.models.checkpoint import Checkpoint, load, save
from ddim_edu.models.shipping import ship, training_log
from ddim_edu.models.small import (
    SavedAutoencoder,
    SavedClassifier,
    classifier_features,
    load_autoencoder,
    load_classifier,
    save_autoencoder,
    save_classifier,
)
from ddim_edu.models.weights import CheckpointError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "SavedAutoencoder",
    "SavedClassifier",
    "classifier_features",
    "load",
    "load_autoencoder",
    "load_classifier",
    "save",
    "save_autoencoder",
    "save_classifier",
    "ship",
    "training_log",
]
