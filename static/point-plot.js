// Thousands of points on a uPlot canvas, for `feature-scatter` and `feature-map`, which define axes and dragging.
// `PointHover` handles the point under the pointer.
import { PointRaster } from "./point-raster.js";

const SHADES = 6;
const CIRCLES = 3000; // above this many points, squares are drawn: arcs would be slow

export class PointPlot {
  // `xs`, `ys`: coordinates of the points; `options`: for uPlot; `onDraw`: draws over the points.
  constructor(host, { points, xs, ys, options, onDraw }) {
    Object.assign(this, { host, points, xs, ys, onDraw });
    this.raster = new PointRaster();
    this.highlighted = null; // indices of the points found by a search; null without a search
    this.frame = host.querySelector(".plot-frame");
    this.colorBy(new Float32Array(points.length).fill(0.5));
    this.u = new uPlot(this.options(options), [null, [xs, ys]], this.frame);
    this.watch();
  }

  options({ cursor, ...own }) {
    const series = { facets: [{ scale: "x" }, { scale: "y" }], paths: (u) => this.draw(u), points: { show: false } };
    return {
      mode: 2,
      width: this.frame.clientWidth,
      height: this.frame.clientHeight,
      legend: { show: false },
      series: [{}, series],
      cursor: { x: false, y: false, points: { show: false }, bind: { dblclick: () => null }, ...cursor },
      ...own,
    };
  }

  // Follows the size and the colors of the page.
  watch() {
    const repaint = () => this.u.redraw(true, true);
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.frame);
    this.themed = new MutationObserver(repaint);
    this.themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.onchange = repaint;
  }

  end() {
    this.resized.disconnect();
    this.themed.disconnect();
    this.scheme.onchange = null;
    this.u.destroy();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (width && (width !== this.u.width || height !== this.u.height)) this.u.setSize({ width, height });
  }

  color(name) {
    return getComputedStyle(this.host).getPropertyValue(name).trim();
  }

  // Sorts the points by shade, so that each color is set once; points without a value come first.
  colorBy(parts) {
    const shades = Uint8Array.from(parts, (part) => (part >= 0 ? 1 + Math.min(SHADES - 1, Math.floor(part * SHADES)) : 0));
    this.starts = new Uint32Array(SHADES + 2);
    for (const shade of shades) this.starts[shade + 1]++;
    for (let shade = 0; shade <= SHADES; shade++) this.starts[shade + 1] += this.starts[shade];
    const next = this.starts.slice();
    this.order = new Uint32Array(shades.length);
    shades.forEach((shade, i) => (this.order[next[shade]++] = i));
  }

  // Highlights the points of these features; null removes the highlight.
  highlight(features) {
    const wanted = features && new Set(features);
    this.highlighted = wanted && Uint32Array.from(this.order.keys()).filter((i) => wanted.has(this.points.feature[i]));
    this.u.redraw(true, false);
  }

  draw(u) {
    const { ctx, bbox } = u;
    const view = this.view(u);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const dots = view.inside > CIRCLES ? this.squares : this.circles;
    dots.call(this, ctx, view, view.size, this.highlighted ? 0.3 : 0.85, this.shades());
    if (this.highlighted) dots.call(this, ctx, view, view.size * 1.5, 1, [[this.color("--accent"), this.highlighted]]);
    this.onDraw?.(u, view);
    ctx.restore();
    this.onMoved?.();
    return null; // no path is left for uPlot to stroke
  }

  // Each color with its points, lowest values first, so that the highest are on top.
  shades() {
    const shades = Array.from({ length: SHADES + 1 }, (_, shade) => shade);
    return shades.map((shade) => [this.color(`--dot-${shade}`), this.order.subarray(this.starts[shade], this.starts[shade + 1])]);
  }

  circles(ctx, view, size, opacity, shades) {
    ctx.globalAlpha = opacity;
    for (const [color, chosen] of shades) {
      ctx.fillStyle = color;
      ctx.beginPath();
      for (const i of chosen) {
        const x = this.xs[i] * view.ax + view.bx;
        const y = this.ys[i] * view.ay + view.by;
        if (!inside(view, x, y)) continue;
        ctx.moveTo(x + size / 2, y);
        ctx.arc(x, y, size / 2, 0, 7);
      }
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  }

  squares(ctx, view, size, opacity, shades) {
    const { raster } = this;
    const side = Math.max(Math.round(size), 1);
    raster.clear(Math.ceil(view.right - view.left), Math.ceil(view.bottom - view.top));
    for (const [color, chosen] of shades) {
      const pixel = raster.pixelOf(color);
      for (const i of chosen) {
        const x = this.xs[i] * view.ax + view.bx;
        const y = this.ys[i] * view.ay + view.by;
        if (inside(view, x, y)) raster.square(x - view.left, y - view.top, side, pixel);
      }
    }
    ctx.globalAlpha = opacity;
    raster.drawTo(ctx, view.left, view.top);
    ctx.globalAlpha = 1;
  }

  // The transform to canvas pixels (x * ax + bx), the number of points inside, and their size.
  view(u) {
    const { left, top, width, height } = u.bbox;
    const { x, y } = u.scales;
    const ax = width / (x.max - x.min);
    const ay = -height / (y.max - y.min);
    const view = { ax, ay, bx: left - x.min * ax, by: top - y.max * ay, left, top, right: left + width, bottom: top + height };
    view.inside = 0;
    for (let i = 0; i < this.xs.length; i++) {
      if (inside(view, this.xs[i] * ax + view.bx, this.ys[i] * ay + view.by)) view.inside++;
    }
    const room = Math.sqrt((width * height) / Math.max(view.inside, 1));
    view.size = Math.min(Math.max(room * 0.25, 2 * uPlot.pxRatio), 10 * uPlot.pxRatio);
    return view;
  }
}

// False for a point without a position: NaN is in no range.
export function inside(view, x, y) {
  return x >= view.left && x <= view.right && y >= view.top && y <= view.bottom;
}
