/* Pictures that move: every <div class="explore" data-explore="name"> of a page gets sliders and a drawing, which is SVG in the
   theme's colours (book.css). What stood in the div stays for print and for pages without scripts. The mathematics is in
   explore_math.js. Nothing happens on a page without such a div. */
(function () {
  "use strict";

  let M, made = 0;
  const STEP_LIST = [2, 3, 4, 5, 7, 10, 14, 20, 30, 50];

  // ---------------------------------------------------------------- drawing

  const num = (v, digits = 2) => {
    const text = Math.abs(v).toFixed(digits);
    return (v < 0 && Number(text) !== 0 ? "−" : "") + text;
  };
  const short = (v) => String(+v.toPrecision(2)).replace("-", "−");
  const range = (low, high, n) => M.linspace(low, high, n);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  /** A drawing that grows panel by panel; panels hold marks in units of the data. */
  class Picture {
    constructor(width) {
      this.width = width;
      this.wide = width >= 540;
      this.height = 0;
      this.parts = [];
    }

    panel(o) {
      const p = new Panel(o);
      this.parts.push(p);
      this.height = Math.max(this.height, o.y + o.h);
      return p;
    }

    /** Two panels, side by side where there is room: the first takes `share` of the width. */
    two(share, heights, first, second) {
      const [h1, h2] = heights, w = this.width;
      if (!this.wide) return [this.panel({ x: 0, y: 0, w, h: h1, ...first }), this.panel({ x: 0, y: h1 + 6, w, h: h2, ...second })];
      const w1 = Math.round(w * share);
      return [this.panel({ x: 0, y: 0, w: w1, h: h1, ...first }), this.panel({ x: w1, y: 0, w: w - w1, h: h1, ...second })];
    }

    toString() {
      return this.parts.join("");
    }
  }

  class Panel {
    constructor(o) {
      Object.assign(this, { xticks: [], yticks: [], title: "", left: 38, right: 14, top: 22, bottom: 38 }, o);
      this.iw = this.w - this.left - this.right;
      this.ih = this.h - this.top - this.bottom;
      this.marks = [];
    }

    px(x) {
      const f = this.xlog ? Math.log : Number, [a, b] = this.xlim;
      return clamp(this.iw * (f(x) - f(a)) / (f(b) - f(a)));
    }

    py(y) {
      const f = this.ylog ? Math.log : Number, [a, b] = this.ylim;
      return clamp(this.ih * (1 - (f(y) - f(a)) / (f(b) - f(a))));
    }

    line(xs, ys, look) {
      this.marks.push(`<path class="ex-line ${look}" d="M${xs.map((x, i) => this.px(x) + " " + this.py(ys[i])).join("L")}"/>`);
    }

    area(xs, ys, look) {
      const points = xs.map((x, i) => this.px(x) + " " + this.py(ys[i]));
      this.marks.push(`<path class="ex-area ${look}" d="M${points.join("L")}Z"/>`);
    }

    box(x1, x2, y1, y2, look) {
      this.area([x1, x2, x2, x1], [y1, y1, y2, y2], look);
    }

    dot(x, y, look, r = 3) {
      this.marks.push(`<circle class="ex-dot ${look}" cx="${this.px(x)}" cy="${this.py(y)}" r="${r}"/>`);
    }

    text(x, y, words, look = "") {
      this.marks.push(`<text class="${look}" x="${this.px(x)}" y="${this.py(y)}">${words}</text>`);
    }

    /** Words above the frame. */
    above(x, words, look = "") {
      this.title += `<tspan class="${look}" x="${this.px(x)}">${words}</tspan>`;
    }

    toString() {
      const { x, y, left, top, iw, ih } = this, ticks = [];
      for (const t of this.xticks) {
        const at = this.px(t);
        ticks.push(`<path class="ex-grid" d="M${at} 0V${ih}"/><text class="ex-mid" x="${at}" y="${ih + 15}">${short(t)}</text>`);
      }
      for (const t of this.yticks) {
        const at = this.py(t);
        ticks.push(`<path class="ex-grid" d="M0 ${at}H${iw}"/><text class="ex-end" x="-5" y="${at + 4}">${short(t)}</text>`);
      }
      return `<g transform="translate(${x + left} ${y + top})">${ticks.join("")}
        <path class="ex-axis" d="M0 ${ih}H${this.bare ? 0 : iw}"/><text class="ex-mid" x="${iw / 2}" y="${ih + 32}">${this.xlabel || ""}</text>
        <text x="0" y="-8">${this.title}</text><svg width="${iw}" height="${ih}">${this.marks.join("")}</svg></g>`;
    }
  }

  function clamp(v) {
    return +Math.max(-9999, Math.min(9999, v)).toFixed(1);
  }

  // ---------------------------------------------------------------- what is shown

  const SCHEDULE = { name: "schedule", label: "schedule", options: { linear: "linear", cosine: "cosine" } };
  const schedules = {};
  const schedule = (name) => (schedules[name] ||= M[name]());
  const once = {};  // what is computed at first use and kept
  const keep = (key, f) => (key in once ? once[key] : (once[key] = f()));
  const firstPeaks = () => keep("first", () => M.mixture([0.35, 0.65], [[-1.2], [0.65]], [0.02, 0.05]));
  const peaks = () => keep("peaks", () => M.mixture([0.3, 0.7], [[-1.0], [0.6]], [0.02, 0.05]));
  const plane = () => keep("plane", () => M.mixture([0.5, 0.3, 0.2], [[-1.0, -0.6], [1.0, -0.4], [0.2, 1.1]], [0.03, 0.03, 0.03]));
  const bell = (x, m, std) => Math.exp(-0.5 * ((x - m) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));
  const quantileRow = (n) => keep("row" + n, () => range(0.5 / n, 1 - 0.5 / n, n).map((u) => M.invert(M.ndtr, u)));

  const widgets = {
    "forward-1d": {
      name: "A density on its way to noise",
      controls: [
        { name: "t", label: "level t", min: 0, max: 1000, step: 5, value: 100 },
        SCHEDULE,
      ],
      play: "t",
      legend: [["ex-c2 ex-dash", "what is left of the data, √ᾱ x<sub>0</sub>"], ["ex-c1 ex-dots", "noise, √(1 − ᾱ) ε"], ["ex-c0", "their sum, x<sub>t</sub>"]],
      draw({ t, schedule: kind }, picture) {
        const mix = firstPeaks(), { abar } = schedule(kind), a = abar[t];
        const [left, right] = picture.two(0.6, [250, 170], {
          title: "density", xlim: [-3, 3], ylim: [0, 1.4], xticks: [-2, 0, 2], xlabel: "x", left: 12,
        }, {
          title: "factors", xlim: [0, 1000], ylim: [0, 1.05], xticks: [0, 500, 1000], yticks: [0, 0.5, 1], xlabel: "level t",
        });
        const xs = range(-3, 3, 601), scale = Math.sqrt(a), noise = Math.sqrt(1 - a);
        const sum = xs.map((x) => M.density(mix, x, a));
        // a part that has shrunk to a spike is drawn a little wide: else it would fall between two points
        const data = xs.map((x) => mix.weights.reduce((s, w, k) =>
          s + w * bell(x, scale * mix.means[k][0], Math.max(scale * Math.sqrt(mix.variances[k]), 0.004)), 0));
        left.line(xs, data, "ex-c2 ex-dash");
        left.line(xs, xs.map((x) => bell(x, 0, Math.max(noise, 0.004))), "ex-c1 ex-dots");
        left.area([-3, ...xs, 3], [0, ...sum, 0], "ex-c0");
        left.line(xs, sum, "ex-c0 ex-bold");
        const ts = range(0, 1000, 101);
        right.line(ts, ts.map((i) => Math.sqrt(abar[i])), "ex-c2 ex-dash");
        right.line(ts, ts.map((i) => Math.sqrt(1 - abar[i])), "ex-c1 ex-dots");
        right.line([t, t], [0, 1.05], "ex-ink");
        right.dot(t, scale, "ex-c2", 4);
        right.dot(t, noise, "ex-c1", 4);
        const count = sum.filter((p, i) => p > (sum[i - 1] ?? 0) && p >= (sum[i + 1] ?? 0)).length;
        return `t = ${t}: <b>ᾱ = ${num(a, 3)}</b>. x<sub>t</sub> is ${num(scale)} times the data plus ${num(noise)} times fresh noise, and its density
          has ${count > 1 ? "two peaks" : "one peak"}.`;
      },
    },

    "bayes": {
      name: "Two bells make a third",
      controls: [
        { name: "s", label: "level s", min: 1, max: 199, step: 1, value: 100 },
        { name: "at", label: "x<sub>200</sub>", min: -1.5, max: 1.5, step: 0.1, value: -0.2, show: (v) => num(v, 1) },
      ],
      legend: [["ex-c0 ex-dash", "from x<sub>0</sub> = 0.7"], ["ex-c1 ex-dots", "from x<sub>200</sub>"], ["ex-c2 ex-bold", "their product, q(x<sub>s</sub> | x<sub>200</sub>, x<sub>0</sub>)"]],
      draw({ s, at }, picture) {
        const { abar } = schedule("linear"), as = abar[s], kept = abar[200] / as, xs = range(-2, 2, 801);
        const std = M.sigma(abar[200], as, 1), onState = Math.sqrt(kept) * (1 - as) / (1 - abar[200]);
        const onData = Math.sqrt(as) * (1 - kept) / (1 - abar[200]), mu = onData * 0.7 + onState * at;
        const bells = [[Math.sqrt(as) * 0.7, Math.sqrt(1 - as), "ex-c0 ex-dash"], [at / Math.sqrt(kept), Math.sqrt((1 - kept) / kept), "ex-c1 ex-dots"],
          [mu, std, "ex-c2 ex-bold"]];
        const p = picture.panel({
          x: 0, y: 0, w: picture.width, h: 230, xlim: [-2, 2], ylim: [0, 1.05 * bell(0, 0, std)], xticks: [-2, -1, 0, 1, 2], left: 14, top: 8,
          xlabel: `x at level ${s}; the height follows the tallest`,
        });
        for (const [m, width, look] of bells) p.line(xs, xs.map((x) => bell(x, m, width)), look);
        return `Standard deviations at level ${s}: ${num(bells[0][1])} from x<sub>0</sub>, ${num(bells[1][1])} from x<sub>200</sub>, <b>${num(std)}</b> together.
          Mean ${num(mu)} = ${num(onData)} x<sub>0</sub> + ${num(onState)} x<sub>200</sub>.`;
      },
    },

    "posterior": {
      name: "Found noise and fresh noise",
      controls: [
        { name: "share", label: "σ (share)", min: 0, max: 100, step: 1, value: 40, show: (v) => v + "%" },
        { name: "t", label: "step from t", min: 100, max: 1000, step: 10, value: 400, show: (v) => `${v} → ${v - 50}` },
        { name: "found", label: "noise in x<sub>t</sub>", min: -2, max: 2, step: 0.1, value: 1.2, show: (v) => num(v, 1) },
      ],
      legend: [["ex-c0", "mean of x<sub>s</sub> for 15 values of x<sub>t</sub>"], ["ex-c1 ex-bold", "q<sub>σ</sub>(x<sub>s</sub> | x<sub>t</sub>, x<sub>0</sub>) for the x<sub>t</sub> chosen"],
        ["ex-ink ex-dash", "q(x<sub>t</sub> | x<sub>0</sub>) and q(x<sub>s</sub> | x<sub>0</sub>)"], ["ex-c4 ex-block", "2,000 draws of x<sub>s</sub>, from all x<sub>t</sub>"]],
      draw({ t, share, found }, picture) {
        const { abar } = schedule("linear"), s = t - 50, x0 = 0.8, at = abar[t], as = abar[s];
        const most = Math.sqrt(1 - as), sigma = most * share / 100, onFound = Math.sqrt(Math.max(1 - as - sigma ** 2, 0));
        const centre = Math.sqrt(as) * x0, from = Math.sqrt(at) * x0, wide = Math.sqrt(1 - at);
        const ddpm = M.sigma(at, as, 1);
        const p = picture.panel({
          x: 0, y: 0, w: picture.width, h: 260, xlim: [0, 1], ylim: [-2.4, 2.7], yticks: [-2, 0, 2], left: 30, bottom: 8,
        });
        const [A, B, reach] = [0.27, 0.6, 0.36], ys = range(-2.4, 2.7, 256);
        const draws = keep("pairs", () => { const g = M.normals(7); return Array.from({ length: 2000 }, () => [g(), g()]); })
          .map(([e, z]) => centre + onFound * e + sigma * z);
        const bins = new Array(53).fill(0);
        for (const x of draws) bins[Math.floor((x + 2.4) * 10)]++;
        const tall = bell(0, 0, most);
        bins.forEach((n, i) => n && p.box(B, B + reach * n / 200 / tall, -2.4 + i / 10, -2.3 + i / 10, "ex-c4"));
        for (const e of quantileRow(15)) p.line([A, B], [from + wide * e, centre + onFound * e], "ex-c0 ex-thin");
        p.line(ys.map((y) => A - 0.24 * bell(y, from, wide) / bell(0, 0, wide)), ys, "ex-ink ex-dash");
        p.line(ys.map((y) => B + reach * bell(y, centre, most) / tall), ys, "ex-ink ex-dash");
        const mu = centre + onFound * found, drawn = Math.max(sigma, 0.012);
        p.line([A, B], [from + wide * found, mu], "ex-c1 ex-bold");
        p.line(ys.map((y) => B + reach * bell(y, mu, drawn) / bell(0, 0, drawn)), ys, "ex-c1 ex-bold");
        p.dot(A, from + wide * found, "ex-c1", 5);
        p.line([A, A], [-9, 9], "ex-ink ex-thin");
        p.line([B, B], [-9, 9], "ex-ink ex-thin");
        p.above(A, `level ${t}`, "ex-mid");
        p.above(B, `level ${s}`, "ex-mid");
        const bar = picture.panel({
          x: 0, y: 262, w: picture.width, h: 74, xlim: [0, 1], ylim: [0, 1], xticks: [0, 0.5, 1], left: 30, bottom: 20, top: 24,
          title: "variance at level s; the mark: DDPM’s split",
        });
        const kept = onFound ** 2, mark = 1 - as - ddpm ** 2;
        bar.box(0, kept, 0.1, 0.9, "ex-c0");
        bar.box(kept, 1 - as, 0.1, 0.9, "ex-c1");
        bar.line([mark, mark], [0, 1], "ex-ink ex-bold");
        if (kept > 0.16) bar.text(0.02, 0.32, "found");
        if (1 - as - kept > 0.16) bar.text(1 - as - 0.02, 0.32, "fresh", "ex-end");
        const variance = mean(draws.map((x) => x * x)) - mean(draws) ** 2;
        return `From this x<sub>t</sub>: mean ${num(mu)}, spread <b>σ = ${num(sigma)}</b> (DDPM’s ${num(ddpm)}, largest ${num(most)}).
          From all: mean ${num(centre)}, variance ${num(kept, 3)} found + ${num(sigma ** 2, 3)} fresh = <b>${num(1 - as, 3)}</b>
          (the draws: ${num(mean(draws))} and ${num(variance, 3)}).`;
      },
    },

    "paths-2d": {
      name: "Walks in the plane",
      controls: [
        { name: "eta", label: "η", min: 0, max: 1, step: 0.05, value: 0, show: (v) => num(v) },
        { name: "S", label: "steps S", list: [3, 5, 7, 10, 14, 20, 30, 50, 70, 100], value: 50 },
      ],
      button: { name: "seed", label: "New fresh noise" },
      legend: [["ex-ink ex-block", "the data: one and two standard deviations"], ["ex-c0", "walks that end at the lower left,"],
        ["ex-c1 ex-dash", "at the lower right,"], ["ex-c2 ex-dots", "at the top"]],
      draw({ eta, S, seed }, picture) {
        const mix = plane(), tau = M.makeTau(1000, S, "trailing"), linear = schedule("linear");
        const starts = keep("starts", () => { const g = M.normals(3); return Array.from({ length: 200 }, () => [g(), g()]); });
        const walk = (x, i) => M.ddimPath(mix, x, linear, tau, eta, M.normals(1000 * seed + i + 1));
        const near = (x) => {
          const d = mix.means.map((m) => (x[0] - m[0]) ** 2 + (x[1] - m[1]) ** 2);
          return [d.indexOf(Math.min(...d)), Math.min(...d)];
        };
        const paths = starts.map(walk), ends = paths.map((p) => p[S]);
        const side = picture.wide ? picture.width / 2 : picture.width, h = Math.min(side, 340);
        const look = { xlim: [-2.1 * side / h, 2.1 * side / h], ylim: [-2.1, 2.1], left: 8, right: 8, bottom: 8, bare: true };
        const [left, right] = picture.two(0.5, [h, h], { title: "six walks", ...look }, { title: "where 200 walks end", ...look });
        const turn = range(0, 2 * Math.PI, 49);
        for (const panel of [left, right]) {
          for (const m of mix.means) {
            for (const r of [2, 1]) {
              const radius = r * Math.sqrt(0.03);
              panel.area(turn.map((v) => m[0] + radius * Math.cos(v)), turn.map((v) => m[1] + radius * Math.sin(v)), "ex-ink");
            }
          }
        }
        const styles = ["ex-c0", "ex-c1 ex-dash", "ex-c2 ex-dots"];
        for (let i = 0; i < 6; i++) {
          const start = [1.7 * Math.cos(0.3 + i * Math.PI / 3), 1.7 * Math.sin(0.3 + i * Math.PI / 3)];
          const path = walk(start, 500 + i), [k] = near(path[S]);
          left.line(path.map((x) => x[0]), path.map((x) => x[1]), styles[k] + (eta ? " ex-fine" : ""));
          left.dot(...start, "ex-ink", 3);
          left.dot(...path[S], styles[k], 4);
        }
        for (const x of ends) right.dot(...x, "ex-c" + near(x)[0], 2);
        const hop = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
        const detour = paths.map((p) => p.slice(1).reduce((sum, x, i) => sum + hop(x, p[i]), 0) / hop(p[0], p[S])).sort((a, b) => a - b)[100];
        const shares = [0, 1, 2].map((k) => Math.round(ends.filter((x) => near(x)[0] === k).length / 2));
        const away = ends.map((x) => Math.sqrt(near(x)[1])).sort((a, b) => a - b)[100];
        return `A typical walk is <b>${num(detour, 1)} times</b> as long as the straight line from its start to its end. A typical
          end lies <b>${num(away)}</b> from the centre of its cluster (the data: 0.20). In the three clusters: ${shares.join(", ")}% (the data: 50, 30, 20%).`;
      },
    },

    "spacings": {
      name: "Where the steps go, and what each one costs",
      controls: [
        { name: "S", label: "steps S", list: STEP_LIST, value: 10 },
        SCHEDULE,
      ],
      legend: [["ex-c0 ex-mark", "levels visited"], ["ex-c1 ex-block", "what this step alone adds to the error"], ["ex-c3 ex-block", "what the start alone adds"]],
      draw({ S, schedule: kind }, picture) {
        const rows = M.SPACINGS.map((spacing) => costs(kind, spacing, S)), { nsr } = schedule(kind);
        const high = Math.max(...rows.flatMap((r) => [...r.steps, r.start])) * 1.15, h = 5 * 46 + 62;
        const low = 0.005, look = { ylim: [-5, 0], left: 6 };
        const [left, right] = picture.two(0.5, [h, h], { title: "by level t", xlim: [-15, 1010], xticks: [0, 500, 1000], xlabel: "level t", ...look }, {
          title: "by the clock ν", xlim: [low, nsr[1000] * 1.2], xlog: true, xticks: [0.01, 0.1, 1, 10, 100, 1000, 1e4].filter((v) => v < nsr[1000]),
          xlabel: "ν, logarithmic; the data at the left edge", ...look,
        });
        rows.forEach(({ tau, steps, start, total }, i) => {
          const base = -i - 0.95;
          for (const [panel, at] of [[left, (t) => t], [right, (t) => Math.max(nsr[t], low)]]) {
            for (let k = 0; k < S; k++) panel.box(at(tau[k]), at(tau[k + 1]), base, base + 0.85 * steps[k] / high, "ex-c1");
            if (tau[S] < 1000) panel.box(at(tau[S]), at(1000), base, base + 0.85 * start / high, "ex-c3");
            panel.line([at(0), at(1000)], [base, base], "ex-ink ex-thin");
            for (const t of tau) panel.dot(at(t), base, "ex-c0", S > 25 ? 2 : 3);
            panel.text(at(1000), base + 0.25, M.SPACINGS[i] + (panel.xlog ? "" : `: ${num(total, 4)}`), "ex-end");
          }
        });
        const best = rows.reduce((a, b, i) => (b.total < rows[a].total ? i : a), 0), { tau, steps } = rows[best];
        const most = steps.indexOf(Math.max(...steps));
        return `Mean error of x<sub>0</sub> with ${S} steps: ${M.SPACINGS.map((n, i) => `${n} ${num(rows[i].total, 4)}`).join(", ")}.
          <b>Least: ${M.SPACINGS[best]}</b>, whose most expensive step goes from ${tau[most + 1]} to ${tau[most]}.`;
      },
    },

    "euler": {
      name: "Euler, Heun and the truth",
      controls: [
        { name: "S", label: "steps S", list: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64], value: 6 },
        { name: "start", label: "start x<sub>T</sub>", min: -2.5, max: 2.5, step: 0.05, value: -0.5, show: (v) => num(v) },
        { name: "spacing", label: "levels", options: { "trailing": "even in t (trailing)", "quadratic-full": "dense near the data (quadratic-full)" } },
      ],
      legend: [["ex-ink ex-bold", "the ODE’s path"], ["ex-c0", "Euler, which is DDIM"], ["ex-c1 ex-dash", "Heun"], ["ex-ink ex-dots", "slopes −1 and −2"]],
      draw({ S, start, spacing }, picture) {
        const mix = peaks(), linear = schedule("linear"), tau = M.makeTau(1000, S, spacing), nsr = tau.map((t) => linear.nsr[t]).reverse();
        const u = M.cdf(mix, start, linear.abar[1000]), clock = range(0, 2, 76);
        const truth = clock.map((nu) => flowed(u, 1 / (1 + nu * nu)) * Math.sqrt(1 + nu * nu));
        const low = Math.min(...truth), high = Math.max(...truth), pad = Math.max(0.3, 1.2 - (high - low) / 2);
        const [left, right] = picture.two(0.55, [290, 230], {
          title: "x / √ᾱ on the clock ν", xlim: [-0.04, 2], ylim: [low - pad, high + pad], xticks: [0, 1, 2], xlabel: "clock ν; the data is at 0",
          yticks: range(-6, 6, 13).filter((v) => v > low - pad && v < high + pad),
        }, {
          title: "mean error at the data, 41 starts", xlim: [0.8, 300], ylim: [5e-5, 4], xlog: true, ylog: true, xticks: [1, 10, 100],
          yticks: [1e-4, 1e-3, 0.01, 0.1, 1], xlabel: "network calls", left: 48,
        });
        left.line(clock, truth, "ex-ink ex-bold");
        const found = {};
        for (const [solver, look] of [["heunPath", "ex-c1 ex-dash"], ["ddimPath", "ex-c0"]]) {
          const path = M[solver](mix, [start], linear, tau).map(([x], i) => x * Math.sqrt(1 + nsr[i] ** 2));
          left.line(nsr, path, look);
          nsr.forEach((nu, i) => left.dot(nu, path[i], look, nu > 0 ? 3 : 5));
          found[solver] = Math.abs(path[S] - truth[0]);
        }
        const curve = (solver) => keep(solver + spacing, () => {
          const rows = {};
          for (const n of [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]) {
            const steps = M.makeTau(1000, n, spacing);
            rows[n] = mean(quantileRow(41).map((x, i) => Math.abs(M[solver](mix, [x], linear, steps)[n][0] - ends()[i])));
          }
          return rows;
        });
        const factor = {};
        for (const [solver, look, calls] of [["heunPath", "ex-c1 ex-dash", (n) => 2 * n - 1], ["ddimPath", "ex-c0", (n) => n]]) {
          const rows = curve(solver), ns = Object.keys(rows).map(Number);
          right.line(ns.map(calls), ns.map((n) => rows[n]), look);
          right.dot(calls(S), rows[S], look, 5);
          factor[solver] = rows[S] / rows[2 * S];
        }
        right.line([10, 250], [0.5, 0.02], "ex-ink ex-dots");
        right.line([10, 250], [0.02, 3.2e-5], "ex-ink ex-dots");
        return `This start: Euler misses by <b>${num(found.ddimPath, 3)}</b> with ${S} ${S > 1 ? "calls" : "call"}, Heun by <b>${num(found.heunPath, 3)}</b> with ${2 * S - 1}.
          Twice the steps divide the mean error by ${num(factor.ddimPath, 1)} (Euler) and ${num(factor.heunPath, 1)} (Heun).`;
      },
    },
  };

  /** Chapter 6: the error of a whole walk, from 200 quantiles of the standard normal, and what each step alone does to x_0. */
  function costs(kind, spacing, S) {
    return keep([kind, spacing, S].join(), () => {
      const mix = peaks(), sch = schedule(kind), tau = M.makeTau(1000, S, spacing);
      const toData = keep("table", () => M.inverseTable((x) => M.cdf(mix, x, 1)));
      const shares = (n) => range(0.5 / n, 1 - 0.5 / n, n);
      const truth = keep("truth", () => shares(200).map(toData));
      const total = mean(quantileRow(200).map((x, i) => Math.abs(M.ddimPath(mix, [x], sch, tau)[S][0] - truth[i])));
      const at = (t) => keep(kind + t, () => shares(40).map((u) => flowed(u, sch.abar[t])));
      const lands = (x, t) => toData(M.cdf(mix, x, sch.abar[t]));  // where the exact flow takes x
      const aim = keep("aim", () => shares(40).map(toData));
      const steps = tau.slice(1).map((t, k) => mean(at(t).map((x, i) => {
        const [y] = M.ddimStep([x], M.eps(mix, [x], sch.abar[t]), sch.abar[t], sch.abar[tau[k]]);
        return Math.abs(lands(y, tau[k]) - aim[i]);
      })));
      return { tau, steps, total, start: mean(quantileRow(40).map((x, i) => Math.abs(lands(x, tau[S]) - aim[i]))) };
    });
  }

  /** The u-quantile of q_t, where the exact flow has taken a point that began at the u-quantile. */
  function flowed(u, abar) {
    return M.invert((x) => M.cdf(peaks(), x, abar), u, -6, 6);
  }

  const ends = () => keep("ends", () => quantileRow(41).map((x) => flowed(M.cdf(peaks(), x, schedule("linear").abar[1000]), 1)));

  // ---------------------------------------------------------------- the page

  const LINE = '<svg width="26" height="12" aria-hidden="true">';
  function swatch(look) {
    if (look.includes("ex-block")) return `${LINE}<path class="ex-area ${look}" d="M2 1H24V11H2Z"/></svg>`;
    if (look.includes("ex-mark")) return `${LINE}<circle class="ex-dot ${look}" cx="13" cy="6" r="4"/></svg>`;
    return `${LINE}<path class="ex-line ${look}" d="M1 6H25"/></svg>`;
  }

  function build(box, spec) {
    const id = `explore-${++made}`, state = {}, live = document.createElement("div"), still = document.createElement("div");
    still.className = "explore-still";
    still.append(...box.childNodes);
    live.className = "explore-live";
    const rows = spec.controls.map((c) => {
      const key = `${id}-${c.name}`, label = `<label for="${key}">${c.label}</label>`;
      if (c.options) {
        state[c.name] = Object.keys(c.options)[0];
        const options = Object.entries(c.options).map(([value, words]) => `<option value="${value}">${words}</option>`);
        return `<div class="explore-row">${label}<select id="${key}" data-name="${c.name}">${options.join("")}</select></div>`;
      }
      state[c.name] = c.value;
      const [min, max, step, value] = c.list ? [0, c.list.length - 1, 1, c.list.indexOf(c.value)] : [c.min, c.max, c.step, c.value];
      return `<div class="explore-row">${label}<input type="range" id="${key}" data-name="${c.name}" min="${min}" max="${max}" step="${step}"
        value="${value}" autocomplete="off"><span class="explore-value" aria-hidden="true"></span></div>`;
    });
    const button = (name, words) => `<button type="button" data-act="${name}">${words}</button>`;
    const still_please = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const buttons = (spec.play && !still_please ? button("play", "Play") : "") + (spec.button ? button("next", spec.button.label) : "");
    live.innerHTML = `<div class="explore-name" id="${id}-name">${spec.name}</div>
      <div class="explore-controls">${rows.join("")}${buttons && `<div class="explore-row">${buttons}</div>`}</div>
      <svg class="explore-picture" role="img" aria-labelledby="${id}-name" aria-describedby="${id}-text"></svg>
      <div class="explore-legend">${spec.legend.map(([look, words]) => `<span>${swatch(look)}<span>${words}</span></span>`).join("")}</div>
      <div class="explore-text" id="${id}-text" aria-live="polite"></div>`;
    box.setAttribute("role", "group");
    box.setAttribute("aria-labelledby", `${id}-name`);
    box.append(still, live);
    box.classList.add("explore-on");
    if (spec.button) state[spec.button.name] = 1;

    const svg = live.querySelector(".explore-picture"), text = live.querySelector(".explore-text");
    const fields = Object.fromEntries(spec.controls.map((c) => [c.name, live.querySelector(`[data-name="${c.name}"]`)]));
    let frame = 0, quiet = 0, playing = 0;

    const room = () => Math.max(Math.floor(live.clientWidth), 240);

    function draw() {
      frame = 0;
      for (const c of spec.controls) {
        if (c.options) continue;
        const words = (c.show || String)(state[c.name]);
        fields[c.name].setAttribute("aria-valuetext", words);
        fields[c.name].nextElementSibling.textContent = words;
      }
      const picture = new Picture(room()), words = spec.draw(state, picture);
      svg.setAttribute("width", picture.width);
      svg.setAttribute("height", picture.height);
      svg.innerHTML = picture;
      text.innerHTML = words;
    }

    function redraw() {
      text.setAttribute("aria-busy", "true");  // read aloud when the slider rests, not at each of its stops
      clearTimeout(quiet);
      quiet = setTimeout(() => text.removeAttribute("aria-busy"), 500);
      if (!frame) frame = requestAnimationFrame(draw);
    }

    function read(c) {
      const field = fields[c.name];
      state[c.name] = c.options ? field.value : c.list ? c.list[+field.value] : +field.value;
    }

    function play(begin) {
      const c = spec.controls.find((one) => one.name === spec.play), field = fields[c.name], toggle = live.querySelector('[data-act="play"]');
      playing = begin ? 1 : 0;
      toggle.textContent = begin ? "Stop" : "Play";
      if (!begin) return;
      let value = +field.value >= c.max ? c.min : +field.value, before = performance.now();
      const move = (now) => {
        if (!playing) return;
        value = Math.min(value + (c.max - c.min) * Math.min(now - before, 100) / 8000, c.max);
        before = now;
        field.value = value;
        read(c);
        redraw();
        if (value < c.max) requestAnimationFrame(move); else play(false);
      };
      requestAnimationFrame(move);
    }

    live.addEventListener("input", (event) => {
      if (playing) play(false);
      read(spec.controls.find((c) => c.name === event.target.dataset.name));
      redraw();
    });
    live.addEventListener("click", (event) => {
      const act = event.target.dataset.act;
      if (act === "play") play(!playing);
      if (act === "next") {
        state[spec.button.name]++;
        redraw();
      }
    });
    draw();
    new ResizeObserver(() => {
      if (Number(svg.getAttribute("width")) !== room()) redraw();
    }).observe(live);
  }

  function start() {
    M = globalThis.exploreMath;
    for (const box of document.querySelectorAll(".explore[data-explore]")) {
      const spec = widgets[box.dataset.explore];
      if (!spec || !M) continue;  // the static words stay
      build(box, spec);
    }
  }

  if (document.readyState === "complete") start();
  else window.addEventListener("DOMContentLoaded", start);
})();
