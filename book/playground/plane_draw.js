/* What the playground draws: on a canvas one or several lanes, each with the true density as a mist, the crowd with its trails
   and the start that is followed; and under them the gap of each lane over time, as SVG. */
(function (root) {
  "use strict";

  const P = root.planeMath, HALF = 2.55;  // half of the plane's height that is seen
  const look = {};

  /** The theme's colours, as the style sheet has them. */
  function colours(box) {
    const style = getComputedStyle(box), get = (name) => style.getPropertyValue(name).trim();
    const clusters = [...Array(8).keys()].map((k) => get(`--plane-${k}`));
    Object.assign(look, {
      ink: get("--plane-ink"), soft: get("--plane-soft"), ground: get("--plane-ground"), mist: +get("--plane-mist"), clusters,
      rgb: clusters.map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16))),
      lanes: [...Array(4).keys()].map((k) => get(`--plane-lane-${k}`)),
    });
    return look;
  }

  // ---------------------------------------------------------------- places

  /** The lanes' rectangles for a width: one high, two beside each other, four in a row or in a square. */
  function layout(width, count, small) {
    const gap = count > 1 ? 8 : 0, wide = width >= 640, columns = count === 4 && !wide ? 2 : count;
    const w = (width - gap * (columns - 1)) / columns, rows = Math.ceil(count / columns);
    const screen = Math.max(240, root.innerHeight - 385);  // the slider for time stays in view, on a phone also the chosen ring's controls
    const one = Math.min(wide ? 0.56 * width : 0.9 * width, small ? 320 : 500, small && !wide ? Infinity : screen);
    const h = Math.round(count === 1 ? one : count === 2 ? Math.min(1.1 * w, small ? 300 : 420) : Math.min(1.15 * w, 300));
    const places = Array.from({ length: count }, (_, i) => ({ x: (i % columns) * (w + gap), y: Math.floor(i / columns) * (h + gap), w, h }));
    return { width, height: rows * h + (rows - 1) * gap, places };
  }

  const scaleOf = (place) => Math.min(place.w, place.h) / 2 / HALF;
  const toScreen = (place, x, y) => [place.x + place.w / 2 + scaleOf(place) * x, place.y + place.h / 2 - scaleOf(place) * y];
  const toPlane = (place, px, py) => [(px - place.x - place.w / 2) / scaleOf(place), (place.y + place.h / 2 - py) / scaleOf(place)];

  // ---------------------------------------------------------------- the mist: the true density, coloured by cluster

  const pad = typeof document === "undefined" ? null : document.createElement("canvas");

  function mist(ctx, place, mix, abar) {
    const nx = Math.ceil(place.w / 6), ny = Math.ceil(place.h / 6), K = mix.weights.length, size = scaleOf(place), root = Math.sqrt(abar);
    const columns = [], rows = [];
    for (let k = 0; k < K; k++) {
      const v = abar * mix.variances[k] + 1 - abar, bell = (z) => Math.exp(-0.5 * z * z / v);
      columns.push(Float64Array.from({ length: nx }, (_, i) => bell(((i + 0.5) / nx - 0.5) * place.w / size - root * mix.means[k][0])));
      rows.push(Float64Array.from({ length: ny }, (_, j) => mix.weights[k] / v * bell((0.5 - (j + 0.5) / ny) * place.h / size - root * mix.means[k][1])));
    }
    const image = new ImageData(nx, ny), total = new Float64Array(nx * ny), data = image.data;
    let top = 0;
    for (let j = 0, at = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++, at++) {
        let sum = 0, r = 0, g = 0, b = 0;
        for (let k = 0; k < K; k++) {
          const p = columns[k][i] * rows[k][j], c = look.rgb[k];
          sum += p; r += p * c[0]; g += p * c[1]; b += p * c[2];
        }
        total[at] = sum;
        top = Math.max(top, sum);
        data[4 * at] = r / sum; data[4 * at + 1] = g / sum; data[4 * at + 2] = b / sum;
      }
    }
    for (let at = 0; at < total.length; at++) data[4 * at + 3] = 255 * look.mist * Math.sqrt(total[at] / top);
    pad.width = nx;
    pad.height = ny;
    pad.getContext("2d").putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = true;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(pad, place.x, place.y, place.w, place.h);
  }

  // ---------------------------------------------------------------- one lane

  function ring(ctx, place, x, y, radius, colour, width, dash = []) {
    const [px, py] = toScreen(place, x, y);
    ctx.beginPath();
    ctx.arc(px, py, radius, 0, 2 * Math.PI);
    ctx.setLineDash(dash);
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.stroke();
    ctx.setLineDash([]);
  }

  /** Screen positions of points first..last at a level. */
  function positions(run, place, level, first, last) {
    const [a, f, b, g] = P.between(run, level), out = new Float32Array(2 * (last - first)), size = scaleOf(place);
    const cx = place.x + place.w / 2, cy = place.y + place.h / 2;
    for (let i = 2 * first, o = 0; i < 2 * last; i += 2, o += 2) {
      out[o] = cx + size * (f * a[i] + g * b[i]);
      out[o + 1] = cy - size * (f * a[i + 1] + g * b[i + 1]);
    }
    return out;
  }

  function crowd(ctx, run, place, level, drawn, trails) {
    const first = P.WALKS, last = P.WALKS + drawn, now = positions(run, place, level, first, last), forward = run.asked.solver === "forward";
    const [reach, n] = trails === "whole" ? [P.T, 24] : [150, 8];
    const back = (i) => (forward ? Math.max(level - reach * i / n, 0) : Math.min(level + reach * i / n, P.T));
    const past = trails === "none" ? [] : [...Array(n).keys()].map((i) => positions(run, place, back(i + 1), first, last));
    const groups = run.mix.weights.map(() => []);
    for (let i = 0; i < drawn; i++) groups[run.of[first + i]].push(2 * i);
    ctx.lineWidth = place.h > 330 ? 1.1 : 0.9;
    groups.forEach((group, k) => {
      ctx.strokeStyle = look.clusters[k];
      for (const [from, to, alpha] of [[Math.ceil(n / 2), n, 0.12], [0, Math.ceil(n / 2), 0.28]]) {
        if (!past.length) break;
        ctx.globalAlpha = trails === "whole" ? 0.13 : alpha;
        ctx.beginPath();
        for (const i of group) {
          const begin = from ? past[from - 1] : now;
          ctx.moveTo(begin[i], begin[i + 1]);
          for (let m = from; m < to; m++) ctx.lineTo(past[m][i], past[m][i + 1]);
        }
        ctx.stroke();
      }
      ctx.globalAlpha = 0.9;
      ctx.fillStyle = look.clusters[k];
      ctx.beginPath();
      const radius = place.h > 330 ? 2.3 : 1.7;
      for (const i of group) {
        ctx.moveTo(now[i] + radius, now[i + 1]);
        ctx.arc(now[i], now[i + 1], radius, 0, 2 * Math.PI);
      }
      ctx.fill();
      ctx.globalAlpha = 1;
    });
  }

  /** The way of one point between two levels, as a line; its corners are where the solver stopped. */
  function way(run, place, i, from, to) {
    const all = new Set(run.levels.filter((t) => t <= from && t >= to)), points = [];
    for (let m = 0; m < 120; m++) all.add(from + (to - from) * m / 120);
    all.add(to);  // as it is: rounded, it may lie below the last level, where no state is
    for (const level of [...all].sort((a, b) => b - a)) {
      const [a, f, b, g] = P.between(run, level);
      points.push(toScreen(place, f * a[2 * i] + g * b[2 * i], f * a[2 * i + 1] + g * b[2 * i + 1]));
    }
    return points;
  }

  function line(ctx, points, colour, width, alpha = 1, dash = []) {
    ctx.globalAlpha = alpha;
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.setLineDash(dash);
    ctx.lineJoin = ctx.lineCap = "round";
    ctx.beginPath();
    points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  function dot(ctx, [x, y], radius, colour) {
    ctx.fillStyle = colour;
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fill();
  }

  function followed(ctx, run, place, level, exact) {
    const forward = run.asked.solver === "forward", [from, to] = forward ? [level, 0] : [P.T, level], end = forward ? 0 : -1;
    if (exact && !forward) line(ctx, way(exact, place, 0, P.T, level), look.ink, 1.2, 0.8, [2, 4]);
    if (forward || run.asked.eta > 0) {
      for (let i = 1; i < P.WALKS; i++) {
        const points = way(run, place, i, from, to);
        line(ctx, points, look.ink, 0.8, 0.22);
        dot(ctx, points.at(end), 2.6, look.ink);
      }
    }
    const points = way(run, place, 0, from, to), here = points.at(end), colour = look.clusters[run.of[0]];
    if (forward || run.asked.eta > 0) {  // a walk that turns at every step: strong where it has just been
      line(ctx, points, colour, 1.2, 0.5);
      const recent = forward ? way(run, place, 0, level, Math.max(level - 160, 0)) : way(run, place, 0, Math.min(level + 160, P.T), level);
      line(ctx, recent, colour, 2);
    } else {
      line(ctx, points, look.ground, 5, 0.8);
      line(ctx, points, colour, 2.4);
    }
    if (run.levels.length <= 31) {
      run.levels.forEach((t) => {
        if (t > from || t < to) return;
        const [a, f, b, g] = P.between(run, t);
        dot(ctx, toScreen(place, f * a[0] + g * b[0], f * a[1] + g * b[1]), 2.6, colour);
      });
    }
    dot(ctx, here, 7, look.ground);
    dot(ctx, here, 5.2, colour);
    ring(ctx, place, ...toPlane(place, ...here), 5.2, look.ink, 1.4);
  }

  /** A lane: run, place, level, what is shown. */
  function lane(ctx, run, place, level, { drawn, trails, exact, name, value, colour }) {
    ctx.save();
    ctx.beginPath();
    ctx.roundRect(place.x, place.y, place.w, place.h, 10);
    ctx.clip();
    ctx.fillStyle = look.ground;
    ctx.fillRect(place.x, place.y, place.w, place.h);
    mist(ctx, place, run.mix, Math.cos(P.angle(run.noise, level)) ** 2);
    run.asked.clusters.forEach(([x, y, , std], k) => ring(ctx, place, x, y, 2 * std * scaleOf(place), look.clusters[k], 1, [3, 4]));
    crowd(ctx, run, place, level, drawn, trails);
    followed(ctx, run, place, level, exact);
    ctx.font = `600 ${place.w > 300 ? 15 : 13}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    const words = [[name, place.x + 12, "left"], [value, place.x + place.w - 12, "right"]];
    for (const [text, x, align] of words) {
      ctx.textAlign = align;
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = look.ground;
      ctx.strokeText(text, x, place.y + 10);
      ctx.fillStyle = colour;
      ctx.fillText(text, x, place.y + 10);
    }
    ctx.restore();
  }

  // ---------------------------------------------------------------- the gap over time

  const EDGE = 12;  // half of the slider's thumb: chart and slider have the same time at the same place

  /** The chart's parts that change with the settings. runs: [{levels, gaps}], in the lanes' order. */
  function chart(width, height, runs, floor, forward) {
    const at = (level) => EDGE + (width - 2 * EDGE) * (forward ? level / P.T : 1 - level / P.T);
    const high = Math.max(0.12, ...runs.flatMap((run) => run.gaps)) * 1.12, up = (v) => height - 16 - (height - 24) * v / high;
    const fixed = (v) => v.toFixed(1);
    const ticks = runs[0].levels.length <= 101
      ? runs[0].levels.map((t) => `<path class="plane-tick" d="M${fixed(at(t))} ${height - 16}v6"/>`).join("") : "";
    const lines = runs.map((run, k) => {
      const points = [[P.T, run.gaps[0]], ...run.levels.map((t, i) => [t, run.gaps[i]])];
      return `<path class="plane-gap" style="stroke:${look.lanes[k]}" d="M${points.map(([t, v]) => `${fixed(at(t))} ${fixed(up(v))}`).join("L")}"/>`;
    });
    const step = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2].find((v) => high / v < 4.2) || 5, rules = [];
    for (let v = step; v < high * 0.97; v += step) {
      rules.push(`<path class="plane-rule" d="M${EDGE} ${fixed(up(v))}H${width - EDGE}"/><text class="plane-title" x="${EDGE - 6}" y="${fixed(up(v) + 4)}">${+v.toFixed(2)}</text>`);
    }
    return `${rules.join("")}<path class="plane-axis" d="M${EDGE} ${height - 16}H${width - EDGE}"/>${ticks}
      <path class="plane-floor" d="M${EDGE} ${fixed(up(floor))}H${width - EDGE}"/>${lines.join("")}`;
  }

  const api = { colours, layout, toScreen, toPlane, scaleOf, lane, chart, EDGE, look };
  root.planeDraw = api;
})(globalThis);
