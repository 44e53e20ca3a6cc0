// <feature-heatmap data-image="12">: a feature's activation at each patch, drawn over the image. <heatmap-panel> fetches the
// values. Transparent where the feature does not fire.
const MAGMA = ["#4f127b", "#812581", "#b5367a", "#e55964", "#fb8761", "#fec287"].map((hex) =>
  [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);

// The color of a fraction (0 to 1) of the maximum, as [red, green, blue, alpha], each 0 to 255.
function heatColor(part, strength) {
  const at = Math.min(part, 1) * (MAGMA.length - 1);
  const low = Math.min(Math.floor(at), MAGMA.length - 2);
  const mixed = MAGMA[low].map((value, i) => value + (MAGMA[low + 1][i] - value) * (at - low));
  return [...mixed, 255 * strength * Math.sqrt(Math.min(part, 1))];
}

customElements.define(
  "feature-heatmap",
  class extends PatchCursor {
    connectedCallback() {
      if (!this.canvas) {
        this.canvas = document.createElement("canvas");
        this.canvas.setAttribute("role", "img");
        this.append(this.canvas);
        this.follow(this.parentElement);
        this.clear();
      }
      document.dispatchEvent(new CustomEvent("feature-heatmap", { detail: this }));
    }

    // `heat`: {patches, cls}; `highest`: the value with the strongest color.
    show(heat, highest, strength) {
      this.heat = heat;
      this.canvas.hidden = false;
      const silent = heat.patches.every((value) => value <= 0);
      this.note(silent ? (heat.cls > 0 ? `only at CLS: ${significant(heat.cls)}` : "does not fire") : null);
      this.paint(heat.patches, highest, strength);
      this.canvas.setAttribute("aria-label", this.summary());
    }

    fail(words) {
      this.clear();
      this.note(words, "heatmap-problem");
    }

    clear() {
      this.heat = null;
      this.canvas.hidden = true;
      this.note(null);
      this.leave();
    }

    get ready() {
      return this.heat !== null;
    }

    get start() {
      return this.heat.patches.indexOf(Math.max(...this.heat.patches));
    }

    words(patch) {
      return `${this.place(patch)}: ${significant(this.heat.patches[patch])}`;
    }

    summary() {
      const { patches, cls } = this.heat;
      const firing = patches.filter((value) => value > 0).length;
      const at = firing ? `highest ${this.words(this.start)}` : "does not fire at any patch";
      return `heatmap: ${at}; above zero at ${firing} of ${patches.length} patches; at CLS ${significant(cls)}`;
    }

    paint(patches, highest, strength) {
      const [side, context] = [this.grid, this.canvas.getContext("2d")];
      this.canvas.width = this.canvas.height = side;
      const pixels = context.createImageData(side, side);
      patches.forEach((value, patch) => {
        if (value > 0 && highest > 0) pixels.data.set(heatColor(value / highest, strength), 4 * patch);
      });
      context.putImageData(pixels, 0, 0);
    }

    // A note in the corner of the image: why no patch is colored.
    note(words, kind = "heatmap-words") {
      this.querySelector(".heatmap-words, .heatmap-problem")?.remove();
      if (!words) return;
      const said = document.createElement("span");
      said.className = kind;
      said.textContent = words;
      this.append(said);
    }
  },
);
