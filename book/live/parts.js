// What the live page is made of: controls with labels, pictures, boards that one paints on, and panels that run when they are in sight.

const LiveParts = (() => {
  "use strict";

  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const shape = { side: 8, channels: 1 }; // of the network's pictures; the page sets it

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

  /** Lets the page draw, and hear the reader. A timer would do the same, but browsers make it wait for 4 ms. */
  function sleep() {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve) => {
      port1.onmessage = () => (port1.close(), resolve());
      port2.postMessage(0);
    });
  }

  const rms = (a, b) => Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length);
  const seconds = (ms) => (ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
  const between = (low, v, high) => Math.min(high, Math.max(low, v));

  // ---------------------------------------------------------------- controls

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
  const button = (text, act, sign = "") => {
    const made = make("button", { type: "button", className: "live-button", onclick: act });
    if (sign) made.append(icon(`${sign} `));
    made.append(text);
    return made;
  };
  const seedOf = (control) => between(0, Math.floor(Number(control.value) || 0), 999999);

  // ---------------------------------------------------------------- pictures

  const small = document.createElement("canvas");

  /** A picture in its own pixels, on a small canvas: from -1, black, to 1, white; what is beyond is cut. */
  function pixels(x, { side, channels } = shape) {
    const size = side * side;
    small.width = small.height = side;
    const data = new ImageData(side, side);
    const level = (v) => Math.round(127.5 * (between(-1, v, 1) + 1));
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) data.data[4 * i + c] = level(x[(c % channels) * size + i]);
      data.data[4 * i + 3] = 255;
    }
    small.getContext("2d").putImageData(data, 0, 0);
    return small;
  }

  class Picture {
    constructor(caption, { sharp = false, of = shape } = {}) {
      Object.assign(this, { sharp, of }); // of: the side and channels of the pictures shown here
      this.canvas = make("canvas", { width: 224, height: 224 });
      this.canvas.setAttribute("role", "img");
      this.caption = make("figcaption", {}, html(caption));
      this.box = make("figure", { className: "live-picture" }, this.canvas, this.caption);
      this.label(`${this.caption.textContent || "A picture"}: not run yet`);
    }

    show(x, label) {
      const context = this.canvas.getContext("2d");
      context.imageSmoothingEnabled = !this.sharp; // 8 x 8 pixels as squares are hard to read
      context.imageSmoothingQuality = "high";
      context.drawImage(pixels(x, this.of), 0, 0, this.canvas.width, this.canvas.height);
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

  /** Pictures of the same size in rows, as a PNG that the browser saves. */
  function save(rows, name, size = 96) {
    const canvas = make("canvas", { width: size * Math.max(...rows.map((row) => row.length)), height: size * rows.length });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = shape.side < 32;
    context.imageSmoothingQuality = "high";
    rows.forEach((row, i) => row.forEach((x, j) => context.drawImage(pixels(x), j * size, i * size, size, size)));
    const link = make("a", { href: canvas.toDataURL("image/png"), download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  // ---------------------------------------------------------------- a board to paint on

  /** A picture that one paints on with mouse, finger or keys. `dab(column, row, erase)` paints; `changed()` follows a stroke. */
  class Board {
    constructor(caption, name, { show, dab, changed }) {
      this.picture = new Picture(caption, { sharp: true });
      this.box = this.picture.box;
      this.act = { show, dab, changed };
      this.cursor = [0, 0];
      this.erasing = false;
      this.eraser = button("Eraser", () => this.erase(!this.erasing), "◻");
      this.erase(false);
      this.spoken = make("span", { className: "live-spoken" });
      this.spoken.setAttribute("aria-live", "polite");
      const { canvas } = this.picture;
      canvas.tabIndex = 0;
      canvas.classList.add("live-board");
      canvas.setAttribute("role", "application");
      this.picture.label(`${name}. Arrow keys move the pen, space paints, Delete erases.`);
      this.listen(canvas);
    }

    erase(on) {
      this.erasing = on;
      this.eraser.setAttribute("aria-pressed", on);
    }

    place() {
      this.cursor = [shape.side >> 1, shape.side >> 1];
    }

    draw() {
      this.act.show(this.picture);
      const { canvas } = this.picture;
      if (document.activeElement !== canvas || !canvas.matches(":focus-visible")) return;
      const context = canvas.getContext("2d"), unit = canvas.width / shape.side;
      context.strokeStyle = "#e8590c";
      context.lineWidth = 3;
      context.strokeRect(this.cursor[0] * unit + 1.5, this.cursor[1] * unit + 1.5, unit - 3, unit - 3);
    }

    listen(canvas) {
      let last = null, stroke = false; // where the pen was, and whether it rubs out
      const top = () => shape.side - 1;
      const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top].map((v) => between(0, Math.floor((v / box.width) * shape.side), top()));
      };
      const line = (from, to) => {
        const count = Math.max(1, Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
        for (let k = 1; k <= count; k++) this.act.dab(...from.map((v, axis) => Math.round(v + ((to[axis] - v) * k) / count)), stroke);
      };
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button && event.button !== 2 && event.button !== 5) return;
        canvas.setPointerCapture(event.pointerId);
        stroke = this.erasing || event.button === 2 || event.button === 5; // the right button, and a pen's own eraser
        last = at(event);
        this.act.dab(...last, stroke);
        this.draw();
      });
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      canvas.addEventListener("pointermove", (event) => {
        if (!last) return;
        const next = at(event);
        if (next[0] === last[0] && next[1] === last[1]) return;
        line(last, next);
        last = next;
        this.draw();
      });
      for (const kind of ["pointerup", "pointercancel"])
        canvas.addEventListener(kind, () => {
          if (last) this.act.changed();
          last = null;
        });
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      canvas.addEventListener("keydown", (event) => {
        const move = moves[event.key], paint = { " ": 1, Enter: 1, Delete: -1, Backspace: -1 }[event.key];
        if (!move && !paint) return;
        event.preventDefault();
        if (move) this.cursor = this.cursor.map((v, axis) => between(0, v + move[axis], top()));
        const rubs = paint < 0 || this.erasing;
        if (paint) this.act.dab(...this.cursor, rubs);
        this.draw();
        this.spoken.textContent = `row ${this.cursor[1] + 1}, column ${this.cursor[0] + 1}${paint ? (rubs ? ", erased" : ", painted") : ""}`;
        if (paint) this.act.changed();
      });
      for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.draw());
    }
  }

  // ---------------------------------------------------------------- panels

  /** Scroll as little as brings it into view, and not at all if it is there; the page's scroll-padding leaves room for the settings. */
  const bring = (box) => box.scrollIntoView({ block: "nearest", behavior: calm.matches ? "instant" : "smooth" });

  /** A part of the page that shows a run. `work(alive)` is begun anew whenever the panel is stale, in sight, and `ready()`. */
  class Panel {
    constructor(name, ready, work) {
      this.box = document.querySelector(`[data-live=${name}]`);
      this.ready = ready;
      this.work = work;
      this.stale = true;
      this.turn = 0;
      this.status = make("p", { className: "live-status" });
      this.status.setAttribute("role", "status");
      const seen = new Set();
      const look = (entries) => {
        for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target);
        this.inSight = seen.size > 0;
        this.wake();
      };
      this.sight = new IntersectionObserver(look, { rootMargin: "200px" });
      this.sight.observe(this.box);
    }

    /** Another place where this panel's pictures stand: it runs when that is in sight, too. */
    shownToo(box) {
      this.sight.observe(box);
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
      if (!this.stale || !this.inSight || !this.ready()) return;
      this.stale = false;
      const mine = ++this.turn;
      this.box.dataset.state = "running";
      try {
        await this.work(() => mine === this.turn);
      } catch (error) {
        this.status.textContent = `The run stopped: ${error.message}`;
      }
      if (mine === this.turn) Object.assign(this.box.dataset, { state: "done", turn: mine });
    }
  }

  return { calm, shape, make, html, icon, sleep, rms, seconds, between, field, slider, number, choice, button, seedOf, Picture, save, Board, Panel, bring };
})();
