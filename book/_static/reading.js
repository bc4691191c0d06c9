// What a reader does in a page: open folds, see a formula or a word's meaning in place, wrap code, see that more lies beside.

// ---------------------------------------------------------------- folds (folds.py)
const folds = () => document.querySelectorAll("details.fold");

// An address that leads into a fold opens it. Browsers do so by themselves, but for older ones.
function openFor(hash) {
  const target = hash.length > 1 && document.getElementById(decodeURIComponent(hash.slice(1)));
  const fold = target && target.closest("details.fold");
  if (!fold || fold.open) return;
  fold.open = true;
  target.scrollIntoView();
}

// Paper can't be opened: checks are printed open, and closed again afterwards.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details.checks:not([open])")) {
    fold.open = true;
    fold.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const fold of document.querySelectorAll("details[data-printed]")) {
    fold.open = false;
    delete fold.dataset.printed;
  }
});

function offerAllCode() {
  const place = document.querySelector(".chapter-code");
  if (!place || !folds().length) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "all-code";
  button.textContent = "Show all code";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") === "false";
    for (const fold of folds()) fold.open = open;
    button.setAttribute("aria-pressed", String(open));
  });
  place.append(" ", button);
}

// ---------------------------------------------------------------- notes in place
// Hover and focus show what a number of a formula stands for; a tap does so too, and a second one follows the link.
let note, owner;

function formulaOf(link) {
  const name = decodeURIComponent(link.hash.slice(1));
  const here = document.getElementById(name)?.querySelector(".formula");
  if (here) return here.firstElementChild?.cloneNode(true);
  const tex = JSON.parse(document.getElementById("equations")?.textContent ?? "{}")[name];
  if (!tex || !window.katex) return null;
  const made = document.createElement("span");
  katex.render(tex.includes("\\\\") ? `\\begin{split}${tex}\\end{split}` : tex, made, { displayMode: true, throwOnError: false, strict: false });
  return made;
}

function hideNote() {
  owner?.removeAttribute("aria-describedby");
  note?.remove();
  note = owner = null;
}

function showNote(link) {
  if (owner === link) return;
  hideNote();
  const formula = formulaOf(link);
  if (!formula) return;
  note = document.createElement("div");
  note.className = "formula-note";
  note.id = "formula-note";
  note.setAttribute("role", "tooltip");
  note.append(formula);
  document.body.append(note);
  owner = link;
  link.setAttribute("aria-describedby", note.id);
  const place = link.getBoundingClientRect(), size = note.getBoundingClientRect();
  note.style.left = `${Math.max(8, Math.min(place.left, innerWidth - size.width - 8))}px`;
  note.style.top = place.top > size.height + 70 ? `${place.top - size.height - 6}px` : `${place.bottom + 6}px`;
}

function followNotes() {
  for (const link of document.querySelectorAll('.bd-article a.reference[href*="#equation-"]')) {
    link.addEventListener("mouseenter", () => matchMedia("(hover: hover)").matches && showNote(link));
    link.addEventListener("mouseleave", hideNote);
    link.addEventListener("focus", () => showNote(link));
    link.addEventListener("blur", hideNote);
    tapShows(link, () => (owner === link && link.dataset.tapped === "" ? false : (showNote(link), owner === link)));
  }
  for (const term of document.querySelectorAll(".term")) {
    tapShows(term.querySelector("a"), () => term.querySelector("a").dataset.tapped !== "");
    term.addEventListener("keydown", (event) => event.key === "Escape" && event.target.blur());
  }
  addEventListener("keydown", (event) => event.key === "Escape" && hideNote());
  addEventListener("scroll", hideNote, { passive: true });
  addEventListener("click", (event) => {
    for (const link of document.querySelectorAll("a[data-tapped]")) if (link !== event.target.closest("a")) delete link.dataset.tapped;
    if (owner && !owner.contains(event.target)) hideNote();
  });
}

// The first tap on a link shows its note, if `show` has one; the mouse and the Enter key follow the link at once.
function tapShows(link, show) {
  let touched = false;
  link.addEventListener("pointerdown", (event) => (touched = event.pointerType !== "mouse"));
  link.addEventListener("click", (event) => {
    if (!touched) return;
    touched = false;
    if (!show()) return;
    event.preventDefault();
    link.dataset.tapped = "";
    link.focus({ preventScroll: true });
  });
}

// ---------------------------------------------------------------- what is wider than the page
const TABLE = ".pst-scrollable-table-container, .text_html > div:has(> table)";
const WIDE = `.bd-article :is(pre, .formula, .wide-figure, ${TABLE})`;

// A line above a figure or a table that is wider than the page; it goes once that was scrolled.
function sayHow(box) {
  if (!box.matches(`.wide-figure, ${TABLE}`) || box.previousElementSibling?.matches(".wide-hint")) return;
  const finger = matchMedia("(pointer: coarse), (max-width: 720px)").matches, hint = document.createElement("p");
  hint.className = "wide-hint";
  hint.textContent = `${finger ? "swipe" : "scroll"} → to see the rest`;
  if (box.matches(".wide-figure")) hint.textContent += `, ${finger ? "tap" : "click"} to open it whole`;
  box.before(hint);
}

function tellMore(box) {
  const left = box.scrollLeft > 2, right = box.scrollLeft + box.clientWidth < box.scrollWidth - 2;
  box.classList.toggle("more-left", left);
  box.classList.toggle("more-right", right);
}

function offerWrap(pre) {
  if (pre.clientHeight < 72 || pre.scrollWidth <= pre.clientWidth + 2 || pre.parentElement.querySelector(".wrap-code")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "wrap-code";
  button.textContent = "Wrap";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const wrap = !pre.classList.contains("wrapped-code");
    pre.classList.toggle("wrapped-code", wrap);
    button.setAttribute("aria-pressed", String(wrap));
    tellMore(pre);
  });
  pre.parentElement.append(button);
}

function watchWide() {
  for (const box of document.querySelectorAll(WIDE)) {
    if (!box.clientWidth) continue; // in a fold: when it opens
    if (box.scrollWidth > box.clientWidth + 2) sayHow(box);
    tellMore(box);
    if (box.matches(".highlight > pre")) offerWrap(box);
    if (box.dataset.watched === undefined) box.addEventListener("scroll", () => (tellMore(box), box.classList.add("was-scrolled")), { passive: true });
    box.dataset.watched = "";
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const section of document.querySelectorAll("section.deeper")) {
    document.querySelector(`.bd-sidebar-secondary a[href="#${CSS.escape(section.id)}"]`)?.classList.add("deeper-link");
  }
  offerAllCode();
  followNotes();
  openFor(location.hash);
});
addEventListener("hashchange", () => openFor(location.hash));
addEventListener("load", () => document.fonts.ready.then(watchWide));
addEventListener("resize", watchWide);
document.addEventListener("toggle", (event) => event.target.matches?.("details") && watchWide(), true);
