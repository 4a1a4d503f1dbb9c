"""The project's rules that can be counted: sizes of modules and bodies, parameters, what a handler catches."""

import ast
from pathlib import Path

import pytest

import reconciler

PACKAGE = Path(reconciler.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
WINGS = {"values", "objects", "routing", "advice", "rendering", "loop", "cluster", "disk", "status", "nginx", "modes"}


def test_wings_are_found() -> None:
    """All wings are found, and the `__init__.py` of each wing holds a docstring and nothing else."""
    assert {path.parent.name for path in MODULES if path.parent.parent == PACKAGE} >= WINGS
    for wing in WINGS:
        (sign,) = ast.parse((PACKAGE / wing / "__init__.py").read_text()).body
        assert isinstance(sign, ast.Expr)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(path: Path) -> None:
    """A module has at most 300 lines, a body 35, a function five parameters; no handler catches all exceptions."""
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert lines <= 35, node.name
            assert len([one for one in given if one.arg not in ("self", "cls")]) <= 5, node.name
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
            assert getattr(node.type, "id", "") not in ("Exception", "BaseException"), node.lineno
