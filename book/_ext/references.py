"""Cross-references as plain words, for a notebook that is read outside of the book, in JupyterLab or elsewhere.

``{eq}`eq:reuse-noise` `` becomes "(4.2)", a link to the notebook in which that equation stands, with the number that
the book gives it; chapters, figures, exercises, theorems, papers, pages and names of the package likewise. Numbers are
counted in the notebooks themselves, so that nothing has to be built; tests compare them with the built pages.

- :func:`plain` is for downloads: nothing of MyST is left.
- :func:`linked` is for JupyterLab (``_tools/readable.py``), whose extension for MyST shows theorems and exercises, but
  counts in each notebook from 1 and knows no other notebook. :func:`unlinked` takes it back, letter by letter: each
  link carries its role as its title.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROLE = re.compile(r"\{((?:prf:ref|cite:[tp]|py:[a-z]+|[a-z]+))\}`([^`]+)`")
EQUATION = re.compile(
    r"^(?P<pad>[ \t]*)\$\$\n(?P<body>(?:(?![ \t]*\$\$).*\n)*)[ \t]*\$\$(?: \((?P<label>[\w:-]+)\))?$", re.M
)
KINDS = {"exercise": "Exercise", "prf:theorem": "Theorem", "prf:lemma": "Lemma", "prf:definition": "Definition",
         "prf:corollary": "Corollary", "prf:proposition": "Proposition"}  # fmt: skip
NUMBERED = re.compile(r"^[ \t]*`{3,}\{(?P<kind>" + "|".join(KINDS) + r")\}.*\n[ \t]*:label: (?P<label>\S+)$", re.M)
PROOF = re.compile(r"^`{3,}\{prf:proof\}$", re.M)
LABEL = re.compile(r"^\((?P<label>[\w:-]+)\)=\n+#+ (?P<title>.*)$", re.M)
MATH = re.compile(r":::\{math\}\n(?:[ \t]*:label: (\S+)\n)?[ \t]*:enumerat.*\n((?:.*\n)*?)([ \t]*):::")
LINK = re.compile(r'\[(?:[^\[\]]|\[[^\[\]]*\])*\]\([^()\s]* "\{([a-z:]+)\}([^"]*)"\)')


class References:
    """Labels of the chapters and pages, with what the book calls them.

    Args:
        root: The repository, or a folder with ``chapters`` and ``book`` like it.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.named: dict[str, tuple[str, str]] = {}  # label: the book's words, and the notebook or page
        for path in sorted((root / "chapters").glob("[0-9]*.ipynb")):
            self._read_chapter(path)
        for path in sorted((root / "book").rglob("*.md")):
            page = f"../{path.relative_to(root).as_posix()}"
            for found in LABEL.finditer(path.read_text(encoding="utf-8")):
                self.named.setdefault(found["label"], (found["title"], page))
        bib = root / "book" / "references.bib"
        self.papers = papers(bib.read_text(encoding="utf-8")) if bib.exists() else {}

    def _read_chapter(self, path: Path) -> None:
        number, counts = int(path.stem.split("_")[0]), {}

        def add(kind: str, label: str, form: str) -> None:
            counts[kind] = counts.get(kind, 0) + 1
            self.named[label] = form.format(f"{number}.{counts[kind]}"), path.name

        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            figure = cell["metadata"].get("mystnb", {}).get("figure", {})
            if "caption" in figure:
                add("figure", figure.get("name", ""), "Figure {}")
            if cell["cell_type"] == "markdown":
                for found in LABEL.finditer(text):
                    self.named[found["label"]] = found["title"], path.name
                for found in EQUATION.finditer(text):
                    if found["label"]:
                        add("equation", found["label"], "({})")
                for found in NUMBERED.finditer(text):
                    add(found["kind"], found["label"], KINDS[found["kind"]] + " {}")

    def number(self, label: str) -> str:
        """Such as "4.2"."""
        return self.named[label][0].strip("()").rpartition(" ")[2]

    def words(self, role: str, text: str) -> tuple[str, str]:
        """What a role says, and where it leads: a notebook, a file of the repository or a page of the web, or "".

        Raises:
            KeyError: for a label that is nowhere.
        """
        shown, _, target = text.rpartition(" <") if text.endswith(">") else ("", "", text)
        target = target.removesuffix(">")
        if role.startswith("cite"):
            return self._paper(target.split(","), brackets=role != "cite:t")
        if role.startswith("py:"):
            return self._name(role, target)
        if role == "doc":
            place = self._page(target)
            return shown or self._title(place), place
        name, place = self.named[target]
        return shown or name, place

    def _page(self, target: str) -> str:
        name = target.removeprefix("/chapters/")
        return f"{name}.ipynb" if name != target or target[0] != "/" else f"../book{target}.md"

    def _title(self, place: str) -> str:
        text = (self.root / "chapters" / place).read_text(encoding="utf-8")
        if place.endswith(".ipynb"):
            text = "".join(json.loads(text)["cells"][0]["source"])
        return re.search(r"^# (.*)$", text, re.M)[1]

    def _paper(self, keys: list[str], brackets: bool) -> tuple[str, str]:
        found = [self.papers[key.strip()] for key in keys]
        if brackets:
            return "[" + "; ".join(f"{who}, {year}" for who, year, _ in found) + "]", found[0][2]
        return ", ".join(f"{who} [{year}]" for who, year, _ in found), found[0][2]

    def _name(self, role: str, target: str) -> tuple[str, str]:
        name = target.lstrip("~")
        parts = name.split(".")
        shown = parts[-1] if target.startswith("~") else name
        for n in range(len(parts), 0, -1):
            file = Path(*parts[:n])
            for path in (file.with_suffix(".py"), file / "__init__.py"):
                if (self.root / path).is_file():
                    return f"`{shown}{'()' * (role in ('py:func', 'py:meth'))}`", f"../{path.as_posix()}"
        raise KeyError(name)


def papers(bib: str) -> dict[str, tuple[str, str, str]]:
    """Of each key the authors' names as they are quoted, the year, and the address, or ""."""
    found = {}
    for entry in re.finditer(r"^@\w+\{(?P<key>[^,]+),\n(?P<fields>.*?)^\}", bib, re.M | re.S):
        fields = dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*?)\},?$", entry["fields"], re.M))
        names = [re.sub(r"[{}]", "", name.split(",")[0]).strip() for name in fields["author"].split(" and ")]
        who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} *et al.*"
        arxiv = re.search(r"arXiv:(\S+)", fields.get("note", ""))
        address = re.search(r"https?://[^\s{}()]+", " ".join(fields.values()))
        link = f"https://arxiv.org/abs/{arxiv[1].rstrip('.')}" if arxiv else address[0] if address else ""
        found[entry["key"]] = who, fields["year"], link
    return found


# ---------------------------------------------------------------- for JupyterLab, and back


def linked(text: str, references: References, here: str) -> str:
    """The text of a markdown cell with roles as links and the book's numbers.

    Args:
        text: As it is stored.
        references: What the labels are called.
        here: Name of the notebook.
    """

    def role(found: re.Match) -> str:
        try:
            words, place = references.words(found[1], found[2])
        except (KeyError, OSError):  # being written, or no role at all
            return found[0]
        if place == here and found[1] != "numref":  # of a figure, which a cell draws, JupyterLab knows no label
            place = "#" + re.sub(r".* <|>$", "", found[2])
        return f'[{words}]({place or "../book/references.bib"} "{{{found[1]}}}{found[2]}")'

    def equation(found: re.Match) -> str:
        pad, options = found["pad"], [":enumerated: false"]
        if found["label"]:
            if found["label"] not in references.named:
                return found[0]
            options = [f":label: {found['label']}", f":enumerator: {references.number(found['label'])}"]
        lines = "".join(f"{pad}{option}\n" for option in options)
        return f"{pad}:::{{math}}\n{lines}{found['body']}{pad}:::"

    def numbered(found: re.Match) -> str:
        number = references.named.get(found["label"])
        return f"{found[0]}\n:enumerator: {references.number(found['label'])}" if number else found[0]

    text = PROOF.sub(r"\g<0>\n:enumerated: false", NUMBERED.sub(numbered, EQUATION.sub(equation, text)))
    return ROLE.sub(role, text)


def unlinked(text: str) -> str:
    """What :func:`linked` made its text of."""
    text = MATH.sub(lambda found: f"$$\n{found[2]}{found[3]}$$" + (f" ({found[1]})" if found[1] else ""), text)
    text = re.sub(r"^:enumerat(or: \d+\.\d+|ed: false)\n", "", text, flags=re.M)
    return LINK.sub(lambda found: f"{{{found[1]}}}`{found[2]}`", text)


# ---------------------------------------------------------------- for downloads


def plain(text: str, references: References, here: str) -> str:
    """The text of a markdown cell as any reader of notebooks shows it.

    Args:
        text: As it is stored.
        references: What the labels are called.
        here: Name of the notebook.
    """

    def equation(found: re.Match) -> str:
        tag = f"\\tag{{{references.number(found['label'])}}}\n" if found["label"] else ""
        return f"{found['pad']}$$\n{found['body']}{tag}{found['pad']}$$"

    text = blocks(text, references)
    text = EQUATION.sub(equation, text)
    text = re.sub(r"^\([\w:-]+\)=\n+(?=#)", "", text, flags=re.M)

    def role(found: re.Match) -> str:
        words, place = references.words(found[1], found[2])
        return words if place in ("", here) else f"[{words}]({place})"

    return ROLE.sub(role, text)


def blocks(text: str, references: References) -> str:
    """A text without directives: theorems and exercises as paragraphs with a bold head, solutions to be opened."""
    found, lines = [], text.splitlines()
    while lines:
        opening = re.match(r"(`{3,}|:{3,})\{([\w:-]+)\}\s*(.*)", line := lines.pop(0))
        if not opening:
            found.append(line)
            continue
        fence, name, title = opening.groups()
        end = next((i for i, line in enumerate(lines) if line.rstrip() == fence), len(lines))
        body, lines, options = lines[:end], lines[end + 1 :], {}
        while body and (option := re.match(r":([\w-]+): ?(.*)", body[0])):
            options[option[1]] = option[2]
            body.pop(0)
        found += block(name, title, options, "\n".join(body).strip("\n"), references)
    return "\n".join(found)


def block(name: str, title: str, options: dict[str, str], body: str, references: References) -> list[str]:
    """The lines that stand for one directive."""
    if name == "code-block":
        return [f"`{options['caption']}`:", ""] * ("caption" in options) + [f"```{title}", body, "```"]
    body = blocks(body, references)
    if name == "solution":
        return ["<details>", f"<summary>Solution of {references.named[title][0]}</summary>", "", body, "", "</details>"]
    if name == "prf:proof":
        return [f"*Proof.* {body}"]
    if name in KINDS:
        head = f"**{references.named[options['label']][0]}**" + (f" ({title})" if title else "")
        return [f"{head}. {body}" if name != "exercise" else f"{head}\n\n{body}"]
    return [f"**{title or name.capitalize()}.** {body}"]
