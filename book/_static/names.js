// Names for what the theme leaves nameless to screen readers: the arrows that open a part of the contents.
document.addEventListener("DOMContentLoaded", () => {
  for (const summary of document.querySelectorAll("nav summary:not([aria-label])")) {
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `The pages below ${link ? link.textContent.trim() : "this one"}`);
  }
});
