"""What goes out to the user: printable whatever a stranger's file is called, and never a reason to lose work.

Names, metadata and messages of other programs can hold what moves a terminal's cursor, sets its title or forges a line.
:func:`say` prints them escaped; every line of the package goes through it. A stream can be closed, full, or read by
nobody: within :func:`guarded` that is noted, the work goes on, and :func:`ended` puts it into the exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

STOPPED = 128 + 2  # as if by SIGINT
NOBODY_READS = 128 + 13  # as if by SIGPIPE


def printable(text: object) -> str:
    """A text in one line, in which all that a terminal would not show as it stands is escaped: ``\\x1b``, ``\\n``."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def say(*words: object, sep: str = " ", file: TextIO | None = None, flush: bool = False) -> None:
    """``print``, with :func:`printable` words: only ``sep`` and the end of it all can begin a line.

    Args:
        words: What to print.
        sep: What stands between them.
        file: Where to; standard output if None.
        flush: Whether to print at once.
    """
    print(*map(printable, words), sep=sep, file=file, flush=flush)


class Outlet:
    """A stream to write to that takes everything: what it can't encode as an escape, and what it can't write not at
    all.

    Args:
        stream: The stream; None, as Python has it for one that was closed before the start, takes all and keeps
            nothing.

    Attributes:
        lost: The first error of writing, after which nothing is written any more; None if all is well.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = open(os.devnull, "w", encoding="utf8") if stream is None else stream
        self.lost: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Write a text, if that is still possible."""
        try:
            self._attempt(self._stream.write, text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._attempt(self._stream.write, text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, if that is still possible."""
        self._attempt(self._stream.flush)

    def _attempt(self, do: Callable[..., object], *what: str) -> None:
        if self.lost is None:
            try:
                do(*what)
            except UnicodeEncodeError:
                raise
            except (OSError, ValueError) as error:  # ValueError: it was closed
                self.lost = error

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Within it, standard output and error are each an :class:`Outlet`; within another one, nothing changes."""
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, Outlet):
        yield
        return
    sys.stdout, sys.stderr = map(Outlet, before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def nobody_reads() -> bool:
    """Whether the reader of standard output has gone, as that of ``... | head -1`` has after a line."""
    return isinstance(getattr(sys.stdout, "lost", None), BrokenPipeError)


def ended(code: int) -> int:
    """The exit code of a command that has done its work, to be asked within :func:`guarded`.

    Args:
        code: The code of the work itself.

    Returns:
        The same, unless it is 0 and what was to be said got lost: then 141 if nobody read it, or else 2 and a line on
        stderr.
    """
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if code or lost is None:
        return code
    if nobody_reads():
        return NOBODY_READS
    reason = getattr(lost, "strerror", None) or lost
    say(f"error: the output can't be written ({reason}); what was to be done is done", file=sys.stderr)
    return 2


def run(main: Callable[[], int]) -> NoReturn:
    """End the process with the exit code of a command, and quietly whatever its streams are.

    Args:
        main: The command. Its prints go through :func:`guarded`; Ctrl-C, where it takes none itself, ends it with
            130.
    """
    _occupy()
    with guarded():
        try:
            code = main()
        except SystemExit as stop:  # after --help
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
        except KeyboardInterrupt:
            code = STOPPED
        code = ended(code)
        lost = [stream for stream in (sys.stdout, sys.stderr) if getattr(stream, "lost", None) is not None]
    for stream in lost:  # or the interpreter tries again at its end, and complains
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (OSError, ValueError):
            pass
    sys.exit(code)


@contextmanager
def importing() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, with 130 and no word: for the seconds in which a command gets torch.

    Raised as an exception there, it would be taken for an import that failed, by libraries that go on without.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _occupy() -> None:
    """Put something where a stream was closed before the start, or the next file to be opened would be taken for it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
