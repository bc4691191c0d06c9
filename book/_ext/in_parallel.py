"""Pages are read and written by as many processes as there are processors; ``BOOK_JOBS=1`` takes one.

Jupyter Book's command has no option for it. Sphinx asks every extension whether it may, and two stand in the way.
sphinx_multitoc_numbering does not answer: it puts one function in the place of another, before processes part, and
keeps nothing of its own, so that the answer is yes. sphinx_proof says yes, but its domain does not say how to merge
what two processes have read: it holds nothing, since proofs are in a list that the extension merges itself. The site is
the same byte for byte, however many processes there are (``tests/test_light.py``).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

from sphinx.domains import Domain

SILENT, PROOFS = "sphinx_multitoc_numbering", "prf"
MOST = 8  # each holds a copy of what was read, and the pages are not that many


def jobs() -> int:
    """How many processes are to work at once."""
    asked = os.environ.get("BOOK_JOBS", "")
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(asked) if asked.isdecimal() and int(asked) else min(free, MOST)


def each(function: Callable, items: Iterable) -> list:
    """``[function(item) for item in items]``, by several processes where they can be forked."""
    items = list(items)
    workers = min(jobs(), len(items))
    if workers < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return [function(item) for item in items]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        return list(pool.map(function, items))


def nothing(domain: Domain, docnames, other: dict) -> None:
    """Merges what a domain without data has read."""
    if set(other) - {"version"}:
        raise NotImplementedError(f"the domain {domain.name} has data of its own now: {', '.join(other)}")


def allow(app, config) -> None:
    proofs = app.registry.domains.get(PROOFS)
    if proofs is not None and proofs.merge_domaindata is Domain.merge_domaindata:
        proofs.merge_domaindata = nothing
    silent = app.extensions.get(SILENT)
    if silent is not None and silent.parallel_read_safe is None:
        silent.parallel_read_safe = True


def setup(app):
    app.parallel = jobs()
    app.connect("config-inited", allow)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
