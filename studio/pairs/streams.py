"""Bytes of a source, decompressed, as records: JSON lines, JSON documents, delimited text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from studio.errors import InputError
from studio.pairs.rejects import Reject, RejectReason
from studio.pairs.roles import names_a_role

COMPRESSIONS = (".gz", ".zst")
_SNIFFED_LINES = 1000
_BLOCK = 1 << 20
_LONGEST_RECORD = 2_000

Record = tuple[int, Any]
"""Line (or row) from 1, and what stands there: a dict, a list, or whatever JSON holds."""

csv.field_size_limit(2**31 - 1)


def plain_suffix(path: Path) -> str:
    """The suffix that tells the format, without that of a compression, in lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed.

    Raises:
        InputError: it cannot be opened, or it ends or breaks in the middle of its compression.
    """
    try:
        with path.open("rb") as stream:
            if path.suffix.lower() == ".gz":
                yield io.BufferedReader(gzip.GzipFile(fileobj=stream), _BLOCK)
            elif path.suffix.lower() == ".zst":
                yield io.BufferedReader(_Zstandard(stream), _BLOCK)
            else:
                yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            "The compressed file is damaged; nothing was imported.",
            where=str(path),
            why=str(error),
            remedy="fetch or compress it again",
        ) from error
    except OSError as error:
        raise InputError("The file cannot be read.", where=str(path), why=error.strerror or str(error)) from error


class _Zstandard(io.RawIOBase):
    """A readable stream over zstandard frames that does not take a truncated one for its end."""

    def __init__(self, stream: BinaryIO) -> None:
        import zstandard

        self._stream, self._context = stream, zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._ready, self._waiting = b"", b""
        self._error = zstandard.ZstdError

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._waiting or self._stream.read(_BLOCK)
            self._waiting = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("the file ends in the middle of a frame")
                return 0
            if self._frame is None:
                self._frame = self._context.decompressobj()
            try:
                self._ready = self._frame.decompress(data)
            except self._error as error:
                raise EOFError(str(error)) from error
            if self._frame.eof:
                self._waiting, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def json_lines(stream: BinaryIO, name: str, rejects: list[Reject]) -> Iterator[Record]:
    """Yield the JSON of each line; lines that hold none become rejects. Blank lines are passed over."""
    for number, line in enumerate(stream, 1):
        data = line.rstrip(b"\r\n")
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            rejects.append(_reject(name, number, RejectReason.INVALID_UTF8, f"byte {error.start + 1}", data))
            continue
        try:
            yield number, json.loads(text)
        except RecursionError:
            rejects.append(_reject(name, number, RejectReason.BROKEN_JSON, "nested too deeply", data))
        except ValueError as error:
            rejects.append(_reject(name, number, RejectReason.BROKEN_JSON, str(error)[:200], data))


def json_document(data: bytes) -> list[Any] | None:
    """The records of one JSON document (a list, or an object with a list under `data`), or None if it is not one."""
    try:
        document = json.loads(data.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        document = document["data"]
    return document if isinstance(document, list) else None


def delimited(
    stream: BinaryIO, name: str, tabs: bool, known: frozenset[str], rejects: list[Reject]
) -> Iterator[Record]:
    """Yield each row of delimited text as a dict by header.

    Tab-separated text without a header gets the names query, positive and negative; its quotes are literal unless
    they enclose whole cells throughout. Other delimiters are told from the first lines.

    Args:
        tabs: whether the name says that tabs separate.
        known: column names that were asked for by hand: they make the first line a header.

    Raises:
        InputError: the header is not UTF-8.
    """
    head = _head(stream)
    delimiter = "\t" if tabs else _delimiter(head)
    literal = delimiter == "\t" and not _quoted(head)
    text = io.TextIOWrapper(
        io.BufferedReader(_Rejoined(head, stream), _BLOCK), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    lines = _Lines(text)

    def reader() -> Iterator[list[str]]:
        return csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL, strict=True
        )

    rows = reader()
    header: list[str] | None = None
    while True:
        lines.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            number, first = lines.give_back()
            shown = first.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            rejects.append(Reject(name, number, RejectReason.WRONG_ARITY, f"broken quotes: {error}", shown))
            rows = reader()
            continue
        number = lines.first
        if header is None:
            if tabs and 2 <= len(cells) <= 3 and not (known & set(cells) or any(map(names_a_role, cells))):
                header = ["query", "positive", "negative"][: len(cells)]
            else:
                header = _distinct(cells)
                if any(map(_undecodable, header)):
                    raise InputError("The header is not UTF-8.", where=f"{name}:1", remedy="convert the file to UTF-8")
                continue
        if not any(cells):
            continue
        if len(cells) != len(header):
            detail = f"{len(cells)} cells where the header has {len(header)}"
            rejects.append(Reject(name, number, RejectReason.WRONG_ARITY, detail, delimiter.join(cells)))
        elif any(not cell.isascii() and _undecodable(cell) for cell in cells):
            raw = delimiter.join(cells).encode("utf-8", "surrogateescape")
            rejects.append(_reject(name, number, RejectReason.INVALID_UTF8, "", raw))
        else:
            yield number, dict(zip(header, cells, strict=True))


class _Lines:
    """Lines of text that can be given back: a broken quote must not swallow the good lines after it."""

    def __init__(self, text: Iterator[str]) -> None:
        self._text, self._waiting = text, deque[str]()
        self._taken: list[str] = []
        self.first = 1

    def begin(self) -> None:
        """A record begins with the next line."""
        self.first += len(self._taken)
        self._taken = []

    def give_back(self) -> tuple[int, str]:
        """The record is broken: return the number and text of its first line, and read the rest again."""
        self._waiting.extendleft(reversed(self._taken[1:]))
        self._taken = self._taken[:1]
        return self.first, self._taken[0] if self._taken else ""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= _LONGEST_RECORD:
            raise csv.Error(f"a quote is open for more than {_LONGEST_RECORD} lines")
        line = self._waiting.popleft() if self._waiting else next(self._text)
        self._taken.append(line)
        return line


def _head(stream: BinaryIO) -> bytes:
    return b"".join(line for line, _ in zip(stream, range(_SNIFFED_LINES), strict=False))


class _Rejoined(io.RawIOBase):
    """The head that was already read, then the rest of the stream."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _delimiter(head: bytes) -> str:
    """The delimiter under which most of the first rows have the same number of cells, above one."""
    lines = head.decode("utf-8", "replace").splitlines()[:50]

    def evenness(delimiter: str) -> tuple[int, int]:
        sizes = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        size, count = max(sizes.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(0, 0))
        return (count, size) if size > 1 else (0, 0)

    return max((",", ";", "\t", "|"), key=evenness)


def _quoted(head: bytes) -> bool:
    """Whether quotes enclose tab-separated cells, as data frames write them, or are part of the text.

    They enclose where reading them so gives every row as many cells as the first, and every cell that opens with one
    is closed by one.
    """
    text = head.decode("utf-8", "replace")
    if '"' not in text:
        return False
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
    if len({len(row) for row in rows[:-1]}) > 1:
        return False
    opened_at, closed_at = (len(re.findall(pattern, text)) for pattern in (r'(?:^|[\t\n])"', r'"(?:$|[\t\r\n])'))
    return opened_at > 0 and closed_at >= opened_at


def _undecodable(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _distinct(header: list[str]) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for name in header:
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def _reject(name: str, number: int, reason: RejectReason, detail: str, data: bytes) -> Reject:
    return Reject(name, number, reason, detail, data[:8_000].decode("utf-8", "backslashreplace"))
