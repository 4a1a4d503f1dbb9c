"""The package as it is shipped."""

import re
from importlib.metadata import distribution
from pathlib import Path

import reconciler

TOP = Path(__file__).parent.parent


def test_the_wheel_is_what_is_tested() -> None:
    """These tests run against the installed wheel, not against the checkout."""
    installed = Path(reconciler.__file__)
    assert TOP not in installed.parents or "site-packages" in installed.parts


def test_templates_are_in_the_wheel() -> None:
    """The wheel holds the templates, and py.typed for programs that import it."""
    files = {str(path) for path in distribution("dispatcher").files or ()}
    folder = TOP / "templates"
    shipped = {
        f"reconciler/templates/{path.relative_to(folder)}"
        for path in folder.rglob("*.*")
        if path.suffix in (".j2", ".lua")
    }
    assert len(shipped) > 7
    assert shipped | {"reconciler/py.typed"} <= files


def test_templates_hold_no_decisions() -> None:
    """Templates only loop, and print names or their attributes; they decide nothing."""
    for path in (TOP / "templates").rglob("*.j2"):
        text = path.read_text()
        for statement in re.findall(r"{%-?\s*(.*?)\s*-?%}", text):
            assert re.fullmatch(r"for [a-z0-9_]+ in [a-z0-9_.]+|endfor|block [a-z_]+|endblock", statement), (
                path.name,
                statement,
            )
        for printed in re.findall(r"{{-?\s*(.*?)\s*-?}}", text):
            assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", printed), (path.name, printed)
