// as: web
importScripts("support.js");
const [app, other] = muster.args;

test("another_origin_must_allow_it", async () => {
    await rejects(TypeError, fetch(`${other}/echo`));
    const response = await fetch(`${other}/open`);
    equal(response.type, "cors");
    equal(response.headers.get("x-shown"), "1");
    equal(response.headers.get("x-hidden"), null);
    equal(await response.text(), `GET ${app} `);
    await rejects(TypeError, fetch(`${other}/open`, { mode: "same-origin" }));
    await rejects(TypeError, fetch(`${other}/open`, { credentials: "include" }));
    equal((await fetch(`${other}/named`, { credentials: "include" })).status, 200);
});

test("an_opaque_answer_says_nothing", async () => {
    const response = await fetch(`${other}/echo`, { mode: "no-cors" });
    equal(response.type, "opaque");
    equal(response.status, 0);
    equal(response.url, "");
    equal(response.body, null);
    equal([...response.headers].length, 0);
    equal(await response.text(), "");
    equal(response.clone().type, "opaque");
    await rejects(TypeError, fetch(`${other}/echo`, { mode: "no-cors", redirect: "manual" }));
    throws(TypeError, () => new Request(`${other}/echo`, { mode: "no-cors", method: "PUT" }));
});

test("what_is_not_simple_is_asked_for_first", async () => {
    equal(await (await fetch(`${other}/open`, { method: "PUT", body: "b" })).text(), `PUT ${app} b`);
    equal(await (await fetch(`${other}/open`, { headers: { "x-asked": "1" } })).text(), `GET ${app} `);
    await rejects(TypeError, fetch(`${other}/open`, { method: "DELETE" }));
    await rejects(TypeError, fetch(`${other}/open`, { headers: { "x-other": "1" } }));
    await rejects(TypeError, fetch(`${other}/echo`, { headers: { "x-asked": "1" } }));
});

test("a_redirect_to_another_origin_is_a_question_of_its_own", async () => {
    const response = await fetch(`${app}/redirect?302&${other}/open`);
    equal(response.type, "cors");
    equal(response.redirected, true);
    equal(await response.text(), `GET ${app} `);
    await rejects(TypeError, fetch(`${app}/redirect?302&${other}/echo`));
    await rejects(TypeError, fetch(`${app}/redirect?302&${other}/open`, { mode: "same-origin" }));
    equal(await (await fetch(`${other}/redirect?302&${app}/open`)).text(), "GET null ");
});

test("a_post_says_its_origin", async () => {
    const text = await (await fetch(`${app}/echo`, { method: "POST", body: "" })).text();
    ok(text.includes(`\norigin: ${app}\n`), text);
});

test("referrers_are_as_their_policy_says", async () => {
    const refer = async (init) => /\nreferer: (.*)\n/.exec(await (await fetch(`${app}/echo`, init)).text())?.[1];
    equal(await refer({ referrerPolicy: "no-referrer" }), undefined);
    equal(await refer({ referrerPolicy: "origin" }), `${app}/`);
    equal(await refer({ referrer: "" }), undefined);
    equal(await refer({ referrer: "/page?q#h" }), `${app}/page?q`);
    equal(await refer({ referrer: `${other}/page` }), location.href);
});

test("data_urls_are_of_every_origin", async () => {
    equal((await fetch("data:,x")).type, "basic");
    equal((await fetch("data:,x", { mode: "same-origin" })).type, "basic");
});

go();
