// <activation-histogram data-max="14.2">: marks the activation of the hovered or focused image in the histogram.
customElements.define(
  "activation-histogram",
  class extends HTMLElement {
    connectedCallback() {
      this.line = this.querySelector(".pointed");
      this.words = this.querySelector("output");
      this.watch = (event) => this.mark(event.target.closest?.("[data-activation]"));
      for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, this.watch);
    }

    disconnectedCallback() {
      for (const kind of ["pointerover", "focusin"]) document.removeEventListener(kind, this.watch);
    }

    mark(image) {
      this.classList.toggle("marking", Boolean(image));
      this.words.textContent = "";
      if (!image) return;
      const value = Number(image.dataset.activation);
      const width = this.querySelector("svg").viewBox.baseVal.width;
      const x = (value / Number(this.dataset.max)) * width;
      for (const end of ["x1", "x2"]) this.line.setAttribute(end, Math.min(x, width - 0.5));
      this.words.textContent = `rank ${image.dataset.rank}: ${value.toLocaleString("en", { maximumSignificantDigits: 3 })}`;
    }
  },
);
