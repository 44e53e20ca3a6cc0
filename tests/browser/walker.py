"""Uses the controls of one page as a visitor does: by mouse, by keys or by touch, one of each kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

from playwright.sync_api import Page

CONTROLS_JS = (Path(__file__).parent / "controls.js").read_text()
FILLED = {
    "q": "5",
    "turn": "1",
    "to": "2",
    "with": "6",
    "add": "1:1",
    "name": "red",
    "words": "mine",
    "note": "look",
}
"""What is typed where it must mean something; 1 anywhere else."""
DRAWN = "document.querySelector(tag)?.plot?.u.scales.x.max > -Infinity"
# Where the first point of a plot is on the screen.
POINT = """(tag) => {
  const { u, xs, ys } = document.querySelector(tag).plot;
  const box = u.over.getBoundingClientRect();
  return [box.left + u.valToPos(xs[0], "x"), box.top + u.valToPos(ys[0], "y")];
}"""
MAX_RING_PX = 6.0
"""Two of the line, two between it and the control, and room."""


@dataclass(frozen=True)
class Control:
    """One of a kind."""

    kind: str
    tag: str
    type: str
    name: str
    href: str  # whole; empty where it is no link
    beside: bool  # a link to a page beside this one
    asks: bool  # htmx, by itself
    form_action: str  # of the form around it; empty for none
    form_asks: bool  # htmx
    selectors: Sequence[str]  # of those that say what it does, which match
    focusable: bool

    @property
    def is_of_this_page(self) -> bool:
        """Where what htmx asks for goes is said anew by each page."""
        return self.asks or self.expected in (picks, walks, pages)

    @property
    def expected(self) -> Callable[["Walker", "Control"], None]:
        """What using it must do."""
        for selector in self.selectors:
            return SPECIAL[selector]
        if self.tag == "a":
            return swaps if self.asks else leads
        if self.type in ("radio", "checkbox"):
            return is_checked
        if self.type == "file":
            return holds
        if self.type == "range":
            return slides
        if self.tag == "select":
            return is_chosen
        if self.tag in ("input", "textarea"):
            return is_typed
        if self.tag == "button" and self.type != "button" and self.form_action:
            return submits
        raise AssertionError(f"nobody has said what this control does: {self.kind}")


@dataclass
class Walker:
    """A page, and the hand that uses it."""

    page: Page
    address: str  # whole
    hand: str  # mouse, keys or touch
    image: Any  # a file to send
    known: set[str]  # kinds that this hand used on pages before
    used: set[str] = field(default_factory=set)
    led_to: set[str] = field(default_factory=set)  # addresses

    def use_all(self) -> None:
        """What does the same on every page is used on the first; on the others it is within reach."""
        self.open()
        while unused := self.controls_unused():
            control = next(filter(self.is_used_here, unused), None)
            if control is None:
                self.reach_all(unused)
                continue
            self.used.add(control.kind)
            try:
                control.expected(self, control)
            except Exception as error:
                raise AssertionError(f"{self.hand}, {self.page.url}: {control}") from error
            assert self.page.evaluate("controls.ringPx()") <= MAX_RING_PX, control
        self.known |= self.used

    def is_used_here(self, control: Control) -> bool:
        return control.kind not in self.known or control.is_of_this_page

    def reach_all(self, controls: Sequence[Control]) -> None:
        """None of what was used on another page lies under something else here."""
        self.used |= {control.kind for control in controls}
        if self.hand == "keys":
            return
        kinds = [control.kind for control in controls if control.expected is not is_for_keys]
        covered = self.page.evaluate(
            "(kinds) => kinds.filter((kind) => controls.isCovered(found.get(kind)))", kinds
        )
        assert covered == [], f"{self.hand}, {self.page.url}: something lies over {covered}"

    def open(self) -> None:
        self.page.goto(self.address, wait_until="load")
        self.page.evaluate("controls.openAll()")
        self.page.wait_for_function("() => controls.isQuiet()", timeout=15_000)

    def controls_unused(self) -> Sequence[Control]:
        """One of each kind that was not used on this page, in the order of the page."""
        found = self.page.evaluate(
            "(used) => [...(window.found = controls.controls(used))]"
            ".map(([kind, it]) => [kind, controls.describe(it)])",
            [*self.used],
        )
        return [Control(kind=kind, **facts) for kind, facts in found]

    def of(self, control: Control, script: str) -> Any:
        """What a script says of the control, `it`."""
        return self.page.evaluate(
            f"(kind) => {{ const it = found.get(kind); return {script}; }}", control.kind
        )

    def until(self, control: Control, script: str) -> None:
        """Waits for something to be true of the control."""
        self.page.wait_for_function(
            f"(kind) => {{ const it = found.get(kind); return {script}; }}", arg=control.kind, timeout=15_000
        )

    def press(self, control: Control, key: str = "Enter") -> None:
        self.page.evaluate("went = []")
        if self.hand == "keys":
            self.focus(control)
            self.page.keyboard.press(key)
            return
        at = self.reach(control)
        if self.hand == "mouse":
            self.page.mouse.click(*at)
        else:
            self.page.touchscreen.tap(*at)

    def reach(self, control: Control) -> tuple[float, float]:
        """Where a pointer meets it."""
        at = self.of(control, "controls.point(it)")
        assert at is not None, "something lies over it"
        return at[0], at[1]

    def focus(self, control: Control) -> None:
        self.page.evaluate("went = []")
        self.of(control, "it.focus({ focusVisible: true })")
        assert self.of(control, "it === document.activeElement"), "the keys do not reach it"
        assert self.page.evaluate("controls.ringPx()") <= MAX_RING_PX

    def went(self) -> str:
        """Where the page was led."""
        self.page.wait_for_function("() => went.length > 0", timeout=15_000)
        url: str = self.page.evaluate("went[0]")
        self.led_to.add(url)
        return url

    def settle(self) -> None:
        """Until what htmx swapped in is what the server says at the page's address; then as before."""
        self.page.wait_for_function(
            "async () => controls.isQuiet() && (await controls.isAsServed()) && controls.isQuiet()",
            timeout=15_000,
        )
        self.check()
        self.open()

    def check(self) -> None:
        assert self.page.evaluate("document.querySelectorAll('main').length") == 1
        assert self.page.evaluate("document.querySelectorAll('header.top').length") == (
            0 if "embed=1" in self.address else 1
        )
        assert self.page.evaluate("document.querySelector('#notice')?.textContent ?? ''") == ""

    def fill_required(self, control: Control) -> None:
        self.page.evaluate(
            "([kind, filled]) => controls.fillRequired(found.get(kind).form, filled)", [control.kind, FILLED]
        )


def leads(walker: Walker, control: Control) -> None:
    """A link: to where it says, or to a place on this page."""
    if not control.focusable and walker.hand == "keys":
        assert walker.of(control, "it.getAttribute('aria-hidden')") == "true", "no key reaches it"
        return
    if urldefrag(control.href).url == urldefrag(walker.page.url).url and "#" in control.href:
        walker.press(control)
        walker.page.wait_for_function("(url) => location.href === url", arg=control.href)
        return
    if control.beside:
        with walker.page.expect_popup() as popup:
            walker.press(control)
        assert popup.value.url == control.href
        popup.value.close()
        return
    walker.press(control)
    assert walker.went() == control.href


def swaps(walker: Walker, control: Control) -> None:
    walker.press(control)
    walker.page.wait_for_url(control.href)
    walker.settle()


def submits(walker: Walker, control: Control) -> None:
    walker.fill_required(control)
    walker.press(control)
    if control.form_asks:
        walker.settle()
    else:
        assert walker.went().partition("?")[0] == control.form_action.partition("?")[0]


def is_chosen(walker: Walker, control: Control) -> None:
    """The next option, as a hand of any kind would choose it."""
    if walker.hand == "keys":
        walker.focus(control)
    n_options, at = walker.of(control, "[it.length, it.selectedIndex]")
    if n_options < 2:
        return
    walker.of(control, f"it.selectedIndex = {(at + 1) % n_options}")
    for event in ("input", "change"):
        walker.of(control, f"it.dispatchEvent(new Event('{event}', {{ bubbles: true }}))")
    if control.form_asks:
        walker.settle()


def is_typed(walker: Walker, control: Control) -> None:
    if control.form_action:
        walker.fill_required(control)
    walker.press(control, key="End")
    walker.of(control, "it.select()")
    walker.page.keyboard.type(FILLED.get(control.name, "1"))
    if control.tag == "textarea" or not control.form_action:
        return
    walker.page.keyboard.press("Enter")
    if control.form_asks:
        walker.settle()
    else:
        assert walker.went().partition("?")[0] == control.form_action.partition("?")[0]


def is_checked(walker: Walker, control: Control) -> None:
    before = walker.of(control, "it.checked")
    walker.press(control, key="Space")
    if control.type == "checkbox":
        walker.until(control, f"it.checked !== {str(before).lower()}")
    else:
        walker.until(control, "it.checked")


def slides(walker: Walker, control: Control) -> None:
    walker.of(control, "it.value = it.min")
    walker.press(control, key="ArrowRight")
    walker.until(control, "it.value !== it.min")


def opens(walker: Walker, control: Control) -> None:
    before = walker.of(control, "it.parentElement.open")
    walker.press(control)
    walker.until(control, f"it.parentElement.open !== {str(before).lower()}")
    walker.page.evaluate("controls.openAll()")


def uncovers(walker: Walker, control: Control) -> None:
    """The label of a checkbox that is not seen."""
    if walker.hand == "keys":
        walker.of(control, "it.querySelector('input').focus()")
        walker.page.keyboard.press("Space")
    else:
        walker.press(control)
    walker.until(control, "it.querySelector('input').checked")


def copies(walker: Walker, control: Control) -> None:
    walker.press(control)
    walker.until(control, "it.textContent === 'copied'")


def themes(walker: Walker, control: Control) -> None:
    before = walker.page.evaluate("document.documentElement.dataset.theme ?? ''")
    walker.press(control)
    walker.page.wait_for_function(
        "(before) => (document.documentElement.dataset.theme ?? '') !== before", arg=before
    )


def asks_for_keys(walker: Walker, control: Control) -> None:
    walker.press(control)
    walker.page.wait_for_function("() => document.querySelector('dialog.keyboard-shortcuts').open")
    walker.page.keyboard.press("Enter")  # the button that closes it has the focus
    walker.page.wait_for_function("() => !document.querySelector('dialog.keyboard-shortcuts').open")


def turns(walker: Walker, control: Control) -> None:
    before = walker.of(control, "it.getAttribute('aria-pressed')")
    walker.press(control)
    walker.until(control, f"it.getAttribute('aria-pressed') !== '{before}'")


def zooms(walker: Walker, control: Control) -> None:
    span = "(({ min, max }) => max - min)(document.querySelector('feature-map').plot.u.scales.x)"
    walker.page.wait_for_function(f"(tag) => {DRAWN}", arg="feature-map")
    if control.kind.endswith("reset"):
        walker.page.evaluate("document.querySelector('feature-map').camera.press('in')")
        walker.page.evaluate("new Promise(requestAnimationFrame)")
    before = walker.page.evaluate(span)
    walker.press(control)
    walker.page.wait_for_function(f"(before) => {span} !== before", arg=before)


def picks(walker: Walker, control: Control) -> None:
    """The patch under the hand: another page, or what is swapped in."""
    if walker.hand == "keys":
        return  # from the image around it, which `walks` does
    in_view = walker.page.locator("#view").count() == 1
    walker.press(control)
    if in_view:
        walker.page.wait_for_url(control.href)
        walker.settle()
    else:
        assert walker.went() == control.href


def walks(walker: Walker, control: Control) -> None:
    """Over patches: by keys, or by a drag; a finger scrolls."""
    before, in_view = walker.page.url, walker.page.locator("#view").count() == 1
    if walker.hand == "keys":
        walker.focus(control)
        walker.page.keyboard.press("ArrowRight")
        walker.page.keyboard.press("Enter")
    elif walker.hand == "mouse":
        drag(walker, control)
    else:
        return
    if in_view:
        walker.page.wait_for_url(lambda url: url != before)
        walker.settle()
    else:
        assert "tokens=" in walker.went()


def drag(walker: Walker, control: Control) -> None:
    walker.page.evaluate("went = []")
    walker.of(control, "it.scrollIntoView({ block: 'center', behavior: 'instant' })")
    left, top, width = walker.of(
        control, "(({ left, top, width }) => [left, top, width])(it.getBoundingClientRect())"
    )
    walker.page.mouse.move(left + 0.3 * width, top + 0.3 * width)
    walker.page.mouse.down()
    walker.page.mouse.move(left + 0.6 * width, top + 0.6 * width, steps=4)
    walker.page.mouse.up()


def reads_out(walker: Walker, control: Control) -> None:
    """What lies under the hand is told in words."""
    walker.press(control, key="ArrowRight")
    walker.until(control, "it.querySelector('output').textContent.startsWith('row ')")


def points(walker: Walker, control: Control) -> None:
    """A point leads to its feature; a finger sees its card first."""
    walker.page.wait_for_function(f"(tag) => {DRAWN}", arg=control.tag)
    if walker.hand == "keys":
        walker.focus(control)
        walker.page.keyboard.press("ArrowRight")
        walker.page.keyboard.press("Enter")
        assert "token=" in walker.went()
        return
    walker.of(control, "it.scrollIntoView({ block: 'center', behavior: 'instant' })")
    walker.page.evaluate("went = []")
    x, y = walker.page.evaluate(POINT, control.tag)
    if walker.hand == "mouse":
        walker.page.mouse.click(x, y)
        assert "token=" in walker.went()
    else:
        walker.page.touchscreen.tap(x, y)
        walker.until(control, "!it.querySelector('.point-card').hidden")
    walker.open()  # the card lies over what comes below


def explains(walker: Walker, control: Control) -> None:
    walker.focus(control)
    walker.until(control, "getComputedStyle(it.querySelector('.explanation')).visibility === 'visible'")


def scrolls(walker: Walker, control: Control) -> None:
    """It is focused so that the arrow keys scroll it."""
    walker.focus(control)


def adds(walker: Walker, control: Control) -> None:
    """By a press, or because one scrolled there."""
    walker.of(control, "it.isConnected && it.click()")
    walker.page.wait_for_function(
        "async (url) => controls.n_items() > (await controls.servedItems(url))", arg=walker.address
    )
    walker.open()


def is_for_keys(walker: Walker, control: Control) -> None:
    """It is seen while it is focused."""
    if walker.hand == "keys":
        leads(walker, control)


def pages(walker: Walker, control: Control) -> None:
    """The next page, unless one scrolled there and it took the link's place."""
    walker.page.evaluate("went = []")
    if walker.of(control, "it.isConnected && (it.click(), true)"):
        assert walker.went() == control.href


def cannot_be_pressed(_: Walker, __: Control) -> None:
    """It is hidden while nothing is sent."""


def is_a_sample(walker: Walker, _: Control) -> None:
    """It shows how such a button looks."""
    assert walker.address.endswith("/patterns")


def sends(walker: Walker, control: Control) -> None:
    """A file that was chosen: the search by image goes at once."""
    walker.page.evaluate("went = []")
    give(walker, control)
    assert walker.went().partition("?")[0] == control.form_action


def holds(walker: Walker, control: Control) -> None:
    """The file, until a button sends it."""
    give(walker, control)
    walker.until(control, "it.files.length === 1")


def shows(walker: Walker, control: Control) -> None:
    give(walker, control)
    walker.page.wait_for_function("() => document.querySelector('.drop img')?.checkVisibility()")
    walker.open()


def give(walker: Walker, control: Control) -> None:
    handle = walker.page.evaluate_handle("(kind) => found.get(kind)", control.kind).as_element()
    assert handle is not None
    handle.set_input_files(walker.image)


def uploads(walker: Walker, control: Control) -> None:
    image = walker.page.query_selector("#image")
    assert image is not None
    image.set_input_files(walker.image)
    walker.press(control)
    assert walker.went().startswith(control.form_action + "/")
    walker.open()


SPECIAL: dict[str, Callable[[Walker, Control], None]] = {
    ".skip, .skip-chart": is_for_keys,
    ".patches a": picks,
    "patch-picker": walks,
    "position-map, residual-map": reads_out,
    "feature-map, feature-scatter": points,
    "summary": opens,
    "label.cover": uncovers,
    "copy-link button, copy-text button": copies,
    "theme-switch button": themes,
    "[data-opens]": asks_for_keys,
    ".heatmap-switch, [data-adds]": turns,
    "[data-zoom]": zooms,
    ".explained": explains,
    ".scroll, pre, .flow-scroll": scrolls,
    "#more a[role=button]": adds,
    "#more a": pages,
    "[data-cancels]": cannot_be_pressed,
    ".filters button[type=button]": is_a_sample,
    ".search-image input": sends,
    "#image": shows,
    ".camera input": shows,
    ".upload [type=submit]": uploads,
}
"""Those that do more than their tag says."""
