// The page's controls and pictures. The maths is in ddim.js, the network in network.js; here every change of a control makes the
// panels that depend on it stale, and a stale panel runs as soon as it is on the screen. A run that has been overtaken stops.

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  const start = document.querySelector("[data-live=start]");
  if (!start) return;
  document.body.classList.add("live-ready");

  const MODELS = { digits: "digits", "fashion-mnist": "Fashion-MNIST" };
  const COMPARED = [1, 2, 5, 10, 20, 50, 100];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // ---------------------------------------------------------------- small parts

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in element && name !== "list") element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  const html = (text) => make("span", { innerHTML: text });
  const icon = (sign) => make("span", { "aria-hidden": "true", textContent: sign });
  const sleep = () => new Promise((resolve) => setTimeout(resolve)); // lets the page draw, and hear the reader
  const rms = (a, b) => Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length);
  const seconds = (ms) => (ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

  let fields = 0;

  /** A label with its control and, for a slider, the value beside it. */
  function field(label, control, show = null) {
    const id = (control.id = `live-field-${(fields += 1)}`);
    const head = make("div", { className: "live-label" }, make("label", { htmlFor: id }, label));
    const box = make("div", { className: "live-field" }, head, control);
    if (show) {
      const value = make("output", {});
      value.setAttribute("for", id);
      const update = () => {
        value.textContent = show(control.value);
        control.setAttribute("aria-valuetext", value.textContent);
      };
      control.addEventListener("input", update);
      control.refresh = update;
      update();
      head.append(" ", value);
    }
    return box;
  }

  const slider = (min, max, value, step = 1) => make("input", { type: "range", min, max, step, value, autocomplete: "off" });
  const number = (value) => make("input", { type: "number", min: 0, max: 999999, step: 1, value, autocomplete: "off", inputMode: "numeric" });
  const choice = (options, value) =>
    make("select", { autocomplete: "off" }, ...Object.entries(options).map(([key, text]) => new Option(text, key, false, key === value)));
  const button = (text, act) => make("button", { type: "button", className: "live-button", textContent: text, onclick: act });
  const seedOf = (control) => Math.min(999999, Math.max(0, Math.floor(Number(control.value) || 0)));

  /** A picture with its caption. Values are shown from -1, black, to 1, white; what is beyond is cut. */
  class Picture {
    constructor(caption, { sharp = false } = {}) {
      this.sharp = sharp;
      this.canvas = make("canvas", { width: 224, height: 224 });
      this.canvas.setAttribute("role", "img");
      this.caption = make("figcaption", {}, html(caption));
      this.box = make("figure", { className: "live-picture" }, this.canvas, this.caption);
    }

    show(x, side, label) {
      const small = Picture.small;
      small.width = small.height = side;
      const data = new ImageData(side, side);
      for (let i = 0; i < x.length; i++) {
        const grey = Math.round(127.5 * (Math.min(1, Math.max(-1, x[i])) + 1));
        data.data.set([grey, grey, grey, 255], 4 * i);
      }
      small.getContext("2d").putImageData(data, 0, 0);
      const context = this.canvas.getContext("2d");
      context.imageSmoothingEnabled = !this.sharp; // 8 x 8 pixels as squares are hard to read
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
      if (label) this.label(label);
    }

    clear() {
      this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.label("empty");
    }

    label(text) {
      this.canvas.setAttribute("aria-label", text);
    }
  }
  Picture.small = document.createElement("canvas");

  /** A part of the page that shows a run. `work(alive)` is begun anew whenever the panel is stale and in sight. */
  class Panel {
    constructor(name, work) {
      this.box = document.querySelector(`[data-live=${name}]`);
      this.work = work;
      this.stale = true;
      this.turn = 0;
      this.status = make("p", { className: "live-status" });
      this.status.setAttribute("role", "status");
      const look = (entries) => {
        this.inSight = entries.at(-1).isIntersecting;
        this.wake();
      };
      new IntersectionObserver(look, { rootMargin: "400px" }).observe(this.box);
    }

    fill(...children) {
      this.box.replaceChildren(...children, this.status);
      this.box.classList.add("live-panel");
    }

    change() {
      this.stale = true;
      this.box.dataset.state = "stale";
      this.turn += 1; // a run that goes on sees that it has been overtaken
      this.wake();
    }

    async wake() {
      if (!this.stale || !this.inSight || !network) return;
      this.stale = false;
      const mine = ++this.turn;
      this.box.dataset.state = "running";
      try {
        await this.work(() => mine === this.turn);
      } catch (error) {
        this.status.textContent = `The run stopped: ${error.message}`;
      }
      if (mine === this.turn) this.box.dataset.state = "done";
    }
  }

  // ---------------------------------------------------------------- settings, which all panels share

  let network = null; // what LiveNetwork.load gave
  const model = choice(MODELS, "digits");
  const label = choice({}, "");
  const seed = number(3);
  const steps = slider(1, 100, 20);
  const eta = slider(0, 1, 0, 0.05);
  const spacing = choice(Object.fromEntries(DDIM.SPACINGS.map((name) => [name, name])), "trailing");
  const scale = slider(0, 5, 1, 0.5);
  const loading = make("p", { className: "live-status" });
  loading.setAttribute("role", "status");

  const labelNow = () => Number(label.value);
  const nameOfClass = () => (labelNow() === network.any ? "any class" : `class ${network.classes[labelNow()]}`);
  const predictor = (guidance = Number(scale.value)) => DDIM.guided(network.eps, labelNow(), network.any, guidance);
  const startOf = (seedNow) => DDIM.normals(2 * seedNow)(network.size); // x_T; the steps' noise comes from the odd stream
  const noiseOf = (seedNow) => {
    const draw = DDIM.normals(2 * seedNow + 1);
    return () => draw(network.size);
  };

  /** The way down from a latent with the settings as they are. */
  function way(latent, S, { etaNow = Number(eta.value), seedNow = seedOf(seed) } = {}) {
    const tau = DDIM.makeTau(network.T, S, spacing.value);
    return DDIM.path(predictor(), latent, network.alphaBar, tau, { eta: etaNow, noise: noiseOf(seedNow) });
  }

  async function choose() {
    const name = model.value;
    loading.textContent = `Loading the ${MODELS[name]} network …`;
    await sleep();
    try {
      const loaded = await LiveNetwork.load(name);
      if (name !== model.value) return; // another one was chosen meanwhile
      network = loaded;
    } catch (error) {
      loading.textContent = `The network could not be started: ${error.message}`;
      throw error;
    }
    loading.textContent = "";
    const before = label.value === "" ? "3" : label.value;
    label.replaceChildren(...network.classes.map((text, i) => new Option(text, i)), new Option("any class", network.any));
    label.value = before;
    scale.disabled = labelNow() === network.any;
    begin();
    panels.forEach((panel) => panel.change());
  }

  function settings() {
    const dice = button("", () => {
      seed.value = Math.floor(Math.random() * 10000);
      seed.dispatchEvent(new Event("input"));
    });
    dice.append(icon("⟳"));
    dice.setAttribute("aria-label", "New seed");
    dice.title = "New seed";
    const seedField = field("Seed of the noise", seed);
    seedField.append(make("div", { className: "live-pair" }, seed, dice));
    const grid = make(
      "div",
      { className: "live-grid" },
      field("Network", model),
      field("Class", label),
      seedField,
      field("Spacing of the steps", spacing),
      field("Steps S", steps, (v) => v),
      field("Noise η", eta, (v) => Number(v).toFixed(2)),
      field("Guidance scale", scale, (v) => Number(v).toFixed(1)),
    );
    const form = make("form", { className: "live-panel live-settings", onsubmit: () => false }, grid, loading);
    form.setAttribute("aria-label", "Settings of the sampler");
    model.addEventListener("change", () => choose().catch(() => {}));
    const on = (control, kind, these) => control.addEventListener(kind, () => these.forEach((panel) => panel.change()));
    label.addEventListener("change", () => (scale.disabled = labelNow() === network.any));
    on(label, "change", panels);
    on(spacing, "change", [watch, compare, between]);
    on(seed, "input", [watch, compare, between]);
    on(scale, "input", [watch, compare, between]);
    on(eta, "input", [watch, compare]);
    on(steps, "input", [watch]);
    return form;
  }

  // ---------------------------------------------------------------- panel 1: one sample, step by step

  const state = new Picture("x<sub>t</sub>, the state"), guess = new Picture("predicted x<sub>0</sub>");
  const place = slider(0, 20, 0);
  const film = make("div", { className: "live-film" });
  let history = []; // the steps of the run
  let sampled = null; // its end
  let following = true; // the slider goes with the run until the reader takes it

  function levelOf(i) {
    return i < history.length ? history[i].t : history.at(-1).s;
  }

  function showFrame(i) {
    if (!history.length) return;
    const step = history[Math.min(i, history.length - 1)];
    const t = levelOf(i), x = i < history.length ? step.xt : step.xs;
    state.show(x, network.side, `The state at level ${t}`);
    guess.show(step.x0, network.side, `The picture predicted ${i < history.length ? `at level ${t}` : "last"}, ${nameOfClass()}`);
    place.refresh();
  }

  const watch = new Panel("watch", async (alive) => {
    const S = Number(steps.value), { side } = network;
    history = [];
    following = true;
    place.max = S;
    place.value = 0;
    film.replaceChildren();
    watch.status.textContent = "";
    const shots = new Set(Array.from({ length: Math.min(S, 10) }, (_, k) => Math.floor((k * S) / Math.min(S, 10))));
    const began = performance.now();
    for await (const step of way(startOf(seedOf(seed)), S)) {
      if (!alive()) return;
      const i = history.push(step) - 1;
      if (following) place.value = i;
      if (!calm.matches) showFrame(Number(place.value));
      if (shots.has(i)) {
        const upper = new Picture(""), lower = new Picture(`t = ${step.t}`);
        upper.show(step.xt, side, `The state at level ${step.t}`);
        lower.show(step.x0, side, `The picture predicted at level ${step.t}`);
        film.append(make("div", {}, upper.canvas, lower.box));
      }
      start.dataset.first ??= Math.round(performance.now() - Number(start.dataset.clicked));
      await sleep();
    }
    if (!alive()) return;
    const took = performance.now() - began;
    if (following) place.value = S;
    showFrame(Number(place.value));
    watch.status.textContent = `${S} ${S === 1 ? "step" : "steps"} in ${seconds(took)}: ${nameOfClass()}, seed ${seedOf(seed)}.`;
    sampled = history.at(-1).xs;
    watch.box.dispatchEvent(new CustomEvent("sampled", { detail: { x: [...sampled], seed: seedOf(seed), S } })); // for whoever listens
  });

  function fillWatch() {
    place.addEventListener("input", () => {
      following = false;
      const last = history.at(-1)?.s === 0 ? history.length : history.length - 1; // while it runs, as far as it has come
      showFrame(Math.max(0, Math.min(Number(place.value), last)));
    });
    const where = (v) => (history.length ? `${v} of ${place.max}, t = ${levelOf(Math.min(Number(v), history.length))}` : "");
    const again = button("", () => watch.change());
    again.append(icon("▶ "), "Run again");
    watch.fill(
      make("div", { className: "live-pictures" }, state.box, guess.box),
      make("div", { className: "live-pair live-scrub" }, field("Step", place, where), again),
      film,
    );
  }

  // ---------------------------------------------------------------- panel 2: one latent, several S

  const several = COMPARED.map((S) => new Picture(`S = ${S}`));

  const compare = new Panel("compare", async (alive) => {
    const latent = startOf(seedOf(seed)), began = performance.now();
    several.forEach((picture) => picture.clear());
    compare.status.textContent = "";
    for (const [k, S] of COMPARED.entries()) {
      let last;
      for await (last of way(latent, S)) {
        if (!alive()) return;
        if (!calm.matches) several[k].show(last.x0, network.side);
        await sleep();
      }
      several[k].show(last.xs, network.side, `The sample after ${S} steps, ${nameOfClass()}`);
    }
    const calls = COMPARED.reduce((sum, S) => sum + S, 0);
    compare.status.textContent = `${COMPARED.length} samples from one noise, ${calls} steps, in ${seconds(performance.now() - began)}.`;
  });

  // ---------------------------------------------------------------- panel 3: between two latents

  const ends = [new Picture("first noise"), new Picture("second noise")], middle = new Picture("between");
  const second = number(8);
  const share = slider(0, 100, 50, 5);
  const along = choice({ arc: "the arc (slerp)", line: "the straight line" }, "arc");

  const decode = (latent) => DDIM.endOf(way(latent, 10, { etaNow: 0 }));
  let shownEnds = "";

  const between = new Panel("between", async (alive) => {
    const seeds = [seedOf(seed), seedOf(second)], [a, b] = seeds.map(startOf), u = Number(share.value) / 100;
    const latent = along.value === "arc" ? DDIM.slerp(a, b, u) : a.map((v, i) => (1 - u) * v + u * b[i]);
    const sample = await decode(latent);
    await sleep();
    if (!alive()) return;
    middle.show(sample, network.side, `The sample at ${share.value} percent of the way, ${nameOfClass()}`);
    const length = Math.sqrt(latent.reduce((sum, v) => sum + v * v, 0) / network.size);
    between.status.textContent = `At ${share.value} % of the way the latent is ${length.toFixed(2)} √D long.`;
    const wanted = [network.name, label.value, scale.value, spacing.value, ...seeds].join();
    if (wanted === shownEnds) return; // only the place between them has changed
    for (const [k, latentOfEnd] of [a, b].entries()) {
      const end = await decode(latentOfEnd);
      await sleep();
      if (!alive()) return;
      ends[k].show(end, network.side, `The sample of seed ${seeds[k]}, ${nameOfClass()}`);
      ends[k].caption.textContent = `seed ${seeds[k]}`;
    }
    shownEnds = wanted;
  });

  function fillBetween() {
    for (const [control, kind] of [[share, "input"], [along, "change"]]) control.addEventListener(kind, () => between.change());
    second.addEventListener("input", () => between.change());
    between.fill(
      make("div", { className: "live-pictures" }, ends[0].box, middle.box, ends[1].box),
      make(
        "div",
        { className: "live-grid" },
        field("Place on the way", share, (v) => `${v} %`),
        field("Along", along),
        field("Second seed", second),
      ),
    );
  }

  // ---------------------------------------------------------------- panel 4: a drawing, encoded and decoded

  const board = new Picture("your drawing", { sharp: true }), code = new Picture("its latent"), back = new Picture("decoded again");
  const codeSteps = slider(5, 100, 50, 5);
  let drawing = null, side = 0, cursor = [0, 0];

  const draw = new Panel("draw", async (alive) => {
    if (side !== network.side) ring();
    const x0 = drawing.slice(), S = Number(codeSteps.value), began = performance.now();
    const tau = DDIM.makeTau(900, S, "trailing"); // the cosine's last levels are too long a step for going up
    const eps = predictor(1);
    let up, down;
    for await (up of DDIM.invert(eps, x0, network.alphaBar, tau)) {
      if (!alive()) return;
      if (!calm.matches) code.show(up.xs, network.side);
      await sleep();
    }
    code.show(up.xs, network.side, "The latent that the drawing is encoded as");
    for await (down of DDIM.path(eps, up.xs, network.alphaBar, tau, { clip: null })) {
      if (!alive()) return;
      if (!calm.matches) back.show(down.xs, network.side);
      await sleep();
    }
    back.show(down.xs, network.side, "The drawing decoded from its latent");
    const error = rms(down.xs, x0) / 2, took = seconds(performance.now() - began);
    draw.status.textContent = `Up and down in ${S} steps each, ${took}. A pixel is off by ${(100 * error).toFixed(1)} % of the range (root mean square).`;
  });

  function showBoard() {
    board.show(drawing, side);
    if (document.activeElement !== board.canvas || !board.canvas.matches(":focus-visible")) return;
    const context = board.canvas.getContext("2d"), unit = board.canvas.width / side;
    context.strokeStyle = "#e8590c";
    context.lineWidth = 3;
    context.strokeRect(cursor[0] * unit + 1.5, cursor[1] * unit + 1.5, unit - 3, unit - 3);
  }

  /** An empty board, or one with a ring, of the network's size. */
  function ring(empty = false) {
    side = network.side;
    cursor = [side >> 1, side >> 1];
    const centre = (side - 1) / 2, width = side / 9;
    drawing = Float32Array.from({ length: side * side }, (_, i) => {
      const away = Math.hypot((i % side) - centre, (Math.floor(i / side) - centre) * 0.8) - 0.28 * side;
      return empty ? -1 : Math.min(1, Math.max(-1, 2 * (width - Math.abs(away)) / width));
    });
    showBoard();
  }

  /** The pen's point, with a soft edge where pixels are small. */
  function dab(column, row, value) {
    const reach = side > 16 ? 1 : 0;
    for (let i = Math.max(0, row - reach); i <= Math.min(side - 1, row + reach); i++)
      for (let j = Math.max(0, column - reach); j <= Math.min(side - 1, column + reach); j++) {
        const k = i * side + j, strength = i === row && j === column ? 1 : 0.6;
        drawing[k] += strength * (value - drawing[k]);
      }
  }

  function fillDraw() {
    const { canvas } = board, clear = button("", () => (ring(true), draw.change()));
    const take = button("Take the sample", () => {
      if (sampled === null || sampled.length !== side * side) return;
      drawing = sampled.map((v) => Math.min(1, Math.max(-1, v)));
      showBoard();
      draw.change();
    });
    clear.append(icon("✕ "), "Clear");
    canvas.tabIndex = 0;
    canvas.classList.add("live-board");
    canvas.setAttribute("role", "application");
    board.label("Drawing board. Arrow keys move the pen, space paints, Delete erases.");

    let last = null; // where the pen was
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top].map((v) => Math.min(side - 1, Math.max(0, Math.floor((v / box.width) * side))));
    };
    const line = (from, to) => {
      const count = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
      for (let k = 1; k <= count; k++) dab(...from.map((v, axis) => Math.round(v + ((to[axis] - v) * k) / count)), 1);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!drawing || event.button) return;
      canvas.setPointerCapture(event.pointerId);
      last = at(event);
      dab(...last, 1);
      showBoard();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const next = at(event);
      if (next[0] === last[0] && next[1] === last[1]) return;
      line(last, next);
      last = next;
      showBoard();
    });
    for (const kind of ["pointerup", "pointercancel"])
      canvas.addEventListener(kind, () => {
        if (last) draw.change();
        last = null;
      });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const move = moves[event.key], paint = { " ": 1, Enter: 1, Delete: -1, Backspace: -1 }[event.key];
      if (!drawing || (!move && !paint)) return;
      event.preventDefault();
      if (move) cursor = cursor.map((v, axis) => Math.min(side - 1, Math.max(0, v + move[axis])));
      if (paint) dab(...cursor, paint);
      showBoard();
      spoken.textContent = `row ${cursor[1] + 1}, column ${cursor[0] + 1}${paint ? (paint > 0 ? ", painted" : ", erased") : ""}`;
      if (paint) draw.change();
    });
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => drawing && showBoard());
    codeSteps.addEventListener("input", () => draw.change());
    const spoken = make("span", { className: "live-spoken" });
    spoken.setAttribute("aria-live", "polite");
    draw.fill(
      make("div", { className: "live-pictures live-drawing" }, board.box, code.box, back.box),
      make(
        "div",
        { className: "live-grid" },
        make("div", { className: "live-field" }, clear),
        make("div", { className: "live-field" }, take),
        field("Steps up, and down", codeSteps, (v) => v),
      ),
      spoken,
    );
  }

  // ---------------------------------------------------------------- the start

  const panels = [watch, compare, between, draw];
  let begun = false;

  /** The controls, once there is a network. */
  function begin() {
    if (begun) return;
    begun = true;
    document.body.classList.add("live-on");
    start.replaceChildren(settings());
    fillWatch();
    compare.fill(make("div", { className: "live-film live-film-large" }, ...several.map((picture) => picture.box)));
    fillBetween();
    fillDraw();
    model.focus({ preventScroll: true });
  }

  const go = button("", async () => {
    go.disabled = true;
    start.dataset.clicked = performance.now();
    await choose().catch(() => {
      go.disabled = false;
    });
  });
  go.append(icon("▶ "), "Start the sampler");
  go.classList.add("live-start");
  start.replaceChildren(go, loading);
});
