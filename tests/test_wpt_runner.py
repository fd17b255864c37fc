"""The conformance runner's own parts: which tests a checkout has, what META lines say, expectations, the reader of HTML.

No checkout is needed; the tests of a checkout are run by tests/wpt/run.
"""
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "wpt"))
import wpt_report # noqa: E402
import wpt_tests # noqa: E402
from served import DEADLINE, MUSTER, equal, main, test, without_leak_check # noqa: E402

WPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wpt")


def urls(path, text):
    return [one.url for one in wpt_tests.tests_of_file(path, text)]


@test
def an_any_js_stands_for_a_window_and_a_dedicated_worker_unless_it_says_else():
    equal(urls("/a/b.any.js", b"test(() => {});"), ["/a/b.any.html", "/a/b.any.worker.html"])


@test
def globals_are_named_grouped_and_taken_away():
    equal(wpt_tests.globals_of("window,worker"), ["window", "dedicatedworker", "sharedworker", "serviceworker"])
    equal(wpt_tests.globals_of("worker,!serviceworker"), ["dedicatedworker", "sharedworker"])
    equal(wpt_tests.globals_of("window, shadowrealm-in-window, jsshell"), ["window"])
    equal(wpt_tests.globals_of("dedicatedworker-module"), ["dedicatedworker-module"])


@test
def meta_lines_end_where_the_script_begins():
    equal(wpt_tests.metas(b"// META: global=worker\n// a remark\n\n// META: timeout=long\nx();\n// META: script=a.js\n"),
          [("global", "worker"), ("timeout", "long")])


@test
def each_variant_is_a_test():
    equal(urls("/a/b.any.js", b"// META: global=window\n// META: variant=?1\n// META: variant=?2\n"),
          ["/a/b.any.html?1", "/a/b.any.html?2"])


@test
def a_service_worker_needs_https():
    (one,) = wpt_tests.tests_of_file("/a/b.any.js", b"// META: global=serviceworker\n// META: timeout=long\n")
    equal((one.url, one.is_https, one.is_long), ("/a/b.any.serviceworker.html", True, True))


@test
def a_page_is_a_test_when_it_has_the_harness():
    page = b"<meta name=\"timeout\" content=\"long\"><script src=\"/resources/testharness.js\"></script>"
    (one,) = wpt_tests.tests_of_file("/a/b.https.html", page)
    equal((one.url, one.is_https, one.is_long), ("/a/b.https.html", True, True))
    equal(urls("/a/c.html", b"<p>nothing"), [])
    equal(urls("/a/c-manual.html", page), [])


@test
def tests_are_found_below_folders_but_not_in_support_files():
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(os.path.join(folder, "a", "resources"))
        for name in ("a/x.any.js", "a/resources/y.any.js", "a/z.worker.js"):
            with open(os.path.join(folder, name), "w", encoding="utf-8"):
                pass
        equal([one.url for one in wpt_tests.find(folder, ["a"])], ["/a/x.any.html", "/a/x.any.worker.html", "/a/z.worker.html"])


def surprises(entry, result):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "a.json"), "w", encoding="utf-8") as file:
            json.dump({"/a": entry}, file)
        return wpt_report.Expectations(folder).compare({"/a": result}, "thread")


@test
def an_unexpected_pass_fails_like_an_unexpected_failure():
    result = {"status": "ok", "message": "", "subtests": {"x": ("pass", ""), "y": ("fail", "no")}}
    equal(surprises({"fail": {"y": "because"}}, result), [])
    equal(len(surprises({"fail": {"x": "because"}}, result)), 2)
    equal(len(surprises(True, result)), 1)
    equal(len(surprises({"fail": {"y": "because", "z": "because"}}, result)), 1)


@test
def a_script_counts_once_whatever_its_globals_and_variants():
    reference = {"/a/b.any.html": (2, 2, ""), "/a/b.any.worker.html": (2, 1, ""), "/a/b.any.sharedworker.html": (1, 1, ""),
                 "/a/c.any.html?1": (1, 1, ""), "/a/c.any.html?2": (3, 3, ""), "/a/d.html": (1, 1, ""),
                 "/a/e.any.serviceworker-module.html": (1, 1, "")}
    equal(wpt_report.once(reference, reference),
          ["/a/b.any.worker.html", "/a/c.any.html?2", "/a/d.html", "/a/e.any.serviceworker-module.html"])


@test
def a_page_that_does_not_end_is_told_unless_it_is_expected():
    result = {"status": "timeout", "message": "", "subtests": {}}
    equal(len(surprises(True, result)), 1)
    equal(surprises({"status": "because"}, result), [])
    equal(len(surprises({"status": "because"}, {"status": "ok", "message": "", "subtests": {}})), 1)


@test
def what_is_written_as_expected_is_expected():
    result = {"status": "timeout", "message": "", "subtests": {"x": ("pass", ""), "y": ("fail", "no")}}
    with tempfile.TemporaryDirectory() as folder:
        before = wpt_report.Expectations(folder)
        before.update({"/a/b": result}, [(re.compile("^/a/"), re.compile(""), "because")])
        before.write()
        after = wpt_report.Expectations(folder)
        equal(after.entry("/a/b"), {"status": "because", "fail": {"y": "because"}})
        equal(after.compare({"/a/b": result}, "thread"), [])


@test
def a_page_that_ends_well_is_no_longer_expected_not_to_in_that_hosting_alone():
    result = {"status": "ok", "message": "", "subtests": {}}
    with tempfile.TemporaryDirectory() as folder:
        for reason, hosting, is_kept in ((wpt_report.PROCESS_ONLY + "because", "process", False),
                                         (wpt_report.PROCESS_ONLY + "because", "thread", True),
                                         ("because", "process", True), ("because", "thread", False)):
            expectations = wpt_report.Expectations(folder)
            expectations.entries["/a/b"] = {"status": reason}
            expectations.update({"/a/b": result}, [], hosting)
            equal(expectations.entry("/a/b"), {"status": reason} if is_kept else {})


@test
def what_has_no_reason_stays_a_surprise():
    result = {"status": "ok", "message": "", "subtests": {"x": ("fail", "no a"), "y": ("fail", "no b")}}
    with tempfile.TemporaryDirectory() as folder:
        expectations = wpt_report.Expectations(folder)
        expectations.update({"/a/b": result}, [(re.compile("^/a/"), re.compile("no a$"), "because")])
        equal(expectations.entry("/a/b"), {"fail": {"x": "because"}})
        equal(len(expectations.compare({"/a/b": result}, "thread")), 1)


@test
def the_table_of_the_other_hosting_stays_in_the_documentation():
    result = {"status": "ok", "message": "", "subtests": {"x": ("pass", ""), "y": ("fail", "no")}}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "conformance.md")
        wpt_report.write_docs(path, {"thread": {"/a/b": result}})
        wpt_report.write_docs(path, {"process": {"/c/d": result}})
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        titles = [line for line in lines if line.startswith("## ")]
        equal(titles, ["## Workers in threads", "## Workers in child processes"])
        equal([line for line in lines if line.startswith(("| a |", "| c |"))],
              ["| a | 1 | 2 | 0 | 0 | - |", "| c | 1 | 2 | 0 | 0 | - |"])


def read_html(html):
    script = f"""
        import {{ readHtml }} from "./window_html.mjs";
        const said = [];
        readHtml({json.dumps(html)}, {{
            begin: (name, attributes, isEmpty) => said.push([isEmpty ? "empty" : "begin", name, ...attributes.flat()]),
            end: (name) => said.push(["end", name]),
            text: (text) => said.push(["text", text]),
        }});
        console.log(JSON.stringify(said));
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(os.path.join(WPT, "window_html.mjs"), folder)
        path = os.path.join(folder, "reader.mjs")
        with open(path, "w", encoding="utf-8") as file:
            file.write(script)
        done = subprocess.run([MUSTER, "run", path], capture_output=True, text=True, timeout=60, check=False,
                              env=without_leak_check(os.environ))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@test
def the_reader_of_html_finds_tags_attributes_and_text():
    equal(read_html("<!doctype html><p id=a class='b c' hidden>x &lt; y<br/><!-- no --></p>"),
          [["begin", "p", "id", "a", "class", "b c", "hidden", ""], ["text", "x < y"], ["empty", "br"], ["end", "p"]])


@test
def a_script_is_text_until_its_end_tag():
    equal(read_html("<script>if (a < b && '<p>') x();</script>z"),
          [["begin", "script"], ["text", "if (a < b && '<p>') x();"], ["end", "script"], ["text", "z"]])


@test
def within_a_comment_a_script_may_have_script_tags():
    equal(read_html("<script><!--\nx('<script>y</script>');\n//--></script>z"),
          [["begin", "script"], ["text", "<!--\nx('<script>y</script>');\n//-->"], ["end", "script"], ["text", "z"]])
    equal(read_html("<script><!--\nx();</script>z"),
          [["begin", "script"], ["text", "<!--\nx();"], ["end", "script"], ["text", "z"]])
    equal(read_html("<script>x('<script>');</script>z"),
          [["begin", "script"], ["text", "x('<script>');"], ["end", "script"], ["text", "z"]])


# What the checkout's own server does, as far as processes go: some are spawned, some are forked, and each holds the pipe.
CHECKOUT = {
    "tools/__init__.py": "",
    "tools/localpaths.py": "",
    "tools/serve/__init__.py": "",
    "tools/serve/serve.py": """
import multiprocessing, os, signal

def stay(pipe):
    os.write(pipe, b"%d\\n" % os.getpid())
    signal.pause()

def hold(connection):
    stay(connection.fileno())

def run(config_path, **_):
    pipe = int(config_path)
    for how in ("spawn", "fork"):
        context = multiprocessing.get_context(how)
        from multiprocessing.connection import Connection
        context.Process(target=hold, args=(Connection(os.dup(pipe), readable=False),), daemon=True).start()
    stay(pipe)
""",
}


def start_server(folder):
    """What wpt_server.py starts of a checkout: the process, and where each of its processes keeps an end open."""
    for path, text in CHECKOUT.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
            file.write(text)
    ours, theirs = os.pipe()
    process = subprocess.Popen([sys.executable, os.path.join(WPT, "wpt_server.py"), folder, str(theirs)],
                               stdin=subprocess.PIPE, pass_fds=[theirs], start_new_session=True)
    os.close(theirs)
    file = os.fdopen(ours, encoding="ascii")
    for _ in range(3):
        assert file.readline() != "", "a process of the server's did not start"
    return process, file


def must_be_gone(process, held):
    """Nobody has the pipe open any more."""
    ended, _, _ = select.select([held], [], [], DEADLINE)
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    assert ended, "a process of the server's is still there"
    equal(held.read(), "")


@test
def no_process_of_the_server_outlives_who_started_it():
    with tempfile.TemporaryDirectory() as folder:
        process, held = start_server(folder)
        with held:
            process.stdin.close()
            must_be_gone(process, held)
        process.wait(DEADLINE)


@test
def no_process_of_the_server_outlives_it_and_who_started_it():
    with tempfile.TemporaryDirectory() as folder:
        process, held = start_server(folder)
        with held:
            process.kill()
            process.wait(DEADLINE)
            process.stdin.close()
            must_be_gone(process, held)


if __name__ == "__main__":
    sys.exit(main())
