// The players of a cell's sounds become buttons with their names and lengths, which the build has read off the files: a browser knows the
// length of a sound only once it has fetched it. Without scripts, and in JupyterLab, the browser's own players stand there.
document.addEventListener("DOMContentLoaded", () => {
  const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
  let playing = null; // what ends the sound that is heard now

  function button(sound, name) {
    const seconds = Number((sound.querySelector("source") ?? sound).dataset.seconds), made = make("button", "sound"), does = make("span", "sound-does", "Play ");
    const time = make("span", "sound-time", `${seconds.toFixed(1)} s`), sign = make("span", "sound-sign");
    made.type = "button";
    made.classList.toggle("long", name.length > 24);
    made.style.setProperty("--seconds", `${seconds}s`);
    sign.setAttribute("aria-hidden", "true");
    made.append(sign, does, make("span", "sound-name", name), " ", time);
    sound.controls = false;
    sound.hidden = true;

    const end = () => {
      made.classList.remove("playing");
      does.textContent = "Play ";
      if (playing === end) playing = null;
      sound.pause();
      sound.currentTime = 0;
    };
    const begin = () => {
      playing?.();
      playing = end;
      does.textContent = "Stop ";
      sound.play().catch((error) => {
        if (error.name !== "AbortError") time.textContent = "can’t be played"; // it was stopped before it began, or its file is missing
        if (playing === end) end();
      });
    };
    sound.addEventListener("playing", () => playing === end && made.classList.add("playing"));
    sound.addEventListener("ended", end);
    made.addEventListener("click", () => (playing === end ? end() : begin()));
    return made;
  }

  for (const cell of document.querySelectorAll(".cell_output")) {
    const outputs = [...cell.querySelectorAll(".text_html:has(audio[controls])")], group = make("div", "sounds");
    if (!outputs.length) continue;
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Sounds");
    for (const output of outputs) {
      const above = output.previousElementSibling?.matches("p") ? output.previousElementSibling : null; // the name of a player that has none
      for (const sound of output.querySelectorAll("audio[controls]")) {
        group.append(button(sound, sound.getAttribute("aria-label") ?? above?.textContent ?? "the sound"), sound);
      }
      above?.remove();
      if (output === outputs[0]) output.replaceChildren(group);
      else output.remove();
    }
  }
});
