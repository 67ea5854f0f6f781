"""A chat endpoint on loopback that fails on cue and remembers what it was asked."""

import json
import socket
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DONE = object()


class Endpoint:
    """A chat endpoint that answers ``<prompt>!`` after the failures that were put on its cue."""

    def __init__(self):
        self.cue = deque()
        self.requests, self.headers, self.times = [], [], []
        self.models = []
        self.running = self.most = 0
        self.delay = 0.0
        self.lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                listed = {"data": [{"id": name} for name in endpoint.models]}
                body = json.dumps(listed).encode()
                self.send_response(200 if self.path == "/v1/models" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                endpoint.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that leave early are part of the tests
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler):
        request = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(request)
            self.times.append(time.monotonic())
            self.headers.append((handler.path, handler.headers.get("Authorization")))
            self.running += 1
            self.most = max(self.most, self.running)
            step = self.cue.popleft() if self.cue else DONE
        time.sleep(self.delay)
        with self.lock:
            self.running -= 1
        if step == "reset":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if step == "slow":
            time.sleep(1.5)
        status, body, extra = step if isinstance(step, tuple) else (200, self.good(request), {})
        handler.send_response(status)
        for name, value in extra.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def good(self, request):
        text = request["messages"][0]["content"] + "!"
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
