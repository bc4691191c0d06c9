"""The small classifiers that come with the package, and what they see in images.

A classifier's file is a safetensors file like a checkpoint's, in a folder of its own, ``ddim_edu/weights/classifiers``.
Its metadata holds the network's configuration, the data set, how it was trained, and its accuracy on the images that
were held out. ``python -m ddim_edu.commands.train_classifier NAME`` makes it.

==================  ==================================  =====================================  =========
================= name                trained on                          held-out images classified correctly
features   time to train ==================  ==================================  =====================================
=========  ================= ``digits``          1,597 digits, 8 x 8                 99.00% of 200
64         6 s of one core ``fashion-mnist``   60,000 images of clothes, 28 x 28   92.30% of 10,000
64         3.5 min ``faces``           30,000 drawn faces, 32 x 32         100.00% of 3,000                       64
25 s of one core ``spoken-word``     2,700 spectrograms, 64 x 64         99.33% of 300                          64
25 s ``spoken-speaker``  the same                            99.67% of 300                          64         25 s
==================  ==================================  =====================================  =========
=================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddim_edu.models.weightfile import fill, find_shipped, fitting_together, read_weights, write_weights
from ddim_edu.nets.classifier import Classifier, ClassifierConfig

KIND = "classifier"
SHIPPED = Path(__file__).parent.parent / "weights" / "classifiers"


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
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    about = {"config": asdict(model.config), "data": data, "accuracy": accuracy, "training": dict(training)}
    write_weights(path, KIND, tensors, about)


def load_classifier(name_or_path: Path | str, device: torch.device | str = "cpu") -> SavedClassifier:
    """Read a classifier.

    Args:
        name_or_path: The name of one that comes with the package, such as ``"digits"``, or a file.
        device: Where to put it.

    Raises:
        ValueError: In one line, if there is no such classifier, or the file is damaged, of another kind, or from a
            newer version.
    """
    path = find_shipped(SHIPPED, name_or_path, KIND)
    about, tensors = read_weights(path, KIND, f"a {KIND}")
    with fitting_together(path):
        with torch.device("meta"):
            model = Classifier(ClassifierConfig(**about["config"]))
        fill(model, tensors, device)
        return SavedClassifier(model, str(about["data"]), float(about["accuracy"]), dict(about["training"]), path)


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
