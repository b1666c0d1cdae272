"""Receipts: the proof that a person was erased, which names nobody. ``<home>/receipts/<request_id>.json``.

`digest` is the SHA-256 of everything else in it, so a damaged copy is told; `seal` is an HMAC of the same under the
home's secret "erasure", so that a receipt somebody wrote themselves is told, too.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from xmkt_assets.secrets import home_secret

FOLDER: Final = "receipts"
SECRET: Final = "erasure"
KEPT: Final = (
    "raw.erased_subjects: a keyed hash per erased account, so that later deliveries about the person are refused. "
    "Nobody can go back from it to the person without the secret of this home.",
    "staging.erasures and this receipt: numbers of rows and files, to prove that the request was carried out.",
    "What was learnt from many people together (serving models until the next training, counts per cell and effects "
    "until the next evaluation): no row of it is about the person.",
)


class ReceiptError(ValueError):
    """A receipt that cannot be written or does not hold; the message says why."""


def write_receipt(home: Path, content: Mapping[str, Any], *, words: Iterable[str]) -> Path:
    """Seal `content` and write it. Refuses one that holds any of `words`."""
    text = _canonical(content)
    if any(word in text for word in words):
        raise ReceiptError("The receipt would name the person. It was not written; this is a defect of the platform.")
    sealed = {**content, "digest": _digest(text), "seal": _seal(home, text)}
    path = home / FOLDER / f"{content['request_id']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.staged")
    staged.write_text(json.dumps(sealed, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(staged, path)
    return path


def verify_receipt(home: Path, path: Path) -> str:
    """What is wrong with a receipt, in words; an empty string where it holds."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        digest, seal = found.pop("digest"), found.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError):
        return "It is no receipt: wanted JSON with a digest and a seal."
    text = _canonical(found)
    if digest != _digest(text):
        return "It was changed after it was written: its digest is another one."
    if not hmac.compare_digest(str(seal), _seal(home, text)):
        return "It was not written by this home: its seal is another one."
    return ""


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _seal(home: Path, text: str) -> str:
    return hmac.digest(home_secret(home, SECRET), b"receipt " + text.encode(), "sha256").hex()
