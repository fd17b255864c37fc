#!/usr/bin/env python3
"""tests/test_js_fetch.py MUSTER - fetch(), blobs and scripts from servers, as scripts see them.

A server of a few lines in this process answers on loopback, under two names of which one is another origin.
Each test is a script of tests/test_js_fetch/, run twice where it says so: as a file, which has no origin, and from
the server, whose origin it has then.  A script prints "ok: a sentence" or "FAILED: ..." for each of its groups
and "done" at last.
"""
import gzip
import http.server
import os
import re
import subprocess
import sys
import threading

from served import without_leak_check

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "test_js_fetch")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gates = {}  # name -> event: what /wait waits for
    seen = []   # "METHOD path"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=(), reason=None):
        self.send_response_only(status, reason)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.path.startswith("/hang"):
            return b""  # it is not read
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline().strip(), 16)
                piece = self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
                data += piece
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def handle_any(self):
        path, _, query = self.path.partition("?")
        body = self.body()
        Handler.seen.append(f"{self.command} {self.path}")
        method = getattr(self, "at_" + path.strip("/").replace("/", "_").replace(".", "_"), None)
        if method:
            method(query, body)
        elif path.startswith("/scripts/"):
            self.script(path, query)
        else:
            self.answer(404, b"nothing here")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = handle_any

    def script(self, path, _query):
        file = os.path.join(SCRIPTS, os.path.basename(path))
        if not os.path.isfile(file):
            self.answer(404)
            return
        with open(file, "rb") as script:
            self.answer(200, script.read(), [("Content-Type", "text/javascript; charset=utf-8")])

    def at_echo(self, _query, body):
        lines = [f"{self.command} {self.path}"]
        lines += sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
        text = "\n".join(lines).encode("latin-1") + b"\n\n" + body
        self.answer(200, text, [("Content-Type", "text/plain"), ("X-Secret", "1"), ("Set-Cookie", "a=b")])

    def at_open(self, query, body):
        """As /echo, for other origins."""
        allow = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", "x-shown"),
                 ("X-Shown", "1"), ("X-Hidden", "2")]
        if self.command == "OPTIONS":
            allow += [("Access-Control-Allow-Methods", "PUT"), ("Access-Control-Allow-Headers", "x-asked"),
                      ("Access-Control-Max-Age", "60")]
        self.answer(200, f"{self.command} {self.headers.get('origin')} {body.decode()}".encode(), allow)

    def at_named(self, query, _body):
        self.answer(200, b"named", [("Access-Control-Allow-Origin", self.headers.get("origin", "")),
                                    ("Access-Control-Allow-Credentials", "true")])

    def at_redirect(self, query, _body):
        status, _, place = query.partition("&")
        self.answer(int(status), b"moved", [("Location", place), ("Access-Control-Allow-Origin", "*")])

    def at_gzip(self, _query, _body):
        self.answer(200, gzip.compress(b"packed " * 1000), [("Content-Encoding", "gzip")])

    def at_large(self, query, _body):
        size = int(query)
        self.send_response_only(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        try:
            for at in range(0, size, 65536):
                self.wfile.write(bytes(min(65536, size - at)))
        except OSError:
            self.close_connection = True

    def at_wait(self, query, _body):
        """Says its head, then waits until /go?NAME was asked for, or the client is gone."""
        self.send_response_only(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"one")
        self.wfile.flush()
        Handler.gates.setdefault(query, threading.Event()).wait(20)
        try:
            self.wfile.write(b"two")
        except OSError:
            self.close_connection = True

    def at_go(self, query, _body):
        Handler.gates.setdefault(query, threading.Event()).set()
        self.answer(204)

    def at_hang(self, query, _body):
        Handler.gates.setdefault(query, threading.Event()).wait(20)
        self.close_connection = True

    def at_status(self, query, _body):
        self.answer(int(query), b"" if query in ("204", "304") else b"body", reason="Some Reason")

    def at_form(self, _query, _body):
        self.answer(200, b"a=1&b=%C3%A9+", [("Content-Type", "application/x-www-form-urlencoded")])

    def at_plain_js(self, _query, _body):
        self.answer(200, b"throw 1", [("Content-Type", "text/plain")])

    def at_imported_js(self, _query, _body):
        self.answer(200, b"self.imported = (self.imported ?? 0) + 1; //\xff", [("Content-Type", "text/javascript")])


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a hundred connect at once; who finds the queue full tries again much later

    def handle_error(self, *_):
        """Clients go away in the midst of things: that is what is tested."""


def run(command, script, port):
    names = "app.test=127.0.0.1,other.test=127.0.0.1"
    environment = without_leak_check(dict(os.environ, MUSTER_RESOLVE=names, no_proxy="*", PORT=str(port)))
    done = subprocess.run([command, "run", "--timeout", "40s", script, f"http://app.test:{port}",
                           f"http://other.test:{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment, timeout=100, encoding="utf-8", errors="replace")
    return done.returncode, done.stdout


def main():
    command = sys.argv[1]
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    wanted = sys.argv[2:]
    passed = failed = 0
    for name in sorted(os.listdir(SCRIPTS)):
        if not name.endswith(".js") or (wanted and name not in wanted):
            continue
        with open(os.path.join(SCRIPTS, name), encoding="utf-8") as file:
            ways = re.match(r"// as: ([a-z, ]+)", file.readline())
        for way in ways.group(1).replace(" ", "").split(",") if ways else []:
            place = os.path.join(SCRIPTS, name) if way == "file" else f"http://app.test:{port}/scripts/{name}"
            Handler.gates = {}
            code, text = run(command, place, port)
            print(f"{name} ({way})\n" + "".join("    " + line + "\n" for line in text.splitlines()), end="")
            good = code == 0 and "FAILED" not in text and text.splitlines()[-1:] == ["done"]
            passed += good
            failed += not good
            if not good:
                print(f"    exit code {code}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
