"""tests/wpt/wpt_tests.py - which tests a checkout of web-platform-tests has: file names, META lines, variants.

The rules are those of the checkout's own documentation ("Writing tests: testharness.js", "multi-global tests").
Pure: reads files, starts nothing.
"""
import os
import re

META = re.compile(rb"^//\s*META:\s*(\w+)=(.*?)\s*$")
HTML_META = re.compile(rb"<meta\s+name=[\"']?(timeout|variant)[\"']?\s+content=[\"']?([^\"'>]*)[\"']?\s*/?>", re.I)
HARNESS = re.compile(rb"<script[^>]+src=[\"']?/resources/testharness\.js", re.I)
SKIPPED_FOLDERS = {"resources", "support", "tools", "common", "reftest", "crashtests", "__pycache__"}
HTML_ENDINGS = (".html", ".htm", ".xhtml")
# The ending of the page that a global of a .any.js stands for.
GLOBALS = {
    "window": ".any.html",
    "window-module": ".any.window-module.html",
    "dedicatedworker": ".any.worker.html",
    "dedicatedworker-module": ".any.worker-module.html",
    "sharedworker": ".any.sharedworker.html",
    "sharedworker-module": ".any.sharedworker-module.html",
    "serviceworker": ".any.serviceworker.html",
    "serviceworker-module": ".any.serviceworker-module.html",
}
GROUPS = {
    "worker": ("dedicatedworker", "sharedworker", "serviceworker"),
    "worker-module": ("dedicatedworker-module", "sharedworker-module", "serviceworker-module"),
}
NOT_RUN = re.compile(r"^(shadowrealm|jsshell)")


class Test:
    """One page to open: its URL without the origin, whether it needs https, and how long it may take."""

    def __init__(self, url, is_long=False):
        self.url = url
        path = url.split("?")[0].split("#")[0]
        name = path.rsplit("/", 1)[1]
        self.is_https = ".https." in name or ".serviceworker" in name
        self.is_h2 = ".h2." in name
        self.is_long = is_long

    def __repr__(self):
        return f"Test({self.url})"


def metas(text):
    """The META lines at the head of a script: a list of (key, value)."""
    found = []
    for line in text.splitlines():
        match = META.match(line)
        if match:
            found.append((match[1].decode(), match[2].decode()))
        elif line.strip() and not line.startswith(b"//"):
            break
    return found


def globals_of(value):
    """The globals that `global=` names, in order: words, with ! in front for what is taken away."""
    chosen = []
    for word in (word.strip() for word in value.split(",")):
        names = GROUPS.get(word.lstrip("!"), (word.lstrip("!"),))
        if word.startswith("!"):
            chosen = [name for name in chosen if name not in names]
        elif not NOT_RUN.match(word):
            chosen += [name for name in names if name in GLOBALS and name not in chosen]
    return chosen


def with_variants(url, variants, is_long):
    return [Test(url + variant, is_long) for variant in (variants or [""])]


def any_tests(path, text):
    lines = metas(text)
    values = [value for key, value in lines if key == "global"]
    chosen = globals_of(values[0]) if values else ["window", "dedicatedworker"]
    variants = [value for key, value in lines if key == "variant"]
    is_long = ("timeout", "long") in lines
    stem = path[:-len(".any.js")]
    tests = []
    for name in chosen:
        tests += with_variants(stem + GLOBALS[name], variants, is_long)
    return tests


def page_tests(path, text):
    lines = HTML_META.findall(text)
    variants = [value.decode() for key, value in lines if key.lower() == b"variant"]
    return with_variants(path, variants, (b"timeout", b"long") in lines)


def tests_of_file(path, text):
    """`path` begins with a slash and is relative to the checkout; [] if it is no test."""
    if path.endswith(".any.js"):
        return any_tests(path, text)
    for kind in ("worker", "window"):
        if path.endswith(f".{kind}.js"):
            lines = metas(text)
            return with_variants(path[:-len(".js")] + ".html", [v for k, v in lines if k == "variant"],
                                 ("timeout", "long") in lines)
    if path.endswith(HTML_ENDINGS) and "-manual." not in path and HARNESS.search(text):
        return page_tests(path, text)
    return []


def find(checkout, folders):
    """All tests below the folders (or in the files) that are named, relative to the checkout."""
    found = []
    for folder in folders:
        top = os.path.join(checkout, folder.strip("/"))
        files = [top] if os.path.isfile(top) else [
            os.path.join(where, name)
            for where, below, names in os.walk(top)
            if not below.sort() and not prune(below)
            for name in sorted(names)]
        for file in files:
            with open(file, "rb") as opened:
                found += tests_of_file("/" + os.path.relpath(file, checkout), opened.read())
    return found


def prune(below):
    below[:] = [name for name in below if name not in SKIPPED_FOLDERS]
