// <residual-map data-mse data-explained data-l0>: shows the reconstruction metrics of the patch under the pointer.
customElements.define(
  "residual-map",
  class extends PatchCursor {
    connectedCallback() {
      if (this.cursor) return;
      this.figures = ["mse", "explained", "l0"].map((name) => this.dataset[name].split(","));
      this.tabIndex = 0;
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", "Reconstruction error by patch; arrow keys move between patches");
      this.follow(this);
    }

    get ready() {
      return true;
    }

    words(patch) {
      const [mse, explained, l0] = this.figures.map((values) => values[patch]);
      return `${this.place(patch)}: explained variance ${explained} %, MSE ${mse}, L0 ${l0}`;
    }
  },
);
