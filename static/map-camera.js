// The visible part of the map, moved by mouse, wheel, touch and keys (Shift and arrows). Both axes have one scale, so
// that distances mean the same in every direction.
const STEP = 1.6; // zoom factor of + and -
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Camera {
  // `bounds`: [[least, most] of x, the same of y]; `closest`: the smallest span that may fill the frame.
  constructor(width, height, bounds, closest) {
    Object.assign(this, { width, height, bounds, closest, fingers: new Map() });
    this.reset();
  }

  resize(width, height) {
    const span = this.unit * Math.min(this.width, this.height);
    Object.assign(this, { width, height, unit: span / Math.min(width, height) });
  }

  // Shows all points, with margins for the names above them.
  reset() {
    const [[left, right], [low, high]] = this.bounds;
    const unit = Math.max((right - left) / (this.width - 80), (high - low) / (this.height - 80), 1e-9);
    Object.assign(this, { x: (left + right) / 2, y: (low + high) / 2, unit });
  }

  // The visible ranges, as uPlot scales: [least, most] of x and of y.
  ranges() {
    const [across, down] = [(this.width * this.unit) / 2, (this.height * this.unit) / 2];
    return { x: [this.x - across, this.x + across], y: [this.y - down, this.y + down] };
  }

  lookAt(x, y, span) {
    Object.assign(this, { x, y, unit: span / Math.min(this.width, this.height) });
    this.moved?.();
  }

  pan(dx, dy) {
    const [[left, right], [low, high]] = this.bounds;
    this.x = Math.min(Math.max(this.x - dx * this.unit, left), right);
    this.y = Math.min(Math.max(this.y + dy * this.unit, low), high);
    this.moved();
  }

  // The point under (left, top), in pixels from the corner of the frame, stays in place.
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const side = Math.min(this.width, this.height);
    const unit = Math.min(Math.max(this.unit / factor, this.closest / side), 2 / side);
    this.x += (left - this.width / 2) * (this.unit - unit);
    this.y -= (top - this.height / 2) * (this.unit - unit);
    this.unit = unit;
    this.moved();
  }

  // Centers (x, y), unless it is well inside already.
  follow(x, y) {
    const { x: across, y: down } = this.ranges();
    const inside = (at, [low, high]) => Math.abs(at - (low + high) / 2) < 0.4 * (high - low);
    if (!inside(x, across) || !inside(y, down)) this.lookAt(x, y, this.unit * Math.min(this.width, this.height));
  }

  press(what) {
    if (what === "reset") {
      this.reset();
      this.moved();
    } else this.zoom(what === "in" ? STEP : 1 / STEP);
  }

  steer(over, keys, moved) {
    this.moved = moved;
    over.addEventListener("wheel", (event) => this.wheel(event, over), { passive: false });
    over.addEventListener("pointerdown", (event) => this.down(event, over));
    over.addEventListener("pointermove", (event) => this.drag(event, over));
    for (const kind of ["pointerup", "pointercancel"]) {
      over.addEventListener(kind, (event) => this.fingers.delete(event.pointerId));
    }
    keys.addEventListener("keydown", (event) => this.key(event));
  }

  wheel(event, over) {
    event.preventDefault();
    const box = over.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 30 : 1;
    const factor = 2 ** (Math.min(Math.max(-event.deltaY * lines, -300), 300) / 300);
    this.zoom(factor, event.clientX - box.left, event.clientY - box.top);
  }

  down(event, over) {
    if (event.button) return;
    over.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  // One finger pans, two fingers zoom.
  drag(event, over) {
    if (!this.fingers.has(event.pointerId)) return;
    const before = this.grip();
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = this.grip();
    this.pan(after.x - before.x, after.y - before.y);
    const box = over.getBoundingClientRect();
    if (before.spread) this.zoom(after.spread / before.spread, after.x - box.left, after.y - box.top);
  }

  grip() {
    const [first, second = first] = this.fingers.values();
    const spread = Math.hypot(first[0] - second[0], first[1] - second[1]);
    return { x: (first[0] + second[0]) / 2, y: (first[1] + second[1]) / 2, spread };
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("a, button, input, select")) return;
    const side = Math.min(this.width, this.height) / 8;
    if (event.key in KEYS && event.shiftKey) this.pan(-KEYS[event.key][0] * side, KEYS[event.key][1] * side);
    else if (event.key === "+" || event.key === "=") this.press("in");
    else if (event.key === "-") this.press("out");
    else if (event.key === "0") this.press("reset");
    else return;
    event.preventDefault();
  }
}
