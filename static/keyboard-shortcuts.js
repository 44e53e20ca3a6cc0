// Keyboard shortcuts: j k features, t token, h heatmap, / search, ? list of shortcuts. Inactive while the user types.
// A page with a heatmap marks its switch with data-key="h".
const STEPS = { j: "next", k: "prev" };

const KEYS = {
  j: () => step("j", 1),
  k: () => step("k", -1),
  t: () => nextToken(),
  h: () => document.querySelector('[data-key="h"]')?.click(),
  "/": () => focusSearch(),
  "?": () => document.getElementById("keyboard-shortcuts")?.showModal(),
};

function step(key, by) {
  const link = document.querySelector(`.steps [rel="${STEPS[key]}"]`);
  if (link) link.click();
  else focusCard(by);
}

// On pages with many features, the keys move the focus between them, and stop at either end.
function focusCard(by) {
  const links = [...document.querySelectorAll("main .feature h3 a")];
  if (!links.length) return;
  const at = links.findIndex((link) => link.closest(".feature").contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next].focus({ preventScroll: true });
  links[next].closest(".feature").scrollIntoView({ block: "nearest" });
}

function nextToken() {
  const links = [...document.querySelectorAll(".switch a")];
  const at = links.findIndex((link) => link.hasAttribute("aria-current"));
  if (links.length > 1) links[(at + 1) % links.length].click();
}

function focusSearch() {
  const box = document.querySelector(".search input[type=search]");
  box?.focus();
  box?.select();
}

function isTyping(target) {
  return target.closest?.("input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  const press = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!press || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  press();
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest?.("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  else if (event.target.matches?.("dialog.keyboard-shortcuts")) event.target.close(); // a click on the backdrop
});
