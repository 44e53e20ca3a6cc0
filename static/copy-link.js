// <copy-link data-url="/demo/5/12?token=cls" data-label="copy link">: a button that copies the full URL; without
// data-url, that of this page.
customElements.define(
  "copy-link",
  class extends HTMLElement {
    connectedCallback() {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = this.label;
      button.addEventListener("click", () => this.copy(button));
      this.replaceChildren(button);
    }

    get label() {
      return this.dataset.label || "copy link";
    }

    async copy(button) {
      const url = new URL(this.dataset.url || location.href, location.href).href;
      try {
        await navigator.clipboard.writeText(url);
        button.textContent = "copied";
      } catch {
        prompt("Copy this link", url); // the clipboard is unavailable on plain http
      }
      setTimeout(() => (button.textContent = this.label), 1500);
    }
  },
);
