"""Reads the imports of a source tree without running it; the boundary test judges what it returns."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """One imported name. `name` is absolute: `from scopeview import clip` gives `scopeview.vision.clip`."""

    importer: str
    name: str
    line: int
    in_function: bool

    @property
    def package(self) -> str:
        """The top-level package: `scopeview` of `scopeview.vision.clip`."""
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.name}"


def module_name(path: Path, root: Path) -> str:
    """`scopeview/store/__init__.py` -> `scopeview.store`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path, package: str) -> dict[str, Path]:
    """Every module of `package` below `root`, by dotted name."""
    return {module_name(path, root): path for path in sorted((root / package).rglob("*.py"))}


def imports_of(path: Path, root: Path) -> list[Import]:
    """Every import statement in a file, wherever it stands: functions and `if TYPE_CHECKING` included."""
    module = module_name(path, root)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return [
        Import(module, name, node.lineno, in_function)
        for node, in_function in _walk(ast.parse(path.read_text(), str(path)))
        for name in _names(node, package)
    ]


def _walk(node: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function
        yield from _walk(child, in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def _names(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, base] if base else above)
    return [f"{base}.{alias.name}" for alias in node.names]


def reachable(start: str, root: Path, package: str) -> set[str]:
    """Every name imported by `start` or by what it imports within `package`, parent packages included."""
    known = modules(root, package)
    todo, seen, names = [start], set[str](), set[str]()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        todo += [name for name in _with_parents(module) if name in known]
        for found in imports_of(known[module], root) if module in known else []:
            names.add(found.name)
            todo += _with_parents(found.name)
    return names


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
