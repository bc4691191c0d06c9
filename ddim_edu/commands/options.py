"""Command lines from dataclasses, with errors of one line.

tyro turns a dataclass into options, and the comments of its fields into the text of ``--help``. Its errors are boxes of
several lines; here they become one line that says what to do instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from ddim_edu.processes import is_first_process
from ddim_edu.ranges import Positive, closest
from ddim_edu.streams import ended, guarded, say
from ddim_edu.streams import run as run  # for the doors

Options = TypeVar("Options")

# The type of the option that names a model, which is the one word that needs no --name.
CheckpointName = Annotated[
    tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN_OR_CHECKPOINT", help_behavior_hint="(required)")
]
# The type of an option n, which has the short form -n too.
Count = Annotated[Positive, tyro.conf.arg(aliases=["-n"])]


def parse(default: Options, arguments: Sequence[str], *, prog: str, description: str) -> Options:
    """Read options from a command line.

    Args:
        default: A dataclass instance; what the command line does not name keeps its value from here.
        arguments: The words of the command line, without the program's name.
        prog: How the program is called, for the help text.
        description: What the program does, for the help text.

    Returns:
        A changed copy of ``default``.

    Raises:
        ValueError: One line, for an option that does not exist or a value that does not fit.
        SystemExit: With code 0, after ``--help`` has been printed.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box), _wide_enough():
            options, unknown = tyro.cli(
                type(default),
                default=default,
                args=list(arguments),
                prog=prog,
                description=description,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_unbox(box.getvalue())) from None
    if unknown:
        raise ValueError(_unknown(unknown[0], default))
    return options


def carry_out(work: Callable[[], object], stopped: str | None = None) -> int:
    """Do what a command was asked for, and turn what a user can get wrong into one line.

    Args:
        work: What to do. It raises a ValueError or OSError for what the user can change.
        stopped: What to say on stderr after Ctrl-C.

    Returns:
        The exit code: 0; 2 called wrongly, or what it says could not be written; 130 stopped by Ctrl-C; 141 nobody
        read what it says.
    """
    with guarded():
        try:
            work()
        except (ValueError, OSError) as error:
            return fail(error)
        except KeyboardInterrupt:
            if stopped and is_first_process():
                say(stopped, file=sys.stderr)
            return 130
        return ended(0)


def command_line(prog: str, options: Any, *, positional: str, without: Iterable[str] = ()) -> str:
    """The line that calls a command with these options, for a shell.

    Args:
        prog: How the command is called.
        options: A dataclass instance with a default for every field; the line names what differs from it.
        positional: The field that needs no name.
        without: Fields to leave out.
    """
    words, default, left_out = [*prog.split(), getattr(options, positional)], type(options)(), {positional, *without}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in left_out and value != getattr(default, field.name):
            words += [f"--{field.name.replace('_', '-')}", *(value if isinstance(value, tuple) else [value])]
    return shlex.join(map(str, words))


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as one line on stderr, from the first process only."""

    def show(message: object, *_: object, **__: object) -> None:
        if is_first_process():
            say(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def distinct(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """A check that no file to write is written twice, or is one that is read.

    Raises:
        ValueError: If one is.
    """
    taken = {path.resolve(): "is read too" for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in taken:
            raise ValueError(f"{path} {taken[path.resolve()]}: choose another name for what is to be written")
        taken[path.resolve()] = "is to be written twice"


def check_threads(threads: int) -> None:
    """A check that a number of CPU threads is one that this machine can run.

    Raises:
        ValueError: If it is negative, or so many that they would only wait for one another.
    """
    most = max(64, 8 * (os.cpu_count() or 1))
    if not 0 <= threads <= most:
        raise ValueError(f"threads = {threads}: give at most {most} on this machine, or 0 to have the number tried out")


def fail(message: object) -> int:
    """Print one line to stderr; of several processes, only the first speaks.

    Returns:
        2, the exit code of a command that was called wrongly.
    """
    if is_first_process():
        say(f"error: {message}", file=sys.stderr)
    return 2


def option_names(options: Any, prefix: str = "--") -> list[str]:
    """Names of the options that a dataclass instance makes, those of dataclasses within it included."""
    names = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            # A field annotated with an empty name stands for its own fields.
            flat = field.metadata.get("flat", False)
            names += option_names(value, prefix if flat else f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name.replace("_", "-"))
    return names


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """In a terminal of a few columns tyro would search for line breaks without end."""
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns < 40:
        os.environ["COLUMNS"] = "40"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before


def _unknown(word: str, options: object) -> str:
    if not word.startswith("-"):
        return f"don't know what to do with {word!r}; options have names, see --help"
    name = word.split("=")[0]
    return f"there is no option {name}{closest(name.replace('_', '-'), option_names(options))} (--help lists all)"


def _unbox(text: str) -> str:
    """The first paragraph of tyro's error box, as one line."""
    # The frame is drawn with box characters, or with blanks and hyphens where the terminal has no UTF-8.
    inner = [line.strip(" │") for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    inner = [line for line in inner if line and not line.startswith("╰")]
    is_rule = [set(line) <= {"─", "-"} for line in inner]
    first = 1 if text.lstrip().startswith("╭") else 2  # below the title, and the rule under it
    last = is_rule.index(True, first) if True in is_rule[first:] else len(inner)
    lines = inner[first:last]  # the rest is the help text of the option, which --help shows too
    line = " ".join(lines) or " ".join(text.split())
    for pattern, plainly in (
        (r"Error parsing (\S+): invalid literal for int.*: '(.*)'", r"\1 \2: give a whole number"),
        (r"Error parsing (\S+): could not convert string to float: '(.*)'", r"\1 \2: give a number"),
        (r"Error parsing (\S+): no type matching (\S+) could be instantiated from \['(.*?)'\].*", r"\1 \3: give \2"),
        (r"Error parsing [\w.]+: (.*)", r"\1"),  # a dataclass refused its values, and says why
    ):
        line = re.sub(f"^{pattern}$", plainly, line)
    return line
