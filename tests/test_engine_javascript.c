/* tests/test_engine_javascript.c - JavaScript workers: the shared suite, and what only they have.
 *
 * Time is virtual; scripts log to the fake host's console. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine_javascript.h"
#include "tests/engine_scripts_javascript.h"

static struct fake_host host;

static void set_up(void)
{
    fake_host_init(&host, &muster__engine_javascript);
}

static void tear_down(void)
{
    fake_host_clean_up(&host);
}

static void start(const char *text)
{
    const struct fake_script script = {.text = text};
    struct muster_error error = {0};
    enum muster_status status = fake_host_start(&host, &script, &error);
    ck_assert_msg(status == MUSTER_OK, "start: %s: %s", muster_status_name(status),
                  error.message ? error.message : "");
    while (fake_host_run(&host))
        ;
}

static void run_all(void)
{
    while (fake_host_run(&host))
        ;
}

static void assert_console(const char *wanted)
{
    run_all();
    ck_assert_str_eq(host.console ? host.console : "", wanted);
}

static struct fake_request *deliver(enum muster__request_kind kind, const char *name)
{
    struct fake_request *request = fake_request_new(&host, kind, name, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    run_all();
    return request;
}

static struct fake_request *fetch(const char *path, const char *headers)
{
    struct fake_request *request = fake_fetch_new(&host, "GET", path, headers, NULL, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    run_all();
    return request;
}

/* ---- events ---- */

START_TEST(wait_until_is_allowed_in_a_microtask_and_not_in_a_later_task)
{
    start("addEventListener('x', (e) => {\n"
          "  Promise.resolve().then(() => { e.waitUntil(Promise.resolve()); console.log('micro'); });\n"
          "  setTimeout(() => { try { e.waitUntil(1); } catch (error) { console.log(error.name); } }, 5);\n"
          "});");
    struct fake_request *request = deliver(MUSTER__REQUEST_EVENT, "x");
    ck_assert_int_eq(request->ended, 1);
    fake_host_advance(&host, 5);
    assert_console("info micro\ninfo InvalidStateError\n");
}
END_TEST

START_TEST(wait_until_may_be_chained_while_something_is_pending)
{
    start("addEventListener('x', (e) => {\n"
          "  e.waitUntil(new Promise((r) => setTimeout(r, 10)));\n"
          "  setTimeout(() => e.waitUntil(new Promise((r) => setTimeout(r, 10))), 5);\n"
          "});");
    struct fake_request *request = deliver(MUSTER__REQUEST_EVENT, "x");
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->ended, 0);
    fake_host_advance(&host, 5);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_int_eq(request->status, MUSTER_OK);
}
END_TEST

START_TEST(respond_with_comes_once_and_in_time)
{
    start("addEventListener('fetch', (e) => {\n"
          "  e.respondWith(new Response('a'));\n"
          "  try { e.respondWith(new Response('b')); } catch (error) { console.log(error.name); }\n"
          "});\n"
          "addEventListener('fetch', () => console.log('not reached'));\n");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_str_eq(request->body, "a");
    assert_console("info InvalidStateError\n");
}
END_TEST

START_TEST(respond_with_in_a_microtask_is_in_time)
{
    start("addEventListener('fetch', (e) => {\n"
          "  Promise.resolve().then(() => e.respondWith(new Response('a')));\n"
          "});");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_int_eq(request->status, MUSTER_OK);
    ck_assert_str_eq(request->body, "a");
}
END_TEST

START_TEST(a_prevented_fetch_without_an_answer_is_a_bad_response)
{
    start("addEventListener('fetch', (e) => e.preventDefault());");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_int_eq(request->status, MUSTER_BAD_RESPONSE);
}
END_TEST

START_TEST(a_used_response_is_a_bad_response)
{
    start("addEventListener('fetch', (e) => { const r = new Response('a'); r.text(); e.respondWith(r); });");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_int_eq(request->status, MUSTER_BAD_RESPONSE);
}
END_TEST

START_TEST(handled_settles_with_the_answer)
{
    start("addEventListener('fetch', (e) => {\n"
          "  e.handled.then(() => console.log('handled'), (error) => console.log(error.name));\n"
          "  e.respondWith(e.request.url.endsWith('1') ? new Response('a') : Promise.reject(1));\n"
          "});");
    fetch("http://example.test/1", "");
    struct fake_request *request = fetch("http://example.test/2", "");
    ck_assert_int_eq(request->status, MUSTER_REJECTED);
    assert_console("info handled\ninfo NetworkError\n");
}
END_TEST

START_TEST(header_bytes_are_kept_both_ways)
{
    start("addEventListener('fetch', (e) => e.respondWith(new Response(null, {\n"
          "  status: 204, statusText: 'Fine', headers: {'x-back': e.request.headers.get('x-in')}})));");
    struct fake_request *request = fetch("http://example.test/", "x-in: caf\xE9 \xFF\n");
    ck_assert_int_eq(request->status_code, 204);
    ck_assert_str_eq(request->headers, "x-back: caf\xE9 \xFF\n");
}
END_TEST

START_TEST(a_head_that_changes_is_read_again)
{
    start("let turn = 0;\n"
          "addEventListener('fetch', (e) => {\n"
          "  e.respondWith(new Response('b', { status: 200 + (turn >> 2), headers: { n: `${turn++ >> 1}` } }));\n"
          "});");
    for (int turn = 0; turn < 12; turn++) {
        char wanted[32];
        struct fake_request *request = fetch("http://example.test/", "");
        snprintf(wanted, sizeof wanted, "n: %d\n", turn / 2);
        ck_assert_int_eq(request->status_code, 200 + turn / 4);
        ck_assert_msg(strstr(request->headers, wanted) != NULL, "%d: %s", turn, request->headers);
    }
}
END_TEST

START_TEST(headers_changed_after_the_answer_do_not_reach_the_next)
{
    start("const kept = new Headers({ a: '1' });\n"
          "addEventListener('fetch', (e) => {\n"
          "  const response = new Response('b', { headers: kept });\n"
          "  e.respondWith(response);\n"
          "  Promise.resolve().then(() => response.headers.set('a', 'late'));\n"
          "});");
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_nonnull(strstr(fetch("http://example.test/", "")->headers, "a: 1\n"));
}
END_TEST

START_TEST(an_answer_from_another_entry_settles_its_own_request)
{
    start("let first = null;\n"
          "addEventListener('fetch', (e) => {\n"
          "  if (first === null) return e.respondWith(new Promise((r) => { first = r; }));\n"
          "  first(new Response('first', { headers: { x: 'same' } }));\n"
          "  e.respondWith(new Response('second', { headers: { x: 'same' } }));\n"
          "});");
    struct fake_request *first = fetch("http://example.test/1", "");
    ck_assert_int_eq(first->settled, 0);
    struct fake_request *second = fetch("http://example.test/2", "");
    ck_assert_str_eq(first->body, "first");
    ck_assert_str_eq(second->body, "second");
}
END_TEST

START_TEST(a_request_outlives_its_event)
{
    start("let kept;\n"
          "addEventListener('fetch', (e) => { kept = e.request; e.respondWith(new Response('a')); });\n"
          "function later() { return kept.method + ' ' + kept.headers.get('x-in'); }");
    fetch("http://example.test/", "x-in: 7\n");
    struct fake_request *request = fake_call(&host, "later", "[]");
    ck_assert_str_eq(muster_value_bytes(request->value).data, "GET 7");
}
END_TEST

START_TEST(a_canceled_fetch_aborts_the_signal_of_its_request)
{
    start("addEventListener('fetch', (e) => {\n"
          "  e.request.signal.addEventListener('abort', () => console.log(e.request.signal.reason.name));\n"
          "  e.respondWith(new Promise(() => {}));\n"
          "});");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_int_eq(host.engine->cancel(host.realm, &request->request), MUSTER_OK);
    assert_console("info AbortError\n");
}
END_TEST

/* Neither of a promise that nobody looks at, nor of a listener that throws it on; other errors count. */
START_TEST(that_a_client_is_gone_is_no_error_of_the_script)
{
    start("addEventListener('fetch', (e) => {\n"
          "  const signal = e.request.signal;\n"
          "  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));\n"
          "  signal.addEventListener('abort', () => { throw signal.reason; });\n"
          "  signal.addEventListener('abort', () => { throw new Error(signal.reason.message); });\n"
          "  e.respondWith(new Promise(() => {}));\n"
          "});");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_int_eq(host.engine->cancel(host.realm, &request->request), MUSTER_OK);
    fake_host_advance(&host, 0);
    if (host.engine->turn_end)
        ck_assert_int_eq(host.engine->turn_end(host.realm), MUSTER_OK);
    ck_assert_uint_eq(host.report_count, 2);
    ck_assert_int_eq(host.reports[0].status, MUSTER_CANCELED);
    ck_assert_int_eq(host.reports[1].status, MUSTER_SCRIPT_ERROR);
}
END_TEST

START_TEST(listeners_have_options_and_handlers_have_places)
{
    start("self.onx1 = 1;\n"
          "addEventListener('x', () => console.log('once'), {once: true});\n"
          "const twice = () => console.log('plain');\n"
          "addEventListener('x', twice); addEventListener('x', twice);\n"
          "addEventListener('x', {handleEvent(e) { console.log(this.t + e.type); }, t: 'object '});\n"
          "const stop = new AbortController();\n"
          "addEventListener('x', () => { console.log('signal'); stop.abort(); }, {signal: stop.signal});\n"
          "onmessage = (e) => console.log('message ' + e.data);\n"
          "function remove() { removeEventListener('x', twice); onmessage = null; }");
    deliver(MUSTER__REQUEST_EVENT, "x");
    deliver(MUSTER__REQUEST_EVENT, "x");
    deliver(MUSTER__REQUEST_MESSAGE, "message");
    fake_call(&host, "remove", "[]");
    deliver(MUSTER__REQUEST_EVENT, "x");
    ck_assert_int_eq(deliver(MUSTER__REQUEST_MESSAGE, "message")->status, MUSTER_PASSED);
    assert_console("info once\ninfo plain\ninfo object x\ninfo signal\n"
                   "info plain\ninfo object x\n"
                   "info message undefined\n"
                   "info object x\n");
}
END_TEST

START_TEST(scripts_make_and_dispatch_events_of_their_own)
{
    start("const t = new EventTarget();\n"
          "t.addEventListener('y', (e) => { e.preventDefault(); console.log(e.detail, e.target === t,\n"
          "  e.isTrusted, e instanceof Event, String(e)); });\n"
          "console.log(t.dispatchEvent(new CustomEvent('y', {detail: 5, cancelable: true})));\n"
          "class Mine extends Event { constructor() { super('mine'); } }\n"
          "self.addEventListener('mine', (e) => console.log(e instanceof Mine, e.eventPhase));\n"
          "self.dispatchEvent(new Mine());\n"
          "try { new Event(); } catch (e) { console.log(e.name); }\n"
          "try { new ExtendableEvent('z').waitUntil(1); } catch (e) { console.log(e.name); }\n"
          "console.log(self instanceof EventTarget, self instanceof ServiceWorkerGlobalScope);\n");
    assert_console("info 5 true false true [object CustomEvent]\ninfo false\ninfo true 2\n"
                   "info TypeError\ninfo InvalidStateError\ninfo true true\n");
}
END_TEST

/* ---- errors ---- */

START_TEST(an_uncaught_error_goes_to_error_listeners_first)
{
    start("addEventListener('error', (e) => {\n"
          "  console.log(e.message, e.lineno, e.error.message);\n"
          "  if (e.error.message === 'one') e.preventDefault();\n"
          "});\n"
          "setTimeout(() => { throw new Error('one'); }, 1);\n"
          "setTimeout(() => {\n"
          "  throw new Error('two'); }, 2);\n");
    fake_host_advance(&host, 5);
    assert_console("info Uncaught Error: one 5 one\ninfo Uncaught Error: two 7 two\n");
    ck_assert_uint_eq(host.report_count, 1);
    ck_assert_str_eq(host.reports[0].message, "two");
    ck_assert_int_eq(host.reports[0].line, 7);
}
END_TEST

START_TEST(rejections_that_nobody_handles_are_reported_once)
{
    start("Promise.reject(new Error('lost'));\n"
          "Promise.reject(new Error('caught')).catch(() => {});\n"
          "addEventListener('unhandledrejection', (e) => {\n"
          "  console.log('heard ' + e.reason.message);\n"
          "  if (e.reason.message === 'mine') e.preventDefault();\n"
          "});\n"
          "setTimeout(() => { Promise.reject(new Error('mine')); }, 1);");
    fake_host_advance(&host, 2);
    assert_console("info heard lost\ninfo heard mine\n");
    ck_assert_uint_eq(host.report_count, 1);
    ck_assert_str_eq(host.reports[0].message, "lost");
}
END_TEST

START_TEST(a_rejection_that_is_handled_after_all_is_told)
{
    start("const late = Promise.reject(new Error('late'));\n"
          "onunhandledrejection = (e) => e.preventDefault();\n"
          "onrejectionhandled = (e) => console.log(`${e.type} ${e.reason.message} ${e.promise === late} ${e.cancelable}`);\n"
          "setTimeout(() => { late.catch(() => console.log('caught')); }, 1);");
    fake_host_advance(&host, 5);
    assert_console("info caught\ninfo rejectionhandled late true false\n");
    ck_assert_uint_eq(host.report_count, 0);
}
END_TEST

START_TEST(stacks_show_no_line_of_the_prelude)
{
    start("setTimeout(function tick() { null.x; }, 1);");
    fake_host_advance(&host, 1);
    ck_assert_uint_eq(host.report_count, 1);
    ck_assert_ptr_nonnull(strstr(host.reports[0].stack, "tick@file:///app/worker.js:1:"));
    ck_assert_ptr_null(strstr(host.reports[0].stack, "muster:"));
    ck_assert_str_eq(host.reports[0].file, "file:///app/worker.js");
}
END_TEST

START_TEST(anything_can_be_thrown)
{
    start("setTimeout(() => { throw 'text'; }, 1);\n"
          "setTimeout(() => { throw undefined; }, 2);\n"
          "setTimeout(() => { throw {toString() { throw 1; }}; }, 3);\n"
          "setTimeout(() => { throw new DOMException('d', 'DataCloneError'); }, 4);");
    fake_host_advance(&host, 5);
    ck_assert_uint_eq(host.report_count, 4);
    ck_assert_str_eq(host.reports[0].message, "text");
    ck_assert_str_eq(host.reports[1].message, "undefined");
    ck_assert_str_eq(host.reports[3].name, "DataCloneError");
}
END_TEST

START_TEST(endless_recursion_is_an_error_of_the_script)
{
    start("function deep() { return deep() + 1; }\n"
          "addEventListener('x', () => deep());");
    struct fake_request *request = deliver(MUSTER__REQUEST_EVENT, "x");
    ck_assert_int_eq(request->status, MUSTER_SCRIPT_ERROR);
    ck_assert_str_eq(request->error.name, "RangeError");
}
END_TEST

/* ---- timers ---- */

START_TEST(nested_timers_are_clamped_from_the_sixth_on)
{
    start("let last = performance.now(), n = 0;\n"
          "const steps = [];\n"
          "function step() {\n"
          "  const now = performance.now(); steps.push(now - last); last = now;\n"
          "  if (++n < 8) setTimeout(step, 1);\n"
          "}\n"
          "setTimeout(step, 1);\n"
          "function get() { return steps.join(); }");
    fake_host_advance(&host, 100);
    struct fake_request *request = fake_call(&host, "get", "[]");
    ck_assert_str_eq(muster_value_bytes(request->value).data, "1,1,1,1,1,4,4,4");
}
END_TEST

START_TEST(a_quick_interval_slows_down_and_can_be_cleared)
{
    start("let n = 0; const id = setInterval((a) => { n += a; if (n === 10) clearInterval(id); }, 1, 1);\n"
          "function get() { return n; }");
    fake_host_advance(&host, 5);
    ck_assert_double_eq(muster_value_number(fake_call(&host, "get", "[]")->value), 5);
    fake_host_advance(&host, 8);
    ck_assert_double_eq(muster_value_number(fake_call(&host, "get", "[]")->value), 7);
    fake_host_advance(&host, 100);
    ck_assert_double_eq(muster_value_number(fake_call(&host, "get", "[]")->value), 10);
}
END_TEST

START_TEST(microtasks_run_before_the_next_turn_and_in_order)
{
    start("setTimeout(() => console.log('timer'), 0);\n"
          "queueMicrotask(() => console.log('second'));\n"
          "Promise.resolve().then(() => console.log('third'));\n"
          "console.log('first');\n"
          "queueMicrotask(() => { throw new Error('lost'); });");
    fake_host_advance(&host, 1);
    assert_console("info first\ninfo second\ninfo third\ninfo timer\n");
    ck_assert_uint_eq(host.report_count, 1);
}
END_TEST

/* ---- globals ---- */

START_TEST(every_global_is_there_whatever_way_it_is_asked_for)
{
    static const char *const names =
        "['addEventListener','Event','ExtendableEvent','FetchEvent','EventTarget','CustomEvent','ErrorEvent',"
        "'MessageEvent','PromiseRejectionEvent','setTimeout','queueMicrotask','reportError','importScripts',"
        "'location','navigator','muster','TextEncoder','TextDecoder','atob','btoa','DOMException',"
        "'AbortController','AbortSignal','URL','URLSearchParams','Headers','Request','Response',"
        "'ReadableStream','WritableStream','TransformStream','structuredClone','console','crypto',"
        "'performance','self','registration','skipWaiting']";
    static const char *const scripts[] = {
        "const name = %s.filter((n) => globalThis[n] === undefined); console.log(name.join());",
        "const name = %s.filter((n) => !(n in self)); console.log(name.join());",
        "const name = %s.filter((n) => eval('typeof ' + n) === 'undefined'); console.log(name.join());",
        "const name = %s.filter((n) => new (() => {}).constructor('return typeof ' + n)() === 'undefined');"
        "console.log(name.join());",
        "const name = %s.filter((n) => (function () { return this; })()[n] === undefined);"
        "console.log(name.join());",
    };
    char text[2000];
    snprintf(text, sizeof text, scripts[_i], names);
    if (_i == 3) /* an arrow cannot be constructed, its constructor can */
        snprintf(text, sizeof text,
                 "const F = (() => {}).constructor;\n"
                 "const name = %s.filter((n) => F('return typeof ' + n)() === 'undefined');\n"
                 "console.log(name.join());",
                 names);
    start(text);
    assert_console("info \n");
}
END_TEST

START_TEST(what_every_worker_loads_makes_no_globals)
{
    start("const made = (...names) => names.filter((n) => globalThis.hasOwnProperty(n));\n"
          "addEventListener('fetch', (e) => e.respondWith(new Response(\n"
          "    `${made('origin', 'InstallEvent', 'ExtendableEvent', 'Event')};`)));");
    ck_assert_str_eq(fetch("http://example.test/", "")->body, ";");
}
END_TEST

START_TEST(globals_can_be_replaced)
{
    start("self.Response = 5; console.log(Response); URL = 6; console.log(self.URL);\n"
          "var fetchEvents = 1; function atob() { return 'mine'; } console.log(atob());\n"
          "console.log(delete self.btoa, typeof btoa);");
    assert_console("info 5\ninfo 6\ninfo mine\ninfo true undefined\n");
}
END_TEST

START_TEST(a_script_knows_who_and_where_it_is)
{
    static const char *const arguments[] = {"one", "two", NULL};
    host.identity.arguments = arguments;
    start("console.log(location.href, location.protocol, String(location), registration.scope);\n"
          "console.log(navigator.userAgent, navigator.onLine, navigator.hardwareConcurrency > 0);\n"
          "console.log(muster.args.join(), muster.version, isSecureContext);\n"
          "skipWaiting().then(() => console.log('skipped'));");
    run_all();
    ck_assert_ptr_nonnull(strstr(host.console, "info file:///app/worker.js file: file:///app/worker.js "));
    ck_assert_ptr_nonnull(strstr(host.console, "info muster/0.1 true true\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info one,two "));
    ck_assert_ptr_nonnull(strstr(host.console, "info skipped\n"));
    ck_assert_int_eq(host.skip_waiting_count, 1);
}
END_TEST

START_TEST(import_scripts_names_what_is_wrong)
{
    start("importScripts();\n"
          "try { importScripts('http://['); } catch (e) { console.log(e.name); }\n"
          "try { importScripts('missing.js'); } catch (e) { console.log(e.name, e instanceof DOMException); }");
    assert_console("info SyntaxError\ninfo NetworkError true\n");
}
END_TEST

START_TEST(console_has_levels_and_randomness_is_random)
{
    start("console.debug('%s is %d', 'a', 1); console.warn({a: [1]}); console.error('e');\n"
          "const a = crypto.getRandomValues(new Uint8Array(16)), b = crypto.getRandomValues(new Uint8Array(16));\n"
          "console.log(a.join() !== b.join(), crypto.randomUUID().length);\n"
          "console.log(new TextDecoder().decode(new TextEncoder().encode('h\xC3\xA9\xF0\x9F\x98\x80')));\n"
          "console.log(new TextDecoder().decode(new Uint8Array([0x61, 0xff, 0xe2, 0x82, 0x62])));\n"
          "try { new TextDecoder('utf-8', {fatal: true}).decode(new Uint8Array([0xff])); }\n"
          "catch (e) { console.log(e.name); }\n"
          "console.log(new TextEncoder().encode('\\ud800').join());\n"
          "console.log(JSON.stringify('\\ud800a'.toWellFormed()), 'a\\0b'.length);\n");
    run_all();
    ck_assert_ptr_nonnull(strstr(host.console, "debug a is 1\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "error e\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info true 36\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info h\xC3\xA9\xF0\x9F\x98\x80\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info a\xEF\xBF\xBD\xEF\xBF\xBD" "b\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info TypeError\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info 239,191,189\n"));
}
END_TEST

/* ---- modules ---- */

static enum muster_status start_module(const char *text, struct muster_error *error)
{
    const struct fake_script script = {.text = text};
    host.script.is_module = true;
    return fake_host_start(&host, &script, error);
}

START_TEST(a_module_exports_handlers_and_functions)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_module("var __muster_module = (() => ({\n"
                                  "  default: {\n"
                                  "    async fetch(request) { return new Response('m ' + request.url); },\n"
                                  "    async greet(event) { console.log(event.type); }\n"
                                  "  },\n"
                                  "  add(a, b) { return a + b; }\n"
                                  "}))();",
                                  &error),
                     MUSTER_OK);
    ck_assert_str_eq(fetch("http://example.test/", "")->body, "m http://example.test/");
    ck_assert_int_eq(deliver(MUSTER__REQUEST_EVENT, "greet")->status, MUSTER_OK);
    ck_assert_double_eq(muster_value_number(fake_call(&host, "add", "[1, 2]")->value), 3);
    ck_assert_int_eq(fake_call(&host, "Math.max", "[1, 2]")->settled, 1);
    assert_console("info greet\n");
}
END_TEST

START_TEST(a_module_is_ready_when_its_promise_settles)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_module("var __muster_module = {default: new Promise((done) => setTimeout(() =>\n"
                                  "  done({fetch: () => new Response('ready')}), 10))};",
                                  &error),
                     MUSTER_PENDING);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(host.evaluated_count, 1);
    ck_assert_int_eq(host.evaluated_status, MUSTER_OK);
    ck_assert_str_eq(fetch("http://example.test/", "")->body, "ready");
}
END_TEST

START_TEST(a_module_whose_promise_fails_does_not_start)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_module("var __muster_module = {default: new Promise((_, fail) => setTimeout(() =>\n"
                                  "  fail(new Error('no')), 10))};",
                                  &error),
                     MUSTER_PENDING);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(host.evaluated_count, 1);
    ck_assert_int_eq(host.evaluated_status, MUSTER_REJECTED);
}
END_TEST

#define WEB_MODULE(name, imports, text) \
    "{\"url\":\"https://a.test/" name "\",\"base\":\"https://a.test/" name "\",\"imports\":{" imports "}," \
    "\"text\":\"" text "\"}"
#define WEB_IMPORT(name) "\"./" name "\":\"https://a.test/" name "\""

START_TEST(modules_from_the_web_run_once_and_after_what_they_import)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_module("__muster_modules=["
                                  WEB_MODULE("a.js", WEB_IMPORT("b.js") "," WEB_IMPORT("c.js"),
                                             "require('./b.js'); const c = require('./c.js');"
                                             "console.log('a', c.count, __muster_meta.url, typeof this);"
                                             "module.exports = { default: { note() { console.log(c.count); } } };") ","
                                  WEB_MODULE("b.js", WEB_IMPORT("c.js"), "console.log('b', ++require('./c.js').count);") ","
                                  WEB_MODULE("c.js", WEB_IMPORT("a.js"),
                                             "console.log('c', typeof require('./a.js')); exports.count = 1;") "];",
                                  &error),
                     MUSTER_OK);
    ck_assert_int_eq(deliver(MUSTER__REQUEST_EVENT, "note")->status, MUSTER_OK);
    assert_console("info c object\ninfo b 2\ninfo a 2 https://a.test/a.js object\ninfo 2\n");
}
END_TEST

START_TEST(a_service_worker_imports_no_modules_while_it_runs)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_module("__muster_modules=[" WEB_MODULE("a.js", "",
                                  "__muster_import('./b.js').catch((e) => console.log(e.name));") "];", &error),
                     MUSTER_OK);
    assert_console("info TypeError\n");
}
END_TEST

/* ---- values ---- */

START_TEST(what_cannot_be_cloned_is_refused)
{
    static const char *const bodies[] = {
        "return () => {};",
        "return Symbol('s');",
        "return {get a() { throw new TypeError('getter'); }};",
    };
    char text[300];
    snprintf(text, sizeof text, "function f() { %s }", bodies[_i]);
    start(text);
    struct fake_request *request = fake_call(&host, "f", "[]");
    ck_assert_int_eq(request->status, MUSTER_SCRIPT_ERROR);
    ck_assert_str_eq(request->error.name, "TypeError");
}
END_TEST

START_TEST(values_of_every_kind_go_out)
{
    start("function f() { const o = {u: undefined, n: null, b: true, x: -0.5, s: 'h\\u00e9\\0z', a: [1, undefined, 3],\n"
          "  v: new Uint16Array([1, 2, 3]).subarray(1), e: new RangeError('r')};\n"
          "  o['__proto__x'] = 1; return o; }\n"
          "function own(o) { return Object.keys(o).join() + Object.getPrototypeOf(o).constructor.name; }");
    const struct muster_value *value = fake_call(&host, "f", "[]")->value;
    ck_assert_int_eq(muster_value_type(muster_value_get(value, "u")), MUSTER_TYPE_UNDEFINED);
    ck_assert_int_eq(muster_value_type(muster_value_get(value, "n")), MUSTER_TYPE_NULL);
    ck_assert_double_eq(muster_value_number(muster_value_get(value, "x")), -0.5);
    ck_assert_uint_eq(muster_value_bytes(muster_value_get(value, "s")).length, 5);
    ck_assert_uint_eq(muster_value_count(muster_value_get(value, "a")), 3);
    struct muster_bytes view = muster_value_bytes(muster_value_get(value, "v"));
    ck_assert_uint_eq(view.length, 4);
    ck_assert_mem_eq(view.data, "\2\0\3\0", 4);
    ck_assert_str_eq(muster_value_error(muster_value_get(value, "e"))->name, "RangeError");
    struct fake_request *request = fake_call(&host, "own", "[{\"__proto__\": {\"a\": 1}, \"b\": 2}]");
    ck_assert_str_eq(muster_value_bytes(request->value).data, "__proto__,bObject");
}
END_TEST

START_TEST(events_of_two_names_by_turns_reach_their_own_listeners)
{
    static const char *const names[] = {"one", "one", "two", "one", "two", "two"};
    start("for (const name of ['one', 'two']) addEventListener(name, (event) => console.log(name, event.type));");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)deliver(MUSTER__REQUEST_EVENT, names[i]);
    assert_console("info one one\ninfo one one\ninfo two two\ninfo one one\ninfo two two\ninfo two two\n");
}
END_TEST

/* ---- limits and spares ---- */

START_TEST(limits_end_what_runs_in_microtasks_and_timers_too)
{
    static const char *const scripts[] = {
        "addEventListener('x', async () => { await 0; for (;;) {} });",
        "addEventListener('x', () => { /(a*)*b/.test('a'.repeat(100000)); for (;;) {} });",
        "addEventListener('x', () => { try { for (;;) {} } finally { for (;;) {} } });",
        "addEventListener('x', (e) => { e.waitUntil({get then() { for (;;) {} }}); });",
    };
    host.options.turn_limit_us = 60000;
    start(scripts[_i]);
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, "x", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_TURN_LIMIT);
    ck_assert_int_eq(request->settled, 0); /* the worker does that */
}
END_TEST

START_TEST(a_start_without_end_is_ended)
{
    const struct fake_script script = {.text = "for (;;) {}"};
    struct muster_error error = {0};
    host.options.turn_limit_us = 60000;
    ck_assert_int_eq(fake_host_start(&host, &script, &error), MUSTER_TURN_LIMIT);
    ck_assert_ptr_nonnull(error.message);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_limit_that_is_no_multiple_of_the_watchdog_is_kept)
{
    host.options.turn_limit_us = 700000;
    start("function spin() { for (let n = 0;;) n++; }");
    uint64_t before_us = muster__thread_cpu_us();
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_CALL, "spin", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_TURN_LIMIT);
    uint64_t used_us = muster__thread_cpu_us() - before_us;
    ck_assert_uint_ge(used_us, 650000);
    ck_assert_uint_le(used_us, 950000);
}
END_TEST

/* The linker puts this in the place of muster__thread_cpu_us(). */
uint64_t __wrap_muster__thread_cpu_us(void);
uint64_t __real_muster__thread_cpu_us(void);

static unsigned clock_reads;

uint64_t __wrap_muster__thread_cpu_us(void)
{
    clock_reads++;
    return __real_muster__thread_cpu_us();
}

START_TEST(the_engine_asks_our_clock_when_an_entry_begins)
{
    host.options.turn_limit_us = 5000000;
    ck_assert_uint_eq(clock_reads, 0);
    start("addEventListener('x', () => {});");
    ck_assert_uint_gt(clock_reads, 0);
}
END_TEST

START_TEST(its_clock_is_the_threads_own_to_a_millisecond)
{
    uint64_t until_us = muster__thread_cpu_us() + 5000;
    for (uint64_t before_us = 0; before_us < until_us;) {
        before_us = muster__thread_cpu_us();
        double told_us = muster__js_thread_cpu_seconds() * 1e6;
        uint64_t after_us = muster__thread_cpu_us();
        ck_assert_double_ge(told_us, (double)before_us - 2);
        ck_assert_double_le(told_us, (double)after_us + 1002);
    }
}
END_TEST

START_TEST(garbage_does_not_count_against_the_memory)
{
    host.options.memory_limit = 16 * 1024 * 1024;
    start("function f() { let n = 0; for (let i = 0; i < 300; i++) n += new Uint8Array(1 << 20).length;\n"
          "  return n; }");
    struct fake_request *request = fake_call(&host, "f", "[]");
    ck_assert_int_eq(request->status, MUSTER_OK);
    ck_assert_int_eq(host.cut, MUSTER_OK);
    ck_assert_uint_gt(host.engine->vm_memory(host.vm), 0);
}
END_TEST

START_TEST(a_spare_realm_becomes_any_worker)
{
    const struct muster__vm_options none = {0};
    const struct muster__realm_options options = {.host = &fake_realm_host};
    struct muster__script script = {.url = (char *)"file:///app/spare.js"};
    const struct muster__realm_identity identity = {
        .worker = (struct muster__worker *)(void *)&host, .name = "spare"};
    struct muster_error error = {0};
    script.text = (char *)"console.log(location.href); addEventListener('fetch', (e) => "
                          "e.respondWith(new Response('spare')));";
    script.length = strlen(script.text);
    ck_assert_int_eq(host.engine->vm_new(&none, &host.vm), MUSTER_OK);
    ck_assert_int_eq(host.engine->realm_new(host.vm, &options, &host.realm), MUSTER_OK);
    if (_i == 1) /* it was taken before there was time for that, or after */
        ck_assert(host.engine->realm_prepare(host.realm));
    host.engine->vm_limit(host.vm, &(struct muster__vm_options){.turn_limit_us = 1000000});
    ck_assert_int_eq(host.engine->evaluate(host.realm, &identity, &script, NULL, &error), MUSTER_OK);
    ck_assert_str_eq(fetch("http://example.test/", "")->body, "spare");
    assert_console("info file:///app/spare.js\n");
    ck_assert_uint_eq(host.report_count, 0);
}
END_TEST

START_TEST(realms_share_a_vm_and_no_globals)
{
    start("var mine = 1; addEventListener('fetch', (e) => e.respondWith(new Response('first ' + mine)));");
    const struct muster__realm_options options = {
        .host = &fake_realm_host, .worker = (struct muster__worker *)(void *)&host};
    struct muster__realm *other = NULL;
    struct muster__script script = {.url = (char *)"file:///app/other.js"};
    const struct muster__realm_identity identity = {
        .worker = (struct muster__worker *)(void *)&host, .name = "other"};
    struct muster_error error = {0};
    script.text = (char *)"console.log(typeof mine);";
    script.length = strlen(script.text);
    ck_assert_int_eq(host.engine->realm_new(host.vm, &options, &other), MUSTER_OK);
    ck_assert_int_eq(host.engine->evaluate(other, &identity, &script, NULL, &error), MUSTER_OK);
    host.engine->realm_destroy(other);
    ck_assert_str_eq(fetch("http://example.test/", "")->body, "first 1");
    assert_console("info undefined\n");
}
END_TEST

START_TEST(an_answered_stream_of_a_dead_worker_ends_for_its_reader)
{
    char buffer[10];
    size_t length = 0;
    start("addEventListener('fetch', (e) => e.respondWith(new Response(new ReadableStream({}))));");
    struct fake_request *request = fetch("http://example.test/", "");
    ck_assert_ptr_nonnull(request->stream);
    fake_host_kill(&host);
    ck_assert_int_eq(muster_stream_read(request->stream, buffer, sizeof buffer, &length),
                     MUSTER_TERMINATED);
}
END_TEST

static Suite *javascript_suite(void)
{
    Suite *suite = suite_create("engine_javascript");
    TCase *tcase = tcase_create("javascript");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, wait_until_is_allowed_in_a_microtask_and_not_in_a_later_task);
    tcase_add_test(tcase, wait_until_may_be_chained_while_something_is_pending);
    tcase_add_test(tcase, respond_with_comes_once_and_in_time);
    tcase_add_test(tcase, respond_with_in_a_microtask_is_in_time);
    tcase_add_test(tcase, a_prevented_fetch_without_an_answer_is_a_bad_response);
    tcase_add_test(tcase, a_used_response_is_a_bad_response);
    tcase_add_test(tcase, handled_settles_with_the_answer);
    tcase_add_test(tcase, header_bytes_are_kept_both_ways);
    tcase_add_test(tcase, a_request_outlives_its_event);
    tcase_add_test(tcase, a_head_that_changes_is_read_again);
    tcase_add_test(tcase, headers_changed_after_the_answer_do_not_reach_the_next);
    tcase_add_test(tcase, an_answer_from_another_entry_settles_its_own_request);
    tcase_add_test(tcase, a_canceled_fetch_aborts_the_signal_of_its_request);
    tcase_add_test(tcase, that_a_client_is_gone_is_no_error_of_the_script);
    tcase_add_test(tcase, listeners_have_options_and_handlers_have_places);
    tcase_add_test(tcase, scripts_make_and_dispatch_events_of_their_own);
    tcase_add_test(tcase, an_uncaught_error_goes_to_error_listeners_first);
    tcase_add_test(tcase, rejections_that_nobody_handles_are_reported_once);
    tcase_add_test(tcase, a_rejection_that_is_handled_after_all_is_told);
    tcase_add_test(tcase, stacks_show_no_line_of_the_prelude);
    tcase_add_test(tcase, anything_can_be_thrown);
    tcase_add_test(tcase, endless_recursion_is_an_error_of_the_script);
    tcase_add_test(tcase, nested_timers_are_clamped_from_the_sixth_on);
    tcase_add_test(tcase, a_quick_interval_slows_down_and_can_be_cleared);
    tcase_add_test(tcase, microtasks_run_before_the_next_turn_and_in_order);
    tcase_add_loop_test(tcase, every_global_is_there_whatever_way_it_is_asked_for, 0, 5);
    tcase_add_test(tcase, what_every_worker_loads_makes_no_globals);
    tcase_add_test(tcase, globals_can_be_replaced);
    tcase_add_test(tcase, a_script_knows_who_and_where_it_is);
    tcase_add_test(tcase, import_scripts_names_what_is_wrong);
    tcase_add_test(tcase, console_has_levels_and_randomness_is_random);
    tcase_add_test(tcase, a_module_exports_handlers_and_functions);
    tcase_add_test(tcase, a_module_is_ready_when_its_promise_settles);
    tcase_add_test(tcase, a_module_whose_promise_fails_does_not_start);
    tcase_add_test(tcase, modules_from_the_web_run_once_and_after_what_they_import);
    tcase_add_test(tcase, a_service_worker_imports_no_modules_while_it_runs);
    tcase_add_loop_test(tcase, what_cannot_be_cloned_is_refused, 0, 3);
    tcase_add_test(tcase, values_of_every_kind_go_out);
    tcase_add_test(tcase, events_of_two_names_by_turns_reach_their_own_listeners);
    tcase_add_loop_test(tcase, limits_end_what_runs_in_microtasks_and_timers_too, 0, 4);
    tcase_add_test(tcase, a_start_without_end_is_ended);
    tcase_add_test(tcase, a_limit_that_is_no_multiple_of_the_watchdog_is_kept);
    tcase_add_test(tcase, the_engine_asks_our_clock_when_an_entry_begins);
    tcase_add_test(tcase, its_clock_is_the_threads_own_to_a_millisecond);
    tcase_add_test(tcase, garbage_does_not_count_against_the_memory);
    tcase_add_loop_test(tcase, a_spare_realm_becomes_any_worker, 0, 2);
    tcase_add_test(tcase, realms_share_a_vm_and_no_globals);
    tcase_add_test(tcase, an_answered_stream_of_a_dead_worker_ends_for_its_reader);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    unsetenv("JSC_useGC"); /* finalizers and memory limits are tested here, on one thread (see run_tests.py) */
    int failures = engine_suite_run(&muster__engine_javascript, &engine_scripts_javascript);
    SRunner *runner = srunner_create(javascript_suite());
    srunner_run_all(runner, CK_NORMAL);
    failures += srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
