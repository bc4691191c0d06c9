// The DDIM sampler, as ddim_edu has it: alpha-bar as an array over t = 0..T, steps from t down to s, one loop for every eta.
// A picture is a Float32Array of D numbers; a network is an async function eps(x, t) that gives D numbers. Nothing here touches the page.

const DDIM = (() => {
  "use strict";

  const SPACINGS = ["leading", "linspace", "trailing", "quadratic", "quadratic-full"];

  // ---------------------------------------------------------------- the steps

  /** To the nearest whole number, halves to the even one, as numpy rounds. */
  function roundHalfEven(x) {
    const below = Math.floor(x);
    if (x - below !== 0.5) return Math.round(x);
    return below % 2 === 0 ? below : below + 1;
  }

  /** `count` numbers from 0 to `stop`, both included. */
  function upTo(stop, count) {
    const step = count > 1 ? stop / (count - 1) : 0;
    return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? stop : i * step));
  }

  /** The levels 0 = tau[0] < ... < tau[S] <= T that a sampler with S steps visits; see ddim_edu.schedule.make_tau. */
  function makeTau(T, S, spacing = "trailing") {
    if (!(Number.isInteger(S) && S >= 1 && S <= T)) throw new RangeError(`S = ${S} is outside 1..${T}`);
    const top = T - 1; // levels are counted from 0 here, and 1 is added below
    const numbers = Array.from({ length: S }, (_, i) => i);
    let steps;
    if (spacing === "leading") steps = numbers.map((i) => i * Math.floor(T / S));
    else if (spacing === "linspace") steps = S > 1 ? upTo(top, S).map(roundHalfEven) : [top];
    else if (spacing === "trailing") steps = numbers.map((i) => roundHalfEven(T - (S - 1 - i) * (T / S)) - 1);
    else if (spacing === "quadratic") steps = upTo(Math.sqrt(0.8 * T), S).map((u) => Math.floor(u * u));
    else if (spacing === "quadratic-full") steps = S > 1 ? upTo(Math.sqrt(top), S).map((u) => Math.floor(u * u + 1e-9)) : [top];
    else throw new RangeError(`spacing ${spacing} is unknown`);
    const tau = steps.map((step) => step + 1);
    for (let i = 1; i < S; i++) tau[i] = Math.max(tau[i], tau[i - 1] + 1); // a repeat moves up to the next free level
    return [0, ...tau.map((t, i) => Math.min(t, T - (S - 1 - i)))]; // and none is pushed beyond T
  }

  // ---------------------------------------------------------------- one step

  /** a x + b y, number by number. */
  function combine(a, x, b, y) {
    const sum = new Float32Array(x.length);
    for (let i = 0; i < x.length; i++) sum[i] = a * x[i] + b * y[i];
    return sum;
  }

  /** The picture predicted from x_t and its noise: (x_t - sqrt(1 - abar) eps) / sqrt(abar). */
  const unmixX0 = (x, eps, abar) => combine(1 / Math.sqrt(abar), x, -Math.sqrt(1 - abar) / Math.sqrt(abar), eps);

  /** The noise that leads from x_0 to x_t: (x_t - sqrt(abar) x_0) / sqrt(1 - abar). */
  const unmixEps = (x, x0, abar) => combine(1 / Math.sqrt(1 - abar), x, -Math.sqrt(abar) / Math.sqrt(1 - abar), x0);

  /** The standard deviation of the fresh noise on the way from t to s (DDIM, eq. 16). */
  const sigma = (abarT, abarS, eta) => eta * Math.sqrt((1 - abarS) / (1 - abarT)) * Math.sqrt(1 - abarT / abarS);

  /** The state at level s, from what was predicted at level t (DDIM, eq. 12). */
  function arrive(x0, eps, abarS, sigmaS, noise) {
    const x = combine(Math.sqrt(abarS), x0, Math.sqrt(Math.max(0, 1 - abarS - sigmaS * sigmaS)), eps);
    return sigmaS > 0 ? combine(1, x, sigmaS, noise()) : x;
  }

  // ---------------------------------------------------------------- whole paths

  /**
   * From x_T at level tau[S] down to the data, one step at a time.
   * `noise()` gives D fresh normal numbers, and is asked at steps with sigma > 0 only. `clip` bounds the predicted picture (null: no bound),
   * and `edit(x0, t)` may replace it after that.
   */
  async function* path(eps, xT, alphaBar, tau, how = {}) {
    let x = xT;
    for (let i = tau.length - 1; i > 0; i--) {
      const step = down(x, await eps(x, tau[i]), alphaBar, tau[i], tau[i - 1], how);
      yield step;
      x = step.xs;
    }
  }

  /** One step of a path, from the noise that was predicted. */
  function down(x, predicted, alphaBar, t, s, { eta = 0, clip = 1, noise = null, edit = null }) {
    let found = predicted, x0 = unmixX0(x, found, alphaBar[t]);
    if (clip !== null) x0 = x0.map((v) => Math.min(clip, Math.max(-clip, v)));
    if (edit) x0 = edit(x0, t);
    if (clip !== null || edit) found = unmixEps(x, x0, alphaBar[t]); // so that the two still agree
    return { t, s, xt: x, x0, eps: found, xs: arrive(x0, found, alphaBar[s], sigma(alphaBar[t], alphaBar[s], eta), noise) };
  }

  /**
   * Several paths at once, one call of the network for all that still walk: `eps(xs, ts)` takes a list of pictures and the level of each.
   * A job is {xT, tau, and what path takes}. After each round comes the list of the jobs' last steps (null where none was made yet);
   * all end in the same round. While a round is looked at, the network is at work on the next, if `goesOn()`.
   */
  async function* together(eps, jobs, alphaBar, goesOn = () => true) {
    const rounds = Math.max(...jobs.map(({ tau }) => tau.length - 1)), steps = jobs.map(() => null), states = jobs.map(({ xT }) => xT);
    const place = (k, left) => (left < jobs[k].tau.length ? left : 0); // 0: it waits
    const walking = (left) => jobs.map((_, k) => k).filter((k) => place(k, left) > 0);
    const ask = (left) => {
      const found = eps(walking(left).map((k) => states[k]), walking(left).map((k) => jobs[k].tau[place(k, left)]));
      found.catch(() => {}); // it is heard where it is awaited, if it still is
      return found;
    };
    let asked = null;
    for (let left = rounds; left > 0; left--) {
      const found = await (asked ?? ask(left));
      walking(left).forEach((k, i) => {
        const { tau } = jobs[k], at = place(k, left);
        steps[k] = down(states[k], found[i], alphaBar, tau[at], tau[at - 1], jobs[k]);
        states[k] = steps[k].xs;
      });
      asked = left > 1 && goesOn() ? ask(left - 1) : null;
      yield [...steps];
    }
  }

  /** The same step upwards, with sigma = 0: from the data to the x at level tau[S] that leads back to it. */
  async function* invert(eps, x0, alphaBar, tau) {
    let x = x0;
    for (let i = 0; i < tau.length - 1; i++) {
      const t = tau[i], s = tau[i + 1];
      const found = await eps(x, Math.max(t, 1)); // a network knows no level 0
      const predicted = unmixX0(x, found, alphaBar[t]);
      const next = arrive(predicted, found, alphaBar[s], 0, null);
      yield { t, s, xt: x, x0: predicted, eps: found, xs: next };
      x = next;
    }
  }

  /** The last state of a path. */
  async function endOf(steps) {
    let last;
    for await (last of steps);
    return last.xs;
  }

  /**
   * The noise predictor of one class with classifier-free guidance, for lists: eps(any) + scale (eps(class) - eps(any)).
   * `network(xs, ts, labels)` takes a list of pictures, a level and a label for each; `any` is the label of any class.
   */
  function guidedAll(network, label, any, scale = 1) {
    const all = (xs, which) => xs.map(() => which);
    if (label === any || scale === 0) return (xs, ts) => network(xs, ts, all(xs, any));
    if (scale === 1) return (xs, ts) => network(xs, ts, all(xs, label));
    return async (xs, ts) => {
      const found = await network([...xs, ...xs], [...ts, ...ts], [...all(xs, any), ...all(xs, label)]);
      return xs.map((_, i) => combine(1 - scale, found[i], scale, found[xs.length + i]));
    };
  }

  /** The same for one picture. */
  function guided(network, label, any, scale = 1) {
    const eps = guidedAll(network, label, any, scale);
    return async (x, t) => (await eps([x], [t]))[0];
  }

  // ---------------------------------------------------------------- noise

  /** Normal numbers from a seed (any whole number): the same on every machine. */
  function normals(seed) {
    let state = seed >>> 0;
    const uniform = () => { // mulberry32
      state = (state + 0x6d2b79f5) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 15), z | 1);
      z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
      return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
    };
    for (let i = 0; i < 8; i++) uniform(); // seeds 0, 1, 2 begin alike
    return (count) => {
      const drawn = new Float32Array(count);
      for (let i = 0; i < count; i += 2) { // Box and Muller
        const radius = Math.sqrt(-2 * Math.log(1 - uniform())), turn = 2 * Math.PI * uniform();
        drawn[i] = radius * Math.cos(turn);
        if (i + 1 < count) drawn[i + 1] = radius * Math.sin(turn);
      }
      return drawn;
    };
  }

  /** The angle between two latents, exact near 0 and near pi too. */
  function angle(a, b) {
    const norm = (x) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));
    const ofA = norm(a), ofB = norm(b);
    let apart = 0, together = 0;
    for (let i = 0; i < a.length; i++) {
      const u = a[i] / ofA, v = b[i] / ofB;
      apart += (u - v) ** 2;
      together += (u + v) ** 2;
    }
    return 2 * Math.atan2(Math.sqrt(apart), Math.sqrt(together));
  }

  /** The point of the arc from a (u = 0) to b (u = 1). */
  function slerp(a, b, u) {
    const theta = angle(a, b);
    const share = (v) => (theta < 1e-6 ? v : Math.sin(v * theta) / Math.sin(theta));
    return combine(share(1 - u), a, share(u), b);
  }

  return { SPACINGS, makeTau, sigma, path, together, invert, endOf, guided, guidedAll, normals, angle, slerp };
})();

if (typeof module !== "undefined") module.exports = DDIM; // for the tests, outside a page
