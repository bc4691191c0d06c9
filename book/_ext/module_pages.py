"""The pages of source code, more than all others together, faster and the same byte for byte.

Sphinx writes them one by one after the rest; here several processes share them (:mod:`in_parallel`). And on each page
the theme computes the book's contents for the bar at the left anew. They are the same on all pages of a folder that are
not in the contents themselves, and so are computed once. For pages that are in them, Sphinx copies the contents of all
pages down to the last function, and then takes the titles alone; here the rest is left out before.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import cached_property

from docutils import nodes
from in_parallel import jobs
from sphinx import addnodes
from sphinx.environment.adapters.toctree import global_toctree_for_doc
from sphinx.ext import viewcode
from sphinx.util.parallel import ParallelTasks, parallel_available


def clear(app, env) -> None:
    """Forget modules of which no page shows anything, such as ``typing``. Sphinx does so too before it reads each next
    page, which in another process is no next page.
    """
    modules = getattr(env, "_viewcode_modules", {})
    for name in [name for name, entry in modules.items() if entry and not entry[2]]:
        del modules[name]


def collect(app) -> Iterator[tuple]:
    """What Sphinx writes: the list of all modules alone, after several processes have written the others."""
    names = sorted(name for name, entry in getattr(app.env, "_viewcode_modules", {}).items() if entry)
    workers = min(jobs(), len(names)) if parallel_available and viewcode.is_supported_builder(app.builder) else 1
    if workers < 2:
        yield from viewcode.collect_pages(app)
        return
    wanted = viewcode.should_generate_module_page

    def write(share: list[str]) -> None:  # in a process of its own, which ends after it
        viewcode.should_generate_module_page = lambda app, name: name in share and wanted(app, name)
        for page, context, template in viewcode.collect_pages(app):
            if page != posixpath.join(viewcode.OUTPUT_DIRNAME, "index"):
                app.builder.handle_page(page, context, template)

    tasks = ParallelTasks(workers)
    for i in range(workers):
        tasks.add_task(write, names[i::workers])
    tasks.join()
    viewcode.should_generate_module_page = lambda app, name: False
    try:
        yield from viewcode.collect_pages(app)
    finally:
        viewcode.should_generate_module_page = wanted


class Titles:
    """The environment, with contents that hold the pages' titles and nothing below them."""

    def __init__(self, env) -> None:
        self.env = env

    def __getattr__(self, name: str):
        return getattr(self.env, name)

    @cached_property
    def tocs(self) -> dict[str, nodes.bullet_list]:
        found = {}
        for name, toc in self.env.tocs.items():
            found[name] = toc.copy()
            for item in toc.children:
                kept = item.copy()
                kept += [child.deepcopy() for child in item.children[:1]]
                below = [tree.copy() for part in item.children[1:] for tree in part.findall(addnodes.toctree)]
                if below:
                    kept += item[1].copy()
                    kept[1] += below
                found[name] += kept
        return found


def shorten(app) -> None:
    """Put these in the place of Sphinx's own."""
    for listener in list(app.events.listeners.get("html-collect-pages", ())):
        if listener.handler is viewcode.collect_pages:
            app.disconnect(listener.id)
            app.connect("html-collect-pages", collect)
    if app.builder.format != "html":
        return
    builder, whole, titles, kept = app.builder, app.builder._get_local_toctree, [], {}

    def contents(docname: str, collapse: bool = True, **asked) -> str:
        if not asked.get("titles_only"):
            return whole(docname, collapse, **asked)
        place = docname if docname in app.env.all_docs else posixpath.dirname(docname) + "/"
        key = place, collapse, *sorted(asked.items())
        if key not in kept:
            asked = {"includehidden": False, **asked}
            if asked.get("maxdepth") == "":
                del asked["maxdepth"]
            if not titles:
                titles.append(Titles(app.env))
            tree = global_toctree_for_doc(titles[0], docname, builder, collapse=collapse, **asked)
            kept[key] = builder.render_partial(tree)["fragment"]
        return kept[key]

    builder._get_local_toctree = contents


def remember(app, pagename, templatename, context, doctree) -> None:
    """The theme's list of contents, once for each folder of pages that are not in it."""
    made = context.get("generate_toctree_html")
    if doctree is not None or pagename in app.env.all_docs or made is None:
        return
    known = app.builder.__dict__.setdefault("_lists_of_contents", {})

    def once(*given, **named):
        key = posixpath.dirname(pagename), given, *sorted(named.items())
        if key not in known:
            known[key] = str(made(*given, **named))
        return known[key]

    context["generate_toctree_html"] = once


def setup(app):
    app.connect("builder-inited", shorten)
    app.connect("env-updated", clear)
    app.connect("html-page-context", remember, priority=600)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
