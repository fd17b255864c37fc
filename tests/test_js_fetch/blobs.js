// as: file
importScripts("support.js");

test("a_blob_is_the_sum_of_its_parts", async () => {
    const blob = new Blob(["a\r\nb", new Uint8Array([99]), new Blob(["d"]), new Uint16Array([0x4545]).buffer, 5],
        { type: "Text/Plain" });
    equal(blob.size, 9);
    equal(blob.type, "text/plain");
    equal(await blob.text(), "a\r\nbcdEE5");
    equal(await new Blob(["a\r\nb\rc\n"], { endings: "native" }).text(), "a\nb\nc\n");
    equal(new Blob([], { type: "é" }).type, "");
    equal(new Blob().size, 0);
    same([...await blob.bytes()], [...new Uint8Array(await blob.arrayBuffer())]);
    throws(TypeError, () => new Blob("text"));
    throws(TypeError, () => new Blob([], 5));
    throws(TypeError, () => new Blob([], { endings: "x" }));
    throws(TypeError, () => Blob([]));
    equal(String(blob), "[object Blob]");
});

test("a_slice_is_a_part_of_it", async () => {
    const blob = new Blob(["0123456789"]);
    const slice = async (...given) => (await blob.slice(...given).text());
    equal(await slice(), "0123456789");
    equal(await slice(3), "3456789");
    equal(await slice(-3), "789");
    equal(await slice(2, -2), "234567");
    equal(await slice(5, 2), "");
    equal(await slice(0, 100), "0123456789");
    equal(blob.slice(0, 1, "X/Y").type, "x/y");
});

test("a_blobs_stream_has_its_bytes", async () => {
    const pieces = [];
    for await (const piece of new Blob(["hello"]).stream()) pieces.push(...piece);
    equal(String.fromCharCode(...pieces), "hello");
    equal(await new Response(new Blob(["x"], { type: "a/b" })).text(), "x");
    equal(new Response(new Blob(["x"], { type: "a/b" })).headers.get("content-type"), "a/b");
    equal(new Response(new Blob(["x"])).headers.get("content-type"), null);
});

test("a_file_has_a_name_and_a_time", () => {
    const file = new File(["x"], "a/b:é", { lastModified: 12.7, type: "t/u" });
    equal(file.name, "a/b:é");
    equal(file.lastModified, 12);
    ok(file instanceof Blob);
    ok(Math.abs(new File([], "").lastModified - Date.now()) < 10000);
    throws(TypeError, () => new File([]));
});

test("a_form_is_a_list_of_names_and_values", () => {
    const form = new FormData();
    form.append("a", 1);
    form.append("b", new Blob(["x"], { type: "t/u" }));
    form.append("a", "2");
    form.append("c", new Blob(["x"]), "name");
    same(form.getAll("a"), ["1", "2"]);
    equal(form.get("b").name, "blob");
    equal(form.get("b").type, "t/u");
    equal(form.get("c").name, "name");
    equal(form.get("nothing"), null);
    form.set("a", "3");
    same([...form.keys()], ["a", "b", "c"]);
    form.delete("b");
    ok(!form.has("b"));
    form.append("s", "\ud800");
    equal(form.get("s"), "\ufffd");
    throws(TypeError, () => form.append("x", "text", "name"));
    throws(TypeError, () => new FormData({}));
});

test("a_form_survives_the_way_there_and_back", async () => {
    const form = new FormData();
    form.append('na"me\n', "line\nline\r\n");
    form.append("file", new File(["a\r\n--x\r\n", new Uint8Array([0, 255])], 'f"1.bin', { type: "x/y" }));
    form.append("empty", "");
    form.append("none", new File([], "", { type: "" }));
    const back = await new Response(form).formData();
    same([...back.keys()], ['na"me\r\n', "file", "empty", "none"]);
    equal(back.get('na"me\r\n'), "line\r\nline\r\n");
    equal(back.get("file").name, 'f"1.bin');
    equal(back.get("file").type, "x/y");
    same([...await back.get("file").bytes()], [97, 13, 10, 45, 45, 120, 13, 10, 0, 255]);
    equal(back.get("empty"), "");
    equal(back.get("none").size, 0);
    const request = new Request("http://a.test/", { method: "POST", body: form });
    ok(request.headers.get("content-type").startsWith("multipart/form-data; boundary="));
    equal((await request.formData()).get("empty"), "");
});

test("what_is_no_form_is_refused", async () => {
    const read = (text, type) => new Response(text, { headers: { "content-type": type } }).formData();
    const multipart = "multipart/form-data; boundary=x";
    await rejects(TypeError, read("", multipart));
    await rejects(TypeError, read("--x\r\nContent-Disposition: form-data; name=a\r\n\r\nabc", multipart));
    await rejects(TypeError, read("--x\r\nContent-Type: a\r\n\r\nabc\r\n--x--", multipart));
    await rejects(TypeError, read("a", "multipart/form-data"));
    await rejects(TypeError, read("a", "text/plain"));
    equal([...await read("--x--\r\n", multipart)].length, 0);
    equal((await read("--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--x--", multipart)).get("a"), "");
    equal((await read("\r\n--x\r\nCONTENT-DISPOSITION: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n", multipart)).get("a"), "b");
    equal((await read("a=b&c", "application/x-www-form-urlencoded;charset=x")).get("c"), "");
});

test("types_are_read_as_the_standard_says", async () => {
    const typeOf = async (value) => (await new Response("", { headers: { "content-type": value } }).blob()).type;
    equal(await typeOf("TEXT/HTML; Charset=\"utf-8\"; x=\"a b\""), 'text/html;charset=utf-8;x="a b"');
    equal(await typeOf("nonsense"), "");
    equal(await typeOf("a/b, c/d"), "c/d");
    equal(await typeOf("text/html;charset=x, text/html"), "text/html;charset=x");
    equal((await new Response("").blob()).type, "text/plain;charset=utf-8");
});

test("a_reader_reads_in_four_shapes_and_tells", async () => {
    const read = (method, ...given) => new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.onerror = reject;
        reader[method](...given);
    });
    const blob = new Blob([new Uint8Array([104, 195, 169])], { type: "text/plain;charset=iso-8859-1" });
    equal(await read("readAsText", blob), "hÃ©");
    equal(await read("readAsText", blob, "utf-8"), "hé");
    equal(await read("readAsDataURL", blob), "data:text/plain;charset=iso-8859-1;base64,aMOp");
    equal(await read("readAsBinaryString", blob), "h\xc3\xa9");
    equal((await read("readAsArrayBuffer", blob)).byteLength, 3);
    const told = [];
    const reader = new FileReader();
    const types = ["loadstart", "progress", "load", "loadend", "abort"];
    for (const type of types) reader.addEventListener(type, (event) => told.push(`${event.type} ${event.loaded}`));
    reader.readAsText(blob);
    throws("InvalidStateError", () => reader.readAsText(blob));
    equal(reader.readyState, FileReader.LOADING);
    await new Promise((resolve) => reader.addEventListener("loadend", resolve));
    same(told, ["loadstart 0", "progress 3", "load 3", "loadend 3"]);
    reader.readAsText(blob);
    reader.abort();
    same(told.slice(4), ["abort 0", "loadend 0"]);
    equal(reader.result, null);
    equal(new FileReaderSync().readAsText(blob), "hÃ©");
    throws(TypeError, () => new FileReaderSync().readAsText("x"));
});

test("a_blob_url_is_there_until_it_is_revoked", async () => {
    const url = URL.createObjectURL(new Blob(["x"]));
    equal(await (await fetch(`${url}#part`)).text(), "x");
    URL.revokeObjectURL(`${url}#part`);
    equal(await (await fetch(url)).text(), "x");
    URL.revokeObjectURL(url);
    await rejects(TypeError, fetch(url));
    throws(TypeError, () => URL.createObjectURL("x"));
    throws(TypeError, () => URL.createObjectURL());
});

test("a_blob_can_be_told_as_a_plain_value", async () => {
    equal(typeof Blob, "function");
    equal(typeof File, "function");
    equal(File.length, 2);
    equal(Blob.length, 0);
    equal(Object.keys(Blob.prototype).sort().join(), "arrayBuffer,bytes,size,slice,stream,text,type");
});

test("patterns_match_urls", () => {
    const pattern = new URLPattern({ pathname: "/books/:id(\\d+)" });
    ok(pattern.test("http://a.test/books/12"));
    ok(!pattern.test("http://a.test/books/x"));
    equal(pattern.exec("http://a.test/books/12").pathname.groups.id, "12");
    equal(new URLPattern("/x/*", "http://a.test").exec("http://a.test/x/y").pathname.groups[0], "y");
    equal(URLPattern.name, "URLPattern");
    throws(TypeError, () => new URLPattern({ pathname: "(" }));
});

go();
