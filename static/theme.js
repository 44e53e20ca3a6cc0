// Light, dark or the system theme. Runs before the first paint, so that pages do not flash.
const THEMES = ["auto", "light", "dark"];

function storedTheme() {
  try {
    return localStorage.getItem("theme") || "auto";
  } catch {
    return "auto"; // storage may be blocked; the choice then lasts for one page
  }
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

document.documentElement.classList.add("scripted");
applyTheme(storedTheme());

customElements.define(
  "theme-switch",
  class extends HTMLElement {
    connectedCallback() {
      this.button = document.createElement("button");
      this.button.type = "button";
      this.button.className = "plain";
      this.button.textContent = "theme";
      this.button.addEventListener("click", () => this.turn());
      this.replaceChildren(this.button);
      this.name(storedTheme());
    }

    name(theme) {
      this.theme = theme;
      this.button.title = `theme: ${theme === "auto" ? "system" : theme}`;
      this.button.setAttribute("aria-label", `theme: ${theme === "auto" ? "system" : theme}`);
    }

    turn() {
      const next = THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length];
      applyTheme(next);
      this.name(next);
      try {
        localStorage.setItem("theme", next);
      } catch {
        // see storedTheme
      }
    }
  },
);
