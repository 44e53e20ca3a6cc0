// <position-map data-counts="0,3,...">: shows how many images have their maximum at the patch under the pointer.
customElements.define(
  "position-map",
  class extends PatchCursor {
    connectedCallback() {
      this.counts = this.dataset.counts.split(",").map(Number);
      this.tabIndex = 0;
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", "Images by patch; arrow keys move between patches");
      this.follow(this);
    }

    get ready() {
      return true;
    }

    get start() {
      return this.counts.indexOf(Math.max(...this.counts));
    }

    words(patch) {
      const count = this.counts[patch];
      return `${this.place(patch)}: ${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
    }
  },
);
