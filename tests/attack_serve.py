#!/usr/bin/env python3
"""tests/attack_serve.py MUSTER [WORD...] - `muster serve` among hostile clients and bad scripts.

MUSTER is the built program.  With words, only the tests that have one of them in their name run.  What is
asked of it: every request gets its one right answer, nothing stays behind, and it ends when it is told to.
No verdict depends on how long something took; deadlines are far off and only a failure reaches them.  The
last line is 'N passed, N failed'.
"""
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import served # pylint: disable=wrong-import-position
from served import DEADLINE, MUSTER, TESTS, Folder, equal, main, read_answer, test

with open(MUSTER, "rb") as program:
    # It delays signals to a thread that makes no call, and the JavaScript engine interrupts a script by one.
    DELAYS_SIGNALS = b"__tsan_init" in program.read()

LUA = """
local count = 0
muster.on("fetch", function(event)
    local request = event.request
    local path = request.url:match("^%a+://[^/]*(.*)")
    local word = path:match("/([%w-]*)[^/]*$")
    count = count + 1
    if word == "count" then return {body = tostring(count)} end
    if word == "close" then muster.close() end
    if word == "later" then muster.sleep(3) end
    if word == "spin" then while true do end end
    if word == "hog" then local all = {} while true do all[#all + 1] = ("x"):rep(100000 + #all) end end
    if word == "throw" then error("thrown") end
    if word == "throw-later" then muster.sleep(1) error("thrown") end
    if word == "bad" then return 42 end
    if word == "twice" then event:respond {body = path} event:respond {body = "again"} end
    if word == "never" then muster.sleep(1e9) end
    if word == "stall" then
        local first = true
        return {body = function()
            if first then first = false return "first" end
            muster.sleep(1e9)
        end}
    end
    if word == "broken" then
        local first = true
        return {body = function()
            if first then first = false return "first" end
            error("broken off")
        end}
    end
    if word == "large" then
        local n = 0
        return {body = function() n = n + 1 if n <= 4000 then return ("x"):rep(16384) end end}
    end
    if word == "hold" then muster.hold("for ever") end
    if word == "stream" then return {body = function() return request:read() end} end
    if request.method == "POST" then return {body = request:body()} end
    return {body = path}
end)
"""

JAVASCRIPT = """
let count = 0;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
addEventListener("fetch", (event) => {
    const request = event.request;
    const path = request.url.replace(/^\\w+:\\/\\/[^/]*/, "");
    const word = /\\/([\\w-]*)[^/]*$/.exec(path)[1];
    const stream = (pull) => new Response(new ReadableStream({ pull }));
    const bytes = (text) => new TextEncoder().encode(text);
    let n = 0;
    count++;
    event.respondWith((() => {
        switch (word) {
        case "count": return new Response(String(count));
        case "close": muster.close(); break;
        case "later": return sleep(3).then(() => new Response(request.body || path));
        case "spin": for (;;);
        case "hog": for (const all = [];;) all.push(new Uint8Array(1 << 20).fill(1));
        case "throw": throw new Error("thrown");
        case "throw-later": return sleep(1).then(() => { throw new Error("thrown"); });
        case "bad": return Promise.resolve(42);
        case "twice": setTimeout(() => event.respondWith(new Response("again"))); break;
        case "never": return new Promise(() => {});
        case "stall": return stream((to) => n++ ? sleep(1e9) : to.enqueue(bytes("first")));
        case "broken": return stream((to) => { if (n++) throw new Error("broken off"); to.enqueue(bytes("first")); });
        case "large": return stream((to) => n++ < 4000 ? to.enqueue(new Uint8Array(16384)) : to.close());
        case "hold": event.waitUntil(new Promise(() => {})); break;
        case "stream": return new Response(request.body);
        }
        if (request.method === "POST") return request.text().then((text) => new Response(text));
        return new Response(path);
    })());
});
"""
SCRIPTS = {"lua": LUA, "js": JAVASCRIPT}


def test_in_both(function):
    """Runs once for each language."""
    for language in SCRIPTS:
        def of_language(language=language):
            function(language)
        of_language.__name__ = f"{function.__name__} ({language})"
        TESTS.append(of_language)
    return function


class App(Folder):
    """A folder with `count` scopes "/0/", "/1/", … of one script, or of the scripts given."""

    def __init__(self, language, count=1, scripts=None, **limits):
        super().__init__()
        self.language = language
        scopes = []
        for i in range(len(scripts) if scripts else count):
            name = f"{i}/worker.{language}"
            self.write(name, scripts[i] if scripts else SCRIPTS[language])
            scopes.append({"scope": f"/{i}/", "script": name, "lazy": bool(scripts), "limits": limits})
        self.write("muster.json", {"scopes": scopes})


def request(path, body=None, chunked=False):
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: attack\r\n"
    if body is None:
        return head.encode() + b"\r\n"
    if not chunked:
        return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    parts = [body[i:i + 7001] for i in range(0, len(body), 7001)] + [b""]
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


class Server(served.Server):
    def __init__(self, app, *options, **how):
        environment = dict(os.environ)
        if app.language == "js":
            environment = served.without_leak_check(environment)
        super().__init__(app.path, *options, stdout=subprocess.DEVNULL, env=environment, **how)

    def get(self, path, body=None):
        with self.connect() as connection, connection.makefile("rb") as file:
            connection.sendall(request(path, body))
            status, _, body = read_answer(file)
            return status, body

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def until_descriptors(self, most):
        end = time.monotonic() + DEADLINE
        while self.descriptors() > most:
            assert time.monotonic() < end, f"{self.descriptors()} descriptors, {most} before; {self.text()}"
            time.sleep(0.02)

    def end(self, at_once=False):
        """Its exit code; no sanitizer may have had a word."""
        return self.ended(super().end(), at_once)

    def end_at_once(self):
        """For scripts that would hold it up; they are not what the test is about."""
        self.signal(signal.SIGTERM)
        self.line("SIGTERM")
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.ended(self.wait(), True)

    def ended(self, code, at_once):
        # At once, threads are left where they are, which the thread sanitizer reports.
        for word in ("data race", "AddressSanitizer" if at_once else "Sanitizer", "runtime error:", "check failed"):
            assert word not in self.text(), self.text()
        return code


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def all_at_once(functions):
    """Runs each on a thread of its own; raises the first failure."""
    failures = []

    def guarded(function):
        try:
            function()
        except Exception as failure:  # told below, by the test
            failures.append(failure)
    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    if failures:
        raise failures[0]


# ---- every request gets its one answer ----

def ask_in_a_pipeline(server, numbers, name, rounds, scopes):
    """Sends requests of all kinds in a pipeline; their answers must come in order, each with its own content."""
    with server.connect() as connection, connection.makefile("rb") as file:
        for turn in range(rounds):
            wanted, sent = [], b""
            for i in range(numbers.randrange(1, 13)):
                word = numbers.choice(["id", "id", "id", "later", "close", "stream"])
                path = f"/{numbers.randrange(scopes)}/{word}?{name}.{turn}.{i}"
                body = None
                if word == "stream" or numbers.random() < 0.3:
                    body = (path.encode() + b" ") * numbers.choice([1, 10, 2000])
                sent += request(path, body, numbers.random() < 0.5)
                wanted.append(body or path.encode())
            writer = threading.Thread(target=connection.sendall, args=(sent,), daemon=True)
            writer.start()
            for body in wanted:
                status, _, got = read_answer(file)
                equal((status, got[:80], len(got)), (200, body[:80], len(body)), body[:80])
            writer.join(DEADLINE)


@test_in_both
def workers_that_end_all_the_time_lose_and_swap_no_request(language):
    scopes, rounds = (20, 12) if language == "lua" else (6, 4)
    with App(language, scopes) as app, Server(app, "--idle-timeout", "2ms") as server:
        all_at_once([lambda i=i: ask_in_a_pipeline(server, random.Random(i), i, rounds, scopes) for i in range(8)])
        equal(server.end(), 0)


@test
def three_hundred_scopes_with_a_short_idle_time_are_all_served():
    def ask(server, first):
        for turn in range(3):
            for i in range(first, 300, 6):
                equal(server.get(f"/{i}/id?{turn}"), (200, f"/{i}/id?{turn}".encode()))
    with App("lua", 300) as app, Server(app, "--idle-timeout", "5ms") as server:
        all_at_once([lambda i=i: ask(server, i) for i in range(6)])
        equal(server.end(), 0)


@test_in_both
def a_handler_that_fails_costs_its_own_request_only(language):
    wanted = {"throw": (500, 502), "throw-later": (500, 502), "bad": (502,), "spin": (500,), "hog": (500,),
              "twice": (200,), "broken": (200,), "stall": (200,)}
    if DELAYS_SIGNALS and language == "js":
        del wanted["spin"], wanted["hog"]
    with App(language, 1, turn="300ms", memory="64m") as app, Server(app) as server:
        for word, statuses in wanted.items():
            with server.connect() as connection:
                connection.sendall(request(f"/0/{word}"))
                status = int(connection.makefile("rb").readline().split()[1])
                assert status in statuses, f"{word}: {status}"
            equal(server.get("/0/id"), (200, b"/0/id"), word)
        assert server.end_at_once() in (0, 128 + signal.SIGTERM)


@test_in_both
def a_handler_that_never_answers_is_answered_for(language):
    with App(language) as app, Server(app, "--event-timeout", "50ms") as server:
        all_at_once([lambda: equal(server.get("/0/never")[0], 504)] * 20)
        assert server.end_at_once() in (0, 128 + signal.SIGTERM)


@test
def a_script_that_does_not_start_answers_each_request_and_is_tried_again():
    bad = ["error('at start')", "local = = 1", "while true do end", "muster.close()",
           "muster.on('install', function() error('in install') end)",
           "muster.on('install', function(e) e:wait_until(function() muster.sleep(1) error('later') end) end)",
           "local all = {} while true do all[#all + 1] = ('x'):rep(100000 + #all) end"]
    with App("lua", scripts=bad, turn="100ms", memory="8m") as app, Server(app) as server:
        for i in range(len(bad)):
            statuses = []
            all_at_once([lambda: statuses.append(server.get(f"/{i}/id")[0])] * 12)
            equal(statuses, [500] * 12, bad[i])
        for i in range(2):
            app.write(f"{i}/worker.lua", LUA)
            equal(server.get(f"/{i}/id"), (200, f"/{i}/id".encode()))
        equal(server.end(), 0)


@test_in_both
def a_worker_that_holds_on_is_ended_past_the_grace_time(language):
    with App(language) as app, Server(app, "--idle-timeout", "10ms", "--grace-timeout", "1s") as server:
        equal(server.get("/0/hold"), (200, b"/0/hold"))
        server.line("held tokens past the grace time")
        equal(server.get("/0/count"), (200, b"1"))
        equal(server.end(), 0)


# ---- clients ----

def bad_clients(server, numbers):
    """One of each kind; they leave in the middle of what they do."""
    leave = numbers.choice([reset, socket.socket.close])
    path = f"/0/{numbers.choice(['id', 'later', 'large', 'stall', 'broken', 'stream', 'never', 'close'])}"
    sent = request(path)
    kind = numbers.randrange(7)
    connection = server.connect(2048 if kind == 4 else None)
    try:
        if kind == 0:
            connection.sendall(sent[:numbers.randrange(len(sent))])
        elif kind == 1:
            connection.sendall(bytes(numbers.randrange(256) for _ in range(2000)) + b"\r\n\r\n")
            while connection.recv(65536):
                pass
        elif kind == 2:
            connection.sendall(sent * numbers.randrange(2, 60))
        elif kind == 3:
            connection.sendall(b"POST /0/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 90000)
        elif kind == 4:
            connection.sendall(request("/0/large"))
            connection.recv(100)
        elif kind == 5:
            connection.sendall(b"POST /0/id HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        else:
            connection.sendall(sent * 5)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(100)
    except OSError:
        pass # the server may have been quicker to hang up
    leave(connection)


@test_in_both
def clients_that_hang_up_anywhere_leave_nothing_behind(language):
    with App(language) as app, Server(app, "--event-timeout", "300ms", "--idle-timeout", "100ms",
                                      "--grace-timeout", "300ms") as server:
        equal(server.get("/0/id")[0], 200)
        before = server.descriptors() + 4 # of the engine's own threads, which come and go
        many = 240 if language == "lua" else 80
        numbers = [random.Random(i) for i in range(many)]
        for first in range(0, many, 40):
            all_at_once([lambda n=n: bad_clients(server, n) for n in numbers[first:first + 40]])
        server.until_descriptors(before)
        end = time.monotonic() + DEADLINE
        while server.get("/0/id") != (200, b"/0/id"): # a slow machine may need more than the event's time
            assert time.monotonic() < end, server.text()
        assert server.end_at_once() in (0, 128 + signal.SIGTERM)


@test_in_both
def a_client_that_goes_away_is_no_error_of_the_script(language):
    with App(language) as app, Server(app) as server:
        before = server.descriptors() + 4
        for word in ("id", "stream", "later"):
            for leave in (reset, socket.socket.close):
                connection = server.connect()
                connection.sendall(request(f"/0/{word}", b"x" * 300000)[:100000])
                server.get("/0/id") # by now it is there
                leave(connection)
        server.until_descriptors(before)
        equal(server.get("/0/throw")[0], 500)
        equal(server.end(), 0)
        equal(len(re.findall(r"^\S+ error ", server.text(), re.M)), 1, server.text())


@test_in_both
def a_body_that_nobody_reads_does_not_hold_up_the_next_request(language):
    """Some clients read no answer before they have sent all they have."""
    with App(language) as app, Server(app, "--event-timeout", "5s") as server:
        for word in ("count", "throw", "bad"):
            with server.connect() as connection:
                connection.settimeout(20)  # the bound on a body without progress is higher
                connection.sendall(request(f"/0/{word}", b"x" * 9000000) + request("/0/id"))
                with connection.makefile("rb") as file:
                    read_answer(file)
                    equal(read_answer(file)[::2], (200, b"/0/id"), word)
        equal(server.end(), 0)


@test
def half_open_clients_keep_nobody_from_being_served():
    with App("lua") as app, Server(app) as server:
        halves = [server.connect() for _ in range(200)]
        for i, half in enumerate(halves):
            half.sendall([b"GET /0/id HTTP/1.1\r\nHo", b"", b"POST /0/id HTTP/1.1\r\nHost: x\r\n"
                          b"Content-Length: 90000\r\n\r\n" + b"x" * 40000, request("/0/large")][i % 4])
        for i in range(50):
            equal(server.get(f"/0/id?{i}"), (200, f"/0/id?{i}".encode()))
        for half in halves[2::4]: # its upload was slow, not lost
            half.sendall(b"x" * 50000)
            equal(read_answer(half.makefile("rb"))[::2], (200, b"x" * 90000))
        for half in halves:
            half.close()
        server.until_descriptors(20)
        equal(server.end(), 0)


@test
def without_a_free_descriptor_it_serves_who_is_there_and_then_who_waits():
    with App("lua") as app, Server(app, descriptors=48) as server:
        clients = [server.connect() for _ in range(80)]
        for client in clients[:20]:
            client.sendall(request("/0/id"))
            equal(read_answer(client.makefile("rb"))[0], 200)
        for client in clients[20:]:
            client.sendall(request("/0/id"))
        for client in clients[:60]:
            client.close()
        for client in clients[60:]:
            equal(read_answer(client.makefile("rb"))[0], 200)
            client.close()
        equal(server.end(), 0)


# ---- the end ----

@test_in_both
def a_signal_under_load_ends_it_cleanly(language):
    numbers = random.Random(7)
    for turn in range(4 if language == "lua" else 2):
        # The last time with scripts that never finish: the bound on that is some seconds.
        words = ["id", "later", "close", "throw"] + ["never", "hold"] * (turn == 3 and language == "lua")
        with App(language, 4, turn="300ms") as app, \
                Server(app, "--idle-timeout", "5ms", "--grace-timeout", "200ms", "--event-timeout", "300ms") as server:
            over = threading.Event()

            def ask(seed):
                mine = random.Random(seed)
                while not over.is_set():
                    try:
                        with server.connect() as connection:
                            path = f"/{mine.randrange(4)}/{mine.choice(words)}"
                            connection.sendall(request(path) * mine.randrange(1, 20))
                            while mine.random() < 0.7 and connection.recv(500):
                                pass
                    except OSError:
                        pass # it is over
            askers = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(12)]
            for asker in askers:
                asker.start()
            for _ in range(numbers.randrange(40)):
                server.get("/0/id")
            code = server.end()
            over.set()
            for asker in askers:
                asker.join(DEADLINE)
            equal(code, 0)


@test
def while_it_ends_it_answers_what_came_and_refuses_who_comes():
    with App("lua") as app, Server(app) as server:
        with server.connect() as connection, connection.makefile("rb") as file:
            connection.sendall(b"POST /0/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            equal(file.readline(), b"HTTP/1.1 200 OK\r\n")
            server.process.send_signal(signal.SIGTERM)
            end = time.monotonic() + DEADLINE
            refused = False
            while not refused and time.monotonic() < end:
                try:
                    server.connect().close()
                except ConnectionError:
                    refused = True
            assert refused, "new clients are not refused"
            connection.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
            text = file.read()
            assert b"first" in text and b"second" in text and text.endswith(b"0\r\n\r\n"), text
        equal(server.process.wait(DEADLINE), 0)


@test
def a_signal_does_not_wait_for_a_script_that_installs_for_ever():
    installs = "muster.on('install', function(e) print('installing') e:wait_until(function() muster.sleep(1e9) end) end)"
    with App("lua") as app:
        app.write("0/worker.lua", installs)
        with Server(app, wait=False) as server:
            server.line("installing")
            server.process.send_signal(signal.SIGTERM)
            server.line("SIGTERM")
            equal(server.end(at_once=True), 128 + signal.SIGTERM) # the second one: at once


if __name__ == "__main__":
    sys.exit(main())
