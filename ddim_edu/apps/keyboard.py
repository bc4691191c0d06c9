"""A strip of piano keys, as a notebook's cell shows it: each key plays a sound that was made before (chapter 21).

The sounds are wav files of 8 bits a sample on the scale of G.711, which every browser plays: half the bytes of 16 bits,
and a noise 37 dB below the sound, whether that is loud or soft.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from ddim_edu.data.notes import pitch_name

MULAW = 7  # the format's number in a wav file
BIAS, MOST = 132, 32635  # of G.711's mu-law, in steps of 16 bits
BLACK = (1, 3, 6, 8, 10)  # semitones above C
LETTERS = "AWSEDFTGYHUJK"  # as on the middle rows of a computer's keyboard, from C to C


def mulaw(sound: np.ndarray) -> bytes:
    """Samples as 8 bits on a logarithmic scale, mu-law.

    Args:
        sound: ``(n,)`` in [-1, 1]; beyond that it is clipped.

    Returns:
        n bytes: the sign, three bits of an exponent, four of a mantissa, all turned over.

    Source: ITU-T G.711.
    """
    steps = np.round(np.asarray(sound, float) * 32768).astype(np.int64)
    size = np.minimum(np.abs(steps), MOST) + BIAS
    exponent = np.floor(np.log2(size)).astype(np.int64) - 7
    code = (steps < 0) << 7 | exponent << 4 | size >> (exponent + 3) & 15
    return (255 - code).astype(np.uint8).tobytes()


def mulaw_wav(sound: np.ndarray, rate: int) -> bytes:
    """A wav file of one channel in mu-law.

    Args:
        sound: As for :func:`mulaw`.
        rate: Samples a second.
    """
    data = mulaw(sound)
    form = struct.pack("<HHIIHHH", MULAW, 1, rate, rate, 1, 8, 0)
    chunks = ((b"fmt ", form), (b"fact", struct.pack("<I", len(data))), (b"data", data + b"\0" * (len(data) % 2)))
    sizes = {b"data": len(data)}
    body = b"".join(name + struct.pack("<I", sizes.get(name, len(part))) + part for name, part in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


class Keyboard:
    """Piano keys that play sounds, and a choice of instruments, as the last line of a notebook's cell shows them.

    Without a mouse: the tab key leads to the instruments and to the keys, the arrow keys from key to key, and letters
    play the upper octave, A to K with the black keys in the row above.

    Args:
        sounds: For each instrument and each MIDI number a wav file. All instruments have the same keys, without a gap.
        cents: By how much each was heard to be out of tune, which is shown when it is played; None where nothing is
            known.

    Raises:
        ValueError: If there is no sound, or the keys have gaps or differ.
    """

    def __init__(
        self, sounds: Mapping[str, Mapping[int, bytes]], cents: Mapping[str, Mapping[int, float | None]] | None = None
    ) -> None:
        ranges = {name: sorted(of) for name, of in sounds.items()}
        self.keys: list[int] = next(iter(ranges.values()), [])
        if not self.keys or self.keys != list(range(self.keys[0], self.keys[-1] + 1)):
            raise ValueError(f"sounds of the keys {self.keys}: give one for every key from the lowest to the highest")
        for name, keys in ranges.items():
            if keys != self.keys:
                raise ValueError(f"{name} has the keys {keys}, others {self.keys}: give all the same")
        self.sounds, self.cents = sounds, cents or {}

    @classmethod
    def stored(cls, file: Mapping[str, Any]) -> Keyboard:
        """The keys of a file of ``benchmarks/notes_keyboard.py``, read from JSON."""
        keys = {name: {int(midi): key for midi, key in of.items()} for name, of in file["keys"].items()}
        sounds = {name: {midi: base64.b64decode(key["wav"]) for midi, key in of.items()} for name, of in keys.items()}
        return cls(sounds, {name: {midi: key["cents"] for midi, key in of.items()} for name, of in keys.items()})

    def __repr__(self) -> str:
        ends = f"{pitch_name(self.keys[0])} to {pitch_name(self.keys[-1])}"
        return f"piano keys, {ends}: {', '.join(self.sounds)}"

    def _repr_html_(self) -> str:
        group = f"instrument-{zlib.crc32(repr(sorted(self.sounds.items())).encode()):08x}"
        choices = "".join(
            f'<label><input type="radio" name="{group}" value="{escape(name)}"{"" if i else " checked"}> '
            f"{escape(name)}</label>"
            for i, name in enumerate(self.sounds)
        )
        octaves = [self._octave(keys) for keys in _octaves(self.keys)]
        whites = [len(_whites(keys)) for keys in _octaves(self.keys)]
        wide = min(sum(whites), 7 + max(whites))  # white keys in a row that is wide enough for two octaves
        files = "".join(
            f'<audio preload="none" hidden data-key="{escape(name)} {midi}"{self._told(name, midi)} '
            f'src="data:audio/wav;base64,{base64.b64encode(wav).decode()}"></audio>'
            for name, of in self.sounds.items()
            for midi, wav in of.items()
        )
        return (
            f'<div class="note-keys" role="group" aria-label="Piano keys"><style>{STYLE}</style>'
            f'<fieldset><legend>Instrument</legend>{choices}</fieldset><div class="note-help">{HELP}</div>'
            f'<div class="note-octaves" style="--narrow: {max(whites)}; --wide: {wide}">{"".join(octaves)}</div>'
            f'<div class="note-said"></div>{files}<script>{script(self.keys)}</script></div>'
        )

    def _octave(self, keys: list[int]) -> str:
        whites = _whites(keys)
        buttons = []
        for key in keys:
            name = pitch_name(key)
            first = ' tabindex="0"' if key == self.keys[0] else ' tabindex="-1"'
            button = f'<button type="button" data-midi="{key}" aria-label="{name.replace("#", " sharp ")}"{first}'
            if key % 12 in BLACK:
                left = (sum(white < key for white in whites) - 0.3) / len(whites)
                buttons.append(
                    f'{button} class="black" style="left: {left:.2%}; width: {0.6 / len(whites):.2%}"></button>'
                )
            else:
                buttons.append(f"{button}>{name if key % 12 == 0 else ''}</button>")
        return f'<div style="--keys: {len(whites)}">{"".join(buttons)}</div>'

    def _told(self, name: str, midi: int) -> str:
        cents = self.cents.get(name, {}).get(midi)
        if cents is None:
            return ""
        size = f"{abs(cents):.0f}"
        return f' data-heard=": {size} cent{"" if size == "1" else "s"} too {"high" if cents > 0 else "low"}"'


def _whites(keys: list[int]) -> list[int]:
    return [key for key in keys if key % 12 not in BLACK]


def _octaves(keys: list[int]) -> list[list[int]]:
    """Keys from C to B; a last C alone stays with the octave below it."""
    found: list[list[int]] = []
    for key in keys:
        if found and (key % 12 or key == keys[-1]):
            found[-1].append(key)
        else:
            found.append([key])
    return found


def script(keys: list[int]) -> str:
    """What the keys do, for all strips of a page that have not been set going."""
    top = max((key for key in keys if key % 12 == 0 and key + 12 <= keys[-1]), default=keys[0])
    codes = {f"Key{letter}": top + i for i, letter in enumerate(LETTERS)}
    return SCRIPT.replace("CODES", json.dumps(codes))


HELP = """Press a key to hear it. <span>Arrow keys lead from key to key; the letters A to K, and those above them, play
the upper octave.</span>"""
STYLE = """
.note-keys { margin: 1rem 0; max-width: 46rem; container-type: inline-size; }
.note-keys fieldset { border: 0; margin: 0 0 0.5rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; }
.note-keys legend { padding: 0; font-size: inherit; margin: 0; }
.note-keys label { padding: 0.25rem 0; cursor: pointer; }
.note-octaves { --key: min(4rem, (100cqw - 1px) / var(--narrow)); display: flex; flex-wrap: wrap; row-gap: 0.5rem;
  margin-top: 0.5rem; }
@container (min-width: 36rem) { .note-octaves { --key: min(4rem, (100cqw - 1px) / var(--wide)); } }
.note-octaves > div { display: flex; position: relative; width: calc(var(--keys) * var(--key)); height: 8rem; }
.note-octaves button { flex: 1; min-width: 0; margin: 0; padding: 0 0 0.3rem; border: 1px solid #444; cursor: pointer;
  border-radius: 0 0 4px 4px; background: #fff; color: #222; font-size: 0.85rem; display: flex; align-items: flex-end;
  justify-content: center; touch-action: manipulation; }
.note-octaves button.black { position: absolute; top: 0; height: 60%; background: #222; z-index: 3; }
.note-octaves button.playing { background: #56b4e9; }
.note-octaves button:focus-visible { outline: 3px solid #d55e00; outline-offset: 1px; box-shadow: 0 0 0 7px #fff;
  z-index: 2; }
.note-help { font-size: 0.9rem; }
@media (hover: none) and (pointer: coarse) { .note-help span { display: none; } }
.note-said { font-size: 0.9rem; min-height: 1.5em; margin-top: 0.3rem; }
"""
SCRIPT = """
for (const strip of document.querySelectorAll(".note-keys:not([data-ready])")) {
  strip.dataset.ready = "yes";
  const keys = [...strip.querySelectorAll("button")], sounds = [...strip.querySelectorAll("audio")], codes = CODES;
  let pressed = null;
  const play = (key) => {
    const instrument = strip.querySelector("input:checked").value;
    const sound = sounds.find((one) => one.dataset.key === `${instrument} ${key.dataset.midi}`);
    sound.currentTime = 0;
    key.classList.add("playing");
    const done = () => key.classList.remove("playing");
    sound.onended = sound.onpause = done;
    sound.play().catch(done);
    const name = `${instrument}, ${key.getAttribute("aria-label")}`;
    strip.querySelector(".note-said").textContent = name + (sound.dataset.heard ?? "");
  };
  const go = (key) => {
    for (const other of keys) other.tabIndex = other === key ? 0 : -1;
    key.focus();
  };
  for (const key of keys) {
    key.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button) return;
      pressed = key;
      play(key);
    });
    key.addEventListener("click", () => {
      if (pressed !== key) play(key);
      pressed = null;
      go(key);
    });
  }
  strip.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const here = keys.indexOf(event.target), ends = { Home: 0, End: keys.length - 1 };
    const next = here + { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    let key = keys.find((one) => codes[event.code] === +one.dataset.midi);
    if (here >= 0) key = keys[ends[event.key] ?? next] ?? key;
    if (!key) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    go(key);
    play(key);
  });
}
"""
