"""The small networks that come with the package beside the models: classifiers, which measure samples, and the
autoencoder of a latent diffusion.

Their files (:mod:`ddim_edu.models.weights`) also say on which data a network was trained, how, and how well it does on
what was held out. ``python -m ddim_edu.commands.train_classifier NAME`` and ``... .train_autoencoder NAME`` make them.

====================  ===================================  =======================  =================
classifier            trained on                           held-out images right    time to train
====================  ===================================  =======================  =================
``digits``            1,597 digits, 8 x 8                  99.00% of 200            6 s of one core
``fashion-mnist``     60,000 images of clothes, 28 x 28    92.30% of 10,000         3.5 min
``faces``             30,000 drawn faces, 32 x 32          100.00% of 3,000         25 s
``faces-attributes``  the same, every attribute            96.15% of attributes     6 min
``spoken-word``       2,700 spectrograms, 64 x 64          99.33% of 300            25 s
``spoken-speaker``    the same                             99.67% of 300            25 s
``notes-instrument``  20,000 spectrograms, 64 x 64         100.00% of 2,000         1 min
====================  ===================================  =======================  =================

Each has 64 features, ``faces-attributes`` 128; its logits are those of all values of all attributes
(:mod:`ddim_edu.data.faces.reading`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddim_edu.models.weights import Kind, build
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig
from ddim_edu.nets.classifier import Classifier, ClassifierConfig

CLASSIFIER = Kind("classifier", "a classifier", "classifiers", "ddim_edu.commands.train_classifier")
AUTOENCODER = Kind("autoencoder", "an autoencoder", "autoencoders", "ddim_edu.commands.train_autoencoder")


@dataclass(frozen=True, eq=False)
class SavedClassifier:
    """What :func:`load_classifier` returns.

    Attributes:
        model: The network, in evaluation mode and without gradients; ``model(x)`` gives logits, ``model.features(x)``
            features.
        data: The data set it was trained on.
        accuracy: Share of that set's held-out images that it classifies correctly.
        training: How it was trained, as plain values.
        path: The file it came from.
    """

    model: Classifier
    data: str
    accuracy: float
    training: dict[str, Any]
    path: Path


@dataclass(frozen=True, eq=False)
class SavedAutoencoder:
    """What :func:`load_autoencoder` returns.

    Attributes:
        model: The network, in evaluation mode and without gradients.
        data: The data set it was trained on.
        classes: Names of that data set's classes.
        error: Root mean square error of the held-out pictures, whose range is [-1, 1].
        training: How it was trained, as plain values.
        path: The file it came from.
    """

    model: Autoencoder
    data: str
    classes: tuple[str, ...]
    error: float
    training: dict[str, Any]
    path: Path

    @torch.no_grad()
    def encode(self, pictures: Tensor, batch: int = 250) -> Tensor:
        """Latents of any number of pictures in [-1, 1], on the model's device."""
        weights = next(self.model.parameters())
        return torch.cat([self.model.encode(part.to(weights)) for part in pictures.split(batch)])

    @torch.no_grad()
    def decode(self, latents: Tensor, batch: int = 250) -> Tensor:
        """Pictures of any number of latents, clamped to [-1, 1]."""
        weights = next(self.model.parameters())
        return torch.cat([self.model.decode(part.to(weights)).clamp(-1, 1) for part in latents.split(batch)])


def save_classifier(
    path: Path | str, model: Classifier, *, data: str, accuracy: float, training: Mapping[str, Any]
) -> None:
    """Write a classifier's file, with the weights in float16; the file is whole or not there.

    Args:
        path: The file to make or to replace.
        model: The network.
        data: The data set it was trained on.
        accuracy: On that set's held-out images, in [0, 1].
        training: How it was trained, as values that JSON can hold.
    """
    CLASSIFIER.write(path, _halved(model), model.config, data=data, accuracy=accuracy, training=dict(training))


def save_autoencoder(
    path: Path | str,
    model: Autoencoder,
    *,
    data: str,
    classes: Sequence[str],
    error: float,
    training: Mapping[str, Any],
) -> None:
    """Write an autoencoder's file, with the weights in float16; the file is whole or not there.

    Args:
        path: The file to make or to replace.
        model: The network.
        data: The data set it was trained on.
        classes: Names of its classes.
        error: Root mean square error on that set's held-out pictures.
        training: How it was trained, as values that JSON can hold.
    """
    # The statistics of the normalisation stay as they are: rounded, they would no longer be those of the latents.
    tensors = _halved(model) | dict(model.normalise.state_dict(prefix="normalise."))
    about = {"data": data, "classes": list(classes), "error": error, "training": dict(training)}
    AUTOENCODER.write(path, tensors, model.config, **about)


def load_classifier(name_or_path: Path | str, device: torch.device | str = "cpu") -> SavedClassifier:
    """Read a classifier.

    Args:
        name_or_path: The name of one that comes with the package, such as ``"digits"``, or a file.
        device: Where to put it.

    Raises:
        CheckpointError: In one line, if there is no such classifier, or the file is damaged, of another kind, or from
            a newer version.
    """
    path = CLASSIFIER.find(name_or_path)
    with CLASSIFIER.opened(path) as (about, tensors):
        model = build(Classifier, ClassifierConfig(**about["config"]), tensors, device)
        return SavedClassifier(model, str(about["data"]), float(about["accuracy"]), dict(about["training"]), path)


def load_autoencoder(name_or_path: Path | str, device: torch.device | str = "cpu") -> SavedAutoencoder:
    """Read an autoencoder.

    Args:
        name_or_path: The name of one that comes with the package, such as ``"spoken-digits"``, or a file.
        device: Where to put it.

    Raises:
        CheckpointError: As for :func:`load_classifier`.
    """
    path = AUTOENCODER.find(name_or_path)
    with AUTOENCODER.opened(path) as (about, tensors):
        model = build(Autoencoder, AutoencoderConfig(**about["config"]), tensors, device)
        model.to(memory_format=torch.channels_last)
        data, classes, error = str(about["data"]), tuple(about["classes"]), float(about["error"])
        return SavedAutoencoder(model, data, classes, error, dict(about["training"]), path)


@torch.no_grad()
def classifier_features(images: Tensor, classifier: SavedClassifier | str, batch: int = 500) -> Tensor:
    """The features of images, a batch at a time.

    They are computed on the classifier's device and in its precision, float32; images outside [-1, 1] are taken as they
    are (clip and round them first if that is how they would be saved).

    Args:
        images: ``(N, C, H, W)`` in [-1, 1], of any floating type and on any device.
        classifier: From :func:`load_classifier`, or the name of one.
        batch: Images in memory at a time; the result depends on it by rounding only.

    Returns:
        ``(N, F)`` float32 on the CPU.

    Raises:
        ValueError: If there are no images, they don't have the shape that the classifier takes, or they are not
            floating-point.
    """
    if isinstance(classifier, str):
        classifier = load_classifier(classifier)
    if batch < 1:
        raise ValueError(f"batch = {batch}: give at least 1")
    if not images.is_floating_point():
        raise ValueError(f"images have type {images.dtype}: give floating-point images in [-1, 1]")
    if not len(images):
        raise ValueError("there are no images to compute features of")
    weights = next(classifier.model.parameters())
    return torch.cat(
        [classifier.model.features(part.to(weights.device, weights.dtype)).cpu() for part in images.split(batch)]
    )


def _halved(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
