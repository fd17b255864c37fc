#!/usr/bin/env python3
"""tests/test_layers.py ROOT - arrows point down, each outside header has one adapter, and the files that a comment
names are there."""
import os
import re
import sys

# A folder may include itself and what stands to its right.
FLOORS = {
    "runtime": {"runtime"},
    "remote": {"remote", "runtime"},
    "coordinator": {"coordinator", "remote", "runtime"},
    "cli": {"cli", "coordinator", "remote", "runtime"},
}
PURE = re.compile(r"^coordinator/core")  # the core includes itself and the base types
PURE_MAY = {"runtime/base.h", "runtime/check.h", "runtime/hash.h"}
PURE_SYSTEM = {"stddef.h", "stdint.h", "stdbool.h", "stdlib.h", "string.h", "stdio.h", "inttypes.h", "errno.h", "limits.h", "stdarg.h"}
ADAPTERS = {
    "jansson.h": r"runtime/json\.c|cli/app_json\.c",
    "lua.h": r"runtime/engine_lua",
    "lauxlib.h": r"runtime/engine_lua",
    "lualib.h": r"runtime/engine_lua",
    "JavaScriptCore/": r"runtime/(engine_javascript|jsc_private)",
    "sqlite3.h": r"coordinator/store_file\.h",
    "coordinator/store_file.h": r"cli/state_folder\.c|coordinator/(cache_store|store|store_file)\.c",
    "curl/": r"runtime/http_client_curl\.c",
    "openssl/": r"runtime/http_client_digest\.c",
    "seccomp.h": r"remote/wall_seccomp\.c",
    "llhttp.h": r"cli/http_parser\.[ch]",
}
NAMED = re.compile(r"\b((?:runtime|remote|coordinator|cli|tests|docs|scripts)/\w+\.(?:[ch]|js|py|md|sh))\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def sources(root):
    for floor in FLOORS:
        for name in sorted(os.listdir(os.path.join(root, floor))):
            if name.endswith((".c", ".h")):
                yield floor, f"{floor}/{name}"


def faults_of(root, floor, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    for kind, header in INCLUDE.findall(text):
        folder = header.split("/")[0] if "/" in header else floor
        if kind == '"' and folder in FLOORS and folder not in FLOORS[floor]:
            yield f'{path}: includes "{header}", which is a floor above'
        if PURE.match(path):
            inside = header.startswith("coordinator/core") or header in PURE_MAY
            if (kind == '"' and not inside) or (kind == "<" and header not in PURE_SYSTEM):
                yield f"{path}: the core is pure and may not include {header}"
        for outside, adapter in ADAPTERS.items():
            if header.startswith(outside) and not re.match(adapter, path):
                yield f"{path}: {outside} belongs to {adapter}"


def missing_files(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        text = file.read()
    for name in sorted(set(NAMED.findall(text))):
        if not os.path.exists(os.path.join(root, name)):
            yield f"{path}: names {name}, which is not there"


def main():
    root = sys.argv[1]
    files = list(sources(root))
    faults = [fault for floor, path in files for fault in faults_of(root, floor, path)]
    faults += [fault for _, path in files for fault in missing_files(root, path)]
    for fault in faults:
        print(fault)
    print(f"{len(files) - len({f.split(':')[0] for f in faults})} passed, {len(faults)} failed")
    return 1 if faults or not files else 0


sys.exit(main())
