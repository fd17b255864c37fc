#!/usr/bin/env python3
"""tests/fuzz_seeds.py NAME FOLDER - writes what a fuzz target begins with, in the form that it reads.

For the codecs of structured clone every vector, behind the byte that says how much lies beside it; for wire and
link the samples of tests/wire_samples.h, as they are and with their lengths, counts and kinds bent; for the others a
few documents, maps and conversations that are right, and some that nearly are.  Made anew each time, always the same."""
import json
import os
import struct
import sys

SAMPLES = 64  # as many as tests/wire_samples.h may have
HEADER = 24  # bytes before a frame's payload


def of_clone():
    with open(os.path.join(os.path.dirname(__file__), "clone_vectors.json"), encoding="utf-8") as file:
        vectors = json.load(file)["vectors"]
    for vector in vectors:
        if "hex" in vector:
            beside = min(len(vector.get("buffers", [])), 3) + 4 * min(vector.get("hosts", 0), 3)
            yield bytes([beside]) + bytes.fromhex(vector["hex"].replace(" ", ""))


def put(place, *values):
    """Bytes to be replaced from a place on: {u16 place, u8 value}..."""
    return b"".join(struct.pack("<HB", place + i, value) for i, value in enumerate(values))


def bends():
    yield b""
    for place in range(0, HEADER + 16, 4):
        for values in (0, 0, 0, 0), (255, 255, 255, 255), (0, 0, 0, 128), (1, 0, 1, 0):
            yield put(place, *values)


def of_wire():
    for which in range(SAMPLES):
        for bend in bends():
            yield bytes([128, which]) + bend
    for side in range(4):  # parent, child; each also with its length put right
        yield bytes([side]) + bytes(HEADER)
        yield bytes([side]) + struct.pack("<I", HEADER) + bytes(range(HEADER - 4))


def of_link():
    for pieces in 0x00, 0x01, 0x7f, 0x80, 0x81, 0xff:  # how it is cut, and whether parts are taken over
        yield bytes([pieces, 0])
        yield bytes([pieces, 1]) + struct.pack("<I", 1 << 30) + bytes(HEADER)
        yield bytes([pieces, 1]) + struct.pack("<I", HEADER) + bytes(HEADER)
        for place in range(0, 4096, 64):
            yield bytes([pieces, 0]) + put(place, 255, 255, 255, 255)


def of_json():
    for text in ("null", "true", "-0.0", "1e308", "1e999", "12345678901234567890", '""', '"\\u0000\\ud83d\\ude00\\n"', '"\\ud800"',
                 '"\xe9\U0001f600"', "[]", "{}", '{"a":{"b":[1,2,{"c":null}]},"a":2}', '[1,2', '{"a":}', "[" * 3000, "nul", "\ufeff1"):
        yield text.encode("utf-8", "surrogatepass")
    yield b'"\xff\xc0\x80"'


def of_source_map():
    yield json.dumps({"version": 3, "sources": ["a.ts", "b.ts"], "sourceRoot": "src", "names": ["f", "g"],
                      "mappings": "AAAAA,CAAC;ACAAC,IAAI;;EAAEA,gBAAgB"}).encode()
    yield json.dumps({"version": 3, "sections": [{"offset": {"line": 0, "column": 0},
                                                  "map": {"version": 3, "sources": ["a"], "mappings": "AAAA"}}]}).encode()
    yield json.dumps({"version": 2, "sources": [], "mappings": ""}).encode()
    for mappings in "AAAA", "AAAA,CAAC;ACAA;;;DADA", "A,C,E,G", ";;;;", "gggggggggggggC", "AAAAAAAA", "+/+/", "AAAA,,,,AAAA", "/":
        yield mappings.encode()


def talk(*steps):
    """A row of steps: text is fed, a pair is what happens next."""
    out = b""
    for step in steps:
        if isinstance(step, tuple):
            out += bytes(step)
        else:
            data = step.replace("\n", "\r\n").encode("latin-1")
            out += bytes([10 + len(data) // 256, len(data) % 256]) + data
    return out


def of_http_connection():
    answer, write, read, body, close, later, gone, drain = (0, 1), (1, 255), (2, 63), (3, 10), (4, 0), (6, 100), (8, 255), (9, 255)
    get = "GET /a?b=c HTTP/1.1\nHost: x\n\n"
    post = "POST / HTTP/1.1\nHost: x\nContent-Length: 5\n\nhello"
    chunked = "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nhello\n3;x=y\nabc\n0\n\n"
    yield talk(get, answer, write)
    yield talk(get + get + get + get, answer, write, answer, write, answer, write)
    yield talk(post, read, answer, write)
    yield talk(chunked, read, answer, write)
    yield talk(get, (0, 3), body, write, body, write, close, write)
    yield talk("GET http://x/ HTTP/1.0\n\n", answer, write, gone)
    yield talk("HEAD / HTTP/1.1\nHost: x\nConnection: close\n\n", (0, 5), write)
    yield talk("POST / HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 90\n\n", write, "a" * 90, read, answer, write)
    yield talk("GET / HTTP/1.1\n", later, write)
    yield talk(get, drain, answer, write)
    for head in ("GET / HTTP/1.1\n\n", "GET / HTTP/1.1\nHost: x\nHost: y\n\n", "GET  / HTTP/1.1\nHost: x\n\n", "GET / HTTP/2.0\n\n",
                 "POST / HTTP/1.1\nHost: x\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", "GET / HTTP/1.1\nHost: x\n folded: y\n\n",
                 "POST / HTTP/1.1\nHost: x\nContent-Length: 99999999999999999999\n\n", "GET / HTTP/1.1\nHost: x\nA: " + "b" * 600 + "\n\n",
                 "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nffffffffffffffff1\n"):
        yield talk(head, write, gone)


def of_control():
    known = {"scope": "/a/", "type": "push", "data": {"a": [1, None, "\u00e9"]}, "timeout_ms": 5000, "script": "/a/b.js",
             "engine": "lua", "tenant": "t", "module": True, "lazy": False, "trust": "none", "isolation": "process-per-site",
             "running": True, "follow": True, "level": "debug", "lines": 10}
    takes = {"ps": "scope running", "send": "scope type data timeout_ms", "update": "scope", "unregister": "scope", "stop": "scope",
             "register": "scope script engine tenant module lazy trust isolation", "logs": "follow level lines", "stats": ""}
    for request, keys in takes.items():
        whole = {"request": request, **{key: known[key] for key in keys.split()}}
        yield json.dumps(whole).encode()
        yield json.dumps({"request": request}).encode()
        yield json.dumps({**whole, **{key: None for key in keys.split()}}).encode()
        for key in keys.split():
            for wrong in "", "x" * 70000, "\u0000", -1, 1e13, 0.5, [], {}:
                yield json.dumps({**whole, key: wrong}).encode()
    yield b'{"request":"ps","scope":"/a","scope":5}'


def of_http_client():
    for flags in range(0, 128, 9):
        for text in ("HTTP/1.1 200 OK\nContent-Length: 5\nA: b\nA:  c \n\nhello", "HTTP/1.1 301 Moved\nLocation: /x\nContent-Length: 0\n\n",
                     "HTTP/1.1 100 Continue\n\nHTTP/1.1 200\nTransfer-Encoding: chunked\n\n3\nabc\n0\nTrailer: x\n\n",
                     "HTTP/1.0 200 OK\n\n" + "x" * 500, "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 4\n\n\x1f\x8b\x08\x00",
                     "HTTP/1.1 204 No\n folded: y\n: z\n\n", "HTTP/2 200\n\n", "HTTP/1.1 999 \nContent-Length: -1\n\n", "hello"):
            yield bytes([flags, 20]) + text.replace("\n", "\r\n").encode("latin-1")


def of_url_loader():
    for text in ("data:,x", "data:text/plain;base64,aGVsbG8=", "data:;charset=x;base64 ,a b%3D", "data:text/javascript,a%0", "DATA:a/b;base64,YQ%3d%3D#f",
                 "blob:null/1#x", "text/javascript; charset=x", "http://a:1/b/c?d#e\0../f?g", "https://[::1]/\0//x", "http://\u00e9.x/\0\\y"):
        yield text.encode()


def of_ring():
    """Calls, with each word of the header that means something bent in between."""
    calls = [(0, 0, 0x0800_0100), (2, 0, 0x0100_0040), (4, 0, 0), (6, 0, 0), (0, 0, 0x0FFF_0FFF), (2, 0, 0x0FFF_0FFF)]
    for word in (0, 1, 2, 16, 17, 32, 33, 48, 49, 64, 65):
        for value in (0, 1, 4096, 4097, 0x8000_0000, 0xFFFF_FFFF):
            yield b"".join(struct.pack("<BBI", *call) for call in [*calls, (1, word, value), *calls])


SEEDS = {"fuzz_clone": of_clone, "fuzz_clone_lua": of_clone, "fuzz_control": of_control, "fuzz_http_connection": of_http_connection, "fuzz_json": of_json,
         "fuzz_http_client": of_http_client, "fuzz_url_loader": of_url_loader,
         "fuzz_link": of_link, "fuzz_ring": of_ring, "fuzz_source_map": of_source_map, "fuzz_wire": of_wire}


def main():
    name, folder = sys.argv[1:]
    for i, seed in enumerate(SEEDS[name]() if name in SEEDS else ()):
        with open(os.path.join(folder, f"seed-{i}"), "wb") as file:
            file.write(seed)


main()
