/* The playground's elements: made once, filled with the settings and with what was found. */
(function (root) {
  "use strict";

  const P = root.planeMath, S = root.planeState, D = root.planeDraw;
  const number = (v, digits = 2) => (v < -0.5 * 10 ** -digits ? "−" : "") + Math.abs(v).toFixed(digits);
  const PLAY = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M8 5.5v13l11-6.5z"/></svg>';
  const PAUSE = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 5h3.6v14H7zM13.4 5H17v14h-3.6z"/></svg>';
  const LABELS = { solver: "solver", S: "steps S", eta: "noise η", start: "start", predictor: "predictor", spacing: "levels visited", schedule: "schedule", trails: "trails" };
  const MAIN = ["solver", "S", "eta", "start", "predictor"], MORE = ["spacing", "schedule", "trails"];

  function field(id, name, state) {
    const key = `${id}-${name}`, label = `<label for="${key}">${LABELS[name]}</label>`;
    if (name in S.CHOICES) {
      const options = Object.entries(S.CHOICES[name]).map(([value, words]) => `<option value="${value}">${words}</option>`);
      return `<div class="plane-field" data-field="${name}">${label}<select id="${key}" data-name="${name}" autocomplete="off">${options.join("")}</select></div>`;
    }
    const [max, step] = name === "S" ? [S.STEPS.length - 1, 1] : [1, 0.05];
    return `<div class="plane-field" data-field="${name}">${label} <output for="${key}"></output>
      <input type="range" id="${key}" data-name="${name}" min="0" max="${max}" step="${step}" autocomplete="off"></div>`;
  }

  const button = (act, words, more = "") => `<button type="button" class="plane-button" data-act="${act}" ${more}>${words}</button>`;

  function html({ id, spec, full, state }) {
    const views = Object.entries(S.CHOICES.view).map(([value, words]) =>
      `<label><input type="radio" name="${id}-view" value="${value}" data-name="view" autocomplete="off"><span>${words}</span></label>`);
    const fields = (names) => names.map((name) => field(id, name, state)).join("");
    const main = full ? MAIN : spec.controls;
    return `${full ? `<fieldset class="plane-views"><legend class="plane-spoken">What runs</legend>${views.join("")}</fieldset>` : `<div class="plane-name">${spec.name}</div>`}
      <div class="plane-main"><div class="plane-stage"><canvas role="img" aria-label="${spec.name}" aria-describedby="${id}-text"></canvas><div class="plane-handles"></div>
        <span class="plane-hint" aria-hidden="true">drag the rings</span></div>
      <div class="plane-time"><button type="button" class="plane-play" data-act="play"></button>
        <div class="plane-axis-box"><svg class="plane-chart" role="img" aria-label="The gap of the crowd from the true density, at every level"></svg>
        <input type="range" class="plane-scrub" min="0" max="1000" step="1" value="0" aria-label="Time" autocomplete="off"></div></div>
      <div class="plane-ends" aria-hidden="true"><span></span><span class="plane-now"></span><span></span></div></div>
      <div class="plane-side">${full ? '<div class="plane-cluster" role="group" aria-label="The clusters"></div>' : ""}
        <div class="plane-controls">${fields(main)}<div class="plane-field plane-again">${button("seed", "New noise")}</div></div>
        ${full ? `<details class="plane-more"><summary>More: levels, schedule, trails</summary><div class="plane-controls">${fields(MORE)}</div></details>` : ""}</div>
      <p class="plane-text" id="${id}-text" aria-live="polite"></p>
      <p class="plane-spoken" id="${id}-keys">Arrow keys move it, with Shift further. Plus and minus change its weight, comma and full stop its width, Delete removes it.</p>
      ${full ? `<div class="plane-keep">${button("link", "Copy link")}${button("picture", "Save picture")}${button("film", "Save film")}${button("reset", "Start again")}
        <span class="plane-said" role="status"></span></div>` : ""}`;
  }

  function build(play) {
    const { box } = play, live = document.createElement("div"), stillPart = document.createElement("div");
    stillPart.className = "plane-still";
    stillPart.append(...box.childNodes);
    live.className = "plane-live";
    live.innerHTML = html(play);
    box.append(stillPart, live);
    box.classList.add("plane-on");
    box.classList.toggle("plane-small", !play.full);
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", play.spec.name);
    const find = (what) => live.querySelector(what);
    const parts = {
      live, find, stage: find(".plane-stage"), canvas: find("canvas"), chart: find(".plane-chart"), scrub: find(".plane-scrub"), handles: find(".plane-handles"),
      text: find(".plane-text"), show, tell, place, playing: (on) => playing(find(".plane-play"), on),
    };
    parts.chart.toggleAttribute("hidden", !play.full && !play.spec.chart);
    if (!play.full && !play.spec.chart) parts.chart.style.display = "none";
    if (find('[data-act="film"]') && !(root.MediaRecorder && parts.canvas.captureStream)) find('[data-act="film"]').hidden = true;
    parts.show(play, parts);
    parts.playing(false);
    return parts;
  }

  function playing(toggle, on) {
    toggle.innerHTML = on ? PAUSE : PLAY;
    toggle.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  /** The settings into the controls. */
  function show(play, parts = play.parts) {
    for (const control of parts.live.querySelectorAll("[data-name]")) {
      const { name } = control.dataset, value = play.state[name];
      if (control.type === "radio") control.checked = control.value === value;
      else control.value = name === "S" ? S.STEPS.indexOf(value) : value;
    }
    outputs(play, parts);
    handles(play, parts);
    cluster(play, parts);
  }

  function outputs({ state }, parts) {
    for (const [name, words] of [["S", String(state.S)], ["eta", number(state.eta)]]) {
      const control = parts.find(`[data-name="${name}"]`);
      if (!control) continue;
      control.setAttribute("aria-valuetext", words);
      parts.find(`[data-field="${name}"] output`).textContent = words;
    }
    const fixed = { eta: state.view === "race" || (state.view === "one" && state.solver !== "ddim"), solver: state.view !== "one" };
    for (const [name, off] of Object.entries(fixed)) {
      const control = parts.find(`[data-name="${name}"]`);
      if (control) control.disabled = off;
    }
  }

  // ---------------------------------------------------------------- handles and the selected cluster

  function handles({ state, id, spec }, parts) {
    const total = state.clusters.reduce((sum, c) => sum + c[2], 0);
    const words = state.clusters.map(([x, y, w], k) => `Cluster ${k + 1} at ${number(x)}, ${number(y)}, weight ${Math.round(100 * w / total)}%`);
    words.push(`The start that is followed, at ${number(state.followed[0])}, ${number(state.followed[1])}`);
    while (parts.handles.children.length > words.length) parts.handles.firstChild.remove();
    while (parts.handles.children.length < words.length) {
      parts.handles.insertAdjacentHTML("afterbegin", `<button type="button" class="plane-handle" aria-describedby="${id}-keys"></button>`);
    }
    [...parts.handles.children].forEach((handle, k) => {
      const start = k === state.clusters.length;
      handle.dataset.k = start ? "start" : k;
      handle.classList.toggle("plane-handle-start", start);
      handle.style.setProperty("--of", start ? "var(--plane-ink)" : `var(--plane-${k})`);
      handle.setAttribute("aria-label", words[k]);
    });
  }

  function cluster({ state, selected, id }, parts) {
    const bar = parts.find(".plane-cluster");
    if (!bar) return;
    const full = state.clusters.length >= S.MOST ? "disabled" : "", add = button("add", "Add a cluster", full), shown = bar.dataset.k;
    if (selected === null) {
      bar.dataset.k = "";
      bar.innerHTML = `<span class="plane-tip">Drag a ring; tap it for its weight and width; tap twice in the plane for one more.</span>${add}`;
      return;
    }
    const [, , weight, std] = state.clusters[selected], total = state.clusters.reduce((sum, c) => sum + c[2], 0);
    if (shown !== String(selected) || !bar.querySelector("input")) {
      bar.dataset.k = selected;
      const slider = (name, words, [min, max]) => `<div class="plane-field"><label for="${id}-c-${name}">${words}</label> <output for="${id}-c-${name}"></output>
        <input type="range" id="${id}-c-${name}" data-cluster="${name}" min="${Math.log(min)}" max="${Math.log(max)}" step="0.01" autocomplete="off"></div>`;
      bar.innerHTML = `<span class="plane-chip" style="--of: var(--plane-${selected})">Cluster ${selected + 1}</span>
        ${slider("weight", "weight", S.LIMITS.weight)}${slider("std", "width", S.LIMITS.std)}
        ${button("remove", "Remove")}${add}`;
    }
    for (const [name, value, words] of [["weight", weight, `${Math.round(100 * weight / total)}%`], ["std", std, number(std)]]) {
      const control = bar.querySelector(`[data-cluster="${name}"]`);
      control.value = Math.log(value);
      control.setAttribute("aria-valuetext", words);
      control.previousElementSibling.textContent = words;
    }
    bar.querySelector('[data-act="remove"]').disabled = state.clusters.length < 2;
    bar.querySelector('[data-act="add"]').disabled = state.clusters.length >= S.MOST;
  }

  // ---------------------------------------------------------------- what was found

  /** Everything that changes with a computation: chart, words, handles' names. */
  function tell(play) {
    const { parts, runs, state, floor, id } = play, box = parts.find(".plane-axis-box"), width = box.clientWidth, height = play.full ? 96 : 80;
    parts.chart.setAttribute("width", width);
    parts.chart.setAttribute("height", height);
    parts.chart.innerHTML = `${D.chart(width, height, runs, floor, play.forward)}<path class="plane-head"/><text class="plane-title" x="${width - D.EDGE}" y="11">gap: how far the crowd is from the truth</text>`;
    outputs(play, parts);
    handles(play, parts);
    cluster(play, parts);
    parts.text.innerHTML = words(play);
    const [left, , right] = parts.live.querySelectorAll(".plane-ends span");
    [left.textContent, right.textContent] = play.forward ? ["data", "noise"] : ["noise", "data"];
  }

  function words({ runs, state, floor, exact, forward, spec }) {
    const N = runs[0].asked.N.toLocaleString("en"), chance = `true draws, as many: ${number(floor, 3)}`;
    if (forward) return `${N} points of the data, each with fresh noise at every step. Gap from the true density at level 1000: <b>${number(runs[0].gaps[0], 3)}</b>.`;
    const end = (run) => number(run.gaps.at(-1), 3);
    if (runs.length > 1) {
      const each = runs.map((run) => `${run.name} <b>${end(run)}</b>`).join(", ");
      return `${P.calls("ddim", state.S)} calls each. Gap from the data at the end: ${each} (${chance}).`;
    }
    const [run] = runs, percent = (values) => values.map((v) => Math.round(100 * v)).join(", "), off = exact && run.states.at(-1).slice(0, 2).map((v, d) => v - exact.states.at(-1)[d]);
    const start = off && run.asked.solver !== "forward" && (run.asked.solver !== "ddim" || run.asked.eta === 0)
      ? ` The start that is followed (the dotted circle) ends <b>${number(Math.hypot(...off), 3)}</b> from where the exact flow takes it.` : "";
    return `${P.calls(run.asked.solver, state.S)} calls. Gap from the data at the end: <b>${end(run)}</b> (${chance}).
      In the clusters: ${percent(P.shares(run))}% (data: ${percent(run.mix.weights)}%).${start}`;
  }

  /** Everything that moves with time: the slider, the chart's cursor; and handles, which move with the stage. */
  function place(play) {
    const { parts, plan, level, state } = play, [first] = plan.places, value = play.forward ? level : P.T - level;
    if (+parts.scrub.value !== Math.round(value)) parts.scrub.value = value;
    const said = `level ${Math.round(level)}`;
    if (parts.said !== said) {
      parts.said = said;
      parts.scrub.setAttribute("aria-valuetext", said);
      parts.find(".plane-now").textContent = said;
      parts.scrub.style.setProperty("--done", `${value / 10}%`);
    }
    const width = +parts.chart.getAttribute("width"), x = D.EDGE + (width - 2 * D.EDGE) * value / P.T;
    parts.find(".plane-head")?.setAttribute("d", `M${x.toFixed(1)} 16V${+parts.chart.getAttribute("height") - 16}`);
    const points = [...state.clusters, state.followed];
    [...parts.handles.children].forEach((handle, k) => {
      const [px, py] = D.toScreen(first, ...points[k]), inside = (v, low, size) => Math.max(low + 10, Math.min(low + size - 10, v));
      handle.style.transform = `translate(${inside(px, first.x, first.w)}px, ${inside(py, first.y, first.h)}px)`;
      handle.classList.toggle("plane-chosen", k === play.selected);
    });
  }

  root.planeParts = { build, show, cluster };
})(globalThis);
