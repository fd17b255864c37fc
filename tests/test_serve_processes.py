#!/usr/bin/env python3
"""tests/test_serve_processes.py - `muster serve --placement process` while its processes are killed under load.

Handlers say first, in a file, which request they run: a request that is not in that file had not begun, and must be
answered as if nothing had happened.  One that had begun may be lost with its process, and then the client is told.
"""
import os
import random
import signal
import sys
import threading
import time

import served
from served import DEADLINE, Folder, Server, equal, main, read_answer, test

CLIENTS = 8
KILLS = 12
MARK = "MUSTER_TEST_SERVE"

LUA = """
local ledger = assert(io.open('LEDGER', 'a'))
ledger:setvbuf('no')
muster.on('fetch', function(event)
  local id = event.request.url:match('id=(%d+)')
  ledger:write(id .. '\\n')
  if id % 3 == 0 then muster.sleep(5) end
  return {body = id}
end)
"""
JAVASCRIPT = """
addEventListener('fetch', (event) => event.respondWith(new Response(new URL(event.request.url).searchParams.get('id'))));
"""


def processes(mark):
    """Those that have that mark in their environment, by number, with their names; without the server itself."""
    found = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/environ", "rb") as file:
                environment = file.read()
            with open(f"/proc/{number}/cmdline", "rb") as file:
                name = file.read().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment.split(b"\0"):
            found[int(number)] = name
    return found


class Client(threading.Thread):
    """One connection that is kept as long as the server keeps it; one request after the other, each asked once."""
    ids = iter(range(1, 1 << 31))
    lock = threading.Lock()

    def __init__(self, server, stop):
        super().__init__(daemon=True)
        self.server, self.stop = server, stop
        self.answers = {}  # id: (status, path)
        self.problem = None
        self.latest = 0.0

    def ask(self, connection, file, path):
        with Client.lock:
            number = next(Client.ids)
        connection.sendall(f"GET {path}?id={number} HTTP/1.1\r\nhost: a.test\r\n\r\n".encode())
        begun = time.monotonic()
        status, _, body = read_answer(file)
        self.latest = max(self.latest, time.monotonic() - begun)
        self.answers[number] = (status, path)
        assert status != 200 or body == str(number).encode(), f"{path} {number} got {body!r}"

    def run(self):
        paths = random.Random(self.name)
        try:
            while not self.stop.is_set():
                with self.server.connect() as connection, connection.makefile("rb") as file:
                    while not self.stop.is_set():
                        self.ask(connection, file, paths.choice(["/lua/", "/lua2/", "/js/"]))
        except Exception as problem:  # told by the test's thread
            self.problem = problem


def strike(mark, randoms, server):
    hosts = [number for number, name in processes(mark).items()
             if number != server.process.pid and ": host " in name]
    if hosts:
        try:
            os.kill(randoms.choice(hosts), signal.SIGKILL)
        except ProcessLookupError:
            pass
    return bool(hosts)


def read_ledger(path):
    runs = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            runs[int(line)] = runs.get(int(line), 0) + 1
    return runs


def check_answers(clients, runs):
    lost = 0
    for client in clients:
        assert client.problem is None, f"{type(client.problem).__name__}: {client.problem}"
        for number, (status, path) in client.answers.items():
            assert status in (200, 502, 503), f"{path} {number}: {status}"
            if path != "/js/":
                assert runs.get(number, 0) <= 1, f"{path} {number} ran {runs[number]} times"
                assert status != 200 or runs.get(number) == 1, f"{path} {number} was answered and never ran"
            lost += status != 200
    # It may die between the mark in its memory and the first word of the handler.
    unheard = [number for client in clients for number, (status, path) in client.answers.items()
               if status != 200 and path != "/js/" and number not in runs]
    assert len(unheard) <= 2, f"not begun, and failed: {unheard}"
    return lost


@test
def killed_processes_lose_nothing_that_had_not_begun():
    randoms = random.Random(1)
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    scopes = [{"scope": f"/{name}/", "script": f"{name}.lua", "trust": "full"} for name in ("lua", "lua2")]
    scopes.append({"scope": "/js/", "script": "js.js"})
    with Folder({"muster.json": {"scopes": scopes}, "js.js": JAVASCRIPT, "ledger": ""}) as folder:
        for name in ("lua", "lua2"):
            folder.write(f"{name}.lua", LUA.replace("LEDGER", folder / "ledger"))
        with Server(folder.path, "--placement", "process", env={**os.environ, MARK: mark}) as server:
            stop = threading.Event()
            clients = [Client(server, stop) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            kills = 0
            for _ in range(10 * KILLS):
                if kills == KILLS or any(client.problem for client in clients):
                    break
                answered = sum(len(client.answers) for client in clients)
                end = time.monotonic() + DEADLINE
                while sum(len(client.answers) for client in clients) < answered + 300 and time.monotonic() < end:
                    stop.wait(0.005)
                kills += strike(mark, randoms, server)
            equal(kills, KILLS, "killed")
            stop.set()
            for client in clients:
                client.join(DEADLINE)
                assert not client.is_alive(), "a request is not answered"
            answers = sum(len(client.answers) for client in clients)
            code = server.end()
            lost = check_answers(clients, read_ledger(folder / "ledger"))
            equal(code, 0, server.text())
            print(f"  {answers} requests, {kills} processes killed, {lost} lost, "
                  f"the slowest answer after {max(client.latest for client in clients) * 1000:.0f} ms")
    left = {}
    for _ in range(200):  # killed, and not reaped for a moment
        left = processes(mark)
        if not left:
            break
        time.sleep(0.01)
    equal(left, {}, "left over:")


@test
def the_server_ends_though_a_process_stands_still():
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    with Folder({"muster.json": {"scopes": [{"scope": "/js/", "script": "js.js"}]}, "js.js": JAVASCRIPT}) as folder, \
            Server(folder.path, "--placement", "process", env={**os.environ, MARK: mark}) as server:
        with server.connect() as connection, connection.makefile("rb") as file:
            connection.sendall(b"GET /js/?id=1 HTTP/1.1\r\nhost: a.test\r\n\r\n")
            equal(read_answer(file)[0], 200)
        for number, name in processes(mark).items():
            if number != server.process.pid and ": host " in name:
                os.kill(number, signal.SIGSTOP)
        code = server.end()
        equal(code, 0, server.text())


if __name__ == "__main__":
    served.MUSTER = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "muster"
    sys.exit(main())
