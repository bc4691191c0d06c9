// Sets every formula of the page: span.math in the text, div.math > .formula on a line of its own.
for (const place of document.querySelectorAll("span.math, div.math > .formula")) {
  const displayMode = place.classList.contains("formula");
  const tex = place.textContent.trim().slice(2, -2); // without \( \) or \[ \]
  katex.render(tex, place, { displayMode, throwOnError: false, strict: false });
}
document.documentElement.dataset.math = "set";
