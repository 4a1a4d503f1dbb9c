"""The package as it is shipped, and what its README and docs say."""

import re
from importlib.metadata import distribution
from pathlib import Path

import reconciler
from reconciler.settings import VARIABLES

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()


def test_the_wheel_is_what_is_tested() -> None:
    """These tests run against the installed wheel, not against the checkout."""
    installed = Path(reconciler.__file__)
    assert TOP not in installed.parents or "site-packages" in installed.parts


def test_templates_are_in_the_wheel() -> None:
    """The wheel holds the templates, and py.typed for programs that import it."""
    files = {str(path) for path in distribution("dispatcher").files or ()}
    shipped = {f"reconciler/templates/{path.name}" for path in (TOP / "templates").glob("*.j2")}
    assert len(shipped) == 5
    assert shipped | {"reconciler/py.typed"} <= files


def test_readme_names_every_setting() -> None:
    """The README's table has every variable, in the settings' order, with its default."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|(.*?)\|(.*)\|$", README, re.MULTILINE)
    assert [name for name, _, _ in rows] == [variable.names[0] for variable in VARIABLES.values()]
    for name, default, text in rows:
        variable = next(variable for variable in VARIABLES.values() if variable.names[0] == name)
        assert default.strip(" `") == variable.default or name in ("SSL_CIPHERS", "DENY_POD_CIDRS"), name
        assert all(f"`{other}`" in text for other in variable.names[1:])


def test_readme_s_links_lead_somewhere() -> None:
    """Every file that README and docs link to exists."""
    for page in [TOP / "README.md", *TOP.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_templates_hold_no_decisions() -> None:
    """Templates only loop, and print names or their attributes; they decide nothing."""
    for path in (TOP / "templates").glob("*.j2"):
        text = path.read_text()
        for statement in re.findall(r"{%-?\s*(.*?)\s*-?%}", text):
            assert re.fullmatch(r"for [a-z0-9]+ in [a-z0-9_.]+|endfor", statement), (path.name, statement)
        for printed in re.findall(r"{{-?\s*(.*?)\s*-?}}", text):
            assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", printed), (path.name, printed)
