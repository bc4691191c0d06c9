"""Results as files: what was measured, how, and by which command. A file is whole or not there, goes on where it was,
and is never replaced by another measurement.

Every result is a dictionary for JSON with the value, the whole protocol that it depends on, and what it cost. Two
results compare only if their protocols are the same but for the model: :func:`differences`.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ddim_edu import __version__
from ddim_edu.files import check_writable, first_line, replacing, sha256_of
from ddim_edu.models import Checkpoint
from ddim_edu.processes import alone_together, is_first_process
from ddim_edu.strangers import read_json

FORMAT = 1  # of the results; raise it when an older reader would misread them


def model_about(model: Checkpoint) -> dict[str, Any]:
    """What a result says of the model."""
    return {
        "checkpoint": model.path.parent.name if model.path.name == "checkpoint.safetensors" else model.path.stem,
        "sha256": sha256_of(model.path),
        "step": model.step,
        "data": model.recipe.get("data"),
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"ddim_edu": __version__, "torch": torch.__version__}
    with contextlib.suppress(PackageNotFoundError):
        found["torch-fidelity"] = version("torch-fidelity")
    return found


def heading(kind: str, model: Checkpoint | None, protocol: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What every result begins with.

    Args:
        kind: ``fid``, ``table1``, ``table2`` or ``reconstruction``.
        model: What was measured; None for images of a data set.
        protocol: All that a comparison depends on but the model.
        more: What else this kind says of itself.
    """
    about = model and model_about(model)
    return {"kind": kind, "format": FORMAT, "model": about, **more, "protocol": dict(protocol), "versions": versions()}


def read_result(path: Path | str) -> dict[str, Any]:
    """A result file.

    Raises:
        ValueError: In one line, if it is none, or of another version.
    """
    try:
        result = read_json(path, finite=False)
        found = result["format"]
    except OSError as error:
        raise ValueError(f"can't read {path} ({first_line(error)})") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} exists and is not a result of python -m ddim_edu.evaluate: choose another file"
        ) from None
    if found != FORMAT:
        raise ValueError(f"{path} has format {str(found)[:50]}, and this ddim_edu reads {FORMAT}: measure again")
    wrong = _wrong_part(result)
    if wrong:
        raise ValueError(f"{path} is a damaged result (its {wrong}): measure again, to another file")
    return result


# What each row of a table has to hold, and of which kinds; None may stand for a standard error of one image.
ROWS: dict[str, dict[str, Any]] = {
    "table1": {"spacing": str, "steps": int, "eta": int | float | str, "seed": int, "value": int | float},
    "table2": {"steps": int, "error": int | float, "standard_error": int | float | None},
}
ROWS["reconstruction"] = ROWS["table2"]


def _wrong_part(result: Mapping[str, Any]) -> str | None:
    """The part of a result that is not what it is in every result, and is used without another look."""
    kind = result.get("kind")
    if not isinstance(kind, str):
        return "kind"
    parts: dict[str, Any] = {"command": str, "protocol": dict, "model": dict | None}
    if kind in ROWS:
        parts |= {"rows": list}
    for name, of in parts.items():
        if not _of(result.get(name), of):
            return name
    for row in result["rows"] if kind in ROWS else ():
        if not (isinstance(row, dict) and all(_of(row.get(name, ...), of) for name, of in ROWS[kind].items())):
            return "rows"
    return None


def _of(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In which fields two protocols differ: ``"sampling.n: 1000 against 50000"``. Empty if their results compare."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
        return found

    a, b = flat(one), flat(other)
    return [f"{name}: {a.get(name)} against {b.get(name)}" for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def commands_in(line: str) -> list[list[str]]:
    """The words of each of the commands that ``&&`` joins in a line for a shell.

    Args:
        line: The line, in which names are quoted as ``shlex.join`` does it, or otherwise.

    Returns:
        A list of words for each command; no words for a part, or for the whole, that a shell would read as more than
        words: with another operator, a quotation without end, or what can't be printed.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters, lexer.whitespace = True, "", " "
    commands: list[list[str]] = [[]]
    try:
        for word in lexer if line.isprintable() else ():
            if word == "&&":
                commands.append([])
            elif not word or word.strip("();<>|&"):
                commands[-1].append(word)
            else:
                return [[]]
    except ValueError:
        return [[]]
    return commands


class ResultFile:
    """The file of one result, from before the work to its end: :meth:`alone`, :meth:`begin`, :meth:`write`.

    Args:
        path: Where the result goes.
        name: The command: ``fid``, ``images``, ``table1``, ``table2`` or ``reconstruction``.
        command: The command line that makes the result again.
        picture: Whether a picture goes beside it.

    Attributes:
        path, name: As given.
        parts: A folder for what is not finished; :meth:`finish` removes it.
        picture: The file of the picture, or None.
        command: Of all rows: where these are of several commands, joined by ``&&``.
        rows: Of a table: those measured so far.

    Raises:
        ValueError: If nothing can be written there, or what is there is not a result of this command.
    """

    def __init__(self, path: Path | str, name: str, command: str, *, picture: bool = False) -> None:
        self.path, self.name, self.command = Path(path), name, command
        self.parts = self.path.with_name(self.path.name + ".parts")
        self.picture = self.path.with_suffix(".png") if picture else None
        self.rows: list[dict[str, Any]] = []
        self._head: dict[str, Any] = {}
        self._commands_before = ""
        if self.path.suffix.lower() != ".json":
            raise ValueError(f"{path} does not end like a result: use .json")
        check_writable(self.path)
        if self.path.exists():
            found = read_result(self.path).get("kind")
            if found != ("fid" if name == "images" else name):
                raise ValueError(f"{path} is a result of {found}, not of {name}: choose another --out")
        elif self.picture and self.picture.exists():
            raise ValueError(f"{self.picture}, where the picture of the table goes, exists: choose another --out")

    @contextlib.contextmanager
    def alone(self, device: torch.device) -> Iterator[ResultFile]:
        """Let no other command measure for this file meanwhile.

        Args:
            device: The kind of device that the processes compute on.

        Raises:
            ValueError: If one does.
        """
        with alone_together(self.parts, device):
            yield self

    def begin(self, head: Mapping[str, Any], *, free: Sequence[str] = ()) -> None:
        """Take up what the file holds, before the long work.

        Args:
            head: Of the result that is about to be measured, from :func:`heading`.
            free: Fields that may be others than in the file, such as ``protocol.sampling.n``.

        Raises:
            ValueError: If it was measured otherwise: it is not replaced. Or if its command is none that measures this:
                the next one would be joined to it, and a shell runs both.
        """
        self._head = dict(head)
        if not self.path.exists():
            return
        before = read_result(self.path)
        wanted = json.loads(json.dumps({"model": head["model"], "protocol": head["protocol"]}))
        # An older version, or the measurement itself, may have put more into the protocol.
        protocol = {name: v for name, v in before.get("protocol", {}).items() if name in wanted["protocol"]}
        differs = differences({"model": before.get("model"), "protocol": protocol}, wanted)
        differs = [line for line in differs if line.split(": ")[0] not in free]
        if differs:
            raise ValueError(f"{self.path} was measured otherwise ({'; '.join(differs)}): choose another --out")
        self.rows, self._commands_before = before.get("rows", []), self._joined(before["command"])

    def _joined(self, stored: str) -> str:
        """The commands of a file, quoted anew: a stranger may have written what a shell takes for more than words."""
        parts = commands_in(stored)
        if any(words[:4] != ["python", "-m", "ddim_edu.evaluate", self.name] for words in parts):
            raise ValueError(
                f"{self.path} names a command that is not python -m ddim_edu.evaluate {self.name} alone: "
                "choose another --out"
            )
        return " && ".join(map(shlex.join, parts))

    def missing(self, wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The rows of a table that the file does not hold yet.

        Args:
            wanted: The fields that name each row: ``{"steps": 10}``. Rows of the file that are none of these were made
                by commands before, which the file goes on to name.
        """
        before = self._commands_before
        if before and not all(any(_is(row, key) for key in wanted) for row in self.rows):
            known = f" && {self.command} && " in f" && {before} && "
            self.command = before if known else f"{before} && {self.command}"
        return [key for key in wanted if not any(_is(row, key) for row in self.rows)]

    def add(self, row: Mapping[str, Any], *, sort_by: str | None = None, made_from: Path | None = None) -> None:
        """Put a row into the table, and write the table.

        Args:
            row: The row.
            sort_by: The field that orders all rows; by default they stay as they came.
            made_from: A folder that is not needed any more.
        """
        self.rows.append(dict(row))
        if sort_by:
            self.rows.sort(key=lambda row: row[sort_by])
        self.write(self.table)
        if made_from and is_first_process():
            shutil.rmtree(made_from)

    @property
    def table(self) -> dict[str, Any]:
        """The whole table so far."""
        return {**self._head, "command": self.command, "rows": self.rows}

    def write(self, result: Mapping[str, Any]) -> None:
        """Write a result with its command; of several processes, the first does."""
        if is_first_process():
            with replacing(self.path) as temporary:
                text = json.dumps({**result, "command": self.command}, indent=1)
                temporary.write_text(text + "\n", encoding="utf8")

    def finish(self, result: Mapping[str, Any]) -> None:
        """:meth:`write`, and remove the parts that it was made from."""
        self.write(result)
        if is_first_process():
            shutil.rmtree(self.parts, ignore_errors=True)


def _is(row: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in key.items())
