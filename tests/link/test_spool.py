"""The journal: numbered without holes, on disk before it returns, full before it loses; an end always has its place."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.errors import Code, Refusal
from dataplane.core.usage import Outcome, RecordStatus, Usage, UsageRecord, UsageSource
from dataplane.link import segments
from dataplane.link.records import RECORD_BYTES
from dataplane.link.segments import SegmentStore, leftovers
from dataplane.link.spool import MemoryStore, Spool
from dataplane.telemetry.metrics import Metrics
from dataplane.wire.records import record_from
from protos import fleet_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]


def admitted(number: int) -> UsageRecord:
    return UsageRecord(request_id=f"req_{number}", status=RecordStatus.ADMITTED, key_id="vk_1", model="claude")


def final(number: int, outcome: Outcome = Outcome.OK) -> UsageRecord:
    return UsageRecord(request_id=f"req_{number}", key_id="vk_1", model="claude", outcome=outcome, cost_nano=number)


@pytest.fixture(params=["memory", "directory"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else SegmentStore.create(tmp_path / "spool", "ses_1")


def spool_of(store, limit_bytes=10**8, limit_records=10**5) -> Spool:
    return Spool(store, "ses_1", Metrics("test"), limit_bytes=limit_bytes, limit_records=limit_records)


def fill(spool: Spool) -> tuple[int, Refusal]:
    """Admit until it refuses: how many went in, and the refusal."""
    number = 0
    while True:
        try:
            spool.admit(admitted(number))
        except Refusal as refusal:
            return number, refusal
        number += 1


def requests(payloads: list[bytes]) -> list[tuple[str, str]]:
    records = [record_from(pb.UsageRecord.FromString(payload)) for payload in payloads]
    return [(record.request_id, str(record.status)) for record in records]


def test_records_come_out_in_order_and_numbered_from_one(store):
    spool = spool_of(store)
    for number in range(3):
        spool.admit(admitted(number))
        spool.settle(final(number))
    first, payloads = spool.read(1, 100, 10**6)
    assert first == 1
    assert requests(payloads) == [(f"req_{number}", status) for number in range(3) for status in ("admitted", "final")]
    assert spool.pending == 6
    assert spool.read(7, 100, 10**6) == (7, [])


def test_an_end_says_all_that_its_beginning_said(store):
    spool = spool_of(store)
    record = UsageRecord(request_id="req_1", status=RecordStatus.ADMITTED, key_id="vk_1", session="s-1", tags=("a",))
    spool.admit(record)
    record.status, record.outcome, record.cost_nano = RecordStatus.FINAL, Outcome.CUT, 7
    spool.settle(record)
    beginning, end = [record_from(pb.UsageRecord.FromString(payload)) for payload in spool.read(1, 2, 10**6)[1]]
    assert (beginning.session, beginning.tags, beginning.status) == ("s-1", ("a",), RecordStatus.ADMITTED)
    assert end == record


def test_reading_keeps_to_its_limits_and_acknowledging_frees(store):
    spool = spool_of(store)
    for number in range(10):
        spool.settle(final(number))
    assert len(spool.read(1, 4, 10**6)[1]) == 4
    assert len(spool.read(1, 100, 1)[1]) == 1
    spool.acknowledge(4)
    spool.acknowledge(2)  # a late one
    assert spool.pending == 6
    assert requests(spool.read(5, 100, 10**6)[1])[0] == ("req_4", "final")
    spool.acknowledge(10**9)
    assert spool.pending == 0


@given(st.lists(st.sampled_from(["settle", "read", "acknowledge"]), max_size=60), st.integers(1, 4), st.data())
def test_whatever_the_order_of_reading_and_acknowledging_every_record_is_read_once_more_or_freed(steps, limit, data):
    spool = spool_of(MemoryStore())
    written, freed = 0, 0
    for step in steps:
        if step == "settle":
            written += 1
            spool.settle(final(written))
        elif step == "acknowledge" and written > freed:
            freed = data.draw(st.integers(freed, written))
            spool.acknowledge(freed)
        first, payloads = spool.read(freed + 1, limit, 10**6)
        assert first == freed + 1
        assert requests(payloads) == [(f"req_{n}", "final") for n in range(first, min(first + limit, written + 1))]
        assert spool.pending == written - freed


def test_a_full_spool_refuses_requests_with_words_but_every_admitted_one_can_still_end(store):
    spool = spool_of(store, limit_bytes=4 * RECORD_BYTES)
    begun, refusal = fill(spool)
    assert (refusal.code, refusal.status, refusal.retry_after) == (Code.SPOOL_FULL, 503, 5)
    assert begun > 0
    largest = Usage(source=UsageSource.PROVIDER, raw="x" * 10**6)
    for number in range(begun):
        spool.settle(UsageRecord(request_id=f"req_{number}", usage=largest))
    assert store.size <= 4 * RECORD_BYTES
    assert spool.pending == 2 * begun
    spool.acknowledge(2 * begun)
    spool.admit(admitted(99))


def test_a_number_of_records_is_a_bound_too():
    spool = spool_of(MemoryStore(), limit_records=10)
    begun, _ = fill(spool)
    for number in range(begun):
        spool.settle(final(number))
    assert 8 <= spool.pending <= 10


def test_refused_requests_cannot_fill_a_spool_beyond_its_bound(store):
    spool = spool_of(store, limit_bytes=2 * RECORD_BYTES)
    for number in range(1_000):
        spool.settle(final(number, Outcome.REFUSED))
    assert store.size <= 2 * RECORD_BYTES
    assert b"spool_unrecorded_total" in spool._metrics.exposition()
    assert 0 < spool.pending < 1_000


# ---- the disk ----


def test_the_directory_is_for_its_owner_alone_and_holds_no_secret(tmp_path):
    store = SegmentStore.create(tmp_path / "spool", "ses_1")
    spool_of(store).settle(final(1))
    for path in (tmp_path / "spool", store.directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in store.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_disk_that_refuses_stops_admission_but_loses_no_settlement(tmp_path, monkeypatch):
    store = SegmentStore.create(tmp_path, "ses_1")
    spool = spool_of(store)
    spool.admit(admitted(1))
    write = os.write

    def refuse(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    spool.settle(final(1))
    with pytest.raises(Refusal):
        spool.admit(admitted(2))
    assert requests(spool.read(1, 10, 10**6)[1]) == [("req_1", "admitted")]
    assert requests(spool.read(2, 10, 10**6)[1]) == [("req_1", "final")]
    monkeypatch.setattr(os, "write", write)
    spool.admit(admitted(2))
    assert requests(spool.read(1, 10, 10**6)[1]) == [("req_1", "admitted"), ("req_1", "final"), ("req_2", "admitted")]


def test_a_write_that_the_disk_cut_short_leaves_no_trace(tmp_path, monkeypatch):
    store = SegmentStore.create(tmp_path, "ses_1")
    spool = spool_of(store)
    spool.admit(admitted(1))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:-3]))
    with pytest.raises(Refusal):
        spool.admit(admitted(2))
    monkeypatch.setattr(os, "write", write)
    spool.settle(final(1))
    store.close()
    [recovered] = leftovers(tmp_path)
    assert requests(recovered.read(1, 10, 10**6)[1]) == [("req_1", "admitted"), ("req_1", "final")]
    assert recovered.damaged == 0


def test_files_are_cut_and_go_away_when_their_records_are_acknowledged(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 300)
    monkeypatch.setattr(segments, "SMALL_BYTES", 100)
    store = SegmentStore.create(tmp_path, "ses_1")
    spool = spool_of(store)
    for number in range(50):
        spool.settle(final(number))
    assert len(list(store.directory.glob("*.segment"))) > 5
    assert store.size == sum(path.stat().st_size for path in store.directory.glob("*.segment"))
    seq, found = 1, []
    while payloads := spool.read(seq, 7, 10**6)[1]:
        found += payloads
        seq += len(payloads)
    assert requests(found) == [(f"req_{number}", "final") for number in range(50)]
    spool.acknowledge(30)
    assert requests(spool.read(31, 1, 10**6)[1]) == [("req_30", "final")]
    assert store.size == sum(path.stat().st_size for path in store.directory.glob("*.segment"))
    spool.acknowledge(50)
    store.dirty()
    assert len(list(store.directory.glob("*.segment"))) <= 1


def test_a_file_that_somebody_else_cut_is_not_read_as_if_it_were_whole(tmp_path):
    store = SegmentStore.create(tmp_path, "ses_1")
    spool = spool_of(store)
    spool.settle(final(1))
    [path] = store.directory.glob("*.segment")
    os.truncate(path, store.size - 1)
    with pytest.raises(OSError, match="shorter"):
        spool.read(1, 10, 10**6)


def test_after_a_failed_sync_the_records_are_written_anew(tmp_path):
    store = SegmentStore.create(tmp_path, "ses_1")
    spool = spool_of(store)
    spool.settle(final(1))
    [segment] = store.dirty()
    inode = segment.path.stat().st_ino
    store.renew(segment)
    assert segment.path.stat().st_ino != inode
    spool.settle(final(2))
    assert requests(spool.read(1, 10, 10**6)[1]) == [("req_1", "final")]
    assert requests(spool.read(2, 10, 10**6)[1]) == [("req_2", "final")]
    store.close()
    [recovered] = leftovers(tmp_path)
    assert recovered.count == 2


# ---- what is left of a dead process ----


def test_a_live_session_is_never_taken_over_and_a_dead_one_by_one_pod_only(tmp_path):
    store = SegmentStore.create(tmp_path, "ses_live")
    spool_of(store).settle(final(1))
    assert list(leftovers(tmp_path)) == []
    store.close()
    [recovered] = leftovers(tmp_path)
    assert (recovered.session_id, recovered.count) == ("ses_live", 1)
    assert list(leftovers(tmp_path)) == []
    recovered.remove()
    assert list(tmp_path.iterdir()) == []


def left_by(owner: str, parent: Path) -> Path:
    store = SegmentStore.create(parent, f"ses_of_{owner}", owner)
    Spool(store, store.session_id, Metrics("test"), limit_bytes=10**9, limit_records=10**9).settle(final(1))
    store.close()
    return store.directory


def written(directory: Path, ago_s: float) -> None:
    for path in directory.iterdir():
        os.utime(path, times=(time.time() - ago_s,) * 2)


def test_what_a_pod_left_waits_for_its_next_process_for_a_minute(tmp_path):
    mine, neighbours = left_by("me", tmp_path), left_by("neighbour", tmp_path)
    [taken] = leftovers(tmp_path, "me")
    assert taken.directory == mine
    taken.close()
    written(neighbours, segments.QUIET_S - 5)
    assert [store.directory for store in leftovers(tmp_path, "neighbour")] == [neighbours]


@pytest.mark.parametrize("ago_s", [segments.QUIET_S + 5, -segments.QUIET_S - 5])
def test_what_nobody_came_back_for_is_anybodys_whichever_way_the_clock_was_set(tmp_path, ago_s):
    neighbours = left_by("neighbour", tmp_path)
    written(neighbours, ago_s)
    assert [store.directory for store in leftovers(tmp_path, "me")] == [neighbours]


def test_a_directory_that_is_still_being_made_is_nobodys_leftover(tmp_path):
    (tmp_path / "new-ses_1").mkdir()
    (tmp_path / "ses_foreign").mkdir()  # without a lock: not ours
    assert list(leftovers(tmp_path)) == []


@given(st.integers(1, 400), st.integers(0, 255))
def test_a_torn_or_damaged_end_costs_only_what_is_torn(cut, noise):
    data = b"".join(
        segments._header(seq, payload) + payload for seq, payload in enumerate([b"a" * 100, b"b" * 100, b"c" * 100], 1)
    )
    whole = [payload for _, payload in segments.frames(data, 1)]
    torn = data[: max(0, len(data) - cut)]
    assert [payload for _, payload in segments.frames(torn, 1)] == whole[: len(torn) // 116]
    damaged = bytearray(data)
    damaged[-cut if cut <= len(data) else 0] ^= noise or 1
    sound = [payload for _, payload in segments.frames(bytes(damaged), 1)]
    assert sound == whole[: len(sound)]
    assert len(sound) < 3


WRITER = """
import os, sys
from pathlib import Path
from dataplane.core.usage import UsageRecord, RecordStatus
from dataplane.link.segments import SegmentStore
from dataplane.link.spool import Spool
from dataplane.telemetry.metrics import Metrics
store = SegmentStore.create(Path(sys.argv[1]), "ses_doomed")
spool = Spool(store, "ses_doomed", Metrics("test"), limit_bytes=10**9, limit_records=10**9)
for number in range(10**9):
    spool.admit(UsageRecord(request_id=f"req_{number}", status=RecordStatus.ADMITTED))
    os.write(1, b"admitted %d\\n" % number)
    spool.settle(UsageRecord(request_id=f"req_{number}"))
    os.write(1, b"final %d\\n" % number)
"""


def test_sigkill_loses_no_record_that_was_returned_for(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    output = child.stdout
    assert output is not None
    told = [output.readline() for _ in range(2_000)]
    reader = threading.Thread(target=lambda: told.extend(output))
    reader.start()  # so that it is killed while it writes, not while it waits for us
    child.send_signal(signal.SIGKILL)
    child.wait()
    reader.join()
    [recovered] = leftovers(tmp_path)
    on_disk = requests(recovered.read(1, 10**6, 10**9)[1])
    complete = [line.split() for line in told if line.endswith(b"\n")]
    assert len(complete) >= 2_000
    assert on_disk[: len(complete)] == [(f"req_{int(number)}", status.decode()) for status, number in complete]
    assert len(on_disk) <= len(complete) + 1  # one may have been written and not been told
