"""The one-way imports: scopeview <- indexer, scopeview <- app; pages are served without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.imports import imports_of, modules, reachable

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {"scopeview": {"indexer", "app"}, "indexer": {"app"}, "app": {"indexer"}}
COMMAND_LINE = "scopeview.__main__"
COMMANDS = "scopeview.cli."
SIDES = {"indexer", "app"}
WITHOUT_TORCH = ["scopeview.errors", "scopeview.slots", "scopeview.images", "scopeview.vision.patches"]
HEAVY = {"torch", "transformers"}
APP_LAYERS = (
    {"main"},
    {"pages", "api", "image_routes", "health"},
    {"services"},
    {"params"},
    {"state"},
    {"uploads"},
    {"engine", "moderation"},
    {"web"},
    {"settings", "assets"},
    {"urls", "formatting"},
)
"""Modules and folders of `app/`, the highest first. Each imports only what stands in a lower layer."""
KNOWS_NO_INDEX = {"web": {"scopeview.store"}}


def breaches(root: Path) -> list[str]:
    """Every import that crosses a boundary, as a sentence; empty when the tree is sound."""
    found = [
        imported
        for package in FORBIDDEN
        for path in modules(root, package).values()
        for imported in imports_of(path, root)
    ]
    return [
        str(imported)
        for imported in found
        if imported.package in FORBIDDEN[imported.importer.partition(".")[0]]
        and not (imported.importer.startswith(COMMANDS) and imported.in_function)
    ]


def app_unit(name: str) -> str:
    """`pages` of `app.pages.image.groups`; empty for `app` itself."""
    return name.split(".")[1] if "." in name else ""


def app_layer(name: str) -> int:
    """Counts from the highest. Raises `StopIteration` for a module that the table does not have."""
    return next(at for at, layer in enumerate(APP_LAYERS) if app_unit(name) in layer)


def climbs(root: Path) -> list[str]:
    """Every import within `app/` that does not lead to a lower layer, or past a unit's own bounds."""
    found = [each for path in modules(root, "app").values() for each in imports_of(path, root)]
    within = [each for each in found if each.package == "app" and app_unit(each.importer)]
    return [
        str(each)
        for each in within
        if app_unit(each.name) != app_unit(each.importer) and app_layer(each.name) <= app_layer(each.importer)
    ] + [
        str(each)
        for each in found
        if any(each.name.startswith(package) for package in KNOWS_NO_INDEX.get(app_unit(each.importer), ()))
    ]


def torch_free_modules(root: Path) -> list[str]:
    """The modules that must work without torch: the four named above and all of the store."""
    known = modules(root, "scopeview")
    return [name for name in known if name in WITHOUT_TORCH or name.startswith("scopeview.store")]


def loaded_by(module: str) -> set[str]:
    """Top-level packages in `sys.modules` after a fresh interpreter has imported `module`."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def test_no_import_crosses_a_boundary() -> None:
    assert breaches(ROOT) == []


def test_every_import_of_the_server_leads_to_a_lower_layer() -> None:
    assert climbs(ROOT) == []


def test_every_module_of_the_server_has_a_layer() -> None:
    units = {app_unit(name) for name in modules(ROOT, "app")} - {""}
    assert units == set().union(*APP_LAYERS)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("app/services/search.py", "from app.pages.cards import bar\n"),
        ("app/api/compare.py", "from app.pages.compare import NoteQuery\n"),
        ("app/pages/search.py", "def late():\n    from app.api import uploads\n"),
        ("app/state.py", "if TYPE_CHECKING:\n    from .services.search import run_search\n"),
        ("app/params/dependencies.py", "import app.services.search\n"),
        ("app/engine/worker.py", "from app.state import AppState\n"),
        ("app/engine/jobs.py", "from app.moderation import reader\n"),
        ("app/web/page_cache.py", "from scopeview.store.reader import IndexReader\n"),
        ("app/urls.py", "from app.main import create_app\n"),
    ],
)
def test_an_import_that_climbs_is_found_wherever_it_hides(tmp_path: Path, name: str, source: str) -> None:
    write_tree(tmp_path, {name: source})
    assert len(climbs(tmp_path)) == 1


def test_imports_that_lead_down_or_stay_within_a_folder_pass(tmp_path: Path) -> None:
    files = {
        "app/main.py": "from app.pages import home\nfrom app.urls import URLS\n",
        "app/pages/search.py": "from app.pages.cards import bar\nfrom app.services import search\n",
        "app/engine/worker.py": "from .jobs import Job\nfrom app.web.errors import ProblemError\n",
        "app/web/errors.py": "from scopeview.errors import NotFoundError\n",
    }
    write_tree(tmp_path, files)
    assert climbs(tmp_path) == []


def test_every_module_that_must_do_without_torch_exists() -> None:
    assert set(WITHOUT_TORCH) | {"scopeview.store"} <= set(torch_free_modules(ROOT))


@pytest.mark.parametrize("module", torch_free_modules(ROOT))
def test_no_path_of_imports_leads_from_it_to_torch(module: str) -> None:
    assert {name.partition(".")[0] for name in reachable(module, ROOT, "scopeview")} & HEAVY == set()


@pytest.mark.parametrize("module", torch_free_modules(ROOT))
def test_importing_it_does_not_load_torch(module: str) -> None:
    assert loaded_by(module) & HEAVY == set()


def test_the_server_starts_without_torch() -> None:
    assert loaded_by("app.main") & (HEAVY | {"indexer"}) == set()


def test_the_command_line_loads_neither_side_nor_torch_until_a_command_needs_it() -> None:
    assert loaded_by(COMMAND_LINE) & (HEAVY | SIDES) == set()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("scopeview/vision/clip.py", "import app.main\n"),
        ("scopeview/vision/clip.py", "def late():\n    from indexer import build\n"),
        ("scopeview/store/reader.py", "if TYPE_CHECKING:\n    import indexer\n"),
        ("indexer/build.py", "from app.urls import feature_url\n"),
        ("app/main.py", "async def late():\n    import indexer.build as build\n"),
        ("scopeview/cli/serving.py", "from indexer import build\n"),
        ("scopeview/__main__.py", "def late():\n    from indexer import build\n"),
    ],
)
def test_a_breach_is_found_wherever_it_hides(tmp_path: Path, name: str, source: str) -> None:
    write_tree(tmp_path, {name: source})
    assert len(breaches(tmp_path)) == 1


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    files = {
        "scopeview/cli/serving.py": "import typer\ndef serve():\n    import app.main, indexer.build\n",
        "scopeview/store/reader.py": "from ..errors import InputError\nfrom . import schema\n",
        "indexer/build.py": "import scopeview.store\n",
        "app/main.py": "from scopeview import store\nfrom .urls import feature_url\n",
    }
    write_tree(tmp_path, files)
    assert breaches(tmp_path) == []


def test_torch_is_found_behind_a_chain_and_behind_a_parent_package(tmp_path: Path) -> None:
    files = {
        "scopeview/__init__.py": "",
        "scopeview/clip.py": "import torch.nn\n",
        "scopeview/hub.py": "def late():\n    from . import clip\n",
        "scopeview/store/__init__.py": "from scopeview.hub import resolve\n",
        "scopeview/store/reader.py": "import duckdb\n",
    }
    write_tree(tmp_path, files)
    assert "torch.nn" in reachable("scopeview.store.reader", tmp_path, "scopeview")
    assert reachable("scopeview", tmp_path, "scopeview") == set()
