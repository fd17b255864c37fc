#!/usr/bin/env python3
"""tests/test_docs.py BUILD SOURCE - what README.md and docs/*.md show is true: their code compiles and runs against
an installed muster.  The last line counts.

The word after the language of a block says how it is tested:
  c program, c++ program   compiled, linked and run, in a folder with the page's files; the next `text output` block
                           is what it, or the `sh run` block before that one, prints
  c part                   at file scope, in the page's own file
  c steps                  inside a function that has muster, handle, result and status
  sh run                   run, in that folder; a program before it has been written there as program.c
  LANGUAGE file=NAME       a file in that folder
A `c` block without such a word is a part; an `sh` block is only parsed, and the programs of the source folder that it
names must exist."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

sys.dont_write_bytecode = True  # this folder is not for it
import test_install  # noqa: E402

BLOCK = re.compile(r"^```([^\n`]+)\n(.*?)^```$", re.M | re.S)
PRELUDE = """#include <muster/muster.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
"""
STEPS = """enum muster_status steps_%d(struct muster *muster, struct muster_handle *handle, struct muster_result result);
enum muster_status steps_%d(struct muster *muster, struct muster_handle *handle, struct muster_result result)
{
    enum muster_status status = MUSTER_OK;
    (void)result;
    (void)handle;
%s
    return muster ? status : MUSTER_CLOSED;
}
"""
# Parts may stand unused on a page; a fragment need not look at each status.
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-result",
            "-Wno-missing-field-initializers"]


class Page:
    def __init__(self, path, prefix, source):
        self.path, self.prefix, self.source = path, prefix, source
        self.folder = tempfile.mkdtemp(dir=prefix.scratch)
        self.parts, self.checked, self.output = [], 0, None
        with open(path, encoding="utf-8") as file:
            self.blocks = [(info.split(), text) for info, text in BLOCK.findall(file.read())]

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run(self, *command):
        return self.prefix.run(*command, cwd=self.folder)

    def program(self, text, ending, compiler):
        source = self.write("program" + ending, text)
        program = os.path.join(self.folder, "program")
        test_install.output_of(compiler, *self.prefix.sanitize, *WARNINGS, source, "-o", program,
                               *self.prefix.pkg_config("--cflags", "--libs", "muster"))
        self.output = self.run(program)

    def parse_shell(self, text):
        test_install.output_of("sh", "-n", "-c", text)
        for name in re.findall(r"^\s*((?:scripts|bench|examples)/\S+)", text, re.M):
            if not os.path.exists(os.path.join(self.source, name)):
                raise AssertionError(f"there is no {name}")

    def shell(self, text):
        # A program that needs a sanitizer gets it by the compiler's name.
        flags = " ".join(self.prefix.sanitize)
        self.output = self.run("sh", "-ec", f'cc() {{ command cc {flags} "$@"; }}\n{text}')

    def test(self, info, text):
        """True: there was something to test."""
        kind = " ".join(info)
        if kind in ("c program", "c++ program"):
            self.program(text, ".c" if info[0] == "c" else ".cc", "cc" if info[0] == "c" else "c++")
        elif kind in ("c", "c part"):
            self.parts.append(text)
        elif kind == "c steps":
            self.parts.append(STEPS % (len(self.parts), len(self.parts), textwrap.indent(text, "    ")))
        elif kind == "sh run":
            self.shell(text)
        elif info[0] in ("sh", "console", "bash"):
            self.parse_shell(text)
        elif kind == "text output":
            test_install.same(self.output, text, "it prints")
        elif len(info) > 1 and info[1].startswith("file="):
            return False
        else:
            return info[0] == "c" and self.unknown(kind)
        return True

    @staticmethod
    def unknown(kind):
        raise AssertionError(f"nobody knows how to test a block of `{kind}`")

    def compile_parts(self):
        source = self.write("parts.c", PRELUDE + "\n".join(self.parts))
        test_install.output_of("cc", *WARNINGS, "-fsyntax-only", source, *self.prefix.pkg_config("--cflags", "muster"))

    def check(self):
        """The faults found."""
        faults = []
        for info, text in self.blocks:
            if len(info) > 1 and info[1].startswith("file="):
                self.write(info[1].split("=", 1)[1], text)
        for number, (info, text) in enumerate(self.blocks, 1):
            if info[0] == "c++" and not shutil.which("c++"):
                continue
            try:
                self.checked += self.test(info, text)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                faults.append(f"block {number} ({' '.join(info)}): {error}")
        try:
            self.compile_parts()
        except AssertionError as error:
            faults.append(f"parts: {error}")
        return faults


def missing_from_the_guide(source):
    """embedding.md covers each public call."""
    with open(os.path.join(source, "docs", "embedding.md"), encoding="utf-8") as file:
        guide = file.read()
    names = test_install.map_names(os.path.join(source, "coordinator", "muster.map"))
    return [f"{name} is not in the guide" for name in sorted(names) if not re.search(rf"`{name}(\(\))?`", guide)]


def dead_links(path):
    with open(path, encoding="utf-8") as file:
        targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read())
    return [f"links to {target}, which is not there" for target in targets
            if not os.path.exists(os.path.join(os.path.dirname(path), target))]


def main():
    build, source = map(os.path.abspath, sys.argv[1:3])
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="muster-docs-") as scratch:
        prefix = test_install.Prefix(build, scratch)
        for path in [os.path.join(source, "README.md"), *sorted(glob.glob(os.path.join(source, "docs", "*.md")))]:
            page = Page(path, prefix, source)
            faults = page.check() + dead_links(path)
            for fault in faults:
                print(f"FAILED {os.path.relpath(path, source)}: {fault}")
            passed, failed = passed + max(page.checked - len(faults), 0) + 1, failed + len(faults)
        missing = missing_from_the_guide(source)
        for fault in missing:
            print(f"FAILED {fault}")
    passed, failed = passed + (not missing), failed + len(missing)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
