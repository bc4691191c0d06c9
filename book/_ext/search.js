// The search of the book, in place of Sphinx's lookup and display: see search_texts.py. It stands in the page itself.
"use strict";

const LiveSearch = (() => {
  const GREEK = {
    alpha: "α", beta: "β", delta: "δ", epsilon: "ε", eps: "ε", eta: "η", theta: "θ", lambda: "λ", mu: "μ", rho: "ρ",
    sigma: "σ", tau: "τ", phi: "φ", alpha_bar: "ᾱ", alphabar: "ᾱ", abar: "ᾱ",
  };
  const SHOWN = 60;

  // ᾱ may come as one sign or as alpha and a stroke above it
  const small = (text) => text.normalize("NFC").replace(/α[\u0304\u0305]/g, "ᾱ").toLowerCase();

  const escaped = (word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  // A word of the question as an expression: of a symbol the sign or the name, of other words the beginning.
  const expression = (word) => {
    const name = word in GREEK ? word : Object.keys(GREEK).find((key) => GREEK[key] === word);
    const forms = name ? [GREEK[name], ...Object.keys(GREEK).filter((key) => GREEK[key] === GREEK[name])] : [word];
    const whole = name || /^[\d.]+$/.test(word);
    const end = whole ? "(?![\\p{L}\\d]|\\.\\d)" : "";
    return new RegExp(`(?<![\\p{L}\\d])(?:${forms.map(escaped).join("|")})${end}`, "u");
  };

  // Rows of {page, title, anchor, heading, text, score}, best first; equally good ones in the order of the book.
  const find = (question, pages) => {
    const words = small(question).replaceAll('"', " ").split(/\s+/).filter(Boolean).map(expression);
    const phrase = new RegExp(small(question).trim().split(/\s+/).map((word) => expression(word).source).join("\\s+"), "u");
    const found = [];
    if (!words.length) return { found, words };
    for (const [page, title, rows] of pages)
      for (const [anchor, heading, text] of rows) {
        const head = small(heading), all = `${head} ${small(text)}`;
        if (!words.every((word) => word.test(all))) continue;
        const score = phrase.test(head) ? 3 : words.every((word) => word.test(head)) ? 2 : phrase.test(all) ? 1 : 0;
        found.push({ page, title, anchor, heading, text, score });
      }
    return { found: found.sort((a, b) => b.score - a.score), words };
  };

  // Some words around the first place that was asked for, which is marked.
  const excerpt = (text, words) => {
    const places = words.map((word) => small(text).search(word)).filter((place) => place >= 0);
    const from = Math.max(0, Math.min(...(places.length ? places : [0])) - 80);
    const start = from ? text.indexOf(" ", from) + 1 : 0;
    const part = text.slice(start, start + 240);
    const line = document.createElement("p");
    line.className = "context";
    line.append(start ? "… " : "");
    const any = new RegExp(words.map((word) => word.source).join("|"), "gu");
    let done = 0;
    for (const match of small(part).matchAll(any)) {
      line.append(part.slice(done, match.index));
      done = match.index + match[0].length;
      const mark = document.createElement("span");
      mark.className = "highlighted";
      mark.textContent = part.slice(match.index, done);
      line.append(mark);
    }
    line.append(part.slice(done), start + 240 < text.length ? " …" : "");
    return line;
  };

  const show = (question) => {
    const { found, words } = find(question, window.searchTexts);
    for (const { page, title, anchor, heading, text } of found.slice(0, SHOWN)) {
      const item = document.createElement("li"), link = document.createElement("a");
      link.href = page + (anchor ? `#${anchor}` : "");
      const itself = !heading || heading === title || heading.replace(/^[\d.]+\s+/, "") === title; // the page's own heading has its number
      link.textContent = itself ? heading || title : `${title} > ${heading}`;
      item.append(link, excerpt(text, words));
      Search.output.append(item);
    }
    Search.stopPulse();
    Search.title.innerText = found.length ? "Search results" : "Nothing found";
    const more = found.length > SHOWN ? `, of which these are the first ${SHOWN}` : "";
    Search.status.innerText = found.length
      ? `${found.length} section${found.length > 1 ? "s" : ""} with all of these words${more}.`
      : "No section has all of these words. Try fewer, or the beginning of one.";
  };

  return { find, show };
})();

document.addEventListener("DOMContentLoaded", () => {
  Search.performSearch = ((begin) => (question) => {
    const script = document.createElement("script");
    script.src = "_static/search_texts.js";
    script.onload = () => LiveSearch.show(question);
    Search.query = () => {}; // Sphinx's index is there all the same, for those who want it
    document.body.append(script);
    begin(question);
  })(Search.performSearch);
});
