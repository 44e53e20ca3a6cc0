// <feature-map data-points data-cards data-color data-feature>: the features of a slot as a map. Arrow keys move between
// points; a drag, or Shift and arrow keys, pan; wheel, pinch, + and - zoom. `feature-matches` and the form beside it set
// which points are highlighted and how points are colored.
import { Camera } from "./map-camera.js";
import { MapNames } from "./map-names.js";
import { PointHover } from "./point-hover.js";
import { PointPlot } from "./point-plot.js";
import { PointCards, ends, readPoints, spread } from "./points.js";

const CLOSEST = 1 / 64; // smallest visible part of the map

customElements.define(
  "feature-map",
  class extends HTMLElement {
    async connectedCallback() {
      this.status = this.querySelector(".plot-status");
      try {
        const points = await readPoints(this.dataset.points);
        if (!this.isConnected) return;
        this.start(points);
        this.status.textContent = "";
      } catch (error) {
        this.status.textContent = `The points could not be loaded: ${error.message}.`;
      }
    }

    disconnectedCallback() {
      this.plot?.end();
      document.removeEventListener("matches", this.matched);
      document.removeEventListener("change", this.colored);
    }

    start(points) {
      const frame = this.querySelector(".plot-frame");
      this.camera = new Camera(frame.clientWidth, frame.clientHeight, [ends(points.x), ends(points.y)], CLOSEST);
      const options = {
        scales: {
          x: { time: false, range: () => this.camera.ranges().x },
          y: { range: () => this.camera.ranges().y },
        },
        axes: [{ show: false }, { show: false }],
        padding: [0, 0, 0, 0],
        cursor: { drag: { x: false, y: false } },
        hooks: { setSize: [(u) => this.camera.resize(u.over.clientWidth, u.over.clientHeight)] },
      };
      const names = new MapNames(points);
      const onDraw = (u, view) => names.draw(u, view, this.plot);
      this.plot = new PointPlot(this, { points, xs: points.x, ys: points.y, options, onDraw });
      this.hover = new PointHover(this.plot, new PointCards(this.dataset.cards));
      this.camera.steer(this.plot.u.over, this, () => this.move());
      this.hover.steer(this, (i) => this.camera.follow(points.x[i], points.y[i]));
      this.follow();
    }

    follow() {
      this.matched = (event) => this.highlight(event.detail);
      this.colored = (event) => event.target.name === "color" && this.colorBy(event.target.value);
      document.addEventListener("matches", this.matched);
      document.addEventListener("change", this.colored);
      for (const button of this.querySelectorAll("button[data-zoom]")) {
        button.addEventListener("click", () => this.camera.press(button.dataset.zoom));
      }
      this.colorBy(this.dataset.color);
      this.highlight(document.querySelector("feature-matches")?.features);
      const marked = this.plot.points.feature.indexOf(Number(this.dataset.feature || NaN));
      if (marked >= 0) this.goTo(marked);
    }

    goTo(i) {
      this.camera.lookAt(this.plot.xs[i], this.plot.ys[i], 1 / 4);
      this.hover.pinned = true;
      this.hover.show(i, 0);
    }

    move() {
      if (this.moving) return;
      this.moving = requestAnimationFrame(() => {
        this.moving = 0;
        const { x, y } = this.camera.ranges();
        const { u } = this.plot;
        u.batch(() => {
          u.setScale("x", { min: x[0], max: x[1] });
          u.setScale("y", { min: y[0], max: y[1] });
        });
      });
    }

    colorBy(metric) {
      const { points } = this.plot;
      this.plot.colorBy(metric === "density" ? spread(points.n_active, true) : spread(points[metric]));
      this.plot.u.redraw(true, false);
    }

    highlight(features) {
      this.plot?.highlight(features ?? null);
    }
  },
);

// <feature-matches data-url>: swapped in with search results; tells the map which features to highlight.
customElements.define(
  "feature-matches",
  class extends HTMLElement {
    async connectedCallback() {
      const { url } = this.dataset;
      try {
        this.features = url ? (await (await fetch(url)).json()).feature : null;
      } catch {
        this.features = null; // the cards beside the map are still shown
      }
      if (this.isConnected) document.dispatchEvent(new CustomEvent("matches", { detail: this.features }));
    }
  },
);
