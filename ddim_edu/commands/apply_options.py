"""The options of the applications, a dataclass each; :mod:`ddim_edu.commands.apply` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from ddim_edu.commands.options import CheckpointName
from ddim_edu.ranges import Checked, Clip, Eta, NotNegative, Positive, Range, Share
from ddim_edu.schedule import Spacing


@dataclass(frozen=True)
class Common(Checked):
    """What all of them take."""

    remedies: ClassVar = {
        "n": "0 for as many as are needed",
        "clip": "such as 1, or off",
        "frames": "the ends included",
        "strength": "or auto",
    }

    # A run folder, a checkpoint file, or the name of a shipped model.
    checkpoint: CheckpointName = ""
    # Image files. Of another size than the model's, their central square is resized; colours are made grey where the
    # model is.
    images: tuple[Path, ...] = ()
    # Without --images: how many of those that the model's data set holds out. 0 takes 8, or as many as are needed.
    n: Annotated[NotNegative, tyro.conf.arg(aliases=["-n"])] = 0
    # The picture to write; its ending says the format.
    out: Path = Path("result.png")
    # Number of sampling steps S.
    steps: Positive = 50
    # Which levels the steps visit.
    spacing: Spacing = "trailing"
    # The highest level to use. 0 takes 99 hundredths of T, and 90 where images are encoded: the last levels of the
    # cosine schedule multiply a network's error.
    top: NotNegative = 0
    # Keep the predicted image within [-clip, clip] on the way down; "off" lets it go where it goes.
    clip: Clip = 1.0
    # Noise is a function of the seed, the image's number and the answer's.
    seed: NotNegative = 0
    # Images in the network at a time.
    batch: Positive = 256
    # Without --images: what the model was trained on, a folder or file:Class; by default what the checkpoint says, if
    # that lies where it lay.
    data: str | None = None
    # Where data sets lie, or are downloaded to; $DDIM_EDU_DATA, or else the folder data, if not given.
    data_dir: Path | None = None
    # What to compute on: auto, cpu, cuda, cuda:1, mps.
    device: str = "auto"

    @property
    def bound(self) -> float | None:
        """``clip`` as samplers take it: None for none."""
        return None if self.clip == "off" else self.clip

    @property
    def wanted(self) -> int:
        """How many images to take where none are named."""
        return self.n or 8

    @property
    def encodes(self) -> bool:
        """Whether images go up by inversion, so that the errors made there matter."""
        return False


@dataclass(frozen=True)
class OfClass(Common):
    """What those take that treat all images alike."""

    # For models that know classes: the class that the images are of, by its number or name, or any.
    label: int | str = "any"


@dataclass(frozen=True)
class InterpolateOptions(OfClass):
    """Images between two, three or four: their latents are found by inversion, points between these decoded."""

    # 2: the images are taken in pairs, a row of frames for each. 3 or 4: a triangle or a square of frames.
    corners: Literal[2, 3, 4] = 2
    # Frames from one image to the next, both ends included; an odd number has one in the middle.
    frames: Annotated[int, Range(2)] = 5
    # Along the arc between the latents or the straight line. The line leaves the norm that latents have (pairs only).
    along: Literal["slerp", "lerp"] = "slerp"
    # Between latents drawn from the standard normal, not those of images.
    from_noise: bool = False
    # Write the frames of the first pair as a short film too, there and back: a .gif or .webp file.
    film: Path | None = None

    def check(self) -> None:
        """What depends on the number of corners, and the film's ending."""
        if self.corners != 2 and (self.along == "lerp" or self.film is not None):
            raise ValueError(
                f"corners = {self.corners} goes along arcs, and into a picture: --along lerp and --film are for pairs"
            )
        if self.from_noise and self.images:
            raise ValueError("--from-noise draws its latents: leave out --images")
        if self.film is not None and self.film.suffix.lower() not in (".gif", ".webp"):
            raise ValueError(f"{self.film} does not end like a film: use .gif or .webp")
        given = len(self.images) or self.wanted
        if given % 2 if self.corners == 2 else given != self.corners:
            fit = "an even number, for pairs" if self.corners == 2 else f"{self.corners}, the corners"
            raise ValueError(f"{given} images: give {fit}")

    @property
    def wanted(self) -> int:
        """As in :class:`Common`."""
        return self.n or (8 if self.corners == 2 else self.corners)

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return not self.from_noise


@dataclass(frozen=True)
class ReconstructOptions(OfClass):
    """Encode images as x_T, by the deterministic sampler run backwards, and decode them again."""

    # Off, unlike elsewhere: what inversion encodes is the path of the network as it is.
    clip: Clip = "off"

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return True


@dataclass(frozen=True)
class RestoreOptions(OfClass):
    """What the three restorations take."""

    # Answers to each image, by different noise.
    answers: Positive = 1
    # 0 is DDIM (deterministic but for x_T), 1 is DDPM, "hat" is DDPM with its larger noise.
    eta: Eta = 1.0
    # Time travel: how often each stretch of steps is walked; 1 is none. It multiplies the network calls.
    travel: Positive = 2
    # Steps in a stretch.
    jump: Positive = 5


@dataclass(frozen=True)
class InpaintOptions(RestoreOptions):
    """Fill in what a mask takes away."""

    # left, right, top, bottom (that half is taken away), centre (the middle square), random (three pixels of four); or
    # an image file of the model's size that is white where pixels are to be filled in and black where they are known.
    mask: str = "centre"
    # The simple method instead: noisy known pixels replace the sampled ones at each level; no time travel.
    replace: bool = False


@dataclass(frozen=True)
class UpscaleOptions(RestoreOptions):
    """Super-resolution: the mean over squares of pixels is given. Files of just that small size are taken as what is
    given.
    """

    # How many times smaller the given images are, in width and height.
    factor: Annotated[int, Range(2)] = 2


@dataclass(frozen=True)
class ColouriseOptions(RestoreOptions):
    """Find colours for grey images (their luma, as in ITU-R BT.601); for models of colour images."""


@dataclass(frozen=True)
class EditOptions(Common):
    """Make images into those of another class, or of another model."""

    # The classes to make, by number or name, a row for each. If none is named, one row with all classes in turn: 0 from
    # the first image, and so on.
    target: tuple[int | str, ...] = ()
    # noise: noise the image part of the way and denoise it. invert: part of the way by the deterministic sampler, and
    # back. exact: the same by a map that has an inverse (BDIA, damped), so that what changes is the class's doing
    # alone; clip is not applied then, and 20 steps are taken if --steps is not given.
    by: Literal["noise", "invert", "exact"] = "invert"
    # How far up, from 0 (nothing changes) to 1 (all the way); auto is 0.6 by noise, and 1 by inversion, whose latents
    # keep much.
    strength: Share | Literal["auto"] = "auto"
    # The class that the images are of, or any; for --by invert and --by exact.
    source: int | str = "any"
    # Classifier-free guidance on the way down: 0 ignores the class, 1 takes it as trained, more presses it.
    scale: float = 2.0
    # How the scale is used: plain; interval:200-700, at these levels only; rescale:0.7, with its size put back.
    guidance: str = "plain"
    # Another model, for images of the same shape, that decodes: style transfer.
    decoder: str = ""

    @property
    def share(self) -> float:
        """The strength as a number."""
        return self.strength if self.strength != "auto" else 1.0 if self.encodes else 0.6

    @property
    def encodes(self) -> bool:
        """As in :class:`Common`."""
        return self.by != "noise"

    def check(self) -> None:
        """What exactness does not go with."""
        if self.by == "exact" and self.clip not in ("off", 1.0):
            raise ValueError(f"clip = {self.clip}: a clipped step has no inverse; with --by exact leave out --clip")
