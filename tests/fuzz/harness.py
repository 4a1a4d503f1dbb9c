"""Fuzz one target, guided by code coverage: `harness.py TARGET [OPTION ...]`, with options of libFuzzer.

New inputs go into the folder $FUZZ_FOUND/TARGET. An input that breaks the target lies beside it as `crash-…`.
"""

import importlib
import os
import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"
_LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=65536", "-print_final_stats=1")


def main(target: str, *options: str) -> None:
    """Fuzz until a limit of the options is reached, or until the target breaks."""
    with atheris.instrument_imports(include=["reconciler"]):
        module = importlib.import_module(f"fuzz_{target}")
    found = Path(os.environ.get("FUZZ_FOUND", ".fuzz")) / target
    found.mkdir(parents=True, exist_ok=True)
    folders = () if any(option.startswith("-merge") for option in options) else (str(found), str(CORPUS / target))
    told = (*_LIMITS, f"-artifact_prefix={found.parent}/", *options)
    mutator = {"custom_mutator": module.mutate} if hasattr(module, "mutate") else {}
    again = f"{sys.executable} {__file__} {target}"  # libFuzzer starts this command again when it merges
    atheris.Setup([again, *told, *folders], module.check, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
