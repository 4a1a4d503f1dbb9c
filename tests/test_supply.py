"""The locks of the packages that are installed: they are complete, have hashes, and match setup.cfg."""

import configparser
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

TOP = Path(__file__).parent.parent
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-oldest.txt")
PEERS = "requirements-peers.txt"


def read_lock(name: str) -> str:
    return (TOP / ".ci" / name).read_text()


def read_pins(name: str) -> dict[str, tuple[str, str]]:
    """Read a lock: for each package its version, and all lines about it."""
    parts = [part for part in re.split(r"^(?=\S)", read_lock(name), flags=re.MULTILINE) if part]
    split = [(part.partition("=="), part) for part in parts]
    return {canonicalize_name(package): (rest.split()[0], part) for (package, _, rest), part in split}


PINS = read_pins("requirements.txt")


def read_wanted() -> dict[str, Requirement]:
    """Read the requirements of setup.cfg, to run, and of pyproject.toml, to build."""
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    build = tomllib.loads((TOP / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = [Requirement(line) for line in setup["options"]["install_requires"].strip().splitlines() + build]
    return {canonicalize_name(one.name): one for one in wanted}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_what_setup_asks_for(lock: str) -> None:
    """Each requirement is pinned to a version that it allows; if this fails, `make lock` repairs the lock."""
    pins = read_pins(lock)
    for name, wanted in read_wanted().items():
        assert wanted.specifier.contains(pins[name][0]), wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_nothing_else(lock: str) -> None:
    """Each pin is required by setup.cfg or by another pin, as its comment says."""
    pins = read_pins(lock)
    for name, (_, rest) in pins.items():
        asked_by = set(re.findall(r"^ +#(?: via)? +(?!via$)(\S.*)$", rest, re.MULTILINE))
        others = asked_by - {"dispatcher (setup.cfg)", "-c .ci/requirements.txt", "the oldest version", "-r -"}
        assert {canonicalize_name(other) for other in others} <= pins.keys(), name
        assert others or "dispatcher (setup.cfg)" in asked_by or name == "setuptools", name


def test_image_gets_what_it_runs_with() -> None:
    """The image's lock names nothing that only tests or checks need."""
    direct = {name for name, (_, rest) in PINS.items() if "dispatcher (setup.cfg)" in rest}
    assert direct == read_wanted().keys() - {"setuptools"}


def test_tests_run_what_the_image_gets() -> None:
    """The tests run with the same versions of packages as the image."""
    tested = read_pins("requirements-dev.txt")
    assert {name: version for name, (version, _) in PINS.items()} == {name: tested[name][0] for name in PINS}


def test_oldest_is_the_oldest() -> None:
    """The lock of the oldest versions has the lowest version of each range in setup.cfg."""
    pins = read_pins("requirements-oldest.txt")
    for name, wanted in read_wanted().items():
        (lower,) = [Version(one.version) for one in wanted.specifier if one.operator == ">="]
        assert name == "setuptools" or Version(pins[name][0]).release[: len(lower.release)] == lower.release, name


@pytest.mark.parametrize("name", PINS)
def test_lock_is_closed(name: str) -> None:
    """What a pinned package needs is pinned too; this is tested if the pinned version is the installed one."""
    if "; sys_platform == 'win32'" in PINS[name][1]:
        pytest.skip("only Windows needs it")
    if name == "setuptools" or version(name) != PINS[name][0]:
        pytest.skip("another version is installed here")
    needed = [Requirement(line) for line in requires(name) or ()]
    here = [one for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
    assert {canonicalize_name(one.name) for one in here} <= PINS.keys()


def test_peers_come_on_top() -> None:
    """The lock of what some tests are run against adds packages to the one for tests, and changes none of them."""
    pins = read_pins(PEERS)
    assert pins and not pins.keys() & read_pins("requirements-dev.txt").keys()
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    wanted = [Requirement(line) for line in setup["options.extras_require"]["peers"].strip().splitlines()]
    assert {canonicalize_name(one.name) for one in wanted} <= pins.keys()


@pytest.mark.parametrize("lock", [*LOCKS, PEERS])
def test_every_pin_is_hashed(lock: str) -> None:
    """Each pin has the hashes of its files; a lock has no option, no URL and no path of a machine."""
    pins = read_pins(lock)
    assert len(pins) == len(re.findall(r"^\S", read_lock(lock), re.MULTILINE))
    for name, (_, rest) in pins.items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest), name
    assert not re.search(r"://|^-|@|/tmp|/var", read_lock(lock), re.MULTILINE)


def test_verbs_take_nothing_but_the_lock() -> None:
    """The Makefile installs the test tools by the lock's hashes; only NEWEST=1 installs the newest versions."""
    calls = re.findall(r"setup packages \$\(VENV\) (.*)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    tools, *others = calls
    newest = '--upgrade setuptools ".[test]" ".[docs]"'
    assert tools == f"$(if $(NEWEST),{newest},--no-deps --require-hashes --requirement $(LOCK))"
    peers = f"--no-deps --require-hashes --requirement .ci/{PEERS}"
    wheel = "--no-deps --no-index --force-reinstall dist/*.whl"
    assert others == ['".[supply]"', peers, '"$$(ls dist/*.whl)[fuzz]"', wheel]


def test_image_takes_nothing_but_the_lock() -> None:
    """Pip installs twice: first only wheels, from the lock and by hashes, then this package without an index."""
    if not (TOP / "Dockerfile").exists():
        pytest.skip("the tests run without the image's sources")
    text = (TOP / "Dockerfile").read_text().replace("\\\n", "")
    calls = re.findall(r"pip install (.*?)(?: &&|\n[A-Z#])", text, re.DOTALL)
    first, second = (set(call.split()) for call in calls)
    assert {"--require-hashes", "--only-binary", ":all:", "--no-deps", ".ci/requirements.txt"} <= first
    assert {"--no-index", "--no-deps", "--no-build-isolation", "."} <= second


AUDITS = {
    "nothing known": ([{"name": "a", "version": "1", "vulns": []}], 0, "audit: 1 packages, no known"),
    "one known": ([{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}], 1, "a 1: X-1"),
    "one not found": ([{"name": "a", "skip_reason": "?"}, {"name": "b", "version": "1", "vulns": []}], 2, "1 of 2"),
    "no answer": (None, 2, "no package could be looked up"),
}


@pytest.mark.parametrize("case", AUDITS)
def test_audit_says_what_it_knows(case: str, tmp_path: Path) -> None:
    """An audit succeeds only if every package was looked up and nothing is known; else one line says why not."""
    packages, code, told = AUDITS[case]
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\n" + (f"echo '{json.dumps({'dependencies': packages})}'" if packages else "exit 1"))
    program.chmod(0o755)
    audit = subprocess.run([sys.executable, TOP / ".ci" / "audit.py", program], capture_output=True, text=True)
    assert audit.returncode == code
    assert told in (said := audit.stdout + audit.stderr)
    assert "Traceback" not in said


def test_bill_reads_this_machine(tmp_path: Path) -> None:
    """The bill of materials names Debian's and Python's packages, what is compiled into them, and their licences."""
    if not Path("/var/lib/dpkg/status").exists():
        pytest.skip("no system of Debian's packages")
    spec = importlib.util.spec_from_file_location("sbom", TOP / ".ci" / "sbom.py")
    assert spec
    assert spec.loader
    sbom = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sbom)
    site_packages = str(Path(importlib.util.find_spec("msgspec").origin).parent.parent)  # type: ignore[union-attr,arg-type]
    found = {part["purl"].partition("?")[0]: part for part in sbom.read_python(site_packages)}
    assert found[f"pkg:pypi/msgspec@{version('msgspec')}"]["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    if (Path(site_packages) / f"cryptography-{version('cryptography')}.dist-info" / "sboms").is_dir():
        assert any(purl.startswith("pkg:generic/openssl@") for purl in found)
    debian = {part["name"]: part for part in sbom.read_debian()}
    assert debian["dpkg"]["licenses"]
