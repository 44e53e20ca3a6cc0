// <upload-drop> around an upload form: drag and drop, paste, a preview and progress. Without it the form just posts.
customElements.define(
  "upload-drop",
  class extends HTMLElement {
    connectedCallback() {
      this.form = this.querySelector("form");
      this.input = this.querySelector("input[type=file]");
      this.drop = this.querySelector(".drop");
      this.words = this.querySelector(".drop-words");
      this.status = this.querySelector("[role=status]");
      this.progress = this.querySelector("progress");
      this.button = this.querySelector("button[type=submit]");
      this.input.addEventListener("change", () => this.chosen());
      this.form.addEventListener("submit", (event) => this.send(event));
      for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
        this.drop.addEventListener(kind, (event) => this.dragged(event));
      }
      this.pasted = (event) => this.take(event.clipboardData.files);
      document.addEventListener("paste", this.pasted);
    }

    disconnectedCallback() {
      document.removeEventListener("paste", this.pasted);
    }

    dragged(event) {
      event.preventDefault();
      this.drop.classList.toggle("over", event.type === "dragenter" || event.type === "dragover");
      if (event.type === "drop") this.take(event.dataTransfer.files);
    }

    take(files) {
      if (!files.length) return;
      this.input.files = files;
      this.chosen();
    }

    chosen() {
      const file = this.input.files[0];
      this.querySelector("img")?.remove();
      this.status.textContent = "";
      if (!file) return;
      this.words.textContent = file.name;
      const preview = new Image();
      preview.alt = "";
      preview.onload = () => URL.revokeObjectURL(preview.src);
      preview.onerror = () => preview.remove();
      preview.src = URL.createObjectURL(file);
      this.drop.prepend(preview);
    }

    send(event) {
      event.preventDefault();
      const request = new XMLHttpRequest(); // fetch cannot tell how much has been sent
      request.open("POST", this.form.action);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.onprogress = (sent) => (this.progress.value = sent.loaded / sent.total);
      request.upload.onload = () => (this.status.textContent = "Taking it apart …");
      request.onload = () => this.answered(request);
      request.onerror = () => this.failed("The server did not answer. Try again.");
      this.button.disabled = true;
      this.progress.hidden = false;
      this.status.className = "upload-status";
      this.status.textContent = "Sending …";
      request.send(new FormData(this.form));
    }

    answered(request) {
      const answer = request.response;
      if (request.status === 201 && answer) location.assign(new URL(answer.url, location.href).pathname);
      else this.failed(answer?.detail ?? `The server answered ${request.status}. Try again.`);
    }

    failed(words) {
      this.button.disabled = false;
      this.progress.hidden = true;
      this.status.className = "upload-status bad";
      this.status.textContent = words;
    }
  },
);
