"""A small S3 on loopback, fast enough to measure clients: data in files, sent by the kernel, an index in memory.

    python -m benchmarks.s3_server FOLDER

It prints its port. It knows what a transfer needs (PUT, ranged GET, HEAD, DELETE, multipart uploads, listings,
If-None-Match) and checks neither signatures nor checksums. A multipart object stays in the files of its parts.
"""

import itertools
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUFFER = 1 << 20


@dataclass
class Object:
    """Pieces (file and size) in order, and the headers that come back with them."""

    pieces: list[tuple[Path, int]]
    headers: dict[str, str]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.pieces)


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, tuple[Path, int]] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    objects: dict[str, Object] = {}  # noqa: RUF012
    uploads: dict[str, Upload] = {}  # noqa: RUF012
    numbers = itertools.count(1)
    lock = threading.Lock()

    def parse(self) -> tuple[str, dict[str, str]]:
        """The key (with its bucket) and the query."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).strip("/"), query

    def do_PUT(self) -> None:
        key, query = self.parse()
        piece = self.receive()
        if "uploadId" in query:
            self.uploads[query["uploadId"]].parts[int(query["partNumber"])] = piece
        elif "/" in key:
            with self.lock:
                if self.headers.get("If-None-Match") and key in self.objects:
                    return self.error(412, "PreconditionFailed")
                self.objects[key] = Object([piece], self.kept_headers())
        return self.reply(200, {"ETag": f'"{piece[0].name}"'})

    def do_POST(self) -> None:
        key, query = self.parse()
        self.receive()
        if "uploads" in query:
            identifier = f"upload-{next(self.numbers)}"
            self.uploads[identifier] = Upload(key, self.kept_headers())
            return self.reply(200, {}, f"<R><UploadId>{identifier}</UploadId></R>")
        upload = self.uploads.pop(query["uploadId"])
        self.objects[key] = Object([upload.parts[part] for part in sorted(upload.parts)], upload.headers)
        return self.reply(200, {}, '<R><ETag>"done"</ETag></R>')

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        key, query = self.parse()
        if "/" not in key:
            return self.reply(200, {}, self.listing(key, query))
        found = self.objects.get(key)
        if found is None:
            return self.error(404, "NoSuchKey")
        first, last, status = 0, found.size - 1, 200
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, status = int(span[1]), min(int(span[2] or last), last), 206
        headers = {**found.headers, "Content-Range": f"bytes {first}-{last}/{found.size}", "ETag": '"done"'}
        self.reply(status, {**headers, "Content-Length": str(last + 1 - first)})
        if self.command == "GET":
            self.send(found, first, last)
        return None

    def do_DELETE(self) -> None:
        self.objects.pop(self.parse()[0], None)
        self.reply(204, {})

    def listing(self, bucket: str, query: dict[str, str]) -> str:
        prefix = f"{bucket}/{query.get('prefix', '')}"
        if "uploads" in query:
            return "<R><IsTruncated>false</IsTruncated></R>"
        found = "".join(
            f"<Contents><Key>{escape(key.removeprefix(bucket + '/'))}</Key><Size>{each.size}</Size></Contents>"
            for key, each in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<R><IsTruncated>false</IsTruncated>{found}</R>"

    def kept_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}

    def receive(self) -> tuple[Path, int]:
        """The request's body in a file of its own, and its size."""
        path = self.folder / str(next(self.numbers))
        size = left = int(self.headers.get("Content-Length") or 0)
        view = memoryview(bytearray(min(BUFFER, max(left, 1))))
        with path.open("wb", buffering=0) as file:
            while left:
                count = self.rfile.readinto(view[: min(left, len(view))])  # type: ignore[attr-defined]
                if not count:
                    raise ConnectionError("the client left")
                file.write(view[:count])
                left -= count
        return path, size

    def send(self, found: Object, first: int, last: int) -> None:
        self.wfile.flush()
        start = 0
        for path, size in found.pieces:
            begin, end = max(first - start, 0), min(last + 1 - start, size)
            if begin < end:
                with path.open("rb", buffering=0) as file:
                    while begin < end:
                        begin += os.sendfile(self.connection.fileno(), file.fileno(), begin, end - begin)
            start += size

    def reply(self, status: int, headers: dict[str, str], body: str = "") -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body.encode())), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def error(self, status: int, code: str) -> None:
        self.reply(status, {}, "" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
