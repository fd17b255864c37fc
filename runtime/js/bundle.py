#!/usr/bin/env python3
"""Bundles the web globals of JavaScript workers into one C header of lazy chunks.

The build calls it.  Every X.js beside this file is an entry point and becomes
the chunk "X": esbuild bundles and minifies it, and what comes out is wrapped as
the text of a function expression, `(function (native) { ...; return {...}; })`, or of a block (see BLOCKS).
What is only imported (by chunks, or in place of a package's module) lives in
parts/ and is no chunk of its own.

The packages come from --node-modules.  When they are missing there, `npm ci`
installs exactly what package-lock.json names into a copy in the folder of the
output; the source folder is never written to.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

PACKAGES = ["@exodus/bytes", "punycode", "tr46", "urlpattern-polyfill", "web-streams-polyfill", "whatwg-url"]

# What a package asks for -> what it gets.  Each line keeps a table or a second
# implementation out of a chunk; the files say what they promise.
ALIASES = {
    "url_parser": {
        "tr46": "parts/tr46_on_demand.js",
        "@exodus/bytes/encoding.js": "parts/nothing.js",
        "@exodus/bytes/whatwg.js": "parts/percent_encode.js",
    },
}

# Names that packages read from the global object -> the part that exports them.
INJECTED = {
    "url_parser": "parts/url_globals.js",
}

# Chunks that every worker evaluates: a program that is a block, with `native` as its `this` and what it exports
# as its value.  The engine reads a function twice, to find its end and when it is called; 50 microseconds a start.
BLOCKS = ("core", "core_fetch")
BLOCK = re.compile(r"function (\w+)\((\w+)\)\{(.*)\}", re.DOTALL)

EXPORTS = re.compile(r"export\s*\{([^{}]*)\}\s*;?\s*$")
COMMENTS = re.compile(r"\A(?:\s+|/\*.*?\*/|//[^\n]*\n)*", re.DOTALL)


def fail(message):
    sys.exit("bundle.py: " + message)


def missing_packages(node_modules):
    return [name for name in PACKAGES
            if not os.path.isfile(os.path.join(node_modules, name, "package.json"))]


def install_packages(source, folder):
    """Returns a node_modules folder that has every package, installing it if need be."""
    os.makedirs(folder, exist_ok=True)
    node_modules = os.path.join(folder, "node_modules")
    if not missing_packages(node_modules):
        return node_modules
    npm = shutil.which("npm")
    if npm is None:
        fail("the packages of runtime/js/package-lock.json are not installed and there is no npm "
             "to install them; install npm, or point --node-modules at a folder that has "
             + ", ".join(PACKAGES))
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(os.path.join(source, name), os.path.join(folder, name))
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL).returncode != 0:
        fail("npm ci failed in %s; is a package registry within reach?" % folder)
    left = missing_packages(node_modules)
    if left:
        fail("npm ci did not install " + ", ".join(left))
    return node_modules


def entry_points(source):
    return sorted(name[:-len(".js")] for name in os.listdir(source) if name.endswith(".js"))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run_esbuild(esbuild, source, node_modules, name):
    command = [
        esbuild, "--bundle", "--minify", "--format=esm", "--target=esnext", "--platform=neutral",
        "--main-fields=module,main", "--conditions=import", "--charset=ascii",
        "--legal-comments=none", "--log-level=warning", "--loader=js",
        "--sourcefile=%s.js" % name,
    ]
    for package, part in ALIASES.get(name, {}).items():
        command.append("--alias:%s=%s" % (package, os.path.join(source, part)))
    if name in INJECTED:
        command.append("--inject:" + os.path.join(source, INJECTED[name]))
    text = read(os.path.join(source, name + ".js"))
    start = COMMENTS.match(text).end()
    if text.startswith("(function", start):
        text = text[:start] + "export default " + text[start:]
    done = subprocess.run(command, cwd=source, input=text, encoding="utf-8",
                          stdout=subprocess.PIPE, env=dict(os.environ, NODE_PATH=node_modules))
    if done.returncode != 0:
        fail("esbuild failed on %s.js" % name)
    if "Cannot add the same private member more than once" in done.stdout:
        fail("%s.js: esbuild made WeakMaps of private fields, which are slow; see take() in "
             "parts/webidl.js" % name)
    return done.stdout.strip()


def wrap(name, module):
    """Turns the text of an ES module without imports into that of a function expression.

    A module that exports only a default is a function of `native`; any other
    one reads `native` as a free name.  One of BLOCKS becomes a block instead.
    """
    found = EXPORTS.search(module)
    if found is None:
        fail("%s.js exports nothing" % name)
    exports = {}
    for item in filter(None, (part.strip() for part in found.group(1).split(","))):
        local, _, public = item.partition(" as ")
        exports[public.strip() or local.strip()] = local.strip()
    if "default" in exports and len(exports) > 1:
        fail("%s.js exports a default and more; a chunk does one or the other" % name)
    if list(exports) == ["default"]:
        answer = "%s(native)" % exports["default"]
    else:
        answer = "{%s}" % ",".join("%s:%s" % pair for pair in sorted(exports.items()))
    body = module[:found.start()].rstrip()
    if name in BLOCKS:
        block = BLOCK.fullmatch(body)
        if block is None or list(exports) != ["default"] or exports["default"] != block.group(1):
            fail("%s.js is more than one function of `native`" % name)
        return '"use strict";{let %s=this;%s}' % block.group(2, 3)
    return '(function(native){"use strict";%s\nreturn %s})' % (body, answer)


def c_string(text):
    """The text as adjacent C literals; compilers need not take lines of any length."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "?": "\\?"}
    lines = []
    for start in range(0, len(text), 2000):
        piece = text[start:start + 2000]
        lines.append('        "%s"' % "".join(
            named.get(c) or (c if " " <= c <= "~" else "\\%03o" % ord(c)) for c in piece))
    return "\n".join(lines)


def notices(node_modules):
    """The licences of what is inside the chunks: they ask to be kept with every copy."""
    lines = []
    for name in PACKAGES:
        folder = os.path.join(node_modules, name)
        for file in sorted(os.listdir(folder)):
            if file.upper().startswith("LICENSE"):
                text = read(os.path.join(folder, file)).replace("*/", "* /").strip()
                lines.append(" *\n * %s\n *\n" % name
                             + "\n".join((" *   " + line).rstrip() for line in text.splitlines()))
    return "\n".join(lines)


def header(chunks, node_modules):
    parts = [
        "/* Written by runtime/js/bundle.py; change the files beside it instead.\n *\n"
        " * The chunks contain these packages:\n" + notices(node_modules) + "\n */\n",
        "#ifndef MUSTER_JS_CHUNKS_H\n#define MUSTER_JS_CHUNKS_H\n",
        "struct muster__js_chunk {\n    const char *name;\n"
        "    const char *text; /* ASCII: (function(native){...}), or a block with `native` as its `this` */\n    unsigned length;\n};\n",
        "static const struct muster__js_chunk muster__js_chunks[] = {",
    ]
    for name, text in chunks:
        parts.append('    {\n        "%s",\n%s,\n        %du,\n    },' % (name, c_string(text),
                                                                       len(text)))
    parts.append("};\n\nstatic const unsigned muster__js_chunk_count =\n"
                 "    sizeof(muster__js_chunks) / sizeof(muster__js_chunks[0]);\n\n#endif")
    return "\n".join(parts) + "\n"


def write_depfile(path, output, source):
    """For ninja: what the header is made from, so that a new file needs no mention in the build."""
    files = []
    for folder in (source, os.path.join(source, "parts")):
        files += [os.path.join(folder, name) for name in sorted(os.listdir(folder))
                  if name.endswith((".js", ".json", ".py"))]
    with open(path, "w", encoding="utf-8") as file:
        file.write("%s: %s\n" % (output, " ".join(name.replace(" ", "\\ ") for name in files)))


def write_if_changed(path, text):
    if os.path.isfile(path) and read(path) == text:
        os.utime(path)
        return
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--esbuild", default="esbuild", help="the program, 0.17 or newer")
    parser.add_argument("--source", default=here, help="the folder of the chunks")
    parser.add_argument("--node-modules", help="a folder that has the packages")
    parser.add_argument("--output", required=True, help="the C header to write")
    parser.add_argument("--depfile", help="also write the list of sources, as a rule of make")
    parser.add_argument("--texts", help="also write each chunk to this folder, to look at")
    options = parser.parse_args()

    esbuild = shutil.which(options.esbuild)
    if esbuild is None:
        fail("there is no program %s; it is esbuild that bundles the chunks" % options.esbuild)
    source = os.path.abspath(options.source)
    output = os.path.abspath(options.output)
    node_modules = options.node_modules and os.path.abspath(options.node_modules)
    if not node_modules or missing_packages(node_modules):
        node_modules = install_packages(source, os.path.join(os.path.dirname(output),
                                                             "js_packages"))
    chunks = []
    for name in entry_points(source):
        text = wrap(name, run_esbuild(esbuild, source, node_modules, name))
        if not text.isascii():
            fail("%s.js: the bundle is not ASCII" % name)
        chunks.append((name, text))
        if options.texts:
            os.makedirs(options.texts, exist_ok=True)
            write_if_changed(os.path.join(options.texts, name + ".js"), text)
    write_if_changed(output, header(chunks, node_modules))
    if options.depfile:
        write_depfile(options.depfile, options.output, source)


if __name__ == "__main__":
    main()
