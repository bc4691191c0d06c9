"""What the kit says: a verdict, and the same as JSON, as a table for a terminal, as Markdown or HTML for a
pull request.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from html import escape

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow-x: auto }}
td, th {{ text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; overflow-wrap: anywhere }}
</style></head>
<body>
<h1>{title}</h1>
{body}
<table><thead><tr><th>oracle</th><th>result</th><th>what it saw</th></tr></thead>
<tbody>
{rows}
</tbody></table>
</body></html>
"""


@dataclass
class Verdict:
    """The answer of the kit.

    Attributes:
        kind: of the function.
        verdict: ``"right"``, ``"wrong"`` or ``"convention"`` (right, with an honest difference that is named).
        mistake: id in the catalogue, two joined by ``+``, or None where nothing in it fits.
        explanation: what is wrong and what it should be, in this project's notation.
        oracles: name -> ``{"passed": bool, "said": text}``: what was looked at.
    """

    kind: str
    verdict: str = "right"
    mistake: str | None = None
    explanation: str = ""
    oracles: dict[str, dict] = field(default_factory=dict)

    def saw(self, oracle: str, passed: bool, said: str) -> bool:
        """Write down what one oracle found."""
        self.oracles[oracle] = {"passed": bool(passed), "said": said}
        return passed

    def wrong(self, mistake: str | None, explanation: str) -> Verdict:
        """A bug, with its id if it has one."""
        self.verdict, self.mistake, self.explanation = "wrong", mistake, explanation
        return self

    def convention(self, mistake: str | None, explanation: str) -> Verdict:
        """An honest difference; several are told one after another."""
        if self.verdict != "wrong":
            self.verdict, self.mistake = "convention", self.mistake or mistake
            self.explanation = f"{self.explanation} {explanation}".strip()
        return self

    def as_dict(self) -> dict:
        """What ``--json`` writes."""
        return {
            "verdict": self.verdict,
            "mistake": self.mistake,
            "explanation": self.explanation,
            "oracles": self.oracles,
        }

    @property
    def ok(self) -> bool:
        """Not wrong."""
        return self.verdict != "wrong"

    def text(self, name: str = "") -> str:
        """A table for a terminal."""
        lines = [
            f"{name or 'function'} ({self.kind}): {self.verdict.upper()}"
            + (f"  [{self.mistake}]" if self.mistake else "")
        ]
        if "\n" in self.explanation:  # code, which keeps its lines
            lines += textwrap.indent(self.explanation, "  ").splitlines()
        else:
            indent = dict(initial_indent="  ", subsequent_indent="  ")
            lines += textwrap.wrap(self.explanation, 100, **indent, break_on_hyphens=False)
        width = max((len(oracle) for oracle in self.oracles), default=0)
        lines += [
            f"  {'ok  ' if o['passed'] else 'FAIL'}  {oracle:{width}}  {o['said']}"
            for oracle, o in self.oracles.items()
        ]
        return "\n".join(lines)

    def markdown(self, name: str = "") -> str:
        """A comment for a pull request."""
        first, *rest = self.explanation.split("\n", 1)
        lines = [
            f"### `{name or 'function'}` as a {self.kind}: {self.verdict}"
            + (f" (`{self.mistake}`)" if self.mistake else ""),
            "",
            first,
            "",
        ]
        if rest:
            lines += ["```python", rest[0].strip("\n"), "```", ""]
        lines += ["| oracle | | what it saw |", "|---|---|---|"]
        lines += [
            f"| {oracle} | {'passed' if o['passed'] else '**failed**'} | {o['said']} |"
            for oracle, o in self.oracles.items()
        ]
        return "\n".join(lines) + "\n"

    def html(self, name: str = "") -> str:
        """The same as a page that needs no other file."""
        first, *rest = self.explanation.split("\n", 1)
        title = f"{name or 'function'} as a {self.kind}: {self.verdict}" + (
            f" ({self.mistake})" if self.mistake else ""
        )
        body = f"<p>{escape(first)}</p>" + "".join(f"\n<pre><code>{escape(code)}</code></pre>" for code in rest)
        results = {True: "passed", False: "<strong>failed</strong>"}
        rows = "\n".join(
            f"<tr><td>{escape(oracle)}</td><td>{results[o['passed']]}</td><td>{escape(o['said'])}</td></tr>"
            for oracle, o in self.oracles.items()
        )
        return PAGE.format(title=escape(title), body=body, rows=rows)
