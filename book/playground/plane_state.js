/* What can be set in the playground: defaults, ranges, the pieces that chapters show, and the address that says it all. */
(function (root) {
  "use strict";

  const CLUSTERS = [[-1.1, -0.6, 0.5, 0.17], [1.1, -0.5, 0.3, 0.17], [0.2, 1.1, 0.2, 0.17]];  // x, y, weight, standard deviation
  const turned = (n, f) => Array.from({ length: n }, (_, i) => f(2 * Math.PI * i / n));
  const RING = turned(7, (a) => [round(1.3 * Math.cos(a)), round(1.3 * Math.sin(a)), 1, 0.1]);
  const MOST = 8;  // clusters: as many as there are colours

  const STEPS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100, 200];
  const CHOICES = {
    view: { one: "One crowd", pair: "ODE beside SDE", race: "Race" },
    solver: { ddim: "DDIM to DDPM (η)", "2m": "DPM-Solver++(2M)", heun: "Heun (two calls a step)", euler: "Euler in t", forward: "forwards: data to noise" },
    spacing: { leading: "leading", linspace: "linspace", trailing: "trailing", quadratic: "quadratic", "quadratic-full": "quadratic-full" },
    schedule: { linear: "linear", cosine: "cosine" },
    start: { right: "correct", shifted: "shifted by 0.8", wide: "too wide, × 1.5", narrow: "too narrow, × 0.6" },
    predictor: { exact: "exact", wave: "ε* + 0.15 sin 4x", short: "0.95 ε*", equal: "of equal weights" },
    trails: { none: "none", short: "short", whole: "whole" },
  };
  const DEFAULTS = {
    view: "one", solver: "ddim", S: 20, eta: 0, spacing: "trailing", schedule: "linear", start: "right", predictor: "exact",
    trails: "short", seed: 2, followed: [1.8, 1.3], clusters: CLUSTERS,
  };
  const LIMITS = { x: 2.4, weight: [0.05, 5], std: [0.04, 0.6], followed: 3 };

  /** The pieces in chapters: what they show, and which controls they have. */
  const PIECES = {
    page: { name: "A playground in the plane", controls: "all", points: 2000, drawn: 500 },
    forward: {
      name: "Seven clusters on their way to noise", controls: ["schedule"], points: 400, drawn: 400,
      set: { solver: "forward", S: 200, clusters: RING, followed: [1.3, 0] },
    },
    reverse: {
      name: "Walking back in the plane", controls: ["S", "predictor"], points: 400, drawn: 400, set: { eta: 1, S: 100 },
    },
    sigma: {
      name: "The same starts without and with fresh noise", controls: ["eta", "S"], points: 1000, drawn: 300, chart: true,
      set: { view: "pair", eta: 1, S: 50 },
    },
    race: {
      name: "Four solvers, as many calls each", controls: ["S", "spacing"], points: 1000, drawn: 200, chart: true, set: { view: "race", S: 8 },
    },
    continuous: {
      name: "A wrong start: the ODE keeps it, the SDE forgets it", controls: ["eta", "start"], points: 1000, drawn: 300, chart: true,
      set: { view: "pair", eta: 1, S: 100, start: "shifted" },
    },
  };

  function round(v) {
    return Math.round(v * 1000) / 1000;
  }

  const clamp = (v, low, high) => Math.max(low, Math.min(high, v));

  /** Clusters within their ranges; weights may have any sum. */
  function tidy(cluster) {
    const [x, y, weight, std] = cluster;
    return [clamp(x, -LIMITS.x, LIMITS.x), clamp(y, -LIMITS.x, LIMITS.x), clamp(weight, ...LIMITS.weight), clamp(std, ...LIMITS.std)].map(round);
  }

  /** "S=8&view=race&data=-1,0,1,0.2;1,0,1,0.2" as settings. What is unknown, or out of its range, is left out. */
  function read(address) {
    const found = {}, numbers = (text) => text.split(",").map(Number);
    for (const [name, value] of new URLSearchParams(address.replace(/^#/, ""))) {
      if (Object.hasOwn(CHOICES, name) && Object.hasOwn(CHOICES[name], value)) found[name] = value;
      if (name === "S" && STEPS.includes(+value)) found.S = +value;
      if (name === "eta" && value !== "" && +value >= 0 && +value <= 1) found.eta = +value;
      if (name === "seed" && /^\d{1,6}$/.test(value)) found.seed = +value;
      if (name === "t" && value !== "" && +value >= 0 && +value <= 1000) found.t = +value;
      if (name === "from") {
        const point = numbers(value);
        if (point.length === 2 && point.every(Number.isFinite)) found.followed = point.map((v) => round(clamp(v, -LIMITS.followed, LIMITS.followed)));
      }
      if (name === "data") {
        const clusters = value.split(";").map(numbers);
        const fine = clusters.length <= MOST && clusters.every((c) => c.length === 4 && c.every(Number.isFinite) && c[2] > 0 && c[3] > 0);
        if (fine) found.clusters = clusters.map(tidy);
      }
    }
    return found;
  }

  /** The address of settings: what differs from the defaults, and the level where time stands still. */
  function write(state, level = null) {
    const parts = [];
    for (const name of [...Object.keys(CHOICES), "S", "eta", "seed"]) {
      if (state[name] !== DEFAULTS[name]) parts.push(`${name}=${state[name]}`);
    }
    if (String(state.followed) !== String(DEFAULTS.followed)) parts.push(`from=${state.followed}`);
    if (String(state.clusters) !== String(CLUSTERS)) parts.push(`data=${state.clusters.join(";")}`);
    if (level !== null) parts.push(`t=${Math.round(level)}`);
    return "#" + parts.join("&");
  }

  /** What runs side by side: a name, and what differs from the settings. */
  function lanes(state) {
    const walk = { solver: "ddim" };
    if (state.view === "pair") {
      return [{ name: "ODE: η = 0", ...walk, eta: 0 }, { name: `SDE: η = ${state.eta}`, ...walk, eta: state.eta }];
    }
    if (state.view === "race") {
      return [{ name: "Euler in t", solver: "euler" }, { name: "DDIM", ...walk, eta: 0 }, { name: "2M", solver: "2m" }, { name: "DDPM", ...walk, eta: 1 }];
    }
    const names = { "2m": "DPM-Solver++(2M)", heun: "Heun", euler: "Euler in t", forward: "Forwards" };
    const between = state.eta === 0 ? "DDIM" : state.eta === 1 ? "DDPM" : `η = ${state.eta}`;
    return [{ name: names[state.solver] || between, solver: state.solver, eta: state.eta }];
  }

  const api = { CHOICES, STEPS, DEFAULTS, LIMITS, MOST, PIECES, tidy, read, write, lanes, round };
  if (typeof module === "object" && module.exports) module.exports = api;
  else root.planeState = api;
})(globalThis);
