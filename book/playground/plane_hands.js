/* What hands do in the playground: controls, handles that are dragged or moved by keys, clusters that come and go. */
(function (root) {
  "use strict";

  const S = root.planeState, D = root.planeDraw;

  const point = (state, k) => (k === "start" ? state.followed : state.clusters[k].slice(0, 2));

  function move(play, k, [x, y], busy) {
    const { state } = play, reach = S.LIMITS.followed, bound = (v) => S.round(Math.max(-reach, Math.min(reach, v)));
    if (k === "start") return play.change({ followed: [bound(x), bound(y)] }, busy);
    play.change({ clusters: state.clusters.map((c, i) => (i === +k ? S.tidy([x, y, c[2], c[3]]) : c)) }, busy);
  }

  function edit(play, k, index, factor, busy = true) {
    play.change({ clusters: play.state.clusters.map((c, i) => (i === +k ? S.tidy(c.map((v, j) => (j === index ? v * factor : v))) : c)) }, busy);
  }

  function add(play, x, y) {
    const { clusters } = play.state;
    if (clusters.length >= S.MOST) return;
    const mean = clusters.reduce((sum, c) => sum + c[2], 0) / clusters.length;
    play.selected = clusters.length;
    play.change({ clusters: [...clusters, S.tidy([x, y, mean, clusters[0][3]])] });
  }

  function remove(play, k) {
    if (play.state.clusters.length < 2) return;
    play.selected = null;
    play.change({ clusters: play.state.clusters.filter((_, i) => i !== +k) });
  }

  /** A free place for a new cluster: of points on two circles the one farthest from all clusters. */
  function place(play) {
    const far = ([x, y]) => Math.min(...play.state.clusters.map((c) => Math.hypot(c[0] - x, c[1] - y)));
    const free = Array.from({ length: 24 }, (_, i) => [(0.9 + 0.6 * (i % 2)) * Math.cos(i * Math.PI / 12), (0.9 + 0.6 * (i % 2)) * Math.sin(i * Math.PI / 12)]);
    return free.reduce((a, b) => (far(b) > far(a) + 1e-9 ? b : a));
  }

  /** The controls of the ring that was chosen, into view: as little as it takes, and the plane stays above them. */
  function bring({ full, parts }) {
    if (!full) return;
    const calm = root.matchMedia("(prefers-reduced-motion: reduce)").matches;
    parts.find(".plane-cluster").scrollIntoView({ block: "nearest", behavior: calm ? "instant" : "smooth" });
  }

  const touched = (play) => play.box.classList.add("plane-touched");

  // ---------------------------------------------------------------- dragging

  /** While a handle is dragged, time stands at the data with whole ways to see; then what ran before runs again. */
  function drag(play, event) {
    const handle = event.target.closest(".plane-handle");
    if (!handle || event.button > 0) return;
    const { k } = handle.dataset, { stage } = play.parts, was = { playing: play.playing, trails: play.state.trails };
    const at = () => D.toScreen(play.plan.places[0], ...point(play.state, k));
    const edge = stage.getBoundingClientRect(), [px, py] = at(), off = [event.clientX - edge.left - px, event.clientY - edge.top - py];
    let moved = false;
    if (k !== "start") {
      play.selected = +k;
      root.planeParts.cluster(play, play.parts);
    }
    handle.setPointerCapture(event.pointerId);
    const go = (e) => {
      if (!moved && Math.hypot(e.clientX - event.clientX, e.clientY - event.clientY) < 4) return;
      if (!moved) {
        moved = true;
        touched(play);
        play.playing = false;
        play.level = play.forward ? play.origin : play.goal;
        play.state.trails = "whole";
      }
      const here = stage.getBoundingClientRect();
      move(play, k, D.toPlane(play.plan.places[0], e.clientX - here.left - off[0], e.clientY - here.top - off[1]), true);
    };
    const end = () => {
      handle.removeEventListener("pointermove", go);
      handle.removeEventListener("pointerup", end);
      handle.removeEventListener("pointercancel", end);
      if (!moved) {
        bring(play);
        return play.wake();
      }
      play.state.trails = was.trails;
      play.settle();
      if (was.playing) play.play(true);
      else play.parts.playing(false);
    };
    handle.addEventListener("pointermove", go);
    handle.addEventListener("pointerup", end);
    handle.addEventListener("pointercancel", end);
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

  function keys(play, event) {
    const handle = event.target.closest(".plane-handle");
    if (!handle || event.ctrlKey || event.metaKey || event.altKey) return;
    const { k } = handle.dataset, start = k === "start", step = event.shiftKey ? 0.25 : 0.05, turn = ARROWS[event.key];
    const edits = { "+": [2, 1.15], "=": [2, 1.15], "-": [2, 1 / 1.15], ".": [3, 1.1], ">": [3, 1.1], ",": [3, 1 / 1.1], "<": [3, 1 / 1.1] };
    if (turn) {
      const [x, y] = point(play.state, k);
      move(play, k, [x + step * turn[0], y + step * turn[1]], true);
    } else if (!start && edits[event.key]) edit(play, k, ...edits[event.key]);
    else if (!start && (event.key === "Delete" || event.key === "Backspace")) {
      remove(play, k);
      play.parts.handles.firstChild.focus();
    } else return;
    touched(play);
    event.preventDefault();
  }

  // ---------------------------------------------------------------- controls

  function input(play, target) {
    const { name, cluster } = target.dataset;
    if (cluster) {
      const index = cluster === "weight" ? 2 : 3, value = Math.exp(+target.value);
      const clusters = play.state.clusters.map((c, i) => (i === play.selected ? S.tidy(c.map((v, j) => (j === index ? value : v))) : c));
      return play.change({ clusters }, true);
    }
    if (target === play.parts.scrub) return play.seek(play.forward ? +target.value : 1000 - target.value);
    if (!name) return;
    const value = name === "S" ? S.STEPS[+target.value] : name === "eta" ? +target.value : target.value;
    play.change({ [name]: value }, target.type === "range");
    if (!play.playing && ["view", "solver", "start", "predictor"].includes(name) && !root.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      play.level = play.origin;
      play.play(true);
    }
  }

  const ACTS = {
    play: (play) => play.play(!play.playing),
    seed: (play) => play.change({ seed: play.state.seed % 999999 + 1 }),
    add: (play) => add(play, ...place(play)),
    remove: (play) => remove(play, play.selected),
    link: (play) => root.planeKeep.link(play),
    picture: (play) => root.planeKeep.picture(play),
    film: (play) => root.planeKeep.film(play),
    reset: (play) => play.load({}),
  };

  function listen(play) {
    const { live, handles, canvas } = play.parts;
    live.addEventListener("input", (event) => input(play, event.target));
    live.addEventListener("click", (event) => {
      const act = event.target.closest("[data-act]")?.dataset.act;
      if (act) ACTS[act](play);
    });
    handles.addEventListener("pointerdown", (event) => drag(play, event));
    handles.addEventListener("keydown", (event) => keys(play, event));
    handles.addEventListener("focusin", (event) => {
      const { k } = event.target.dataset;
      if (!play.full || k === "start" || play.selected === +k) return;
      play.selected = +k;
      root.planeParts.cluster(play, play.parts);
      play.wake();
    });
    if (!play.full) return;
    canvas.addEventListener("dblclick", (event) => {
      const edge = canvas.getBoundingClientRect(), [first] = play.plan.places, [x, y] = [event.clientX - edge.left, event.clientY - edge.top];
      if (x > first.w || y > first.h) return;
      touched(play);
      add(play, ...D.toPlane(first, x, y));
    });
  }

  root.planeHands = { listen };
})(globalThis);
