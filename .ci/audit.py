"""Look up known vulnerabilities of the packages in .ci/requirements.txt: `audit.py PIP_AUDIT`, the program to run.

Exit code 0: none is known; 1: some are known, a line for each; 2: not known, because not every package could be looked
up.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("requirements.txt")


def look_up(program: str) -> list[dict[str, Any]]:
    """Look up all pinned packages. Give an empty list if the program has no usable answer."""
    asked = [program, "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json", "-r", LOCK]
    answer = subprocess.run(asked, capture_output=True, text=True).stdout
    try:
        return list(json.loads(answer)["dependencies"])
    except (ValueError, KeyError):
        return []


def main() -> int:
    """Print what is known, and give the exit code."""
    packages = look_up(sys.argv[1])
    unknown = [package["name"] for package in packages if "vulns" not in package]
    found = [(package, known) for package in packages for known in package.get("vulns", ())]
    for package, known in found:
        mended = ", ".join(known["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {known['id']}, mended in {mended}")
    if unknown or not packages:
        told = f"{len(unknown)} of {len(packages)} packages could not" if packages else "no package could"
        print(f"audit: {told} be looked up; it needs a network with PyPI's list of vulnerabilities", file=sys.stderr)
        return 1 if found else 2
    print(f"audit: {len(packages)} packages, {len(found) or 'no'} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
