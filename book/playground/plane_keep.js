/* What one keeps of the playground: its address, a picture, a film. */
(function (root) {
  "use strict";

  const S = root.planeState, D = root.planeDraw;

  function say(play, words) {
    play.parts.find(".plane-said").textContent = words;
  }

  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  async function link(play) {
    play.own = play.address();
    try { root.history.replaceState(null, "", play.own); } catch { root.location.replace(play.own); }
    const address = root.location.href.replace(/#.*/, "") + play.own;
    try {
      await root.navigator.clipboard.writeText(address);
      say(play, "Copied: the address has all settings.");
    } catch {  // no leave to use the clipboard
      say(play, "The address above has all settings: copy it from there.");
    }
  }

  /** What is set, in a line. */
  function caption({ state, runs }) {
    const words = [runs.map((run) => run.name).join(" | "), `S = ${state.S}`, `levels ${state.spacing}, ${state.schedule}`];
    if (state.start !== "right") words.push(`start ${S.CHOICES.start[state.start]}`);
    if (state.predictor !== "exact") words.push(`predictor ${S.CHOICES.predictor[state.predictor]}`);
    return words.join("   ");
  }

  /** The stage on its ground, with a line below it. */
  function compose(play, context, sharp) {
    const { plan } = play;
    play.paint(context, sharp);
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = D.look.ground;
    context.fillRect(0, 0, plan.width, plan.height + 30);
    context.globalCompositeOperation = "source-over";
    context.fillStyle = D.look.ink;
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillText(caption(play), 12, plan.height + 15, plan.width - 24);
  }

  function sheet(play, sharp) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(play.plan.width * sharp / 2) * 2;  // films want even numbers
    canvas.height = Math.round((play.plan.height + 30) * sharp / 2) * 2;
    return canvas;
  }

  function picture(play) {
    const canvas = sheet(play, 2);
    compose(play, canvas.getContext("2d"), 2);
    canvas.toBlob((blob) => {
      save(blob, "ddim-plane.png");
      say(play, "Saved ddim-plane.png.");
    });
  }

  /** One way from noise to data, recorded as it is drawn. */
  function film(play) {
    const type = ["video/webm;codecs=vp9", "video/webm", "video/mp4"].find((one) => root.MediaRecorder.isTypeSupported(one));
    if (!type || play.recorder) return;
    const canvas = sheet(play, 1.5), context = canvas.getContext("2d"), parts = [], paint = play.draw;
    compose(play, context, 1.5);
    play.recorder = new MediaRecorder(canvas.captureStream(60), { mimeType: type, videoBitsPerSecond: 6e6 });
    play.recorder.ondataavailable = (event) => parts.push(event.data);
    play.recorder.onstop = () => {
      const name = `ddim-plane.${type.includes("mp4") ? "mp4" : "webm"}`;
      save(new Blob(parts, { type }), name);
      say(play, `Saved ${name}.`);
      play.recorder = null;
    };
    play.draw = () => {
      paint.call(play);
      compose(play, context, 1.5);
    };
    play.once = () => {
      play.draw = paint;
      play.recorder.stop();
    };
    say(play, "Recording one way …");
    [play.level, play.phase, play.waited] = [play.origin, "wait", 0];
    play.recorder.start();
    play.play(true);
  }

  root.planeKeep = { link, picture, film, caption };
})(globalThis);
