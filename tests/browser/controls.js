// Finds the controls of a page, and says what came of using one. Loaded before the page's own scripts.
(() => {
  const PRESSABLE = "a[href], button, summary, label.cover, input:not([type=hidden]), select, textarea, [tabindex='0']";
  const MADE_BY_SCRIPTS = "copy-link, copy-text, theme-switch, output, .patch-cursor, .plot, heatmap-panel, feature-heatmap, template";

  // Where the page was led, without going there.
  window.went = [];
  navigation.addEventListener("navigate", (event) => {
    if (event.destination.sameDocument || event.hashChange || !event.cancelable) return;
    window.went.push(event.destination.url);
    event.preventDefault();
  });

  const visible = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;

  // A checkbox or file under a label is used through the label.
  const isUnderLabel = (element) => element.matches("input") && element.closest("label.cover");

  const numberless = (text) => text.replace(/[0-9.]+/g, "N").replace(/[A-Za-z0-9_-]{20,}/g, "ID");

  function route(url) {
    const { pathname, searchParams, hash, origin } = new URL(url, location.href);
    const where = origin === location.origin ? numberless(pathname) : "another host";
    return `${where}?${[...searchParams.keys()].sort().join("&")}${numberless(hash)}`;
  }

  // Controls of one kind are told apart by nothing that a visitor could mean: 256 patches are of one kind.
  function kindOf(element) {
    const region = element.closest("header.top, footer, dialog, nav, form, section[id], figure, main, body").tagName;
    const classes = [...element.parentElement.closest("[class]").classList];
    const around = classes.filter((name) => !name.startsWith("htmx-")).join(".");
    const own = [...element.classList].join(".");
    const asks = element.hasAttribute("hx-get") ? " hx" : "";
    const leads = element.matches("a[href]") ? ` ${element.closest("svg") ? "svg " : ""}${route(element.href.baseVal ?? element.href)}` : "";
    const named = ["type", "name", "rel", "data-zoom"].map((name) => element.getAttribute(name) ?? "").join(" ").trim();
    return [region, around, element.parentElement.tagName, `${element.tagName}.${own}`, named + asks + leads].join(" | ");
  }

  // What is folded, and what comes once it is scrolled to: nothing moves under the hand later.
  function openAll() {
    for (const awaited of document.querySelectorAll("[hx-trigger*=revealed]")) htmx.trigger(awaited, "revealed");
    for (const details of document.querySelectorAll("details")) details.open = true;
  }

  // One of each kind but those.
  function controls(used) {
    const found = new Map();
    for (const element of document.querySelectorAll(PRESSABLE)) {
      const kind = kindOf(element);
      if (used.includes(kind) || found.has(kind) || !visible(element) || isUnderLabel(element)) continue;
      found.set(kind, element);
    }
    return found;
  }

  // What the test needs to know of a control before it uses it.
  function describe(element) {
    const svg = Boolean(element.ownerSVGElement);
    const form = element.form;
    return {
      tag: element.tagName.toLowerCase(),
      type: element.getAttribute("type") ?? "",
      name: element.getAttribute("name") ?? "",
      href: element.matches("a[href]") ? new URL(svg ? element.href.baseVal : element.href, location.href).href : "",
      beside: (element.target || document.querySelector("base")?.target) === "_blank",
      asks: element.hasAttribute("hx-get") && !element.closest("[hx-disable]"),
      form_action: form?.action ? new URL(form.getAttribute("action"), location.href).href : "",
      form_asks: Boolean(form?.hasAttribute("hx-get") && !form.closest("[hx-disable]")),
      selectors: SELECTORS.filter((selector) => element.matches(selector)),
      focusable: element.tabIndex >= 0,
    };
  }

  const SELECTORS = [ // `SPECIAL` of walker.py says what each does
    ".skip, .skip-chart", ".patches a", "patch-picker", "position-map, residual-map", "feature-map, feature-scatter", "summary", "label.cover",
    "copy-link button, copy-text button", "theme-switch button", "[data-opens]", ".heatmap-switch, [data-adds]",
    "[data-zoom]", ".explained", ".scroll, pre, .flow-scroll", "#more a[role=button]", "#more a", "[data-cancels]", ".filters button[type=button]",
    ".search-image input", "#image", ".camera input", ".upload [type=submit]",
  ];

  // Where a pointer meets it; null where something else lies over it. What is under a veil is unveiled first.
  function point(element) {
    const veil = element.closest(".blurred")?.querySelector(".cover input");
    if (veil && !element.closest(".cover")) veil.checked = true;
    element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
    for (const box of element.getClientRects()) {
      for (const [across, down] of [[0.5, 0.5], [0.2, 0.5], [0.8, 0.5], [0.5, 0.9], [0.5, 0.1]]) {
        const [x, y] = [box.left + across * box.width, box.top + down * box.height];
        const there = document.elementFromPoint(x, y);
        if (there && (element.contains(there) || there.contains(element) && there.closest("label, summary, a, button"))) return [x, y];
      }
    }
    return null;
  }

  // A label that uncovered its image is gone.
  const isCovered = (element) => !point(element) && visible(element);

  // How far the ring around what is focused reaches: inside an SVG it grows with the drawing.
  function ringPx() {
    const { activeElement } = document;
    const style = getComputedStyle(activeElement);
    if (style.outlineStyle === "none") return 0;
    const matrix = activeElement.ownerSVGElement ? activeElement.getScreenCTM() : { a: 1, d: 1 };
    return Math.max(matrix.a, matrix.d) * (parseFloat(style.outlineWidth) + Math.max(parseFloat(style.outlineOffset), 0));
  }

  function words(main) {
    const copy = main.cloneNode(true);
    for (const made of copy.querySelectorAll(MADE_BY_SCRIPTS)) made.remove();
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  // A page that htmx changed says what the server says at its address.
  async function isAsServed() {
    const answer = await fetch(location.href);
    const served = new DOMParser().parseFromString(await answer.text(), "text/html");
    return words(served.querySelector("main")) === words(document.querySelector("main"));
  }

  const items = (page) => page.querySelectorAll("main .feature, main .ranked-image").length;

  async function servedItems(url) {
    return items(new DOMParser().parseFromString(await (await fetch(url)).text(), "text/html"));
  }

  const isQuiet = () => !document.querySelector(".htmx-request, .htmx-swapping, .htmx-settling");

  // What a form asks for beside the control at hand.
  function fillRequired(form, filled) {
    for (const input of form.querySelectorAll("input[required]:not([type=file])")) input.value ||= filled[input.name] ?? "";
  }

  window.controls = { controls, describe, fillRequired, isAsServed, isCovered, isQuiet, n_items: () => items(document), openAll, point, ringPx, servedItems };
})();
