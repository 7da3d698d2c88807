"""How large the package is and how it hangs together, for two checkouts side by side.

    python tests/package_size.py BEFORE AFTER

Lines and files of dglib and of the tests, modules at the top level, files of dglib that name an experiment in
code (string constants and identifiers; docstrings do not count), and levels of imports: the longest chain of
modules in which each imports the next, where modules that import each other count as one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

EXPERIMENT = re.compile(r"\b(T1|T2|V3|Td1|spinodal|trapping)\b", re.IGNORECASE)


def modules(root: Path) -> dict[str, Path]:
    """The package's modules by their dotted names."""
    found = {}
    for path in sorted((root / "dglib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                inner if (inner := f"{node.module}.{alias.name}") in known else node.module
                for alias in node.names
            }
    return {other for other in found if other in known and other != name}


def levels(graph: dict[str, set[str]]) -> int:
    """Modules on the longest chain of imports; a cycle counts as one."""
    reach: dict[str, set[str]] = {}
    for name in graph:
        seen, left = set(), [name]
        while left:
            for other in graph[left.pop()] - seen:
                seen.add(other)
                left.append(other)
        reach[name] = seen
    depth: dict[str, int] = {}
    for name in sorted(graph, key=lambda name: len(reach[name])):
        below = [depth[other] for other in reach[name] if name not in reach[other] and other in depth]
        depth[name] = 1 + max(below, default=0)
    return max(depth.values())


def names_experiment(path: Path) -> bool:
    """Whether code, not docstrings or comments, names an experiment."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return any(EXPERIMENT.search(word) for node in ast.walk(tree) for word in _words(node, docstrings))


def _words(node: ast.AST, docstrings: set[int]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
        yield node.value
    elif isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


def measured(root: Path) -> dict[str, int]:
    """The figures of one checkout."""
    known = modules(root)
    graph = {name: imports(name, path, known) for name, path in known.items()}
    tests = sorted((root / "tests").glob("*.py"))
    naming = [path for path in known.values() if names_experiment(path)]
    return {
        "lines of dglib": sum(len(path.read_text().splitlines()) for path in known.values()),
        "files of dglib": len(known),
        "modules at the top level": sum(path.parent == root / "dglib" for path in known.values()),
        "lines of tests": sum(len(path.read_text().splitlines()) for path in tests),
        "files of tests": len(tests),
        "files that name an experiment": len(naming),
        "of them outside dglib/experiments": sum("experiments" not in path.parts for path in naming),
        "levels of imports": levels(graph),
    }


def main() -> None:
    """Print one line per figure, a column per checkout."""
    columns = [measured(Path(given)) for given in sys.argv[1:]]
    for name in columns[0]:
        print(f"{name:36}", *(f"{column[name]:8}" for column in columns))


if __name__ == "__main__":
    main()
