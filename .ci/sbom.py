"""Write what an image is made of: `sbom.py DIR SITE_PACKAGES` makes DIR/sbom.cdx.json (CycloneDX) and DIR/licences.txt.

It runs while the image is built, and uses only Python's standard library. It reads what is installed: Debian's list of
packages, the metadata of the Python packages, and the parts that these packages name as compiled in (PEP 770).
"""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]
_DPKG = Path("/var/lib/dpkg/status")
_COPYRIGHT = "/usr/share/doc/{}/copyright"
_COMMON_LICENCE = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]+[A-Za-z0-9+])")


def component(kind: str, name: str, version: str, purl: str, licences: list[str]) -> Component:
    """Make one component. It names a licence as the package does, because few packages write a name that SPDX knows."""
    named = [{"license": {"name": licence}} for licence in licences]
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl, "licenses": named}


def read_debian() -> Iterator[Component]:
    """List the Debian packages that are installed."""
    system = platform.freedesktop_os_release()
    about = f"{system['ID']}-{system.get('VERSION_ID') or system.get('VERSION_CODENAME', 'sid')}"
    for paragraph in _DPKG.read_text().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version)}?arch={fields['Architecture']}&distro={about}"
            yield component("library", name, version, purl, read_debian_licences(name))


def read_debian_licences(package: str) -> list[str]:
    """Name the licences in a package's copyright file; if that is prose, those that it refers to, and itself."""
    text = Path(_COPYRIGHT.format(package)).read_text(errors="replace")
    if text.lstrip().startswith("Format:"):
        return sorted({name.strip() for name in re.findall(r"^License: *(\S.*)$", text, re.MULTILINE)})
    return [*sorted({*_COMMON_LICENCE.findall(text)}), f"see {_COPYRIGHT.format(package)}"]


def read_python(site_packages: str) -> Iterator[Component]:
    """List the Python packages, and the parts that are compiled into them."""
    for package in sorted(distributions(path=[site_packages]), key=lambda package: package.name.lower()):
        name = re.sub(r"[-_.]+", "-", package.name).lower()
        purl = f"pkg:pypi/{quote(name)}@{quote(package.version)}"
        yield component("library", name, package.version, purl, read_python_licences(package))
        for path in package.files or ():
            if ".dist-info/sboms/" in str(path) and path.suffix == ".json":
                yield from read_compiled_in(json.loads(path.read_text()), purl)


def read_python_licences(package: Distribution) -> list[str]:
    """Name the licences in a package's metadata: the expression, else the classifiers, else a one-line field."""
    fields = package.metadata
    classifiers = [line for line in fields.get_all("Classifier") or () if line.startswith("License ::")]
    named = [line.rpartition(" :: ")[2] for line in classifiers]
    field = fields.get("License", "").strip()
    expression = fields.get("License-Expression")
    return [expression] if expression else named or ([field] if field and "\n" not in field else ["not told"])


def read_compiled_in(bill: dict[str, Any], into: str) -> Iterator[Component]:
    """List the parts that a package's own bill names, without those that only its build needed."""
    for part in bill.get("components", ()):
        if part.get("scope", "required") == "required" and "version" in part:
            purl = part.get("purl", f"pkg:generic/{quote(part['name'])}@{quote(part['version'])}").partition("?")[0]
            told = [choice.get("expression") or _name(choice["license"]) for choice in part.get("licenses", ())]
            made = component("library", part["name"], part["version"], purl, told or ["not told"])
            yield made | {"bom-ref": f"{into}#{purl}"}


def _name(licence: dict[str, str]) -> str:
    return licence.get("id") or licence["name"]


def read_compiled(known: set[str]) -> Iterator[Component]:
    """List an nginx that was compiled while the image was built, and so is in no package, with its added modules."""
    if "nginx" not in known:
        told = subprocess.run(["/usr/sbin/nginx", "-V"], capture_output=True, text=True, check=True).stderr
        version = re.findall(r"nginx/([0-9.]+)", told)[0]
        yield component("application", "nginx", version, f"pkg:generic/nginx@{version}", ["BSD-2-Clause"])
        for module in re.findall(r"--add-module=\S*?([A-Za-z0-9_]+)(?=\s|$)", told):
            yield component("library", module, "unknown", f"pkg:generic/{module}", ["BSD-2-Clause"])


def main(folder: Path, site_packages: str) -> None:
    """Write both files."""
    found = [*read_debian(), *read_python(site_packages)]
    found += read_compiled({part["name"] for part in found})
    parts = {part["bom-ref"]: part for part in found}.values()  # a package's two bills may name one crate
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": list(parts)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    (folder / "licences.txt").write_text("".join(sorted({*map(write_line, parts)})))


def write_line(part: Component) -> str:
    """Write a component's line in the list of licences."""
    return f"{part['name']} {part['version']}: {', '.join(one['license']['name'] for one in part['licenses'])}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
