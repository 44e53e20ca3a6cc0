// A square of patches that tells what is where: under the pointer, or where the arrow keys lead while it is focused.
// Elements extend it, draw the patches, and give `words(patch)`, with patches counted row by row from the top left.
class PatchCursor extends HTMLElement {
  get grid() {
    return Number(this.dataset.grid) || 16;
  }

  // The pointer and the keys are those of `target`, which the patches cover.
  follow(target) {
    this.cursor = document.createElement("span");
    this.cursor.className = "patch-cursor";
    this.said = document.createElement("output");
    this.said.className = "patch-words";
    this.append(this.cursor, this.said);
    this.leave();
    for (const kind of ["pointerdown", "pointermove"]) target.addEventListener(kind, (event) => this.point(event));
    // A finger leaves when it is lifted: what it tapped stays told until the focus goes, or until the finger scrolls.
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

  // Where the keys begin.
  get start() {
    return 0;
  }

  place(patch) {
    return `row ${Math.floor(patch / this.grid)}, column ${patch % this.grid}`;
  }
}

// 12.3456 -> 12.3, as the pages write figures.
function significant(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}
