"""What sets of images are compared with: references, of which the features are known or only their statistics, and the
parts in which features are kept (chapter 11).
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ddim_edu.data.pictures import to_uint8
from ddim_edu.data.registry import load_data, load_data_for, trained_on
from ddim_edu.data.source import ImageData
from ddim_edu.files import at_home, first_line, private_folder, replacing, sha256_of
from ddim_edu.measuring.arrays import read_array
from ddim_edu.measuring.features import Features
from ddim_edu.models import Checkpoint
from ddim_edu.processes import gather, process_count, process_index, progress

MOST_FEATURES = 4096  # of saved statistics: twice Inception's, and 134 MB of covariance


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

    The file can be anybody's: at most ``MOST_FEATURES`` are read, and no object is unpickled.

    Raises:
        ValueError: In one line, if there is no such file, or it holds something else.
    """
    path = at_home(path)
    if not path.is_file():
        raise ValueError(
            f"there are no statistics at {path}: give train, test, or the path of an .npz file with mu and sigma"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            mu = read_array(archive, "mu", (MOST_FEATURES,)).astype(np.float64)
            sigma = read_array(archive, "sigma", (MOST_FEATURES,) * 2).astype(np.float64)
            n = _one_number(archive) if "n.npy" in archive.namelist() else None
    except Exception as error:  # a damaged archive can raise nearly anything
        raise ValueError(f"{path} is not an .npz file with mu and sigma ({first_line(error)})") from None
    if not len(mu) or sigma.shape != (len(mu), len(mu)) or not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise ValueError(
            f"{path} holds mu of shape {mu.shape} and sigma of shape {sigma.shape}, or numbers that are not finite"
        )
    # As the distance asks it of both sides, but before hours of sampling.
    largest = np.abs(sigma).max()
    if np.abs(sigma - sigma.T).max() > 1e-5 * largest or np.linalg.eigvalsh((sigma + sigma.T) / 2)[0] < -1e-5 * largest:
        raise ValueError(f"{path} holds a sigma that is no covariance: not symmetric, or with variances below 0")
    return Statistics(mu, sigma, n)


def _one_number(archive: zipfile.ZipFile) -> int:
    """How many images the statistics are of."""
    value = read_array(archive, "n", ())
    if not 1 <= value < 2**63 or value != int(value):
        raise ValueError("n is no number of images")
    return int(value)


def write_statistics(path: Path | str, statistics: Statistics) -> None:
    """Write what :func:`read_statistics` reads; the file is whole or not there."""
    path = Path(path)
    with replacing(path if path.suffix == ".npz" else path.with_name(path.name + ".npz")) as temporary:
        n = {} if statistics.n is None else {"n": statistics.n}
        np.savez(temporary, mu=statistics.mu, sigma=statistics.sigma, **n)


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

    def __init__(self, folder: Path | str, protocol: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        about, text = self.folder / "protocol.json", json.dumps(protocol, indent=1, sort_keys=True)
        try:
            private_folder(self.folder)
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
        return [span for span in self._spans(n) if not self._path(*span).exists()]

    def fill(
        self,
        n: int,
        make: Callable[[int, int], Tensor],
        tick: Callable[[int], object],
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Make what is missing; of several processes each makes its share, and all wait for all.

        Args:
            n: Number of images.
            make: ``make(start, stop)`` gives the features of images ``start`` to ``stop - 1``.
            tick: Called with the number of images done.
            device: The kind of device that the processes compute on.

        Returns:
            ``(n, F)`` float32.

        Raises:
            ValueError: If the processes don't share the folder.
        """
        missing, others = self.missing(n), process_count()
        tick(n - sum(j - i for i, j in missing))
        for at in range(0, len(missing), others):
            turn = missing[at : at + others]  # a part for each process
            for i, j in turn[process_index() :][:1]:
                with replacing(self._path(i, j)) as temporary, open(temporary, "wb") as file:
                    np.save(file, make(i, j).numpy())
            tick(sum(j - i for i, j in turn))
        gather([0], torch.device(device))
        if self.missing(n):
            raise ValueError(f"{self.folder} is not seen by all processes: give --out a folder that they share")
        return torch.cat([self._read(*span) for span in self._spans(n)])

    def _read(self, start: int, stop: int) -> Tensor:
        path = self._path(start, stop)
        try:
            part = np.load(path, mmap_mode="r")  # a file that is shorter than it says takes no memory
            if part.ndim != 2 or len(part) != stop - start or part.dtype != np.float32:
                raise ValueError(f"{part.dtype} of shape {part.shape}")
        except Exception as error:  # as above
            raise ValueError(f"{path} is damaged ({first_line(error)}): remove it, and it is made again") from None
        return torch.from_numpy(np.array(part))

    def _spans(self, n: int) -> list[tuple[int, int]]:
        return [(i, min(i + self.SIZE, n)) for i in range(0, n, self.SIZE)]

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"{start:07d}-{stop:07d}.npy"


def about_images(images: Tensor, name: str) -> dict[str, Any]:
    """What a protocol says of real images."""
    return {"name": name, "images": len(images), "sha256": sha256_of_images(images)}


def sha256_of_images(images: Tensor) -> str:
    """The SHA-256 of ``(N, C, H, W)`` uint8 images: of their shape and pixels."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    for part in images.split(1000):
        digest.update(part.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Reference:
    """What samples are compared with.

    Attributes:
        about: The reference's part of the protocol: name, number of images, hash.
        statistics: Mean and covariance of its features.
        features: ``(N, F)``, or None where only statistics are known.
    """

    about: dict[str, Any]
    statistics: Statistics
    features: Tensor | None = None


def reference_images(
    model: Checkpoint, which: Literal["train", "test"], data_dir: Path | str | None = None, data: str | None = None
) -> Tensor:
    """The images that a model was trained on ("train"), or those of its data set that it was not ("test"), as its
    network sees them.

    Args:
        model: The model.
        which: Which part.
        data_dir: Where data sets with a name lie.
        data: What it was trained on, where its file may not be followed; by default what the file says.

    Returns:
        ``(N, C, H, W)`` uint8.

    Raises:
        ValueError: If the checkpoint does not say what it was trained on, or the data is not to be had.
    """
    how = {"layout": "old"}  # recipes of version 0.1.0 don't say
    how |= {key: model.recipe[key] for key in ("crop", "max_bad", "layout") if key in model.recipe}
    name = data or trained_on(model, "name it with --data")
    return _part(name, load_data_for(model.config, name, data_dir=data_dir, **how), which)


def real_images(
    data: Path | str, which: Literal["train", "test"], data_dir: Path | str | None = None, **form: Any
) -> Tensor:
    """The images of a data set that are to train on ("train"), or the others ("test"), rounded to 8 bits.

    Args:
        data: A data set's name, or a folder of images.
        which: Which part.
        data_dir: Where data sets with a name lie.
        form: What else :func:`ddim_edu.data.registry.load_data` takes: size, channels, crop, max_bad.

    Returns:
        ``(N, C, H, W)`` uint8.

    Raises:
        ValueError: If the data is not to be had, or this part of it is empty.
    """
    return _part(data, load_data(data, data_dir=data_dir, **form), which)


def _part(name: Path | str, found: ImageData, which: Literal["train", "test"]) -> Tensor:
    images = found.train if which == "train" else found.heldout
    if not len(images):
        raise ValueError(f"{name} has no images to {which} on")
    return images if found.top == 255 else torch.cat([to_uint8(found.floats(part)) for part in images.split(1000)])


def kept_features(
    images: Tensor,
    about: Mapping[str, Any],
    features: Features,
    folder: Path,
    *,
    n: int | None = None,
    batch: int = 250,
    tick: Callable[[int], object] = lambda n: None,
) -> Tensor:
    """The features of real images, computed once and kept in a folder.

    Args:
        images: ``(N, C, H, W)`` uint8.
        about: What they are: name, number and hash, and the seed of their order if it is not their own.
        features: What to compute.
        folder: Where to keep them.
        n: Of how many images, from the first; None for all.
        batch: Images at a time.
        tick: Called with the number of images done.

    Returns:
        ``(n, F)`` float32.
    """
    order = f"-{about['order']}" if "order" in about else ""
    parts = Parts(
        folder / f"{about['sha256'][:16]}-{features.sha256[:16]}{order}", {**about, "features": features.sha256}
    )
    return parts.fill(n or len(images), lambda i, j: features.in_batches(images[i:j], batch), tick)


def reference_of(images: Tensor, name: str, features: Features, folder: Path, *, batch: int = 250) -> Reference:
    """Reference images with their features, which are computed once and kept in a folder.

    Args:
        images: ``(N, C, H, W)`` uint8.
        name: What they are called in the protocol.
        features: What to compute.
        folder: Where to keep them.
        batch: Images at a time.

    Raises:
        ValueError: If there are no images.
    """
    if not len(images):
        raise ValueError(f"the reference {name} holds no images")
    about = about_images(images, name)
    with progress(len(images), "image", "reference") as bar:
        found = kept_features(images, about, features, folder, batch=batch, tick=bar.update)
    return Reference(about, statistics_of(found), found)


def saved_reference(path: Path | str, features: Features) -> Reference:
    """A reference of which only statistics are known.

    Raises:
        ValueError: If the file is no such thing, or of other features.
    """
    statistics = read_statistics(path)
    if len(statistics.mu) != features.size:
        raise ValueError(
            f"{path} holds {len(statistics.mu)} features, and {features.name} has {features.size}: "
            "it is of another network"
        )
    return Reference({"name": Path(path).name, "images": statistics.n, "sha256": sha256_of(path)}, statistics)


def reference_for(
    which: str, real: Callable[[str], Tensor], data: str, features: Features, folder: Path, *, batch: int = 250
) -> Reference:
    """What images are compared with, its features computed if need be.

    Args:
        which: ``train``, ``test``, or an .npz file with mu and sigma.
        real: Gives one of the two parts of the data set, ``(N, C, H, W)`` uint8.
        data: The data set's name.
        features: What they are compared by.
        folder: Where to keep features of images.
        batch: Images at a time.

    Raises:
        ValueError: If it can't be had, or does not fit.
    """
    if which in ("train", "test"):
        return reference_of(real(which), f"{data} {which}", features, folder, batch=batch)
    if Path(which).suffix != ".npz":
        raise ValueError(f"reference {which!r}: give train, test, or an .npz file with mu and sigma")
    return saved_reference(which, features)
