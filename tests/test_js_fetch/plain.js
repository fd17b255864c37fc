// as: file, web
importScripts(location.protocol === "file:" ? "support.js" : "support.js");
const [app, other] = muster.args;
const fromWeb = location.protocol === "http:";

test("an_answer_says_what_came", async () => {
    const response = await fetch(`${app}/echo?x#y`);
    equal(response.status, 200);
    equal(response.type, "basic");
    equal(response.url, `${app}/echo?x`);
    equal(response.redirected, false);
    equal(response.headers.get("content-type"), "text/plain");
    equal(response.headers.get("set-cookie"), fromWeb ? null : "a=b");
    const text = await response.text();
    ok(text.startsWith("GET /echo?x\n"), text);
    ok(/\naccept: \*\/\*\n/.test(text), text);
    ok(/\nuser-agent: muster\/[\d.]+\n/.test(text), text);
    equal(/\norigin:/.test(text), false);
    equal(/\nreferer: (.*)\n/.exec(text)?.[1], fromWeb ? location.href : undefined);
    ok(response.bodyUsed);
    throws(TypeError, () => response.headers.set("a", "b"));
});

test("a_status_and_its_reason_come_through", async () => {
    const response = await fetch(`${app}/status?418`);
    equal(response.status, 418);
    equal(response.ok, false);
    equal(response.statusText, "Some Reason");
    equal((await fetch(`${app}/status?204`)).body, null);
    equal(await (await fetch(`${app}/status?204`)).text(), "");
    const head = await fetch(`${app}/echo`, { method: "HEAD" });
    equal(head.body, null);
    equal(await head.text(), "");
});

test("bodies_of_every_kind_are_sent", async () => {
    const send = async (body, more) => (await (await fetch(`${app}/echo`, { method: "POST", body, ...more })).text());
    ok((await send("text é")).endsWith("\n\ntext é"));
    ok((await send("x")).includes("\ncontent-type: text/plain;charset=UTF-8\n"));
    ok((await send(new Uint8Array([65, 66]))).endsWith("\n\nAB"));
    ok((await send(new URLSearchParams({ a: "b c" }))).endsWith("\n\na=b+c"));
    ok((await send(new Blob(["blob"], { type: "x/y" }))).endsWith("\n\nblob"));
    ok((await send(new Blob(["blob"], { type: "x/y" }))).includes("\ncontent-type: x/y\n"));
    ok((await send("x")).includes("\ncontent-length: 1\n"));
    ok((await send(undefined)).includes("\ncontent-length: 0\n"));
    const form = new FormData();
    form.append("a", "1");
    form.append("f", new File(["content"], "name.txt", { type: "text/x" }));
    const text = await send(form);
    ok(/content-type: multipart\/form-data; boundary=----/.test(text), text);
    ok(text.includes('name="f"; filename="name.txt"\r\nContent-Type: text/x\r\n\r\ncontent\r\n'), text);
    const pieces = ["one ", "two ", "x".repeat(200000)];
    const stream = new ReadableStream({
        pull(controller) {
            const piece = pieces.shift();
            if (piece === undefined) controller.close();
            else controller.enqueue(new TextEncoder().encode(piece));
        },
    });
    const sent = await send(stream, { duplex: "half" });
    ok(sent.includes("\ntransfer-encoding: chunked\n"), sent.slice(0, 300));
    equal(sent.length - sent.indexOf("\n\n") - 2, 200008);
});

test("a_request_can_be_fetched_and_is_used_then", async () => {
    const request = new Request(`${app}/echo`, { method: "PUT", body: "hello", headers: { "x-own": "1" } });
    const text = await (await fetch(request)).text();
    ok(text.startsWith("PUT /echo\n") && text.endsWith("\n\nhello") && text.includes("\nx-own: 1\n"), text);
    ok(request.bodyUsed);
    await rejects(TypeError, fetch(request));
});

test("what_belongs_to_the_connection_is_not_a_scripts", async () => {
    const headers = { "Content-Length": "99", Connection: "close", "Transfer-Encoding": "x", Cookie: "c=d", Host: "h.test" };
    const text = await (await fetch(`${app}/echo`, { headers })).text();
    equal(/content-length|transfer-encoding|connection: close/.test(text), false, text);
    equal(text.includes("\ncookie: c=d\n"), !fromWeb);
    equal(text.includes("\nhost: h.test"), !fromWeb);
    equal(new Request(app, { headers }).headers.has("cookie"), !fromWeb);
});

test("a_packed_body_is_unpacked", async () => {
    equal(await (await fetch(`${app}/gzip`)).text(), "packed ".repeat(1000));
});

test("redirects_are_followed_refused_or_hidden", async () => {
    const to = (status, place) => `${app}/redirect?${status}&${place}`;
    const response = await fetch(to(302, "/echo?end"));
    equal(response.url, `${app}/echo?end`);
    equal(response.redirected, true);
    ok((await response.text()).startsWith("GET /echo?end\n"));
    const post = { method: "POST", body: "b", headers: { "content-language": "x" } };
    ok((await (await fetch(to(303, "/echo"), post)).text()).startsWith("GET "));
    equal(/content-/.test(await (await fetch(to(301, "/echo"), post)).text()), false);
    ok((await (await fetch(to(307, "/echo"), post)).text()).endsWith("\n\nb"));
    await rejects(TypeError, fetch(to(302, "/echo"), { redirect: "error" }));
    const manual = await fetch(to(302, "/echo"), { redirect: "manual" });
    equal(manual.type, "opaqueredirect");
    equal(manual.status, 0);
    equal([...manual.headers].length, 0);
    await rejects(TypeError, fetch(to(302, "data:,x")));
    await rejects(TypeError, fetch(to(302, "http://")));
    let loop = "/echo";
    for (let i = 0; i < 21; i++) loop = `/redirect?302&${loop}`;
    await rejects(TypeError, fetch(app + loop));
    equal((await fetch(app + loop.slice("/redirect?302&".length))).status, 200);
    equal((await fetch(`${app}/redirect?302&${encodeURIComponent("x")}`)).status, 404);
});

test("failures_are_type_errors_that_say_why", async () => {
    const refused = await rejects(TypeError, fetch("http://127.0.0.1:9/", { mode: "no-cors" }));
    ok(/port/.test(refused.message), refused.message);
    await rejects(TypeError, fetch("http://no-such-host.invalid/", { mode: "no-cors" }));
    await rejects(TypeError, fetch("file:///etc/passwd"));
    await rejects(TypeError, fetch("nothing:x"));
    await rejects(TypeError, fetch(`${app}/echo`, { cache: "only-if-cached", mode: "same-origin" }));
    await rejects(TypeError, fetch());
    await rejects(TypeError, fetch("http://a:b@app.test/"));
});

test("an_abort_ends_a_fetch_at_any_time", async () => {
    await rejects("AbortError", fetch(`${app}/echo`, { signal: AbortSignal.abort() }));
    const early = new AbortController();
    const pending = fetch(`${app}/hang?h`, { signal: early.signal });
    setTimeout(() => early.abort(), 20);
    await rejects("AbortError", pending);
    const late = new AbortController();
    const response = await fetch(`${app}/wait?w`, { signal: late.signal });
    const reader = response.body.getReader();
    equal(new TextDecoder().decode((await reader.read()).value), "one");
    const next = reader.read();
    late.abort("enough");
    await rejects("enough", next);
    await rejects("enough", reader.closed);
    const text = new AbortController();
    const reading = (await fetch(`${app}/wait?w2`, { signal: text.signal })).text();
    setTimeout(() => text.abort(), 20);
    await rejects("AbortError", reading);
    const over = new AbortController();
    const done = await fetch(`${app}/echo`, { signal: over.signal });
    ok((await done.text()).length > 0);
    over.abort();
    const source = [];
    const upload = fetch(`${app}/echo`, { method: "POST", duplex: "half", body: new ReadableStream({
        pull() { throw new RangeError("broken"); }, cancel(reason) { source.push(reason); } }) });
    await rejects(RangeError, upload);
});

test("a_body_is_read_as_it_comes_and_can_be_given_up", async () => {
    const response = await fetch(`${app}/wait?stream`);
    const reader = response.body.getReader();
    equal(new TextDecoder().decode((await reader.read()).value), "one");
    const rest = reader.read();
    await fetch(`${app}/go?stream`);
    equal(new TextDecoder().decode((await rest).value), "two");
    equal((await reader.read()).done, true);
    const large = await fetch(`${app}/large?${64 << 20}`);
    await large.body.cancel();
    equal((await (await fetch(`${app}/large?${5 << 20}`)).arrayBuffer()).byteLength, 5 << 20);
    const copied = await fetch(`${app}/large?100000`);
    const copy = copied.clone();
    equal((await copied.arrayBuffer()).byteLength, (await copy.arrayBuffer()).byteLength);
});

test("many_fetches_at_once", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => fetch(`${app}/echo?${i}`).then((r) => r.text())));
    all.forEach((text, i) => ok(text.startsWith(`GET /echo?${i}\n`)));
});

test("bodies_become_blobs_and_forms", async () => {
    const blob = await (await fetch(`${app}/echo`)).blob();
    equal(blob.type, "text/plain");
    ok((await blob.text()).startsWith("GET /echo"));
    const form = await (await fetch(`${app}/form`)).formData();
    same([...form], [["a", "1"], ["b", "é "]]);
    await rejects(TypeError, (await fetch(`${app}/echo`)).formData());
    await rejects(TypeError, Response.prototype.blob.call({}));
    await rejects(TypeError, Response.prototype.formData.call({}));
});

test("data_and_blob_urls_need_no_server", async () => {
    const response = await fetch("data:text/html;charset=x;base64,aGVsbG8=");
    equal(response.headers.get("content-type"), "text/html;charset=x");
    equal(await response.text(), "hello");
    equal((await fetch("data:,a%20b")).headers.get("content-type"), "text/plain;charset=US-ASCII");
    equal(await (await fetch("data:,a%20b%ff#frag")).text(), "a b\ufffd");
    await rejects(TypeError, fetch("data:;base64,a"));
    await rejects(TypeError, fetch("data:text/plain"));
    const url = URL.createObjectURL(new Blob(["0123456789"], { type: "x/y" }));
    ok(url.startsWith(fromWeb ? `blob:${app}/` : "blob:null/"), url);
    const got = await fetch(url);
    equal(got.headers.get("content-type"), "x/y");
    equal(got.headers.get("content-length"), "10");
    equal(await got.text(), "0123456789");
    const range = await fetch(url, { headers: { range: "bytes=2-4" } });
    equal(range.status, 206);
    equal(range.headers.get("content-range"), "bytes 2-4/10");
    equal(await range.text(), "234");
    await rejects(TypeError, fetch(url, { method: "POST", body: "x" }));
    const request = new Request(url);
    URL.revokeObjectURL(url);
    equal(await (await fetch(request)).text(), "0123456789");
    await rejects(TypeError, fetch(url));
    await rejects(TypeError, fetch("about:blank"));
});

test("integrity_is_checked", async () => {
    const hello = "sha256-LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    equal(await (await fetch("data:,hello", { integrity: hello })).text(), "hello");
    await rejects(TypeError, fetch("data:,hellO", { integrity: hello }));
    await rejects(TypeError, fetch(`${app}/echo`, { integrity: hello }));
    equal(await (await fetch("data:,hello", { integrity: `${hello} sha512-x md5-y` }).catch((e) => e.message)), "cannot fetch data:,hello: it is not what its integrity says");
    equal(await (await fetch("data:,hello", { integrity: "md5-y" })).text(), "hello");
});

test("keepalive_is_for_small_bodies", async () => {
    equal((await fetch(`${app}/echo`, { method: "POST", body: "x", keepalive: true })).status, 200);
    await rejects(TypeError, fetch(`${app}/echo`, { method: "POST", body: "x".repeat(70000), keepalive: true }));
});

test("scripts_come_from_where_they_may", async () => {
    importScripts("data:text/javascript,self.fromData=1");
    equal(self.fromData, 1);
    const url = URL.createObjectURL(new Blob(["self.fromBlob = 2"]));
    importScripts(url);
    equal(self.fromBlob, 2);
    URL.revokeObjectURL(url);
    throws("NetworkError", () => importScripts(url));
    if (!fromWeb) {
        throws("NetworkError", () => importScripts(`${app}/imported.js`));
        return;
    }
    importScripts("../imported.js", `${other}/imported.js`, `${app}/redirect?302&/imported.js`);
    equal(self.imported, 3);
    throws("NetworkError", () => importScripts("/plain.js"));
    throws("NetworkError", () => importScripts("/missing.js"));
    throws("NetworkError", () => importScripts("file:///etc/passwd"));
});

go();
