/* The mathematics behind the pictures that move (explore.js): schedules, the exact noise predictor of a mixture of Gaussians, the
   one step, the levels to visit, two solvers. Names and conventions are ddim_edu's: index 0 is the data, a step goes from t to s.
   tests/test_widgets.py runs this file with node and compares every function with the package. It touches no page. */
(function (root) {
  "use strict";

  // ---------------------------------------------------------------- schedule.py

  /** The arrays of a schedule, each T + 1 long, from beta_1..beta_T. */
  function fromBetas(betas) {
    const abar = [1], nsr = [0];
    for (const beta of betas) {
      const kept = abar[abar.length - 1] * (1 - beta);
      abar.push(kept);
      nsr.push(Math.sqrt((1 - kept) / kept));
    }
    return { T: betas.length, abar, nsr };
  }

  function linear(T = 1000, first = 1e-4, last = 0.02) {
    return fromBetas(Array.from({ length: T }, (_, i) => first + (last - first) * i / Math.max(T - 1, 1)));
  }

  function cosine(T = 1000, offset = 0.008, most = 0.999) {
    const f = (t) => Math.cos((t / T + offset) / (1 + offset) * Math.PI / 2) ** 2;
    return fromBetas(Array.from({ length: T }, (_, i) => Math.min(1 - f(i + 1) / f(i), most)));
  }

  /** Standard deviation of the fresh noise from level t to s (DDIM eq. 16). */
  function sigma(abarT, abarS, eta) {
    return eta * Math.sqrt((1 - abarS) / (1 - abarT)) * Math.sqrt(1 - abarT / abarS);
  }

  const SPACINGS = ["leading", "linspace", "trailing", "quadratic", "quadratic-full"];

  function roundHalfEven(x) {  // as numpy rounds
    const r = Math.round(x);
    return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
  }

  function linspace(start, stop, n) {
    const step = (stop - start) / Math.max(n - 1, 1);
    return Array.from({ length: n }, (_, i) => (n > 1 && i === n - 1 ? stop : start + i * step));
  }

  /** The S + 1 levels that a sampler with S steps visits, from 0 upwards. */
  function makeTau(T, S, spacing = "trailing") {
    const top = T - 1, at = [...Array(S).keys()];
    const steps = {
      "leading": () => at.map((i) => i * Math.floor(T / S)),
      "linspace": () => (S > 1 ? linspace(0, top, S).map(roundHalfEven) : [top]),
      "trailing": () => at.map((i) => roundHalfEven(T - (S - 1 - i) * (T / S)) - 1),
      "quadratic": () => linspace(0, Math.sqrt(0.8 * T), S).map((r) => Math.floor(r * r)),
      "quadratic-full": () => (S > 1 ? linspace(0, Math.sqrt(top), S).map((r) => Math.floor(r * r + 1e-9)) : [top]),
    }[spacing]();
    const tau = steps.map((t) => t + 1);
    for (let i = 1; i < S; i++) tau[i] = Math.max(tau[i], tau[i - 1] + 1);  // a repeat moves up
    return [0, ...tau.map((t, i) => Math.min(t, T - (S - 1 - i)))];
  }

  // ---------------------------------------------------------------- exact.py: a mixture of round Gaussians

  /** weights (K), means (K x D), variances (K): data of the chapters. */
  function mixture(weights, means, variances) {
    const total = weights.reduce((a, b) => a + b);
    return { weights: weights.map((w) => w / total), means, variances };
  }

  /** eps*(x, abar) = E[noise | x] for one point x (D numbers), or for many that stand one after another. */
  function eps(mix, x, abar) {
    const { weights, means, variances } = mix, K = weights.length, D = means[0].length, scale = Math.sqrt(abar);
    const width = variances.map((v) => abar * v + 1 - abar), logs = new Array(K), out = new Array(x.length);
    const height = weights.map((w, k) => Math.log(w) - 0.5 * D * Math.log(width[k]));
    for (let i = 0; i < x.length; i += D) {
      let top = -Infinity, total = 0;
      for (let k = 0; k < K; k++) {
        let square = 0;
        for (let d = 0; d < D; d++) square += (x[i + d] - scale * means[k][d]) ** 2;
        logs[k] = height[k] - 0.5 * square / width[k];
        top = Math.max(top, logs[k]);
      }
      for (let d = 0; d < D; d++) out[i + d] = 0;
      for (let k = 0; k < K; k++) {
        const share = Math.exp(logs[k] - top);
        total += share;
        for (let d = 0; d < D; d++) out[i + d] += share * (x[i + d] - scale * means[k][d]) / width[k];
      }
      for (let d = 0; d < D; d++) out[i + d] *= Math.sqrt(1 - abar) / total;
    }
    return out;
  }

  /** A predictor (x, abar) => eps: a mixture's exact one, or the function itself where one is given. */
  function predictor(mix) {
    return typeof mix === "function" ? mix : (x, abar) => eps(mix, x, abar);
  }

  /** Density and distribution function of q_t on the line. */
  function density(mix, x, abar) {
    return over(mix, x, abar, (z, std) => Math.exp(-0.5 * z * z) / (std * Math.sqrt(2 * Math.PI)));
  }

  function cdf(mix, x, abar) {
    return over(mix, x, abar, ndtr);
  }

  function over(mix, x, abar, f) {
    let sum = 0;
    for (let k = 0; k < mix.weights.length; k++) {
      const std = Math.sqrt(abar * mix.variances[k] + 1 - abar);
      sum += mix.weights[k] * f((x - Math.sqrt(abar) * mix.means[k][0]) / std, std);
    }
    return sum;
  }

  /** Distribution function of the standard normal, by its series; absolute error about 1e-15. */
  function ndtr(x) {
    if (Math.abs(x) > 8) return x > 0 ? 1 : 0;
    let sum = x, term = x;
    for (let i = 3, last = NaN; sum !== last; i += 2) {
      last = sum;
      term *= x * x / i;
      sum += term;
    }
    return 0.5 + sum * Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
  }

  /** Where an increasing function reaches u, by halving [low, high]. */
  function invert(f, u, low = -8, high = 8) {
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (f(middle) < u) low = middle; else high = middle;
    }
    return (low + high) / 2;
  }

  /** The same for many u, from a table with straight lines between its points: fast, good to six digits. */
  function inverseTable(f, low = -6, high = 6, n = 4001) {
    const x = linspace(low, high, n), y = x.map(f);
    return (u) => {
      let a = 0, b = n - 1;
      if (u <= y[a]) return low;
      if (u >= y[b]) return high;
      while (b - a > 1) {
        const middle = (a + b) >> 1;
        if (y[middle] < u) a = middle; else b = middle;
      }
      return x[a] + (x[b] - x[a]) * (u - y[a]) / (y[b] - y[a]);
    };
  }

  // ---------------------------------------------------------------- sampler.py, solvers.py

  /** One step from level t to level s (DDIM eq. 12); z is needed where sigma > 0. */
  function ddimStep(x, e, abarT, abarS, sig = 0, z = null) {
    const onX0 = Math.sqrt(abarS / abarT), out = new Array(x.length);
    const onEps = Math.sqrt(Math.max(1 - abarS - sig * sig, 0)) - onX0 * Math.sqrt(1 - abarT);
    for (let d = 0; d < x.length; d++) out[d] = onX0 * x[d] + onEps * e[d] + (sig > 0 ? sig * z[d] : 0);
    return out;
  }

  /** All states of one walk, from x at level tau[S] down to the data, or of many. draw() gives one normal number; `mix` is a
      mixture or a predictor. */
  function ddimPath(mix, x, schedule, tau, eta = 0, draw = null) {
    const path = [x], predict = predictor(mix);
    for (let i = tau.length - 1; i > 0; i--) {
      const abarT = schedule.abar[tau[i]], abarS = schedule.abar[tau[i - 1]], sig = sigma(abarT, abarS, eta);
      x = ddimStep(x, predict(x, abarT), abarT, abarS, sig, sig > 0 ? x.map(draw) : null);
      path.push(x);
    }
    return path;
  }

  /** Heun's method in the clock of DDIM: two predictions a step, but one in the last. */
  function heunPath(mix, x, schedule, tau) {
    const path = [x], predict = predictor(mix);
    for (let i = tau.length - 1; i > 0; i--) {
      const abarT = schedule.abar[tau[i]], abarS = schedule.abar[tau[i - 1]], first = predict(x, abarT);
      const ahead = ddimStep(x, first, abarT, abarS);
      if (tau[i - 1] === 0) x = ahead;
      else {
        const second = predict(ahead, abarS);
        x = ddimStep(x, first.map((e, d) => (e + second[d]) / 2), abarT, abarS);
      }
      path.push(x);
    }
    return path;
  }

  /** A source of standard normal numbers that repeats for its seed (mulberry32, Box and Muller). */
  function normals(seed) {
    let a = seed >>> 0;
    const uniform = () => {
      a = (a + 0x6d2b79f5) >>> 0;
      let t = Math.imul(a ^ (a >>> 15), a | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }

  const api = {
    fromBetas, linear, cosine, sigma, SPACINGS, linspace, makeTau, mixture, eps, predictor, density, cdf, ndtr, invert, inverseTable,
    ddimStep, ddimPath, heunPath, normals,
  };
  if (typeof module === "object" && module.exports) module.exports = api;
  else root.exploreMath = api;
})(globalThis);
