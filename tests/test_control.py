#!/usr/bin/env python3
"""tests/test_control.py MUSTER [WORD...] - the commands against a running server, and its control socket from outside.

MUSTER is the built program.  With words, only the tests that have one of them in their name run (see served.py).
The last line is 'N passed, N failed'.
"""
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
import served # pylint: disable=wrong-import-position
from served import DEADLINE, MUSTER, Folder, Process, contains, equal, main, test

os.environ.update(served.without_leak_check(os.environ))
NOBODY = 65534

WORKER = """
addEventListener('fetch', (event) => event.respondWith(new Response('hello')));
addEventListener('push', (event) => console.log('pushed', event.data && event.data.text()));
addEventListener('say', (event) => { console.log(event.data.text); console.warn('a warning'); });
addEventListener('spam', (event) => { for (let i = 0; i < event.data.count; i++) console.log(i + ' ' + 'x'.repeat(400)); });
addEventListener('fail', (event) => event.waitUntil(Promise.reject(new TypeError('it is broken'))));
addEventListener('hold', (event) => event.waitUntil(new Promise((done) => addEventListener('free', () => done()))));
addEventListener('free', () => {});
addEventListener('message', (event) => {});
"""
CONNECTIONS = 64
LINE_MOST = 1 << 20


class App:
    """A folder with an application, a state folder, and a server on both."""

    def __init__(self, files=None, options=(), application=None, **how):
        self.folder = Folder({"worker.js": WORKER, "muster.json": {"scopes": [{"scope": "/", "script": "worker.js"}]},
                              **(files or {})})
        self.state = self.folder / "state"
        try:
            self.server = served.Server(application or self.folder.path, "--state", self.state, *options, **how)
        except BaseException:
            self.folder.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *rest):
        try:
            if kind is None and self.server.process.poll() is None: # whatever was done to it, it ends well
                equal(self.server.end(), 0, self.server.text())
        finally:
            self.server.__exit__(kind, *rest)
            self.folder.__exit__()

    def run(self, *words, **options):
        return run(words[0], "--state", self.state, *words[1:], **options)

    def json(self, *words, code=0):
        """What the command prints with --json."""
        got, out, err = self.run(*words, "--json")
        equal(got, code, f"{words}: {err}")
        return json.loads(out)

    def send(self, *words, code=0, **options):
        got, out, err = self.run("send", *words, **options)
        equal(got, code, f"{words}: {err}")
        return json.loads(out)

    def path(self):
        return os.path.join(self.state, "control")

    def wire(self):
        return Wire(self.path())


class Wire:
    """The control socket as a program of one's own would use it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def write(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def read(self):
        """The next line; None at the end."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            line = b""
        return json.loads(line) if line else None

    def ask(self, data):
        self.write(data)
        return self.read()


def run(*words, stdin="", **options):
    done = subprocess.run([MUSTER, *words], input=stdin, capture_output=True, text=True, timeout=DEADLINE, check=False,
                          **options)
    return done.returncode, done.stdout, done.stderr


def one_sentence(text):
    assert text.startswith("muster: ") and text.count("\n") == 1, f"not one sentence: {text!r}"


def refused(answer, part="", status="MUSTER_INVALID_ARGUMENT"):
    equal((answer["ok"], answer["status"]), (False, status), answer)
    contains(answer["error"], part)


def on_a_terminal(*words, environment=None):
    """What the command writes when its output is a terminal."""
    main_end, other = pty.openpty()
    with subprocess.Popen([MUSTER, *words], stdin=subprocess.DEVNULL, stdout=other, stderr=subprocess.DEVNULL,
                          env={**os.environ, **(environment or {})}) as process:
        os.close(other)
        text = b""
        try:
            while piece := os.read(main_end, 65536):
                text += piece
        except OSError:
            pass # so a terminal ends
        process.wait(DEADLINE)
    os.close(main_end)
    return text.decode()


# ---- ps ----

@test
def ps_shows_each_worker_with_its_figures():
    lua = "muster = muster\naddEventListener = addEventListener\n"
    files = {"lua.lua": lua, "muster.json": {"scopes": [{"scope": "/", "script": "worker.js"},
                                                       {"scope": "/lua/", "script": "lua.lua"}]}}
    with App(files) as app:
        app.send("/", "push", '"x"')
        while not all(worker["memory"] for worker in app.json("ps")["workers"]):
            pass # measured now and then
        answer = app.json("ps")
        equal(answer["server"]["pid"], app.server.process.pid)
        equal(answer["server"]["address"], app.server.address)
        equal([(worker["scope"], worker["engine"], worker["state"]) for worker in answer["workers"]],
              [("/", "javascript", "running"), ("/lua/", "lua", "running")])
        first = answer["workers"][0]
        equal((first["type"], first["events"], first["host"]["kind"], first["host"]["pid"]),
              ("service", {"in_flight": 0, "waiting": 0, "total": 1}, "threads", app.server.process.pid))
        assert first["memory"] > 0 and first["age_ms"] > 0 and first["starts"] == 1, first
        code, table, _ = app.run("ps")
        equal(code, 0)
        title, first, second = table.splitlines()[1:]
        equal(title.split(), "SCOPE TYPE ENGINE STATE HOST TOKENS EVENTS MEMORY CPU AGE".split())
        equal(first.split()[:7], ["/", "service", "javascript", "running", "threads", "0", "0/1"])
        equal(second.split()[:7], ["/lua/", "service", "lua", "running", "threads", "0", "0/0"])
        equal(title.index("STATE"), first.index("running"), "columns")
        equal(first.index("running"), second.index("running"), "columns")


@test
def ps_of_one_scope_leaves_the_others_out_and_of_the_running_those_asleep():
    files = {"muster.json": {"scopes": [{"scope": "/", "script": "worker.js"},
                                        {"scope": "/b/", "script": "worker.js", "lazy": True}]}}
    with App(files) as app:
        equal([worker["scope"] for worker in app.json("ps")["workers"]], ["/", "/b/"])
        equal([worker["scope"] for worker in app.json("ps", "--running")["workers"]], ["/"])
        equal([(worker["scope"], worker["state"]) for worker in app.json("ps", "/b/")["workers"]], [("/b/", "asleep")])
        equal(app.json("ps", "/c/")["workers"], [])
        contains(app.run("ps", "/c/")[1], "no worker")


@test
def ps_shows_an_event_in_flight():
    with App() as app, app.wire() as first:
        first.write({"request": "send", "scope": "/", "type": "hold"})
        while app.json("ps")["workers"][0]["events"]["in_flight"] != 1:
            pass
        app.send("/", "free")
        equal(first.read()["settlement"]["status"], "MUSTER_OK")
        equal(app.json("ps")["workers"][0]["events"]["in_flight"], 0)


@test
def ps_names_the_process_that_a_worker_lives_in():
    with App(options=("--placement", "process")) as app:
        host = app.json("ps")["workers"][0]["host"]
        equal(host["kind"], "process")
        assert host["pid"] not in (0, app.server.process.pid), host
        os.kill(host["pid"], 0)
        contains(app.run("ps")[1], f"process {host['pid']}")


@test
def colours_are_for_terminals_and_for_those_who_want_them():
    with App() as app:
        contains(on_a_terminal("ps", "--state", app.state), "\x1b[32mrunning\x1b[0m")
        assert "\x1b" not in on_a_terminal("ps", "--state", app.state, environment={"NO_COLOR": "1"})
        assert "\x1b" not in app.run("ps")[1]


@test
def what_a_scope_is_called_does_not_obey_the_terminal():
    with App() as app:
        equal(app.run("register", "/a\x1b[31m/", app.folder / "worker.js")[0], 0)
        contains(app.run("ps")[1], "/a?[31m/")


# ---- no server, or another one's ----

@test
def without_a_server_the_command_says_where_it_looked_and_how_to_start_one():
    with Folder() as folder:
        for words in ["ps"], ["send", "/", "push"], ["stop", "/"], ["logs"], ["stats"]:
            code, out, err = run(words[0], "--state", folder.path, *words[1:])
            equal((code, out), (1, ""))
            one_sentence(err)
            contains(err, folder / "control")
            contains(err, "muster serve --state")
        one_sentence(run("ps", "--state", folder / "none")[2])


@test
def a_server_that_was_killed_leaves_nothing_in_the_way():
    with App() as app:
        app.server.signal(signal.SIGKILL)
        app.server.wait()
        code, _, err = app.run("ps")
        equal(code, 1)
        contains(err, "no server listens")
        with served.Server(app.folder.path, "--state", app.state):
            equal(app.run("ps")[0], 0)


@test
def a_server_takes_its_socket_away_when_it_ends():
    with App() as app:
        equal(app.server.end(), 0)
        assert not os.path.exists(app.path())


@test
def without_a_state_folder_the_socket_is_in_a_folder_of_the_users_own():
    with Folder({"worker.js": WORKER}) as folder:
        with served.Server(folder / "worker.js") as server:
            where = os.path.join(os.environ["XDG_RUNTIME_DIR"], "muster")
            equal(stat.S_IMODE(os.stat(where).st_mode), 0o700)
            equal(json.loads(run("ps", "--json")[1])["server"]["pid"], server.process.pid)
            with served.Server(folder / "worker.js") as second: # serves, and says that it has none
                contains(second.text(), "another server has it")
                equal(json.loads(run("ps", "--json")[1])["server"]["pid"], server.process.pid)


@test
def the_socket_is_for_its_owner_alone():
    with App() as app:
        equal(stat.S_IMODE(os.stat(app.path()).st_mode), 0o600)
        equal(stat.S_IMODE(os.stat(app.state).st_mode), 0o700)


def what_nobody_reads(path):
    """Another user connects; the line that it gets, or what is in its way."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with Wire(path) as wire:
                text = wire.file.readline()
        except OSError as error:
            text = repr(error).encode()
        os.write(writer, text)
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


@test
def another_user_is_refused_by_the_folder_and_by_the_server():
    if os.geteuid() != 0:
        print("  (left out: only root can be somebody else)")
        return
    with App() as app:
        contains(what_nobody_reads(app.path()), "PermissionError")
        for path, mode in (app.folder.path, 0o755), (app.state, 0o755), (app.path(), 0o666):
            os.chmod(path, mode)
        refused(json.loads(what_nobody_reads(app.path())), "somebody else", "MUSTER_REFUSED")
        equal(app.run("ps")[0], 0)


@test
def a_folder_that_others_may_write_to_gets_no_socket():
    with Folder({"worker.js": WORKER}) as folder:
        os.mkdir(folder / "open")
        os.chmod(folder / "open", 0o777)
        with served.Server(folder / "worker.js", "--state", folder / "open") as server:
            contains(server.text(), "others may write to its folder")
            assert not os.path.exists(folder / "open/control")


# ---- send ----

@test
def send_prints_the_settlement():
    with App() as app:
        equal(app.send("/", "push", '{"a": [1, "\u00e9"]}'), {"status": "MUSTER_OK", "value": None, "error": None})
        equal(app.send("/", "push", "-", stdin='"from standard input"')["status"], "MUSTER_OK")
        equal(app.send("/", "push")["status"], "MUSTER_OK")
        app.server.line(r"pushed .*from standard input")


@test
def send_tells_of_an_event_that_failed_and_exits_with_1():
    with App() as app:
        failed = app.send("/", "fail", code=1)
        contains(failed["error"]["message"], "it is broken")
        assert failed["status"] != "MUSTER_OK", failed
        equal(app.send("/nowhere/", "push", code=1)["status"], "MUSTER_NOT_FOUND")
        equal(app.send("/", "hold", "--timeout", "50ms", code=1)["status"], "MUSTER_TIMED_OUT")
        app.send("/", "free") # or the server's end waits for it


@test
def send_takes_data_that_looks_like_an_option_behind_two_dashes():
    with App() as app:
        equal(app.send("--", "/", "push", "-5")["status"], "MUSTER_OK")
        app.server.line("pushed -5")


@test
def send_refuses_what_is_no_json():
    with App() as app:
        code, out, err = app.run("send", "/", "push", "{a}")
        equal((code, out), (2, ""))
        one_sentence(err)
        contains(err, "no JSON")


# ---- register, update, unregister, stop ----

@test
def a_scope_is_registered_stopped_and_unregistered():
    with App({"other.js": WORKER}) as app:
        equal(app.run("register", "/other/", "other.js", cwd=app.folder.path), (0, "/other/ is registered\n", ""))
        equal(app.send("/other/", "push")["status"], "MUSTER_OK")
        equal(app.run("stop", "/other/"), (0, "/other/ is stopped\n", ""))
        equal([worker["scope"] for worker in app.json("ps", "--running")["workers"]], ["/"])
        equal(app.json("ps", "/other/")["workers"][0]["state"], "asleep")
        equal(app.send("/other/", "push")["status"], "MUSTER_OK") # and starts it again
        equal(app.json("ps", "/other/")["workers"][0]["starts"], 2)
        equal(app.json("unregister", "/other/"), {"ok": True})
        equal(app.send("/other/", "push", code=1)["status"], "MUSTER_NOT_FOUND")


@test
def what_cannot_be_registered_is_told_in_a_sentence():
    with App({"broken.js": "let = ;", "throws.js": "throw new Error('not today')"}) as app:
        for script, part in ("none.js", "No such file"), ("broken.js", "SyntaxError"), ("throws.js", "not today"):
            code, _, err = app.run("register", "/x/", app.folder / script)
            equal(code, 1, err)
            one_sentence(err)
            contains(err, part)
        one_sentence(app.run("register", "no scope", app.folder / "worker.js")[2])
        one_sentence(app.run("register", "--trust", "much", "/x/", app.folder / "worker.js")[2])
        equal(app.json("unregister", "/x/", code=1)["status"], "MUSTER_NOT_FOUND")
        equal(app.json("stop", "/x/", code=1)["ok"], False)


def get(app, path="/", body=None):
    """What is answered to a GET, or to a POST with that body."""
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    with app.server.connect() as connection, connection.makefile("rb") as file:
        connection.sendall(f"{head}Content-Length: {len(body or '')}\r\n\r\n{body or ''}".encode())
        return served.read_answer(file)[2].decode()


@test
def update_installs_a_script_that_has_changed_and_only_that():
    with App() as app:
        equal(app.run("update", "/"), (0, "/ is up to date\n", ""))
        equal([worker["version"] for worker in app.json("ps")["workers"]], [1])
        app.folder.write("worker.js", WORKER.replace("hello", "new"))
        equal(app.json("update", "/"), {"ok": True})
        equal(app.run("stop", "/")[0], 0) # the old one is idle, but lives on
        equal(get(app), "new")
        app.folder.write("worker.js", "throw new Error('not today')")
        code, _, err = app.run("update", "/")
        equal(code, 1)
        one_sentence(err)
        contains(err, "not today")
        equal(get(app), "new")
        equal(app.json("update", "/none/", code=1)["status"], "MUSTER_NOT_FOUND")


# ---- the example of a whole life ----

@test
def the_outbox_takes_sends_and_forgets():
    outbox = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "outbox")
    with App(application=outbox) as app:
        contains(app.server.text(), "installed")
        contains(app.server.text(), "activated")
        equal(get(app, "/messages"), "[]")
        equal(get(app, "/messages", "hello"), "taken\n")
        app.server.line("sync send")
        while get(app, "/messages") != '["hello"]': # the line comes before the rest of that turn
            pass
        equal(app.send("/", "scheduled", '{"cron": "0 3 * * *", "scheduledTime": 0}')["status"], "MUSTER_OK")
        app.server.line(r"scheduled by 0 3 \* \* \*: forgets 1")
        equal(get(app, "/messages"), "[]")


# ---- logs ----

@test
def logs_shows_what_was_said_before():
    with App() as app:
        app.send("/", "say", '{"text": "first"}')
        app.send("/", "say", '{"text": "second"}')
        code, out, _ = app.run("logs")
        equal(code, 0)
        lines = [re.sub(r"^\S+ ", "", line) for line in out.splitlines()]
        equal(lines[-4:], ["info /: first", "warning /: a warning", "info /: second", "warning /: a warning"])
        equal(len(app.run("logs", "--lines", "1")[1].splitlines()), 1)
        assert "first" not in app.run("logs", "--level", "warning")[1]
        messages = [json.loads(line) for line in app.run("logs", "--json")[1].splitlines()]
        equal({key: value for key, value in messages[-1].items() if key != "time"},
              {"level": "warning", "subject": "/", "text": "a warning"})


@test
def logs_follows_until_the_server_ends():
    with App() as app, Process("logs", "--state", app.state, "-f", "--lines", "0") as follower:
        out = follower.process.stdout
        app.send("/", "say", '{"text": "one"}') # said before it follows, it is not shown
        got, number = "", 0
        os.set_blocking(out.fileno(), False)
        while not got: # once it follows, it shows what it hears
            number += 1
            app.send("/", "say", json.dumps({"text": f"line {number}"}))
            got = out.readline()
        os.set_blocking(out.fileno(), True)
        app.send("/", "say", '{"text": "the last"}')
        while "the last" not in (line := out.readline()):
            assert line, "it ended too early"
        equal(app.server.end(), 0)
        equal(follower.wait(), 0)
        contains(follower.text(), "the server has ended")


@test
def debug_messages_are_for_those_who_ask_for_them():
    with App() as app, app.wire() as all_of_it, app.wire() as important:
        for wire, level in (all_of_it, "debug"), (important, "error"):
            equal(wire.ask({"request": "logs", "follow": True, "level": level, "lines": 0}), {"ok": True})
        app.send("/", "say", '{"text": "hello"}')
        equal(app.run("stop", "/")[0], 0)
        levels = set()
        while "debug" not in levels:
            levels.add(all_of_it.read()["level"])
        equal(app.server.end(), 0)
        rest = []
        while line := important.read():
            rest.append(line)
        equal([line for line in rest if line["level"] != "error"], [])


@test
def a_follower_that_does_not_read_is_told_what_it_lost_and_holds_nobody_up():
    count = 6000
    with App() as app, app.wire() as wire:
        equal(wire.ask({"request": "logs", "follow": True, "lines": 0}), {"ok": True})
        app.send("/", "spam", json.dumps({"count": count}))
        app.send("/", "say", '{"text": "the end"}')
        seen = lost = last = 0
        while True:
            line = wire.read()
            if "dropped" in line:
                lost += line["dropped"]
            elif line["text"] == "the end":
                break
            else:
                number = int(line["text"].split()[0])
                equal(number, seen + lost, "lines are in order, and those lost are counted where they were;")
                seen, last = seen + 1, number
        equal((seen + lost, last), (count, count - 1))
        assert lost > 0 and seen >= 900, (seen, lost)


# ---- stats ----

@test
def stats_counts():
    with App() as app:
        app.send("/", "push")
        app.send("/", "fail", code=1)
        stats = app.json("stats")
        equal({key: stats[key] for key in ("registrations", "workers_running", "events", "events_failed", "starts")},
              {"registrations": 1, "workers_running": 1, "events": 2, "events_failed": 1, "starts": 1})
        code, table, _ = app.run("stats")
        equal(code, 0)
        rows = {line.split()[0]: line.split()[1] for line in table.splitlines()}
        equal((rows["events"], rows["events_failed"], rows["COUNTER"]), ("2", "1", "VALUE"))
        equal(sorted(key for key in rows if key not in ("COUNTER", "age")), sorted(set(stats) - {"age_ms"}))


# ---- words ----

@test
def options_may_stand_behind_operands():
    with App() as app:
        equal(run("send", "/", "--state", app.state, "push", '"x"', "--timeout", "5s")[0], 0)
        equal(run("ps", "/", "--json", "--state=" + app.state)[0], 0)


@test
def wrong_words_are_usage_mistakes():
    for words in ["ps", "a", "b"], ["send", "/"], ["send", "/", "a", "b", "c"], ["stop"], ["register", "/"], \
                 ["logs", "x"], ["stats", "x"], ["ps", "--jsn"], ["logs", "--lines", "x"], ["send", "/", "a", "--timeout"]:
        code, out, err = run(*words)
        equal((code, out), (2, ""), words)
        assert err, words
    for word in "ps", "send", "register", "update", "unregister", "stop", "logs", "stats":
        code, out, err = run(word, "--help")
        equal((code, err), (0, ""))
        contains(out, f"usage: muster {word}")
        contains(run("--help")[1], f"  muster {word} ")


# ---- hostile clients ----

@test
def what_is_no_request_is_refused_and_the_next_one_answered():
    with App() as app, app.wire() as wire:
        for line, part in ((b"\n", ""), (b"hello\n", ""), (b"[]\n", "a request is an object"), (b"{}\n", "\"request\""),
                           (b'{"request":1}\n', "\"request\""), (b'{"request":"stop"}\n', "needs \"scope\""),
                           (b'{"request":"sleep"}\n', "unknown request"), (b"\xff\xfe\x00\n", ""),
                           (b'{"request":"ps","scope":5}\n', "wants a text"), (b'{"request":"ps","scope":""}\n', "wants a text"),
                           (b'{"request":"stop","scope":"/a\\u0000b"}\n', "wants a text"),
                           (b'{"request":"ps","type":"x"}\n', "takes no"), (b'{"request":"ps","running":1}\n', "true or false"),
                           (b'{"request":"logs","lines":-1}\n', "whole number"), (b'{"request":"logs","lines":1e300}\n', ""),
                           (b'{"request":"logs","level":"loud"}\n', "wants one of"),
                           (b'{"request":"register","scope":"/x/","script":"x.js"}\n', "an absolute path"),
                           (b"[" * 100000 + b"\n", "")):
            answer = wire.ask(line)
            equal(answer["ok"], False, line[:40])
            contains(answer["error"], part)
        equal(wire.ask({"request": "ps"})["ok"], True)


@test
def a_line_that_is_too_long_is_refused_and_ends_its_connection():
    with App() as app:
        with app.wire() as wire:
            try:
                wire.write(b"x" * (LINE_MOST + 100000))
            except (BrokenPipeError, ConnectionResetError):
                pass
            refused(wire.read(), "longer")
            equal(wire.read(), None)
        with app.wire() as wire: # as long as it may be
            line = json.dumps({"request": "send", "scope": "/", "type": "push", "data": ""})
            line = line.replace('""', '"' + "y" * (LINE_MOST - len(line)) + '"')
            equal(len(line), LINE_MOST)
            equal(wire.ask(line.encode() + b"\n")["settlement"]["status"], "MUSTER_OK")
        equal(app.run("ps")[0], 0)


@test
def requests_in_pieces_and_in_heaps_are_answered_in_order():
    with App() as app, app.wire() as wire:
        for byte in b'{"request":"stats"}\n':
            wire.write(bytes([byte]))
        equal("stats" in wire.read(), True)
        kinds = ["ps", "stats"] * 100
        wire.write(b"".join(json.dumps({"request": kind}).encode() + b"\n" for kind in kinds))
        equal(["stats" if "stats" in wire.read() else "ps" for _ in kinds], kinds)


@test
def a_client_that_only_ends_its_side_still_gets_its_answers():
    with App() as app, app.wire() as wire:
        wire.write(b'{"request":"send","scope":"/","type":"push"}\n{"request":"ps"}\n{"request":')
        wire.socket.shutdown(socket.SHUT_WR)
        equal(wire.read()["settlement"]["status"], "MUSTER_OK")
        equal(wire.read()["ok"], True)
        equal(wire.read(), None)


@test
def nobody_waits_any_more_for_the_event_of_a_client_that_left_and_it_goes_on():
    with App() as app:
        with app.wire() as wire:
            wire.write({"request": "send", "scope": "/", "type": "hold"})
            while app.json("ps")["workers"][0]["events"]["in_flight"] != 1:
                pass
        while app.json("stats")["events_failed"] != 1: # it was called off
            pass
        equal(app.json("ps")["workers"][0]["events"]["in_flight"], 1)
        app.send("/", "free")
        while app.json("ps")["workers"][0]["events"]["in_flight"] != 0:
            pass
        equal(app.server.end(), 0)


@test
def a_client_that_leaves_takes_nothing_with_it():
    with App() as app:
        for data in b"", b'{"request":', b'{"request":"send","scope":"/","type":"hold"}\n', \
                    b'{"request":"logs","follow":true}\n', b'{"request":"ps"}\n' * 50:
            with app.wire() as wire:
                wire.write(data)
        app.send("/", "free")
        equal(app.json("ps")["workers"][0]["state"], "running")
        equal(app.server.end(), 0)


@test
def one_connection_too_many_is_told_so_and_room_is_made_by_one_that_leaves():
    with App() as app:
        wires = [app.wire() for _ in range(CONNECTIONS)]
        for wire in wires:
            equal(wire.ask({"request": "stats"})["ok"], True)
        with app.wire() as late:
            refused(late.read(), "too many", "MUSTER_QUEUE_FULL")
        code, _, err = app.run("ps")
        equal(code, 1)
        contains(err, "too many")
        wires.pop().__exit__()
        while app.run("ps")[0]: # it may not have heard of it yet
            pass
        for wire in wires:
            equal(wire.ask({"request": "stats"})["ok"], True)
            wire.__exit__()


@test
def events_go_on_while_clients_do_their_worst():
    with App() as app:
        wires = [app.wire() for _ in range(CONNECTIONS - 4)]
        for number, wire in enumerate(wires):
            wire.write((b"x" * 10000, b'{"request":"logs","follow":true,"level":"debug"}\n', b'{"request":"send","scope":"/","type":"hold"}\n',
                        b'{"request":"ps"}\n' * 200)[number % 4])
        for _ in range(20):
            equal(get(app), "hello")
        equal(app.send("/", "push")["status"], "MUSTER_OK")
        while app.json("ps")["workers"][0]["events"]["in_flight"] != len(wires[2::4]):
            pass
        app.send("/", "free") # or its end waits for them; what they came to nobody reads
        app.server.signal(signal.SIGTERM)
        equal(app.server.wait(), 0)
        for wire in wires:
            wire.__exit__()


sys.exit(main())
