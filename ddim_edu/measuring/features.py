"""What sets of images are compared by: numbers that a fixed network computes from each image (chapter 11).

``inception`` is the network of FID, through torch-fidelity, with the weights that everybody uses; ``small`` is one of
the classifiers that come with the package. Both take images as they are saved, in 8 bits:
:func:`ddim_edu.data.pictures.to_uint8` is the only rounding between a sampler and a distance.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ddim_edu.data.pictures import from_uint8
from ddim_edu.data.registry import known_source
from ddim_edu.files import at_home, first_line, sha256_of
from ddim_edu.models import classifier_features, load_classifier
from ddim_edu.models.pickles import read_pickle
from ddim_edu.models.weights import checked

INCEPTION = "inception"
DOWNLOAD = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"

PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"  # the SHA-256 of that file
# And of its weights in half precision, see half_hash(): what a smaller file for carrying holds.
PUBLISHED_HALVES = "ca95ada01c070139d3a8a0e5815e333b537efcd9893282896e1802903b5d9fc2"


@dataclass(frozen=True, eq=False)
class Features:
    """A fixed network, and what a result has to say of it.

    Attributes:
        name: ``inception``, or ``classifier-`` and the name of a small classifier.
        sha256: Of the file of its weights.
        size: Number of features F.
        usual_n: How many samples are customary; fewer make an estimate only.
        compute: ``(B, C, H, W)`` uint8 on any device -> ``(B, F)`` float32 on the CPU.
        published: False of an Inception network with other weights than the published ones.
    """

    name: str
    sha256: str
    size: int
    usual_n: int
    compute: Callable[[Tensor], Tensor]
    published: bool = True

    @property
    def distance_name(self) -> str:
        """The name of the Frechet distance in these features; only Inception's is FID."""
        return "fid" if self.name == INCEPTION else "classifier_distance"

    @property
    def about(self) -> dict[str, Any]:
        """The features' part of a protocol."""
        about = {"name": self.name, "sha256": self.sha256, "size": self.size}
        return about if self.published else {**about, "published": False}

    def in_batches(self, images: Tensor, batch: int = 250) -> Tensor:
        """``(N, C, H, W)`` uint8 -> ``(N, F)``, a batch at a time."""
        return torch.cat([self.compute(part) for part in images.split(batch)])

    def warn_of_few(self, n: int) -> None:
        """A word to the user about a number of samples that is too small."""
        if n <= self.size:
            warnings.warn(
                f"{n:,} images for {self.size:,} features: their covariance is singular, and the distance measures n "
                f"more than the images; {self.usual_n:,} are customary",
                stacklevel=2,
            )
        elif n < self.usual_n:
            warnings.warn(
                f"{n:,} images instead of {self.usual_n:,}: an estimate, to be compared at equal n only", stacklevel=2
            )


def features_for(
    name: str, data: str, weights: Path | str | None = None, device: torch.device | str = "cpu"
) -> Features:
    """The features that images of a data set are compared by.

    Args:
        name: ``inception``; ``classifier``, the small one that comes with the package for this data; a classifier's
            file; or ``auto``: the classifier that :class:`ddim_edu.data.source.Source` names, or else inception.
        data: The data set's name.
        weights: The file of Inception's weights.
        device: Where to compute.

    Raises:
        ValueError: In one line, if they can't be had; it says how to get them.
    """
    judge = known_source(data).judge
    if name == "auto":
        name = judge or INCEPTION
    if name != INCEPTION:
        return small((judge or data) if name == "classifier" else name, device)
    if weights is None:
        raise ValueError(
            f"FID needs the weights of its network: download {DOWNLOAD}, and name the file with --inception-weights"
        )
    return inception(weights, device)


def inception(weights: Path | str, device: torch.device | str = "cpu") -> Features:
    """The Inception network of FID, up to its 2,048 pooled features.

    It is torch-fidelity's ``FeatureExtractorInceptionV3``, whose enlargement to 299 x 299 pixels is TensorFlow 1's, as
    in the original. Grey images are given to it with three equal channels.

    Args:
        weights: The file of its weights, in torch-fidelity's form.
        device: Where to compute.

    Raises:
        ValueError: In one line, if torch-fidelity is not installed, or the file is missing, damaged, or holds something
            else.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ValueError('FID needs torch-fidelity: pip install "ddim_edu[eval]"') from None
    path = at_home(weights)
    if not path.is_file():
        raise ValueError(
            f"there are no Inception weights at {path}: download {DOWNLOAD} once, and name it with --inception-weights"
        )
    try:
        state = read_pickle(path)
        if not (isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())):
            raise ValueError("it is no state dict")
        network = _without_loading(FeatureExtractorInceptionV3)
        network.load_state_dict(checked(state, network.state_dict()))  # float32: half precision is for carrying only
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} holds no weights of torch-fidelity's Inception network ({first_line(error, 100)}): download "
            f"{DOWNLOAD}"
        ) from None
    sha256 = sha256_of(path)
    published = sha256 == PUBLISHED or half_hash(state) == PUBLISHED_HALVES
    if not published:
        warnings.warn(f"{path} holds other weights than the published ones, and the result says so", stacklevel=2)
    network = _fused(network.eval()).to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def compute(images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return network(images.to(device))[0].cpu()

    return Features(INCEPTION, sha256, 2048, 50_000, compute, published)


def half_hash(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of weights rounded to half precision, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if state[name].is_floating_point():
            digest.update(name.encode() + state[name].half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def small(name: str, device: torch.device | str = "cpu") -> Features:
    """The features of a small classifier that comes with the package, such as ``"digits"``, or of a classifier's file.

    Raises:
        ValueError: In one line, if there is no such classifier.
    """
    classifier = load_classifier(name, device)

    def compute(images: Tensor) -> Tensor:
        return classifier_features(from_uint8(images.to(device)), classifier)

    net = classifier.model.config
    size = compute(torch.zeros(1, net.image_channels, net.image_size, net.image_size, dtype=torch.uint8)).shape[1]
    return Features(f"classifier-{classifier.path.stem}", sha256_of(classifier.path), size, 5000, compute)


def _fused(network: nn.Module) -> nn.Module:
    """The same network with each normalisation, fixed as it is, made part of the convolution before it: faster on a
    CPU.
    """
    for block in list(network.modules()):
        if isinstance(getattr(block, "conv", None), nn.Conv2d) and isinstance(
            getattr(block, "bn", None), nn.BatchNorm2d
        ):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    return network


def _without_loading(kind: type) -> nn.Module:
    """torch-fidelity's network with no weights of its own: it would download them, or unpickle whatever it is given."""

    class Built(kind):
        def load_state_dict(self, state, *args, **kwargs):
            return super().load_state_dict(state, *args, **kwargs) if state else None

    empty = io.BytesIO()  # it takes what torch.load takes
    torch.save({}, empty)
    empty.seek(0)
    return Built(INCEPTION, ["2048"], feature_extractor_weights_path=empty)
