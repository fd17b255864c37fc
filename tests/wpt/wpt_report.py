"""tests/wpt/wpt_report.py - expectations, the table per directory and class, JSON, and the page in docs/."""
import collections
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ALSO = "passes though it is expected to fail"
PROCESS_ONLY = "in child processes: " # a reason that begins so holds there alone


def load_reference():
    """What Chromium 156 passes, and the class of a page: {url: (subtests, pass, class)}."""
    with open(os.path.join(HERE, "chromium.json"), encoding="utf-8") as file:
        return {url: tuple(row) for url, row in json.load(file).items()}


def load_reasons():
    """[(pattern of the URL, pattern of "name: message", reason)], the first that fits counts."""
    with open(os.path.join(HERE, "reasons.json"), encoding="utf-8") as file:
        return [(re.compile(url), re.compile(text), reason) for url, text, reason in json.load(file)]


def reason_for(reasons, url, text):
    for url_pattern, text_pattern, reason in reasons:
        if url_pattern.search(url) and text_pattern.search(text):
            return reason
    return None


def rank(result):
    return result["status"] == "ok", passed(result)


def passed(result):
    return sum(1 for outcome, _ in result["subtests"].values() if outcome == "pass")


class Expectations:
    """A file per top folder: url -> true (all pass), {"fail": {subtest: reason}}, {"skip": reason}, or
    {"status": reason}: the page as a whole does not come to its end.  A reason that begins with "in child processes: "
    holds there alone.  A page without an entry is expected to pass."""

    def __init__(self, folder):
        self.folder = folder
        self.entries = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                self.entries.update(json.load(file))

    def entry(self, url):
        entry = self.entries.get(url, True)
        return {} if entry is True else entry

    def skip_reason(self, url):
        return self.entry(url).get("skip")

    def compare(self, results, hosting):
        surprises = []
        for url, result in results.items():
            if result["status"] == "skip":
                continue
            for what in self.differences(url, result, hosting):
                surprises.append(f"{hosting}: {url}: {what}")
        return surprises

    def differences(self, url, result, hosting="thread"):
        entry = self.entry(url)
        failing = {name: reason for name, reason in entry.get("fail", {}).items()
                   if hosting == "process" or not reason.startswith(PROCESS_ONLY)}
        status = entry.get("status")
        if status and status.startswith(PROCESS_ONLY) and hosting != "process":
            status = None
        found = []
        if (result["status"] == "ok") == (status is not None):
            found.append(f"ends with \"{result['status']}\", expected \"{status or 'ok'}\"")
        for name, (outcome, message) in result["subtests"].items():
            if outcome == "pass" and name in failing:
                found.append(f"\"{name}\" {ALSO}")
            elif outcome != "pass" and name not in failing:
                found.append(f"\"{name}\": {outcome}: {message}")
        found += [f"\"{name}\" is expected and did not run" for name in failing
                  if name not in result["subtests"] and status is None]
        return found

    def update(self, results, reasons, hosting="thread"):
        only = PROCESS_ONLY if hosting == "process" else ""
        for url, result in results.items():
            if result["status"] == "skip":
                continue
            old = self.entry(url)
            failing = {name: reason for name, reason in old.get("fail", {}).items()
                       if reason.startswith(PROCESS_ONLY) != (hosting == "process")}
            for name, (outcome, message) in result["subtests"].items():
                if outcome != "pass" and name not in failing:
                    reason = old.get("fail", {}).get(name) or reason_for(reasons, url, f"{name}: {message}")
                    failing[name] = reason and (reason if reason.startswith(only) else only + reason)
            entry = {}
            if result["status"] != "ok":
                reason = reason_for(reasons, url, result["message"])
                entry["status"] = old.get("status") or (reason and only + reason)
            elif old.get("status", "").startswith(PROCESS_ONLY) != (hosting == "process"): # the other hosting's
                entry["status"] = old.get("status")
            entry["fail"] = {name: reason for name, reason in failing.items() if reason}
            self.entries[url] = {key: value for key, value in entry.items() if value} or True

    def write(self):
        os.makedirs(self.folder, exist_ok=True)
        files = collections.defaultdict(dict)
        for url, entry in sorted(self.entries.items()):
            if entry is not True:
                files[url.split("/")[1]][url] = entry
        for name, entries in files.items():
            with open(os.path.join(self.folder, name + ".json"), "w", encoding="utf-8") as file:
                json.dump(entries, file, indent=1, ensure_ascii=False)
                file.write("\n")


# ---- tables

def rows_of(results):
    """(group, pages, subtests of ours, passed by us, passed by Chromium), in order."""
    reference = load_reference()
    groups = {}
    for url in results:
        name, kind = group_of(url), reference.get(url, (0, 0, ""))[2]
        groups.setdefault(name + (f", class {kind}" if kind else ""), []).append(url)
    for name, pattern in SELECTIONS.items():
        chosen = [url for url in results if pattern.match(url) and reference.get(url, (0, 0, ""))[2] == ""]
        if chosen:
            groups[name] = once(chosen, reference)
    return [(name, *sum_of(groups[name], results, reference)) for name in sorted(groups)]


def sum_of(urls, results, reference):
    row = [len(urls), 0, 0, 0]
    for url in urls:
        subtests, chromium, _ = reference.get(url, (0, 0, ""))
        row[1] += max(subtests, len(results[url]["subtests"]))
        # More than Chromium passes does not count against what it passes.
        row[2] += min(passed(results[url]), chromium)
        row[3] += chromium
    return row


def once(urls, reference):
    """Of the pages that a .any.js stands for, the one with the most subtests; of as many, a dedicated worker's."""
    def weight(url):
        return reference.get(url, (0,))[0], ".any.worker." in url

    chosen = {}
    for url in urls:
        file = ANY.sub(".any.js", url)
        chosen[file] = max(chosen.get(file, url), url, key=weight)
    return list(chosen.values())


# Rows of their own: what a conformance figure is asked of, without class D and without the repetition of the globals.
ANY = re.compile(r"\.any\.[a-z-]*\.?html(\?.*)?$")
SELECTIONS = {
    "workers, each file once": re.compile("^/workers/"),
    "webmessaging, each .any.js once": re.compile(r"^/webmessaging/.*\.any\."),
    "html/infrastructure/safe-passing-of-structured-data, each .any.js once":
        re.compile(r"^/html/infrastructure/safe-passing-of-structured-data/.*\.any\."),
}


def group_of(url):
    parts = url.strip("/").split("/")
    if parts[0] in ("html", "webmessaging", "service-workers", "dom"):
        return "/".join(parts[:3] if parts[0] == "html" else parts[:2] if len(parts) > 2 else parts[:1])
    return parts[0]


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "-"


def print_table(results):
    rows = rows_of(results)
    width = max(len(row[0]) for row in rows)
    print(f"{'':{width}}  pages  subtests  passed  Chromium   share")
    for name, pages, subtests, ours, chromium in rows:
        print(f"{name:{width}}  {pages:5}  {subtests:8}  {ours:6}  {chromium:8}  {share(ours, chromium):>6}")


def print_failures(results, is_verbose):
    if not is_verbose:
        return
    for url, result in results.items():
        if result["status"] not in ("ok", "skip"):
            print(f"{url}: {result['status']}: {result['message']}")
        for name, (outcome, message) in result["subtests"].items():
            if outcome != "pass":
                print(f"{url}: {outcome}: {name}: {message}")


def write_json(path, results):
    with open(path, "w", encoding="utf-8") as file:
        json.dump([{"url": url, "subtests": len(result["subtests"]), "pass": passed(result)}
                   for url, result in results.items()], file, indent=0)
        file.write("\n")


HEAD = """# Conformance

What web-platform-tests say of muster, at their commit 3720f369, beside Chromium 156 on the same pages. Made by

    tests/wpt/run --wpt DIR --hosting both --write-docs

*passed* counts what Chromium passes as well; *share* is of those. Class A are pages that register and post, B
those that use frames as clients, C workers as clients; D, N and E navigate, draw, or need other parts of a browser. A
`.any.js` is run in each of its globals; *once* counts the one of them with the most subtests. Of `dom` only the scripts
are run, its pages are about documents. What fails, and why, stands in `tests/wpt/expectations/`.
"""


TITLES = {"thread": "Workers in threads", "process": "Workers in child processes"}
COLUMNS = "| tests | pages | subtests | passed | Chromium | share |\n|---|---|---|---|---|---|\n"


def old_rows(path):
    """{title: {name: line}}: what this run does not make anew stays."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        sections = [section.split("\n", 1) for section in file.read().split("\n## ")[1:]]
    return {title: {line.split(" | ")[0][2:]: line for line in body.splitlines()
                    if line.startswith("| ") and not line.startswith("| tests |")} for title, body in sections}


def write_docs(path, tables):
    old = old_rows(path)
    text = HEAD
    for hosting, title in TITLES.items():
        rows = old.get(title, {})
        for name, pages, subtests, ours, chromium in rows_of(tables.get(hosting, {})):
            rows[name] = f"| {name} | {pages} | {subtests} | {ours} | {chromium} | {share(ours, chromium)} |"
        if rows:
            text += f"\n## {title}\n\n{COLUMNS}" + "".join(f"{rows[name]}\n" for name in sorted(rows))
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Progress:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self, count):
        self.count, self.done, self.failed = count, 0, 0
        self.is_shown = sys.stderr.isatty()

    def step(self, url, result):
        self.done += 1
        self.failed += result["status"] != "ok" or any(outcome != "pass" for outcome, _ in result["subtests"].values())
        if self.is_shown:
            print(f"\r\033[K{self.done}/{self.count}, {self.failed} with failures: {url[-60:]}", end="",
                  file=sys.stderr, flush=True)

    def end(self, seconds, how=""):
        if self.is_shown:
            print("\r\033[K", end="", file=sys.stderr)
        if self.count:
            print(f"{self.count} pages{how} in {seconds:.0f} s", flush=True)
