// Names on the map: as many as fit without overlap, those of the clearest features first.
import { inside } from "./point-plot.js";

const ROOM_PX = 20_000; // frame area per name
const TRIED = 1500; // candidates per drawing
const APART_PX = 220; // minimum distance of two equal names

export class MapNames {
  constructor(points) {
    this.points = points;
    const prominence = points.clarity.map((clarity, i) => clarity * points.name_score[i]);
    this.order = Uint32Array.from(points.word.keys())
      .filter((i) => points.word[i] >= 0 && prominence[i] > 0)
      .sort((a, b) => prominence[b] - prominence[a]);
    this.widths = new Map();
  }

  draw(u, view, plot) {
    const { ctx } = u;
    const ratio = uPlot.pxRatio;
    ctx.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    ctx.lineWidth = 4 * ratio;
    ctx.lineJoin = "round";
    ctx.strokeStyle = plot.color("--page");
    ctx.fillStyle = plot.color("--text");
    for (const { text, x, y } of this.placed(ctx, view, plot, ratio)) {
      ctx.strokeText(text, x, y);
      ctx.fillText(text, x, y);
    }
  }

  placed(ctx, view, plot, ratio) {
    const { words, word } = this.points;
    const most = ((view.right - view.left) * (view.bottom - view.top)) / (ROOM_PX * ratio * ratio);
    const boxes = [];
    let tried = 0;
    for (const i of this.order) {
      const x = plot.xs[i] * view.ax + view.bx;
      const y = plot.ys[i] * view.ay + view.by - view.size / 2 - ratio;
      if (!inside(view, x, y)) continue;
      if (boxes.length >= most || ++tried > TRIED) break;
      const text = words[word[i]];
      const box = { text, x, y, half: this.width(ctx, text) / 2 + 6 * ratio, height: 20 * ratio };
      if (box.x - box.half < view.left || box.x + box.half > view.right || box.y - box.height < view.top) continue;
      if (boxes.every((other) => apart(box, other, ratio))) boxes.push(box);
    }
    return boxes;
  }

  width(ctx, text) {
    const key = `${text} ${ctx.font}`;
    if (!this.widths.has(key)) this.widths.set(key, ctx.measureText(text).width);
    return this.widths.get(key);
  }
}

function apart(one, other, ratio) {
  if (one.text === other.text && Math.hypot(one.x - other.x, one.y - other.y) < APART_PX * ratio) return false;
  return Math.abs(one.x - other.x) > one.half + other.half || Math.abs(one.y - other.y) > Math.max(one.height, other.height);
}
