"""Protects secrets: runs a program that cannot read certain folders, and lets nobody look into this process.

`python sandbox.py FOLDER... -- PROGRAM ARGUMENT...` runs the program.

This file is run alone and needs only the standard library, of it little: it is loaded each time that nginx starts or
tests a tree, and pathlib would be a third of that time. nginx runs as the same user as dispatcher, because another
user would need a capability. Landlock (https://docs.kernel.org/userspace-api/landlock.html) keeps nginx from the token
nevertheless. nginx also writes no core dumps, which would hold keys.
"""

import ctypes
import os
import resource
import stat
import struct
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_LIBC = ctypes.CDLL(None, use_errno=True)


def shield() -> None:
    """Prevent core dumps of this process, inspection by the same user, and write access to its files by other users.

    This process holds credentials and keys. A stricter umask stays.
    """
    os.umask(os.umask(0o077) | 0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def hide(folders: list[str]) -> None:
    """Prevent this process and its children from reading these folders from now on. OSError if that is not possible."""
    rules = _call(_CREATE_RULESET, struct.pack("=Q", _READ_FILE | _READ_DIR), 8, 0)
    for path in _list_others([os.path.realpath(folder) for folder in folders], "/"):
        _allow(rules, path)
    # An unprivileged process must first promise the kernel that it will gain no new privileges.
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _call(_RESTRICT_SELF, rules, 0)
    os.close(rules)


def _list_others(hidden: list[str], folder: str) -> list[str]:
    """List a folder's entries without hidden ones. Replace an entry that contains a hidden one by its own entries."""
    others = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if any(each.startswith(f"{entry.path}/") for each in hidden):
                others += _list_others(hidden, entry.path)
            elif entry.path not in hidden and not entry.is_symlink():
                others.append(entry.path)
    return others


def _allow(rules: int, path: str) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what cannot be opened now cannot be opened later
        return
    try:
        access = _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(handle).st_mode) else 0)
        _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, handle), 0)
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    result = _LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    return int(result)


def main() -> None:
    """Confine this process and replace it by the program."""
    split = sys.argv.index("--")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if folders := sys.argv[1:split]:
        try:
            hide(folders)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            sys.stderr.write(
                f"dispatcher: warning: nginx could read {', '.join(folders)}: no Landlock here ({reason})\n"
            )
    try:
        os.execv(sys.argv[split + 1], sys.argv[split + 1 :])  # noqa: S606  the program is a setting
    except OSError as error:
        sys.stderr.write(f"[emerg] {sys.argv[split + 1]} cannot be run: {error.strerror}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
