"""What sets of images are compared by: numbers that a fixed network computes from each image (chapter 11).

``inception`` is the network of FID, through torch-fidelity, with the weights that everybody uses; ``small`` is one of
the classifiers that come with the package. Both take images as they are saved, in 8 bits:
:func:`ddim_edu.data.pictures.to_uint8` is the only rounding between a sampler and a distance.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ddim_edu.data.pictures import from_uint8
from ddim_edu.files import replacing, sha256_of
from ddim_edu.models.classifiers import classifier_features, load_classifier

INCEPTION = "inception"
DOWNLOAD = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True, eq=False)
class Features:
    """A fixed network, and what a result has to say of it.

    Attributes:
        name: ``inception``, or ``classifier-`` and the name of a small classifier.
        sha256: Of the file of its weights.
        size: Number of features F.
        usual_n: How many samples are customary; fewer make an estimate only.
        compute: ``(B, C, H, W)`` uint8 on any device -> ``(B, F)`` float32 on the CPU.
    """

    name: str
    sha256: str
    size: int
    usual_n: int
    compute: Callable[[Tensor], Tensor]

    @property
    def distance_name(self) -> str:
        """The name of the Frechet distance in these features; only Inception's is FID."""
        return "fid" if self.name == INCEPTION else "classifier_distance"


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
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(
            f"there are no Inception weights at {path}: download {DOWNLOAD} once, and name it with --inception-weights"
        )
    try:
        with warnings.catch_warnings():  # about pickles of other kinds; the line below says all
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = {
            name: value.float() if value.is_floating_point() else value for name, value in state.items()
        }  # half is for carrying
        network = _without_loading(FeatureExtractorInceptionV3)
        network.load_state_dict(state)
    except Exception as error:  # unpicklers raise anything
        reason = str(error).strip().splitlines()[0].split(". ")[0][:100]  # what follows is advice to programmers
        raise ValueError(
            f"{path} holds no weights of torch-fidelity's Inception network ({reason}): download {DOWNLOAD}"
        ) from None
    network = _fused(network.eval()).to(device, memory_format=torch.channels_last)

    @torch.no_grad()
    def compute(images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return network(images.to(device))[0].cpu()

    return Features(INCEPTION, sha256_of(path), 2048, 50_000, compute)


def small(name: str, device: torch.device | str = "cpu") -> Features:
    """The features of a small classifier that comes with the package, such as ``"digits"``, or of a classifier's file.

    Raises:
        ValueError: In one line, if there is no such classifier.
    """
    classifier = load_classifier(name, device)

    def compute(images: Tensor) -> Tensor:
        return classifier_features(from_uint8(images.to(device)), classifier)

    size = compute(
        torch.zeros(
            1, classifier.model.config.image_channels, *[classifier.model.config.image_size] * 2, dtype=torch.uint8
        )
    )
    return Features(f"classifier-{classifier.path.stem}", sha256_of(classifier.path), size.shape[1], 5000, compute)


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of the features of a reference set: all that a Frechet distance needs of it.

    Attributes:
        mu: ``(F,)`` float64.
        sigma: ``(F, F)`` float64.
        n: Number of images they are of, or None if the file does not say.
    """

    mu: np.ndarray
    sigma: np.ndarray
    n: int | None = None


def read_statistics(path: Path | str) -> Statistics:
    """Read saved statistics: an ``.npz`` file with ``mu`` and ``sigma``, as pytorch-fid and others write them.

    Raises:
        ValueError: In one line, if there is no such file, or it holds something else.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(
            f"there are no statistics at {path}: give train, test, or the path of an .npz file with mu and sigma"
        )
    try:
        with np.load(path) as file:
            mu, sigma = np.asarray(file["mu"], np.float64), np.asarray(file["sigma"], np.float64)
            n = int(file["n"]) if "n" in file else None
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not an .npz file with mu and sigma ({str(error).splitlines()[0]})") from None
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ValueError(
            f"{path} holds mu of shape {mu.shape} and sigma of shape {sigma.shape}, or numbers that are not finite"
        )
    return Statistics(mu, sigma, n)


def write_statistics(path: Path | str, statistics: Statistics) -> None:
    """Write what :func:`read_statistics` reads; the file is whole or not there."""
    path = Path(path)
    with replacing(path if path.suffix == ".npz" else path.with_name(path.name + ".npz")) as temporary:
        np.savez(
            temporary, mu=statistics.mu, sigma=statistics.sigma, **({} if statistics.n is None else {"n": statistics.n})
        )


def statistics_of(features: Tensor) -> Statistics:
    """Mean and covariance (divided by N - 1) of ``(N, F)`` features, in float64."""
    features = features.double().numpy()
    return Statistics(features.mean(0), np.cov(features, rowvar=False).reshape(features.shape[1], -1), len(features))


class Parts:
    """Features of many images, computed a part at a time and kept in a folder, so that a killed command can go on.

    Args:
        folder: Where the parts lie; made if need be.
        protocol: What the features are of, as plain values. A folder that holds the parts of something else is refused.

    Raises:
        ValueError: If the folder was made under another protocol, or can't be written.
    """

    SIZE = 500  # images in a part: what a kill costs at most, in each process

    def __init__(self, folder: Path | str, protocol: dict) -> None:
        self.folder = Path(folder)
        about, text = self.folder / "protocol.json", json.dumps(protocol, indent=1, sort_keys=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not about.exists():
                with replacing(about) as temporary:
                    temporary.write_text(text, encoding="utf8")
            found = json.loads(about.read_text(encoding="utf8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"can't keep parts in {self.folder} ({error})") from None
        if found != json.loads(text):
            differs = ", ".join(sorted(k for k in {*found, *protocol} if found.get(k) != json.loads(text).get(k)))
            raise ValueError(
                f"{self.folder} holds parts of another protocol ({differs} differ): remove it, or choose another --out"
            )

    def missing(self, n: int) -> list[tuple[int, int]]:
        """(start, stop) of the parts of n images that are not there yet."""
        spans = [(i, min(i + self.SIZE, n)) for i in range(0, n, self.SIZE)]
        return [span for span in spans if not self._path(*span).exists()]

    def write(self, start: int, stop: int, features: Tensor) -> None:
        """Keep the features of images ``start`` to ``stop - 1``."""
        with replacing(self._path(start, stop)) as temporary, open(temporary, "wb") as file:
            np.save(file, features.numpy())

    def read(self, n: int) -> Tensor:
        """``(n, F)`` float32, once nothing is missing."""
        spans = [(i, min(i + self.SIZE, n)) for i in range(0, n, self.SIZE)]
        return torch.cat([torch.from_numpy(np.load(self._path(*span))) for span in spans])

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"{start:07d}-{stop:07d}.npy"


def sha256_of_images(images: Tensor) -> str:
    """The SHA-256 of ``(N, C, H, W)`` uint8 images: of their shape and pixels."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.split(1000):
        digest.update(part.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


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

    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".pth") as empty:
        torch.save({}, empty.name)
        return Built(INCEPTION, ["2048"], feature_extractor_weights_path=empty.name)
