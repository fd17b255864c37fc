#!/usr/bin/env python3
"""tests/test_install.py BUILD SOURCE - what an embedder gets: installs the build into a scratch prefix and uses
it from there, with `pkg-config --cflags --libs muster` and nothing else.  The last line counts."""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

EMBED = """register: done
fetch: done: 200 hello, ada
/ says: greeting grace
greet: done
add: done: 5
"""
EMBED_GLIB = {"register: done", "200 hello, glib", "fetch: done", "add: done"}
EMBED_SHARED = {"Ada hears: welcome Ada", "Ada hears: Grace is here, too", "Grace hears: welcome Grace; Ada came before"}
EMBED_NATIVE = """register /store/: done
register /: done
fetch: done: request 1 of C was http://localhost/store/7
count: done: 1
shelfOf: done: "herodotus is on shelf 9"
"""


def output_of(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          check=False, **options)
    if done.returncode:
        raise AssertionError(f"{shlex.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}:\n{found}\nnot\n{expected}")


class Prefix:
    """A build, installed below a scratch folder.  Also used by test_docs.py."""

    def __init__(self, build, scratch):
        options = {o["name"]: o["value"] for o in json.loads(
            output_of("meson", "introspect", "--buildoptions", build))}
        self.root = os.path.join(scratch, "root")
        output_of("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", self.root)
        prefix = self.root + options["prefix"]
        self.include = os.path.join(prefix, options["includedir"], "muster")
        self.libraries = os.path.join(prefix, options["libdir"])
        self.programs = os.path.join(prefix, options["bindir"])
        self.scratch = scratch
        # A library with a sanitizer in it needs a program with the same.
        sanitize = options.get("b_sanitize", "none")
        sanitize = "none" if not sanitize else sanitize if isinstance(sanitize, str) else ",".join(sanitize)
        self.sanitize = [] if sanitize == "none" else ["-fsanitize=" + sanitize]
        self.environment = dict(
            os.environ,
            # At its end the leak checker reads memory that the JavaScript engine has reserved only, and dies of it.
            ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0",
            PKG_CONFIG_PATH=os.path.join(self.libraries, "pkgconfig"),
            PKG_CONFIG_SYSROOT_DIR=self.root,
            LD_LIBRARY_PATH=self.libraries)
        # The engine must be found beside the library, not by this.
        self.environment.pop("MUSTER_ENGINE_DIR", None)

    def pkg_config(self, *arguments):
        return shlex.split(output_of("pkg-config", *arguments, env=self.environment))

    def compile(self, source, *more, compiler="cc"):
        """Compiles one file with the flags of pkg-config alone; `more` is for this test's own checks."""
        program = os.path.join(self.scratch, os.path.splitext(os.path.basename(source))[0])
        output_of(compiler, *self.sanitize, source, "-o", program, *more,
                  *self.pkg_config("--cflags", "--libs", "muster"))
        return program

    def run(self, *command, **options):
        return output_of(*command, env=self.environment, **options)


# ---- what is checked ----

def public_names(folder):
    """The functions that the headers declare for export."""
    names = set()
    for path in glob.glob(os.path.join(folder, "*.h")):
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", " ", file.read(), flags=re.S)
        text = re.sub(r"^\s*#.*(\\\n.*)*$", " ", text, flags=re.M)
        for declaration in re.findall(r"\bMUSTER_API\b([^;]*);", text):
            names.add(re.search(r"\b(muster_\w+)\s*\(", declaration).group(1))
    return names


def map_names(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", " ", file.read(), flags=re.S)
    return set(re.findall(r"^\s*(muster_\w+);", text, re.M))


def exported(library):
    lines = output_of("nm", "-D", "--defined-only", "--without-symbol-versions", library).split("\n")
    return {line.split()[2] for line in lines if len(line.split()) == 3 and line.split()[1] != "A"}


class Checks:
    def __init__(self, build, source, scratch):
        self.source = source
        self.prefix = Prefix(build, scratch)
        self.library = os.path.join(self.prefix.libraries, "libmuster.so")

    def example(self, name):
        return os.path.join(self.source, "examples", name)

    def pkg_config_knows_the_version(self):
        with open(os.path.join(self.source, "meson.build"), encoding="utf-8") as file:
            version = re.search(r"version: '([^']+)'", file.read()).group(1)
        same(self.prefix.pkg_config("--modversion", "muster"), [version], "version")

    def embed_is_short_builds_and_runs(self):
        with open(self.example("embed.c"), encoding="utf-8") as file:
            lines = len(file.readlines())
        assert lines < 80, f"embed.c has {lines} lines"
        program = self.prefix.compile(self.example("embed.c"), "-Wall", "-Wextra", "-Werror")
        same(self.prefix.run(program, self.example("embed.js")), EMBED, "embed")

    def embed_native_builds_and_runs(self):
        program = self.prefix.compile(self.example("embed_native.c"), "-pthread", "-Wall", "-Wextra", "-Werror",
                                      "-Wno-missing-field-initializers")
        same(self.prefix.run(program), EMBED_NATIVE, "embed_native")

    def embed_glib_builds_and_runs(self):
        glib = shlex.split(output_of("pkg-config", "--cflags", "--libs", "glib-2.0"))
        program = self.prefix.compile(self.example("embed_glib.c"), *glib)
        found = self.prefix.run(program, self.example("embed.js")).splitlines()
        same(sorted(found), sorted(EMBED_GLIB), "embed_glib") # the two answers race

    def embed_shared_builds_and_runs(self):
        program = self.prefix.compile(self.example("embed_shared.c"), "-Wall", "-Wextra", "-Werror",
                                      "-Wno-missing-field-initializers")
        found = self.prefix.run(program, "file://" + self.example("embed_shared.js")).splitlines()
        same(sorted(found), sorted(EMBED_SHARED), "embed_shared") # the two clients race

    def a_program_links_the_static_library(self):
        program = os.path.join(self.prefix.scratch, "embed_static")
        flags = self.prefix.pkg_config("--cflags", "--libs", "--static", "muster")
        flags = [os.path.join(self.prefix.libraries, "libmuster.a") if f == "-lmuster" else f for f in flags]
        # Requires.private names libraries of the system, which are not below the scratch root.
        flags = [f.replace(self.prefix.root, "") if f.startswith("-L") else f for f in flags]
        output_of("cc", *self.prefix.sanitize, self.example("embed.c"), "-o", program, *flags)
        environment = dict(self.prefix.environment,
                           MUSTER_ENGINE_DIR=os.path.join(self.prefix.libraries, "muster"))
        environment.pop("LD_LIBRARY_PATH")
        same(output_of(program, self.example("embed.js"), env=environment), EMBED, "embed, static")

    def each_header_stands_alone_in_c(self):
        for header in sorted(os.listdir(self.prefix.include)):
            self.compile_header(header, "cc", "c", "-std=c11")

    def each_header_stands_alone_in_cxx(self):
        for header in sorted(os.listdir(self.prefix.include)):
            self.compile_header(header, "c++", "c++", "-std=c++11")

    def compile_header(self, header, compiler, language, standard):
        output_of(compiler, "-x", language, standard, "-Wall", "-Wextra", "-pedantic", "-Werror",
                  "-fsyntax-only", "-I", os.path.dirname(self.prefix.include), "-",
                  input=f"#include <muster/{header}>\n#include <muster/{header}>\nint main(void);\n")

    def a_cxx_program_links(self):
        path = os.path.join(self.prefix.scratch, "plus.cc")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#include <muster/muster.h>\n"
                       "int main() { muster *m = nullptr; muster_error e{};\n"
                       "  if (muster_new(nullptr, &m, &e) != MUSTER_OK) return 1;\n"
                       "  muster_destroy(m); return 0; }\n")
        self.prefix.run(self.prefix.compile(path, "-std=c++11", compiler="c++"))

    def the_map_and_the_headers_agree(self):
        names = public_names(self.prefix.include)
        listed = map_names(os.path.join(self.source, "coordinator", "muster.map"))
        assert names, "no public names found"
        same(sorted(listed - names), [], "in the map, not in a public header")
        same(sorted(names - listed), [], "in a public header, not in the map")

    def the_library_exports_the_map_and_nothing_else(self):
        listed = map_names(os.path.join(self.source, "coordinator", "muster.map"))
        found = exported(self.library)
        same(sorted(found - listed), [], "exported, not in the map")
        same(sorted(listed - found), [], "in the map, not exported")

    def the_soname_has_the_major_version(self):
        text = output_of("readelf", "-d", self.library)
        same(re.findall(r"SONAME.*\[(.*)\]", text), ["libmuster.so.0"], "soname")
        assert os.path.islink(self.library), "libmuster.so is no link"

    def the_javascript_engine_is_an_object_of_its_own(self):
        needed = re.findall(r"NEEDED.*\[(.*)\]", output_of("readelf", "-d", self.library))
        same([n for n in needed if "javascript" in n], [], "needed by libmuster")
        engine = os.path.join(self.prefix.libraries, "muster", "muster-engine-javascript.so")
        clock = "_ZN3WTF7CPUTime16forCurrentThreadEv"  # for JavaScriptCore: runtime/engine_javascript_clock.c
        same(exported(engine), {"muster__engine_javascript", clock}, "exported by the engine")

    def the_headers_include_only_what_is_installed(self):
        installed = set(os.listdir(self.prefix.include))
        for header in sorted(installed):
            with open(os.path.join(self.prefix.include, header), encoding="utf-8") as file:
                for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read(), re.M):
                    assert name in installed, f"{header} includes {name}, which is not installed"


def run_all(checks, names):
    """Runs the methods of that names; says which failed; the exit status."""
    failed = 0
    for name in names:
        try:
            getattr(checks, name)()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAILED {name}: {error}")
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    build, source = map(os.path.abspath, sys.argv[1:3])
    names = [name for name, value in vars(Checks).items()
             if callable(value) and not name.startswith("_") and name not in ("example", "compile_header")]
    if not shutil.which("c++"):
        print("no C++ compiler here: what needs one is left out")
        names = [name for name in names if "cxx" not in name]
    with tempfile.TemporaryDirectory(prefix="muster-install-") as scratch:
        return run_all(Checks(build, source, scratch), names)


if __name__ == "__main__":
    sys.exit(main())
