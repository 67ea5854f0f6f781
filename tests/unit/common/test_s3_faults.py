"""S3 that fails on cue: what passes is tried again, part by part; what does not is refused at once, by name."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.common.artifacts import Provenance, Reference
from components.common.errors import BadInput, Transient
from components.common.s3_client import ATTEMPTS, Location
from components.common.s3_store import S3Store
from components.common.store import open_store
from tests.s3 import CUT, ETAG, FLIP, HANG, LOST, RESET, SHORT, Fault, Request

pytestmark = pytest.mark.faults

PROVENANCE = Provenance("merging", "c" * 64, "d" * 64, {"models": ["a" * 64]})
MIB = 1 << 20
PART = 5 * MIB
PARTS = 6
ONCE = [(500, "InternalError"), (503, "SlowDown"), (404, "NoSuchKey"), RESET, CUT, LOST, ETAG]
HELD = {
    "completion": lambda request: request.method == "POST" and "uploadId=" in request.path,
    "commit": lambda request: request.method == "PUT" and request.path.endswith("/commit.json"),
    "manifest": lambda request: request.method == "PUT" and request.path.endswith("/manifest.json"),
    "probe": lambda request: request.path.endswith("/.conditional"),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("components.common.s3_download.PART", PART)
    monkeypatch.setattr("components.common.s3_upload.PART", PART)


def impatient(monkeypatch, kind) -> None:
    """Do not wait long for an answer that never comes; for others wait however busy the machine is."""
    if kind == HANG:
        monkeypatch.setattr("components.common.s3_client.READ_SECONDS", 3)


def write(output: Path) -> dict[str, int]:
    """One file of six parts, all different, and a small one."""
    (output / "weights.bin").write_bytes(b"".join(bytes([n]) * PART for n in range(PARTS)))
    (output / "config.json").write_text("{}")
    return {}


def never(output: Path) -> dict[str, int]:
    raise AssertionError("finished work is done again")


def second_part(request: Request) -> bool:
    return (request.range or "").startswith(f"bytes={PART}-") or "partNumber=2" in request.path


def asked(requests: list[Request]) -> int:
    return sum(second_part(request) for request in requests)


@pytest.mark.parametrize("kind", [*ONCE, SHORT, HANG], ids=str)
def test_a_part_that_fails_is_fetched_again_and_no_other(service, root, tmp_path, monkeypatch, kind):
    impatient(monkeypatch, kind)
    made = open_store(root).produce(PROVENANCE, write)
    service.requests.clear()
    service.faults.append(Fault(kind, second_part))
    folder = S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert (folder / "weights.bin").read_bytes()[PART : 2 * PART] == b"\1" * PART
    assert asked(service.requests) == (1 if kind == ETAG else 2)
    assert len(service.parts()) == PARTS + asked(service.requests)  # with the small file


def test_a_flipped_bit_is_found_and_the_file_fetched_again(service, root, tmp_path):
    made = open_store(root).produce(PROVENANCE, write)
    service.faults.append(Fault(FLIP, second_part))
    folder = S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert (folder / "weights.bin").read_bytes()[PART : 2 * PART] == b"\1" * PART


@pytest.mark.parametrize(
    "kind", [*ONCE, HANG, (400, "BadDigest"), (400, "RequestTimeout"), (404, "NoSuchUpload")], ids=str
)
def test_a_part_that_fails_is_sent_again(service, root, tmp_path, monkeypatch, kind):
    impatient(monkeypatch, kind)
    service.faults.append(Fault(kind, second_part))
    made = open_store(root).produce(PROVENANCE, write)
    folder = S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert (folder / "weights.bin").read_bytes()[PART : 2 * PART] == b"\1" * PART
    sent = [request for request in service.parts() if request.method == "PUT"]
    assert len(sent) <= PARTS + 1


@pytest.mark.parametrize("kind", [(500, "InternalError"), (503, "SlowDown"), LOST, RESET, HANG], ids=str)
@pytest.mark.parametrize("which", list(HELD))
def test_a_request_that_fails_once_changes_nothing(service, root, tmp_path, monkeypatch, kind, which):
    impatient(monkeypatch, kind)
    fault = Fault(kind, HELD[which])
    service.faults.append(fault)
    made = open_store(root).produce(PROVENANCE, write)
    assert fault.times == 0
    assert S3Store(root, tmp_path / "elsewhere").find("merging", PROVENANCE.key) == made


@pytest.mark.parametrize("kind", [(503, "SlowDown"), CUT, HANG], ids=str)
def test_attempts_are_bounded_and_the_end_is_transient(service, root, tmp_path, monkeypatch, kind):
    impatient(monkeypatch, kind)
    monkeypatch.setattr("components.common.s3_client.ATTEMPTS", 3)
    made = open_store(root).produce(PROVENANCE, write)
    service.faults.append(Fault(kind, second_part, times=1000))
    service.requests.clear()
    with pytest.raises(Transient, match=r"weights\.bin.*try again"):
        S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert asked(service.requests) == 3 < ATTEMPTS
    assert not list((tmp_path / "elsewhere" / "artifacts").glob("[0-9a-f]*"))


def test_a_service_that_is_away_is_transient(service, root, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Transient, match="try again"):
        open_store(root).find("merging", PROVENANCE.key)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(403, "AccessDenied", "access is denied"), (400, "ExpiredToken", "have expired"),
     (403, "InvalidAccessKeyId", "are not accepted"), (403, "SignatureDoesNotMatch", "are not accepted"),
     (404, "NoSuchBucket", "There is no bucket"), (301, "PermanentRedirect", "another region"),
     (403, "RequestTimeTooSkewed", "clock")],
)  # fmt: skip
@pytest.mark.parametrize("action", ["find", "fetch", "produce"])
def test_what_retrying_cannot_help_is_refused_at_once_by_name(service, root, tmp_path, status, code, words, action):
    made = open_store(root).produce(PROVENANCE, write)
    service.requests.clear()
    service.faults.append(Fault((status, code), lambda request: request.method != "HEAD", times=1000))
    store = S3Store(root, tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=words) as caught:
        {
            "find": lambda: store.find("merging", PROVENANCE.key),
            "fetch": lambda: store.fetch(made),
            "produce": lambda: store.produce(PROVENANCE, never),
        }[action]()
    assert f"'{Location.parse(root).bucket}'" in str(caught.value) and "\n" not in str(caught.value)
    assert len(service.requests) <= (3 if status == 301 else 1)  # boto3 itself looks where a redirect leads


def test_a_bucket_that_is_not_there_is_refused(service):
    with pytest.raises(BadInput, match="There is no bucket 'nowhere'; create it"):
        open_store("s3://nowhere/x").produce(PROVENANCE, never)


def test_no_credentials_is_bad_input_and_names_the_variables(service, root, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(BadInput, match="AWS_ACCESS_KEY_ID"):
        open_store(root).find("merging", PROVENANCE.key)


def test_a_metadata_service_is_no_endpoint(service, root, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://169.254.169.254/")
    with pytest.raises(BadInput, match="no endpoint may have"):
        open_store(root).find("merging", PROVENANCE.key)


def test_a_service_without_conditional_writes_is_refused_before_the_work(service, root):
    service.dropped.add("if-none-match")
    with pytest.raises(BadInput, match="ignores If-None-Match"):
        open_store(root).produce(PROVENANCE, never)


CHILD = """
import sys
from pathlib import Path
from components.common import s3_download, s3_upload
from components.common.artifacts import Reference
from components.common.s3_store import S3Store
from tests.unit.common.test_s3_faults import PART, PROVENANCE, write
s3_download.PART = s3_upload.PART = PART
what, root, scratch, *reference = sys.argv[1:]
store = S3Store(root, Path(scratch))
store.produce(PROVENANCE, write) if what == "produce" else store.fetch(Reference.load(Path(reference[0])))
"""


def killed(service, held: Callable[[Request], bool], ready: Callable[[], bool], *arguments: object) -> None:
    """Run the child, let it wait for ever for the answers that are ``held``, and kill it when ``ready``."""
    service.requests.clear()
    service.answered.clear()
    service.faults.append(Fault(HANG, held, times=1000))
    child = subprocess.Popen([sys.executable, "-c", CHILD, *map(str, arguments)], cwd=Path.cwd())
    deadline = time.monotonic() + 120
    while not ready() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ready() and child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    service.faults.clear()
    service.requests.clear()


def after(service, count: int) -> Callable[[Request], bool]:
    """Every transfer of contents but the first ``count``."""
    return lambda request: request.is_part() and len(service.parts()) > count


def done(service) -> int:
    return sum(request.is_part() for request in service.answered)


@pytest.mark.parametrize("machine", ["same", "other"])
def test_a_killed_upload_goes_on_part_by_part(service, root, tmp_path, machine):
    killed(service, after(service, 4), lambda: done(service) == 4, "produce", root, tmp_path / "same")
    assert S3Store(root, tmp_path / "third").find("merging", PROVENANCE.key) is None
    # The same machine still has the finished output; another makes it again and finds the parts.
    made = S3Store(root, tmp_path / machine).produce(PROVENANCE, never if machine == "same" else write)
    assert len(service.parts()) == PARTS - 4
    folder = S3Store(root, tmp_path / "third").fetch(made)
    assert (folder / "weights.bin").read_bytes() == b"".join(bytes([n]) * PART for n in range(PARTS))
    bucket = Location.parse(root).bucket
    assert "Uploads" not in service.client().list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("which", ["completion", "manifest", "commit"])
def test_a_kill_before_the_commit_leaves_no_readable_artifact_and_no_part_to_send(service, root, tmp_path, which):
    seen = []

    def held(request: Request) -> bool:
        if HELD[which](request):
            seen.append(request)
        return bool(seen and HELD[which](request))

    killed(service, held, lambda: bool(seen), "produce", root, tmp_path / "same")
    store = S3Store(root, tmp_path / "same")
    assert store.find("merging", PROVENANCE.key) is None
    store.fetch(store.produce(PROVENANCE, never))
    assert service.parts() == []


def test_a_killed_fetch_goes_on_part_by_part(service, root, tmp_path):
    made = open_store(root).produce(PROVENANCE, write)
    made.save(tmp_path / "reference.json")
    artifacts = tmp_path / "elsewhere" / "artifacts"

    def noted() -> bool:
        (journal,) = list(artifacts.glob(".*.journal")) or [None]
        return journal is not None and len(journal.read_text().splitlines()) == 1 + 4

    killed(service, after(service, 4), noted, "fetch", root, tmp_path / "elsewhere", tmp_path / "reference.json")
    assert not list(artifacts.glob("[0-9a-f]*"))
    folder = S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert len(service.parts()) == PARTS + 1 - 4
    assert (folder / "weights.bin").read_bytes() == b"".join(bytes([n]) * PART for n in range(PARTS))
    assert [path.name for path in artifacts.iterdir() if path.name.startswith(".")] == []


def test_noted_parts_that_a_power_cut_took_are_fetched_again(service, root, tmp_path):
    made = open_store(root).produce(PROVENANCE, write)
    made.save(tmp_path / "reference.json")
    artifacts = tmp_path / "elsewhere" / "artifacts"

    def noted() -> bool:
        (journal,) = list(artifacts.glob(".*.journal")) or [None]
        return journal is not None and len(journal.read_text().splitlines()) == 1 + 4

    killed(service, after(service, 4), noted, "fetch", root, tmp_path / "elsewhere", tmp_path / "reference.json")
    (partial,) = artifacts.glob(".*.partial")
    with (partial / "weights.bin").open("r+b") as file:
        file.write(bytes([255]) * PARTS * PART)
    folder = S3Store(root, tmp_path / "elsewhere").fetch(made)
    assert (folder / "weights.bin").read_bytes() == b"".join(bytes([n]) * PART for n in range(PARTS))


def attempt(root: str, scratch: str, barrier, results) -> None:
    from components.common import s3_upload

    s3_upload.PART = PART
    barrier.wait()

    def produce(output: Path) -> dict[str, int]:
        write(output)
        (output / "pid").write_text(str(os.getpid()))
        return {}

    store = S3Store(root, Path(scratch))
    results.put((store.produce(PROVENANCE, produce).digest, store.find("merging", PROVENANCE.key).digest))


def together(target, arguments: list[tuple]) -> list:
    """What processes that start at a barrier put into a queue."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(arguments)), context.Queue()
    processes = [context.Process(target=target, args=(*each, barrier, results)) for each in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return found


def test_of_attempts_alive_at_once_on_two_machines_one_counts_and_nothing_of_the_other_stays(service, root, tmp_path):
    found = together(attempt, [(root, str(tmp_path / name)) for name in ("first", "second")])
    (digest,) = {digest for pair in found for digest in pair}
    store = S3Store(root, tmp_path / "third")
    folder = store.fetch(store.find("merging", PROVENANCE.key))
    assert (folder / "pid").is_file()
    bucket = Location.parse(root).bucket
    keys = [
        each["Key"].removeprefix("team/store/") for each in service.client().list_objects_v2(Bucket=bucket)["Contents"]
    ]
    place = f"merging/{PROVENANCE.key}"
    kept = [f"{place}/{digest[:16]}/{name}" for name in ("config.json", "manifest.json", "pid", "weights.bin")]
    assert keys == sorted([".conditional", *kept, f"{place}/commit.json"])
    assert "Uploads" not in service.client().list_multipart_uploads(Bucket=bucket)


def fetching(root: str, scratch: str, reference: str, barrier, results) -> None:
    barrier.wait()
    results.put(str(S3Store(root, Path(scratch)).fetch(Reference.load(Path(reference)))))


def test_processes_of_one_machine_fetch_an_artifact_once(service, root, tmp_path):
    made = open_store(root).produce(PROVENANCE, write)
    made.save(tmp_path / "reference.json")
    service.requests.clear()
    found = together(fetching, [(root, str(tmp_path / "node"), str(tmp_path / "reference.json"))] * 3)
    assert len(set(found)) == 1
    assert sum(request.sent == 0 and request.is_part() for request in service.requests) == 2  # one part for each file
