"""Which data set a name stands for.

``--data`` of the commands and :func:`load_data` take one of ``SOURCES`` in :mod:`ddim_edu.data.named`; the path of a
folder of images or of wav files; or ``module:Class``, a :class:`ddim_edu.data.source.Source` of the user's own, in a
file of the working directory or in an installed package, which may also give it a short name by an entry point of the
group ``ddim_edu.data``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ddim_edu.data.folder import read_folder
from ddim_edu.data.named import SOURCES
from ddim_edu.data.recordings import holds_sounds, read_sounds
from ddim_edu.data.source import Form, ImageData, Source, default_data_dir
from ddim_edu.files import at_home
from ddim_edu.models import Checkpoint
from ddim_edu.plugins import named
from ddim_edu.strangers import find


class ImageFolder(Source):
    """Any folder of images (:mod:`ddim_edu.data.folder`).

    A set of more than 1 GiB is a mapped file. Each batch then reads its images from there, which costs little while the
    operating system keeps the file in free memory, and a read from the disk for each image when it doesn't.
    """

    resizable = crops = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, data_dir: Path, form: Form) -> ImageData:
        return ImageData.split(*read_folder(self.path, **vars(form)))


class SoundFolder(Source):
    """Any folder of wav files, as log-mel spectrograms (:mod:`ddim_edu.data.recordings`)."""

    size, channels, sounds = 64, 1, True

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, data_dir: Path, form: Form) -> ImageData:
        return ImageData.split(*read_sounds(self.path, max_bad=form.max_bad))


def source_of(name: Path | str, *, imports: bool = True) -> Source:
    """The source that a name or a path stands for.

    Args:
        name: See above. A folder that is called like a data set is named with ``./``.
        imports: Whether a module may be imported for it; see :func:`ddim_edu.plugins.named`.

    Raises:
        ValueError: One line, if there is nothing of that name.
    """
    path = at_home(name)
    if imports and name not in SOURCES and str(name) and path.exists():
        return SoundFolder(path) if holds_sounds(path) else ImageFolder(path)
    found = named(str(name), SOURCES, "data set or folder", "ddim_edu.data", imports=imports)
    if not (isinstance(found, type) and issubclass(found, Source)):
        raise ValueError(f"{name} is not a class of data: derive it from ddim_edu.data.source.Source")
    return found()


def known_source(name: Path | str | None) -> Source:
    """The same, for questions that have an answer without the data: a source that knows nothing, if there is none.

    The name may be one that a file says: no folder is looked into, and nothing imported.
    """
    try:
        return source_of(name or "", imports=False)
    except ValueError:
        return Source()


def trained_on(model: Checkpoint, remedy: str) -> str:
    """The data that a model's file says it was trained on, where a file may be followed; see
    :func:`ddim_edu.strangers.find`.

    Args:
        model: The model.
        remedy: What to do otherwise, for the message.

    Returns:
        A name or a path for :func:`load_data`.

    Raises:
        ValueError: One line, if it does not say so, or it can't be followed.
    """
    name = model.recipe.get("data")
    if name is None:
        raise ValueError(f"{model.path} does not say what it was trained on: {remedy}")
    return find(name, SOURCES, model.path, model.places.get("data"), remedy)


def load_data(
    name: Path | str,
    *,
    data_dir: Path | str | None = None,
    size: int | None = None,
    channels: int | None = None,
    crop: str | None = None,
    max_bad: float = 0.0,
    cache_dir: Path | str | None = None,
    layout: str = "auto",
) -> ImageData:
    """A data set by its name, or a folder by its path.

    Args:
        name: As for :func:`source_of`.
        data_dir: Where data sets with a name are, or are downloaded to; by default ``$DDIM_EDU_DATA``, or else
            ``data``.
        size: Width and height of the images in pixels; None takes the data set's own. A folder needs one.
        channels: 1 for grey, 3 for RGB; None takes the data set's own, and 3 for a folder.
        crop, max_bad, cache_dir, layout: See :class:`ddim_edu.data.source.Form`; all but the third are for folders.

    Raises:
        ValueError: One line, if there is nothing of that name, or it can't be had in that form.
    """
    source = source_of(name)
    if crop is not None and not source.crops:
        raise ValueError(f"crop {crop!r} is for folders of images; {name} has none")
    if layout in ("parts", "classes") and not source.crops:
        raise ValueError(f"layout {layout!r} is for folders of images; {name} is none")
    if size is None and source.size is None:
        raise ValueError(f"to which size are the images in {name} to be brought? give one, such as size = 64")
    size, channels = size if size is not None else source.size, channels if channels is not None else source.channels
    form = Form(size, channels, crop, max_bad, cache_dir, layout)
    if not source.resizable and (size, channels) != (source.size, source.channels):
        of = "sounds" if source.sounds else "images"
        raise ValueError(
            f"the {of} of {name} are {_text(source.channels, source.size, source.size)}, and can't be had with "
            f"size = {size}, channels = {channels}"
        )
    data = source.load(at_home(data_dir or default_data_dir()), form)
    if not isinstance(data, ImageData):
        raise ValueError(f"{name} loaded {type(data).__name__}: give an ImageData")
    data.check(str(name))
    found = tuple(data.train.shape[1:])
    if found != (channels, size, size):
        raise ValueError(f"the images of {name} are {_text(*found)}, and should be {_text(channels, size, size)}")
    return data


class _Network(Protocol):
    image_size: int
    image_channels: int


def load_data_for(network: _Network, name: Path | str, **how: Any) -> ImageData:
    """A data set in the form that a network takes, or else in the only form that it has.

    Args:
        network: The network's configuration.
        name: As for :func:`source_of`.
        how: data_dir, crop, max_bad, layout: as for :func:`load_data`.
    """
    resizable = source_of(name).resizable
    size, channels = (network.image_size, network.image_channels) if resizable else (None, None)
    return load_data(name, size=size, channels=channels, **how)


def _text(channels: int, height: int, width: int) -> str:
    return f"{height} x {width} in {'grey' if channels == 1 else 'colour'}"
