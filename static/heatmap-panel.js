// <heatmap-panel data-url data-highest>: shows or hides the heatmaps of a page. It fetches those of images in view:
// several per request, one request at a time, each image once. The setting is stored.
const HEAT_SETTING = "heat";
const IMAGES_A_REQUEST = 24;
const GATHER_MS = 80;

customElements.define(
  "heatmap-panel",
  class extends HTMLElement {
    connectedCallback() {
      this.setting = { on: true, strength: 0.7, own: false, ...this.stored() };
      this.heats = new Map(); // by image id: the server's response
      this.failed = new Map(); // by image id: the error
      this.inView = new Set(); // <feature-heatmap> elements
      this.bind();
      this.observer = new IntersectionObserver((entries) => this.seen(entries));
      this.added = (event) => this.observer.observe(event.detail);
      document.addEventListener("feature-heatmap", this.added);
      for (const map of document.querySelectorAll("feature-heatmap")) this.observer.observe(map);
      this.changed();
    }

    disconnectedCallback() {
      this.observer.disconnect();
      document.removeEventListener("feature-heatmap", this.added);
    }

    bind() {
      this.button = this.querySelector(".heatmap-switch");
      this.status = this.querySelector(".heatmap-status");
      const [strength, own] = [this.querySelector(".heatmap-opacity"), this.querySelector(".heatmap-normalize")];
      strength.value = this.setting.strength;
      own.checked = this.setting.own;
      this.button.addEventListener("click", () => this.set({ on: !this.setting.on }));
      strength.addEventListener("input", () => this.set({ strength: Number(strength.value) }));
      own.addEventListener("change", () => this.set({ own: own.checked }));
    }

    set(change) {
      if (change.on) this.failed.clear(); // switched on again: retry
      Object.assign(this.setting, change);
      try {
        localStorage.setItem(HEAT_SETTING, JSON.stringify(this.setting));
      } catch {
        // storage may be blocked; the setting then lasts for one page
      }
      this.changed();
    }

    stored() {
      try {
        return JSON.parse(localStorage.getItem(HEAT_SETTING));
      } catch {
        return null;
      }
    }

    changed() {
      this.button.setAttribute("aria-pressed", this.setting.on);
      this.legend();
      if (!this.setting.on) this.status.textContent = "";
      for (const map of document.querySelectorAll("feature-heatmap")) this.draw(map);
      this.gather();
    }

    legend() {
      const canvas = this.querySelector(".heatmap-scale canvas");
      const pixels = new ImageData(canvas.width, 1);
      for (let x = 0; x < canvas.width; x++) {
        pixels.data.set(heatColor(x / (canvas.width - 1), this.setting.strength), 4 * x);
      }
      canvas.getContext("2d").putImageData(pixels, 0, 0);
      const highest = `${significant(Number(this.dataset.highest))} (maximum at ${this.dataset.highestAt})`;
      const top = this.setting.own ? "maximum of each image" : highest;
      this.querySelector(".heatmap-maximum").textContent = top;
    }

    seen(entries) {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) this.inView.add(target);
        else this.inView.delete(target);
        if (isIntersecting) this.draw(target);
      }
      this.gather();
    }

    draw(map) {
      const heat = this.heats.get(map.dataset.image);
      const { on, strength, own } = this.setting;
      if (!on) map.clear();
      else if (heat) map.show(heat, own ? Math.max(...heat.patches) : Number(this.dataset.highest), strength);
      else if (this.failed.has(map.dataset.image)) map.fail("no heatmap");
      else map.clear();
    }

    gather() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), GATHER_MS);
    }

    async ask() {
      if (!this.setting.on || this.asking || this.absent) return;
      const missing = [...this.inView]
        .filter((map) => map.isConnected)
        .map((map) => map.dataset.image)
        .filter((image) => !this.heats.has(image) && !this.failed.has(image));
      const images = [...new Set(missing)].slice(0, IMAGES_A_REQUEST);
      if (!images.length) return;
      this.asking = true;
      this.status.textContent = `loading ${images.length} heatmap${images.length === 1 ? "" : "s"} …`;
      const problem = await this.fetch(images);
      this.asking = false;
      this.status.textContent = problem && this.setting.on ? `No heatmaps: ${problem}` : "";
      this.status.classList.toggle("failed", Boolean(problem) && !this.absent);
      this.classList.toggle("absent", Boolean(this.absent));
      this.changed();
    }

    // Returns null or an error message.
    async fetch(images) {
      let problem = null;
      try {
        const answer = await fetch(`${this.dataset.url}?images=${images.join(",")}`);
        const body = await answer.json();
        if (body.error === "encoder_absent") this.absent = true; // not a failure: this server has no model
        if (!answer.ok) throw new Error(body.detail || `the server answered ${answer.status}`);
        for (const heat of body.heats) this.heats.set(String(heat.image_id), heat);
      } catch (error) {
        problem = error instanceof TypeError ? "the server did not answer." : error.message;
      }
      if (this.absent) return problem;
      for (const image of images) if (!this.heats.has(image)) this.failed.set(image, problem);
      return problem;
    }
  },
);
