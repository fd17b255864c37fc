#!/usr/bin/env python3
"""scripts/run_tests.py [--sanitizers] [--fuzz SECONDS] - what scripts/test runs: builds muster and runs its tests; the
last line is 'N passed, N failed'.

With --sanitizers the suites run three times: plain, with the address and undefined-behaviour sanitizers,
and with the thread sanitizer.  A suppression stands in tests/suppressions/ with its reason.  With --fuzz each fuzz
target runs for so long afterwards, and counts as one test.  So does web-platform-tests, where the environment
variable MUSTER_WPT names a checkout of it; MUSTER_WPT_FOLDERS names some of its folders, or else those run that have
expectations.
"""
import argparse
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VARIANTS = {
    "plain": ("build", []),
    "address,undefined": ("build-address", ["-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "thread": ("build-thread", ["-Db_sanitize=thread", "-Db_lundef=false"]),
}
SLOWER = 4  # how much more time a test is given in the builds with sanitizers
CHECKS = re.compile(r"\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)")
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed", re.M)


def environment(name):
    suppressions = os.path.join(ROOT, "tests", "suppressions")
    return dict(
        os.environ,
        ASAN_OPTIONS="detect_stack_use_after_return=0:handle_segv=0:allow_user_segv_handler=1",
        LSAN_OPTIONS=f"suppressions={suppressions}/leak.txt:print_suppressions=0",
        # At its end every process with threads would sleep for a second, and Check makes one for each test.  And it
        # guesses how large a thread's variables in a loaded library are by what stands before them: where that looks
        # like a size, which is so once in a hundred starts of the engine, it wants memory for all of the address space.
        TSAN_OPTIONS=f"suppressions={suppressions}/thread.txt:history_size=7:handle_segv=0:report_signal_unsafe=0"
                     ":atexit_sleep_ms=20:intercept_tls_get_addr=0",
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
        **({} if name == "plain" else {"CK_TIMEOUT_MULTIPLIER": str(SLOWER)}),
        # The thread sanitizer holds signals back from a thread that spins in compiled JavaScript, which would
        # never hear that its time is up: there the engine looks for itself.
        # Nor does the signal reach a thread that waits, with which the collector stops it: no collection
        # there; and where a test has it nevertheless, on the script's own thread only.
        **({"JSC_usePollingTraps": "1", "JSC_useGC": "0", "JSC_useConcurrentGC": "0"} if name == "thread" else {}),
    )


def count(result):
    """What one test program says of itself; a program that says nothing counts as one."""
    text = result.get("stdout", "") + result.get("stderr", "")
    passed = failed = 0
    for checks, failures, errors in CHECKS.findall(text):
        failed += int(failures) + int(errors)
        passed += int(checks) - int(failures) - int(errors)
    for good, bad in PLAIN.findall(text):
        passed, failed = passed + int(good), failed + int(bad)
    good = result["result"] in ("OK", "EXPECTEDFAIL")
    if passed + failed == 0:
        return (1, 0) if good else (0, 1)
    return passed, failed if good else max(failed, 1)


def run(name):
    folder, options = VARIANTS[name]
    print(f"== {name}", flush=True)
    subprocess.run([os.path.join(ROOT, "scripts", "build"), folder, *options], check=True)
    done = subprocess.run(
        ["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
         "--timeout-multiplier", "1" if name == "plain" else str(SLOWER)],
        cwd=ROOT, env=environment(name), check=False)
    passed = failed = 0
    with open(os.path.join(ROOT, folder, "meson-logs", "testlog.json"), encoding="utf-8") as log:
        for line in log:
            good, bad = count(json.loads(line))
            passed, failed = passed + good, failed + bad
    if done.returncode and not failed:
        failed = 1
    print(f"{name}: {passed} tests passed, {failed} failed", flush=True)
    return passed, failed


def fuzz(seconds):
    print("== fuzz", flush=True)
    done = subprocess.run([os.path.join(ROOT, "scripts", "fuzz"), str(seconds)],
                          stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    counts = PLAIN.findall(done.stdout)
    passed, failed = map(int, counts[-1]) if counts else (0, 0)
    return passed, failed or int(done.returncode != 0)


def wpt():
    checkout = os.environ.get("MUSTER_WPT")
    if not checkout:
        print("== web-platform-tests: skipped, for MUSTER_WPT names no checkout", flush=True)
        return 0, 0
    print("== web-platform-tests", flush=True)
    command = [os.path.join(ROOT, "tests", "wpt", "run"), "--wpt", checkout, "--hosting", "both", "--jobs", "2",
               "--muster", os.path.join(ROOT, "build", "cli", "muster"),
               *os.environ.get("MUSTER_WPT_FOLDERS", "").split()]
    return (1, 0) if subprocess.run(command, check=False).returncode == 0 else (0, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sanitizers", action="store_true")
    parser.add_argument("--fuzz", type=int, default=0, metavar="SECONDS")
    options = parser.parse_args()
    os.chdir(ROOT)
    runs = [lambda name=name: run(name) for name in (VARIANTS if options.sanitizers else ["plain"])]
    if options.fuzz:
        runs.append(lambda: fuzz(options.fuzz))
    runs.append(wpt)
    passed = failed = 0
    for one in runs:
        good, bad = one()
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
