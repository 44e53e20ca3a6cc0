"""The wheel: everything a page needs travels in it, it runs from any folder, and its versions are pinned."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
CODE = ["scopeview", "indexer", "app"]
FILES = ["templates", "static", "data/demo-model"]
BUILT_FROM = [*CODE, *FILES, "pyproject.toml", "README.md", "LICENSE"]


def run(command: Sequence[str | Path], cwd: Path, **env: str) -> str:
    """Standard output. Fails the test, showing standard error, when the command does not end with 0."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def travelling_files(root: Path) -> set[str]:
    """What the source tree holds and the wheel must hold too, as paths with `/`."""
    kinds = (".py", ".txt", ".j2", ".typed")
    code = [path for name in CODE for path in (root / name).rglob("*") if path.suffix in kinds]
    data = [path for name in FILES for path in (root / name).rglob("*") if path.is_file()]
    hidden = re.compile(r"(^|/)(\.|__pycache__)")
    names = {path.relative_to(root).as_posix() for path in code + data}
    return {name for name in names if not hidden.search(name)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree: no old `build/` leaks into the wheel, and no new one into the tree."""
    folder = tmp_path_factory.mktemp("source")
    for path in (ROOT / name for name in BUILT_FROM):
        target = folder / path.relative_to(ROOT)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy(path, target)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "--wheel-dir", out, source], source)
    return next(out.glob("scopeview-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked as pip does it; its dependencies are those of the running Python."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index"]
    run([*pip, "--target", target, wheel], target)
    return target


def test_code_templates_static_files_and_demo_model_travel(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert travelling_files(source) - packed == set()


def test_nothing_else_travels_but_the_license_and_the_metadata(source: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    extra = packed - travelling_files(source)
    assert {name for name in extra if ".dist-info/" not in name} == set()
    assert any(name.endswith("/licenses/LICENSE") for name in extra)


def test_the_command_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    help_text = run([installed / "bin" / "scopeview", "--help"], tmp_path, PYTHONPATH=str(installed))
    assert "serve" in help_text


def test_the_installed_packages_are_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    code = (
        "import app, indexer, scopeview.slots as core; print(app.__file__, indexer.__file__, core.__file__)"
    )
    places = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed)).split()
    assert [Path(place).is_relative_to(installed) for place in places] == [True, True, True]


def constraints() -> list[tuple[str, str]]:
    """(name, version) of every line of constraints.txt; fails on a line that is not an exact pin."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    assert [pin for pin in pins if len(pin) != 2] == []
    return [(name, version) for name, version in pins]


def requirements() -> list[Requirement]:
    """Every requirement pyproject.toml names: run time, extras and build."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, build = pyproject["project"], pyproject["build-system"]["requires"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    return [Requirement(line) for line in [*project["dependencies"], *extras, *build]]


def test_the_pins_are_sorted_and_written_one_way() -> None:
    names = [name for name, _ in constraints()]
    assert names == sorted({canonicalize_name(name) for name in names})


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_pin_within_its_range(requirement: Requirement) -> None:
    pins = {name: Version(version) for name, version in constraints()}
    assert pins[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize(("chore", "extra"), [("demo", ""), ("test", " dev"), ("lint", " dev")])
def test_only_those_who_develop_install_the_tools_of_development(
    chore: str, extra: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts/install"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    commands = run(["make", "-n", chore, "PYTHON=python3"], tmp_path).splitlines()
    assert next(line for line in commands if "scripts/install" in line).endswith(f"'python3'{extra}")


def test_the_citation_names_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
