"""Fuzz one target, guided by what it covers: `harness.py TARGET [OPTION ...]`, options of libFuzzer.

New inputs are kept in the folder $FUZZ_FOUND/TARGET, and one that breaks the target lies beside it as `crash-…`.
"""

import importlib
import os
import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"
_LIMITS = ("-timeout=20", "-rss_limit_mb=3000", "-max_len=65536", "-print_final_stats=1")


def main(target: str, *options: str) -> None:
    """Run until the options say that it is enough, or until something breaks."""
    with atheris.instrument_imports(include=["reconciler"]):
        module = importlib.import_module(f"fuzz_{target}")
    found = Path(os.environ.get("FUZZ_FOUND", ".fuzz")) / target
    found.mkdir(parents=True, exist_ok=True)
    folders = () if any(option.startswith("-merge") for option in options) else (str(found), str(CORPUS / target))
    told = (*_LIMITS, f"-artifact_prefix={found.parent}/", *options)
    mutator = {"custom_mutator": module.mutate} if hasattr(module, "mutate") else {}
    again = f"{sys.executable} {__file__} {target}"  # libFuzzer merges in processes of its own
    atheris.Setup([again, *told, *folders], module.check, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
