"""Secrets a home makes for itself: 32 random bytes each, in ``<home>/secrets/<name>.key``, for the owner's eyes only.

Here: making and reading them. Not here: what they are used for (`pseudonyms`, erasure), and the key of the partners'
hashes, which this platform never holds. A secret that is lost cannot be made again: what was derived from it can then
no longer be matched, so keep the folder in the backup of the home, and apart from every file that leaves it.
"""

import os
import re
import secrets
from pathlib import Path
from typing import Final

FOLDER: Final = "secrets"
LENGTH_BYTES: Final = 32
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_HEX: Final = re.compile(rf"[0-9a-f]{{{2 * LENGTH_BYTES}}}\n?")


class SecretError(RuntimeError):
    """A secret that cannot be used; the message names the file and the remedy, never its content."""


def home_secret(home: Path, name: str) -> bytes:
    """The secret `name` of a home, made on first use. Processes that ask at the same time are given the same bytes.

    Raises `SecretError` where the file cannot be read, is damaged, or is open to others.
    """
    if not _NAME.fullmatch(name):
        raise SecretError(f"A secret cannot be called {name!r}; wanted lower-case letters, digits and _.")
    path = home / FOLDER / f"{name}.key"
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise SecretError(
            f"{path} cannot be read or made ({error.strerror}). Run as the user who owns the home, or give that user "
            f"the folder: chmod 700 {path.parent}."
        ) from error


def _make(path: Path) -> None:
    """Write the file beside its place and link it there: a link fails where a file is, so the first writer wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)  # mkdir's mode is cut by the umask and ignored where the folder was there
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(LENGTH_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return
    finally:
        unfinished.unlink()


def _read(path: Path) -> bytes:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretError(f"{path} is open to other users (mode {mode:o}); wanted 600. Run: chmod 600 {path}.")
    text = path.read_bytes().decode("ascii", errors="replace")
    if not _HEX.fullmatch(text):
        raise SecretError(
            f"{path} holds {len(text)} characters that are no secret; wanted {2 * LENGTH_BYTES} hexadecimal digits. "
            f"Restore the file from the home's backup; a new one would not match what was made with the old."
        )
    return bytes.fromhex(text)
