"""Events: every one exactly once, whatever happens to the file; numbering that outlives its writer."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import UnavailableError
from studio.runs.events import EventReader, EventWriter, last_event
from tests.cli.conftest import environment

TEXT = st.text(st.characters(), max_size=20)
SHARES = st.floats(0, 1)
MESSAGES = st.lists(TEXT, min_size=1, max_size=8)


def write(path: Path, count: int, first: int = 0) -> None:
    writer = EventWriter(path)
    for i in range(first, first + count):
        writer.write("note", i, message=f"m{i}")
    writer.close()


def steps(reader: EventReader) -> list[int]:
    return [event.step for event in reader.read()]


@given(MESSAGES, st.lists(SHARES, max_size=12), SHARES)
def test_any_chopping_into_appended_pieces_tells_each_event_once(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str], shares: list[float], late: float
) -> None:
    folder = tmp_path_factory.mktemp("chopped")
    writer = EventWriter(folder / "whole")
    written = [writer.write("note", i, message=message) for i, message in enumerate(messages)]
    writer.close()
    whole = (folder / "whole").read_bytes()
    cuts = sorted(round(share * len(whole)) for share in shares)
    late_at = round(late * len(cuts))
    reader, told = EventReader(folder / "grown"), []
    for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
        with (folder / "grown").open("ab") as stream:
            stream.write(whole[start:stop])
        told += reader.read()
        if i == late_at:
            assert EventReader(folder / "grown").read() == told, "a reader opened at any time sees the full history"
    assert told == written
    assert reader.read() == []
    assert reader.damaged == 0


@given(MESSAGES, st.data())
def test_damage_costs_only_the_damaged_lines(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "events.jsonl"
    writer = EventWriter(path)
    written = [writer.write("note", i, message=message) for i, message in enumerate(messages)]
    writer.close()
    lines = path.read_bytes().splitlines(keepends=True)
    bad = data.draw(st.integers(0, len(lines) - 1))
    junk = data.draw(
        st.sampled_from([b"\x00" * 40, b"\xff\xfe{", b"{}", b"[1]", b'{"seq": true}', b"9" * 5000, b"[" * 9999])
    )
    lines[bad] = junk + b"\n"
    path.write_bytes(b"".join(lines))
    reader = EventReader(path)
    assert reader.read() == written[:bad] + written[bad + 1 :]
    assert reader.damaged == 1


@given(MESSAGES, SHARES)
def test_a_writer_killed_within_a_line_loses_that_line_only(
    tmp_path_factory: pytest.TempPathFactory, messages: list[str], share: float
) -> None:
    path = tmp_path_factory.mktemp("torn") / "events.jsonl"
    writer = EventWriter(path)
    written = [writer.write("note", i, message=message) for i, message in enumerate(messages)]
    writer.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: round(share * len(whole))])
    before = EventReader(path)
    told = before.read()
    again = EventWriter(path)
    more = again.write("note", 99, message="after")
    again.close()
    fresh = EventReader(path).read()
    numbers = [event.seq for event in fresh]
    assert numbers == sorted(set(numbers))
    assert fresh[-1] == more
    assert fresh[:-1] == written[: len(fresh) - 1]
    assert told + before.read() == fresh


def test_a_half_written_line_holds_back_nothing_before_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 2)
    reader = EventReader(path)
    with path.open("ab") as stream:
        stream.write(b'{"seq": 3, "time": 1.0, "st')
        stream.flush()
        assert steps(reader) == [0, 1]
        assert steps(reader) == []
        stream.write(b'ep": 2, "type": "note"}\n')
    assert steps(reader) == [2]


def test_a_missing_file_has_no_events_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "later" / "events.jsonl"
    reader = EventReader(path)
    assert reader.read() == []
    write(path, 1)
    assert steps(reader) == [0]


def test_a_file_that_is_cut_is_read_again_and_nothing_told_twice(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer, reader = EventWriter(path), EventReader(path)
    for i in range(5):
        writer.write("note", i)
    assert steps(reader) == [0, 1, 2, 3, 4]
    os.truncate(path, 0)
    assert steps(reader) == []
    writer.write("note", 5)
    assert steps(reader) == [5]
    # Cut and grown beyond where the reader was: only the bytes before that place tell.
    os.truncate(path, 10)
    for i in range(6, 12):
        writer.write("note", i, message="longer than before" * 20)
    assert steps(reader) == [6, 7, 8, 9, 10, 11]
    assert reader.damaged == 1
    writer.close()


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer, reader = EventWriter(path), EventReader(path)
    writer.write("note", 0)
    assert steps(reader) == [0]
    writer.write("note", 1)
    path.rename(tmp_path / "events.jsonl.1")
    assert steps(reader) == [1], "what was not read yet is read from the file that was moved"
    writer.write("note", 2)
    writer.close()
    assert path.exists()
    assert steps(reader) == [2]
    assert [event.seq for event in EventReader(path).read()] == [3], "numbering goes on"


def test_a_file_replaced_by_a_copy_of_itself_tells_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 3)
    reader = EventReader(path)
    assert steps(reader) == [0, 1, 2]
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    write(path, 2, first=3)
    assert steps(reader) == [3, 4]


def test_a_run_made_anew_under_the_same_name_is_told_from_its_first_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(path, 5)
    reader = EventReader(path)
    assert len(reader.read()) == 5
    path.unlink()
    assert reader.read() == []
    write(path, 2, first=70)
    assert steps(reader) == [70, 71]


def test_two_viewers_read_alike_and_neither_disturbs_the_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer, one, other = EventWriter(path), EventReader(path), EventReader(path)
    seen: dict[str, list[int]] = {"one": [], "other": []}
    rng = random.Random(5)
    for i in range(50):
        writer.write("note", i)
        if rng.random() < 0.5:
            seen["one"] += steps(one)
        if rng.random() < 0.2:
            seen["other"] += steps(other)
    seen["one"] += steps(one)
    seen["other"] += steps(other)
    writer.close()
    assert seen["one"] == seen["other"] == list(range(50))


def test_no_number_becomes_null_and_never_nought(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    event = writer.write(
        "train",
        3,
        loss=float("nan"),
        grad_norm=np.float32("inf"),
        lr=np.float64(1e-5),
        devices=[{"power": -math.inf, "index": np.int64(1)}],
        where=Path("a"),
    )
    writer.close()
    expected = {"loss": None, "grad_norm": None, "lr": 1e-5, "devices": [{"power": None, "index": 1}], "where": "a"}
    assert event.fields == expected
    assert EventReader(path).read() == [event]
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_foreign_nan_is_read_as_unknown(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"seq": 1, "time": 1, "step": 1, "type": "train", "loss": NaN, "lr": -Infinity}\n')
    assert EventReader(path).read()[0].fields == {"loss": None, "lr": None}


def test_hostile_text_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    message = "a\nb\r\u2028\x1b[2Jç\ud800"
    writer = EventWriter(path)
    writer.write("note", 1, message=message)
    writer.close()
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert all(32 <= byte < 127 for byte in data.rstrip(b"\n"))
    assert EventReader(path).read()[0].fields["message"] == message


def test_an_unknown_type_is_a_fault_of_the_writer_and_none_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    with pytest.raises(ValueError, match="no type"):
        writer.write("surprise", 1)
    writer.close()
    path.write_text('{"seq": 1, "time": 1, "step": 1, "type": "from a later version"}\n')
    assert len(EventReader(path).read()) == 1


def test_threads_write_whole_lines_with_numbers_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    threads = [
        threading.Thread(target=lambda: [writer.write("note", i, message="x" * 300) for i in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    reader = EventReader(path)
    assert [event.seq for event in reader.read()] == list(range(1, 401))
    assert reader.damaged == 0


def test_each_event_is_one_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"seq": 7, "time": 1, "step": 1, "type": "note"}\n{"torn')
    writer = EventWriter(path)
    pieces: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: (pieces.append(bytes(data)), real(file, data))[1])
    for i in range(3):
        writer.write("note", i, message="x" * 10_000)
    monkeypatch.undo()
    writer.close()
    assert len(pieces) == 3
    assert all(piece.count(b"\n") == 1 and piece.endswith(b"\n") for piece in pieces)
    assert [event.seq for event in EventReader(path).read()] == [7, 8, 9, 10]


def test_a_full_disk_is_explained_and_costs_no_other_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes part of a line, then has no space; later there is some again."""
    path = tmp_path / "events.jsonl"
    writer, real = EventWriter(path), os.write
    writer.write("note", 0)
    full = False

    def write_some(file: int, data: bytes) -> int:
        nonlocal full
        if full:
            raise OSError(errno.ENOSPC, "no space")
        full = True
        return real(file, data[:-1])

    monkeypatch.setattr(os, "write", write_some)
    with pytest.raises(UnavailableError, match="Could not write"):
        writer.write("note", 1)
    monkeypatch.undo()
    writer.write("note", 2)
    writer.close()
    numbers = [event.seq for event in EventReader(path).read()]
    assert numbers == [1, 2, 3], "the line that lacked only its end is there, and its number was not used again"


def test_a_writer_killed_for_real_is_followed_by_another(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    code = (
        "import sys; from pathlib import Path; from studio.runs.events import EventWriter\n"
        "writer = EventWriter(Path(sys.argv[1])); i = 0\n"
        "while True:\n    i += 1; writer.write('note', i, message='x' * 2000)\n"
        "    i == 20 and print('ready', flush=True)"
    )
    reader, told = EventReader(path), []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, env=environment())
        assert process.stdout is not None
        process.stdout.readline()
        told += reader.read()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    told += reader.read()
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert EventReader(path).read() == told


def test_the_last_event_is_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_event(path) is None
    writer = EventWriter(path)
    writer.write("note", 1, message="x" * 100_000)
    long = writer.write("note", 2, message="x" * 100_000)
    writer.close()
    with path.open("ab") as stream:
        stream.write(b"damaged\n{torn")
    assert last_event(path) == long
