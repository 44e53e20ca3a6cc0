// <copy-text data-from="cite">: a button that copies the text of the element with that id.
customElements.define(
  "copy-text",
  class extends HTMLElement {
    connectedCallback() {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = "copy";
      button.addEventListener("click", () => this.copy(button));
      this.replaceChildren(button);
    }

    async copy(button) {
      const source = document.getElementById(this.dataset.from);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(source); // the clipboard is unavailable on plain http
        button.textContent = "selected: press Ctrl-C to copy";
      }
      setTimeout(() => (button.textContent = "copy"), 1500);
    }
  },
);
