/* tests/test_value_clone.c - values that cross workers: what a script sends is what the other one gets.
 *
 * Two JavaScript workers (/a, /b), a Lua one (/lua) and a native one (/native), on threads and each in a
 * process of its own; the embedder calls them.  Scripts come from this file; nothing sleeps. */
#include "coordinator/muster.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/clone.h"

#define PATIENCE_MS 30000 /* a bound for what must happen, never a pause */
#define MEGABYTE (1 << 20)

enum { THREADS, PROCESSES, HOSTING_COUNT };

/* values: how each is made; checks: '' or what is wrong with what came. */
static const char script_javascript[] =
    "const shared = {n: 1};\n"
    "class Point { constructor() { this.x = 1; this.y = 2; } get sum() { return 3; } }\n"
    "const values = {\n"
    "  map: () => new Map([[1, {a: 2}], ['x', new Set([1, 'two'])], [{}, null]]),\n"
    "  date: () => ({at: new Date(86400000), bad: new Date(NaN)}),\n"
    "  regexp: () => { const r = /a\\/b+/giu; r.lastIndex = 3; return [r]; },\n"
    "  bigint: () => [1n, -(2n ** 100n), 2n ** 63n, 0n],\n"
    "  bare: () => 2n ** 80n,\n"
    "  cycle: () => { const o = {list: []}; o.self = o; o.list.push(o.list); return o; },\n"
    "  repeated: () => ({a: shared, b: [shared], c: 1}),\n"
    "  views: () => { const b = new ArrayBuffer(8); const o = {f: new Float64Array(b),\n"
    "    u: new Uint8Array(b, 4, 2), d: new DataView(b)}; o.f[0] = -1.5; return o; },\n"
    "  large: () => { const b = new Uint8Array(100000).fill(7); b[99999] = 9; return {b, again: b.buffer}; },\n"
    "  error: () => { const e = new RangeError('outer', {cause: new TypeError('inner')}); e.code = 7;\n"
    "    return [e]; },\n"
    "  numbers: () => [-0, NaN, Infinity, 2 ** 53, 1e300, -5, 300, 70000],\n"
    "  zero: () => -0,\n"
    "  texts: () => ['', 'h\\u00e9', '\\u20ac\\ud83d\\ude00', '\\ud800', 'x'.repeat(5000)],\n"
    "  lone: () => 'a\\udc00b',\n"
    "  holes: () => { const a = [1, , 3]; a.name = 'n'; const s = []; s[1000000] = 1; return [a, s]; },\n"
    "  boxed: () => [Object('s'), Object(1), Object(false)],\n"
    "  nothing: () => ({u: undefined, n: null}),\n"
    "  point: () => [new Point()],\n"
    "  proto: () => JSON.parse('{\"__proto__\": {\"x\": 1}}'),\n"
    "};\n"
    "const checks = {\n"
    "  map: (v) => v instanceof Map && v.size === 3 && v.get(1).a === 2 && v.get('x').has('two')\n"
    "    && [...v.values()][2] === null,\n"
    "  date: (v) => v.at.getTime() === 86400000 && v.bad instanceof Date && isNaN(v.bad),\n"
    "  regexp: ([v]) => `${v}` === '/a\\\\/b+/giu' && v.lastIndex === 3,\n"
    "  bigint: (v) => v[0] === 1n && v[1] === -(2n ** 100n) && v[2] === 2n ** 63n && v[3] === 0n,\n"
    "  bare: (v) => v === 2n ** 80n,\n"
    "  cycle: (v) => v.self === v && v.list[0] === v.list,\n"
    "  repeated: (v) => v.a === v.b[0] && v.a.n === 1,\n"
    "  views: (v) => v.f[0] === -1.5 && v.u.buffer === v.f.buffer && v.d.getUint8(7) === 0xbf\n"
    "    && v.u.length === 2 && v.u.byteOffset === 4 && (v.d.setUint8(4, 9), v.u[0] === 9),\n"
    "  large: (v) => v.b.length === 100000 && v.b[0] === 7 && v.b[99999] === 9 && v.again === v.b.buffer,\n"
    "  error: ([v]) => v instanceof RangeError && v.message === 'outer' && v.cause instanceof TypeError\n"
    "    && v.cause.message === 'inner' && v.code === 7 && typeof v.stack === 'string',\n"
    "  numbers: (v) => Object.is(v[0], -0) && Object.is(v[1], NaN) && v[2] === Infinity && v[3] === 2 ** 53\n"
    "    && v[4] === 1e300 && v[5] === -5 && v[6] === 300 && v[7] === 70000,\n"
    "  zero: (v) => Object.is(v, -0),\n"
    "  texts: (v) => v.join() === values.texts().join(),\n"
    "  lone: (v) => v === 'a\\udc00b',\n"
    "  holes: ([v, s]) => v.length === 3 && !(1 in v) && v[2] === 3 && v.name === 'n' && s.length === 1000001,\n"
    "  boxed: ([s, n, b]) => typeof s === 'object' && `${s}` === 's' && n.valueOf() === 1 && b.valueOf() === false,\n"
    "  nothing: (v) => 'u' in v && v.u === undefined && v.n === null,\n"
    "  point: ([v]) => Object.getPrototypeOf(v) === Object.prototype && v.y === 2 && v.sum === undefined,\n"
    "  proto: (v) => Object.getOwnPropertyNames(v).join() === '__proto__' && v.x === undefined,\n"
    "};\n"
    "function names() { return Object.keys(values).join(); }\n"
    "function make(name) { return values[name](); }\n"
    "function check(name, value) { return checks[name](value) ? '' : `${name} is not what was sent`; }\n"
    "async function there(to, name) { return muster.call(to, 'check', name, values[name]()); }\n"
    "async function back(to, name) { return check(name, await muster.call(to, 'make', name)); }\n"
    "async function around(to, name) { return check(name, await muster.call(to, 'echo', values[name]())); }\n"
    "function echo(value) { return value; }\n"
    "let kept = [];\n"
    "addEventListener('keep', (event) => { kept.push(event.data); });\n"
    "addEventListener('x', (event) => {});\n"
    "function sum(buffer = kept[kept.length - 1]) {\n"
    "  let n = 0; for (const byte of new Uint8Array(buffer)) n += byte; return n; }\n"
    "function change() { new Uint8Array(kept[0])[0] = 100; return kept[0].byteLength; }\n"
    "async function drop(to) { await muster.dispatch(to, 'keep', 0); kept = []; return 1; }\n"
    "async function tell(to, name) { await muster.dispatch(to, 'keep', values[name]()); return 1; }\n"
    "function check_kept(name) { return check(name, kept.pop()); }\n"
    "const filled = (size) => new Uint8Array(size).fill(1).buffer;\n"
    "async function move(to, size) {\n"
    "  const b = filled(size); const answer = muster.call(to, 'sum', muster.transfer(b));\n"
    "  return [b.byteLength, b.detached, await answer].join(); }\n"
    "async function move_view(to, size) {\n"
    "  const v = new Uint8Array(filled(size)); const answer = muster.call(to, 'sum', muster.transfer(v));\n"
    "  return [v.byteLength, await answer].join(); }\n"
    "async function move_inside(to, size) {\n"
    "  const b = filled(size), c = filled(size);\n"
    "  const [x, y] = await muster.call(to, 'echo', muster.transfer([b, c], [b]));\n"
    "  return [b.byteLength, c.byteLength, x.byteLength, y.byteLength, sum(x)].join(); }\n"
    "async function give(to, size) {\n"
    "  const b = filled(size); await muster.dispatch(to, 'keep', muster.transfer(b)); return b.byteLength; }\n"
    "let given;\n"
    "function hand_over(size) { given = filled(size); return muster.transfer(given); }\n"
    "function left_over() { return given.byteLength; }\n"
    "async function fetch_and_keep(from, size) { kept = [await muster.call(from, 'hand_over', size)]; return 1; }\n"
    "async function many(to, size, count) {\n"
    "  let total = 0;\n"
    "  for (let i = 0; i < count; i++) total += await muster.call(to, 'sum', muster.transfer(filled(size)));\n"
    "  return total; }\n"
    "function pass_on(buffer) { return muster.transfer(buffer); }\n"
    "async function bounce(to, size, count) {\n"
    "  let b = filled(size);\n"
    "  for (let i = 0; i < count; i++) { const was = b; b = await muster.call(to, 'pass_on', muster.transfer(b));\n"
    "    if (was.byteLength !== 0) throw new Error('not detached'); }\n"
    "  return sum(b); }\n"
    "async function refused(to) {\n"
    "  const errors = [], b = new ArrayBuffer(8);\n"
    "  const tries = [() => () => 1, () => Symbol('s'), () => [new WeakMap()], () => Promise.resolve(),\n"
    "    () => muster.transfer({}), () => muster.transfer(b, [b, {}]), () => [muster.transfer(b)],\n"
    "    () => ({get x() { throw new RangeError('mine'); }})];\n"
    "  for (const make of tries)\n"
    "    try { await muster.call(to, 'echo', make()); errors.push('sent'); }\n"
    "    catch (error) { errors.push(error.name); }\n"
    "  return [...errors, b.byteLength].join(); }\n"
    "async function ask_native(to) { return muster.call(to, 'look', 1, new Map([[1, 2]]), {a: [1]}, new Date(5)); }\n"
    "function ask_host() { return host.look('text', {a: [1]}, new Uint8Array([1, 2])); }\n"
    "function ask_host_richly() { return host.look('text', new Map([[1, 2]]), {a: [1]}); }\n"
    "function host_gives() { return checks.map(host.give()); }\n"
    "function tagged(value) { return `${Object.prototype.toString.call(value)} ${value.get?.('n')}`; }\n";

static const char script_lua[] =
    "function echo(value) return value end\n"
    "local values = {\n"
    "  map = function() return muster.map{{1, {a = 2}}, {'x', muster.set{1, 'two'}}, {muster.array, muster.null}} end,\n"
    "  date = function() return muster.date(86400000) end,\n"
    "  regexp = function() return muster.regexp('a+', 'gi') end,\n"
    "  bigint = function() return {1 << 62, muster.bigint('1267650600228229401496703205376')} end,\n"
    "  cycle = function() local t = {} t.self = t return t end,\n"
    "  repeated = function() local s = {n = 1} return {a = s, b = {s}} end,\n"
    "  views = function() local b = muster.buffer('12345678') return {muster.view(b, 'Int16Array'), b} end,\n"
    "  large = function() return muster.buffer(('x'):rep(100000)) end,\n"
    "  binary = function() return {'\\xff\\xfe', ('\\xff'):rep(50000)} end,\n"
    "  error = function() return muster.error{name = 'RangeError', message = 'm', cause = {1}} end,\n"
    "  plain = function() return {1, 2.5, 'text', {a = true, b = muster.null}, muster.undefined} end,\n"
    "}\n"
    "function names() local t = {} for k in pairs(values) do t[#t + 1] = k end return table.concat(t, ',') end\n"
    "function around(to, name)\n"
    "  local v = values[name]()\n"
    "  local back = muster.call(to, 'echo', v)\n"
    "  return muster.encode(v) == muster.encode(back) and '' or name .. ' is not what was sent'\n"
    "end\n"
    "function tagged(value) return muster.type(value) .. ' ' .. tostring(value:get('n')) end\n"
    "function count(...) return select('#', ...) end\n"
    "function second(a, b) return b == nil and 'nil' or muster.type(b) end\n"
    "muster.on('x', function(event) return event.data end)\n";

/* ---- the native worker and the bindings: C that gets what scripts send ---- */

static void describe(char *text, size_t size, const struct muster_value *value)
{
    static const char *const types[] = {"undefined", "null",  "boolean", "number", "string", "bytes",
                                        "array",     "object", "error",  "host",   "clone"};
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length ? " " : "", types[muster_value_type(value)]);
}

static void native_look(struct muster_native *worker, struct muster_event *event, void *state)
{
    char text[200] = "";
    (void)worker;
    (void)state;
    const struct muster_value *arguments = muster_event_data(event);
    describe(text, sizeof text, arguments);
    for (size_t i = 0; i < muster_value_count(arguments); i++)
        describe(text, sizeof text, muster_value_at(arguments, i));
    muster_event_return(event, muster_value_new_text(text));
}

static void native_x(struct muster_native *worker, struct muster_event *event, void *state)
{
    (void)worker;
    (void)event;
    (void)state;
}

static const struct muster_native_entry native_functions[] = {{"look", native_look}};
static const struct muster_native_entry native_events[] = {{"x", native_x}};
static const struct muster_native_worker native_worker = {
    .size = sizeof native_worker,
    .events = native_events,
    .event_count = 1,
    .functions = native_functions,
    .function_count = 1,
};

static void host_look(struct muster_host_call *call, void *user_data)
{
    char text[200] = "";
    (void)user_data;
    for (size_t i = 0; i < muster_host_call_count(call); i++)
        describe(text, sizeof text, muster_host_call_argument(call, i));
    muster_host_call_return(call, muster_value_new_text(text));
}

/* The map of the scripts' values. */
static struct muster_value *new_map(void)
{
    struct muster_clone *clone = NULL;
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_map(writer);
    muster_clone_write_number(writer, 1);
    muster_clone_begin_object(writer);
    muster_clone_write_key(writer, "a");
    muster_clone_write_number(writer, 2);
    muster_clone_end(writer);
    muster_clone_write_text(writer, "x");
    muster_clone_begin_set(writer);
    muster_clone_write_number(writer, 1);
    muster_clone_write_text(writer, "two");
    muster_clone_end(writer);
    muster_clone_write_text(writer, "n");
    muster_clone_write_null(writer);
    muster_clone_end(writer);
    ck_assert_int_eq(muster_clone_writer_finish(writer, &clone, NULL), MUSTER_OK);
    muster_clone_writer_destroy(writer);
    return muster_value_new_clone(clone);
}

static void host_give(struct muster_host_call *call, void *user_data)
{
    (void)user_data;
    muster_host_call_return(call, new_map());
}

/* ---- the instance ---- */

/* The leak sanitizer crashes on what JavaScriptCore has mapped. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static struct muster *muster;
static struct muster_bindings *bindings;

static enum muster_status load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                               struct muster_error *error, void *user_data)
{
    (void)importer;
    (void)error;
    (void)user_data;
    ret_loaded->text = strdup(strstr(url, ".lua") ? script_lua : script_javascript);
    ret_loaded->length = strlen(ret_loaded->text);
    return MUSTER_OK;
}

static void print_log(enum muster_log_level level, const char *subject, const char *text, void *user_data)
{
    (void)user_data;
    if (getenv("MUSTER_TEST_LOG"))
        fprintf(stderr, "[%d] %s: %s\n", level, subject, text);
}

static enum muster_status await(struct muster_handle *handle, struct muster_result *ret_result)
{
    ck_assert_int_eq(muster_wait(handle, PATIENCE_MS, ret_result), MUSTER_OK);
    return ret_result->status;
}

static void add(const char *scope, const char *script, const struct muster_native_worker *native)
{
    struct muster_result result = {0};
    struct muster_handle *handle = NULL;
    const struct muster_registration_options with = {
        .size = sizeof with, .scope = scope, .script = script, .native = native, .bindings = bindings,
        .hosting = native ? MUSTER_HOSTING_THREAD : MUSTER_HOSTING_DEFAULT};
    ck_assert_int_eq(muster_register(muster, &with, NULL, NULL, &handle), MUSTER_OK);
    enum muster_status status = await(handle, &result);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", scope, result.error ? result.error->message : "");
    muster_handle_release(handle);
}

static void begin(int hosting)
{
    struct muster_error error = {0};
    bindings = muster_bindings_new();
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host.look", host_look, NULL, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_bindings_add_function(bindings, "host.give", host_give, NULL, NULL), MUSTER_OK);
    const struct muster_options options = {
        .size = sizeof options,
        .threads = 2,
        .load = load,
        .log = print_log,
        .hosting = hosting == PROCESSES ? MUSTER_HOSTING_PROCESS_PER_WORKER : MUSTER_HOSTING_THREAD,
        .no_spare_process = true,
    };
    enum muster_status status = muster_new(&options, &muster, &error);
    ck_assert_msg(status == MUSTER_OK, "%s", error.message);
}

static void tear_down(void)
{
    muster_destroy(muster);
    muster_bindings_release(bindings);
    muster = NULL;
    bindings = NULL;
}

/* Arguments as JSON text. */
static struct muster_handle *call(const char *scope, const char *function, const char *arguments,
                                  struct muster_result *ret_result)
{
    struct muster_value *value = NULL;
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_value_from_json(arguments, strlen(arguments), &value, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_call(muster, scope, function, value, NULL, NULL, NULL, &handle), MUSTER_OK);
    (void)await(handle, ret_result);
    return handle;
}

static void assert_text(const char *scope, const char *function, const char *arguments, const char *wanted)
{
    struct muster_result result = {0};
    struct muster_handle *handle = call(scope, function, arguments, &result);
    ck_assert_msg(result.status == MUSTER_OK, "%s %s: %s", function, arguments,
                  result.error && result.error->message ? result.error->message
                                                        : muster_status_name(result.status));
    ck_assert_str_eq(muster_value_bytes(result.value).data, wanted);
    muster_handle_release(handle);
}

static void assert_number(const char *scope, const char *function, const char *arguments, double wanted)
{
    struct muster_result result = {0};
    struct muster_handle *handle = call(scope, function, arguments, &result);
    ck_assert_msg(result.status == MUSTER_OK, "%s %s: %s", function, arguments,
                  result.error && result.error->message ? result.error->message
                                                        : muster_status_name(result.status));
    ck_assert_double_eq(muster_value_number(result.value), wanted);
    muster_handle_release(handle);
}

/* Each name of a worker's values. */
static void for_each(const char *scope, void (*run)(const char *scope, const char *name))
{
    struct muster_result result = {0};
    struct muster_handle *handle = call(scope, "names", "[]", &result);
    char names[600], *rest = names;
    snprintf(names, sizeof names, "%s", muster_value_bytes(result.value).data);
    muster_handle_release(handle);
    ck_assert_uint_gt(strlen(names), 10);
    for (char *name; (name = strsep(&rest, ",")) != NULL;)
        run(scope, name);
}

/* ---- between scripts ---- */

static void both_ways(const char *scope, const char *name)
{
    char arguments[60];
    snprintf(arguments, sizeof arguments, "[\"/b\", \"%s\"]", name);
    assert_text(scope, "there", arguments, "");
    assert_text(scope, "back", arguments, "");
    assert_text(scope, "around", arguments, "");
    assert_number(scope, "tell", arguments, 1);
    snprintf(arguments, sizeof arguments, "[\"%s\"]", name);
    assert_text("/b", "check_kept", arguments, "");
}

START_TEST(what_one_script_sends_is_what_the_other_gets)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    for_each("/a", both_ways);
}
END_TEST

static void through_lua(const char *scope, const char *name)
{
    char arguments[60];
    snprintf(arguments, sizeof arguments, "[\"/lua\", \"%s\"]", name);
    assert_text(scope, "around", arguments, "");
}

START_TEST(values_pass_through_lua_unchanged)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/lua", "a.lua", NULL);
    for_each("/a", through_lua);
}
END_TEST

static void through_javascript(const char *scope, const char *name)
{
    char arguments[60];
    snprintf(arguments, sizeof arguments, "[\"/b\", \"%s\"]", name);
    assert_text(scope, "around", arguments, "");
}

START_TEST(values_of_lua_pass_through_javascript_unchanged)
{
    begin(_i);
    add("/b", "b.js", NULL);
    add("/lua", "a.lua", NULL);
    for_each("/lua", through_javascript);
}
END_TEST

START_TEST(arguments_of_lua_are_as_many_as_were_sent)
{
    begin(_i);
    add("/lua", "a.lua", NULL);
    assert_number("/lua", "count", "[]", 0);
    assert_number("/lua", "count", "[1, null, [2], {}]", 4);
    struct muster_value *arguments = muster_value_new_array();
    ck_assert_int_eq(muster_value_append(arguments, muster_value_new_undefined()), MUSTER_OK);
    ck_assert_int_eq(muster_value_append(arguments, new_map()), MUSTER_OK);
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    enum muster_status status = muster_call(muster, "/lua", "second", arguments, NULL, NULL, NULL, &handle);
    if (_i == PROCESSES) { /* a message inside of a tree stays in its process */
        ck_assert(status != MUSTER_OK || await(handle, &result) == MUSTER_UNSUPPORTED);
    } else {
        ck_assert_int_eq(status, MUSTER_OK);
        ck_assert_int_eq(await(handle, &result), MUSTER_OK);
        ck_assert_str_eq(muster_value_bytes(result.value).data, "map");
    }
    muster_handle_release(handle);
}
END_TEST

START_TEST(what_cannot_be_sent_is_an_error_of_the_sender)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    assert_text("/a", "refused", "[\"/b\"]",
                "TypeError,TypeError,TypeError,TypeError,TypeError,TypeError,TypeError,RangeError,8");
}
END_TEST

/* ---- scripts and C ---- */

START_TEST(the_embedder_gets_trees_where_trees_will_do)
{
    struct muster_result result = {0};
    begin(_i);
    add("/a", "a.js", NULL);
    struct muster_handle *handle = call("/a", "make", "[\"repeated\"]", &result);
    ck_assert_int_eq(muster_value_type(result.value), MUSTER_TYPE_OBJECT);
    ck_assert_ptr_nonnull(muster_value_clone(result.value));
    ck_assert_double_eq(muster_value_number(muster_value_get(muster_value_get(result.value, "a"), "n")), 1);
    char *json = muster_value_to_json(result.value);
    ck_assert_str_eq(json, "{\"a\":{\"n\":1},\"b\":[{\"n\":1}],\"c\":1}");
    free(json);
    muster_handle_release(handle);
    handle = call("/a", "make", "[\"large\"]", &result);
    ck_assert_uint_eq(muster_value_bytes(muster_value_get(result.value, "b")).length, 100000);
    ck_assert_int_eq(muster_value_bytes(muster_value_get(result.value, "b")).data[99999], 9);
    muster_handle_release(handle);
    handle = call("/a", "make", "[\"point\"]", &result);
    ck_assert_double_eq(muster_value_number(muster_value_get(muster_value_at(result.value, 0), "y")), 2);
    muster_handle_release(handle);
}
END_TEST

START_TEST(the_embedder_gets_messages_of_what_is_no_tree)
{
    struct muster_clone_document *document = NULL;
    struct muster_result result = {0};
    begin(_i);
    add("/a", "a.js", NULL);
    struct muster_handle *handle = call("/a", "make", "[\"map\"]", &result);
    ck_assert_int_eq(muster_value_type(result.value), MUSTER_TYPE_CLONE);
    ck_assert_uint_eq(muster_value_count(result.value), 0);
    struct muster_clone *clone = muster_value_clone(result.value);
    ck_assert_int_eq(muster_clone_decode(clone, NULL, &document, NULL), MUSTER_OK);
    ck_assert_int_eq(muster_clone_type(muster_clone_root(document)), MUSTER_CLONE_MAP);
    ck_assert_uint_eq(muster_clone_entry_count(muster_clone_root(document)), 3);
    muster_clone_document_destroy(document);
    char *json = muster_value_to_json(result.value);
    ck_assert_str_eq(json, "[[1,{\"a\":2}],[\"x\",[1,\"two\"]],[{},null]]");
    free(json);
    muster_handle_release(handle);
    handle = call("/a", "make", "[\"cycle\"]", &result);
    ck_assert_int_eq(muster_value_type(result.value), MUSTER_TYPE_CLONE);
    json = muster_value_to_json(result.value);
    ck_assert_str_eq(json, "null");
    free(json);
    muster_handle_release(handle);
}
END_TEST

static void send_map(const char *scope, const char *wanted)
{
    struct muster_result result = {0};
    struct muster_handle *handle = NULL;
    struct muster_clone *clone = NULL;
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    muster_clone_begin_array(writer);
    muster_clone_begin_map(writer);
    muster_clone_write_text(writer, "n");
    muster_clone_write_number(writer, 5);
    muster_clone_end(writer);
    muster_clone_end(writer);
    ck_assert_int_eq(muster_clone_writer_finish(writer, &clone, NULL), MUSTER_OK);
    muster_clone_writer_destroy(writer);
    ck_assert_int_eq(muster_call(muster, scope, "tagged", muster_value_new_clone(clone), NULL, NULL, NULL,
                                 &handle),
                     MUSTER_OK);
    ck_assert_int_eq(await(handle, &result), MUSTER_OK);
    ck_assert_str_eq(muster_value_bytes(result.value).data, wanted);
    muster_handle_release(handle);
}

START_TEST(the_embedder_sends_messages)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/lua", "a.lua", NULL);
    send_map("/a", "[object Map] 5");
    send_map("/lua", "map 5");
}
END_TEST

START_TEST(functions_of_c_get_their_arguments_one_by_one)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/native", "native.so", &native_worker);
    assert_text("/a", "ask_native", "[\"/native\"]", "array number clone object clone");
    assert_text("/a", "ask_host", "[]", "string object bytes");
    assert_text("/a", "ask_host_richly", "[]", "string clone object");
    struct muster_result result = {0};
    struct muster_handle *handle = call("/a", "host_gives", "[]", &result);
    ck_assert_int_eq(result.status, MUSTER_OK);
    muster_handle_release(handle);
}
END_TEST

/* ---- buffers that move ---- */

START_TEST(a_transferred_buffer_is_detached_from_its_sender)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    assert_text("/a", "move", "[\"/b\", 1000]", "0,true,1000");
    assert_text("/a", "move", "[\"/b\", 1048576]", "0,true,1048576");
    assert_text("/a", "move_view", "[\"/b\", 1048576]", "0,1048576");
    assert_text("/a", "move_inside", "[\"/b\", 100000]", "0,100000,100000,100000,100000");
    struct muster_result result = {0};
    struct muster_handle *handle = call("/a", "hand_over", "[1048576]", &result);
    ck_assert_int_eq(muster_value_type(result.value), MUSTER_TYPE_BYTES);
    ck_assert_uint_eq(muster_value_bytes(result.value).length, MEGABYTE);
    ck_assert_int_eq(muster_value_bytes(result.value).data[MEGABYTE - 1], 1);
    muster_handle_release(handle);
    assert_number("/a", "left_over", "[]", 0);
}
END_TEST

static size_t resident(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

START_TEST(hundreds_of_megabytes_of_transfers_leave_nothing_behind)
{
    begin(THREADS);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    assert_number("/a", "many", "[\"/b\", 1048576, 20]", 20.0 * MEGABYTE);
    size_t before = resident();
    assert_number("/a", "many", "[\"/b\", 1048576, 400]", 400.0 * MEGABYTE);
    assert_number("/a", "bounce", "[\"/b\", 1048576, 400]", MEGABYTE);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* What two engines let pass before they collect. */
    ck_assert_msg(resident() < before + 150 * MEGABYTE, "%zu MB more", (resident() - before) / MEGABYTE);
#else
    (void)before;
#endif
}
END_TEST

static void stop(const char *scope)
{
    struct muster_result result = {0};
    struct muster_handle *handle = NULL;
    ck_assert_int_eq(muster_stop(muster, scope, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_int_eq(await(handle, &result), MUSTER_OK);
    muster_handle_release(handle);
}

START_TEST(memory_outlives_the_worker_that_made_it)
{
    begin(_i);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    assert_number("/b", "fetch_and_keep", "[\"/a\", 1048576]", 1);
    stop("/a");
    assert_number("/b", "sum", "[]", MEGABYTE);
    assert_number("/b", "change", "[]", MEGABYTE);
    assert_number("/b", "sum", "[]", MEGABYTE + 99);
    assert_text("/a", "move", "[\"/b\", 10]", "0,true,10"); /* it starts again */
    assert_number("/b", "sum", "[]", MEGABYTE + 99);
    stop("/b");
}
END_TEST

START_TEST(what_is_on_its_way_outlives_its_sender)
{
    begin(THREADS);
    add("/a", "a.js", NULL);
    add("/b", "b.js", NULL);
    struct muster_handle *handles[8] = {NULL};
    for (int i = 0; i < 8; i++) {
        struct muster_value *arguments = NULL;
        ck_assert_int_eq(muster_value_from_json("[\"/b\", 200000]", 14, &arguments, NULL), MUSTER_OK);
        ck_assert_int_eq(muster_call(muster, "/a", "give", arguments, NULL, NULL, NULL, &handles[i]), MUSTER_OK);
    }
    stop("/a");
    for (int i = 0; i < 8; i++) {
        struct muster_result result = {0};
        (void)await(handles[i], &result); /* however it ended */
        muster_handle_release(handles[i]);
    }
    assert_number("/a", "drop", "[\"/b\"]", 1);
}
END_TEST

/* ---- bytes of an enemy ---- */

static struct muster_value *message(const void *data, size_t length)
{
    struct muster_clone_buffer bytes = {0};
    struct muster_clone *clone = NULL;
    ck_assert_int_eq(muster_clone_buffer_copy(data, length, &bytes), MUSTER_OK);
    ck_assert_int_eq(muster_clone_new(&bytes, NULL, 0, 0, &clone), MUSTER_OK);
    return muster_value_new_clone(clone);
}

static void refuse(const char *scope, const void *data, size_t length)
{
    struct muster_handle *handle = NULL;
    struct muster_result result = {0};
    struct muster_value *value = message(data, length);
    ck_assert_int_eq(muster_value_type(value), MUSTER_TYPE_CLONE);
    ck_assert_int_eq(muster_call(muster, scope, "echo", muster_value_acquire(value), NULL, NULL, NULL, &handle),
                     MUSTER_OK);
    ck_assert_msg(await(handle, &result) != MUSTER_OK, "%s took %zu bytes", scope, length);
    muster_handle_release(handle);
    handle = NULL;
    ck_assert_int_eq(muster_dispatch(muster, scope, "x", value, NULL, NULL, NULL, &handle), MUSTER_OK);
    ck_assert_msg(await(handle, &result) != MUSTER_OK, "%s took %zu bytes", scope, length);
    ck_assert_ptr_nonnull(result.error);
    ck_assert_ptr_nonnull(result.error->message);
    muster_handle_release(handle);
}

START_TEST(bytes_that_are_no_message_are_refused_by_who_reads_them)
{
    static const char *const scopes[] = {"/a", "/lua", "/native"};
    static const unsigned char deep[] = {0xc1, 1, 0x11, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x11};
    struct muster_value *map = new_map();
    struct muster_bytes bytes = muster_clone_bytes(muster_value_clone(map));
    begin(_i);
    add("/a", "a.js", NULL);
    add("/lua", "a.lua", NULL);
    add("/native", "native.so", &native_worker);
    for (size_t s = 0; s < sizeof scopes / sizeof *scopes; s++) {
        for (size_t length = 0; length < bytes.length; length++)
            refuse(scopes[s], bytes.data, length);
        refuse(scopes[s], deep, sizeof deep);
        refuse(scopes[s], "rubbish", 7);
    }
    assert_text("/a", "ask_host", "[]", "string object bytes");
    muster_value_release(map);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("value_clone");
    TCase *scripts = tcase_create("scripts");
    tcase_add_checked_fixture(scripts, NULL, tear_down);
    tcase_add_loop_test(scripts, what_one_script_sends_is_what_the_other_gets, 0, HOSTING_COUNT);
    tcase_add_loop_test(scripts, values_pass_through_lua_unchanged, 0, HOSTING_COUNT);
    tcase_add_loop_test(scripts, values_of_lua_pass_through_javascript_unchanged, 0, HOSTING_COUNT);
    tcase_add_loop_test(scripts, arguments_of_lua_are_as_many_as_were_sent, 0, HOSTING_COUNT);
    tcase_add_loop_test(scripts, what_cannot_be_sent_is_an_error_of_the_sender, 0, HOSTING_COUNT);
    suite_add_tcase(suite, scripts);
    TCase *c = tcase_create("c");
    tcase_add_checked_fixture(c, NULL, tear_down);
    tcase_add_loop_test(c, the_embedder_gets_trees_where_trees_will_do, 0, HOSTING_COUNT);
    tcase_add_loop_test(c, the_embedder_gets_messages_of_what_is_no_tree, 0, HOSTING_COUNT);
    tcase_add_loop_test(c, the_embedder_sends_messages, 0, HOSTING_COUNT);
    tcase_add_loop_test(c, functions_of_c_get_their_arguments_one_by_one, 0, HOSTING_COUNT);
    suite_add_tcase(suite, c);
    TCase *buffers = tcase_create("buffers");
    tcase_add_checked_fixture(buffers, NULL, tear_down);
    tcase_add_loop_test(buffers, a_transferred_buffer_is_detached_from_its_sender, 0, HOSTING_COUNT);
    tcase_add_test(buffers, hundreds_of_megabytes_of_transfers_leave_nothing_behind);
    tcase_add_loop_test(buffers, memory_outlives_the_worker_that_made_it, 0, HOSTING_COUNT);
    tcase_add_test(buffers, what_is_on_its_way_outlives_its_sender);
    suite_add_tcase(suite, buffers);
    TCase *enemies = tcase_create("enemies");
    tcase_add_checked_fixture(enemies, NULL, tear_down);
    tcase_add_loop_test(enemies, bytes_that_are_no_message_are_refused_by_who_reads_them, 0, HOSTING_COUNT);
    suite_add_tcase(suite, enemies);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(make_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
