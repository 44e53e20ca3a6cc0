// Paper has no scrolling: before Ctrl-P (or ⌘P) prints, images that were not scrolled to are fetched, and so is what
// the page asks for once it is seen, such as neighbours. From the browser's menu the same begins, but nothing waits.
const PRINT_WAIT_MS = 10_000;

async function fetchAll() {
  const awaited = [...document.querySelectorAll(".awaited")];
  const answers = awaited.map(answered);
  for (const section of awaited) htmx.trigger(section, "revealed");
  await Promise.all(answers);
  await Promise.all([...document.images].map(fetched));
}

// The answer takes the place of the section, so that the event comes from elsewhere.
function answered(section) {
  return new Promise((done) => {
    const isIt = (event) => event.detail.requestConfig.elt === section && done();
    document.body.addEventListener("htmx:afterRequest", isIt);
  });
}

function fetched(image) {
  image.loading = "eager";
  return image.decode().catch(() => {}); // one that does not come keeps no other from the paper
}

document.addEventListener("keydown", async (event) => {
  if (event.key.toLowerCase() !== "p" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  event.preventDefault();
  await Promise.race([fetchAll(), new Promise((late) => setTimeout(late, PRINT_WAIT_MS))]);
  window.print();
});

window.addEventListener("beforeprint", () => fetchAll());
