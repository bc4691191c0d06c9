"""Are the model's notes told apart by one who has never heard of them? Pictures for a blind test, and its count.

    python benchmarks/blind_notes.py draw FOLDER
    python benchmarks/blind_notes.py score FOLDER ANSWERS [--out results/blind_notes.json]

``draw`` asks the shipped model for 36 notes, four of each instrument, at pitches and in an order that the seed decides;
S = 20, eta = 0, guidance as the commands use it, nothing asked of level and onset. FOLDER/pictures holds a picture of
each, 01.png to 36.png, with the samples above the spectrogram and no name; FOLDER/references holds a picture for each
instrument with two real notes, held out of the training; and FOLDER_key.json, beside the folder, says which is which.
None is left out and none is drawn twice.

ANSWERS is a JSON file, {"01": "flute", ...}, by one who has seen the folder and not the key. An answer that is missing
counts as wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor

from ddim_edu.apps.playing import Player
from ddim_edu.data.note_set import sounds_of
from ddim_edu.data.notes import HELDOUT, INSTRUMENTS, PITCHES, RATE, draw_note, picture, pitch_name
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import load
from ddim_edu.plotting import figure
from ddim_edu.randomness import generator_for

EACH = 4  # notes of each instrument
S, ETA, SCALE = 20, 0.0, 2.0


def plan(seed: int) -> list[tuple[str, int]]:
    """Instrument and MIDI number of each note, in the order of the pictures."""
    rng = np.random.default_rng([seed, 7])
    notes = [(name, int(pitch)) for name in INSTRUMENTS for pitch in rng.choice(PITCHES, EACH, replace=False)]
    return [notes[i] for i in rng.permutation(len(notes))]


def held_out(name: str, seed: int) -> list[int]:
    """The numbers of two real notes of an instrument."""
    numbers = [i for i in range(HELDOUT) if draw_note(i, "heldout").instrument == name]
    return np.random.default_rng([seed, 8, INSTRUMENTS.index(name)]).choice(numbers, 2, replace=False).tolist()


def draw_pictures(path: Path, pictures: Tensor, sounds: Tensor, title: str = "") -> None:
    """Notes side by side: the samples, scaled to their largest, and the spectrogram."""
    fig, axes = figure(len(pictures), 2, height=3.6, width=3.4 * len(pictures))
    axes = np.reshape(axes, (2, -1))
    axes[0, 0].get_gridspec().set_height_ratios([1, 2.4])
    seconds = np.arange(sounds.shape[1]) / RATE
    for (above, below), image, sound in zip(axes.T, pictures, sounds, strict=True):
        above.plot(seconds, sound / sound.abs().max().clamp(min=1e-9), lw=0.3)
        above.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(-1.05, 1.05))
        below.imshow(
            image[0], origin="lower", aspect="auto", cmap="Greys", vmin=-1, vmax=1, extent=(0, seconds[-1], 0, 64)
        )
        below.set(xlabel="seconds", ylabel="mel band")
        below.grid(False)
    fig.suptitle(title)
    fig.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(fig)


def draw(folder: Path, seed: int) -> None:
    """The pictures, and the key beside their folder."""
    model, notes = load("notes"), plan(seed)
    player = Player(model)
    labels = torch.tensor([player.class_of(*note) for note in notes])
    noise = [generator_for(seed, 9, i) for i in range(len(notes))]
    pictures = player.play(labels, S, scale=SCALE, eta=ETA, generator=noise)
    for part in ("pictures", "references"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for i, (image, sound) in enumerate(zip(pictures, player.sounds(pictures), strict=True), 1):
        draw_pictures(folder / "pictures" / f"{i:02d}.png", image[None], sound[None])
    for name in INSTRUMENTS:
        sounds = sounds_of(held_out(name, seed), "heldout")
        draw_pictures(folder / "references" / f"{name}.png", picture(sounds), sounds, name)
    key = {f"{i:02d}": {"instrument": name, "pitch": pitch_name(pitch)} for i, (name, pitch) in enumerate(notes, 1)}
    protocol = {"S": S, "eta": ETA, "scale": SCALE, "seed": seed, "model": model_about(model), "versions": versions()}
    with replacing(key_of(folder)) as temporary:
        temporary.write_text(json.dumps({"key": key, **protocol}, indent=1) + "\n", encoding="utf8")


def key_of(folder: Path) -> Path:
    """The file of the key."""
    return folder.resolve().parent / f"{folder.resolve().name}_key.json"


def score(folder: Path, answers: Path, out: Path) -> None:
    """How many were named rightly, with Wilson's 95% interval, and what was taken for what."""
    file = json.loads(key_of(folder).read_text(encoding="utf8"))
    said = json.loads(answers.read_text(encoding="utf8"))
    true = {number: of["instrument"] for number, of in file["key"].items()}
    unknown = [f"{number}: {name}" for number, name in said.items() if number not in true or name not in INSTRUMENTS]
    if unknown:
        raise SystemExit(f"{answers}: {unknown[0]} is no picture's number with an instrument of {INSTRUMENTS}")
    right = sum(said.get(number) == name for number, name in true.items())
    low, high = binomtest(right, len(true)).proportion_ci(0.95, "wilson")
    taken = {name: [said.get(number) for number in true if true[number] == name] for name in INSTRUMENTS}
    found = {"right": right, "n": len(true), "low": low, "high": high, "chance": 1 / len(INSTRUMENTS)}
    command = "python benchmarks/blind_notes.py draw FOLDER; python benchmarks/blind_notes.py score FOLDER ANSWERS"
    result = {"command": command, **found, "taken": taken, "answers": said, **file}
    with replacing(check_writable(out)) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    print(f"{right} of {len(true)} right (95% {low:.2f} to {high:.2f}; by chance {1 / len(INSTRUMENTS):.2f})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first, second = commands.add_parser("draw"), commands.add_parser("score")
    for part in (first, second):
        part.add_argument("folder", type=Path)
    first.add_argument("--seed", type=int, default=0)
    second.add_argument("answers", type=Path)
    second.add_argument("--out", type=Path, default=Path("results/blind_notes.json"))
    args = parser.parse_args()
    if args.command == "draw":
        with torch.no_grad():
            draw(args.folder, args.seed)
    else:
        score(args.folder, args.answers, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
