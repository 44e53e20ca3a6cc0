// The point under the pointer, or the one that the arrow keys reach: a ring around it and the card of its feature.
const REACH_PX = 14; // maximum distance of the pointer from its point
const STILL_PX = 4; // a press that moves farther is a drag
const HOVER_MS = 40;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class PointHover {
  constructor(plot, cards) {
    Object.assign(this, { plot, cards, at: -1, pinned: false });
    this.card = plot.host.querySelector(".point-card");
    this.ring = document.createElement("span");
    this.ring.className = "point-ring";
    this.ring.hidden = true;
    const { over } = plot.u;
    over.append(this.ring);
    plot.onMoved = () => this.follow();
    over.addEventListener("pointermove", (event) => event.pointerType === "mouse" && !event.buttons && this.hover(event));
    over.addEventListener("pointerleave", () => this.pinned || this.leave());
    over.addEventListener("pointerdown", (event) => (this.pressed = event));
    over.addEventListener("click", (event) => this.click(event));
  }

  nearest(event) {
    const { u, xs, ys } = this.plot;
    const { x, y } = u.scales;
    const box = u.over.getBoundingClientRect();
    const ax = box.width / (x.max - x.min);
    const ay = box.height / (y.max - y.min);
    const left = event.clientX - box.left + x.min * ax;
    const top = event.clientY - box.top - y.max * ay;
    let [best, closest] = [-1, REACH_PX ** 2];
    for (let i = 0; i < xs.length; i++) {
      const distance = (xs[i] * ax - left) ** 2 + (ys[i] * ay + top) ** 2;
      if (distance < closest) [best, closest] = [i, distance];
    }
    return best;
  }

  // Arrow keys move between points while `host` has the focus, Enter opens one; `led(i)` brings it into view.
  steer(host, led) {
    host.addEventListener("keydown", (event) => this.key(event, host, led));
    host.addEventListener("focusout", (event) => host.contains(event.relatedTarget) || this.leave());
  }

  key(event, host, led) {
    if (event.target !== host || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key in ARROWS) this.step(ARROWS[event.key], led);
    else if (event.key === "Enter" && this.at >= 0) this.open(this.at, event);
    else if (event.key === "Escape") this.leave();
    else return;
    event.preventDefault();
  }

  // Moves to the nearest point in that direction; points at one position are ordered by number. Starts in the middle.
  step([right, up], led) {
    const { u, xs, ys } = this.plot;
    const [x, y] = [u.scales.x, u.scales.y].map(({ min, max }) => ({ middle: (min + max) / 2, span: max - min }));
    const [fromX, fromY] = this.at < 0 ? [x.middle, y.middle] : [xs[this.at], ys[this.at]];
    const distance = (i) => {
      const [dx, dy] = [(xs[i] - fromX) / x.span, (ys[i] - fromY) / y.span];
      if (this.at < 0) return Math.hypot(dx, dy);
      if (!dx && !dy) return (i - this.at) * (right - up) > 0 ? Math.abs(i - this.at) * 1e-9 : Infinity;
      const [along, across] = [dx * right + dy * up, Math.abs(dx * up + dy * right)];
      return along > 0 && across <= along ? along + 2 * across : Infinity;
    };
    let [best, closest] = [this.at, Infinity];
    for (let i = 0; i < xs.length; i++) {
      const far = distance(i);
      if (far < closest) [best, closest] = [i, far];
    }
    if (best < 0) return;
    this.pinned = true;
    led(best);
    this.show(best, 0);
  }

  async open(at, event) {
    const url = await this.show(at, 0);
    if (!url) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) open(url);
    else location.assign(url);
  }

  hover(event) {
    const at = this.nearest(event);
    this.plot.u.over.classList.toggle("on-point", at >= 0);
    if (at === this.at) return;
    this.pinned = false;
    if (at < 0) this.leave();
    else this.show(at);
  }

  leave() {
    clearTimeout(this.waiting);
    this.at = -1;
    this.card.hidden = this.ring.hidden = true;
  }

  // Shows the card of a point. Returns the URL of the feature, or null if another point was chosen meanwhile or the
  // card could not be loaded.
  async show(at, wait_ms = HOVER_MS) {
    this.at = at;
    this.follow();
    clearTimeout(this.waiting);
    await new Promise((done) => (this.waiting = setTimeout(done, wait_ms)));
    const html = await this.cards.html(this.plot.points.feature[at]).catch(() => null);
    if (html === null || this.at !== at) return null;
    const focused = this.card.contains(document.activeElement);
    if (focused) this.plot.host.focus({ preventScroll: true }); // a replaced link would lose it
    this.card.innerHTML = html;
    this.card.hidden = false;
    if (focused) this.card.querySelector("h3 a").focus({ preventScroll: true });
    this.follow();
    return this.card.querySelector("h3 a").href;
  }

  // A mouse click opens the feature; a tap shows its card first.
  async click(event) {
    const { pressed } = this;
    if (pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) > STILL_PX) return;
    const at = this.nearest(event);
    this.pinned = at >= 0 && pressed?.pointerType !== "mouse";
    if (at < 0) return this.leave();
    if (this.pinned) this.show(at, 0);
    else this.open(at, event);
  }

  // Keeps the ring on its point and the card beside it.
  follow() {
    if (this.at < 0) return;
    const { u, xs, ys, host } = this.plot;
    const { over } = u;
    const x = u.valToPos(xs[this.at], "x");
    const y = u.valToPos(ys[this.at], "y");
    this.ring.hidden = x < 0 || y < 0 || x > over.clientWidth || y > over.clientHeight;
    Object.assign(this.ring.style, { left: `${x}px`, top: `${y}px` });
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const origin = over.getBoundingClientRect();
    const bounds = host.getBoundingClientRect();
    const right = origin.left - bounds.left + x + 16;
    const left = right + width <= bounds.width ? right : right - 32 - width;
    const top = Math.min(origin.top - bounds.top + y - height / 2, bounds.height - height);
    Object.assign(this.card.style, { left: `${Math.max(left, 0)}px`, top: `${Math.max(top, 0)}px` });
  }
}
