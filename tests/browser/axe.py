"""What axe-core finds wrong with a page for those who cannot see it, or not well.

axe-playwright-python brings axe-core 4.12; axe-core-python, which does the same, an older one.
"""

from functools import cache

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")


@cache
def _axe() -> Axe:
    return Axe()


def grave_violations(page: Page) -> list[str]:
    """Serious and critical ones: rule, what it asks for, and the elements that break it."""
    found = _axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[' '.join(map(str, node['target'])) for node in each['nodes']][:4]}"
        for each in found
        if each["impact"] in GRAVE
    ]
