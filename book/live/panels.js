// The panels below the first: one noise at several numbers of steps, between two noises, a hole, a drawing there and back.

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  if (!document.querySelector("[data-live=start]")) return;
  const { calm, shape, make, sleep, rms, seconds, between: bound, field, slider, number, choice, button, seedOf, Picture, Panel, Board } = LiveParts;
  const { panels } = Live, ready = () => Live.network;
  const film = (...pictures) => make("div", { className: "live-film live-film-large" }, ...pictures.map((picture) => picture.box));

  // ---------------------------------------------------------------- one latent, several S

  // as many as a laptop's core walks in three seconds; all walk together, so that the longest alone decides the number of calls
  const COMPARED = { digits: [1, 2, 5, 10, 20, 50, 100], "fashion-mnist-v": [1, 2, 5, 10, 20, 50], faces: [1, 2, 3, 5, 10, 20] };
  const several = Array.from({ length: 7 }, () => new Picture(""));

  const compare = (panels.compare = new Panel("compare", ready, async (alive) => {
    const latent = Live.lengthened(Live.startOf(seedOf(Live.seed))), numbers = COMPARED[Live.network.name], began = performance.now();
    several.forEach((picture, k) => {
      picture.clear();
      picture.box.hidden = k >= numbers.length;
      picture.caption.textContent = `S = ${numbers[k]}`;
    });
    compare.status.textContent = "";
    let last;
    for await (last of Live.together(numbers.map((S) => Live.job(latent, S)), alive)) {
      if (!alive()) return;
      if (!calm.matches) last.forEach((step, k) => step && several[k].show(step.x0));
      await sleep();
    }
    last.forEach((step, k) => several[k].show(step.xs, `The sample after ${numbers[k]} steps, ${Live.nameOfClass()}`));
    const calls = numbers.reduce((sum, S) => sum + S, 0);
    compare.status.textContent = `${numbers.length} samples from one noise, ${calls} steps, in ${seconds(performance.now() - began)}.`;
  }));

  // ---------------------------------------------------------------- one call of a student, and many of its teacher

  const MANY = 20, digit = { side: 8, channels: 1 };
  const COUNTS = { student: "student, 1 call", teacher: `teacher, ${MANY} calls`, blurred: "teacher, 1 call" };
  const drawn = Object.fromEntries(Object.keys(COUNTS).map((who) => [who, Array.from({ length: 10 }, () => new Picture("", { of: digit }))]));
  let press = 0; // how often, which is the seed too: 0 is not yet

  const once = new Panel("once", () => press > 0, async (alive) => { // its networks are its own: no setting makes it stale
    once.status.textContent = "";
    const [student, teacher] = await Promise.all(["digits-distill", "digits-v"].map((name) => LiveNetwork.load(name)));
    const normal = DDIM.normals(2 * press), starts = student.classes.map(() => normal(student.size)), found = {}, took = {};
    for (const [who, network, S] of [["student", student, 1], ["teacher", teacher, MANY], ["blurred", teacher, 1]]) {
      const eps = (xs, ts) => network.eps(xs, ts, xs.map((_, label) => label)); // all ten walk together
      const jobs = starts.map((xT) => ({ xT, tau: DDIM.makeTau(network.T, S), eta: 0 })), began = performance.now();
      for await (found[who] of DDIM.together(eps, jobs, network.alphaBar, alive)) {
        if (!alive()) return;
        if (!calm.matches) found[who].forEach((step, k) => drawn[who][k].show(step.x0));
        await sleep();
      }
      took[who] = performance.now() - began;
      found[who].forEach((step, k) => drawn[who][k].show(step.xs, `${COUNTS[who]}: a ${k}`));
    }
    once.status.textContent = `Ten digits by one call in ${seconds(took.student)}, by ${MANY} calls in ${seconds(took.teacher)}: noise ${press}.`;
    const detail = Object.fromEntries(Object.keys(COUNTS).map((who) => [who, found[who].map((step) => [...step.xs])]));
    once.box.dispatchEvent(new CustomEvent("drawn", { detail: { ...detail, starts: starts.map((x) => [...x]), press } })); // for whoever listens
  });

  function fillOnce() {
    const again = button("Draw ten digits", () => {
      press += 1;
      once.change();
    }, "▶");
    const rows = Object.entries(COUNTS).map(([who, text]) =>
      make("div", {}, make("p", { className: "live-row-name" }, text), make("div", { className: "live-film live-film-ten" }, ...drawn[who].map(({ box }) => box))));
    once.fill(make("div", { className: "live-row" }, again), ...rows);
  }

  // ---------------------------------------------------------------- between two latents

  const ends = [new Picture("first noise"), new Picture("second noise")], middle = new Picture("between");
  const second = number(8);
  const share = slider(0, 100, 50, 5);
  const along = choice({ arc: "the arc (slerp)", line: "the straight line" }, "arc");

  const between = (panels.between = new Panel("between", ready, async (alive) => {
    const seeds = [seedOf(Live.seed), seedOf(second)], [a, b] = seeds.map(Live.startOf), u = Number(share.value) / 100;
    const latent = along.value === "arc" ? DDIM.slerp(a, b, u) : a.map((v, i) => (1 - u) * v + u * b[i]);
    let last;
    for await (last of Live.together([a, b, latent].map((x) => Live.job(x, 10, { etaNow: 0 })), alive)) {
      if (!alive()) return;
      await sleep();
    }
    [...ends, middle].forEach((picture, k) => picture.show(last[k].xs, k < 2 ? `The sample of seed ${seeds[k]}, ${Live.nameOfClass()}` : "The sample between"));
    ends.forEach((picture, k) => (picture.caption.textContent = `seed ${seeds[k]}`));
    middle.caption.textContent = `${Math.round(100 * u)} % of the way`;
    const norm = Math.sqrt(latent.reduce((sum, v) => sum + v * v, 0));
    between.status.textContent = `The point between has length ${norm.toFixed(1)}; the root of d is ${Math.sqrt(latent.length).toFixed(1)}.`;
  }));

  function fillBetween() {
    for (const [control, kind] of [[share, "input"], [along, "change"], [second, "input"]]) control.addEventListener(kind, () => between.change());
    between.fill(
      make("div", { className: "live-pictures" }, ends[0].box, middle.box, ends[1].box),
      make("div", { className: "live-grid" }, field("Place on the way", share, (v) => `${v} %`), field("Along", along), field("Second seed", second)),
    );
  }

  // ---------------------------------------------------------------- a hole, filled

  let whole = null, mask = null; // a picture, and 1 where it is unknown
  const FILLING = 20;
  const filled = [new Picture("filled without chance"), new Picture("filled with fresh noise")];

  /** `x` with the hole in middle grey. */
  const holed = (x) => x.map((v, i) => (mask[i % mask.length] ? 0 : v));
  const inHole = (column, row, erase) => {
    const reach = Math.max(0, Math.round(shape.side / 16) - 1);
    for (let i = row - reach; i <= row + reach; i++)
      for (let j = column - reach; j <= column + reach; j++)
        if (i >= 0 && j >= 0 && i < shape.side && j < shape.side) mask[i * shape.side + j] = erase ? 0 : 1;
  };
  const holeBoard = new Board("paint a hole", "Picture to paint a hole in", {
    show: (picture) => whole && picture.show(holed(whole)),
    dab: (...at) => whole && inHole(...at),
    changed: () => hole.change(),
  });

  function freshHole() {
    const { side } = shape;
    whole = Live.sampled.map((v) => bound(-1, v, 1));
    mask = new Uint8Array(side * side);
    for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) if (i > 0.45 * side && i < 0.85 * side && j > 0.3 * side && j < 0.8 * side) mask[i * side + j] = 1;
    holeBoard.place();
    holeBoard.draw();
  }

  const hole = (panels.hole = new Panel("hole", () => Live.network && Live.sampled?.length === Live.network.size, async (alive) => {
    if (whole?.length !== Live.network.size) freshHole();
    const known = whole, latent = Live.startOf(seedOf(Live.seed) + 500_000), began = performance.now();
    const edit = (x0) => x0.map((v, i) => (mask[i % mask.length] ? v : known[i])); // what is known stays; chapter 13
    let last;
    for await (last of Live.together([0, 1].map((etaNow) => Live.job(latent, FILLING, { etaNow, edit })), alive)) {
      if (!alive()) return;
      if (!calm.matches) last.forEach((step, k) => filled[k].show(step.x0));
      await sleep();
    }
    last.forEach((step, k) => filled[k].show(step.xs, `The hole filled ${k ? "by DDPM" : "by DDIM"}, ${Live.nameOfClass()}`));
    const open = mask.reduce((sum, v) => sum + v, 0), detail = { whole: [...known], mask: [...mask], filled: last.map((step) => [...step.xs]) };
    hole.box.dispatchEvent(new CustomEvent("filled", { detail })); // for whoever listens
    hole.status.textContent = `${open} of ${mask.length} pixels filled in ${FILLING} steps of each, ${seconds(performance.now() - began)}.`;
  }));

  function fillHole() {
    const take = button("Take the sample", () => Live.sampled?.length === Live.network.size && (freshHole(), hole.change()));
    hole.fill(
      make("div", { className: "live-pictures live-drawing" }, holeBoard.box, ...filled.map((picture) => picture.box)),
      make("div", { className: "live-row" }, holeBoard.eraser, take),
      holeBoard.spoken,
    );
  }

  // ---------------------------------------------------------------- a drawing, encoded and decoded

  const code = new Picture("its latent"), back = new Picture("decoded again");
  const codeSteps = slider(5, 100, 20, 5);
  const pen = make("input", { type: "color", value: "#ffffff", autocomplete: "off" });
  let drawing = null;

  const board = new Board("your drawing", "Drawing board", {
    show: (picture) => drawing && picture.show(drawing),
    dab: (...at) => drawing && dab(...at),
    changed: () => draw.change(),
  });

  const draw = (panels.draw = new Panel("draw", ready, async (alive) => {
    if (drawing?.length !== Live.network.size) ring();
    const x0 = drawing.slice(), S = Number(codeSteps.value), began = performance.now(), { alphaBar } = Live.network;
    const tau = DDIM.makeTau(900, S, "trailing"); // the cosine's last levels are too long a step for going up
    const eps = Live.single(1);
    let up, down;
    for await (up of DDIM.invert(eps, x0, alphaBar, tau)) {
      if (!alive()) return;
      if (!calm.matches) code.show(up.xs);
      await sleep();
    }
    code.show(up.xs, "The latent that the drawing is encoded as");
    for await (down of DDIM.path(eps, up.xs, alphaBar, tau, { clip: null })) {
      if (!alive()) return;
      if (!calm.matches) back.show(down.xs);
      await sleep();
    }
    back.show(down.xs, "The drawing decoded from its latent");
    const error = rms(down.xs, x0) / 2, took = seconds(performance.now() - began);
    draw.status.textContent = `Up and down in ${S} steps each, ${took}. A pixel is off by ${(100 * error).toFixed(1)} % of the range (root mean square).`;
  }));

  /** An empty board, or one with a ring, of the network's size. */
  function ring(empty = false) {
    const { side, channels } = shape, centre = (side - 1) / 2, width = side / 9;
    board.place();
    drawing = Float32Array.from({ length: channels * side * side }, (_, k) => {
      const i = k % (side * side), away = Math.hypot((i % side) - centre, (Math.floor(i / side) - centre) * 0.8) - 0.28 * side;
      return empty ? -1 : bound(-1, (2 * (width - Math.abs(away))) / width, 1);
    });
    board.draw();
  }

  /** The pen's point, with a soft edge where pixels are small. */
  function dab(column, row, erase) {
    const { side, channels } = shape, reach = side > 16 ? 1 : 0;
    const ink = [1, 3, 5].map((at) => parseInt(pen.value.slice(at, at + 2), 16) / 127.5 - 1);
    for (let i = Math.max(0, row - reach); i <= Math.min(side - 1, row + reach); i++)
      for (let j = Math.max(0, column - reach); j <= Math.min(side - 1, column + reach); j++)
        for (let c = 0; c < channels; c++) {
          const k = (c * side + i) * side + j, strength = i === row && j === column ? 1 : 0.6;
          drawing[k] += strength * ((erase ? -1 : channels === 1 ? 1 : ink[c]) - drawing[k]);
        }
  }

  function fillDraw() {
    const take = button("Take the sample", () => {
      if (Live.sampled?.length !== Live.network.size) return;
      drawing = Live.sampled.map((v) => bound(-1, v, 1));
      board.draw();
      draw.change();
    });
    codeSteps.addEventListener("input", () => draw.change());
    draw.fill(
      make("div", { className: "live-pictures live-drawing" }, board.box, code.box, back.box),
      make("div", { className: "live-row" }, board.eraser, button("Clear", () => (ring(true), draw.change()), "✕"), take),
      make("div", { className: "live-grid" }, field("Steps up, and down", codeSteps, (v) => v), field("Colour of the pen", pen)),
      board.spoken,
    );
  }

  Live.begin.push(() => compare.fill(film(...several)), fillOnce, fillBetween, fillHole, fillDraw);
  document.querySelector("[data-live=watch]").addEventListener("sampled", () => hole.wake()); // a hole needs a picture
});
