// <patch-picker data-grid="16" data-tokens="17,33-35">: an image with selectable patches. A click or Enter selects one
// patch, a drag a rectangle; with Shift, or while "select more patches" is pressed, it adds to the selection. Its links
// work without JavaScript. Its <template> holds the link to follow, with TOKENS in place of the selection.
const EVERYTHING = ["any", "cls"];

customElements.define(
  "patch-picker",
  class extends PatchCursor {
    connectedCallback() {
      this.patches = this.querySelector(".patches");
      if (!this.patches || this.cursor) return;
      this.tabIndex = 0;
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", "Image patches: arrow keys move between patches, Enter selects one, Shift and Enter add one");
      this.follow(this);
      this.addEventListener("pointerdown", (event) => this.press(event));
      this.addEventListener("mousedown", (event) => this.hold(event));
      this.addEventListener("pointermove", (event) => this.drag(event));
      this.addEventListener("pointerup", (event) => this.release(event));
      this.addEventListener("pointercancel", () => this.cancel());
      this.addEventListener("click", (event) => this.click(event));
      this.addEventListener("dragstart", (event) => event.preventDefault());
      this.addEventListener("keydown", (event) => this.key(event));
      this.adding = this.parentElement.querySelector("[data-adds]");
      this.adding?.addEventListener("click", () => this.adding.setAttribute("aria-pressed", !this.adds));
    }

    get ready() {
      return this.grid > 0;
    }

    get adds() {
      return this.adding?.getAttribute("aria-pressed") === "true";
    }

    get start() {
      const first = parseInt(this.dataset.tokens.replace("cls,", ""), 10);
      return first >= 1 ? first - 1 : (this.grid / 2) * (this.grid + 1);
    }

    words(patch) {
      return this.from === undefined || this.from === patch ? this.place(patch) : `${this.rectangle(patch).length} patches`;
    }

    // Touch scrolls the page and taps patches; a mouse or pen drags over them.
    press(event) {
      if (event.button !== 0 || event.pointerType === "touch" || event.ctrlKey || event.metaKey || this.patch === null) return;
      this.from = this.patch;
    }

    // The focus stays on the image, so that the arrow keys work, and never moves to the link of a patch.
    hold(event) {
      if (!event.target.closest?.(".patches a")) return;
      event.preventDefault();
      this.focus({ preventScroll: true });
    }

    drag(event) {
      if (this.from === undefined) return;
      if (!(event.buttons & 1)) return this.cancel();
      if (this.patch !== this.from) this.setPointerCapture(event.pointerId);
      this.draw();
    }

    release(event) {
      if (this.from === undefined || this.patch === null) return this.cancel();
      const tokens = this.rectangle(this.patch);
      this.cancel();
      this.dragged = tokens.length > 1;
      if (this.dragged) this.look(tokens, event.shiftKey);
    }

    // Ignores the click that ends a drag.
    click(event) {
      const link = event.target.closest?.(".patches a");
      if (event.ctrlKey || event.metaKey || !link) return;
      event.preventDefault();
      if (!this.dragged) this.look([[...this.patches.querySelectorAll("a")].indexOf(link) + 1], event.shiftKey);
      this.dragged = false;
    }

    key(event) {
      if (event.key === "Escape") this.cancel();
      if (event.key !== "Enter" || this.patch === null || event.target !== this) return;
      event.preventDefault();
      this.look([this.patch + 1], event.shiftKey);
    }

    cancel() {
      this.from = undefined;
      this.querySelector(".dragged")?.remove();
    }

    // Token numbers of the rectangle from the start of the drag, row by row.
    rectangle(patch) {
      const [rows, columns] = this.ends(patch);
      const tokens = [];
      for (let row = rows[0]; row <= rows[1]; row++) {
        for (let column = columns[0]; column <= columns[1]; column++) tokens.push(row * this.grid + column + 1);
      }
      return tokens;
    }

    ends(patch) {
      const between = (one, other) => [Math.min(one, other), Math.max(one, other)];
      const from = this.from ?? patch;
      const row = (at) => Math.floor(at / this.grid);
      return [between(row(from), row(patch)), between(from % this.grid, patch % this.grid)];
    }

    draw() {
      const [rows, columns] = this.ends(this.patch ?? this.from);
      let rect = this.querySelector(".dragged");
      if (!rect) {
        rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        rect.setAttribute("class", "dragged");
        this.querySelector(".selected").append(rect);
      }
      const box = { x: columns[0], y: rows[0], width: columns[1] - columns[0] + 1, height: rows[1] - rows[0] + 1 };
      for (const [name, value] of Object.entries(box)) rect.setAttribute(name, value);
    }

    look(tokens, more) {
      const before = this.dataset.tokens;
      const kept = (more || this.adds) && !EVERYTHING.includes(before) ? `${before},` : "";
      const link = this.querySelector("template").content.firstElementChild.cloneNode();
      for (const name of ["href", "hx-get"]) {
        const url = link.getAttribute(name);
        if (url) link.setAttribute(name, url.replace("TOKENS", kept + tokens.join(",")));
      }
      this.append(link);
      htmx.process(link);
      link.click();
    }
  },
);
