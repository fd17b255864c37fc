"""tests/served.py - what the tests that run the command from outside share: folders, processes, answers, and main().

The built program is the first argument of the test; with further words, only the tests that have one of them in
their name run.  Nothing here sleeps: a test waits for a line, an answer or an end, with a deadline that only a
failure reaches.
"""
import atexit
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

MUSTER = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "muster"
# scripts/run_tests.py gives builds with sanitizers more time, here as it does to Check.
DEADLINE = 60 * float(os.environ.get("CK_TIMEOUT_MULTIPLIER", "1"))
TESTS = []
# Servers without --state have their control socket here, and not where those of the user have it.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="muster-test-run-")
atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)


def test(function):
    TESTS.append(function)
    return function


def main():
    words = sys.argv[2:]
    passed = failed = 0
    for function in TESTS:
        if words and not any(word in function.__name__ for word in words):
            continue
        begun = time.monotonic()
        try:
            function()
            passed += 1
            verdict = "ok"
        except Exception:
            failed += 1
            verdict = "FAILED\n" + traceback.format_exc()
        print(f"{function.__name__}: {verdict} ({time.monotonic() - begun:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def equal(got, wanted, about=""):
    assert got == wanted, f"{about} got {got!r}, wanted {wanted!r}"


def contains(text, part):
    assert part in text, f"{part!r} is not in {text!r}"


def without_leak_check(environment):
    """At its end the leak checker reads memory that the JavaScript engine has reserved only, and dies of it."""
    return {**environment, "ASAN_OPTIONS": environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Folder:
    """A folder of a test's own, with files in it."""

    def __init__(self, files=None):
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="muster-test-"))
        for name, text in (files or {}).items():
            self.write(name, text)

    def write(self, name, text):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text if isinstance(text, str) else json.dumps(text, indent=1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)

    def __truediv__(self, name):
        return os.path.join(self.path, name)


class Process:
    """A command that runs on; its lines on standard error can be waited for."""

    def __init__(self, *words, stdout=subprocess.PIPE, descriptors=None, **options):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        self.process = subprocess.Popen([MUSTER, *words], stdin=subprocess.DEVNULL, stdout=stdout,
                                        stderr=subprocess.PIPE, text=True, errors="replace",
                                        preexec_fn=limit if descriptors else None, **options)
        self.lines = []
        self.seen = 0
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def line(self, pattern):
        """The next line that has the pattern in it."""
        end = time.monotonic() + DEADLINE
        with self.changed:
            while True:
                while self.seen < len(self.lines):
                    line = self.lines[self.seen]
                    assert line is not None, f"it ended without {pattern!r}: {self.text()}"
                    self.seen += 1
                    found = re.search(pattern, line)
                    if found:
                        return found
                left = end - time.monotonic()
                assert left > 0, f"no {pattern!r} in: {self.text()}"
                self.changed.wait(left)

    def text(self):
        return "".join(line for line in self.lines if line)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Its exit code, once it has ended and all its lines are there."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.text()}") from None
        self.reader.join(DEADLINE)
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind=None, *_):
        code = self.process.poll()
        if code is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(DEADLINE)
        if kind is not None: # who reads of the failure wants to know what the other side said
            print(f"{'it ran' if code is None else f'it had ended with {code}'}, and its last words were:\n"
                  f"{self.text()[-4000:]}", flush=True)
        if self.process.stdout:
            self.process.stdout.close()
        self.process.stderr.close()


class Server(Process):
    """`muster serve APP`; without `wait`, nobody has looked yet whether it listens."""

    def __init__(self, app, *options, listen="127.0.0.1:0", wait=True, **how):
        super().__init__("serve", "--listen", listen, *options, app, **how)
        self.scopes = self.address = self.port = None
        if wait:
            self.wait_until_listening()

    def wait_until_listening(self):
        try:
            self.scopes, self.address = self.line(r"muster: (\d+) scopes? on (\S+)").groups()
        except AssertionError:
            self.__exit__()
            raise
        port = re.match(r"http://127\.0\.0\.1:(\d+)$", self.address)
        self.port = int(port.group(1)) if port else None

    def connect(self, receive_buffer=None):
        connection = socket.socket(socket.AF_UNIX if self.port is None else socket.AF_INET)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(DEADLINE)
        connection.connect(self.address[len("unix:"):] if self.port is None else ("127.0.0.1", self.port))
        return connection

    def end(self):
        self.signal(signal.SIGTERM)
        return self.wait()


def read_head(file):
    """Status and headers of the next answer; EOFError where it breaks off."""
    line = file.readline()
    if not line:
        raise EOFError("no answer")
    status, headers = int(line.split()[1]), {}
    for line in iter(file.readline, b"\r\n"):
        if not line:
            raise EOFError("in the head")
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


def read_chunk(file):
    """The next piece of a chunked body; empty at the end."""
    line = file.readline()
    if not line:
        raise EOFError("in the body")
    piece = file.read(int(line, 16))
    file.readline()
    return piece


def read_answer(file, bodiless=False):
    """Status, headers and body of the next answer."""
    status, headers = read_head(file)
    body = b""
    if headers.get("transfer-encoding") == "chunked" and not bodiless:
        for piece in iter(lambda: read_chunk(file), b""):
            body += piece
    elif not bodiless:
        body = file.read(int(headers.get("content-length", 0)))
    return status, headers, body
