"""Logs: whole lines, the last of what was written over, and only the end of a long one."""

from __future__ import annotations

import os
from pathlib import Path

from studio.runs.tailing import LogReader


def test_lines_come_when_they_are_whole_and_the_unfinished_one_can_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    reader = LogReader(path)
    assert reader.read() == []
    with path.open("ab", buffering=0) as stream:
        stream.write("um\nd\u00f3is".encode()[:-1])
        assert reader.read() == ["um"]
        assert reader.unfinished == "dói"
        stream.write(b"s\n10%\r50%\r100%\r\n\xff\n 3%\r 4%")
        assert reader.read() == ["dóis", "100%", "\ufffd"]
        assert reader.unfinished == " 4%"
    reader.close()


def test_only_the_end_of_a_long_log_is_read_from_a_whole_line_on(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    reader = LogReader(path, keep=50)
    lines = reader.read()
    assert 3 < len(lines) < 7
    assert lines == [f"line {i}" for i in range(1000 - len(lines), 1000)]
    os.truncate(path, 0)
    with path.open("a") as stream:
        stream.write("new\n")
    assert reader.read() == ["new"]
