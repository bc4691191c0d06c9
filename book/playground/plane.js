/* The playground in the plane: every <div class="plane" data-plane="name"> becomes a stage with a slider for time and controls.
   The mathematics is in plane_math.js, the settings in plane_state.js, the drawing in plane_draw.js, export in plane_keep.js.
   What stood in the div stays for print and for pages without scripts. */
(function (root) {
  "use strict";

  const P = root.planeMath, S = root.planeState, D = root.planeDraw;
  const SECONDS = { way: 6, wait: 0.5, rest: 2.2, back: 0.9 };
  const still = () => root.matchMedia("(prefers-reduced-motion: reduce)").matches;
    let made = 0;

  class Playground {
    constructor(box, piece) {
      this.box = box;
      this.spec = S.PIECES[piece];
      this.full = this.spec.controls === "all";
      this.id = `plane-${++made}`;
      this.state = { ...S.DEFAULTS, ...this.spec.set, ...(this.full ? S.read(root.location.hash) : {}) };
      this.selected = null;
      this.cost = [];  // milliseconds of the last frames
      this.parts = root.planeParts.build(this);
      this.context = this.parts.canvas.getContext("2d");
      root.planeHands.listen(this);
      this.level = this.state.t ?? (still() ? this.goal : this.forward ? 0 : 460);
      this.playing = this.state.t === undefined && !still();
      this.phase = "way";
      this.parts.playing(this.playing);
      D.colours(box);
      this.settle(true);  // what is seen first, the rest of the crowd a moment later
      this.watch();
    }

    get forward() { return this.lanes[0].solver === "forward"; }
    get lanes() { return S.lanes(this.state); }
    get goal() { return this.forward ? P.T : 0; }
    get origin() { return this.forward ? 0 : P.T; }

    // -------------------------------------------------------------- what has to be computed anew

    /** New settings: compute, draw. `busy`: a finger is still moving, so compute what is drawn alone, and the rest when it rests. */
    settle(busy = false) {
      clearTimeout(this.rest);
      this.dirty = busy ? "quick" : "whole";
      if (busy) this.rest = setTimeout(() => this.settle(), 300);
      this.wake();
    }

    change(settings, busy = false) {
      const before = this.forward;
      Object.assign(this.state, settings);
      if (settings.view === "pair" && this.state.eta === 0) this.state.eta = 1;
      if (before !== this.forward) this.level = this.playing ? this.origin : this.goal;
      this.settle(busy);
    }

    compute() {
      const { state, spec } = this, N = this.dirty === "quick" ? spec.drawn : spec.points;
      const common = { ...state, N };
      this.runs = this.lanes.map((lane) => {
        const run = P.solve({ ...common, ...lane });
        return { ...run, name: lane.name, gaps: P.gaps(run) };
      });
      this.exact = state.predictor === "exact" && !this.forward ? P.exactPath(state) : null;
      const key = JSON.stringify([state.clusters, N]);
      if (this.floorOf !== key) [this.floorOf, this.floor] = [key, P.floor(P.mixture(state.clusters), N)];
      this.dirty = "";
      this.parts.tell(this);
      if (this.full && this.ready) this.remember();
      this.ready = true;
    }

    /** The settings into the address, so that it can be shared. */
    remember() {
      clearTimeout(this.writing);
      this.writing = setTimeout(() => {
        const address = this.address();
        if (address === (root.location.hash || "#")) return;
        this.own = address;
        try { root.history.replaceState(null, "", address); } catch { root.location.replace(address); }
      }, 250);
    }

    address() {
      return S.write(this.state, this.playing || this.level === this.goal ? null : this.level);
    }

    // -------------------------------------------------------------- time

    /** Levels a second: half as the angle goes, in which a crowd moves evenly, half as t. */
    pace() {
      const noise = P.schedule(this.state.schedule), low = Math.max(this.level - 1, 0), high = Math.min(this.level + 1, P.T);
      const turn = (P.angle(noise, high) - P.angle(noise, low)) / (high - low) / P.angle(noise, P.T);
      return 1 / (SECONDS.way * (0.35 / P.T + 0.65 * turn));
    }

    advance(seconds) {
      const way = this.forward ? 1 : -1, wait = (next, time) => {
        this.waited = (this.waited || 0) + seconds;
        if (this.waited > time) [this.phase, this.waited] = [next, 0];
      };
      if (this.phase === "wait") wait("way", SECONDS.wait);
      else if (this.phase === "rest") {
        if (this.waited + seconds > SECONDS.rest && this.once) {
          this.once();
          this.once = null;
          this.play(false);
        } else wait("back", SECONDS.rest);
      } else if (this.phase === "back") {
        this.level -= way * P.T * seconds / SECONDS.back;
        if (way * (this.level - this.origin) <= 0) [this.level, this.phase, this.waited] = [this.origin, "wait", 0];
      } else {
        this.level += way * this.pace() * seconds;
        if (way * (this.level - this.goal) >= 0) [this.level, this.phase, this.waited] = [this.goal, "rest", 0];
      }
    }

    play(on) {
      if (on && this.level === this.goal) [this.level, this.phase, this.waited] = [this.origin, "wait", 0];
      else if (on) this.phase = "way";
      this.playing = on;
      if (!on && this.phase === "back") this.level = this.goal;
      this.parts.playing(on);
      if (!on && this.full) this.remember();
      this.wake();
    }

    seek(level) {
      if (this.playing) this.play(false);
      this.level = level;
      if (this.full) this.remember();
      this.wake();
    }

    // -------------------------------------------------------------- frames

    wake() {
      if (!this.frame && this.seen !== false) this.frame = requestAnimationFrame((now) => this.tick(now));
    }

    tick(now) {
      this.frame = 0;
      const begun = performance.now(), seconds = Math.min((now - (this.last || now)) / 1000, 0.05);
      this.last = this.playing ? now : 0;
      if (this.dirty) this.compute();
      if (this.playing) this.advance(seconds);
      this.draw();
      this.cost.push(performance.now() - begun);
      if (this.cost.length > 240) this.cost.shift();
      if (this.playing) this.wake();
    }

    draw() {
      const { canvas } = this.parts, width = this.parts.stage.clientWidth, sharp = Math.min(root.devicePixelRatio || 1, 2);
      if (!width) return;  // not shown, as on paper
      const plan = D.layout(width, this.runs.length, !this.full);
      if (this.plan?.width !== plan.width || this.plan.height !== plan.height || this.sharp !== sharp) {
        canvas.width = Math.round(plan.width * sharp);
        canvas.height = Math.round(plan.height * sharp);
        canvas.style.height = `${plan.height}px`;
      }
      [this.plan, this.sharp] = [plan, sharp];
      this.paint(this.context, sharp);
      this.parts.place(this);
    }

    paint(context, sharp) {
      const { plan, runs, state } = this, many = runs.length > 1;
      context.setTransform(sharp, 0, 0, sharp, 0, 0);
      context.clearRect(0, 0, plan.width, plan.height);
      runs.forEach((run, k) => D.lane(context, run, plan.places[k], this.level, {
        drawn: Math.min(this.spec.drawn, run.asked.N), trails: this.phase === "back" && this.playing ? "none" : state.trails, exact: this.exact,
        name: run.name, value: `${plan.places[k].w > 9 * (run.name.length + 8) ? "gap " : ""}${this.gapNow(run).toFixed(2)}`, colour: many ? D.look.lanes[k] : D.look.ink,
      }));
    }

    /** The gap at the level shown, on a line between the levels at which it was measured. */
    gapNow({ levels, gaps }) {
      if (this.level >= levels[0]) return gaps[0];
      const i = levels.findIndex((t) => t <= this.level), part = (levels[i - 1] - this.level) / (levels[i - 1] - levels[i]);
      return (1 - part) * gaps[i - 1] + part * gaps[i];
    }

    // -------------------------------------------------------------- the world around

    watch() {
      const recolour = () => {
        D.colours(this.box);
        if (this.runs) this.parts.tell(this);
        this.wake();
      };
      new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      const { stage, chart } = this.parts, fits = () => stage.clientWidth === this.plan?.width && chart.parentElement.clientWidth === +chart.getAttribute("width");
      const resized = new ResizeObserver(() => this.runs && !fits() && (this.parts.tell(this), this.wake()));
      for (const box of [stage, chart.parentElement]) resized.observe(box);
      new IntersectionObserver((entries) => {
        this.seen = entries.at(-1).isIntersecting;
        this.wake();
      }, { rootMargin: "100px" }).observe(this.parts.stage);
      if (!this.full) return;
      document.addEventListener("click", (event) => {
        const wanted = event.target.closest("[data-try]");
        if (!wanted) return;
        root.location.hash = wanted.dataset.try;
        this.box.scrollIntoView({ block: "start" });
      });
      root.addEventListener("hashchange", () => {
        if (root.location.hash === this.own) return;
        if (!/=/.test(root.location.hash) && root.location.hash.length > 1) return;  // a heading of the page
        this.load(S.read(root.location.hash));
      });
    }

    /** Settings in the place of the present ones, as an address gives them. */
    load(settings) {
      this.state = { ...S.DEFAULTS, ...this.spec.set, ...settings };
      this.selected = null;
      this.parts.show(this);
      this.level = settings.t ?? this.origin;
      this.phase = "way";
      this.settle();
      if (settings.t === undefined && still()) this.level = this.goal;
      this.play(settings.t === undefined && !still());
    }
  }

  function start() {
    for (const box of document.querySelectorAll(".plane[data-plane]")) {
      if (box.dataset.plane in S.PIECES) box.playground = new Playground(box, box.dataset.plane);
    }
  }

  if (document.readyState === "complete") start();
  else root.addEventListener("DOMContentLoaded", start);
})(globalThis);
