// A formula in the text may break where KaTeX would break it, after = and +, but not inside parentheses.
function allowBreaks(place) {
  let depth = 0;
  [...place.querySelectorAll(".katex-base")].forEach((piece, i) => {
    if (i && depth <= 0) {
      const here = document.createElement("span");
      here.className = "may-break";
      here.textContent = "\u200b";
      piece.before(here);
    }
    depth += piece.querySelectorAll(".mopen").length - piece.querySelectorAll(".mclose").length;
  });
}

// Sets every formula of the page: span.math in the text, div.math > .formula on a line of its own.
const lines = [...document.querySelectorAll("div.math > .formula")];
for (const place of [...document.querySelectorAll("span.math"), ...lines]) {
  const displayMode = place.classList.contains("formula");
  const tex = place.textContent.trim().slice(2, -2); // without \( \) or \[ \]
  katex.render(tex, place, { displayMode, throwOnError: false, strict: false });
  if (!displayMode) allowBreaks(place);
}
document.documentElement.dataset.math = "set";

// A formula too wide for its line scrolls, and so it must be reached by the keyboard.
function reachable() {
  const wide = lines.map((line) => line.scrollWidth > line.clientWidth);
  lines.forEach((line, i) => (wide[i] ? line.setAttribute("tabindex", "0") : line.removeAttribute("tabindex")));
}
document.fonts.ready.then(reachable);
addEventListener("resize", reachable);
