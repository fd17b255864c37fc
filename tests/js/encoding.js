"use strict";
const bytes = (...list) => Uint8Array.from(list);
const text = "h\u00e9 \u20ac \u{1f600}";
const utf8 = bytes(0x68, 0xc3, 0xa9, 0x20, 0xe2, 0x82, 0xac, 0x20, 0xf0, 0x9f, 0x98, 0x80);

test("text_goes_to_utf8_and_back", () => {
    same(new TextEncoder().encode(text), utf8);
    same(new TextEncoder().encode(), []);
    same(new TextEncoder().encode("a\ud800b"), [0x61, 0xef, 0xbf, 0xbd, 0x62]);
    equal(new TextDecoder().decode(utf8), text);
    equal(new TextDecoder().decode(utf8.buffer), text);
    equal(new TextDecoder().decode(new DataView(utf8.buffer, 1, 2)), "\u00e9");
    equal(new TextDecoder().decode(), "");
    equal(new TextEncoder().encoding, "utf-8");
});

test("a_buffer_that_was_decoded_can_be_transferred", () => {
    for (const size of [0, 3, 4096, 4097, 100000]) {
        const array = new Uint8Array(size).fill(0x61);
        const decoder = new TextDecoder();
        equal(decoder.decode(array), "a".repeat(size));
        equal(decoder.decode(array.subarray(1), { stream: true }), "a".repeat(Math.max(size - 1, 0)));
        const { buffer } = array;
        equal(buffer.transfer().byteLength, size);
        ok(buffer.detached);
        equal(array.length, 0);
        equal(decoder.decode(array), "");
    }
});

test("encodeInto_stops_before_a_character_that_does_not_fit", () => {
    const encoder = new TextEncoder();
    for (let size = 0; size <= utf8.length + 2; size++) {
        const target = new Uint8Array(size);
        const { read, written } = encoder.encodeInto(text, target);
        const whole = [0, 1, 3, 4, 7, 8, 12].filter((end) => end <= size).at(-1);
        equal(written, whole, `size ${size}`);
        same(target.subarray(0, written), utf8.subarray(0, whole));
        equal(read, new TextDecoder().decode(utf8.subarray(0, whole)).length);
    }
    same(encoder.encodeInto("\udc00", new Uint8Array(3)), { read: 1, written: 3 });
    throws(TypeError, () => encoder.encodeInto("a", new Uint16Array(2)));
    throws(TypeError, () => encoder.encodeInto("a"));
});

test("a_character_split_between_chunks_comes_out_whole", () => {
    for (let cut = 0; cut <= utf8.length; cut++) {
        for (let second = cut; second <= utf8.length; second++) {
            const decoder = new TextDecoder("utf-8", { fatal: true });
            const got = decoder.decode(utf8.slice(0, cut), { stream: true })
                + decoder.decode(utf8.slice(cut, second), { stream: true })
                + decoder.decode(utf8.slice(second));
            equal(got, text, `cut at ${cut} and ${second}`);
        }
    }
});

test("what_cannot_become_a_character_is_replaced_at_once", () => {
    const decoder = new TextDecoder();
    equal(decoder.decode(bytes(0xe0, 0x80), { stream: true }), "\ufffd\ufffd");
    equal(decoder.decode(bytes(0xf4, 0x90), { stream: true }), "\ufffd\ufffd");
    equal(decoder.decode(bytes(0xed, 0xa0), { stream: true }), "\ufffd\ufffd");
    equal(decoder.decode(bytes(0xe2, 0x82), { stream: true }), "");
    equal(decoder.decode(), "\ufffd");
    equal(decoder.decode(bytes(0x61)), "a");
    throws(TypeError, () => new TextDecoder("utf-8", { fatal: true }).decode(bytes(0xff)));
});

test("only_the_first_byte_order_mark_of_a_stream_is_dropped", () => {
    const mark = bytes(0xef, 0xbb, 0xbf);
    equal(new TextDecoder().decode(bytes(...mark, 0x61)), "a");
    equal(new TextDecoder("utf-8", { ignoreBOM: true }).decode(mark), "\ufeff");
    equal(new TextDecoder().decode(bytes(...mark, ...mark)), "\ufeff");
    const decoder = new TextDecoder();
    equal(decoder.decode(bytes(0xef), { stream: true }), "");
    equal(decoder.decode(bytes(0xbb, 0xbf), { stream: true }), "");
    equal(decoder.decode(mark, { stream: true }), "\ufeff");
    equal(decoder.decode(), "");
    equal(decoder.decode(mark), "");
});

test("utf8_alone_loads_no_other_encoding", () => {
    equal(new TextDecoder(" UTF8\n").encoding, "utf-8");
    equal(new TextDecoder("unicode-1-1-utf-8").decode(bytes(0x61)), "a");
    ok(!native.loaded.includes("legacy_encodings"));
});

test("older_encodings_are_known_by_all_their_labels", () => {
    equal(new TextDecoder("latin1").encoding, "windows-1252");
    equal(new TextDecoder("ISO-8859-1").decode(bytes(0x80, 0xe9)), "\u20ac\u00e9");
    equal(new TextDecoder("koi8-r").decode(bytes(0xc1)), "\u0430");
    ok(!native.loaded.includes("multibyte_encodings"));
    equal(new TextDecoder("Shift_JIS").decode(bytes(0x82, 0xa0)), "\u3042");
    equal(new TextDecoder("gbk").decode(bytes(0xc4, 0xe3)), "\u4f60");
    const utf16 = new TextDecoder("utf-16le");
    equal(utf16.decode(bytes(0x3d), { stream: true }), "");
    equal(utf16.decode(bytes(0xd8, 0x00, 0xde)), "\u{1f600}");
    throws(RangeError, () => new TextDecoder("no-such"));
    throws(RangeError, () => new TextDecoder("replacement"));
    throws(TypeError, () => new TextDecoder("latin1", { fatal: true }).decode("text"));
});

test("base64_is_forgiving_about_space_and_padding_only", () => {
    equal(btoa(""), "");
    equal(btoa("\xff\x00a"), "/wBh");
    throws("InvalidCharacterError", () => btoa("\u0100"));
    throws(TypeError, () => btoa());
    equal(atob(" /w\tBh\n"), "\xff\x00a");
    equal(atob("YQ"), "a");
    equal(atob("YQ=="), "a");
    equal(atob("YR=="), "a");
    for (const wrong of ["Y", "YQ=", "YQ===", "Y=Q=", "====", "Y-", "YQ\u00a0"]) {
        throws("InvalidCharacterError", () => atob(wrong), wrong);
    }
    let all = "";
    for (let i = 0; i < 20000; i++) {
        all += String.fromCharCode(i & 255);
    }
    equal(atob(btoa(all)), all);
    equal(btoa.name + atob.name + TextDecoder.name, "btoaatobTextDecoder");
});

test("streams_of_text_keep_split_characters", async () => {
    const through = async (transform, chunks) => {
        const writer = transform.writable.getWriter();
        const writing = Promise.all(chunks.map((chunk) => writer.write(chunk))
            .concat(writer.close()));
        const result = [];
        for await (const chunk of transform.readable) {
            result.push(chunk);
        }
        await writing;
        return result;
    };
    const decoded = await through(new TextDecoderStream(), [utf8.slice(0, 2), utf8.slice(2, 9),
        utf8.slice(9)]);
    equal(decoded.join(""), text);
    const encoded = await through(new TextEncoderStream(), ["\ud83d", "\ude00", "\ud83d"]);
    same(encoded.flatMap((chunk) => [...chunk]), [0xf0, 0x9f, 0x98, 0x80, 0xef, 0xbf, 0xbd]);
    await rejects(TypeError, through(new TextDecoderStream(), ["text"]));
});
