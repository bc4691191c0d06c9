// On a phone a figure of several panels is too small to read: it keeps a width at which its letters have ten pixels, and
// scrolls; and it is a link to the picture itself, which can be zoomed. A line below it says so until it was scrolled (reading.js).
// Without scripts it is as wide as the page, and nothing has to be said.
const TOUCH = matchMedia("(pointer: coarse)").matches;
const READABLE = 0.73; // of its own width: letters of 13.75 px, 9 points, become 10
window.addEventListener("load", () => {
  for (const image of document.querySelectorAll(".bd-article .cell_output img, .bd-article figure img")) {
    if (image.closest("a") || !image.alt || image.naturalWidth < 1.3 * image.clientWidth) continue;
    const link = document.createElement("a");
    link.href = image.src;
    link.className = "larger";
    link.title = "Open the picture in its full size";
    const box = document.createElement("div"), whole = image.closest(".covered") ?? image;
    box.className = "wide-figure";
    for (const element of new Set([whole, image])) element.style.minWidth = `${Math.round(READABLE * image.naturalWidth)}px`;
    whole.replaceWith(box);
    box.append(link);
    link.append(whole);
    const hint = document.createElement("p");
    hint.className = "wide-hint";
    hint.textContent = TOUCH ? "swipe → to see the rest, tap to open it whole" : "scroll → to see the rest, click to open it whole";
    box.after(hint);
  }
});
