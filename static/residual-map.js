// <residual-map data-mse data-explained data-l0>: tells what is explained of the patch that is pointed at, and what is not.
customElements.define(
  "residual-map",
  class extends PatchCursor {
    connectedCallback() {
      if (this.cursor) return;
      this.figures = ["mse", "explained", "l0"].map((name) => this.dataset[name].split(","));
      this.tabIndex = 0;
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", "What is left over, by patch; the arrow keys go from patch to patch");
      this.follow(this);
    }

    get ready() {
      return true;
    }

    words(patch) {
      const [mse, explained, l0] = this.figures.map((values) => values[patch]);
      return `${this.place(patch)}: explained ${explained} %, MSE ${mse}, L0 ${l0}`;
    }
  },
);
