#!/usr/bin/env python3
"""tests/test_command.py MUSTER [WORD...] - the command from outside: its exit codes, its sentences, its HTTP.

MUSTER is the built program.  With words, only the tests that have one of them in their name run (see served.py).
The last line is 'N passed, N failed'.
"""
import functools
import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import served # pylint: disable=wrong-import-position
from served import DEADLINE, MUSTER, Folder, Process, contains, equal, main, read_chunk, read_head, test

SAMPLE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "sample")
os.environ.update(served.without_leak_check(os.environ))


def run(*words, **options):
    """Runs the command to its end; exit code, output and errors."""
    done = subprocess.run([MUSTER, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def one_sentence(text):
    assert text.startswith("muster: ") and text.count("\n") == 1, f"not one sentence: {text!r}"


class Server(served.Server):
    def ask(self, path, method="GET", body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.sock = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.text = answer.read().decode()
            return answer
        finally:
            connection.close()

    def get(self, path, status=200):
        answer = self.ask(path)
        assert answer.status == status, f"{path}: {answer.status} {answer.text!r}; {self.text()}"
        return answer.text

    def begin(self, path):
        """A request on a thread of its own; join() gives the answer."""
        return Asking(self, path)


class Asking(threading.Thread):
    def __init__(self, server, path):
        super().__init__(daemon=True)
        self.server, self.path, self.answer, self.error = server, path, None, None
        self.start()

    def run(self):
        try:
            self.answer = self.server.ask(self.path)
        except OSError as error:
            self.error = error
        except http.client.HTTPException as error:
            self.error = error

    def join(self, timeout=DEADLINE):
        super().join(timeout)
        assert not self.is_alive(), f"{self.path}: no answer; {self.server.text()}"
        if self.error:
            raise self.error
        return self.answer


class Raw:
    """A connection as bytes."""

    def __init__(self, server):
        self.socket = server.connect()
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def head(self):
        return read_head(self.file)

    def chunk(self):
        return read_chunk(self.file).decode()

    def answer(self, bodiless=False):
        status, headers, body = served.read_answer(self.file, bodiless)
        return status, headers, body.decode()


# ---- the command itself ----

@test
def help_and_version_go_to_standard_output():
    code, out, err = run("--help")
    equal((code, err), (0, ""))
    contains(out, "muster serve")
    contains(out, "muster run")
    code, out, err = run("--version")
    equal((code, err), (0, ""))
    assert re.fullmatch(r"muster \d+\.\d+\.\d+\n", out), out


@test
def the_help_of_a_command_explains_each_option_that_its_usage_names():
    for command in re.findall(r"^  muster ([a-z]+)", run("--help")[1], re.M):
        code, out, err = run(command, "--help")
        equal((code, err), (0, ""))
        usage, explained = out.split("\n\n", 1)
        contains(usage, f"usage: muster {command}")
        named = set(re.findall(r"--[a-z-]+", usage))
        told = set(re.findall(r"^  (--[a-z-]+).*\S\n", explained, re.M))
        assert named < told <= named | {"--help", "--json"}, (command, named, told) # `send` prints JSON anyway
        for line in out.splitlines()[usage.count("\n") + 1:]:
            assert len(line) <= 120, line


@test
def wrong_usage_ends_with_2():
    for words, part in (
            ((), "usage"),
            (("srve",), 'unknown command "srve"; did you mean "serve"?'),
            (("run",), "usage: muster run"),
            (("serve",), "usage: muster serve"),
            (("serve", "a", "b"), "usage: muster serve"),
            (("run", "--nmae", "x", "y.js"), 'unknown option "--nmae"; did you mean "--name"?'),
            (("run", "--timeout", "5", "y.js"), "--timeout wants a time like 300ms, 30s or 5m, not 5"),
            (("run", "--timeout"), "--timeout wants a time"),
            (("run", "--engine", "perl", "y.js"), "--engine wants js or lua, not perl"),
            (("run", "--type", "tab", "y.js"), "--type wants dedicated, service, shared or client, not tab"),
            (("run", "--placement", "moon", "y.js"), "--placement wants thread, process, process-per-site or"),
            (("run", "--resolve", "here", "y.js"), "--resolve wants HOST:ADDRESS, not here"),
            (("run", "--ca", "/nowhere/ca.pem", "y.js"), "--ca /nowhere/ca.pem: No such file"),
            (("serve", "--idle-timeout", "soon", "."), "--idle-timeout wants a time"),
    ):
        code, out, err = run(*words)
        equal((words, code, out), (words, 2, ""))
        contains(err, part)


# ---- run ----

@test
def run_sends_console_output_to_the_right_stream():
    with Folder({"a.js": "console.log('a %d', 1); console.info('b'); console.debug('c');"
                         "console.warn('d'); console.error('e')"}) as folder:
        equal(run("run", folder / "a.js"), (0, "a 1\nb\nc\n", "d\ne\n"))


@test
def run_gives_the_script_its_arguments():
    with Folder({"a.js": "console.log(JSON.stringify(muster.args))",
                 "a.lua": "print(#muster.args, muster.args[1], muster.args[2])"}) as folder:
        equal(run("run", folder / "a.js", "x", "--name", "ä ö"), (0, '["x","--name","ä ö"]\n', ""))
        equal(run("run", folder / "a.lua", "x", "--"), (0, "2\tx\t--\n", ""))


@test
def run_gives_the_worker_its_name():
    with Folder({"a.js": "console.log(self.name)"}) as folder:
        equal(run("run", "--name", "fred", folder / "a.js"), (0, "fred\n", ""))


@test
def run_waits_for_timers_and_promises_in_order():
    with Folder({"a.js": """
            setTimeout(() => console.log('timer 2'), 20);
            setTimeout(() => { console.log('timer 1'); Promise.resolve().then(() => console.log('job 2')) }, 1);
            Promise.resolve().then(() => console.log('job 1'));
            const t = setInterval(() => { console.log('tick'); clearInterval(t) }, 5);
            console.log('main');"""}) as folder:
        equal(run("run", folder / "a.js"), (0, "main\njob 1\ntimer 1\njob 2\ntick\ntimer 2\n", ""))


@test
def run_ends_when_the_worker_closes_though_timers_wait():
    with Folder({"a.js": "setInterval(() => {}, 1000); close(); console.log('last words')",
                 "a.lua": "muster.set_interval(function() end, 1000) muster.close() print('last words')"}) as folder:
        equal(run("run", folder / "a.js"), (0, "last words\n", ""))
        equal(run("run", folder / "a.lua"), (0, "last words\n", ""))


@test
def run_ends_with_1_at_the_first_uncaught_error_and_names_its_place():
    with Folder({"a.js": "setInterval(() => console.log('still here'), 0);\n"
                         "setTimeout(() => {\n  throw new TypeError('boom');\n}, 0);"}) as folder:
        code, _, err = run("run", folder / "a.js")
        equal(code, 1)
        assert re.match(re.escape(folder / "a.js") + r":3:\d+: TypeError: boom\n", err), err


@test
def run_ends_with_1_when_the_script_itself_throws():
    with Folder({"a.js": "function f() {\n  throw new Error('at once');\n}\nf();",
                 "a.lua": "local x = nil\nprint(x.y)"}) as folder:
        code, out, err = run("run", folder / "a.js")
        equal((code, out), (1, ""))
        assert re.match(re.escape(folder / "a.js") + r":2:\d+: Error: at once\n", err), err
        contains(err, "f@")
        code, out, err = run("run", folder / "a.lua")
        equal((code, out), (1, ""))
        contains(err, "a.lua:2")


@test
def run_ends_with_1_at_an_unhandled_rejection():
    with Folder({"a.js": "Promise.reject(new RangeError('nobody listens'))",
                 "b.js": "addEventListener('unhandledrejection', (e) => e.preventDefault()); Promise.reject(1)"}) as folder:
        code, _, err = run("run", folder / "a.js")
        equal(code, 1)
        contains(err, "RangeError: nobody listens")
        equal(run("run", folder / "b.js"), (0, "", ""))


@test
def run_tells_a_syntax_error_with_its_line():
    with Folder({"a.js": "let a;\nlet b = ;\n", "a.lua": "x = = 1"}) as folder:
        code, out, err = run("run", folder / "a.js")
        equal((code, out), (1, ""))
        assert re.match(re.escape(folder / "a.js") + r":2(:\d+)?: SyntaxError: ", err), err
        code, out, err = run("run", folder / "a.lua")
        equal((code, out), (1, ""))
        contains(err, "a.lua:1")


@test
def run_tells_a_missing_script_in_one_sentence():
    code, out, err = run("run", "/no/such/script.js")
    equal((code, out), (1, ""))
    one_sentence(err)
    contains(err, "/no/such/script.js")


@test
def run_maps_places_in_typescript_back():
    with Folder({"a.ts": "import { f } from './b';\ninterface Unused { a: string }\nf();",
                 "b.ts": "type T = number;\n\nexport function f(): T {\n  throw new Error('deep');\n}"}) as folder:
        code, _, err = run("run", folder / "a.ts")
        equal(code, 1)
        assert re.search(r"b\.ts:4:\d+: Error: deep\n", err), err


@test
def run_stops_a_script_past_its_timeout():
    with Folder({"a.js": "setInterval(() => {}, 1)", "b.js": "console.log('in'); for (;;) {}",
                 "b.lua": "print('in') while true do end", "c.js": "setTimeout(() => { for (;;) {} }, 0)"}) as folder:
        equal(run("run", "--timeout", "100ms", folder / "a.js")[0], 124)
        for name in ("b.js", "b.lua"):
            code, out, err = run("run", "--timeout=300ms", folder / name)
            equal((code, out), (124, "in\n"))
            one_sentence(err)
            contains(err, "--timeout")
        equal(run("run", "--timeout", "200ms", folder / "c.js")[0], 124)


@test
def run_ends_with_the_number_of_the_signal():
    with Folder({"a.js": "console.error('ready'); for (;;) {}",
                 "b.js": "console.error('ready'); setInterval(() => {}, 1000)"}) as folder:
        for name, number in (("a.js", signal.SIGINT), ("b.js", signal.SIGTERM)):
            with Process("run", folder / name) as process:
                process.line("ready")
                process.signal(number)
                equal(process.wait(), 128 + number)


@test
def run_ends_when_nobody_reads_its_output():
    with Folder({"a.js": "setInterval(() => console.log('x'.repeat(1000)), 0)"}) as folder:
        with Process("run", folder / "a.js") as process:
            process.process.stdout.readline()
            process.process.stdout.close()
            equal(process.wait(), 128 + signal.SIGPIPE)


@test
def run_chooses_the_engine_by_name():
    with Folder({"script": "print('lua it is')"}) as folder:
        equal(run("run", "--engine", "lua", folder / "script"), (0, "lua it is\n", ""))


@test
def run_connects_to_a_shared_worker_once_and_runs_a_client():
    with Folder({"a.lua": "muster.on('connect', function() print('connected') end)\nprint('hello')",
                 "b.js": "setTimeout(() => console.log('a page'), 1)"}) as folder:
        equal(run("run", "--type", "shared", folder / "a.lua"), (0, "hello\nconnected\n", ""))
        equal(run("run", "--type", "client", "--url", "https://a.test/", folder / "b.js"), (0, "a page\n", ""))


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@test
def a_page_that_runs_makes_workers_of_files_and_from_a_server():
    files = {"page.js": """
                 const worker = new Worker('worker.js', { name: 'child' });
                 worker.onmessage = ({ data }) => {
                     console.log(data);
                     worker.terminate();
                     const { port } = new SharedWorker('deep/shared.js', 'both');
                     port.onmessage = (event) => { console.log(event.data); port.close(); };
                 };""",
             "worker.js": "postMessage(`${name} at ${location.pathname.split('/').pop()}`)",
             "deep/shared.js": "importScripts('../common.js'); onconnect = (e) => e.ports[0].postMessage(common(name))",
             "common.js": "self.common = (name) => `${name} share`"}
    expected = (0, "child at worker.js\nboth share\n", "")
    with Folder(files) as folder:
        handler = functools.partial(QuietFiles, directory=folder / "")
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://pages.test:{server.server_address[1]}/page.html"
            for placement in ("thread", "process"):
                words = ("run", "--type", "client", "--placement", placement, "--timeout", "20s")
                equal(run(*words, folder / "page.js"), expected)
                equal(run(*words, "--url", url, "--resolve", "pages.test:127.0.0.1", folder / "page.js"), expected)
            server.shutdown()


@test
def a_worker_from_a_data_url_shares_no_channel_with_who_made_it():
    with Folder({"page.js": """
            const page = new BroadcastChannel('x');
            page.onmessage = (event) => console.log('the page heard', event.data);
            const source = `const from = new BroadcastChannel('x'), to = new BroadcastChannel('x');
                to.onmessage = (event) => postMessage(event.data + ' from ' + event.origin);
                from.postMessage('hello');`;
            const worker = new Worker('data:text/javascript,' + encodeURIComponent(source));
            worker.onmessage = ({ data }) => {
                console.log(data);
                close();
            };"""}) as folder:
        for placement in ("thread", "process"):
            words = ("run", "--type", "client", "--url", "https://a.test/", "--placement", placement, "--timeout", "20s")
            equal(run(*words, folder / "page.js"), (0, "hello from null\n", ""))


@test
def run_installs_and_activates_a_service_worker_and_lets_it_finish():
    with Folder({"a.js": """
            addEventListener('install', (event) => event.waitUntil(later('installed')));
            addEventListener('activate', (event) => event.waitUntil(later('activated')));
            const later = (word) => new Promise((resolve) => setTimeout(() => { console.log(word); resolve() }, 5));
            setInterval(() => {}, 1000); // does not keep a service worker alive""",
                 "bad.js": "addEventListener('install', (e) => e.waitUntil(Promise.reject(new Error('no room'))))",
                 "none.lua": "print('hello')"}) as folder:
        equal(run("run", "--type", "service", folder / "a.js"), (0, "installed\nactivated\n", ""))
        equal(run("run", "--type", "service", folder / "none.lua"), (0, "hello\n", ""))
        code, out, err = run("run", "--type", "service", folder / "bad.js")
        equal((code, out), (1, ""))
        contains(err, "install failed")
        contains(err, "no room")


# ---- serve: bad input ----

def refuses(app, part, *options):
    code, out, err = run("serve", "--listen", "127.0.0.1:0", *options, app)
    equal((code, out), (1, ""))
    one_sentence(err)
    contains(err, part)


@test
def serve_refuses_bad_applications_in_one_sentence():
    w = {"w.js": "", "sub/w.js": ""}
    for manifest, part in (
            ('{"scopes": [\n{"scope": "/", "script": "gone.js"}]}', 'muster.json:2: there is no script "gone.js"'),
            ('{"scopes": [{"scope": "/",\n"scrpt": "w.js"}]}', 'muster.json:2: unknown key "scrpt"; did you mean "script"?'),
            ('{"scopes": [\n,]}', "muster.json:2:1: not JSON"),
            ('{"scopes": [{"scope": "/",\n\n"script": 7}]}', 'muster.json:3: "script" wants a string'),
            ('{"scopes": [{"scope": "/", "script": "sub/w.js"}]}', 'outside its script\'s folder "/sub/"'),
            ('{"scopes": [{"scope": "/", "script": "../w.js"}]}', "outside the application's folder"),
            ('{"scopes": []}', "at least one scope"),
    ):
        with Folder(dict(w, **{"muster.json": manifest})) as folder:
            refuses(folder.path, part)
    with Folder() as folder:
        refuses(folder.path, "there is no muster.json in this folder")
        refuses(folder / "no.js", "there is no such script or folder")


@test
def serve_refuses_a_script_that_does_not_start_and_names_the_place():
    with Folder({"syntax.js": "let a;\nlet b = ;", "throws.js": "\n\nthrow new Error('not today')",
                 "install.js": "addEventListener('install', (e) => e.waitUntil(Promise.reject(new Error('no room'))))",
                 "bad.lua": "x = = 1"}) as folder:
        refuses(folder / "syntax.js", "syntax.js:2:")
        refuses(folder / "throws.js", "not today")
        refuses(folder / "bad.lua", "bad.lua:1")
        code, _, err = run("serve", "--listen", "127.0.0.1:0", folder / "install.js")
        equal(code, 1)
        contains(err, "no room")


@test
def serve_refuses_addresses_that_it_cannot_have():
    with Folder({"w.js": ""}) as folder:
        for address in ("nonsense", "127.0.0.1:99999", "127.0.0.1", "unix:", "unix:/no/such/folder/socket"):
            code, _, err = run("serve", "--listen", address, folder / "w.js")
            equal((address, code), (address, 1))
            one_sentence(err)
            contains(err, f"cannot listen on {address}: ")


@test
def two_servers_cannot_have_one_port():
    with Folder({"w.js": ""}) as folder, Server(folder / "w.js") as first:
        address = f"127.0.0.1:{first.port}"
        code, _, err = run("serve", "--listen", address, folder / "w.js")
        equal((code, err), (1, f"muster: cannot listen on {address}: Address already in use\n"))
        first.get("/", 404)


@test
def serve_refuses_a_state_folder_that_it_cannot_write():
    with Folder({"w.js": "", "file": ""}) as folder:
        refuses(folder / "w.js", "file/state cannot be made", "--state", folder / "file/state")
        refuses(folder / "w.js", "state folder /proc/self cannot be written", "--state", "/proc/self")


@test
def two_servers_cannot_share_a_state_folder():
    with Folder({"w.js": ""}) as folder, Server(folder / "w.js", "--state", folder / "state") as first:
        refuses(folder / "w.js", f"is in use by process {first.process.pid}", "--state", folder / "state")
        equal(first.end(), 0)
        with Server(folder / "w.js", "--state", folder / "state") as second:
            equal(second.end(), 0)


# ---- serve: answers ----

@test
def the_sample_answers():
    with Server(SAMPLE) as server:
        equal(server.scopes, "3")
        page = server.ask("/")
        equal((page.status, page.getheader("content-type")), (200, "text/html; charset=utf-8"))
        for link in ("/stream", "/count", "/echo", "/lua/", "/ts/"):
            contains(page.text, link)
        equal(server.get("/stream"), "".join(f"line {n} of 5\n" for n in range(1, 6)))
        equal([json.loads(server.get("/count"))["count"] for _ in range(3)], [1, 2, 3])
        answer = server.ask("/echo", "POST", '{"a": [1, "ä"]}'.encode())
        equal((answer.status, json.loads(answer.text)), (200, {"you_sent": {"a": [1, "ä"]}}))
        equal(server.ask("/echo", "POST", "{").status, 400)
        equal(server.ask("/echo").status, 405)
        contains(server.get("/lua/"), "Lua 5.4, for the 1. time")
        contains(server.get("/lua/slow"), "200 ms")
        equal(json.loads(server.get("/ts/?name=you")), {"text": "Hello, you!", "letters": 11})
        server.get("/nothing", 404)
        server.get("/lua/nothing", 404)
        equal(server.end(), 0)


APP = {
    "muster.json": {
        "scopes": [
            {"scope": "/", "script": "w.js", "limits": {"turn": "20s"}},
            {"scope": "/loop/", "script": "loop/w.js", "limits": {"turn": "1s"}},
            {"scope": "/lua/", "script": "lua/w.lua", "limits": {"turn": "1s"}},
            {"scope": "/narrow/", "script": "narrow/w.js", "limits": {"queue": 1}},
        ]
    },
    "w.js": r"""
let count = 0, received = 0, release;
const released = new Promise((resolve) => { release = resolve });
const routes = {
    '/hello': () => new Response('hello'),
    '/count': () => new Response(String(++count)),
    '/echo': async (request) => new Response(await request.text(), { headers: { 'x-method': request.method } }),
    '/throw-later': async () => { throw new Error('boom later') },
    '/no-response': () => 'a string',
    '/never': () => { console.log('never begins'); return new Promise(() => {}) },
    '/slow': () => { console.log('slow begins'); return new Promise((resolve) =>
        setTimeout(() => resolve(new Response('slow but sure')), 300)) },
    '/stream': () => new Response(new ReadableStream({
        async start(controller) {
            controller.enqueue(new TextEncoder().encode('first'));
            await released;
            controller.enqueue(new TextEncoder().encode('second'));
            controller.close();
        } })),
    '/release': () => { release(); return new Response('released') },
    '/upload': async (request) => {
        const reader = request.body.getReader();
        for (let step; !(step = await reader.read()).done;) received += step.value.length;
        return new Response(`all ${received}`);
    },
    '/received': () => new Response(String(received)),
    '/scope': (request) => new Response(`${registration.scope} ${new URL(request.url).search}`),
};
addEventListener('fetch', (event) => {
    const { pathname } = new URL(event.request.url);
    if (pathname === '/throw') throw new TypeError('boom at once');
    const handler = routes[pathname];
    if (handler) event.respondWith(handler(event.request));
});
""",
    "loop/w.js": r"""
addEventListener('fetch', (event) => {
    if (event.request.url.endsWith('/forever')) { console.log('loop begins'); for (;;) {} }
    event.respondWith(new Response('no loop'));
});
""",
    "lua/w.lua": r"""
muster.on("fetch", function(event)
    if event.request.url:find("/forever$") then print("lua loop begins") while true do end end
    event:respond { body = event.request.method }
end)
""",
    "narrow/w.js": r"""
addEventListener('fetch', (event) => {
    if (event.request.url.endsWith('/busy')) {
        console.log('busy begins');
        for (const end = Date.now() + 1500; Date.now() < end;) ;
    }
    event.respondWith(new Response('at last'));
});
""",
}


def serving(*options):
    """A server of APP; two context managers in one."""
    class Both:
        def __enter__(self):
            self.folder = Folder(APP)
            try:
                self.server = Server(self.folder.path, *options)
            except BaseException:
                self.folder.__exit__()
                raise
            return self.server

        def __exit__(self, *what):
            self.server.__exit__(*what)
            self.folder.__exit__()
    return Both()


@test
def serve_answers_404_where_nobody_does():
    with serving() as server:
        server.get("/unknown", 404)
        equal(server.get("/hello"), "hello")
    with Folder({"muster.json": {"scopes": [{"scope": "/sub/", "script": "sub/w.js"}]},
                 "sub/w.js": "addEventListener('fetch', (e) => e.respondWith(new Response('sub')))"}) as folder, \
            Server(folder.path) as server:
        server.get("/", 404)
        server.get("/sub", 404)
        equal(server.get("/sub/x"), "sub")


@test
def serve_gives_every_method_to_the_script():
    with serving() as server:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            answer = server.ask("/lua/", method)
            equal((method, answer.status, answer.text), (method, 200, method))
            if method != "PROPFIND":
                answer = server.ask("/echo", method, None if method == "GET" else "body")
                equal((answer.status, answer.getheader("x-method")), (200, method))


@test
def head_has_the_headers_of_get_and_no_body():
    with serving() as server, Raw(server) as raw:
        raw.send("HEAD /hello HTTP/1.1\r\nhost: x\r\n\r\nGET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
        status, headers, _ = raw.answer(bodiless=True)
        equal((status, headers["content-length"]), (200, "5"))
        status, headers, body = raw.answer()
        equal((status, headers["content-length"], body), (200, "5", "hello"))


@test
def a_connection_serves_one_request_after_the_other():
    with serving() as server, Raw(server) as raw:
        for n in range(1, 4):
            raw.send("GET /count HTTP/1.1\r\nhost: x\r\n\r\n")
            equal(raw.answer()[::2], (200, str(n)))
        raw.send("GET /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        equal(raw.answer()[::2], (200, "4"))
        equal(raw.file.read(), b"")


@test
def pipelined_requests_are_answered_in_their_order():
    with serving() as server, Raw(server) as raw:
        paths = ["/slow", "/hello", "/unknown", "/lua/", "/count"]
        raw.send("".join(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n" for path in paths))
        answers = [raw.answer() for _ in paths]
        equal([answer[0] for answer in answers], [200, 200, 404, 200, 200])
        equal([answers[i][2] for i in (0, 1, 3, 4)], ["slow but sure", "hello", "GET", "1"])


@test
def a_response_streams_while_it_is_made():
    with serving() as server, Raw(server) as raw:
        raw.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        status, headers = raw.head()
        equal((status, headers["transfer-encoding"]), (200, "chunked"))
        equal(raw.chunk(), "first")
        equal(server.get("/release"), "released")
        equal((raw.chunk(), raw.chunk()), ("second", ""))


@test
def a_request_streams_while_it_is_sent():
    with serving() as server, Raw(server) as raw:
        raw.send("POST /upload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        end = time.monotonic() + DEADLINE
        while server.get("/received") != "5":
            assert time.monotonic() < end, "the first piece does not arrive before the last is sent"
        raw.send("6\r\n world\r\n0\r\n\r\n")
        equal(raw.answer()[::2], (200, "all 11"))


@test
def a_large_body_comes_back_whole():
    with serving() as server:
        text = "0123456789abcdef" * 65536
        answer = server.ask("/echo", "POST", text)
        equal((answer.status, len(answer.text), answer.text == text), (200, len(text), True))


@test
def a_body_beyond_the_limit_is_413():
    with serving("--body-limit", "1k") as server:
        equal(server.ask("/echo", "POST", "x" * 1024).status, 200)
        with Raw(server) as raw:
            raw.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1025\r\n\r\n")
            equal(raw.answer()[0], 413)
        with Raw(server) as raw:
            raw.send("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + "200\r\n" + "x" * 512 + "\r\n")
            raw.send("201\r\n" + "x" * 513 + "\r\n")
            equal(raw.answer()[0], 413)
        equal(server.get("/hello"), "hello")


@test
def a_head_beyond_the_limit_is_431():
    with serving() as server, Raw(server) as raw:
        try:
            raw.send("GET /hello HTTP/1.1\r\nhost: x\r\nx-long: " + "x" * 200000 + "\r\n\r\n")
        except OSError:
            pass  # it need not read to the end
        equal(raw.head()[0], 431)
        equal(server.get("/hello"), "hello")


@test
def what_is_no_http_is_400():
    with serving() as server, Raw(server) as raw:
        raw.send("hello there\r\n\r\n")
        equal(raw.head()[0], 400)


@test
def a_handler_that_throws_is_500_with_the_stack_only_for_developers():
    with serving() as server:
        text = server.get("/throw", 500)
        assert "boom" not in text and "w.js" not in text, text
    with serving("--dev") as server:
        text = server.get("/throw", 500)
        contains(text, "TypeError: boom at once")
        contains(text, "w.js:")


@test
def a_rejected_answer_and_one_that_is_no_response_are_502():
    with serving() as server:
        assert "boom" not in server.get("/throw-later", 502)
        server.get("/no-response", 502)
    with serving("--dev") as server:
        contains(server.get("/throw-later", 502), "boom later")


@test
def past_the_deadline_it_is_504():
    with serving("--event-timeout", "300ms") as server:
        server.get("/never", 504)
        equal(server.get("/hello"), "hello")


@test
def a_full_queue_is_503_with_retry_after():
    with serving() as server:
        server.get("/narrow/")
        busy = server.begin("/narrow/busy")
        server.line("busy begins")
        others = [server.begin("/narrow/") for _ in range(4)]
        answers = [other.join() for other in others]
        equal(sorted(answer.status for answer in answers), [200, 503, 503, 503])
        for answer in answers:
            if answer.status == 503:
                assert int(answer.getheader("retry-after")) > 0
        equal(busy.join().text, "at last")


@test
def a_script_in_an_endless_loop_ends_at_its_limit_and_freezes_nobody():
    with serving("--dev") as server:
        for scope, said in (("/loop/", "loop begins"), ("/lua/", "lua loop begins")):
            looping = server.begin(scope + "forever")
            server.line(said)
            for _ in range(20):
                equal(server.get("/hello"), "hello")
            assert looping.answer is None, "the loop ended before others were asked"
            answer = looping.join()
            equal(answer.status, 500)
            contains(answer.text, "a turn ran longer than its limit of CPU time")
            equal(server.ask(scope).status, 200)


@test
def an_idle_worker_ends_and_the_next_request_revives_it():
    with serving("--idle-timeout", "50ms", "--verbose") as server:
        for _ in range(3):
            equal(server.get("/count"), "1")
            equal(server.get("/count"), "2")
            server.line(r" /: worker \d+ stops \(.*idle")


@test
def scripts_see_their_scope_and_the_query():
    with serving() as server:
        contains(server.get("/scope?a=1"), "/ ?a=1")


# ---- serve: its end ----

@test
def sigterm_lets_a_request_in_flight_finish():
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving() as server:
            slow = server.begin("/slow")
            server.line("slow begins")
            server.signal(number)
            equal(slow.join().text, "slow but sure")
            equal(server.wait(), 0)
            contains(server.text(), "finishing what runs")


@test
def idle_connections_do_not_hold_up_the_end():
    with serving() as server, Raw(server) as raw, Raw(server) as silent:
        raw.send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
        equal(raw.answer()[2], "hello")
        equal(server.end(), 0)
        equal((raw.file.read(), silent.file.read()), (b"", b""))


@test
def a_second_signal_ends_it_at_once():
    with serving() as server:
        never = server.begin("/never")
        server.line("never begins")
        server.signal(signal.SIGTERM)
        server.line("finishing what runs")
        server.signal(signal.SIGTERM)
        equal(server.wait(), 128 + signal.SIGTERM)
        contains(server.text(), "a second signal")
        try:
            never.join()
        except (OSError, http.client.HTTPException):
            pass


@test
def a_unix_socket_serves_and_is_taken_away_again():
    with Folder(APP) as folder:
        path = folder / "socket"
        for _ in range(2):
            with Server(folder.path, listen=f"unix:{path}") as server:
                equal(server.get("/hello"), "hello")
                equal(os.stat(path).st_mode & 0o777, 0o700)
                equal(server.end(), 0)
            assert not os.path.exists(path), "the socket is still there"


@test
def a_socket_that_a_killed_server_left_behind_is_replaced():
    with Folder(APP) as folder:
        path = folder / "socket"
        with Server(folder.path, listen=f"unix:{path}") as server:
            server.signal(signal.SIGKILL)
            server.wait()
        with Server(folder.path, listen=f"unix:{path}") as server:
            equal(server.get("/hello"), "hello")
            code, _, err = run("serve", "--listen", f"unix:{path}", folder.path)
            equal((code, err), (1, f"muster: cannot listen on unix:{path}: Address already in use\n"))


sys.exit(main())
