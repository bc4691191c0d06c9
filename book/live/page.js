// The page's settings, their place in the address, and the first panel. The maths is in ddim.js, the network in network.js, the other
// panels in panels.js. Every change of a control makes the panels that depend on it stale, and a stale panel runs as soon as it is in sight.

const Live = { panels: {}, begin: [] }; // what panels.js shares

document.addEventListener("DOMContentLoaded", () => {
  "use strict";

  const start = document.querySelector("[data-live=start]");
  if (!start) return;
  document.body.classList.add("live-ready");
  const { calm, shape, make, icon, sleep, seconds, field, slider, number, choice, button, seedOf, Picture, Panel, bring } = LiveParts;

  const MODELS = { faces: "faces, in colour", "fashion-mnist-v": "clothes", digits: "digits" };
  const BEFORE = { "fashion-mnist": "fashion-mnist-v" }; // names in addresses that were sent earlier
  const named = (name) => [name, BEFORE[name]].find((key) => Object.hasOwn(MODELS, key ?? ""));
  const ANY = "any";

  // ---------------------------------------------------------------- settings, which all panels share

  let network = null; // what LiveNetwork.load gave
  const model = choice(MODELS, "faces");
  const label = choice({ 1: "" }, "1");
  const steps = slider(1, 100, 10);
  const eta = slider(0, 1, 0, 0.05);
  const seed = number(1);
  const spacing = choice(Object.fromEntries(DDIM.SPACINGS.map((name) => [name, name])), "trailing");
  const scale = slider(0, 5, 1, 0.5);
  const length = slider(0, 150, 100, 5);
  const ENGINES = { auto: "automatic", webgpu: "WebGPU", wasm: "WebAssembly" };
  const engine = choice(ENGINES, "auto"); // in no link that is copied: it belongs to the machine
  const summary = make("summary");
  const runsOn = make("p", { className: "live-status" });
  const sayEngine = () => (runsOn.textContent = `Runs on: ${network.engine}${network.why ? `, since ${network.why}` : ""}.`);
  const loading = make("p", { className: "live-status" });
  loading.setAttribute("role", "status");

  const labelNow = () => (label.value === ANY ? network.any : Number(label.value));
  const nameOfClass = () => (labelNow() === network.any ? "any class" : `class ${network.classes[labelNow()]}`);
  const predictor = (guidance = Number(scale.value)) => DDIM.guidedAll(network.eps, labelNow(), network.any, guidance);
  const single = (guidance) => {
    const eps = predictor(guidance);
    return async (x, t) => (await eps([x], [t]))[0];
  };
  const startOf = (seedNow) => DDIM.normals(2 * seedNow)(network.size); // x_T; the steps' noise comes from the odd stream
  const lengthened = (x) => (Number(length.value) === 100 ? x : x.map((v) => (v * Number(length.value)) / 100));
  const noiseOf = (seedNow) => {
    const draw = DDIM.normals(2 * seedNow + 1);
    return () => draw(network.size);
  };

  /** A way down from a latent, with the settings as they are but for what is said. */
  function job(xT, S, { etaNow = Number(eta.value), ...more } = {}) {
    const tau = DDIM.makeTau(network.T, S, spacing.value);
    return { xT, tau, eta: etaNow, noise: noiseOf(seedOf(seed)), ...more };
  }
  const together = (jobs, alive) => DDIM.together(predictor(), jobs, network.alphaBar, alive);

  // ---------------------------------------------------------------- the address

  // key: [control, what it is unless the address says something else]
  const KEYS = { model: [model, "faces"], class: [label, "1"], S: [steps, "10"], eta: [eta, "0"], seed: [seed, "1"] };
  Object.assign(KEYS, { spacing: [spacing, "trailing"], scale: [scale, "1"], length: [length, "100"] });
  const FIRST = { faces: { class: "1", S: "10", seed: "1" }, "fashion-mnist-v": { class: "9", S: "20", seed: "2" }, digits: { class: "3", S: "20", seed: "3" } };
  const MORE = { spacing: (v) => `spacing ${v}`, scale: (v) => `guidance ${v}`, length: (v) => `length ${v} %` };
  const narrow = matchMedia("(max-width: 480px)");

  const written = () => `#${new URLSearchParams(Object.fromEntries(Object.entries(KEYS).map(([key, [control]]) => [key, control.value])))}`;
  const address = () => `${location.href.split("#")[0]}${written()}`;

  /** The settings into the address: as a new entry of the history, or in place of the last. */
  function remember(anew) {
    if (network === null || location.hash === written()) return;
    history[anew ? "pushState" : "replaceState"](null, "", written());
  }

  /** Some settings at once, as {key: value}; what does not fit is left out. */
  async function set(values, { anew = true } = {}) {
    const chosen = named(values.model) ?? model.value;
    const fill = chosen !== model.value ? { class: FIRST[chosen].class, ...values } : values; // classes are each network's own
    model.value = chosen;
    if (Object.hasOwn(ENGINES, values.run ?? "")) engine.value = values.run;
    for (const [key, value] of Object.entries(fill)) {
      if (key === "class") label.dataset.wanted = value;
      else if (key !== "model" && key in KEYS) put(KEYS[key][0], value);
    }
    await choose();
    remember(anew);
  }

  function put(control, value) {
    const before = control.value;
    control.value = value;
    if (control.value === "") control.value = before;
    control.refresh?.();
  }

  function read() {
    const said = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const known = named(said.model) ?? "faces";
    const usual = Object.fromEntries(Object.entries(KEYS).map(([key, [, value]]) => [key, value]));
    return { ...usual, ...FIRST[known], ...said, model: known };
  }
  const holdsSettings = () => location.hash.length < 2 || location.hash.includes("="); // and is not the name of a heading
  addEventListener("popstate", () => network && holdsSettings() && set(read(), { anew: false }).catch(() => {}));

  // ---------------------------------------------------------------- the network

  async function choose() {
    const name = model.value;
    if (network?.name !== name) loading.textContent = `Loading the network of the ${MODELS[name]} …`;
    LiveNetwork.prefer(engine.value);
    await sleep();
    try {
      const loaded = await LiveNetwork.load(name);
      if (name !== model.value) return; // another one was chosen meanwhile
      network = Live.network = loaded;
    } catch (error) {
      loading.textContent = `The network could not be started: ${error.message}`;
      throw error;
    }
    loading.textContent = "";
    sayEngine();
    Object.assign(shape, { side: network.side, channels: network.channels });
    const wanted = label.dataset.wanted ?? label.value;
    delete label.dataset.wanted;
    label.replaceChildren(...network.classes.map((text, i) => new Option(text, i)), new Option("any class", ANY));
    label.value = wanted;
    if (label.value === "") label.value = FIRST[name].class;
    scale.disabled = labelNow() === network.any;
    begin();
    markSetters();
    Object.values(Live.panels).forEach((panel) => panel.change());
  }

  function settings() {
    const dice = button("", () => {
      seed.value = Math.floor(Math.random() * 10000);
      for (const kind of ["input", "change"]) seed.dispatchEvent(new Event(kind));
    });
    dice.append(icon("⟳"));
    dice.setAttribute("aria-label", "New seed");
    dice.title = "New seed";
    const seedField = field("Seed of the noise", seed);
    seedField.append(make("div", { className: "live-pair" }, seed, dice));
    const first = make(
      "div",
      { className: "live-grid live-first" },
      field("Class", label),
      field("Steps S", steps, (v) => v),
      field("Noise η", eta, (v) => Number(v).toFixed(2)),
      seedField,
    );
    const more = make(
      "details",
      { className: "live-more" },
      summary,
      make(
        "div",
        { className: "live-grid" },
        field("Network", model),
        field("Spacing of the steps", spacing),
        field("Guidance scale", scale, (v) => Number(v).toFixed(1)),
        field("Length of x_T", length, (v) => `${v} %`),
        field("Computed by", engine),
        runsOn,
      ),
    );
    const form = make("form", { className: "live-settings", onsubmit: () => false }, first, more, loading);
    form.setAttribute("aria-label", "Settings of the sampler");
    model.addEventListener("change", () => {
      label.dataset.wanted = FIRST[model.value].class;
      choose().then(() => remember(true), () => {});
    });
    engine.addEventListener("change", () => choose().catch(() => {}));
    const on = (control, kind, names) => control.addEventListener(kind, () => names.forEach((name) => Live.panels[name].change()));
    label.addEventListener("change", () => (scale.disabled = labelNow() === network.any));
    on(label, "change", Object.keys(Live.panels));
    on(spacing, "change", ["watch", "compare", "between", "hole"]);
    on(seed, "input", ["watch", "compare", "between", "hole"]);
    on(scale, "input", ["watch", "compare", "between", "hole"]);
    on(length, "input", ["watch", "compare"]);
    on(eta, "input", ["watch", "compare"]);
    on(steps, "input", ["watch"]);
    for (const [control] of Object.values(KEYS)) if (control !== model) control.addEventListener("change", () => (remember(true), markSetters()));
    return form;
  }

  // ---------------------------------------------------------------- panel 1: two samplers from one noise, step by step

  const state = new Picture("x<sub>t</sub>"), guess = new Picture("predicted x<sub>0</sub>");
  const other = new Picture("DDPM: x<sub>t</sub>, η = 1"), otherGuess = new Picture("DDPM: predicted x<sub>0</sub>");
  const place = slider(0, 20, 0);
  const film = make("div", { className: "live-film" });
  const FRAME = 33; // ms between two pictures of a run, at least: drawing takes the networks' time
  const END = "<span>The two samples. At t = 0 state and predicted picture are the same. </span>Drag the slider back to see every step.";
  const ended = make("p", { className: "live-end", innerHTML: END });
  const pictures = make("div", { className: "live-pictures live-four" }, state.box, other.box, guess.box, otherGuess.box);
  let runs = []; // of each round, the step of either sampler
  let following = true; // the slider goes with the run until the reader takes it

  const levelOf = (i) => (i < runs.length ? runs[i][0].t : runs.at(-1)[0].s);
  const samplerName = () => (Number(eta.value) === 0 ? "DDIM" : Number(eta.value) === 1 ? "DDPM" : `η = ${Number(eta.value).toFixed(2)}`);

  function showFrame(i) {
    if (!runs.length) return;
    const t = levelOf(i), pair = runs[Math.min(i, runs.length - 1)], last = i >= runs.length;
    pictures.classList.toggle("live-ended", last);
    pair.forEach((step, k) => {
      const who = k ? "DDPM" : samplerName(), shown = [state, other][k], predicted = [guess, otherGuess][k];
      shown.show(last ? step.xs : step.xt, last ? `${who}: the sample, ${nameOfClass()}` : `${who}: the state at level ${t}`);
      shown.caption.innerHTML = last ? `${who}: the sample` : `${who}: x<sub>t</sub>${k ? ", η = 1" : ""}`;
      predicted.show(step.x0, `${who}: the picture predicted at level ${pair[0].t}, ${nameOfClass()}`);
      predicted.caption.innerHTML = last ? `${who}: x<sub>0</sub>, the same` : `${who}: predicted x<sub>0</sub>`; // seen on a phone alone
    });
    place.refresh();
    mirrors.forEach((mirror) => mirror.update());
  }

  const watch = (Live.panels.watch = new Panel("watch", () => network, async (alive) => {
    const S = Number(steps.value), xT = lengthened(startOf(seedOf(seed)));
    runs = [];
    following = true;
    place.max = S;
    place.value = 0;
    film.style.minHeight = `${film.offsetHeight}px`; // until it is filled again: what lies below, and may be in view, stays where it is
    film.replaceChildren();
    watch.status.textContent = "";
    const shots = new Set(Array.from({ length: Math.min(S, 10) }, (_, k) => Math.floor((k * S) / Math.min(S, 10))));
    const began = performance.now();
    let drawn = 0;
    for await (const pair of together([job(xT, S), job(xT, S, { etaNow: 1 })], alive)) {
      if (!alive()) return;
      const i = runs.push(pair) - 1, [step] = pair;
      if (following) place.value = i;
      if (!calm.matches && performance.now() - drawn > FRAME) {
        showFrame(Number(place.value));
        drawn = performance.now();
      }
      if (shots.has(i)) {
        const upper = new Picture(""), lower = new Picture(`t = ${step.t}`);
        upper.show(step.xt, `The state at level ${step.t}`);
        lower.show(step.x0, `The picture predicted at level ${step.t}`);
        film.append(make("div", {}, upper.canvas, lower.box));
      }
      start.dataset.first ??= Math.round(performance.now() - Number(start.dataset.clicked));
      await sleep();
    }
    if (!alive()) return;
    const took = performance.now() - began;
    sayEngine(); // it may have changed on the way
    film.style.minHeight = "";
    if (following) place.value = S;
    showFrame(Number(place.value));
    watch.status.textContent = `${S} ${S === 1 ? "step" : "steps"} of each in ${seconds(took)} on ${network.engine}: ${nameOfClass()}, seed ${seedOf(seed)}.`;
    mirrors.forEach((mirror) => mirror.update());
    Live.sampled = runs.at(-1)[0].xs;
    const detail = { x: [...Live.sampled], other: [...runs.at(-1)[1].xs], seed: seedOf(seed), S, model: network.name };
    watch.box.dispatchEvent(new CustomEvent("sampled", { detail })); // for whoever listens
  }));

  function fillWatch() {
    place.addEventListener("input", () => {
      following = false;
      const last = runs.at(-1)?.[0].s === 0 ? runs.length : runs.length - 1; // while it runs, as far as it has come
      showFrame(Math.max(0, Math.min(Number(place.value), last)));
    });
    const where = (v) => (runs.length ? `${v} of ${place.max}, t = ${levelOf(Math.min(Number(v), runs.length))}` : "");
    const strip = button("Save strip", () => {
      if (runs.length < Number(place.max)) return;
      const last = (k) => runs.at(-1)[k].xs, rows = [];
      for (const k of [0, 1]) rows.push([...runs.map((pair) => pair[k].xt), last(k)], [...runs.map((pair) => pair[k].x0), last(k)]);
      LiveParts.save(rows, `ddim-${network.name}-seed${seedOf(seed)}-S${runs.length}.png`, runs.length > 30 ? 48 : 96);
    }, "↓");
    const link = button("Copy link", async () => {
      remember(false);
      try {
        await navigator.clipboard.writeText(address());
        watch.status.textContent = "The link is copied: it opens this page with these settings.";
      } catch {
        watch.status.textContent = address(); // where a page may not copy
      }
    });
    pictures.append(make("div", { className: "live-scrub" }, field("Step", place, where)), ended);
    watch.fill(
      pictures,
      make("div", { className: "live-row" }, button("Run again", () => watch.change(), "▶"), strip, link),
      film,
    );
  }

  // ---------------------------------------------------------------- the buttons of the text

  const mirrors = []; // where the first panel's pictures stand once more, beside the buttons that change them

  /** The two states of the first panel below a row of buttons, so that what a press does is seen where it was pressed. */
  function mirrorBelow(row) {
    const copies = [state, other].map((from) => ({ from, to: new Picture("") }));
    const said = make("p", { className: "live-status" });
    const up = button("The steps", () => bring(watch.box.querySelector(".live-pictures")), "↑");
    const box = make("div", { className: "live-panel live-mirror" }, ...copies.map(({ to }) => to.box), make("div", {}, said, up));
    const update = () => {
      for (const { from, to } of copies) {
        to.canvas.getContext("2d").drawImage(from.canvas, 0, 0);
        to.label(from.canvas.getAttribute("aria-label"));
        to.caption.innerHTML = from.caption.innerHTML;
      }
      said.textContent = watch.status.textContent;
    };
    row.after(box);
    mirrors.push({ row, box, update });
    watch.shownToo(box);
    update();
    return box;
  }

  /** Set what a button of the text says, and bring what comes of it into view: a panel of the same section, or a mirror of the first. */
  async function press(setter) {
    const values = Object.fromEntries(new URLSearchParams(setter.dataset.set)), row = setter.closest(".live-try");
    await set(values);
    const own = setter.closest("section").querySelector("[data-live] .live-film");
    bring(own ?? mirrors.find((mirror) => mirror.row === row)?.box ?? mirrorBelow(row));
  }

  /** Buttons whose settings are the present ones look pressed; and the line of More says what is set in it, so that it need not open. */
  function markSetters() {
    const unusual = Object.keys(MORE).filter((key) => KEYS[key][0].value !== KEYS[key][1]).map((key) => MORE[key](KEYS[key][0].value));
    summary.replaceChildren(unusual.length ? make("b", {}, `More: ${unusual.join(", ")}`) : "More: other pictures, spacing, guidance, length");
    const same = ([key, wanted], value = KEYS[key][0].value) => value === wanted || Number(value) === Number(wanted);
    for (const setter of document.querySelectorAll("button[data-set]")) setter.setAttribute("aria-pressed", [...new URLSearchParams(setter.dataset.set)].every((pair) => same(pair)));
  }

  // ---------------------------------------------------------------- the start

  let begun = false;

  /** What the page scrolls to, and what gets the focus, stays clear of the settings; More closes when the first panel is out of sight, on a phone by a touch elsewhere. */
  function keepClear() {
    const more = start.querySelector("details");
    const measure = () => {
      const { position, top } = getComputedStyle(start), bar = parseFloat(top) + (position === "sticky" ? start.offsetHeight : 0);
      document.documentElement.style.setProperty("--live-bar", `${Math.ceil(bar)}px`);
    };
    new ResizeObserver(measure).observe(start);
    addEventListener("resize", measure);
    measure();
    document.addEventListener("pointerdown", (event) => {
      if (narrow.matches && !start.contains(event.target)) more.open = false;
    });
    const gone = ([{ isIntersecting }]) => isIntersecting || more.querySelector(":focus-visible") || (more.open = false);
    new IntersectionObserver(gone, { rootMargin: "-200px 0px 0px" }).observe(watch.box); // who reads on needs the room
  }

  /** The controls, once there is a network. */
  function begin() {
    if (begun) return;
    begun = true;
    document.body.classList.add("live-on");
    start.replaceChildren(settings());
    fillWatch();
    Live.begin.forEach((fill) => fill());
    for (const setter of document.querySelectorAll("button[data-set]")) setter.addEventListener("click", () => press(setter).catch(() => {}));
    keepClear();
    if (byHand) label.focus({ preventScroll: true }); // the button that had the focus is gone
  }

  let byHand = true; // a person pressed, and not the address

  const go = button("Start the sampler", async (event) => {
    go.disabled = true;
    byHand = event.isTrusted;
    start.dataset.clicked = performance.now();
    await set(read(), { anew: false }).catch(() => {
      go.disabled = false;
    });
  }, "▶");
  go.classList.add("live-start");
  start.replaceChildren(go, loading);

  /**
   * Before the button is pressed: the network that it will ask for is loaded and warmed. From a folder, as soon as somebody is seen to be
   * here; on the web, where that is a download, once the button is pointed at; never for who asks for little data. A press ends it.
   */
  function warmAhead() {
    const free = location.protocol === "file:", little = navigator.connection?.saveData || matchMedia("(prefers-reduced-data: reduce)").matches;
    const signs = ["pointermove", "pointerdown", "keydown", "focusin"], waits = () => !start.dataset.clicked;
    const begin = (event) => {
      if (!waits() || !(free || start.contains(event.target))) return;
      signs.forEach((sign) => removeEventListener(sign, begin));
      start.dataset.warm = 0;
      LiveNetwork.warm(read().model, 2, waits, (n) => (start.dataset.warm = n)).catch(() => {}); // a press will say what is wrong
    };
    if (!little) signs.forEach((sign) => addEventListener(sign, begin));
  }
  warmAhead();
  Object.assign(Live, { seed, label, labelNow, nameOfClass, predictor, single, startOf, lengthened, job, together });
  if (new URLSearchParams(location.hash.slice(1)).has("run")) go.click(); // the first page's link asks for a run
});
