// On a phone a figure of several panels is too small to read: make such a figure a link to the picture itself, which can be zoomed.
window.addEventListener("load", () => {
  for (const image of document.querySelectorAll(".bd-article .cell_output img, .bd-article figure img")) {
    if (image.closest("a") || !image.alt || image.naturalWidth < 1.3 * image.clientWidth) continue;
    const link = document.createElement("a");
    link.href = image.src;
    link.className = "larger";
    link.title = "Open the picture in its full size";
    image.replaceWith(link);
    link.append(image);
  }
});
