#!/usr/bin/env python3
"""tests/clone_vectors.py FILE [--write] - checks the test vectors of structured clone.

A codec between the trees of docs/clone.md and bytes, small and slow, that shares nothing with the other three.  Every
tree must decode from its hex and, if canonical, encode to it; every refusal must be refused for its reason.
--write fills in the hex of canonical vectors from their trees, and sets the file's form: a vector on each line."""
import json
import math
import struct
import sys

MAX_DEPTH = 10000
MAX_RESERVED = 1 << 32
SHAPE_KEYS = 64
VIEWS = [("DataView", 1), ("Int8Array", 1), ("Uint8Array", 1), ("Uint8ClampedArray", 1), ("Int16Array", 2), ("Uint16Array", 2),
         ("Int32Array", 4), ("Uint32Array", 4), ("Float16Array", 2), ("Float32Array", 4), ("Float64Array", 8),
         ("BigInt64Array", 8), ("BigUint64Array", 8)]
ERRORS = ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "AggregateError"]
FLAGS = "dgimsuvy"
(UNDEFINED, NULL, FALSE, TRUE, INT16, INT32, FLOAT64, BIGINT, LATIN1, UTF16, REF, HOLE) = range(12)
(OBJECT, ARRAY, ARRAY_NAMED, ARRAY_SPARSE, MAP, SET, DATE, REGEXP, BOXED, ERROR, DOMEXCEPTION, BUFFER, BUFFER_RESIZABLE,
 BUFFER_SIDE, BUFFER_SIDE_RESIZABLE, VIEW, HOST, PLATFORM) = range(0x10, 0x22)


class Refused(Exception):
    pass


def number_text(number):
    """As JavaScript writes it, near enough: the shortest text that gives the same double."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    text = repr(number)
    return text[:-2] if text.endswith(".0") else text


def same_number(one, two):
    return struct.pack("<d", float(one)) == struct.pack("<d", float(two)) or (float(one) != float(one) and float(two) != float(two))


def text_node(units):
    text = struct.pack("<%dH" % len(units), *units)
    try:
        decoded = text.decode("utf-16-le")
    except UnicodeDecodeError:
        decoded = "\0"
    if "\0" in decoded:
        return ["str16", "".join("%04x" % unit for unit in units)]
    return ["str", decoded]


def units_of(node):
    if node[0] == "str16":
        return [int(node[1][i:i + 4], 16) for i in range(0, len(node[1]), 4)]
    data = node[1].encode("utf-16-le")
    return list(struct.unpack("<%dH" % (len(data) // 2), data))


def is_index_name(node):
    text = node[1] if node[0] == "str" else ""
    return text == "length" or (text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 2**32 - 1)


class Encoder:
    def __init__(self, side):
        self.out = bytearray([0xC1, 1])
        self.shapes = {}
        self.shape_count = 0
        self.side = side

    def varint(self, number):
        while number > 127:
            self.out.append(number & 127 | 128)
            number >>= 7
        self.out.append(number)

    def number(self, text):
        number = float(text)
        integer = int(number) if math.isfinite(number) and number == int(number) else None
        if integer is None or not -2**31 <= integer < 2**31 or (integer == 0 and math.copysign(1, number) < 0):
            self.out.append(FLOAT64)
            self.f64(number)
        elif -32 <= integer <= 95:
            self.out.append(0xA0 + integer)
        elif -32768 <= integer <= 32767:
            self.out += struct.pack("<Bh", INT16, integer)
        else:
            self.out += struct.pack("<Bi", INT32, integer)

    def f64(self, number):
        self.out += struct.pack("<d", math.nan if math.isnan(number) else number)

    def text(self, node):
        units = units_of(node)
        if any(unit > 255 for unit in units):
            self.out.append(UTF16)
            self.varint(len(units))
            self.out += struct.pack("<%dH" % len(units), *units)
            return
        if len(units) < 64:
            self.out.append(0x40 + len(units))
        else:
            self.out.append(LATIN1)
            self.varint(len(units))
        self.out += bytes(units)

    def keys(self, keys):
        block = Encoder(None)
        block.out = bytearray()
        block.varint(len(keys))
        for key in keys:
            units = units_of(key)
            wide = any(unit > 255 for unit in units)
            block.varint(len(units) * 2 + wide)
            block.out += struct.pack("<%dH" % len(units), *units) if wide else bytes(units)
        return bytes(block.out)

    def props(self, props):
        if not props:
            return self.varint(0)
        block = self.keys([key for key, _ in props])
        if block in self.shapes:
            self.varint(self.shapes[block] + 2)
        else:
            if len(props) <= SHAPE_KEYS:
                self.shapes[block] = self.shape_count
                self.shape_count += 1
            self.varint(1)
            self.varint(len(block))
            self.out += block
        for _, value in props:
            self.value(value)

    def value(self, node):
        getattr(self, "put_" + node[0])(*node[1:])

    def put_undefined(self):
        self.out.append(UNDEFINED)

    def put_null(self):
        self.out.append(NULL)

    def put_hole(self):
        self.out.append(HOLE)

    def put_bool(self, value):
        self.out.append(TRUE if value else FALSE)

    def put_num(self, text):
        self.number(text)

    def put_str(self, text):
        self.text(["str", text])

    def put_str16(self, text):
        self.text(["str16", text])

    def put_bigint(self, text):
        number = int(text, 16)
        size = (abs(number).bit_length() + 7) // 8
        self.out.append(BIGINT)
        self.varint(size * 2 + (number < 0))
        self.out += abs(number).to_bytes(size, "little")

    def put_ref(self, index):
        self.out.append(REF)
        self.varint(index)

    def put_object(self, props):
        self.out.append(OBJECT)
        self.props(props)

    def put_array(self, items, named):
        self.out.append(ARRAY_NAMED if named else ARRAY)
        self.varint(len(items))
        for item in items:
            self.value(item)
        if named:
            self.props(named)

    def put_sparse(self, length, items, named):
        self.out.append(ARRAY_SPARSE)
        self.varint(length)
        self.varint(len(items))
        for index, item in items:
            self.varint(index)
            self.value(item)
        self.props(named)

    def put_map(self, pairs):
        self.out.append(MAP)
        self.varint(len(pairs))
        for key, value in pairs:
            self.value(key)
            self.value(value)

    def put_set(self, items):
        self.out.append(SET)
        self.varint(len(items))
        for item in items:
            self.value(item)

    def put_date(self, text):
        self.out.append(DATE)
        self.f64(float(text))

    def put_regexp(self, source, flags, last_index):
        self.out += bytes([REGEXP, sum(1 << FLAGS.index(flag) for flag in flags)])
        self.text(source)
        self.number(last_index)

    def put_boxed(self, primitive):
        self.out.append(BOXED)
        self.value(primitive)

    def put_error(self, name, parts):
        bits = [part for part in ("message", "stack", "name", "cause", "errors", "extra")]
        self.out += bytes([ERROR, ERRORS.index(name), sum(1 << i for i, part in enumerate(bits) if part in parts)])
        for part in bits[:3]:
            if part in parts:
                self.text(parts[part])
        for part in bits[3:5]:
            if part in parts:
                self.value(parts[part])
        if "extra" in parts:
            self.props(parts["extra"])

    def put_domexception(self, parts):
        self.out += bytes([DOMEXCEPTION, ("stack" in parts) + 2 * ("quota" in parts)])
        for part in ("name", "message", "stack"):
            if part in parts:
                self.text(parts[part])
        if "quota" in parts:
            self.value(parts["quota"])
            self.value(parts["requested"])

    def put_buffer(self, text):
        self.out.append(BUFFER)
        self.varint(len(text) // 2)
        self.out += bytes.fromhex(text)

    def put_resizable(self, text, maximum):
        self.out.append(BUFFER_RESIZABLE)
        self.varint(len(text) // 2)
        self.varint(maximum)
        self.out += bytes.fromhex(text)

    def put_side(self, entry, length, maximum=None):
        self.out.append(BUFFER_SIDE if maximum is None else BUFFER_SIDE_RESIZABLE)
        self.varint(entry)
        self.varint(length)
        if maximum is not None:
            self.varint(maximum)

    put_side_resizable = put_side

    def put_view(self, kind, offset, length, buffer):
        self.out += bytes([VIEW, [name for name, _ in VIEWS].index(kind)])
        self.varint(offset)
        self.varint(length + 1)
        self.value(buffer)

    def put_host(self, entry):
        self.out.append(HOST)
        self.varint(entry)


class Decoder:
    def __init__(self, data, buffers, hosts):
        self.data, self.at = data, 0
        self.buffers, self.hosts = buffers, set(range(hosts))
        self.unused = set(range(len(buffers)))
        self.objects = []
        self.incomplete = set()
        self.shapes = []
        self.reserved = 0

    def need(self, size):
        if size > len(self.data) - self.at:
            raise Refused("truncated")

    def take(self, size):
        self.need(size)
        self.at += size
        return self.data[self.at - size:self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        number = 0
        for shift in range(0, 56, 7):
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                if (byte == 0 and shift > 0) or number > 2**53 - 1:
                    break
                return number
        raise Refused("varint")

    def f64(self):
        return struct.unpack("<d", self.take(8))[0]

    def message(self):
        if self.byte() != 0xC1:
            raise Refused("magic")
        if self.byte() != 1:
            raise Refused("version")
        tree = self.value(0)
        if self.at != len(self.data):
            raise Refused("trailing")
        return tree

    def text(self):
        tag = self.byte()
        if tag not in (LATIN1, UTF16) and not 0x40 <= tag < 0x80:
            raise Refused("tag")
        return self.text_of(tag)

    def text_of(self, tag):
        size = tag - 0x40 if tag >= 0x40 else self.varint()
        return text_node(self.units(size, tag == UTF16))

    def units(self, size, wide):
        self.need(size * 2 if wide else size)
        return list(struct.unpack("<%dH" % size, self.take(size * 2)) if wide else self.take(size))

    def number(self):
        tag = self.byte()
        if tag not in (INT16, INT32, FLOAT64) and tag < 0x80:
            raise Refused("tag")
        return self.number_of(tag)

    def number_of(self, tag):
        if tag >= 0x80:
            return number_text(float(tag - 0xA0))
        if tag == FLOAT64:
            return number_text(self.f64())
        return number_text(float(struct.unpack("<h", self.take(2))[0] if tag == INT16 else struct.unpack("<i", self.take(4))[0]))

    def bigint(self):
        head = self.varint()
        data = self.take(head >> 1)
        if (data and data[-1] == 0) or head == 1:
            raise Refused("bigint")
        number = int.from_bytes(data, "little")
        return ["bigint", ("-0x%x" if head & 1 else "0x%x") % number]

    def primitive(self, tag):
        if tag >= 0x80 or tag in (INT16, INT32, FLOAT64):
            return ["num", self.number_of(tag)]
        if 0x40 <= tag < 0x80 or tag in (LATIN1, UTF16):
            return self.text_of(tag)
        if tag == BIGINT:
            return self.bigint()
        if tag in (FALSE, TRUE):
            return ["bool", tag == TRUE]
        return None

    def value(self, depth, items=False):
        tag = self.byte()
        node = self.primitive(tag)
        if node is not None:
            return node
        if tag == UNDEFINED:
            return ["undefined"]
        if tag == NULL:
            return ["null"]
        if tag == HOLE and items:
            return ["hole"]
        if tag == REF:
            number = self.varint()
            if number >= len(self.objects) or number in self.incomplete:
                raise Refused("ref")
            return ["ref", number]
        if not OBJECT <= tag <= PLATFORM:
            raise Refused("tag")
        if depth == MAX_DEPTH:
            raise Refused("deep")
        return self.object(tag, depth + 1)

    def object(self, tag, depth):
        number = len(self.objects)
        self.objects.append(None)
        if tag == PLATFORM:
            self.incomplete.add(number)
        node = self.record(tag, depth)
        self.incomplete.discard(number)
        self.objects[number] = node
        return node

    def record(self, tag, depth):
        if tag == OBJECT:
            return ["object", self.props(depth)]
        if tag in (ARRAY, ARRAY_NAMED):
            items = self.values(self.count(1), depth, True)
            return ["array", items, self.named(depth) if tag == ARRAY_NAMED else []]
        if tag == ARRAY_SPARSE:
            return self.sparse(depth)
        if tag == MAP:
            return ["map", [[self.value(depth), self.value(depth)] for _ in range(self.count(2))]]
        if tag == SET:
            return ["set", self.values(self.count(1), depth)]
        if tag == DATE:
            return ["date", number_text(self.f64())]
        if tag == REGEXP:
            flags = self.byte()
            flags = "".join(flag for i, flag in enumerate(FLAGS) if flags >> i & 1)
            source = self.text()
            if "u" in flags and "v" in flags or source[1] in ("(", "", "["):
                raise Refused("regexp")
            return ["regexp", source, flags, self.number()]
        if tag == BOXED:
            node = self.primitive(self.byte())
            if node is None:
                raise Refused("tag")
            return ["boxed", node]
        if tag == ERROR:
            return self.error(depth)
        if tag == DOMEXCEPTION:
            return self.domexception()
        if tag == PLATFORM:
            self.text()
            return self.value(depth)
        if tag == VIEW:
            return self.view(depth)
        if tag == HOST:
            entry = self.varint()
            if entry not in self.hosts:
                raise Refused("host")
            self.hosts.remove(entry)
            return ["host", entry]
        return self.buffer(tag)

    def count(self, least):
        count = self.varint()
        self.need(count * least)
        return count

    def values(self, count, depth, items=False):
        return [self.value(depth, items) for _ in range(count)]

    def sparse(self, depth):
        length = self.varint()
        if length > 2**32 - 1:
            raise Refused("index")
        items, last = [], -1
        for _ in range(self.count(2)):
            index = self.varint()
            if not last < index < length:
                raise Refused("index")
            last = index
            items.append([index, self.value(depth, True)])
        items = [item for item in items if item[1] != ["hole"]]
        return ["sparse", length, items, self.named(depth)]

    def keys(self):
        size = self.varint()
        self.need(size)
        end = self.at + size
        outer, self.data = self.data, self.data[:end]
        try:
            count = self.varint()
            self.need(count)
            keys = []
            for _ in range(count):
                head = self.varint()
                keys.append(text_node(self.units(head >> 1, head & 1)))
        except Refused as refused:
            raise Refused("keys" if refused.args[0] == "truncated" else refused.args[0])
        self.data = outer
        if self.at != end or not keys or len(set(map(tuple, keys))) != len(keys):
            raise Refused("keys")
        return keys

    def props(self, depth, named=False):
        which = self.varint()
        if which == 0:
            return []
        if which == 1:
            keys = self.keys()
            if len(keys) <= SHAPE_KEYS:
                self.shapes.append(keys)
        elif which - 2 < len(self.shapes):
            keys = self.shapes[which - 2]
        else:
            raise Refused("shape")
        if named and any(map(is_index_name, keys)):
            raise Refused("index")
        self.need(len(keys))
        pairs = [[key, self.value(depth, True)] for key in keys]
        return [pair for pair in pairs if pair[1] != ["hole"]]

    def named(self, depth):
        return self.props(depth, True)

    def error(self, depth):
        kind, bits = self.take(2)
        if kind > 7 or bits > 63 or (bits & 16 and kind != 7):
            raise Refused("error")
        parts = {}
        for i, part in enumerate(("message", "stack", "name")):
            if bits >> i & 1:
                parts[part] = self.text()
        for i, part in enumerate(("cause", "errors")):
            if bits >> i & 8:
                parts[part] = self.value(depth)
        if bits & 32:
            if self.data[self.at:self.at + 1] == b"\0":
                raise Refused("error")
            parts["extra"] = self.props(depth)
        return ["error", ERRORS[kind], parts]

    def domexception(self):
        bits = self.byte()
        if bits > 3:
            raise Refused("error")
        parts = {"name": self.text(), "message": self.text()}
        if bits & 1:
            parts["stack"] = self.text()
        if bits & 2:
            for part in ("quota", "requested"):
                tag = self.byte()
                node = ["null"] if tag == NULL else self.primitive(tag)
                if node is None or node[0] not in ("null", "num"):
                    raise Refused("tag")
                parts[part] = node
        return ["domexception", parts]

    def reserve(self, length, maximum):
        self.reserved += maximum
        if maximum < length or self.reserved > MAX_RESERVED:
            raise Refused("buffer")

    def buffer(self, tag):
        if tag in (BUFFER, BUFFER_RESIZABLE):
            length = self.varint()
            if tag == BUFFER:
                return ["buffer", self.take(length).hex()]
            maximum = self.varint()
            self.reserve(length, maximum)
            return ["resizable", self.take(length).hex(), maximum]
        entry, length = self.varint(), self.varint()
        if entry not in self.unused or len(self.buffers[entry]) != length * 2:
            raise Refused("buffer")
        self.unused.remove(entry)
        if tag == BUFFER_SIDE:
            return ["side", entry, length]
        maximum = self.varint()
        self.reserve(length, maximum)
        return ["side_resizable", entry, length, maximum]

    def view(self, depth):
        kind, offset, size = self.byte(), self.varint(), self.varint()
        if kind >= len(VIEWS) or offset % VIEWS[kind][1]:
            raise Refused("view")
        self.need(1)
        if self.data[self.at] != REF and not BUFFER <= self.data[self.at] <= BUFFER_SIDE_RESIZABLE:
            raise Refused("view")
        node = self.value(depth)
        buffer = self.objects[node[1]] if node[0] == "ref" else node
        if buffer is None or buffer[0] not in ("buffer", "resizable", "side", "side_resizable"):
            raise Refused("view")
        length = buffer[2] if buffer[0].startswith("side") else len(buffer[1]) // 2
        if offset + max(size - 1, 0) * VIEWS[kind][1] > length or (size == 0 and not buffer[0].endswith("resizable")):
            raise Refused("view")
        return ["view", VIEWS[kind][0], offset, size - 1, node]


def hex_of(vector):
    repeat = vector.get("hex_repeat")
    return repeat["prefix"] + repeat["unit"] * repeat["times"] + repeat["suffix"] if repeat else vector["hex"]


def encode(tree):
    encoder = Encoder(None)
    encoder.value(tree)
    return encoder.out.hex()


def decode(text, vector):
    return Decoder(bytes.fromhex(text), vector.get("buffers", []), vector.get("hosts", 0)).message()


def equal(one, two):
    """Trees; numbers by their double."""
    if isinstance(one, list) and isinstance(two, list):
        if len(one) == 2 and len(two) == 2 and one[0] == two[0] == "num":
            return same_number(one[1], two[1])
        if len(one) == 2 and len(two) == 2 and one[0] == two[0] == "date":
            return same_number(one[1], two[1])
        return len(one) == len(two) and all(map(equal, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    return type(one) is type(two) and one == two


def check(vector):
    """None, or what is wrong."""
    if "throws" in vector:
        return None if "js" in vector and "modes" in vector else "throws needs js and modes"
    try:
        tree = decode(hex_of(vector), vector)
    except Refused as refused:
        return None if refused.args[0] == vector.get("refuse") else "refused: %s" % refused.args[0]
    if "refuse" in vector:
        return "not refused"
    if "tree" in vector and not equal(tree, vector["tree"]):
        return "decodes to %s" % json.dumps(tree)
    if "tree" in vector and vector.get("canonical", True) and encode(tree) != hex_of(vector):
        return "encodes to %s" % encode(tree)
    return None


def line(vector):
    return json.dumps(vector, ensure_ascii=True)


def write(path, data):
    for vector in data["vectors"]:
        if "tree" in vector and vector.get("canonical", True) and "hex_repeat" not in vector:
            vector["hex"] = encode(vector["tree"])
    with open(path, "w", encoding="ascii") as file:
        file.write('{"version": 1, "vectors": [\n%s\n]}\n' % ",\n".join(map(line, data["vectors"])))


def main():
    sys.setrecursionlimit(100000)
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)
    if "--write" in sys.argv[2:]:
        write(sys.argv[1], data)
    wrong = 0
    names = [vector["name"] for vector in data["vectors"]]
    for vector in data["vectors"]:
        what = check(vector) or (names.count(vector["name"]) > 1 and "the name is not unique")
        if what:
            print("%s: %s" % (vector["name"], what[:300]))
            wrong += 1
    print("%d of %d vectors are right" % (len(names) - wrong, len(names)))
    return 1 if wrong else 0


if __name__ == "__main__":
    import threading
    threading.stack_size(512 << 20)
    status = []
    thread = threading.Thread(target=lambda: status.append(main()))  # deep trees need a deep stack
    thread.start()
    thread.join()
    sys.exit(status[0] if status else 1)
