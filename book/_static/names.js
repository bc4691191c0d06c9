// What the theme and docutils leave unclear to screen readers, put right in the page.
document.addEventListener("DOMContentLoaded", () => {
  // the arrows that open a part of the contents have no name
  for (const summary of document.querySelectorAll("nav summary:not([aria-label])")) {
    const link = summary.closest("li")?.querySelector("a");
    summary.setAttribute("aria-label", `The pages below ${link ? link.textContent.trim() : "this one"}`);
  }
  // a bibliography is called a list, but its entries are not called items of one
  for (const list of document.querySelectorAll('.citation-list[role="list"]')) list.removeAttribute("role");
});
