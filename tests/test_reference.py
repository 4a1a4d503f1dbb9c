"""The reference pages, held against the code: settings, annotations, commands, exit codes."""

import re
from pathlib import Path

import pytest
from support.command import run
from support.pages import DOCS

from reconciler.modes import arguments
from reconciler.routing import host_options, path_entries
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.settings import VARIABLES

_OPTIONS_MARKER = "<!-- What follows is written by `make fixtures`, from the declarations. -->\n"
_MARKER = "<!-- What follows is written by `make fixtures`, from --help. -->\n"


def read_rows(page: str, header: str) -> list[list[str]]:
    """Read the cells of a page's table that begins with this header."""
    _, _, rest = (DOCS / page).read_text().partition(f"\n| {header} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_setting_is_there() -> None:
    """The table of settings has every variable, in the settings' order, with its default."""
    text = (DOCS / "settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|(.*?)\|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _, _ in rows] == [variable.names[0] for variable in VARIABLES.values()]
    for name, default, meaning in rows:
        variable = next(variable for variable in VARIABLES.values() if variable.names[0] == name)
        assert default.strip(" `") == variable.default or name in ("SSL_CIPHERS", "DENY_POD_CIDRS"), name
        assert all(f"`{other}`" in meaning for other in variable.names[1:])


@pytest.mark.parametrize(
    ("header", "keys"),
    [
        ("option | meaning", host_options._KEYS),
        ("option of `ssl` | the field holds", host_options._SSL_KEYS),
        ("key | meaning", path_entries._KEYS),
    ],
)
def test_every_key_of_annotations_is_there(header: str, keys: tuple[str, ...]) -> None:
    """The tables of annotations have the keys that are read, in this order, and no others."""
    assert [row[0].strip("` ") for row in read_rows("annotations.md", header)] == list(keys)


def test_names_of_annotations_are_the_defaults() -> None:
    """The page about annotations uses the default names of annotations, label, Secret, field and header."""
    text = (DOCS / "annotations.md").read_text()
    for key in (
        "hosts_annotation",
        "paths_annotation",
        "api_key_secret_name",
        "api_key_secret_field",
        "api_key_header",
    ):
        assert f"`{VARIABLES[key].default}`" in text, key
    label, _, value = str(VARIABLES["selector"].default).partition("=")
    assert f'`{label}: "{value}"`' in text


def test_exit_codes() -> None:
    """The table of exit codes has all codes of the code, and no others but those of signals."""
    codes = [arguments.OK, arguments.DIFFERENT, arguments.WRONG_INPUT, arguments.FAILED]
    assert [row[0].strip("| ") for row in read_rows("commands.md", "code | meaning")] == [*map(str, codes), "128 + N"]


def write_commands() -> str:
    """Write what `--help` says: of dispatcher itself, then of each command in the order of the list there."""
    whole = run("--help", COLUMNS="100").stdout
    names = re.findall(r"^    ([a-z]+) ", whole.partition("\ncommands:\n")[2], re.MULTILINE)
    assert {"replay", "record", "completion"} <= set(names)
    helps = {"dispatcher": whole} | {f"dispatcher {name}": run(name, "--help", COLUMNS="100").stdout for name in names}
    return "".join(f"\n## {name}\n\n```text\n{text.strip()}\n```\n" for name, text in helps.items())


def test_commands_are_what_help_says(request: pytest.FixtureRequest) -> None:
    """The page has the help of every command; Python versions break lines at different places."""
    page = DOCS / "commands.md"
    before, marker, written = page.read_text().partition(_MARKER)
    if request.config.getoption("--rewrite"):
        page.write_text(before + marker + write_commands())
        return
    assert written.split() == write_commands().split()


def write_options() -> str:
    """Write the tables of options, from their declarations."""
    tables = (("path", PATH_KEYS, "kind"), ("host", HOST_KEYS, "a bad value"))
    lines: list[str] = []
    for whose, keys, column in tables:
        lines += ["", f"### Of a {whose}", ""]
        lines += [f"| key | value | without it | {column} | what it does |", "| --- | --- | --- | --- | --- |"]
        for key in keys.values():
            about = key.kind.value if keys is PATH_KEYS else key.effect
            lines.append(f"| `{key.name}` | {key.shape} | {key.default} | {about} | {key.does} |")
    return "\n".join([*lines, ""])


def test_options_are_what_is_declared(request: pytest.FixtureRequest) -> None:
    """The page has all options as they are declared, in the order in which a request meets them."""
    page = DOCS / "options.md"
    before, marker, written = page.read_text().partition(_OPTIONS_MARKER)
    if request.config.getoption("--rewrite"):
        page.write_text(before + marker + write_options())
        return
    assert written == write_options()


def test_annotations_of_others_have_a_place() -> None:
    """The page for who comes from ingress-nginx names only options and settings that exist."""
    rows = read_rows("how-to/from-ingress-nginx.md", "annotation | here | differs in")
    known = {
        *PATH_KEYS,
        *(key.outer for key in PATH_KEYS.values()),
        *HOST_KEYS,
        *host_options._KEYS,
        *path_entries._KEYS,
    }
    for _, here, _ in rows:
        name = re.findall(r"`([^`]+)`", here)[0]
        assert name in known or name in {variable.names[0] for variable in VARIABLES.values()}, name
    assert len(rows) > 3


def test_files_of_the_tree(tmp_path: Path) -> None:
    """The page about files has every file of an artefact, with its mode."""
    recordings = DOCS.parent / "fixtures/walkthrough"
    made = run(
        "--once", "--snapshot", recordings / "019-one-pod-unready.json", "--output", tmp_path / "router",
        SSL_CERT=str(recordings / "default.crt"), SSL_KEY=str(recordings / "default.key"),
    )  # fmt: skip
    assert made.returncode == 0
    modes = {
        re.sub(
            r"^ssl/[^_/][^/]*/", "ssl/HOST/", str(path.relative_to(tmp_path / "router"))
        ): f"{path.stat().st_mode & 0o777:04o}"
        for path in (tmp_path / "router").rglob("*")
        if path.is_file() and "_default" not in path.parts
    }
    rows = {row[0].strip("` "): row[2] for row in read_rows("files.md", "file | holds | mode | secret")}
    assert rows.pop("ssl/_default/") == "as above"
    assert (rows.pop("ssl/_pods/"), rows.pop("passwords/")) == ("0644", "0600")
    assert rows == modes
