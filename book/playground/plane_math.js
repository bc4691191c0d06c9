/* The mathematics of the playground in the plane: crowds of points on their way from noise to data, or up again, and how far
   they are from where they should be. The schedule, the exact predictor and the sampler's step are those of
   _static/explore_math.js; what is here is what only the plane needs. tests/test_playground.py compares every function with the
   package. A crowd of N points is an array of 2 N numbers, x and y in turn. It touches no page. */
(function (root) {
  "use strict";

  const M = root.exploreMath || require("../_static/explore_math.js");
  const T = 1000;
  const WALKS = 8;  // the first points of a crowd all begin at the one start that is followed

  // ---------------------------------------------------------------- where a crowd begins

  /** N points spread evenly over the unit square, another set for each seed (Roberts' sequence R2, moved by the seed). */
  function evenly(N, seed) {
    const g = 1.324717957244746, move = [0.5 + 0.618033988749895 * seed, 0.5 + 0.754877666246693 * seed];
    return Array.from({ length: N }, (_, i) => [(move[0] + (i + 1) / g) % 1, (move[1] + (i + 1) / (g * g)) % 1]);
  }

  /** Standard normal points: Box and Muller's on the points of `evenly`, so that chance alone makes no gap. */
  function normalPoints(N, seed) {
    return evenly(N, seed).flatMap(([u, v]) => {
      const radius = Math.sqrt(-2 * Math.log(1 - u));
      return [radius * Math.cos(2 * Math.PI * v), radius * Math.sin(2 * Math.PI * v)];
    });
  }

  const STARTS = {  // mean of x and y, and the factor of the standard deviation
    right: { mean: [0, 0], size: 1 },
    shifted: { mean: [0.8, 0], size: 1 },
    wide: { mean: [0, 0], size: 1.5 },
    narrow: { mean: [0, 0], size: 0.6 },
  };

  /** A crowd at level T: WALKS times the start that is followed, then N points. */
  function noiseCrowd(N, seed, kind, followed) {
    const { mean, size } = STARTS[kind];
    return [...Array(WALKS).fill(followed).flat(), ...normalPoints(N, seed).map((z, i) => mean[i % 2] + size * z)];
  }

  /** A crowd at level 0: N draws of the data, by shares as even as can be; and the cluster of each. */
  function dataCrowd(mix, N, seed, followed) {
    const z = normalPoints(N + WALKS, seed), x = [], of = [];
    for (let i = 0; i < N; i++) {
      let k = 0, u = (i * 0.618033988749895 + 0.5) % 1;
      while (k < mix.weights.length - 1 && u > mix.weights[k]) u -= mix.weights[k++];
      const std = Math.sqrt(mix.variances[k]);
      x.push(mix.means[k][0] + std * z[2 * i], mix.means[k][1] + std * z[2 * i + 1]);
      of.push(k);
    }
    return { x: [...Array(WALKS).fill(followed).flat(), ...x], of: [...Array(WALKS).fill(nearest(mix, followed, 0)), ...of] };
  }

  // ---------------------------------------------------------------- predictors, right and wrong

  const PREDICTORS = {
    exact: (mix) => M.predictor(mix),
    wave: (mix) => (x, abar) => M.eps(mix, x, abar).map((e, i) => e + 0.15 * Math.sin(4 * x[i])),
    short: (mix) => (x, abar) => M.eps(mix, x, abar).map((e) => 0.95 * e),
    equal: (mix) => M.predictor(M.mixture(mix.weights.map(() => 1), mix.means, mix.variances)),
  };

  // ---------------------------------------------------------------- whole paths, from x at level tau[S] down

  /** beta(t) = -d ln abar / dt at a level, by central differences (one-sided at T), as chapter 7 takes it. */
  function rate(abar, t) {
    return t === T ? Math.log(abar[T - 1] / abar[T]) : Math.log(abar[t - 1] / abar[t + 1]) / 2;
  }

  /** Euler's method in t for the flow (chapter 7). */
  function eulerPath(predict, x, schedule, tau) {
    const path = [x];
    for (let i = tau.length - 1; i > 0; i--) {
      const t = tau[i], half = (t - tau[i - 1]) * rate(schedule.abar, t) / 2, root = Math.sqrt(1 - schedule.abar[t]);
      const e = predict(x, schedule.abar[t]);
      x = x.map((v, d) => v + half * (v - e[d] / root));
      path.push(x);
    }
    return path;
  }

  /** DPM-Solver++(2M): a DDIM step whose predicted data is carried on to the middle of the step. */
  function dpmPath(predict, x, schedule, tau) {
    const path = [x];
    let last = null, lengthLast = 0;
    for (let i = tau.length - 1; i > 0; i--) {
      const [abarT, abarS] = [schedule.abar[tau[i]], schedule.abar[tau[i - 1]]], [a, b] = [Math.sqrt(abarT), Math.sqrt(1 - abarT)];
      const e = predict(x, abarT), here = x.map((v, d) => (v - b * e[d]) / a);
      let x0 = here;
      if (tau[i - 1] > 0) {
        const length = Math.log(schedule.nsr[tau[i]] / schedule.nsr[tau[i - 1]]), c = last && length / (2 * lengthLast);
        if (last) x0 = here.map((v, d) => v + c * (v - last[d]));
        [last, lengthLast] = [here, length];
      }
      x = M.ddimStep(x, x.map((v, d) => (v - a * x0[d]) / b), abarT, abarS);
      path.push(x);
    }
    return path;
  }

  /** The forward chain from the data, on the levels of tau; the path is given from the top down, as those of the samplers. */
  function forwardPath(x, schedule, tau, draw) {
    const path = [x];
    for (let i = 1; i < tau.length; i++) {
      const kept = schedule.abar[tau[i]] / schedule.abar[tau[i - 1]];
      x = x.map((v) => Math.sqrt(kept) * v + Math.sqrt(1 - kept) * draw());
      path.push(x);
    }
    return path.reverse();
  }

  /** Normal numbers for step after step of a crowd of N points: the first points get the same ones whatever N is. */
  function freshNoise(seed, N) {
    const size = 2 * (WALKS + N);
    let asked = 0, draw;
    return () => {
      if (asked % size === 0) draw = M.normals(7919 * seed + 104729 * (asked / size) + 1);
      asked++;
      return draw();
    };
  }

  const SOLVERS = ["ddim", "2m", "heun", "euler", "forward"];
  const calls = (solver, S) => (solver === "heun" ? 2 * S - 1 : solver === "forward" ? 0 : S);

  const kept = {};
  const schedule = (name) => (kept[name] ||= M[name](T));

  /**
   * One crowd's way. asked: clusters [[x, y, weight, std], ...], solver, S, eta, spacing, schedule, start, predictor, seed, followed
   * [x, y], N. Returns the levels from the top down, the state at each, the cluster of each point, and what it was asked with.
   */
  function solve(asked) {
    const mix = mixture(asked.clusters), noise = schedule(asked.schedule), tau = M.makeTau(T, asked.S, asked.spacing);
    const draw = freshNoise(asked.seed, asked.N), done = { asked, mix, noise, levels: tau.slice().reverse() };
    if (asked.solver === "forward") {
      const { x, of } = dataCrowd(mix, asked.N, asked.seed, asked.followed);
      return { ...done, states: forwardPath(x, noise, tau, draw), of };
    }
    const predict = PREDICTORS[asked.predictor](mix), x = noiseCrowd(asked.N, asked.seed, asked.start, asked.followed);
    const states = asked.solver === "2m" ? dpmPath(predict, x, noise, tau)
      : asked.solver === "heun" ? M.heunPath(predict, x, noise, tau)
      : asked.solver === "euler" ? eulerPath(predict, x, noise, tau)
      : M.ddimPath(predict, x, noise, tau, asked.eta, draw);
    const end = states[states.length - 1], of = [];
    for (let i = 0; i < end.length; i += 2) of.push(nearest(mix, end, i));
    return { ...done, states, of };
  }

  function mixture(clusters) {
    return M.mixture(clusters.map((c) => c[2]), clusters.map((c) => [c[0], c[1]]), clusters.map((c) => c[3] * c[3]));
  }

  /** The cluster that a point of the data most likely belongs to. */
  function nearest(mix, x, i) {
    let best = 0, most = -Infinity;
    for (let k = 0; k < mix.weights.length; k++) {
      const square = (x[i] - mix.means[k][0]) ** 2 + (x[i + 1] - mix.means[k][1]) ** 2;
      const log = Math.log(mix.weights[k] / mix.variances[k]) - square / (2 * mix.variances[k]);
      if (log > most) [best, most] = [k, log];
    }
    return best;
  }

  // ---------------------------------------------------------------- between the levels

  /** arctan nu at a level that need not be whole. */
  function angle(noise, level) {
    const below = Math.min(Math.floor(level), T - 1), part = level - below;
    return (1 - part) * Math.atan(noise.nsr[below]) + part * Math.atan(noise.nsr[below + 1]);
  }

  /**
   * Where a crowd is at any level in 0..T, as [state, factor, state, factor]: x = f1 x1 + f2 x2. Within a step a point moves along
   * the arc that a shorter DDIM step from its beginning would end on (Euler in t: along the line). Above tau[S] it waits.
   */
  function between(run, level) {
    const { levels, states, noise, asked } = run;
    if (level >= levels[0]) return [states[0], 1, states[0], 0];
    let i = 1;
    while (levels[i] > level) i++;
    const [t, s] = [levels[i - 1], levels[i]];
    if (asked.solver === "euler") return [states[i - 1], (level - s) / (t - s), states[i], (t - level) / (t - s)];
    const [high, low, here] = [angle(noise, t), angle(noise, s), angle(noise, level)], whole = Math.sin(high - low);
    return [states[i - 1], Math.sin(here - low) / whole, states[i], Math.sin(high - here) / whole];
  }

  // ---------------------------------------------------------------- how far a crowd is from the truth

  const REACH = 6, CELLS = 300, TURNS = 8;
  let table = null;

  /** Distribution function of the standard normal from a table; its error is below 1e-7. */
  function ndtr(x) {
    table ||= Float64Array.from({ length: 16001 }, (_, i) => M.ndtr((i - 8000) / 1000));
    const at = (Math.max(-8, Math.min(7.9999, x)) + 8) * 1000, i = Math.floor(at);
    return table[i] + (at - i) * (table[i + 1] - table[i]);
  }

  /**
   * The gap of a crowd from q_t: the mean, over 8 directions, of the Wasserstein-1 distance between the two as seen along the
   * direction, which is the area between two distribution functions (here on 301 points of [-6, 6]).
   */
  function gap(mix, x, abar, from = WALKS) {
    const n = x.length / 2 - from, step = 2 * REACH / CELLS, scale = Math.sqrt(abar);
    const std = mix.variances.map((v) => Math.sqrt(abar * v + 1 - abar));
    let sum = 0;
    for (let turn = 0; turn < TURNS; turn++) {
      const c = Math.cos(Math.PI * turn / TURNS), s = Math.sin(Math.PI * turn / TURNS), bins = new Float64Array(CELLS + 2);
      for (let i = 2 * from; i < x.length; i += 2) {
        const at = Math.ceil((c * x[i] + s * x[i + 1] + REACH) / step);
        bins[Math.max(0, Math.min(CELLS + 1, at))]++;
      }
      let below = 0;
      for (let j = 0; j <= CELLS; j++) {
        below += bins[j] / n;
        let truth = 0;
        for (let k = 0; k < std.length; k++) {
          truth += mix.weights[k] * ndtr((j * step - REACH - scale * (c * mix.means[k][0] + s * mix.means[k][1])) / std[k]);
        }
        sum += step * Math.abs(below - truth);
      }
    }
    return sum / TURNS;
  }

  /** The gap of a run at each of its levels. */
  function gaps(run) {
    return run.states.map((x, i) => gap(run.mix, x, run.noise.abar[run.levels[i]]));
  }

  /** What n true draws of the data themselves are off by, on average over some sets: chance alone. */
  function floor(mix, n, sets = 8) {
    const draw = M.normals(4242);
    let sum = 0;
    for (let set = 0; set < sets; set++) {
      const x = [];
      for (let i = 0; i < n; i++) {
        let k = 0, u = M.ndtr(draw());
        while (k < mix.weights.length - 1 && u > mix.weights[k]) u -= mix.weights[k++];
        for (const m of mix.means[k]) x.push(m + Math.sqrt(mix.variances[k]) * draw());
      }
      sum += gap(mix, x, 1, 0);
    }
    return sum / sets;
  }

  /** Shares of a crowd's points in the clusters. */
  function shares(run) {
    const counts = run.mix.weights.map(() => 0);
    for (let i = WALKS; i < run.of.length; i++) counts[run.of[i]]++;
    return counts.map((n) => n / (run.of.length - WALKS));
  }

  /** The exact flow of one start: Heun with 400 steps that are dense near the data. */
  function exactPath(asked) {
    const noise = schedule(asked.schedule), tau = M.makeTau(T, 400, "quadratic-full");
    const states = M.heunPath(mixture(asked.clusters), asked.followed, noise, tau);
    return { levels: tau.slice().reverse(), states, noise, asked: { solver: "heun" } };
  }

  const api = {
    T, WALKS, SOLVERS, STARTS, PREDICTORS, normalPoints, noiseCrowd, dataCrowd, eulerPath, dpmPath, forwardPath, freshNoise, calls, schedule, solve,
    mixture, nearest, angle, between, ndtr, gap, gaps, floor, shares, exactPath,
  };
  if (typeof module === "object" && module.exports) module.exports = api;
  else root.planeMath = api;
})(globalThis);
