"""Training of the small networks: the classifiers that measure samples, and the autoencoder of a latent diffusion.

One loop for both, on the CPU: AdamW, with a learning rate that rises in a straight line and falls to 0 along half a
cosine. A recipe says the rest: the network, its loss, and what is written at the end. The same machine, version of
torch and number of threads give the same weights again.
"""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ddim_edu.data.batches import Shuffle, mirror, shifted
from ddim_edu.data.faces.attributes import ATTRIBUTES
from ddim_edu.data.faces.dataset import HELDOUT_FROM
from ddim_edu.data.faces.reading import places, read, truth
from ddim_edu.data.faces.styles import STYLES
from ddim_edu.data.registry import load_data
from ddim_edu.data.source import ImageData
from ddim_edu.models.small import save_autoencoder, save_classifier
from ddim_edu.nets.autoencoder import Autoencoder, AutoencoderConfig
from ddim_edu.nets.classifier import Classifier, ClassifierConfig
from ddim_edu.processes import progress
from ddim_edu.randomness import Stream, generator_for
from ddim_edu.ranges import AboveZero, Checked, NotNegative, Positive, Range


@dataclass(frozen=True)
class SmallRecipe(Checked):
    """How a small network is trained; what its subclasses have in common.

    Raises:
        ValueError: If a value is out of range.
    """

    # The data set: its name, or a folder.
    data: str
    # Passes over it.
    epochs: Positive
    # Images per step.
    batch: Annotated[int, Range(2)]
    # Channels of the levels, each of which halves the side.
    channels: tuple[int, ...]
    # Highest learning rate.
    lr: AboveZero = 3e-3
    # AdamW's, per unit of learning rate.
    weight_decay: Annotated[float, Range(0)] = 0.01
    # Images are moved by up to so many pixels.
    shift: NotNegative = 0
    # Everything random follows from it.
    seed: NotNegative = 0
    # CPU threads.
    threads: Positive = 1

    fused: ClassVar[bool] = False  # whether AdamW is torch's fused one, which rounds otherwise

    def load(self, data_dir: Path | str | None = None, **how: Any) -> ImageData:
        """The data set; arguments as for :func:`~ddim_edu.data.registry.load_data`."""
        return load_data(self.data, data_dir=data_dir, **how)

    def network(self, data: ImageData) -> nn.Module:
        """A new network for these data, with weights from torch's own generator."""
        raise NotImplementedError

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, as a share of ``lr``."""
        raise NotImplementedError

    def loss(self, model: Any, data: ImageData, which: Tensor, generator: Generator) -> Tensor:
        """The loss of a batch.

        Args:
            model: The network.
            data: The data set.
            which: ``(B,)`` int64, the batch's images among those to train on.
            generator: For what is random in this step.
        """
        raise NotImplementedError

    def finish(self, model: Any, data: ImageData) -> None:
        """Round the weights to float16, as they will be saved, and whatever else makes the network ready."""
        raise NotImplementedError

    def score(self, model: Any, data: ImageData) -> float:
        """How well a network, in evaluation mode, does on what was held out."""
        raise NotImplementedError

    def save(self, path: Path | str, model: Any, data: ImageData) -> str:
        """Write the network's file; its score in words."""
        raise NotImplementedError


def train(recipe: SmallRecipe, data: ImageData) -> Any:
    """Train a small network on the CPU.

    Args:
        recipe: How.
        data: The data set, as ``recipe.load()`` gives it.

    Returns:
        The network, finished and in evaluation mode.
    """
    torch.set_num_threads(recipe.threads)
    steps = max(1, recipe.epochs * len(data.train) // recipe.batch)
    order = Shuffle(len(data.train), recipe.batch, recipe.seed)
    with torch.random.fork_rng(devices=[]), progress(steps, "step") as bar:
        torch.manual_seed(generator_for(recipe.seed, Stream.INIT).initial_seed())
        model = recipe.network(data).to(memory_format=torch.channels_last).train()
        how: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": recipe.fused}
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, **how)
        for step in range(steps):
            loss = recipe.loss(model, data, order(step), generator_for(recipe.seed, Stream.STEP, step))
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * recipe.rate(step, steps)
            optimizer.step()
            if step % 100 == 99:
                bar.set_postfix_str(f"loss {loss.item():.4f}", refresh=False)
            bar.update()
    with torch.no_grad():
        recipe.finish(model, data)
    return model.eval()


def rise_and_fall(step: int, rise: float, fall: float) -> float:
    """A rate that rises in a straight line to 1 within ``rise`` steps, and falls to 0 along half a cosine within
    ``fall`` more."""
    return (step + 1) / rise if step + 1 < rise else (1 + math.cos(math.pi * (step - rise) / fall)) / 2


def make(recipe: SmallRecipe, path: Path | str, data: ImageData) -> str:
    """Train a network and write its file; what to tell of it, in a line."""
    began = time.perf_counter()
    model = train(recipe, data)
    seconds = time.perf_counter() - began
    return f"{path}: {recipe.save(path, model, data)}, after {seconds:.0f} s of training"


# ---- classifiers


@dataclass(frozen=True)
class ClassifierRecipe(SmallRecipe):
    """How a classifier is trained: on the cross entropy, with a rate that rises over the first fifth of the steps."""

    channels: tuple[int, ...] = (32, 64)
    # Number of features.
    feature_size: int = 64
    # Share of the features that each step leaves out.
    dropout: float = 0.2
    # Images are moved by up to so many pixels up or down, left or right.
    shift: NotNegative = 1
    # Half of the images are mirrored left to right.
    mirror: bool = False

    def network(self, data: ImageData) -> Classifier:
        _, channels, size, _ = data.train.shape
        classes = len(data.classes)
        return Classifier(
            ClassifierConfig(size, channels, self.channels, self.feature_size, classes, dropout=self.dropout)
        )

    def rate(self, step: int, steps: int) -> float:
        rise = 0.2 * steps
        return rise_and_fall(step, rise, steps - rise)

    def loss(self, model: Classifier, data: ImageData, which: Tensor, generator: Generator) -> Tensor:
        x = data.floats(data.train[which])
        if self.shift:
            x = shifted(x, *torch.randint(-self.shift, self.shift + 1, (2, len(x)), generator=generator))
        if self.mirror:
            x = mirror(x, torch.rand(len(x), generator=generator) < 0.5)
        return F.cross_entropy(model(x), data.train_labels[which])

    def finish(self, model: Classifier, data: ImageData) -> None:
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half())

    @torch.no_grad()
    def score(self, model: Classifier, data: ImageData) -> float:
        """Share of the held-out images that are classified correctly."""
        batches = zip(data.heldout.split(500), data.heldout_labels.split(500))
        return torch.cat([model(data.floats(x)).argmax(1) == y for x, y in batches]).double().mean().item()

    def save(self, path: Path | str, model: Classifier, data: ImageData) -> str:
        accuracy = self.score(model, data)
        save_classifier(path, model, data=self.data, accuracy=accuracy, training=dataclasses.asdict(self))
        return f"{accuracy:.2%} of {len(data.heldout):,} held-out images right"


@dataclass(frozen=True)
class PartRecipe(ClassifierRecipe):
    """The same, where class names have parts, as in "3 george", and one part is the class."""

    # Which part: 0 is the word, 1 the speaker.
    part: int = 0

    def load(self, data_dir: Path | str | None = None, **how: Any) -> ImageData:
        return by_part(super().load(data_dir, **how), self.part)


@dataclass(frozen=True)
class AttributesRecipe(ClassifierRecipe):
    """A network that reads all attributes of drawn faces: a logit for each value of each attribute of each style
    (:func:`~ddim_edu.data.faces.reading.places`), and the sum of the cross entropies of those that a face has."""

    def network(self, data: ImageData) -> Classifier:
        _, channels, size, _ = data.train.shape
        logits = places()[-1][2].stop
        return Classifier(
            ClassifierConfig(size, channels, self.channels, self.feature_size, logits, dropout=self.dropout)
        )

    def loss(self, model: Classifier, data: ImageData, which: Tensor, generator: Generator) -> Tensor:
        x, table = data.floats(data.train[which]), truth(0, which)
        x = shifted(x, *torch.randint(-self.shift, self.shift + 1, (2, len(x)), generator=generator))
        logits, styles = model(x), list(STYLES)
        total = F.cross_entropy(logits[:, : len(styles)], table[:, 0])
        for style, attribute, place in places()[1:]:
            of_style = table[:, 0] == styles.index(style)
            true = table[of_style, ATTRIBUTES.index(attribute)]
            total = total + F.cross_entropy(logits[of_style, place], true, reduction="sum") / len(x)
        return total

    @torch.no_grad()
    def shares(self, model: Classifier, data: ImageData) -> dict[str, float]:
        """Attribute to the share of held-out faces in which it is read rightly, where the style has it."""
        logits = torch.cat([model(data.floats(x)) for x in data.heldout.split(500)])
        true = truth(HELDOUT_FROM, torch.arange(len(data.heldout)))
        right, has = read(logits) == true, true >= 0
        return {a: right[has[:, i], i].double().mean().item() for i, a in enumerate(ATTRIBUTES)}

    def score(self, model: Classifier, data: ImageData) -> float:
        """Mean of :meth:`shares`."""
        found = self.shares(model, data).values()
        return sum(found) / len(found)

    def save(self, path: Path | str, model: Classifier, data: ImageData) -> str:
        shares, accuracy = self.shares(model, data), self.score(model, data)
        save_classifier(path, model, data=self.data, accuracy=accuracy, training=dataclasses.asdict(self))
        worst = min(shares, key=lambda a: shares[a])
        of_all = f"{accuracy:.2%} of the attributes of {len(data.heldout):,} held-out faces right"
        return f"{of_all} ({worst}: {shares[worst]:.1%})"


_SPOKEN: dict[str, Any] = {"epochs": 5, "batch": 64, "channels": (16, 32, 64), "dropout": 0.3, "shift": 2}
CLASSIFIERS = {
    "digits": ClassifierRecipe("digits", epochs=20, batch=64),
    "fashion-mnist": ClassifierRecipe("fashion-mnist", epochs=6, batch=128, weight_decay=0.02, shift=0, mirror=True),
    "faces": ClassifierRecipe("faces", epochs=2, batch=128, channels=(16, 32, 64), mirror=True),
    "faces-attributes": AttributesRecipe(
        "faces", epochs=15, batch=128, channels=(32, 64, 128), feature_size=128, dropout=0.0
    ),
    "spoken-word": PartRecipe("spoken-digits", **_SPOKEN, part=0),
    "spoken-speaker": PartRecipe("spoken-digits", **_SPOKEN, part=1),
    "notes-instrument": PartRecipe("notes", epochs=1, batch=64, channels=(16, 32, 64), dropout=0.3, shift=2, part=0),
}


def by_part(data: ImageData, part: int) -> ImageData:
    """A data set whose classes are one part of its class names.

    Args:
        data: The data set, with class names such as ``"3 george"``.
        part: Which: 0 for ``"3"``, 1 for ``"george"``.

    Raises:
        ValueError: If the names have no such part.
    """
    names = [name.split(" ")[part : part + 1] for name in data.classes]
    if not all(names):
        raise ValueError(f"the classes {', '.join(data.classes[:3])}, ... have no part {part}")
    classes = tuple(dict.fromkeys(name for (name,) in names))
    table = torch.tensor([classes.index(name) for (name,) in names])
    labels: dict[str, Any] = {key: table[getattr(data, key)] for key in ("train_labels", "heldout_labels")}
    return dataclasses.replace(data, classes=classes, **labels)


# ---- autoencoders


@dataclass(frozen=True)
class AutoencoderRecipe(SmallRecipe):
    """How an autoencoder is trained: on the mean square error, with a rate that rises over the first twentieth of the
    steps. Labels are not used."""

    data: str = "spoken-digits"
    epochs: Positive = 16
    batch: Annotated[int, Range(2)] = 32
    channels: tuple[int, ...] = (16, 32, 64)
    # Channels of the latent.
    latent_channels: int = 8
    # Standard deviation of the noise that is added to the latents, whose own is 1.
    noise: float = 0.1
    # Pictures are moved left or right by up to so many pixels: sounds, in time.
    shift: NotNegative = 2

    fused: ClassVar[bool] = True

    def network(self, data: ImageData) -> Autoencoder:
        _, channels, size, _ = data.train.shape
        return Autoencoder(AutoencoderConfig(size, channels, self.channels, self.latent_channels, self.noise))

    def rate(self, step: int, steps: int) -> float:
        rise = max(1.0, 0.05 * steps)
        return rise_and_fall(step, rise, steps - rise + 1)

    def loss(self, model: Autoencoder, data: ImageData, which: Tensor, generator: Generator) -> Tensor:
        x = data.floats(data.train[which])
        if self.shift:
            right = torch.randint(-self.shift, self.shift + 1, (len(x),), generator=generator)
            x = shifted(x, torch.zeros_like(right), right)
        noise = torch.randn(len(x), *model.config.latent_shape, generator=generator)
        return F.mse_loss(model(x, noise), x)

    def finish(self, model: Autoencoder, data: ImageData) -> None:
        """Round the weights, and normalise by the whole training set instead of the last batches."""
        for value in model.parameters():
            value.copy_(value.half())
        raw = torch.cat([model.encoder(data.floats(part)) for part in data.train.split(250)]).double()
        model.normalise.running_mean.copy_(raw.mean((0, 2, 3)))
        model.normalise.running_var.copy_(raw.var((0, 2, 3)))

    @torch.no_grad()
    def score(self, model: Autoencoder, data: ImageData) -> float:
        """Root mean square error of the held-out pictures, whose range is [-1, 1]."""
        pictures = map(data.floats, data.heldout.split(250))
        total = sum(F.mse_loss(model(x).clamp(-1, 1), x, reduction="sum").item() for x in pictures)
        return (total / data.heldout.numel()) ** 0.5

    def save(self, path: Path | str, model: Autoencoder, data: ImageData) -> str:
        error, training = self.score(model, data), dataclasses.asdict(self)
        save_autoencoder(path, model, data=self.data, classes=data.classes, error=error, training=training)
        parameters = sum(p.numel() for p in model.parameters())
        return (
            f"{parameters:,} parameters, root mean square error {error:.4f} on {len(data.heldout):,} held-out pictures "
            "in [-1, 1]"
        )
