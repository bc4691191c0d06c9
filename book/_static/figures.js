// On a phone a figure of several panels is too small to read: it keeps a width at which its smallest letters have ten pixels
// (their points are in its class, figure_letters.py), and scrolls if that is wider than the page; a line above it says so
// (reading.js). It is also a link to the picture itself, which can be zoomed. Without scripts it is as wide as the page.
const LETTERS = 10, POINT = 110 / 72; // pixels; and those of a point, at the figures' 110 dots an inch
window.addEventListener("load", () => {
  for (const image of document.querySelectorAll(".bd-article .cell_output img, .bd-article figure img")) {
    if (image.closest("a") || !image.alt || image.naturalWidth < 1.3 * image.clientWidth) continue;
    const link = document.createElement("a");
    link.href = image.src;
    link.className = "larger";
    link.title = "Open the picture in its full size";
    const box = document.createElement("div"), whole = image.closest(".covered") ?? image;
    const points = Number(image.className.match(/\bletters-(\d+)/)?.[1] ?? 9);
    const least = points && Math.min(Math.ceil((LETTERS / (points * POINT)) * image.naturalWidth), image.naturalWidth);
    box.className = "wide-figure";
    if (least > image.parentElement.clientWidth) box.classList.add("to-the-edges");
    whole.style.width = `clamp(${least}px, 100%, ${image.naturalWidth}px)`;
    whole.replaceWith(box);
    box.append(link);
    link.append(whole);
  }
  watchWide();
});
