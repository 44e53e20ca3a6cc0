// Before Ctrl-P (or ⌘P) prints, loads lazy images and the sections that load when scrolled into view, such as
// neighbors. Printing from the browser's menu starts the same loading but does not wait for it.
const PRINT_WAIT_MS = 10_000;

async function fetchAll() {
  const awaited = [...document.querySelectorAll(".awaited")];
  const answers = awaited.map(answered);
  for (const section of awaited) htmx.trigger(section, "revealed");
  await Promise.all(answers);
  await Promise.all([...document.images].map(fetched));
}

// The response replaces the section, so the event is fired on the body.
function answered(section) {
  return new Promise((done) => {
    const isIt = (event) => event.detail.requestConfig.elt === section && done();
    document.body.addEventListener("htmx:afterRequest", isIt);
  });
}

function fetched(image) {
  image.loading = "eager";
  return image.decode().catch(() => {}); // one missing image must not stop the others
}

document.addEventListener("keydown", async (event) => {
  if (event.key.toLowerCase() !== "p" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  await Promise.race([fetchAll(), new Promise((late) => setTimeout(late, PRINT_WAIT_MS))]);
  window.print();
});

window.addEventListener("beforeprint", () => fetchAll());
