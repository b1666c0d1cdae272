"""Text files: what the bytes of a CSV or JSON-lines file are, before any row is read.

Here: one look through every byte (encoding, line ends, characters no text holds), a copy in UTF-8 with one kind of
line end where the file has another, and the physical line each row begins in. What the rows hold is ``reading``'s work.

The encoding is decided by the whole file, never by a sample: UTF-8 if every byte of it is UTF-8; else GB18030 (which
holds GBK and GB2312) if every byte is GB18030 and most lines that are not ASCII are no UTF-8. A UTF-8 file with a few
broken lines stays UTF-8: nearly any bytes can be read as GB18030, as text nobody wrote.
"""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import numpy as np
import polars as pl

_CHUNK: Final = 1 << 20
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
# A quote opens a value only where the value begins; what it holds keeps its line ends.
_QUOTED_OR_END: Final = re.compile(r'(?<![^\r\n,;|\t])"[^"]*+(?:""[^"]*+)*+"|\r\n?')
# Control characters and blanks outside of ASCII, and the bytes they begin with: those are found ten times as fast.
_ODD: Final = re.compile(rb"\xc2[\x80-\xa0]|\xe2\x80[\x80-\x8f\xa8-\xaf]|\xe3\x80\x80|\xef\xbb\xbf")
_ODD_BEGIN: Final = (b"\xc2", b"\xe2\x80", b"\xe3\x80\x80", b"\xef\xbb\xbf")


@dataclass(frozen=True, slots=True)
class TextLook:
    """What one look through a text file found. `lines` counts physical lines, as an editor does."""

    encoding: str = "utf-8"
    fault: str = ""  # place of the first byte that fits neither encoding
    lines: int = 0
    has_quotes: bool = False
    has_odd_characters: bool = False  # control characters, or blanks other than space, tab and line end
    has_tabs: bool = False
    has_backslashes: bool = False  # in JSON any character may be written with one
    has_mixed_line_ends: bool = False


class Malformed(NamedTuple):
    """A line that could not be split: its number as DuckDB counts, where it starts and how long it is, in bytes."""

    line: int
    start: int
    length: int


def opened(path: Path) -> BinaryIO:
    """The file's bytes, unpacked."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def look_through(path: Path) -> TextLook:
    """Look at every byte of the file once. A packed file is unpacked to its end, so a truncated one raises."""
    tally = _Tally()
    with opened(path) as handle:
        begin = handle.read(2)
        if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return TextLook(encoding="utf-16")
        for chunk in _chunks(handle, begin):
            tally.add(chunk)
    if tally.is_utf8:
        return tally.look("utf-8", "")
    if _is_gb18030(path):
        return tally.look("gb18030", "")
    return tally.look("utf-8", tally.fault)


def readable_copy(path: Path, look: TextLook, copy: Path) -> Path:
    """Write the file to `copy` in UTF-8; where it mixes kinds of line ends, with LF alone outside of quotes.

    Raises UnicodeDecodeError where the bytes are not of the encoding.
    """
    with opened(path) as packed, copy.open("w", encoding="utf-8", errors=_errors(look), newline="") as out:
        text = io.TextIOWrapper(packed, encoding=look.encoding, errors=_errors(look), newline="")
        if not look.has_mixed_line_ends:
            while chunk := text.read(_CHUNK):
                out.write(chunk)
        else:
            for part in _whole_records(text):
                out.write(_QUOTED_OR_END.sub(lambda m: "\n" if m[0][0] == "\r" else m[0], part))
    return copy


def line_starts(content: bytes, *, delimiter: str, bad: Sequence[Malformed]) -> Iterator[int]:
    """Physical line (from 1) in which each row begins, in order of the rows; no `delimiter` means JSON lines.

    The header and empty lines are no rows; a line that could not be split is one row for every line it holds.
    """
    ends = _line_ends(content)
    skip = bool(delimiter)
    for part, is_bad in _parts(content, bad):
        first = int(np.searchsorted(ends, part.start, side="right")) + 1
        for line in _bad_lines(content[part]) if is_bad else _record_lines(content[part], delimiter):
            if not skip:
                yield first + line
            skip = False


def records_before(content: bytes, *, delimiter: str, bad: Sequence[Malformed]) -> list[tuple[int, int]]:
    """(number of a bad line, well-formed records before it), the header not counted."""
    count, found, numbers = -bool(delimiter), [], iter(bad)
    for part, is_bad in _parts(content, bad):
        if is_bad:
            found.append((next(numbers).line, count))
        else:
            count += sum(1 for _ in _record_lines(content[part], delimiter))
    return found


# --- one look --------------------------------------------------------------------------------------------------------


class _Tally:
    """Running counts of a look."""

    def __init__(self) -> None:
        self.is_utf8, self.fault = True, ""
        self._size = self._lf = self._cr = self._crlf = 0
        self._has_quotes = self._has_odd = self._has_tabs = self._has_backslashes = False
        self._ends_with_line_end = True

    def add(self, chunk: bytes) -> None:
        """Count one stretch, which cuts no character and no CR LF in two."""
        if self.is_utf8 and not _is_utf8(chunk):
            self.is_utf8, self.fault = False, self._place_of_fault(chunk)
        line_feeds, tabs = _count(chunk, 10), chunk.count(b"\t")
        returns = chunk.count(b"\r")
        self._crlf += chunk.count(b"\r\n") if returns else 0
        low = int(np.count_nonzero(np.frombuffer(chunk, np.uint8) < 32))
        text = chunk.removeprefix(codecs.BOM_UTF8) if not self._size else chunk
        self._has_odd = self._has_odd or low > line_feeds + tabs + returns or _has_odd_text(text)
        self._has_quotes = self._has_quotes or b'"' in chunk
        self._has_tabs = self._has_tabs or tabs > 0
        self._has_backslashes = self._has_backslashes or b"\\" in chunk
        self._lf += line_feeds
        self._cr += returns
        self._size += len(chunk)
        self._ends_with_line_end = chunk.endswith((b"\n", b"\r"))

    def look(self, encoding: str, fault: str) -> TextLook:
        lone_cr, lone_lf = self._cr - self._crlf, self._lf - self._crlf
        ends = self._lf + lone_cr
        return TextLook(
            encoding=encoding,
            fault=fault,
            lines=ends + (not self._ends_with_line_end),
            has_quotes=self._has_quotes,
            has_odd_characters=self._has_odd,
            has_tabs=self._has_tabs,
            has_backslashes=self._has_backslashes,
            has_mixed_line_ends=sum(n > 0 for n in (lone_cr, lone_lf, self._crlf)) > 1,
        )

    def _place_of_fault(self, chunk: bytes) -> str:
        try:
            chunk.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._lf + chunk.count(b"\n", 0, error.start) + 1
            return f"byte {self._size + error.start + 1} of the file, in line {line}"
        return ""


def _chunks(handle: BinaryIO, rest: bytes) -> Iterator[bytes]:
    """The file in stretches that cut no UTF-8 character and no CR LF in two."""
    while chunk := handle.read(_CHUNK):
        chunk = rest + chunk
        cut = _cut(chunk)
        yield chunk[:cut]
        rest = chunk[cut:]
    if rest:
        yield rest


def _cut(chunk: bytes) -> int:
    if chunk[-1] < 0x80:
        return len(chunk) - (chunk[-1:] == b"\r")
    return next((len(chunk) - back for back in range(1, 5) if chunk[-back:][0] >= 0xC0), len(chunk))


def _is_utf8(chunk: bytes) -> bool:
    """Polars checks UTF-8 at a tenth of the cost of ``bytes.decode``."""
    try:
        pl.Series([chunk], dtype=pl.Binary).cast(pl.String)
    except pl.exceptions.ComputeError:
        return False
    return True


def _count(chunk: bytes, byte: int) -> int:
    return int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == byte))


def _has_odd_text(chunk: bytes) -> bool:
    if b"\x7f" in chunk:
        return True
    return not chunk.isascii() and any(begin in chunk for begin in _ODD_BEGIN) and _ODD.search(chunk) is not None


def _is_gb18030(path: Path) -> bool:
    """Whether every byte is GB18030 and fewer than half of the lines that are not ASCII are UTF-8."""
    decoder = codecs.getincrementaldecoder("gb18030")()
    foreign = utf8 = 0
    try:
        with opened(path) as lines:
            for line in lines:
                decoder.decode(line)
                if not line.isascii():
                    foreign += 1
                    utf8 += _is_utf8(line)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return 2 * utf8 < foreign


def _errors(look: TextLook) -> str:
    """Bytes that fit no encoding are kept as they are for DuckDB to refuse, line by line."""
    return "surrogateescape" if look.fault else "strict"


def _whole_records(text: io.TextIOWrapper) -> Iterator[str]:
    """The text in stretches that end at a line feed and outside of quotes."""
    kept: list[str] = []
    quotes = 0  # in what is kept
    while chunk := text.read(_CHUNK):
        cut = chunk.rfind("\n") + 1
        if cut and (quotes + chunk.count('"', 0, cut)) % 2 == 0:
            yield "".join([*kept, chunk[:cut]])
            kept, quotes = [chunk[cut:]], chunk.count('"', cut)
        else:
            kept.append(chunk)
            quotes += chunk.count('"')
    yield "".join(kept)


# --- lines and rows --------------------------------------------------------------------------------------------------


def _parts(content: bytes, bad: Sequence[Malformed]) -> Iterator[tuple[slice, bool]]:
    """Well-formed stretches and bad lines in turn, in the order of the file; True = a bad line."""
    begin = 0
    for _, start, length in bad:
        yield slice(begin, max(start, begin)), False
        # DuckDB's places are some bytes early after an empty line, so a bad line ends at the next line end.
        line_end = re.compile(rb"[\r\n]+").search(content, max(start + length - 1, begin))
        end = line_end.end() if line_end else len(content)
        yield slice(max(start, begin), end), True
        begin = end
    yield slice(begin, len(content)), False


def _line_ends(content: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Where each physical line ends: the place after its LF, its CR LF or its lone CR."""
    data = np.frombuffer(content, np.uint8)
    is_end = data == 10
    if b"\r" in content:
        returns = data == 13
        returns[:-1] &= ~is_end[1:]
        is_end |= returns
    return np.flatnonzero(is_end) + 1


def _record_lines(part: bytes, delimiter: str) -> Iterator[int]:
    """Lines of the part (from 0) in which its records begin."""
    lines = io.TextIOWrapper(io.BytesIO(part), encoding="utf-8-sig", errors="replace", newline="")
    if not delimiter:
        yield from (i for i, line in enumerate(lines) if line.strip("\r\n"))
        return
    limit = csv.field_size_limit(len(part) + 1)
    try:
        reader, start = csv.reader(lines, delimiter=delimiter), 0
        for record in reader:
            if record:
                yield start
            start = reader.line_num
    finally:
        csv.field_size_limit(limit)


def _bad_lines(part: bytes) -> Iterator[int]:
    yield from (i for i, line in enumerate(_LINE_END.split(part)) if line)
