/* tests/test_engine_lua.c - the suite on Lua, and what only Lua has. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine_scripts_lua.h"

static struct fake_host host;

static void set_up(void)
{
    fake_host_init(&host, &muster__engine_lua);
}

static void tear_down(void)
{
    fake_host_clean_up(&host);
}

/* MUSTER_OK, MUSTER_PENDING, or what the start says. */
static enum muster_status start_with(const char *text, struct muster_error *error)
{
    struct fake_script script = {.text = text};
    return fake_host_start(&host, &script, error);
}

static void start(const char *text)
{
    struct muster_error error = {0};
    enum muster_status status = start_with(text, &error);
    ck_assert_msg(status == MUSTER_OK, "start: %s: %s", muster_status_name(status),
                  error.message != NULL ? error.message : "");
}

/* The console after a script that runs to its end at once. */
static void assert_prints(const char *text, const char *expected)
{
    start(text);
    ck_assert_str_eq(host.console, expected);
}

static struct fake_request *fetch(void)
{
    struct fake_request *request = fake_fetch_new(
        &host, "GET", "http://example.test/", "A: 1\nCookie: x\nCookie: y\n", NULL, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    return request;
}

static struct fake_request *send_event(const char *name)
{
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, name, NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    return request;
}

/* ---- globals ---- */

START_TEST(what_could_leave_the_realm_is_not_there)
{
    assert_prints("for _, name in ipairs{'io', 'os', 'debug', 'package', 'require', 'dofile',"
                  " 'loadfile'} do assert(_G[name] == nil, name) end\n"
                  "assert(string.dump == nil and ('').dump == nil)\n"
                  "assert(getmetatable('') == false)\n"
                  "print(load('\\27Lua'))\n"
                  "print(pcall(setmetatable, {}, {__gc = function() end}))\n",
                  "info nil\tattempt to load a binary chunk (mode is 't')\n"
                  "info false\tfinalizers (__gc) are not available; see __close\n");
}
END_TEST

START_TEST(full_trust_has_everything)
{
    host.identity.trust = MUSTER__TRUST_FULL;
    assert_prints("print(type(io.open), type(os.getenv), type(debug.traceback), type(require))\n"
                  "print(load(string.dump(function() return 7 end))())\n"
                  "seen = 1\n"
                  "print(_G.seen, _ENV == _G)\n",
                  "info function\tfunction\tfunction\tfunction\ninfo 7\ninfo 1\ttrue\n");
}
END_TEST

START_TEST(a_loaded_chunk_sees_the_globals_of_its_realm)
{
    assert_prints("x = 1\n"
                  "load('x = x + 1')()\n"
                  "print(x, load('return x', 'c', 't', {x = 9})(), load(function() end)())\n",
                  "info 2\t9\n");
}
END_TEST

START_TEST(the_console_knows_levels)
{
    assert_prints("print('a', 1, nil, true)\n"
                  "warn('b', 'c')\n"
                  "warn('@on')\n"
                  "muster.log('error', 'd', 2.5)\n"
                  "muster.log('debug', setmetatable({}, {__tostring = function() return 'e' end}))\n",
                  "info a\t1\tnil\ttrue\nwarning bc\nerror d\t2.5\ndebug e\n");
}
END_TEST

START_TEST(a_worker_knows_who_it_is)
{
    const char *const arguments[] = {"one", "two", NULL};
    host.identity.arguments = arguments;
    assert_prints("print(muster.name, muster.scope, #muster.args, muster.args[2])\n"
                  "print(muster.version, muster.now() > 0)\n"
                  "muster.close()\n",
                  "info fake\t/\t2\ttwo\ninfo 0.1.0\ttrue\n");
    ck_assert_int_eq(host.close_count, 1);
}
END_TEST

START_TEST(a_first_line_for_the_shell_is_no_lua_and_counts)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_with("#!/usr/bin/env muster\n\nerror('boom')\n", &error),
                     MUSTER_SCRIPT_ERROR);
    ck_assert_int_eq(error.line, 3);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(an_import_runs_once_and_may_fail)
{
    const char *const library[] = {"a", "runs = (runs or 0) + 1 return runs", "bad", "x = = 1",
                                   NULL};
    host.library = library;
    assert_prints("print(muster.import('a'), muster.import('a'), runs)\n"
                  "local ok, e = pcall(muster.import, 'gone')\n"
                  "print(ok, e.name, e.status, e.message)\n"
                  "print((pcall(muster.import, 'bad')))\n",
                  "info 1\t1\t1\ninfo false\tImportError\tMUSTER_LOAD_FAILED\tthere is no gone\n"
                  "info false\n");
}
END_TEST

/* ---- waiting ---- */

START_TEST(a_main_chunk_may_wait)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_with("muster.sleep(10) print('up')", &error), MUSTER_PENDING);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(host.evaluated_count, 1);
    ck_assert_int_eq(host.evaluated_status, MUSTER_OK);
    ck_assert_str_eq(host.console, "info up\n");
}
END_TEST

START_TEST(a_main_chunk_that_fails_later_says_so)
{
    struct muster_error error = {0};
    ck_assert_int_eq(start_with("muster.sleep(10)\nerror('boom')", &error), MUSTER_PENDING);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(host.evaluated_status, MUSTER_SCRIPT_ERROR);
    ck_assert_uint_eq(host.report_count, 1);
    ck_assert_str_eq(host.reports[0].message, "boom");
    ck_assert_int_eq(host.reports[0].line, 2);
}
END_TEST

START_TEST(coroutines_of_the_script_may_wait_at_any_depth)
{
    start("local function numbers()\n"
          "  return coroutine.wrap(function()\n"
          "    for i = 1, 2 do muster.sleep(5) coroutine.yield(i) end\n"
          "  end)\n"
          "end\n"
          "muster.on('go', function()\n"
          "  local outer = coroutine.create(function()\n"
          "    for i in numbers() do coroutine.yield(i * 10) end\n"
          "    return 'end'\n"
          "  end)\n"
          "  for _ = 1, 3 do print(coroutine.resume(outer)) end\n"
          "  print(coroutine.status(outer), coroutine.resume(outer))\n"
          "end)\n");
    struct fake_request *request = send_event("go");
    ck_assert_str_eq(host.console, "");
    fake_host_advance(&host, 5);
    ck_assert_str_eq(host.console, "info true\t10\n");
    fake_host_advance(&host, 5);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_str_eq(host.console, "info true\t10\ninfo true\t20\ninfo true\tend\n"
                                   "info dead\tfalse\tcannot resume dead coroutine\n");
}
END_TEST

START_TEST(a_coroutine_that_waits_is_not_resumed_by_others)
{
    start("local co\n"
          "muster.on('go', function()\n"
          "  co = coroutine.create(function() muster.sleep(10) return 'slept' end)\n"
          "  print(coroutine.resume(co))\n"
          "end)\n"
          "muster.on('meddle', function()\n"
          "  print(coroutine.resume(co))\n"
          "  print(coroutine.close(co))\n"
          "end)\n");
    struct fake_request *request = send_event("go");
    (void)send_event("meddle");
    fake_host_advance(&host, 10);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_str_eq(host.console, "info false\tcannot resume a coroutine that waits\ninfo true\n"
                                   "info false\tcannot resume dead coroutine\n");
}
END_TEST

START_TEST(a_wait_goes_through_pcall_and_metamethods_but_not_through_c)
{
    struct muster_error error = {0};
    start_with("print(pcall(function() muster.sleep(1) error({message = 'x'}) end))\n"
               "local t = setmetatable({}, {__index = function(_, k) muster.sleep(1) return k end})\n"
               "print(t.field)\n"
               "print(pcall(string.gsub, 'a', 'a', function() muster.sleep(1) end))\n"
               "print(pcall(table.sort, {2, 1}, function()\n"
               "  coroutine.wrap(function() muster.sleep(1) end)() end))\n"
               "print(pcall(coroutine.yield))\n"
               "print(select('#', xpcall(function(...) muster.sleep(1) return ... end, print, 1, nil)))",
               &error);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(host.evaluated_status, MUSTER_OK);
    ck_assert_ptr_nonnull(strstr(host.console, "info field\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "inside a callback of a C function"));
    ck_assert_ptr_nonnull(strstr(host.console, "attempt to yield from outside a coroutine\n"));
    ck_assert_ptr_nonnull(strstr(host.console, "info 3\n"));
}
END_TEST

/* ---- events ---- */

START_TEST(fetch_handlers_are_asked_one_after_the_other)
{
    start("muster.on('fetch', function() muster.sleep(5) print('first') end)\n"
          "muster.on('fetch', function() print('second') return {body = 'two'} end)\n"
          "muster.on('fetch', function() print('third') end)\n");
    struct fake_request *request = fetch();
    ck_assert_str_eq(host.console, "");
    fake_host_advance(&host, 5);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_str_eq(request->body, "two");
    ck_assert_str_eq(host.console, "info first\ninfo second\n");
}
END_TEST

START_TEST(headers_go_both_ways)
{
    start("muster.on('fetch', function(event)\n"
          "  local r = event.request\n"
          "  assert(r == event.request and r.headers.missing == nil)\n"
          "  local list = r.headers_list\n"
          "  return {status = 404, headers = {['set-cookie'] = {'a=1', 'b=2'},\n"
          "    {'x-n', #list}, {'x-cookie', r.headers.COOKIE}}, body = 5}\n"
          "end)\n");
    struct fake_request *request = fetch();
    ck_assert_int_eq(request->status, MUSTER_OK);
    ck_assert_int_eq(request->status_code, 404);
    ck_assert_str_eq(request->body, "5");
    ck_assert_ptr_nonnull(strstr(request->headers, "set-cookie: a=1\nset-cookie: b=2\n"));
    ck_assert_ptr_nonnull(strstr(request->headers, "x-n: 3\nx-cookie: x, y\n"));
}
END_TEST

static const char *const bad_responses[] = {
    "{status = 99}",
    "{status = 600}",
    "{status = '2e2.5'}",
    "{headers = {['a b'] = 'x'}}",
    "{headers = {a = 'x\\r\\ny'}}",
    "{headers = {a = true}}",
    "{headers = {'x'}}",
    "{headers = 'x'}",
    "{status_text = 'a\\nb'}",
    "{body = {}}",
    "'text'",
};

START_TEST(a_response_is_checked_before_it_leaves)
{
    char text[200];
    snprintf(text, sizeof text, "muster.on('fetch', function() return %s end)", bad_responses[_i]);
    start(text);
    struct fake_request *request = fetch();
    ck_assert_int_eq(request->settled, 1);
    ck_assert_int_eq(request->status, MUSTER_BAD_RESPONSE);
    ck_assert_ptr_nonnull(request->error.message);
}
END_TEST

START_TEST(an_event_is_answered_once)
{
    start("muster.on('fetch', function(event)\n"
          "  print(event:respond{body = 'a'})\n"
          "  print(pcall(event.respond, event, {body = 'b'}))\n"
          "  return {body = 'c'}\n"
          "end)\n"
          "muster.on('other', function(event) event:respond{} end)\n");
    struct fake_request *request = fetch();
    ck_assert_str_eq(request->body, "a");
    ck_assert_str_eq(host.console, "info true\ninfo false\tthis event was answered already\n");
    ck_assert_int_eq(send_event("other")->status, MUSTER_SCRIPT_ERROR);
}
END_TEST

START_TEST(an_event_that_has_ended_refuses)
{
    start("muster.on('go', function(event) kept = event end)\n"
          "function use() return kept.type end\n");
    ck_assert_int_eq(send_event("go")->ended, 1);
    struct fake_request *call = fake_call(&host, "use", "[]");
    ck_assert_int_eq(call->status, MUSTER_SCRIPT_ERROR);
    ck_assert_str_eq(call->error.message, "this event has ended");
}
END_TEST

START_TEST(a_hold_that_the_script_lost_is_dropped_by_the_collector)
{
    start("muster.on('go', function(event) event:wait_until('lost') muster.hold('lost, too') end)\n"
          "function collect() collectgarbage() end\n");
    struct fake_request *request = send_event("go");
    ck_assert_int_eq(request->ended, 0);
    ck_assert_uint_eq(fake_host_open_tokens(&host), 2);
    (void)fake_call(&host, "collect", "[]");
    (void)fake_call(&host, "collect", "[]");
    ck_assert_int_eq(request->ended, 1);
    ck_assert_uint_eq(fake_host_open_tokens(&host), 0);
}
END_TEST

START_TEST(a_hold_ends_with_its_block)
{
    start("muster.on('go', function(event)\n"
          "  local hold <close> = muster.hold('block')\n"
          "  muster.sleep(10)\n"
          "  error('boom')\n"
          "end)\n");
    (void)send_event("go");
    ck_assert(fake_host_has_token(&host, "block"));
    fake_host_advance(&host, 10);
    ck_assert_uint_eq(fake_host_open_tokens(&host), 0);
}
END_TEST

START_TEST(a_body_read_by_another_event_ends_with_its_own)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    start("muster.on('fetch', function(event) request = event.request muster.sleep(10) end)\n"
          "muster.on('thief', function() request:read() end)\n");
    struct fake_request *owner = fake_fetch_new(&host, "POST", "http://example.test/", "", NULL, stream);
    ck_assert_int_eq(fake_deliver(&host, owner), MUSTER_OK);
    struct fake_request *thief = send_event("thief");
    ck_assert_int_eq(thief->ended, 0);
    fake_host_advance(&host, 10);
    ck_assert_int_eq(owner->status, MUSTER_PASSED);
    ck_assert_int_eq(thief->status, MUSTER_SCRIPT_ERROR);
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

START_TEST(a_canceled_event_tells_its_handler)
{
    start("muster.on('fetch', function(event)\n"
          "  muster.sleep(10)\n"
          "  print(event.canceled, event:respond{body = 'late'})\n"
          "end)\n");
    struct fake_request *request = fetch();
    muster__request_fail(&request->request, MUSTER_CANCELED, NULL);
    ck_assert_int_eq(muster__engine_lua.cancel(host.realm, &request->request), MUSTER_OK);
    fake_host_advance(&host, 10);
    ck_assert_str_eq(host.console, "info true\tfalse\n");
    ck_assert_int_eq(request->ended, 1);
}
END_TEST

/* ---- errors and values ---- */

START_TEST(an_error_names_file_line_and_stack)
{
    start("local function inner() local x = nil; return x.field end\n"
          "function outer()\n"
          "  inner()\n"
          "  return 1\n"
          "end\n");
    struct fake_request *call = fake_call(&host, "outer", "[]");
    ck_assert_int_eq(call->status, MUSTER_SCRIPT_ERROR);
    ck_assert_str_eq(call->error.message, "attempt to index a nil value (local 'x')");
    ck_assert_str_eq(call->error.file, "file:///app/worker.lua");
    ck_assert_int_eq(call->error.line, 1);
    ck_assert_ptr_nonnull(strstr(call->error.stack, "(file:///app/worker.lua:3)"));
}
END_TEST

START_TEST(errors_that_are_no_text_are_shown)
{
    start("function number() error(7) end\n"
          "function named() error({name = 'TypeError', message = 'bad'}) end\n"
          "function shown() error(setmetatable({}, {__tostring = function() return 'me' end})) end\n"
          "function hidden() error(setmetatable({}, {__tostring = function() error('x') end})) end\n"
          "function nothing() error(nil) end\n"
          "function deep() return deep() + 1 end\n");
    ck_assert_str_eq(fake_call(&host, "number", "[]")->error.message, "7");
    ck_assert_str_eq(fake_call(&host, "named", "[]")->error.name, "TypeError");
    ck_assert_str_eq(fake_call(&host, "shown", "[]")->error.message, "me");
    ck_assert_ptr_nonnull(fake_call(&host, "hidden", "[]")->error.message);
    ck_assert_str_eq(fake_call(&host, "nothing", "[]")->error.message, "nil");
    ck_assert_ptr_nonnull(strstr(fake_call(&host, "deep", "[]")->error.message, "overflow"));
}
END_TEST

static const char *const unsendable[] = {
    "print",
    "function() end",
    "coroutine.create(print)",
    "{[true] = 1}",
    "{[1.5] = 1}",
    "{['\\xff'] = 1}",
};

START_TEST(what_cannot_be_sent_is_refused_with_its_reason)
{
    char text[200];
    host.options.memory_limit = (size_t)8 << 20;
    snprintf(text, sizeof text, "function get() return %s end", unsendable[_i]);
    start(text);
    struct fake_request *call = fake_call(&host, "get", "[]");
    ck_assert_int_eq(call->ended, 1);
    ck_assert_int_eq(call->status, MUSTER_SCRIPT_ERROR);
    ck_assert_ptr_nonnull(strstr(call->error.message, "sent"));
}
END_TEST

static void assert_result(const char *function, const char *expected)
{
    struct fake_request *call = fake_call(&host, function, "[]");
    char *json = muster_value_to_json(call->value);
    ck_assert_str_eq(json, expected);
    free(json);
}

START_TEST(values_keep_their_kind)
{
    start("function null() return {muster.null, 1} end\n"
          "function mixed() return {10, x = 1, [7] = 2} end\n"
          "function empties() return {a = {}, b = setmetatable({}, muster.array)} end\n"
          "function bytes() return 'a\\xff' end\n"
          "function sorted() return {c = 1, a = 2, b = 3} end\n"
          "function shared() local t = {1} return {t, t} end\n"
          "function err() local _, e = pcall(muster.call, '/nobody', 'f') return e end\n");
    assert_result("null", "[null,1]");
    assert_result("mixed", "{\"1\":10,\"7\":2,\"x\":1}");
    assert_result("empties", "{\"a\":{},\"b\":[]}");
    assert_result("bytes", "{\"bytes\":2}");
    assert_result("sorted", "{\"a\":2,\"b\":3,\"c\":1}");
    assert_result("shared", "[[1],[1]]");
    struct fake_request *call = fake_call(&host, "err", "[]");
    ck_assert_int_eq(muster_value_type(call->value), MUSTER_TYPE_ERROR);
}
END_TEST

START_TEST(only_functions_of_the_script_are_called_from_outside)
{
    start("api = {math = {}} function api.math.twice(x) return 2 * x end\n");
    ck_assert_int_eq(fake_call(&host, "load", "[\"x\"]")->status, MUSTER_NOT_FOUND);
    ck_assert_int_eq(fake_call(&host, "string.rep", "[\"x\", 5]")->status, MUSTER_NOT_FOUND);
    ck_assert_double_eq(muster_value_number(fake_call(&host, "api.math.twice", "[4]")->value), 8);
}
END_TEST

/* ---- limits ---- */

static const char *const endless[] = {
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "while true do coroutine.wrap(function() while true do end end)() end",
    "while true do local co = coroutine.create(function() while true do end end)\n"
    "  coroutine.resume(co) coroutine.close(co) end",
    "local function again() return pcall(again) or again() end again()",
    "local t <close> = setmetatable({}, {__close = function() while true do end end})\n"
    "while true do end",
    "while true do load(function() while true do end end) end",
    "table.sort({3, 2, 1}, function() while true do end end)",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "muster.set_timeout(function() end) while true do muster.import('x') end",
    "event:wait_until(function() while true do end end)",
};

START_TEST(no_script_outlives_its_turn)
{
    char text[400];
    const char *const library[] = {"x", "while true do end", NULL};
    host.library = library;
    host.options.turn_limit_us = 20000;
    host.options.memory_limit = (size_t)64 << 20;
    snprintf(text, sizeof text, "muster.on('go', function(event) %s end)", endless[_i]);
    start(text);
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, "go", NULL);
    enum muster_status status = fake_deliver(&host, request);
    ck_assert_msg(status == MUSTER_TURN_LIMIT || status == MUSTER_MEMORY_LIMIT, "%s",
                  muster_status_name(status));
    ck_assert_int_eq(request->settled, 0);
}
END_TEST

START_TEST(a_start_without_end_is_ended)
{
    struct muster_error error = {0};
    host.options.turn_limit_us = 20000;
    ck_assert_int_eq(start_with("while true do end", &error), MUSTER_TURN_LIMIT);
    ck_assert_ptr_nonnull(error.message);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_stream_that_spins_is_told_at_the_end_of_the_turn)
{
    struct muster_stream *stream = NULL;
    ck_assert_int_eq(muster_stream_new(0, &stream), MUSTER_OK);
    host.options.turn_limit_us = 20000;
    start("muster.on('fetch', function(event) event.request:read() while true do end end)\n");
    struct fake_request *request = fake_fetch_new(&host, "POST", "http://e.test/", "", NULL, stream);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_OK);
    size_t written = 0;
    ck_assert_int_eq(muster_stream_write(stream, "x", 1, &written), MUSTER_OK);
    (void)fake_host_run(&host);
    ck_assert_int_eq(host.cut, MUSTER_TURN_LIMIT);
    fake_host_kill(&host);
    muster_stream_release(stream);
    muster_stream_release(stream);
}
END_TEST

static const char *const hogs[] = {
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = {} end",
    "while true do pcall(string.rep, 'x', 1 << 40) local s = ('x'):rep(1 << 30) end",
    "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "local function f() return f() + 1 end while true do pcall(f) end",
    "table.concat(setmetatable({}, {__index = type}), '', 1, 1 << 40)",
};

START_TEST(no_script_outgrows_its_memory)
{
    char text[300];
    host.options.memory_limit = (size_t)4 << 20;
    host.options.turn_limit_us = 20000000;
    snprintf(text, sizeof text, "muster.on('go', function(event) %s end)", hogs[_i]);
    start(text);
    struct fake_request *request = fake_request_new(&host, MUSTER__REQUEST_EVENT, "go", NULL);
    ck_assert_int_eq(fake_deliver(&host, request), MUSTER_MEMORY_LIMIT);
    ck_assert_uint_le(muster__engine_lua.vm_memory(host.vm), (size_t)5 << 20);
}
END_TEST

START_TEST(garbage_does_not_count_against_the_memory)
{
    host.options.memory_limit = (size_t)1 << 20;
    start("for i = 1, 1000 do local s = ('x'):rep(100000 + i) end\n");
    ck_assert_int_eq(host.cut, MUSTER_OK);
}
END_TEST

START_TEST(a_tiny_limit_fails_at_any_point_and_leaks_nothing)
{
    for (size_t limit = 20000; limit < 60000; limit += 500) {
        struct fake_host tiny;
        struct fake_script script = {.text = engine_scripts_lua.fetch.text};
        struct muster_error error = {0};
        fake_host_init(&tiny, &muster__engine_lua);
        tiny.options.memory_limit = limit;
        if (fake_host_start(&tiny, &script, &error) == MUSTER_OK) {
            struct fake_request *request = fake_fetch_new(
                &tiny, "GET", "http://example.test/stream", "A: b\n", NULL, NULL);
            if (fake_deliver(&tiny, request) == MUSTER_OK && request->stream != NULL)
                fake_host_advance(&tiny, 100);
        }
        muster_error_clean_up(&error);
        fake_host_clean_up(&tiny);
    }
}
END_TEST

START_TEST(two_realms_share_a_vm_and_no_globals)
{
    const struct muster__engine *lua = &muster__engine_lua;
    start("shared = 1 string.shared = 1\nfunction get() return {shared, ('').shared} end\n");
    struct muster__realm_options options = {.host = &fake_realm_host,
                                            .worker = host.identity.worker};
    struct muster__realm *other = NULL;
    ck_assert_int_eq(lua->realm_new(host.vm, &options, &other), MUSTER_OK);
    char text[] = "print(shared, string.shared, ('').shared)";
    struct muster__script script = {.url = (char *)"file:///other.lua",
                                    .text = text,
                                    .length = sizeof text - 1};
    struct muster_error error = {0};
    ck_assert_int_eq(lua->evaluate(other, &host.identity, &script, NULL, &error), MUSTER_OK);
    ck_assert_str_eq(host.console, "info nil\tnil\tnil\n");
    lua->realm_destroy(other);
    assert_result("get", "[1]");
}
END_TEST

static Suite *lua_suite(void)
{
    Suite *suite = suite_create("lua only");
    TCase *tcase = tcase_create("lua only");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, what_could_leave_the_realm_is_not_there);
    tcase_add_test(tcase, full_trust_has_everything);
    tcase_add_test(tcase, a_loaded_chunk_sees_the_globals_of_its_realm);
    tcase_add_test(tcase, the_console_knows_levels);
    tcase_add_test(tcase, a_worker_knows_who_it_is);
    tcase_add_test(tcase, a_first_line_for_the_shell_is_no_lua_and_counts);
    tcase_add_test(tcase, an_import_runs_once_and_may_fail);
    tcase_add_test(tcase, a_main_chunk_may_wait);
    tcase_add_test(tcase, a_main_chunk_that_fails_later_says_so);
    tcase_add_test(tcase, coroutines_of_the_script_may_wait_at_any_depth);
    tcase_add_test(tcase, a_coroutine_that_waits_is_not_resumed_by_others);
    tcase_add_test(tcase, a_wait_goes_through_pcall_and_metamethods_but_not_through_c);
    tcase_add_test(tcase, fetch_handlers_are_asked_one_after_the_other);
    tcase_add_test(tcase, headers_go_both_ways);
    tcase_add_loop_test(tcase, a_response_is_checked_before_it_leaves, 0,
                        sizeof bad_responses / sizeof bad_responses[0]);
    tcase_add_test(tcase, an_event_is_answered_once);
    tcase_add_test(tcase, an_event_that_has_ended_refuses);
    tcase_add_test(tcase, a_hold_that_the_script_lost_is_dropped_by_the_collector);
    tcase_add_test(tcase, a_hold_ends_with_its_block);
    tcase_add_test(tcase, a_body_read_by_another_event_ends_with_its_own);
    tcase_add_test(tcase, a_canceled_event_tells_its_handler);
    tcase_add_test(tcase, an_error_names_file_line_and_stack);
    tcase_add_test(tcase, errors_that_are_no_text_are_shown);
    tcase_add_loop_test(tcase, what_cannot_be_sent_is_refused_with_its_reason, 0,
                        sizeof unsendable / sizeof unsendable[0]);
    tcase_add_test(tcase, values_keep_their_kind);
    tcase_add_test(tcase, only_functions_of_the_script_are_called_from_outside);
    tcase_add_loop_test(tcase, no_script_outlives_its_turn, 0, sizeof endless / sizeof endless[0]);
    tcase_add_test(tcase, a_start_without_end_is_ended);
    tcase_add_test(tcase, a_stream_that_spins_is_told_at_the_end_of_the_turn);
    tcase_add_loop_test(tcase, no_script_outgrows_its_memory, 0, sizeof hogs / sizeof hogs[0]);
    tcase_add_test(tcase, garbage_does_not_count_against_the_memory);
    tcase_add_test(tcase, a_tiny_limit_fails_at_any_point_and_leaks_nothing);
    tcase_add_test(tcase, two_realms_share_a_vm_and_no_globals);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    int failures = engine_suite_run(&muster__engine_lua, &engine_scripts_lua);
    SRunner *runner = srunner_create(lua_suite());
    srunner_run_all(runner, CK_NORMAL);
    failures += srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
