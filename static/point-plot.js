// Thousands of points on a uPlot canvas. What the axes mean and what a drag does is up to who makes it:
// `feature-scatter` and `feature-map`; the point under the pointer is `PointHover`'s.
import { PointRaster } from "./point-raster.js";

const SHADES = 6;
const CIRCLES = 3000; // more points than this are drawn as squares: so many arcs would be slow

export class PointPlot {
  // `xs`, `ys`: where each point is, in the units of the axes; `options`: of uPlot; `onDraw`: draws over the points.
  constructor(host, { points, xs, ys, options, onDraw }) {
    Object.assign(this, { host, points, xs, ys, onDraw });
    this.raster = new PointRaster();
    this.lit = null; // the features that a search has found; null while there is no search
    this.frame = host.querySelector(".plot-frame");
    this.shade(new Float32Array(points.length).fill(0.5));
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

  // Size and colours are the page's, and change with it.
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

  // Points in the order of their shades, so that each colour is set once; those without a figure come first.
  shade(parts) {
    const shades = Uint8Array.from(parts, (part) => (part >= 0 ? 1 + Math.min(SHADES - 1, Math.floor(part * SHADES)) : 0));
    this.starts = new Uint32Array(SHADES + 2);
    for (const shade of shades) this.starts[shade + 1]++;
    for (let shade = 0; shade <= SHADES; shade++) this.starts[shade + 1] += this.starts[shade];
    const next = this.starts.slice();
    this.order = new Uint32Array(shades.length);
    shades.forEach((shade, i) => (this.order[next[shade]++] = i));
  }

  // Marks the points of these features; null ends the marking.
  light(features) {
    const wanted = features && new Set(features);
    this.lit = wanted && Uint32Array.from(this.order.keys()).filter((i) => wanted.has(this.points.feature[i]));
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
    dots.call(this, ctx, view, view.size, this.lit ? 0.3 : 0.85, this.shades());
    if (this.lit) dots.call(this, ctx, view, view.size * 1.5, 1, [[this.color("--accent"), this.lit]]);
    this.onDraw?.(u, view);
    ctx.restore();
    this.onMoved?.();
    return null; // there is no path for uPlot to stroke: all is drawn
  }

  // Each colour with its points, the lowest figures first, so that the highest lie on top.
  shades() {
    const shades = Array.from({ length: SHADES + 1 }, (_, shade) => shade);
    return shades.map((shade) => [this.color(`--dot-${shade}`), this.order.subarray(this.starts[shade], this.starts[shade + 1])]);
  }

  circles(ctx, view, size, opacity, shades) {
    ctx.globalAlpha = opacity;
    for (const [colour, chosen] of shades) {
      ctx.fillStyle = colour;
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
    for (const [colour, chosen] of shades) {
      const pixel = raster.pixelOf(colour);
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

  // From figures to canvas pixels (x * ax + bx), how many points are inside, and how large each is drawn.
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

// False for a point without a place: NaN is in no range.
export function inside(view, x, y) {
  return x >= view.left && x <= view.right && y >= view.top && y <= view.bottom;
}
