// One slide at a time; the address holds its number, so that Back works and a slide can be linked: 07_ode.html#5.
const slides = [...document.querySelectorAll(".slide")], title = document.title;
const [back, place, on] = ["back", "place", "on"].map((id) => document.getElementById(id));
const FORTH = ["ArrowRight", "ArrowDown", "PageDown", " ", "Enter"], BACK = ["ArrowLeft", "ArrowUp", "PageUp", "Backspace"];
let now = 0;

const wide = (box) => box.scrollWidth > box.clientWidth + 1;

function show() {
  const before = now;
  now = Math.min(Math.max(parseInt(location.hash.slice(1)) || 1, 1), slides.length);
  slides.forEach((slide, i) => slide.classList.toggle("now", i === now - 1));
  place.textContent = `${now} of ${slides.length}`;
  document.title = `${now} · ${title}`;
  back.ariaDisabled = String(now === 1);
  on.ariaDisabled = String(now === slides.length);
  scrollTo(0, 0);
  if (before && !document.activeElement.closest("nav")) slides[now - 1].focus();
  measure();
}

// What scrolls must be reached by the keyboard.
function measure() {
  for (const box of slides[now - 1].querySelectorAll(".room, .formula")) {
    if (wide(box)) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    if (box.matches(".room")) box.nextElementSibling.hidden = !wide(box);
  }
}

function go(to) {
  if (to >= 1 && to <= slides.length && to !== now) location.hash = to;
}

addEventListener("hashchange", show);
addEventListener("resize", measure);
document.fonts.ready.then(measure);
back.addEventListener("click", () => go(now - 1));
on.addEventListener("click", () => go(now + 1));

addEventListener("keydown", (event) => {
  const { key, target } = event, slide = slides[now - 1];
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if ((key === " " || key === "Enter") && target.closest("a, button")) return;
  if (/^Arrow(Left|Right)$/.test(key) && target.closest(".room, .formula")) return; // it scrolls
  if (/^Arrow(Up|Down)$/.test(key) && slide.scrollHeight > slide.clientHeight + 1) return;
  let to = FORTH.includes(key) ? now + 1 : BACK.includes(key) ? now - 1 : { Home: 1, End: slides.length }[key];
  if (key === " " && event.shiftKey) to = now - 1;
  if (to === undefined) return;
  event.preventDefault();
  go(to);
});

// A click goes on, in the left quarter back; not one that follows a link or marks words.
document.querySelector("main").addEventListener("click", (event) => {
  if (event.target.closest("a") || !getSelection().isCollapsed) return;
  go(now + (event.clientX < innerWidth / 4 ? -1 : 1));
});

// A finger that moves sideways; where a figure scrolls, only beyond its end. Not two fingers, which enlarge.
let start = null;
addEventListener("touchstart", (event) => {
  const { clientX, clientY } = event.touches[0], box = event.target.closest(".room, .formula");
  start = event.touches.length > 1 || visualViewport.scale > 1.01 ? null : { clientX, clientY, box, left: box?.scrollLeft };
});
addEventListener("touchend", (event) => {
  if (!start) return;
  const { clientX, clientY } = event.changedTouches[0], x = clientX - start.clientX, y = clientY - start.clientY;
  const room = start.box ? (x < 0 ? start.box.scrollWidth - start.box.clientWidth - start.left : start.left) : 0;
  if (Math.abs(x) > 50 && Math.abs(x) > 2 * Math.abs(y) && room < 2) go(now - Math.sign(x));
  start = null;
});

document.documentElement.classList.add("running");
show();
