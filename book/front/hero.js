// The first page's runs: DDIM and DDPM from the same noise, from recorded states (book/_tools/hero.py). Where motion is not wanted the
// ends stay as they are. A picture that moves by itself can be stopped; a press on a face runs its seed on the live page.

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  const hero = document.querySelector(".hero");
  if (!hero) return;
  const CALLS = Number(hero.dataset.calls), SEEDS = Number(hero.dataset.seeds), RUNS = Number(hero.dataset.runs);
  const SIDE = 32, STEP = 33, COLUMNS = 4, REST = 2600; // pixels of a tile, and milliseconds
  const pace = (frame) => (frame === CALLS ? REST : frame === 0 ? 900 : frame < 6 ? 220 : 520); // faces appear in the last calls
  const stills = [...hero.querySelectorAll("img")], count = hero.querySelector(".hero-count");
  const words = ["Pure noise", ...Array.from({ length: CALLS }, (_, i) => `Step ${i + 1} of ${CALLS}`)]; // short: one line on any phone
  const canvases = stills.map((still) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: still.width, height: still.height });
    canvas.width = COLUMNS * STEP - 1;
    canvas.height = (SEEDS / COLUMNS) * STEP - 1;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", still.alt);
    canvas.title = "Run this one yourself";
    canvas.style.cursor = "pointer";
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * COLUMNS);
      const row = Math.floor(((event.clientY - box.top) / box.height) * (SEEDS / COLUMNS));
      const seed = row * COLUMNS + column;
      location.href = `live.html#model=faces&class=${seed % 4}&S=${CALLS}&seed=${seed}&run=1`;
    });
    return canvas;
  });

  const states = new Image();
  let frame = CALLS, run = 0, timer = null, seen = true;

  /** One state of all seeds, in both canvases. */
  function show() {
    canvases.forEach((canvas, side) => {
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      for (let seed = 0; seed < SEEDS; seed++) {
        const x = (seed % COLUMNS) * STEP, y = Math.floor(seed / COLUMNS) * STEP;
        const line = (side === 0 ? 0 : 1 + run) * SEEDS + seed;
        context.drawImage(states, frame * SIDE, line * SIDE, SIDE, SIDE, x, y, SIDE, SIDE);
      }
    });
    count.textContent = words[frame];
    hero.dataset.frame = frame;
    hero.dataset.run = run;
  }

  function next() {
    if (frame === CALLS) run = (run + 1) % RUNS;
    frame = frame === CALLS ? 0 : frame + 1;
    show();
    plan();
  }

  function plan() {
    clearTimeout(timer);
    timer = pause.dataset.playing === "yes" && seen ? setTimeout(next, pace(frame)) : null;
  }

  const pause = Object.assign(document.createElement("button"), { type: "button", className: "hero-pause" });
  const play = (on) => {
    pause.dataset.playing = on ? "yes" : "no";
    pause.textContent = on ? "Pause" : "Play";
    plan();
  };
  pause.addEventListener("click", () => {
    if (!canvases[0].isConnected) {
      stills.forEach((still, i) => still.replaceWith(canvases[i]));
      show();
    }
    play(pause.dataset.playing !== "yes");
  });

  addEventListener("beforeprint", () => { // on paper: the ends, and what is folded
    frame = CALLS;
    if (canvases[0].isConnected) show();
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });

  states.onload = () => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    count.after(pause);
    if (calm) return play(false);
    stills.forEach((still, i) => still.replaceWith(canvases[i]));
    frame = 0;
    show();
    play(true);
    new IntersectionObserver((entries) => {
      seen = entries.at(-1).isIntersecting; // nothing moves where nobody looks
      plan();
    }).observe(hero);
  };
  states.src = new URL("front/paths.webp", document.baseURI).href;
});
