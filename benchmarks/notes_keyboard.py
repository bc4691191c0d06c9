"""The sounds of chapter 21's piano keys: what the shipped model plays for each of them, and what is heard in it.

    python benchmarks/notes_keyboard.py [--out results/notes_keyboard.json]

Four instruments, 25 keys each, every key asked for once: S = 20, eta = 0, scale 2, level -20 dB and onset 0.1 s asked.
What comes is stored, right or wrong; noise is a function of the seed and the class. A sound begins 10 ms before its
onset, as it is heard, and ends where it stays 34 dB below its loudest place. All are scaled by one factor. The wav
files have 8 bits, mu-law, in base64. Beside each stand its cents from the key, by YIN (null where nothing repeats), and
the instrument that the classifier of spectrograms hears.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from ddim_edu.apps.keyboard import mulaw_wav
from ddim_edu.apps.melody import aligned
from ddim_edu.apps.playing import Player
from ddim_edu.data.notes import INSTRUMENTS, PITCHES, RATE
from ddim_edu.files import check_writable, replacing
from ddim_edu.measuring.notes import pitch_of
from ddim_edu.measuring.result import model_about, versions
from ddim_edu.models import load, load_classifier
from ddim_edu.randomness import generator_for

NAMES = ("string", "epiano", "flute", "brass")
S, ETA, SCALE, LEVEL, ONSET, SEED = 20, 0.0, 2.0, -20.0, 0.1, 0
LEAD, FADE, FLOOR = 160, 320, 0.02  # samples before a sound, samples of its end; share of the loudest place


def played(player: Player, name: str, midis: list[int]) -> Tensor:
    """Spectrograms ``(N, 1, 64, 64)``, as asked for."""
    labels = torch.tensor([player.class_of(name, midi) for midi in midis])
    noise = [generator_for(SEED, 10, int(label)) for label in labels]
    return player.play(labels, S, loudness=LEVEL, onset=ONSET, scale=SCALE, eta=ETA, generator=noise)


def cut(sound: Tensor) -> Tensor:
    """A sound without the silence after it, faded out."""
    last = int((sound.abs() > FLOOR * sound.abs().max()).nonzero()[-1]) + FADE
    sound = sound[:last].clone()
    sound[-FADE:] *= torch.linspace(1, 0, len(sound[-FADE:]))
    return sound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/notes_keyboard.json"))
    args = parser.parse_args()
    args.out.parent.mkdir(exist_ok=True)
    out = check_writable(args.out)
    model, ear, midis = load("notes"), load_classifier("notes-instrument").model, list(PITCHES)
    player, keys, sounds = Player(model), {}, {}
    with torch.no_grad():
        for name in NAMES:
            pictures = played(player, name, midis)
            full = player.sounds(pictures)
            sounds[name] = [cut(sound) for sound in aligned(full, RATE, LEAD / RATE)]
            cents = 100 * (pitch_of(full).midi - torch.tensor(midis))
            heard = [INSTRUMENTS[i] for i in ear(pictures).argmax(1).tolist()]
            rows = zip(midis, cents.tolist(), heard, strict=True)
            keys[name] = {str(m): {"cents": round(c, 1) if c == c else None, "heard": h} for m, c, h in rows}
            print(f"{name}: heard as such {heard.count(name)}, within 50 cents {int((cents.abs() < 50).sum())} of 25")
    factor = 0.95 / max(float(sound.abs().max()) for of in sounds.values() for sound in of)
    for name, of in keys.items():
        for key, sound in zip(of.values(), sounds[name], strict=True):
            key["wav"] = base64.b64encode(mulaw_wav((factor * sound).numpy(), RATE)).decode()
    result = {
        "command": "python benchmarks/notes_keyboard.py", "protocol": (__doc__ or "").split("\n\n")[2],
        "S": S, "eta": ETA, "scale": SCALE, "loudness": LEVEL, "onset": ONSET, "seed": SEED,
        "model": model_about(model), "versions": versions(), "keys": keys,
    }  # fmt: skip
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
