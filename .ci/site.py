"""What MkDocs cannot say in mkdocs.yml: the list of decisions, and links to files that are not pages of the site."""

import re
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent


def on_config(config: Any) -> Any:
    """List all decisions, so that a new one is a new file and nothing else."""
    decisions = [f"decisions/{path.name}" for path in sorted((TOP / "docs/decisions").glob("*.md"))]
    for section in config.nav:
        if isinstance(section, dict) and "Decisions" in section:
            section["Decisions"] = decisions
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that leave docs/ into their text: these files are in the repository and not on the site.

    Links to files that do not exist stay links, so that the strict build finds them.
    """
    folder = TOP / "docs" / Path(page.file.src_uri).parent

    def unlink(link: re.Match[str]) -> str:
        target = (folder / link["target"]).resolve()
        outside = target.exists() and TOP / "docs" not in [target, *target.parents]
        return link["text"] if outside or target == TOP / "docs/decisions" else link[0]

    return re.sub(r"\[(?P<text>[^\]\n]+)\]\((?P<target>(?!https?:|#)[^)#\s]+)\)", unlink, markdown)
