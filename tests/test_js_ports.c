/* tests/test_js_ports.c - message ports, workers' globals and sub-realms of the JavaScript engine.
 *
 * Two workers of the real engine with hosts that are not there, on one thread, in virtual time; the test is
 * their coordinator and holds the other ends of their ports.  Scripts log to the host's console. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clone.h"
#include "tests/fake_realm_host.h"

static struct fake_host one, two;
static struct muster__port *ends[2]; /* of the test's own channel */

static void set_up(void)
{
    fake_host_init(&one, &muster__engine_javascript);
    fake_host_init(&two, &muster__engine_javascript);
    one.identity.type = two.identity.type = MUSTER__WORKER_DEDICATED;
    ck_assert_int_eq(muster__port_pair(ends), MUSTER_OK);
}

static void close_identity(struct fake_host *host)
{
    muster__port_release(host->identity.host_port);
    muster__port_release(host->identity.port);
}

static void tear_down(void)
{
    struct fake_host *hosts[] = {&one, &two};
    for (int i = 0; i < 2; i++) {
        fake_host_clean_up(hosts[i]);
        close_identity(hosts[i]);
    }
    for (int i = 0; i < 2; i++)
        muster__port_release(ends[i]);
}

static void start(struct fake_host *host, const char *text)
{
    const struct fake_script script = {.text = text};
    struct muster_error error = {0};
    enum muster_status status = fake_host_start(host, &script, &error);
    ck_assert_msg(status == MUSTER_OK, "start: %s: %s", muster_status_name(status),
                  error.message ? error.message : "");
}

static void run_all(void)
{
    bool any = true;
    while (any) {
        any = fake_host_run(&one);
        any = fake_host_run(&two) || any;
    }
}

static void assert_console(struct fake_host *host, const char *wanted)
{
    run_all();
    ck_assert_str_eq(host->console, wanted);
}

/* Their implicit ports are the two ends of one channel. */
static void connect(void)
{
    one.identity.port = ends[0];
    two.identity.port = ends[1];
    ends[0] = ends[1] = NULL;
}

static struct muster_value *json(const char *text)
{
    struct muster_value *value = NULL;
    ck_assert_int_eq(muster_value_from_json(text, strlen(text), &value, NULL), MUSTER_OK);
    return value;
}

/* The coordinator says something; `data` may be NULL, and so may `port`, which is taken. */
static void say(const char *head, const char *data, struct muster__port *take_port)
{
    struct muster__port_message *message =
        muster__port_message_new(json(head), data ? json(data) : NULL, take_port ? 1 : 0);
    ck_assert_ptr_nonnull(message);
    if (take_port)
        message->ports[0] = take_port;
    muster__port_post(ends[1], message);
}

/* What the script said to it last, as JSON; the caller frees it. */
static char *heard(struct muster__port_message **ret_message)
{
    run_all();
    struct muster__port_message *message = muster__port_take(ends[1]);
    char *text = message ? muster_value_to_json(message->head) : muster__strdup("nothing");
    if (ret_message)
        *ret_message = message;
    else
        muster__port_message_destroy(message);
    return text;
}

static void assert_heard(const char *wanted)
{
    char *text = heard(NULL);
    ck_assert_str_eq(text, wanted);
    free(text);
}

static void give_coordinator(const char *environment)
{
    one.identity.host_port = ends[0];
    ends[0] = NULL;
    say(environment, NULL, NULL);
}

#define ENVIRONMENT "[\"tell\",\"environment\",{\"clientId\":\"c1\",\"origin\":\"https://a.test\"}]"

/* ---- channels ---- */

START_TEST(messages_come_in_order_and_only_after_start)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.postMessage(1); port1.postMessage({ a: [2] }); port1.postMessage('three');\n"
                "port2.addEventListener('message', (e) => console.log(JSON.stringify(e.data)));\n"
                "setTimeout(() => port2.start(), 10);");
    assert_console(&one, "");
    fake_host_advance(&one, 10);
    assert_console(&one, "info 1\ninfo {\"a\":[2]}\ninfo \"three\"\n");
}
END_TEST

START_TEST(setting_onmessage_starts_a_port)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.onmessage = (e) => console.log(e.data, e.target === port1, e.isTrusted, e.origin === '',\n"
                "  e.source, e.ports.length, Object.isFrozen(e.ports), e instanceof MessageEvent);\n"
                "port2.postMessage('x');");
    assert_console(&one, "info x true true true null 0 true true\n");
}
END_TEST

START_TEST(microtasks_run_between_two_messages)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.onmessage = (e) => {\n"
                "  console.log('message', e.data);\n"
                "  Promise.resolve().then(() => console.log('first', e.data)).then(() => console.log('second', e.data));\n"
                "};\n"
                "for (let i = 1; i < 3; i++) port2.postMessage(i);");
    assert_console(&one, "info message 1\ninfo first 1\ninfo second 1\n"
                         "info message 2\ninfo first 2\ninfo second 2\n");
}
END_TEST

START_TEST(an_error_in_a_handler_is_reported_and_the_next_message_comes)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.onmessage = (e) => { if (e.data === 1) throw new Error('boom'); console.log(e.data); };\n"
                "port2.postMessage(1); port2.postMessage(2);");
    assert_console(&one, "info 2\n");
    ck_assert_uint_eq(one.report_count, 1);
}
END_TEST

START_TEST(many_messages_leave_a_turn_to_others)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "let n = 0; port1.onmessage = () => { n++; };\n"
                "for (let i = 0; i < 1000; i++) port2.postMessage(i);\n"
                "function count() { return n; }");
    ck_assert(fake_host_run(&one)); /* runs until nothing is left: but each note had its bound */
    struct fake_request *request = fake_call(&one, "count", "[]");
    ck_assert_double_eq(muster_value_number(request->value), 1000);
}
END_TEST

START_TEST(what_cannot_be_cloned_is_refused_at_once)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "const name = (f) => { try { f(); return 'fine'; } catch (e) { return e.name; } };\n"
                "console.log(name(() => port1.postMessage(() => {})), name(() => port1.postMessage(Symbol())),\n"
                "  name(() => port1.postMessage(port2)), name(() => port1.postMessage(new MessageChannel())),\n"
                "  name(() => port1.postMessage()), name(() => port1.postMessage(1, 2)),\n"
                "  name(() => port1.postMessage(1, [2])), name(() => port1.postMessage(1, [{}])),\n"
                "  name(() => MessagePort.prototype.postMessage.call({}, 1)), name(() => new MessagePort()));");
    assert_console(&one, "info DataCloneError DataCloneError DataCloneError DataCloneError TypeError TypeError "
                         "TypeError DataCloneError TypeError TypeError\n");
}
END_TEST

START_TEST(a_transfer_list_has_rules)
{
    start(&one,
          "const name = (f) => { try { f(); return 'fine'; } catch (e) { return e.name; } };\n"
          "const a = new MessageChannel(), b = new MessageChannel(), c = new MessageChannel();\n"
          "const buffer = new ArrayBuffer(4);\n"
          "console.log(name(() => a.port1.postMessage(1, [a.port1])), name(() => a.port1.postMessage(1, [b.port1, b.port1])),\n"
          "  name(() => a.port1.postMessage(1, [b.port1])), name(() => a.port1.postMessage(1, [b.port1])));\n"
          "c.port1.close();\n"
          "console.log(name(() => a.port1.postMessage(1, [c.port1])), name(() => a.port1.postMessage(1, { transfer: [c.port2] })));\n"
          "console.log(name(() => a.port1.postMessage(1, [buffer])), buffer.detached, name(() => a.port1.postMessage(buffer)));");
    assert_console(&one, "info DataCloneError DataCloneError fine DataCloneError\n"
                         "info DataCloneError fine\ninfo fine true DataCloneError\n");
}
END_TEST

START_TEST(a_queue_that_nobody_reads_refuses_in_the_end_and_transfers_nothing)
{
    start(&one, "const a = new MessageChannel(), mebibytes = new Uint8Array(130 << 20);\n"
                "a.port1.postMessage(mebibytes); a.port1.postMessage(mebibytes);\n"
                "const last = new ArrayBuffer(4);\n"
                "for (const f of [() => a.port1.postMessage(1), () => a.port1.postMessage(last, [last])]) {\n"
                "  try { f(); console.log('sent'); } catch (e) { console.log(e instanceof DOMException, e.name, last.byteLength); }\n"
                "}\n"
                "a.port2.onmessage = () => { a.port2.onmessage = null; a.port1.postMessage(2); console.log('sent'); };");
    assert_console(&one, "info true QuotaExceededError 4\ninfo true QuotaExceededError 4\ninfo sent\n");
}
END_TEST

START_TEST(a_refused_message_transfers_nothing)
{
    start(&one, "const a = new MessageChannel(), b = new MessageChannel(), buffer = new ArrayBuffer(4);\n"
                "try { a.port1.postMessage(() => {}, [b.port1, buffer]); } catch {}\n"
                "b.port1.onmessage = (e) => console.log(e.data, buffer.byteLength);\n"
                "b.port2.postMessage('still here');");
    assert_console(&one, "info still here 4\n");
}
END_TEST

START_TEST(what_a_getter_throws_goes_before_what_cannot_be_transferred)
{
    start(&one, "const a = new MessageChannel(), gone = [new MessageChannel().port1, new ArrayBuffer(1)];\n"
                "a.port1.postMessage(0, gone);\n"
                "for (const one of gone) {\n"
                "  try { a.port1.postMessage({ get x() { throw new Error('first'); } }, [one]); } catch (e) { console.log(e.message); }\n"
                "  try { a.port1.postMessage(0, [one]); } catch (e) { console.log(e.name); }\n"
                "}\n"
                "const { port1 } = new MessageChannel(), message = { get x() { a.port1.postMessage(0, [port1]); } };\n"
                "try { a.port1.postMessage(message, [port1]); } catch (e) { console.log(e.name); }");
    assert_console(&one, "info first\ninfo DataCloneError\ninfo first\ninfo DataCloneError\ninfo DataCloneError\n");
}
END_TEST

START_TEST(a_getter_may_post_while_its_object_is_posted)
{
    start(&one, "const a = new MessageChannel(), b = new MessageChannel();\n"
                "a.port2.onmessage = (e) => console.log('a', JSON.stringify(e.data));\n"
                "b.port2.onmessage = (e) => console.log('b', JSON.stringify(e.data), e.ports.length);\n"
                "const c = new MessageChannel();\n"
                "a.port1.postMessage({ x: 1, get y() { b.port1.postMessage({ z: 3 }, [c.port1]); return 2; } });");
    assert_console(&one, "info b {\"z\":3} 1\ninfo a {\"x\":1,\"y\":2}\n");
}
END_TEST

START_TEST(a_port_takes_its_queue_along)
{
    connect();
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.postMessage(1); port1.postMessage(2);\n"
                "postMessage({ port: port2 }, [port2]);\n"
                "port1.postMessage(3);\n"
                "port1.onmessage = (e) => console.log('back', e.data);");
    start(&two, "onmessage = (e) => {\n"
                "  console.log(e.ports.length, e.ports[0] === e.data.port, e.data.port instanceof MessagePort);\n"
                "  e.data.port.onmessage = (m) => { console.log(m.data); e.data.port.postMessage(m.data * 10); };\n"
                "};");
    assert_console(&two, "info 1 true true\ninfo 1\ninfo 2\ninfo 3\n");
    assert_console(&one, "info back 10\ninfo back 20\ninfo back 30\n");
}
END_TEST

START_TEST(a_port_that_is_handed_on_in_its_own_handler_loses_nothing)
{
    connect();
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port2.onmessage = (e) => { console.log('here', e.data); if (e.data === 3) postMessage(0, [port2]); };\n"
                "for (let i = 1; i <= 6; i++) port1.postMessage(i);");
    start(&two, "onmessage = (e) => { e.ports[0].onmessage = (m) => console.log('there', m.data); };");
    assert_console(&one, "info here 1\ninfo here 2\ninfo here 3\n");
    assert_console(&two, "info there 4\ninfo there 5\ninfo there 6\n");
}
END_TEST

START_TEST(a_channel_whose_far_end_is_sent_into_itself_is_lost_silently)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.onmessage = () => console.log('never');\n"
                "port1.postMessage(0, [port2]); console.log('fine');");
    assert_console(&one, "info fine\n");
}
END_TEST

START_TEST(closing_is_heard_after_the_mail)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.onclose = (e) => console.log('closed', e.type, e instanceof Event, e.isTrusted);\n"
                "port2.onclose = () => console.log('not the one that closes');\n"
                "port1.onmessage = (e) => console.log(e.data); port2.start();\n"
                "port2.postMessage('last words'); port2.close(); port2.postMessage('too late');\n"
                "port2.close();");
    assert_console(&one, "info last words\ninfo closed close true true\n");
}
END_TEST

START_TEST(closing_is_heard_by_a_port_that_was_not_started)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.addEventListener('close', () => console.log('closed'), { once: true });\n"
                "port2.close();");
    assert_console(&one, "info closed\n");
}
END_TEST

#if !defined(__SANITIZE_THREAD__)
START_TEST(a_port_that_is_collected_closes_its_channel)
{
    start(&one, "let far = new MessageChannel();\n"
                "const near = far.port1; near.start(); near.onclose = () => console.log('closed');\n"
                "function forget() { far = null; }");
    assert_console(&one, "");
    (void)fake_call(&one, "forget", "[]");
    for (int i = 0; i < 20 && strcmp(one.console, "") == 0; i++) { /* the stack may still show it */
        (void)fake_call(&one, "Math.max", "[1, 2]");
        one.engine->vm_trim(one.vm);
        run_all();
    }
    assert_console(&one, "info closed\n");
}
END_TEST
#endif

START_TEST(a_port_with_a_listener_is_not_collected)
{
    start(&one, "let { port1, port2 } = new MessageChannel();\n"
                "port1.onmessage = (e) => console.log(e.data); port1 = null;\n"
                "function send(x) { port2.postMessage(x); }");
    run_all();
    for (int i = 0; i < 5; i++)
        one.engine->vm_trim(one.vm);
    (void)fake_call(&one, "send", "[\"kept\"]");
    assert_console(&one, "info kept\n");
}
END_TEST

START_TEST(a_worker_that_dies_closes_its_ports)
{
    connect();
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "postMessage(0, [port2]); port1.onclose = () => console.log('gone');");
    start(&two, "onmessage = (e) => { globalThis.port = e.ports[0]; port.onmessage = () => {}; };");
    assert_console(&one, "");
    fake_host_kill(&two);
    assert_console(&one, "info gone\n");
}
END_TEST

START_TEST(the_backlog_of_a_port_is_known)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.postMessage('x'.repeat(1000)); port1.postMessage(1);\n"
                "const { messages, bytes } = muster.backlog(port1);\n"
                "console.log(messages, bytes > 1000, muster.backlog(port2).messages);");
    assert_console(&one, "info 2 true 0\n");
}
END_TEST

/* ---- what travels ---- */

START_TEST(all_sizes_and_kinds_travel)
{
    connect();
    start(&one, "const text = 'x'.repeat(5000);\n"
                "for (const v of [undefined, null, true, -0, 1e300, 12n, 'a', text, new Date(5), /x/g, new Map([[1, { a: 1 }]]),\n"
                "  new Set([1]), new Uint8Array([1, 2]), new Uint8Array(100000).fill(7), new Error('e'), [1, , 3]])\n"
                "  postMessage(v);\n"
                "postMessage('y'.repeat(300000)); postMessage({ end: true });");
    start(&two, "const show = (v) => typeof v === 'string' ? v.length : v instanceof Uint8Array ? v.length + ':' + v[v.length - 1]\n"
                "  : typeof v === 'bigint' ? String(v) + 'n' : v instanceof Map ? [...v.keys()].join() : v instanceof Error ? v.message\n"
                "  : v instanceof Date ? v.getTime() : Object.is(v, -0) ? '-0' : v instanceof Set ? v.size\n"
                "  : Array.isArray(v) ? v.length + ',' + (1 in v) : String(v);\n"
                "onmessage = (e) => console.log(show(e.data));");
    assert_console(&two, "info undefined\ninfo null\ninfo true\ninfo -0\ninfo 1e+300\ninfo 12n\ninfo 1\ninfo 5000\ninfo 5\n"
                         "info /x/g\ninfo 1\ninfo 1\ninfo 2:2\ninfo 100000:7\ninfo e\ninfo 3,false\ninfo 300000\n"
                         "info [object Object]\n");
}
END_TEST

START_TEST(a_large_buffer_moves)
{
    connect();
    start(&one, "const bytes = new Uint8Array(1 << 20).fill(5);\n"
                "postMessage(bytes, [bytes.buffer]); console.log(bytes.length);");
    start(&two, "onmessage = (e) => console.log(e.data.length, e.data[1000]);");
    assert_console(&one, "info 0\n");
    assert_console(&two, "info 1048576 5\n");
}
END_TEST

START_TEST(images_travel_and_a_bitmap_moves)
{
    connect();
    start(&one, "const image = new ImageData(2, 1); image.data.fill(9);\n"
                "createImageBitmap(image).then((bitmap) => {\n"
                "  postMessage({ image, bitmap }, [bitmap, image.data.buffer]);\n"
                "  console.log(bitmap.width, image.data.length);\n"
                "  try { postMessage(bitmap); } catch (e) { console.log(e.name); }\n"
                "});");
    start(&two, "onmessage = ({ data: { image, bitmap } }) => {\n"
                "  console.log(image instanceof ImageData, image.width, image.height, image.data.join());\n"
                "  console.log(bitmap instanceof ImageBitmap, bitmap.width, bitmap.height);\n"
                "};");
    assert_console(&one, "info 0 0\ninfo DataCloneError\n");
    assert_console(&two, "info true 2 1 9,9,9,9,9,9,9,9\ninfo true 2 1\n");
}
END_TEST

START_TEST(an_error_that_says_how_much_travels)
{
    connect();
    start(&one, "postMessage(new QuotaExceededError('full', { quota: 1, requested: 2 }));");
    start(&two, "onmessage = ({ data }) => console.log(data instanceof QuotaExceededError, data.message, data.quota,\n"
                "  data.requested, data.code);");
    assert_console(&two, "info true full 1 2 22\n");
}
END_TEST

START_TEST(a_message_that_cannot_be_read_is_a_messageerror)
{
    static const char bytes[] = {(char)0xc1, 1, 0x21, 0x43, 'X', 'y', 'z', 1};
    struct muster_clone_buffer copy = {0};
    struct muster_clone *clone = NULL;
    one.identity.port = ends[0];
    ends[0] = NULL;
    start(&one, "onmessage = (e) => console.log('message', e.data);\n"
                "onmessageerror = (e) => console.log(e.type, e.data, e instanceof MessageEvent);");
    ck_assert_int_eq(muster_clone_buffer_copy(bytes, sizeof bytes, &copy), MUSTER_OK);
    ck_assert_int_eq(muster_clone_new(&copy, NULL, 0, 0, &clone), MUSTER_OK);
    muster__port_post(ends[1], muster__port_message_new(NULL, muster_value_new_clone(clone), 0));
    muster__port_post(ends[1], muster__port_message_new(NULL, muster_value_new_number(5), 0));
    muster__port_post(ends[1], muster__port_message_new(NULL, NULL, 0));
    assert_console(&one, "info messageerror null true\ninfo message 5\ninfo message undefined\n");
}
END_TEST

START_TEST(structured_clone_moves_ports)
{
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "port1.postMessage('queued');\n"
                "const { moved } = structuredClone({ moved: port2 }, { transfer: [port2] });\n"
                "moved.onmessage = (e) => console.log(e.data, moved !== port2, moved instanceof MessagePort);\n"
                "try { structuredClone(port1); } catch (e) { console.log(e.name); }\n"
                "const t = new TransformStream(), u = structuredClone(t, { transfer: [t] });\n"
                "console.log(u instanceof TransformStream, t.readable.locked, t.writable.locked, u.readable.locked);");
    assert_console(&one, "info DataCloneError\ninfo true true true false\ninfo queued true true\n");
}
END_TEST

START_TEST(streams_travel_through_ports)
{
    connect();
    start(&one, "const source = new ReadableStream({ start(c) { c.enqueue('a'); c.enqueue({ b: 1 }); c.close(); } });\n"
                "const sink = new WritableStream({ write(x) { console.log('sink', x); }, close() { console.log('done'); } });\n"
                "const { port1 } = new MessageChannel();\n"
                "postMessage({ source, sink }, [source, port1, sink]);\n"
                "console.log(source.locked, sink.locked);\n"
                "try { postMessage(source, [source]); } catch (e) { console.log(e.name); }");
    start(&two, "onmessage = async (e) => {\n"
                "  console.log(e.ports.length, e.data.source instanceof ReadableStream);\n"
                "  const reader = e.data.source.getReader(), writer = e.data.sink.getWriter();\n"
                "  for (;;) { const { done, value } = await reader.read(); if (done) break; console.log(JSON.stringify(value));\n"
                "    await writer.write(value); }\n"
                "  await writer.close(); console.log('end');\n"
                "};");
    assert_console(&two, "info 1 true\ninfo \"a\"\ninfo {\"b\":1}\ninfo end\n");
    assert_console(&one, "info true true\ninfo DataCloneError\ninfo sink a\ninfo sink { b: 1 }\ninfo done\n");
}
END_TEST

START_TEST(a_transform_stream_travels_and_errors_come_across)
{
    connect();
    start(&one, "const t = new TransformStream({ transform(x, c) { if (x === 'bad') throw new TypeError('refused'); c.enqueue(x + x); } });\n"
                "postMessage(t, [t]);");
    start(&two, "onmessage = async ({ data }) => {\n"
                "  console.log(data instanceof TransformStream);\n"
                "  const w = data.writable.getWriter(), r = data.readable.getReader();\n"
                "  w.write('ab').catch(() => {}); console.log((await r.read()).value);\n"
                "  w.write('bad').catch(() => {});\n"
                "  try { await r.read(); } catch (e) { console.log(e.name, e.message); }\n"
                "};");
    assert_console(&two, "info true\ninfo abab\ninfo TypeError refused\n");
}
END_TEST

START_TEST(a_stream_whose_worker_dies_is_an_error)
{
    connect();
    start(&one, "const s = new ReadableStream({ pull() { return new Promise(() => {}); } }); postMessage(s, [s]);");
    start(&two, "onmessage = ({ data }) => data.getReader().read().catch((e) => console.log(e.name));");
    run_all();
    fake_host_kill(&one);
    assert_console(&two, "info DataCloneError\n");
}
END_TEST

/* ---- the worker's own ---- */

START_TEST(dedicated_workers_talk_by_their_implicit_ports)
{
    connect();
    start(&one, "postMessage('early'); onmessage = (e) => { console.log(e.data, e.target === self); postMessage('again'); };\n"
                "console.log(self instanceof DedicatedWorkerGlobalScope, typeof SharedWorkerGlobalScope, name);");
    start(&two, "addEventListener('message', (e) => { console.log(e.data); if (e.data === 'early') postMessage('answer'); });");
    assert_console(&one, "info true undefined fake\ninfo answer true\n");
    assert_console(&two, "info early\ninfo again\n");
}
END_TEST

START_TEST(mail_that_came_before_the_script_ran_is_kept)
{
    connect();
    start(&one, "for (let i = 0; i < 3; i++) postMessage(i);");
    start(&two, "onmessage = (e) => console.log(e.data);");
    assert_console(&two, "info 0\ninfo 1\ninfo 2\n");
}
END_TEST

START_TEST(a_worker_that_closes_itself_hears_nothing_more)
{
    connect();
    start(&one, "const { port1, port2 } = new MessageChannel();\n"
                "onmessage = () => { close(); port1.onmessage = () => console.log('no'); port2.postMessage(1); postMessage('done'); };");
    start(&two, "postMessage(0); postMessage(1); onmessage = (e) => console.log(e.data);");
    assert_console(&two, "info done\n");
    ck_assert_str_eq(one.console, "");
    ck_assert_int_eq(one.close_count, 1);
}
END_TEST

START_TEST(a_script_that_throws_goes_on_if_somebody_talks_to_it)
{
    connect();
    start(&two, "onmessage = (e) => console.log(e.data); throw new Error('boom');");
    ck_assert_uint_eq(two.report_count, 1);
    start(&one, "postMessage('hello');");
    assert_console(&two, "info hello\n");
}
END_TEST

static struct fake_request *with_port(const char *name, enum muster__request_kind kind, const char *head,
                                      const char *data)
{
    struct fake_request *request = fake_request_new(&one, kind, name, data ? json(data) : NULL);
    request->request.mail = muster__port_message_new(head ? json(head) : NULL, NULL, 1);
    request->request.mail->ports[0] = ends[0];
    ends[0] = NULL;
    ck_assert_int_eq(fake_deliver(&one, request), MUSTER_OK);
    ck_assert_ptr_null(request->request.mail->ports[0]);
    muster__port_message_destroy(request->request.mail);
    request->request.mail = NULL;
    run_all();
    return request;
}

START_TEST(a_shared_worker_is_connected_with_a_port)
{
    one.identity.type = MUSTER__WORKER_SHARED;
    start(&one, "onconnect = (e) => {\n"
                "  console.log(e.type, e.data === '', e.ports.length, e.source === e.ports[0], e instanceof MessageEvent,\n"
                "    self instanceof SharedWorkerGlobalScope, typeof postMessage, typeof ExtendableEvent);\n"
                "  e.source.postMessage('welcome');\n"
                "};");
    struct fake_request *request = with_port("connect", MUSTER__REQUEST_EVENT, NULL, NULL);
    ck_assert_int_eq(request->ended, 1);
    ck_assert_int_eq(request->status, MUSTER_OK);
    assert_console(&one, "info connect true 1 true true true undefined undefined\n");
    struct muster__port_message *message = muster__port_take(ends[1]);
    ck_assert_ptr_nonnull(message);
    muster__port_message_destroy(message);
}
END_TEST

START_TEST(a_message_to_a_service_worker_brings_ports)
{
    one.identity.type = MUSTER__WORKER_SERVICE;
    start(&one, "onmessage = (e) => {\n"
                "  console.log(e.data.a, e.ports.length, e.source, e.origin, e instanceof ExtendableMessageEvent);\n"
                "  e.waitUntil(new Promise((done) => setTimeout(done, 5))); e.ports[0].postMessage('heard');\n"
                "};");
    struct fake_request *request =
        with_port("message", MUSTER__REQUEST_MESSAGE, "{\"origin\":\"https://a.test\"}", "{\"a\":1}");
    ck_assert_int_eq(request->ended, 0);
    fake_host_advance(&one, 5);
    ck_assert_int_eq(request->ended, 1);
    assert_console(&one, "info 1 1 null https://a.test true\n");
}
END_TEST

START_TEST(nobody_listens_for_a_message_with_ports)
{
    one.identity.type = MUSTER__WORKER_SERVICE;
    start(&one, "");
    ck_assert_int_eq(with_port("message", MUSTER__REQUEST_MESSAGE, NULL, "1")->status, MUSTER_PASSED);
}
END_TEST

START_TEST(each_kind_of_worker_has_its_globals)
{
    static const char text[] =
        "console.log(['ExtendableEvent', 'FetchEvent', 'ServiceWorkerGlobalScope', 'DedicatedWorkerGlobalScope',\n"
        "  'SharedWorkerGlobalScope', 'WorkerGlobalScope', 'importScripts', 'postMessage', 'close', 'skipWaiting', 'window',\n"
        "  'onconnect', 'oninstall', 'onmessage', 'name', 'MessageChannel'].filter((n) => n in self).join(' '));";
    static const struct {
        enum muster__worker_type type;
        const char *wanted;
    } rows[] = {
        {MUSTER__WORKER_SERVICE, "info ExtendableEvent FetchEvent ServiceWorkerGlobalScope WorkerGlobalScope importScripts "
                                 "skipWaiting oninstall onmessage MessageChannel\n"},
        {MUSTER__WORKER_DEDICATED, "info DedicatedWorkerGlobalScope WorkerGlobalScope importScripts postMessage close onmessage "
                                   "name MessageChannel\n"},
        {MUSTER__WORKER_SHARED, "info SharedWorkerGlobalScope WorkerGlobalScope importScripts close onconnect name "
                                "MessageChannel\n"},
        {MUSTER__WORKER_CLIENT, "info close window onmessage name MessageChannel\n"},
    };
    one.identity.type = rows[_i].type;
    start(&one, text);
    assert_console(&one, rows[_i].wanted);
}
END_TEST

START_TEST(globals_have_the_shape_that_the_standard_gives_them)
{
    one.identity.type = MUSTER__WORKER_SERVICE;
    start(&one, "const d = (o, n) => Object.getOwnPropertyDescriptor(o, n);\n"
                "const c = d(self, 'MessageChannel'), h = d(self, 'oninstall'), r = d(self, 'registration'), t = d(self, 'setTimeout');\n"
                "console.log('MessageChannel' in self, d(MessagePort.prototype, 'onmessage').enumerable, MessagePort.name,\n"
                "  String(new MessageChannel().port1), MessagePort.length, MessagePort.prototype.postMessage.length);\n"
                "console.log(h.enumerable, h.get.name, h.set.name, h.set.length, h.get.call(undefined));\n"
                "console.log(r.enumerable, r.get.name, r.set, r.get.call(undefined) === registration);\n"
                "console.log(Object.getPrototypeOf(MessagePort) === EventTarget, Object.keys(MessageChannel.prototype).join());");
    assert_console(&one, "info true true MessagePort [object MessagePort] 0 1\n"
                         "info true get oninstall set oninstall 1 null\n"
                         "info true get registration undefined true\n"
                         "info true port1,port2\n");
}
END_TEST

START_TEST(what_is_reported_has_a_place_and_runs_no_getter)
{
    start(&one, "addEventListener('error', (event) => {\n"
                "  console.log(event.message, event.lineno, Event.AT_TARGET, event.AT_TARGET);\n"
                "  event.preventDefault();\n"
                "});\n"
                "reportError(1);\n"
                "reportError({ get message() { console.log('ran'); } });\n"
                "const control = new AbortController();\n"
                "control.signal.onabort = (event) => console.log(event.type, event.isTrusted, event.cancelable);\n"
                "control.abort();\n");
    assert_console(&one, "info Uncaught 1 5 2 2\ninfo Uncaught [object Object] 6 2 2\ninfo abort true false\n");
}
END_TEST

START_TEST(message_events_can_be_made)
{
    start(&one, "const { port1 } = new MessageChannel();\n"
                "const e = new MessageEvent('x', { data: 1, origin: 'o', lastEventId: 'l', source: port1, ports: [port1] });\n"
                "console.log(e.data, e.origin, e.lastEventId, e.source === port1, e.ports[0] === port1, e.ports === e.ports,\n"
                "  Object.isFrozen(e.ports), e.isTrusted);\n"
                "const p = new MessageEvent('y'); console.log(p.data, p.origin === '', p.source, p.ports.length);\n"
                "p.initMessageEvent('z', true, false, 5, 'q'); console.log(p.type, p.bubbles, p.data, p.origin);\n"
                "for (const bad of [{ ports: 1 }, { ports: [{}] }, { source: {} }])\n"
                "  try { new MessageEvent('x', bad); console.log('fine'); } catch (error) { console.log(error.name); }");
    assert_console(&one, "info 1 o l true true true true false\ninfo null true null 0\ninfo z true 5 q\n"
                         "info TypeError\ninfo TypeError\ninfo TypeError\n");
}
END_TEST

/* ---- the host port ---- */

START_TEST(broadcast_channels_ask_the_coordinator)
{
    give_coordinator(ENVIRONMENT);
    start(&one, "const a = new BroadcastChannel('news'), b = new BroadcastChannel('news');\n"
                "a.postMessage({ x: 1 }); b.onmessage = (e) => console.log(e.data.y, e.origin, e.source, e.target === b);\n"
                "b.postMessage('later'); a.close();\n"
                "try { a.postMessage(1); } catch (e) { console.log(e.name); }\n"
                "console.log(a.name);");
    assert_heard("[\"ask\",1,\"broadcast.open\",\"news\"]");
    assert_heard("[\"ask\",2,\"broadcast.open\",\"news\"]");
    assert_heard("nothing");
    ck_assert(fake_host_has_token(&one, "broadcast.open"));
    say("[\"answer\",1,true,7]", NULL, NULL);
    say("[\"answer\",2,true,8]", NULL, NULL);
    struct muster__port_message *message = NULL;
    char *text = heard(&message);
    ck_assert_str_eq(text, "[\"tell\",\"broadcast.post\",7]");
    free(text);
    ck_assert_double_eq(muster_value_number(muster_value_get(message->data, "x")), 1);
    muster__port_message_destroy(message);
    assert_heard("[\"tell\",\"broadcast.post\",8]");
    assert_heard("[\"tell\",\"broadcast.close\",7]");
    ck_assert_uint_eq(fake_host_open_tokens(&one), 0);
    say("[\"tell\",\"broadcast\",8]", "{\"y\":2}", NULL);
    say("[\"tell\",\"broadcast\",7]", "{\"y\":3}", NULL);
    assert_console(&one, "info InvalidStateError\ninfo news\ninfo 2 https://a.test null true\n");
}
END_TEST

START_TEST(a_channel_needs_a_coordinator)
{
    start(&one, "try { new BroadcastChannel('x'); } catch (e) { console.log(e.name); }");
    assert_console(&one, "info NotSupportedError\n");
}
END_TEST

START_TEST(a_coordinator_that_goes_fails_what_was_asked)
{
    give_coordinator(ENVIRONMENT);
    start(&one, "const c = new BroadcastChannel('x'); c.postMessage(1);");
    assert_heard("[\"ask\",1,\"broadcast.open\",\"x\"]");
    muster__port_close(ends[1]);
    run_all();
    ck_assert_uint_eq(fake_host_open_tokens(&one), 0);
}
END_TEST

/* ---- realms ---- */

START_TEST(a_client_opens_further_realms)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    start(&one, "const frame = muster.openRealm('https://a.test/frame');\n"
                "frame.evaluate('globalThis.x = 1; globalThis.add = (a) => a + x; globalThis.place = () => location.href;');\n"
                "console.log(frame.global !== self, frame.global.add(2), frame.global.place(), frame.global.Array === Array);\n"
                "console.log(typeof x, frame.global.setTimeout === setTimeout);\n"
                "frame.evaluate('setTimeout(() => console.log(\"tick\", self === globalThis), 5); Promise.reject(new Error(\"lost\"));');\n"
                "frame.evaluate('nonsense(');\n"
                "setTimeout(() => console.log('mine'), 5);");
    fake_host_advance(&one, 5);
    assert_console(&one, "info true 3 https://a.test/frame false\ninfo undefined false\ninfo tick true\ninfo mine\n");
    ck_assert_uint_eq(one.report_count, 2);
}
END_TEST

START_TEST(a_client_gives_its_realms_lists_of_files)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    start(&one, "const frame = muster.openRealm('about:blank');\n"
                "frame.evaluate('globalThis.file = new File([\"text\"], \"name\");'\n"
                "  + 'globalThis.look = (l) => [l instanceof FileList, l.length, l.item(0) === l[0], l.item(1), [...l][0].name];'\n"
                "  + 'globalThis.copy = (l) => structuredClone(l);');\n"
                "const { file, look, copy } = frame.global, list = frame.fileList([file]);\n"
                "console.log(look(list).join(), look(copy(list)).join());\n"
                "for (const bad of [() => frame.fileList([1]), () => new FileList()]) {\n"
                "  try { bad(); } catch (e) { console.log(e.name); }\n"
                "}");
    assert_console(&one, "info true,1,true,,name true,1,true,,name\ninfo TypeError\ninfo TypeError\n");
}
END_TEST

START_TEST(ports_cross_realms)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    start(&one, "const frame = muster.openRealm('about:blank');\n"
                "const { port1, port2 } = new MessageChannel();\n"
                "frame.evaluate('globalThis.channel = new MessageChannel();'\n"
                "  + 'channel.port1.onmessage = (e) => { console.log(e.data, e instanceof MessageEvent, e.ports.length);'\n"
                "  + '  e.ports[0].postMessage(\"from the frame\"); };');\n"
                "port1.onmessage = (e) => console.log(e.data, e instanceof MessageEvent);\n"
                "frame.global.channel.port2.postMessage('to the frame', [port2]);");
    assert_console(&one, "info to the frame true 1\ninfo from the frame true\n");
}
END_TEST

START_TEST(a_realm_that_is_closed_ends_its_timers_and_ports)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    start(&one, "const frame = muster.openRealm('about:blank'), { port1, port2 } = new MessageChannel();\n"
                "frame.global.keep = null;\n"
                "frame.evaluate('globalThis.take = (p) => { globalThis.c = new MessageChannel(); c.port1.onmessage = (e) => {'\n"
                "  + ' globalThis.p = e.ports[0]; p.onmessage = () => {}; }; c.port2.postMessage(0, [p]); };'\n"
                "  + 'setInterval(() => console.log(\"tick\"), 10); globalThis.late = () => new MessageChannel();');\n"
                "frame.global.take(port2); port1.onclose = () => console.log('closed');\n"
                "const { late } = frame.global;\n"
                "setTimeout(() => { frame.close(); frame.close(); const { port1 } = late(); port1.onmessage = () => {}; port1.postMessage(1);\n"
                "  try { new MessageChannel().port1.postMessage(0, [port1]); } catch (e) { console.log(e.name); } }, 15);\n"
                "setTimeout(() => console.log('end'), 50);");
    fake_host_advance(&one, 60);
    assert_console(&one, "info tick\ninfo DataCloneError\ninfo closed\ninfo end\n");
    for (int i = 0; i < 3; i++)
        one.engine->vm_trim(one.vm);
}
END_TEST

START_TEST(a_realm_may_close_itself_while_it_hears_a_message)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    start(&one, "const frame = muster.openRealm('about:blank'); globalThis.end = () => frame.close();\n"
                "frame.global.end = end;\n"
                "frame.evaluate('globalThis.c = new MessageChannel(); c.port1.onmessage = (e) => { console.log(e.data); end(); };'\n"
                "  + 'c.port2.postMessage(1); c.port2.postMessage(2);');");
    assert_console(&one, "info 1\n");
    one.engine->vm_trim(one.vm);
    run_all();
}
END_TEST

START_TEST(a_realm_is_a_client_of_its_own)
{
    one.identity.type = MUSTER__WORKER_CLIENT;
    give_coordinator(ENVIRONMENT);
    start(&one, "const frame = muster.openRealm('https://a.test/f'); frame.ready.then((r) => console.log(r.clientId));\n");
    struct muster__port_message *message = NULL;
    char *text = heard(&message);
    ck_assert_str_eq(text, "[\"ask\",1,\"client.open\",{\"url\":\"https://a.test/f\",\"type\":\"window\","
                           "\"frameType\":\"nested\",\"parent\":\"c1\"}]");
    free(text);
    ck_assert_uint_eq(message->port_count, 1);
    muster__port_message_destroy(message);
    say("[\"answer\",1,true,{\"clientId\":\"c2\"}]", NULL, NULL);
    assert_console(&one, "info c2\n");
}
END_TEST

static Suite *ports_suite(void)
{
    Suite *suite = suite_create("js_ports");
    TCase *tcase = tcase_create("js_ports");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 20);
    tcase_add_test(tcase, messages_come_in_order_and_only_after_start);
    tcase_add_test(tcase, setting_onmessage_starts_a_port);
    tcase_add_test(tcase, microtasks_run_between_two_messages);
    tcase_add_test(tcase, an_error_in_a_handler_is_reported_and_the_next_message_comes);
    tcase_add_test(tcase, many_messages_leave_a_turn_to_others);
    tcase_add_test(tcase, what_cannot_be_cloned_is_refused_at_once);
    tcase_add_test(tcase, a_transfer_list_has_rules);
    tcase_add_test(tcase, a_queue_that_nobody_reads_refuses_in_the_end_and_transfers_nothing);
    tcase_add_test(tcase, a_refused_message_transfers_nothing);
    tcase_add_test(tcase, what_a_getter_throws_goes_before_what_cannot_be_transferred);
    tcase_add_test(tcase, a_getter_may_post_while_its_object_is_posted);
    tcase_add_test(tcase, a_port_takes_its_queue_along);
    tcase_add_test(tcase, a_port_that_is_handed_on_in_its_own_handler_loses_nothing);
    tcase_add_test(tcase, a_channel_whose_far_end_is_sent_into_itself_is_lost_silently);
    tcase_add_test(tcase, closing_is_heard_after_the_mail);
    tcase_add_test(tcase, closing_is_heard_by_a_port_that_was_not_started);
#if !defined(__SANITIZE_THREAD__) /* there the engine does not collect: scripts/run_tests.py says why */
    tcase_add_test(tcase, a_port_that_is_collected_closes_its_channel);
#endif
    tcase_add_test(tcase, a_port_with_a_listener_is_not_collected);
    tcase_add_test(tcase, a_worker_that_dies_closes_its_ports);
    tcase_add_test(tcase, the_backlog_of_a_port_is_known);
    tcase_add_test(tcase, all_sizes_and_kinds_travel);
    tcase_add_test(tcase, a_large_buffer_moves);
    tcase_add_test(tcase, images_travel_and_a_bitmap_moves);
    tcase_add_test(tcase, an_error_that_says_how_much_travels);
    tcase_add_test(tcase, a_message_that_cannot_be_read_is_a_messageerror);
    tcase_add_test(tcase, structured_clone_moves_ports);
    tcase_add_test(tcase, streams_travel_through_ports);
    tcase_add_test(tcase, a_transform_stream_travels_and_errors_come_across);
    tcase_add_test(tcase, a_stream_whose_worker_dies_is_an_error);
    tcase_add_test(tcase, dedicated_workers_talk_by_their_implicit_ports);
    tcase_add_test(tcase, mail_that_came_before_the_script_ran_is_kept);
    tcase_add_test(tcase, a_worker_that_closes_itself_hears_nothing_more);
    tcase_add_test(tcase, a_script_that_throws_goes_on_if_somebody_talks_to_it);
    tcase_add_test(tcase, a_shared_worker_is_connected_with_a_port);
    tcase_add_test(tcase, a_message_to_a_service_worker_brings_ports);
    tcase_add_test(tcase, nobody_listens_for_a_message_with_ports);
    tcase_add_loop_test(tcase, each_kind_of_worker_has_its_globals, 0, 4);
    tcase_add_test(tcase, globals_have_the_shape_that_the_standard_gives_them);
    tcase_add_test(tcase, what_is_reported_has_a_place_and_runs_no_getter);
    tcase_add_test(tcase, message_events_can_be_made);
    tcase_add_test(tcase, broadcast_channels_ask_the_coordinator);
    tcase_add_test(tcase, a_channel_needs_a_coordinator);
    tcase_add_test(tcase, a_coordinator_that_goes_fails_what_was_asked);
    tcase_add_test(tcase, a_client_opens_further_realms);
    tcase_add_test(tcase, a_client_gives_its_realms_lists_of_files);
    tcase_add_test(tcase, ports_cross_realms);
    tcase_add_test(tcase, a_realm_that_is_closed_ends_its_timers_and_ports);
    tcase_add_test(tcase, a_realm_may_close_itself_while_it_hears_a_message);
    tcase_add_test(tcase, a_realm_is_a_client_of_its_own);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(ports_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
