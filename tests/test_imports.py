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
