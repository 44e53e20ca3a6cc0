// <search-box>: also searches by an image that is chosen, pasted or dropped.
customElements.define(
  "search-box",
  class extends HTMLElement {
    connectedCallback() {
      this.form = this.querySelector(".search-image");
      this.input = this.form?.querySelector("input[type=file]");
      if (!this.input) return;
      this.input.addEventListener("change", () => this.send());
      this.addEventListener("paste", (event) => this.take(event, event.clipboardData.files));
      this.addEventListener("drop", (event) => this.take(event, event.dataTransfer.files));
      this.addEventListener("dragover", (event) => event.preventDefault());
    }

    take(event, files) {
      if (!files.length) return;
      event.preventDefault();
      this.input.files = files;
      this.send();
    }

    send() {
      if (!this.input.files.length) return;
      this.form.setAttribute("aria-busy", "true");
      this.form.submit();
    }
  },
);
