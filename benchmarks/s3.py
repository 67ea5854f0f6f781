"""A checkpoint of 2 GB in 32 shards to and from S3: our store against boto3's upload_file and download_file defaults.

    python -m benchmarks.s3 [--runs N] [--folder DIR]

Equality first: the bytes that the service holds after both uploads, and those on disk after both downloads. Then
interleaved runs, each a process of its own that imports what it needs before the clock starts. Ours hashes every file for
its manifest, sends a checksum with each part, and verifies every byte that it fetches; boto3's defaults compare nothing on
a ranged download. The service is benchmarks/s3_server.py on loopback, in files of the same disk. The floor is a copy of
the same files on that disk through one buffer.
"""

import argparse
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT, Run, Runs, measure, ratios, save, timed
from components.common.canonical import file_digest

SHARDS, SHARD = 32, 64 << 20

FOLDERS = "source, target = map(Path, sys.argv[1:])"
OURS = f"""
{FOLDERS}
from components.common.artifacts import Provenance
from components.common.s3_store import S3Store
provenance = Provenance("benchmark", "", "")
store = S3Store("s3://bucket/ours", target)
store.client.list_objects_v2(Bucket="bucket", Prefix="nothing")
"""
UPLOAD_OURS = timed(
    prepare=OURS
    + """
def produce(output):
    for path in source.iterdir():
        (output / path.name).hardlink_to(path)
    return {}
""",
    work="store.produce(provenance, produce)",
)
DOWNLOAD_OURS = timed(
    prepare=OURS + 'reference = store.find("benchmark", provenance.key)', work="store.fetch(reference)"
)
BOTO3 = f"""
{FOLDERS}
import boto3
client = boto3.client("s3")
names = sorted(path.name for path in source.iterdir())
client.list_objects_v2(Bucket="bucket", Prefix="nothing")
"""
UPLOAD_BOTO3 = timed(
    prepare=BOTO3, work='for name in names: client.upload_file(str(source / name), "bucket", f"boto3/{name}")'
)
DOWNLOAD_BOTO3 = timed(
    prepare=BOTO3, work='for name in names: client.download_file("bucket", f"boto3/{name}", str(target / name))'
)
FLOOR = timed(
    prepare=f"{FOLDERS}\nbuffer = memoryview(bytearray(1 << 20))",
    work="""
for path in source.iterdir():
    with path.open("rb", buffering=0) as read, (target / path.name).open("wb", buffering=0) as write:
        while count := read.readinto(buffer):
            write.write(buffer[:count])
""",
)
CODE = {
    "upload": {"ours": UPLOAD_OURS, "boto3": UPLOAD_BOTO3, "floor": FLOOR},
    "download": {"ours": DOWNLOAD_OURS, "boto3": DOWNLOAD_BOTO3, "floor": FLOOR},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put 10 GB for a while (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = make_shards(folder / "source")
        runs: dict[str, Runs] = {way: {subject: [] for subject in CODE[way]} for way in CODE}
        for number in range(options.runs + 1):  # the first round is compared, not measured
            with service(folder / "service") as environment:
                measured = one_round(folder, source, environment, compare=number == 0)
            if number:
                for way, subject, run in measured:
                    runs[way][subject].append(run)
    report(runs)


def make_shards(folder: Path) -> Path:
    folder.mkdir()
    for number in range(SHARDS):
        (folder / f"model-{number:05}.safetensors").write_bytes(os.urandom(SHARD))
    return folder


@contextmanager
def service(folder: Path) -> Iterator[dict[str, str]]:
    """An empty service; gives the environment that leads to it."""
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.s3_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        address = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
        try:
            yield {**os.environ, **keys, "AWS_ENDPOINT_URL": address}
        finally:
            process.kill()
    shutil.rmtree(folder)


def one_round(folder: Path, source: Path, environment: dict[str, str], compare: bool) -> list[tuple[str, str, Run]]:
    """Everybody uploads, then everybody downloads what they uploaded."""
    measured = []
    for way, subjects in CODE.items():
        for subject, code in subjects.items():
            target = folder / "target"
            target.mkdir()
            os.sync()
            measured.append((way, subject, measure(sys.executable, code, [source, target], environment)))
            if compare and way == "download":
                assert digests(target) == digests(source), f"{subject} fetched other bytes: nothing to compare"
            shutil.rmtree(target)
    return measured


def digests(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in folder.rglob("*.safetensors")}


def both_ways(runs: dict[str, Runs]) -> Runs:
    """An upload and a download as one: the times added, the larger memory."""
    join = {"wall": sum, "cpu": sum, "memory": max}
    return {
        subject: [
            {what: how(run[what] for run in pair) for what, how in join.items()}  # type: ignore[operator]
            for pair in zip(*(runs[way][subject] for way in runs), strict=True)
        ]
        for subject in next(iter(runs.values()))
    }


def report(runs: dict[str, Runs]) -> None:
    boto3 = importlib.metadata.version("boto3")
    result = {
        "subject": f"the store on S3, {SHARDS} shards of {SHARD >> 20} MiB, sent and fetched, all of it hashed and verified",
        "rival": f"boto3 {boto3} upload_file and download_file with their defaults",
        "equal": True,
        "tolerance": 0.0,
        **ratios(both_ways(runs), "boto3"),
        **{way: ratios(runs[way], "boto3") for way in runs},
        "runs": runs,
    }
    save("s3", ("boto3", "botocore", "s3transfer", "urllib3"), result)


if __name__ == "__main__":
    main()
