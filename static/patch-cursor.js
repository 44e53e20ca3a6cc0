// Base of elements that show a grid of patches: a cursor and a text for the patch under the pointer, or the one that
// the arrow keys reach. Subclasses draw the patches and define `words(patch)`; patches count row by row from the top left.
class PatchCursor extends HTMLElement {
  get grid() {
    return Number(this.dataset.grid) || 16;
  }

  // Listens to the pointer and keys of `target`, which the patches cover.
  follow(target) {
    this.cursor = document.createElement("span");
    this.cursor.className = "patch-cursor";
    this.said = document.createElement("output");
    this.said.className = "patch-words";
    this.append(this.cursor, this.said);
    this.leave();
    for (const kind of ["pointerdown", "pointermove"]) target.addEventListener(kind, (event) => this.point(event));
    // A finger leaves when lifted: the text of a tapped patch stays until the focus moves or the page scrolls.
    target.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this.leave());
    target.addEventListener("pointercancel", () => this.leave());
    target.addEventListener("focusin", () => this.enter());
    target.addEventListener("focusout", () => this.leave());
    target.addEventListener("keydown", (event) => this.step(event));
  }

  point(event) {
    const box = this.getBoundingClientRect();
    const place = (at, start, length) => Math.floor(((at - start) / length) * this.grid);
    const column = place(event.clientX, box.left, box.width);
    const row = place(event.clientY, box.top, box.height);
    const inside = Math.min(row, column) >= 0 && Math.max(row, column) < this.grid;
    if (inside) this.goto(row * this.grid + column);
    else this.leave();
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.grid, ArrowDown: this.grid }[event.key];
    if (!by || !this.ready) return;
    event.preventDefault();
    const next = (this.patch ?? this.start) + by;
    if (next >= 0 && next < this.grid ** 2) this.goto(next);
  }

  enter() {
    if (this.ready && this.patch === null) this.goto(this.start);
  }

  goto(patch) {
    if (!this.ready) return;
    this.patch = patch;
    this.style.setProperty("--row", Math.floor(patch / this.grid) / this.grid);
    this.style.setProperty("--column", (patch % this.grid) / this.grid);
    this.style.setProperty("--cell", 1 / this.grid);
    this.cursor.hidden = this.said.hidden = false;
    this.said.textContent = this.words(patch);
  }

  leave() {
    this.patch = null;
    this.cursor.hidden = this.said.hidden = true;
  }

  // The first patch for the keyboard.
  get start() {
    return 0;
  }

  place(patch) {
    return `row ${Math.floor(patch / this.grid)}, column ${patch % this.grid}`;
  }
}

// 12.3456 -> 12.3, as on the pages.
function significant(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}
