"use strict";
const { createRequest, readResponse, isResponse } = native.chunk("fetch");
const flat = () => ["Host", "a.test", "X-One", "1", "x-one", "2"];
const drain = async (source) => {
    const chunks = [];
    for (let chunk = await source.pull(); chunk !== null; chunk = await source.pull()) {
        chunks.push(...chunk);
    }
    return new TextDecoder().decode(Uint8Array.from(chunks));
};
const piecewise = (...texts) => {
    const log = [];
    return {
        log,
        async pull() {
            log.push("pull");
            return texts.length === 0 ? null : new TextEncoder().encode(texts.shift());
        },
        async cancel(reason) {
            log.push(reason);
        },
    };
};
const streamOf = (...chunks) => new ReadableStream({
    pull(controller) {
        if (chunks.length === 0) {
            controller.close();
        } else {
            controller.enqueue(chunks.shift());
        }
    },
});

test("the_common_response_needs_no_other_chunk", () => {
    same(readResponse(new Response("hello", { headers: { "Content-Type": "text/html" } })),
        { status: 200, statusText: "", headers: ["content-type", "text/html"], body: "hello", network: null,
            type: "default" });
    same(readResponse(new Response("hello")).headers,
        ["content-type", "text/plain;charset=UTF-8"]);
    same(readResponse(Response.json({ a: 1 }, { status: 201 })),
        { status: 201, statusText: "", headers: ["content-type", "application/json"],
            body: '{"a":1}', network: null, type: "default" });
    equal(readResponse(new Response(null, { status: 204 })).body, null);
    const request = createRequest("GET", "http://a.test/x", flat, null, null);
    equal(request.method + request.url, "GEThttp://a.test/x");
    for (const name of ["streams", "url", "headers", "dom", "body_streams"]) {
        ok(!native.loaded.includes(name), name);
    }
});

test("a_response_is_read_once_and_only_if_it_is_one", () => {
    const response = new Response("x");
    ok(isResponse(response) && !isResponse({}) && !isResponse(null) && !isResponse(undefined));
    readResponse(response);
    ok(response.bodyUsed);
    throws(TypeError, () => readResponse(response));
    throws(TypeError, () => readResponse({ status: 200 }));
    throws(TypeError, () => readResponse(undefined));
    throws(TypeError, () => readResponse(Response.error()));
    const locked = new Response(streamOf());
    locked.body.getReader();
    throws(TypeError, () => readResponse(locked));
    const empty = new Response();
    readResponse(empty);
    ok(!empty.bodyUsed);
});

test("a_streamed_response_is_pulled_by_the_host", async () => {
    const source = readResponse(new Response(streamOf(new Uint8Array([104]), new Uint8Array(0),
        new Uint8Array([105])))).body;
    equal(await drain(source), "hi");
    const wrong = readResponse(new Response(streamOf("text"))).body;
    await rejects(TypeError, wrong.pull());
    let canceled;
    const stream = new ReadableStream({
        cancel(reason) {
            canceled = reason;
        },
    });
    await readResponse(new Response(stream)).body.cancel("gone");
    equal(canceled, "gone");
    const failing = readResponse(new Response(new ReadableStream({
        pull() {
            throw new RangeError("no");
        },
    }))).body;
    await rejects(RangeError, failing.pull());
});

test("what_a_response_cannot_be_is_refused", () => {
    throws(RangeError, () => new Response("", { status: 199 }));
    throws(RangeError, () => new Response("", { status: 600 }));
    throws(RangeError, () => new Response("", { status: NaN }));
    throws(TypeError, () => new Response("", { status: 204 }));
    throws(TypeError, () => new Response("", { statusText: "a\n" }));
    throws(TypeError, () => new Response("", { statusText: "\u0100" }));
    throws(TypeError, () => new Response("", 1));
    throws(TypeError, () => new Response("", { headers: null }));
    throws(TypeError, () => Response.json());
    throws(TypeError, () => Response.json(undefined));
    throws(TypeError, () => Response.json(1, { status: 304 }));
    throws(TypeError, () => Response("x"));
    equal(new Response("", { status: 65536 + 200 }).status, 200);
    equal(new Response(null, { status: 204, statusText: "fine" }).statusText, "fine");
});

test("the_other_kinds_of_response_are_made_by_name", () => {
    const error = Response.error();
    equal(error.type + error.status, "error0");
    throws(TypeError, () => error.headers.set("a", "b"));
    const redirect = Response.redirect("../x?y", 307);
    equal(redirect.status, 307);
    equal(redirect.headers.get("location"), "https://example.test/x?y");
    equal(Response.redirect("http://a/").status, 302);
    throws(RangeError, () => Response.redirect("/", 200));
    throws(TypeError, () => Response.redirect("http://"));
    const own = Response.json([1], { headers: { "content-type": "x/y" } });
    equal(own.headers.get("content-type"), "x/y");
    equal(new Response("").ok, true);
    equal(new Response("", { status: 404 }).ok, false);
});

test("a_body_may_be_many_things", async () => {
    equal(await new Response(new Uint8Array([0xef, 0xbb, 0xbf, 97])).text(), "a");
    equal(await new Response(new Uint16Array([0x6261]).buffer).text(), "ab");
    equal(await new Response("\ufeffa\ud800").text(), "a\ufffd");
    equal(await new Response(12).text(), "12");
    equal(await new Response({}).text(), "[object Object]");
    equal(await new Response(undefined).text(), "");
    equal(new Response(new Uint8Array(1)).headers.has("content-type"), false);
    const form = new Response(new URLSearchParams({ a: "b c" }));
    equal(form.headers.get("content-type"), "application/x-www-form-urlencoded;charset=UTF-8");
    equal(await form.text(), "a=b+c");
    const bytes = new Uint8Array([1, 2]);
    const copied = new Response(bytes);
    bytes[0] = 9;
    same(await copied.bytes(), [1, 2]);
    equal((await new Response("abc").arrayBuffer()).byteLength, 3);
    equal((await new Response('{"a":[1]}').json()).a[0], 1);
    await rejects(SyntaxError, new Response("{").json());
});

test("a_body_is_used_once", async () => {
    for (const make of [() => "text", () => new Uint8Array(3), () => streamOf(new Uint8Array(3))]) {
        const response = new Response(make());
        equal(response.bodyUsed, false);
        await response.text();
        equal(response.bodyUsed, true);
        await rejects(TypeError, response.text());
        await rejects(TypeError, response.json());
        throws(TypeError, () => response.clone());
        equal(response.body.locked, true);
        throws(TypeError, () => new Response(response.body));
    }
    const none = new Response(null);
    equal(await none.text() + await none.text(), "");
    equal(none.bodyUsed, false);
    equal(none.body, null);
    await rejects(TypeError, Response.prototype.text.call({}));
});

test("the_body_of_any_response_is_a_stream_when_asked_for", async () => {
    const response = new Response("h\u00e9");
    equal(response.body, response.body);
    ok(response.body instanceof ReadableStream);
    equal(response.bodyUsed, false);
    const reader = response.body.getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(10));
    same(value, [0x68, 0xc3, 0xa9]);
    ok((await reader.read(new Uint8Array(10))).done);
    equal(response.bodyUsed, true);
    equal(await new Response(new Response("passed on").body).text(), "passed on");
    const locked = new Response("x");
    locked.body.getReader();
    await rejects(TypeError, locked.text());
});

test("clones_have_bodies_of_their_own", async () => {
    for (const make of [() => "text", () => new TextEncoder().encode("text"),
        () => streamOf(new TextEncoder().encode("te"), new TextEncoder().encode("xt"))]) {
        const response = new Response(make(), { status: 201, headers: { a: "b" } });
        const copy = response.clone();
        copy.headers.set("a", "c");
        equal(response.headers.get("a"), "b");
        equal(copy.status, 201);
        const bytes = await response.bytes();
        bytes.fill(0);
        equal(await copy.text(), "text");
    }
});

test("a_request_of_the_host_has_lazy_and_fixed_headers", async () => {
    let asked = 0;
    const request = createRequest("POST", "http://a.test/", () => {
        asked++;
        return flat();
    }, "a=1", null);
    equal(asked, 0);
    equal(request.headers.get("x-one"), "1, 2");
    equal(request.headers.get("host"), "a.test");
    equal(asked, 1);
    equal(request.headers, request.headers);
    throws(TypeError, () => request.headers.set("a", "b"));
    equal(await request.text(), "a=1");
    equal(request.bodyUsed, true);
    equal(request.signal.aborted, false);
    const { signal } = new AbortController();
    equal(createRequest("GET", "http://a/", [], null, signal).signal, signal);
});

test("a_request_body_of_the_host_is_pulled_when_wanted", async () => {
    const source = piecewise("a", "b", "c");
    const request = createRequest("POST", "http://a/", [], source, null);
    same(source.log, []);
    equal(await request.text(), "abc");
    equal(source.log.length, 4);
    const other = piecewise("d", "e");
    const streamed = createRequest("POST", "http://a/", [], other, null);
    ok(streamed.body instanceof ReadableStream);
    equal(await new Response(streamed.body).text(), "de");
    equal(streamed.bodyUsed, true);
    const third = piecewise("f");
    const canceled = createRequest("POST", "http://a/", [], third, null);
    await canceled.body.cancel("enough");
    same(third.log, ["enough"]);
    const passed = createRequest("POST", "http://a/", [], piecewise("g", "h"), null);
    equal(await drain(readResponse(new Response(passed.body)).body), "gh");
    const copy = createRequest("POST", "http://a/", [], piecewise("i"), null);
    equal(await copy.clone().text() + await copy.text(), "ii");
});

test("a_new_request_is_parsed_and_checked", () => {
    const request = new Request("x?y#z", { method: "post", body: "b", headers: { a: "1" } });
    equal(request.url, "https://example.test/folder/x?y#z");
    equal(request.method, "POST");
    equal(request.headers.get("content-type"), "text/plain;charset=UTF-8");
    equal(request.mode + request.credentials + request.cache + request.redirect,
        "corssame-origindefaultfollow");
    equal(request.referrer, "about:client");
    equal(request.duplex, "half");
    equal(new Request("/", { method: "patch" }).method, "patch");
    throws(TypeError, () => new Request());
    throws(TypeError, () => new Request("http://"));
    throws(TypeError, () => new Request("http://u:p@a/"));
    throws(TypeError, () => new Request("/", { method: "TRACE" }));
    throws(TypeError, () => new Request("/", { method: "a b" }));
    throws(TypeError, () => new Request("/", { body: "x" }));
    throws(TypeError, () => new Request("/", { mode: "navigate" }));
    throws(TypeError, () => new Request("/", { mode: "odd" }));
    throws(TypeError, () => new Request("/", { cache: "only-if-cached" }));
    throws(TypeError, () => new Request("/", { window: {} }));
    throws(TypeError, () => new Request("/", { signal: {} }));
    throws(TypeError, () => new Request("/", { method: "POST", body: streamOf() }));
    ok(new Request("/", { method: "POST", body: streamOf(), duplex: "half" }).body);
    throws(TypeError, () => new Request("/", { mode: "no-cors", method: "PUT" }));
    const simple = new Request("/", { mode: "no-cors",
        headers: { accept: "x", other: "y", "content-type": "text/html" } });
    same([...simple.headers], [["accept", "x"]]);
});

test("a_request_made_from_another_takes_its_body_and_follows_its_signal", async () => {
    const controller = new AbortController();
    const first = new Request("/", { method: "POST", body: "b", signal: controller.signal });
    const second = new Request(first, { headers: { n: "v" } });
    ok(first.bodyUsed && !second.bodyUsed);
    equal(second.method, "POST");
    same([...second.headers.keys()], ["content-type", "n"].slice(1));
    equal(await second.text(), "b");
    throws(TypeError, () => new Request(second));
    ok(new Request(second, { body: "new" }));
    controller.abort("stop");
    equal(second.signal.reason, "stop");
    const copy = new Request("/", { method: "PUT", body: "c" });
    equal(await copy.clone().text() + await copy.text(), "cc");
    const piped = new Request("/", { method: "PUT", body: streamOf(new Uint8Array([97])),
        duplex: "half" });
    equal(await new Request(piped).text(), "a");
    equal(piped.bodyUsed, true);
});

test("the_classes_look_like_those_of_a_browser", () => {
    for (const Class of [Request, Response, Headers]) {
        ok(Object.getOwnPropertyDescriptor(Class.prototype,
            Class === Headers ? "get" : "headers").enumerable);
        equal(Object.getPrototypeOf(Class.prototype), Object.prototype);
    }
    equal(Response.name + Request.name + Headers.name, "ResponseRequestHeaders");
    equal(String(new Response()), "[object Response]");
    same(Object.keys(Response).sort(), ["error", "json", "redirect"]);
    same(Object.keys(Request), []);
    same(Object.keys(new Response("x")), []);
    class Mine extends Response {}
    ok(isResponse(new Mine("x")) && new Mine() instanceof Mine);
});
