// <upload-drop> around an upload form: drag and drop, paste, camera, preview, and progress: sending, waiting for the
// model, retrying while the server is busy. Without JavaScript the form just posts.
const BUSY = [429, 503];
const MAX_TRIES = 8;

customElements.define(
  "upload-drop",
  class extends HTMLElement {
    connectedCallback() {
      const [one, all] = [(name) => this.querySelector(name), (name, act) => document.addEventListener(name, act)];
      Object.assign(this, { form: one("form"), input: one("#image"), drop: one(".drop"), words: one(".drop-words") });
      Object.assign(this, { status: one("[role=status]"), progress: one("progress") });
      Object.assign(this, { button: one("button[type=submit]"), cancel: one("[data-cancels]") });
      this.input.addEventListener("change", () => this.chosen());
      this.form.addEventListener("submit", (event) => this.submitted(event));
      this.cancel.addEventListener("click", () => this.stop("Cancelled."));
      const camera = one(".camera input");
      camera?.addEventListener("change", () => this.take(camera.files));
      this.dragging = (event) => this.dragged(event);
      this.pasted = (event) => this.take(event.clipboardData.files);
      for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) all(kind, this.dragging);
      all("paste", this.pasted);
    }

    disconnectedCallback() {
      for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.removeEventListener(kind, this.dragging);
      document.removeEventListener("paste", this.pasted);
      this.stop("");
    }

    // The search box handles files dropped on it.
    dragged(event) {
      if (!event.dataTransfer?.types.includes("Files") || event.target.closest?.("search-box")) return;
      event.preventDefault();
      this.drop.classList.toggle("everywhere", event.type === "dragenter" || event.type === "dragover");
      if (event.type === "drop") this.take(event.dataTransfer.files);
    }

    take(files) {
      if (!files.length || this.button.disabled) return;
      this.input.files = files;
      this.chosen();
    }

    chosen() {
      const file = this.input.files[0];
      this.querySelector("img")?.remove();
      this.tell("");
      if (!file) return;
      this.words.textContent = file.name;
      const preview = new Image();
      preview.alt = "";
      preview.onload = () => URL.revokeObjectURL(preview.src);
      preview.onerror = () => preview.remove();
      preview.src = URL.createObjectURL(file);
      this.drop.prepend(preview);
    }

    submitted(event) {
      event.preventDefault();
      if (this.button.disabled) return;
      this.tries = 0;
      this.button.disabled = true;
      this.cancel.hidden = false;
      this.send();
    }

    send() {
      const request = new XMLHttpRequest(); // fetch does not report upload progress
      this.request = request;
      this.tries += 1;
      this.progress.value = 0;
      this.progress.hidden = false;
      request.open("POST", this.form.action);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.onprogress = (sent) => this.sent(sent.loaded / sent.total);
      request.upload.onload = () => this.waiting();
      request.onload = () => this.answered(request);
      request.onerror = () => this.stop("The server did not respond. Try again.", true);
      this.tell("Sending …");
      request.send(new FormData(this.form));
    }

    sent(part) {
      this.progress.value = part;
      if (part < 1) this.tell(`Sending … ${Math.floor(100 * part)} %`);
    }

    // The image is queued or in the model: shows the time that has passed.
    waiting() {
      this.progress.hidden = true;
      const first = this.dataset.ready === "0" ? " The model is loading, which can take a minute." : "";
      const begun = Date.now();
      const tell = () => {
        const passed = Math.round((Date.now() - begun) / 1000);
        this.tell(`Sent. Analyzing …${passed >= 2 ? ` ${passed} s` : ""}${first}`);
      };
      tell();
      this.timer = setInterval(tell, 1000);
    }

    answered(request) {
      clearInterval(this.timer);
      const answer = request.response;
      const after = Number(request.getResponseHeader("Retry-After"));
      if (request.status === 201 && answer) location.assign(new URL(answer.url, location.href).pathname);
      else if (BUSY.includes(request.status) && after && answer?.error !== "encoder_absent" && this.tries < MAX_TRIES) this.later(after, answer);
      else if (request.status === 413) this.stop(answer?.detail ?? "This image is too large for this server. Send a smaller one.", true);
      else this.stop(answer?.detail ?? `The server responded with status ${request.status}. Try again.`, true);
    }

    later(seconds, answer) {
      const tell = () => {
        if (seconds <= 0) {
          clearInterval(this.timer);
          this.send();
          return;
        }
        this.tell(`${answer?.detail ?? "The server is busy."} Retrying in ${seconds} s.`);
        seconds -= 1;
      };
      this.progress.hidden = true;
      tell();
      this.timer = setInterval(tell, 1000);
    }

    stop(words, bad = false) {
      clearInterval(this.timer);
      this.request?.abort();
      this.request = null;
      this.button.disabled = false;
      this.cancel.hidden = this.progress.hidden = true;
      this.tell(words, bad);
    }

    tell(words, bad = false) {
      this.status.className = bad ? "upload-status bad" : "upload-status";
      this.status.textContent = words;
    }
  },
);
