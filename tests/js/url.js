"use strict";
test("a_plain_URL_is_taken_apart_without_the_parser", () => {
    const url = new URL("https://example.com:8080/a/b.html?x=1&y=%20#top");
    equal(url.href, "https://example.com:8080/a/b.html?x=1&y=%20#top");
    equal(url.protocol, "https:");
    equal(url.host, "example.com:8080");
    equal(url.hostname, "example.com");
    equal(url.port, "8080");
    equal(url.pathname, "/a/b.html");
    equal(url.search, "?x=1&y=%20");
    equal(url.hash, "#top");
    equal(url.origin, "https://example.com:8080");
    equal(url.username + url.password, "");
    equal(JSON.stringify({ url }), `{"url":"${url.href}"}`);
    equal(new URL("http://a:80").href, "http://a/");
    equal(new URL("https://a:443/").origin, "https://a");
    equal(new URL("http://127.0.0.1:8080/x").host, "127.0.0.1:8080");
    equal(new URL("/p?q", "http://a.b/c/d#e").href, "http://a.b/p?q");
    equal(new URL("http://a/?#").href, "http://a/?#");
    equal(new URL("http://a/?#").search + new URL("http://a/?#").hash, "");
    ok(!native.loaded.includes("url_parser"));
});

/* Pairs of a text and what becomes of it: everything that is nearly plain. */
test("what_is_not_in_its_final_form_is_parsed", () => {
    const pairs = {
        "HTTP://EXAMPLE.com/": "http://example.com/",
        " http://a/ ": "http://a/",
        "http://a/b/../c/./d": "http://a/c/d",
        "http://a/b/%2e%2E/c": "http://a/c",
        "http://a/..": "http://a/",
        "http://a/.well-known/x": "http://a/.well-known/x",
        "http://a\\b": "http://a/b",
        "http://a/ b?c d#e f": "http://a/%20b?c%20d#e%20f",
        "http://a/?'": "http://a/?%27",
        "http://a/{}^": "http://a/%7B%7D%5E",
        "http://0x7f.1/": "http://127.0.0.1/",
        "http://1.2.3": "http://1.2.0.3/",
        "http://010.0.0.1/": "http://8.0.0.1/",
        "http://a:0080/": "http://a/",
        "http://[::0:1]/": "http://[::1]/",
        "http://user:pa%20ss@a/": "http://user:pa%20ss@a/",
        "http://\u00e4.de/": "http://xn--4ca.de/",
        "http:a": "http://a/",
        "mailto:a@b.c": "mailto:a@b.c",
        "data:,a b": "data:,a b",
        "blob:https://a/b": "blob:https://a/b",
        "file:///C|/x": "file:///C:/x",
    };
    for (const [input, expected] of Object.entries(pairs)) {
        equal(new URL(input).href, expected, input);
    }
    for (const wrong of ["", "a", "//a", "http://", "http://a:65536/", "http://a b/", "http://%/",
        "http://256.0.0.1/", "http://[1/", "http://a:b/"]) {
        throws(TypeError, () => new URL(wrong), wrong);
        equal(URL.canParse(wrong), false, wrong);
        equal(URL.parse(wrong), null, wrong);
    }
    equal(new URL("blob:https://a/b").origin, "https://a");
    equal(new URL("data:,").origin, "null");
});

test("relative_URLs_need_a_good_base", () => {
    equal(new URL("x", "http://a/b/c").href, "http://a/b/x");
    equal(new URL("../x", "http://a/b/c").href, "http://a/x");
    equal(new URL("/a/../x", "http://a/b/c").href, "http://a/x");
    equal(new URL("//c/d", "http://a/b").href, "http://c/d");
    equal(new URL("?q", "http://a/b").href, "http://a/b?q");
    equal(new URL("http://c/", "mailto:x").href, "http://c/");
    throws(TypeError, () => new URL("http://c/", "nonsense"));
    throws(TypeError, () => new URL("x", "mailto:x"));
    equal(URL.parse("x", "http://a/").href, "http://a/x");
    ok(URL.canParse("x", "http://a/"));
});

test("setters_change_one_part_and_refuse_nonsense", () => {
    const url = new URL("http://a/b?c#d");
    url.protocol = "https";
    url.host = "x.y:81";
    url.pathname = "p q";
    url.search = "s t";
    url.hash = "h";
    url.username = "u:";
    url.password = "p";
    equal(url.href, "https://u%3A:p@x.y:81/p%20q?s%20t#h");
    equal(url.origin, "https://x.y:81");
    url.port = "";
    url.hostname = "z";
    url.search = "";
    url.hash = "";
    equal(url.href, "https://u%3A:p@z/p%20q");
    url.port = "99999";
    url.protocol = "mailto:";
    url.host = "";
    equal(url.href, "https://u%3A:p@z/p%20q");
    url.href = "http://new/";
    equal(url.host, "new");
    throws(TypeError, () => {
        url.href = "nonsense";
    });
    equal(url.href, "http://new/");
});

test("searchParams_and_the_URL_follow_each_other", () => {
    const url = new URL("http://a/?x=1#f");
    const params = url.searchParams;
    equal(url.searchParams, params);
    params.append("y", "a b&\u00e4'");
    equal(url.href, "http://a/?x=1&y=a+b%26%C3%A4%27#f");
    params.delete("x");
    params.delete("y");
    equal(url.href, "http://a/#f");
    url.search = "?z=3";
    equal(params.get("z"), "3");
    url.href = "http://b/?w=4";
    equal(params.toString(), "w=4");
});

test("URLSearchParams_reads_all_that_it_may_be_made_from", () => {
    const list = (init) => [...new URLSearchParams(init)];
    same(list("?a=1&b=%20+&&c&=d&a=%zz%"), [["a", "1"], ["b", "  "], ["c", ""], ["", "d"],
        ["a", "%zz%"]]);
    same(list("a=%ff%c3%a4"), [["a", "\ufffd\u00e4"]]);
    same(list("a=%EF%BB%BFb"), [["a", "\ufeffb"]]);
    same(list({ a: 1, b: undefined }), [["a", "1"], ["b", "undefined"]]);
    same(list([["a", 1], new Set(["b", 2])]), [["a", "1"], ["b", "2"]]);
    same(list(new URLSearchParams("x=y")), [["x", "y"]]);
    same(list("a=\ud800"), [["a", "\ufffd"]]);
    throws(TypeError, () => list([["a"]]));
    throws(TypeError, () => list([1]));
    throws(TypeError, () => list({ [Symbol.iterator]: 1 }));
    equal(new URLSearchParams().size, 0);
});

test("URLSearchParams_edits_like_a_list", () => {
    const params = new URLSearchParams("b=1&a=2&b=3&c=4");
    same(params.getAll("b"), ["1", "3"]);
    ok(params.has("b", "3") && !params.has("b", "4"));
    params.set("b", 9);
    equal(params.toString(), "b=9&a=2&c=4");
    params.append("a", "1");
    params.sort();
    equal(params.toString(), "a=2&a=1&b=9&c=4");
    params.delete("a", "2");
    equal(`${params}`, "a=1&b=9&c=4");
    const seen = [];
    for (const [key] of params) {
        seen.push(key);
        if (key === "a") {
            params.delete("a");
        }
    }
    same(seen, ["a", "c"]);
    same([...params.keys()], ["b", "c"]);
    same([...params.values()], ["9", "4"]);
    const gathered = [];
    params.forEach(function (value, key, all) {
        gathered.push(key + value, all === params, this.me);
    }, { me: 1 });
    same(gathered, ["b9", true, 1, "c4", true, 1]);
    equal(new URLSearchParams([["~*-._ !'()", "\u{1f600}"]]).toString(),
        "%7E*-._+%21%27%28%29=%F0%9F%98%80");
    equal(Object.prototype.toString.call(params.entries()), "[object URLSearchParams Iterator]");
});
