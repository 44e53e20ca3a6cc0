// <feature-scatter data-points data-cards data-images data-form>: features by density and clarity. Dragging a box fills
// in the filter form, which updates the gallery.
import { PointHover } from "./point-hover.js";
import { PointPlot } from "./point-plot.js";
import { PointCards, ends, readPoints } from "./points.js";

customElements.define(
  "feature-scatter",
  class extends HTMLElement {
    async connectedCallback() {
      this.status = this.querySelector(".plot-status");
      this.form = document.getElementById(this.dataset.form);
      try {
        const points = known(await readPoints(this.dataset.points), "clarity");
        if (!this.isConnected) return;
        if (points.length) this.start(points);
        this.status.textContent = points.length ? "" : "Clarity was not computed for these features.";
      } catch (error) {
        this.status.textContent = `The points could not be loaded: ${error.message}.`;
      }
    }

    disconnectedCallback() {
      this.plot?.end();
      this.form.removeEventListener("change", this.marking);
    }

    start(points) {
      const n_images = Number(this.dataset.images);
      const xs = Float64Array.from(points.n_active, (n) => Math.log10(n / n_images));
      const cards = new PointCards(this.dataset.cards);
      this.n_images = n_images;
      this.plot = new PointPlot(this, { points, xs, ys: points.clarity, options: this.options(xs, points.clarity) });
      this.hover = new PointHover(this.plot, cards);
      this.hover.steer(this, () => {});
      this.marking = () => this.mark();
      this.form.addEventListener("change", this.marking);
      this.mark();
    }

    options(xs, ys) {
      const [left, right] = roomy(xs, 0.06);
      const [low, high] = roomy(ys, 0.06);
      const axis = {
        stroke: () => this.plot.color("--quiet"),
        font: "12px system-ui, sans-serif",
        labelFont: "13px system-ui, sans-serif",
        grid: { stroke: () => this.plot.color("--track"), width: 1 },
        ticks: { show: false },
      };
      const shares = { splits: () => decades(left, right), values: (u, splits) => splits.map(share) };
      return {
        scales: { x: { time: false, range: [left, right] }, y: { range: [low, Math.min(high, 1.02)] } },
        axes: [
          { ...axis, ...shares, label: "density (fraction of images)", size: 32, labelSize: 22 },
          { ...axis, label: "clarity (similarity of top images)", size: 44, labelSize: 22 },
        ],
        cursor: { drag: { x: true, y: true, setScale: false, dist: 4, click: () => {} } },
        hooks: { setSelect: [() => this.brush()], setSize: [() => this.mark()] },
      };
    }

    brush() {
      const { left, top, width, height } = this.plot.u.select;
      if (!width || !height) return;
      const at = (px, scale) => this.plot.u.posToVal(px, scale);
      const images = (px) => this.n_images * 10 ** at(px, "x");
      const { min_images, max_images, min_density, max_density, min_clarity, max_clarity } = this.form.elements;
      min_images.value = Math.max(Math.ceil(images(left)), 1);
      max_images.value = Math.floor(images(left + width));
      min_density.value = max_density.value = "";
      min_clarity.value = at(top + height, "y").toFixed(3);
      max_clarity.value = at(top, "y").toFixed(3);
      this.form.querySelector(".more-filters").open = true; // keep the active filters visible
      this.form.dispatchEvent(new Event("change", { bubbles: true }));
    }

    // The box follows the form, whether set by a drag, by hand or by the address.
    mark() {
      if (!this.plot?.u.over.clientWidth) return;
      const { u } = this.plot;
      const { max_images, min_images, min_clarity, max_clarity } = this.form.elements;
      const within = (px, most) => Math.min(Math.max(px, 0), most);
      const x = (n, other) => within(n ? u.valToPos(Math.log10(n / this.n_images), "x") : other, u.over.clientWidth);
      const y = (value, other) => within(value ? u.valToPos(Number(value), "y") : other, u.over.clientHeight);
      const some = max_images.value || min_clarity.value || max_clarity.value;
      const left = x(Number(min_images.value), 0);
      const top = y(max_clarity.value, 0);
      const width = some ? x(Number(max_images.value), u.over.clientWidth) - left : 0;
      const height = some ? y(min_clarity.value, u.over.clientHeight) - top : 0;
      u.setSelect({ left, top, width, height }, false);
    }
  },
);

// The points with a value in this column.
function known(points, name) {
  const chosen = Uint32Array.from(points.feature.keys()).filter((i) => !Number.isNaN(points[name][i]));
  const columns = Object.entries(points).filter(([, column]) => ArrayBuffer.isView(column));
  const kept = columns.map(([column, values]) => [column, values.constructor.from(chosen, (i) => values[i])]);
  return { ...points, ...Object.fromEntries(kept), length: chosen.length };
}

function roomy(values, margin) {
  const [low, high] = ends(values);
  const room = margin * (high - low || 1);
  return [low - room, high + room];
}

// 1, 2 and 5 in each decade if there is room, else its start.
function decades(low, high) {
  const steps = high - low < 2.5 ? [1, 2, 5] : [1];
  const found = [];
  for (let decade = Math.floor(low); decade <= high; decade++) {
    for (const step of steps) found.push(decade + Math.log10(step));
  }
  return found.filter((value) => value >= low && value <= high);
}

function share(exponent) {
  return `${Number((100 * 10 ** exponent).toPrecision(2))} %`;
}
