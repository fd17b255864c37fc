"use strict";
const nameOf = (make) => {
    try {
        make();
        return "nothing";
    } catch (error) {
        return error.name;
    }
};

test("pixels_are_made_of_a_size_or_of_data", () => {
    const made = new ImageData(3, 2);
    same([made.width, made.height, made.colorSpace, made.pixelFormat], [3, 2, "srgb", "rgba-unorm8"]);
    ok(made.data instanceof Uint8ClampedArray && made.data.length === 24 && made.data === made.data);
    const data = new Uint8ClampedArray(16);
    const of = new ImageData(data, 2);
    ok(of.height === 2 && of.data === data);
    equal(new ImageData(data, 1, 4, { colorSpace: "display-p3" }).colorSpace, "display-p3");
    ok(new ImageData(1, 1, { pixelFormat: "rgba-float16" }).data instanceof Float16Array);
});

test("pixels_that_fit_no_size_are_refused", () => {
    const data = new Uint8ClampedArray(16);
    for (const make of [() => new ImageData(0, 1), () => new ImageData(data, 3), () => new ImageData(data, 2, 3)]) {
        equal(nameOf(make), "IndexSizeError");
    }
    equal(nameOf(() => new ImageData(new Uint8ClampedArray(0), 1)), "InvalidStateError");
    equal(nameOf(() => new ImageData(data, 2, 2, { pixelFormat: "rgba-float16" })), "InvalidStateError");
    for (const make of [() => new ImageData(1), () => new ImageData(-1, 1), () => new ImageData(1, NaN),
        () => new ImageData(new Uint8Array(4), 1), () => new ImageData(1, 1, { colorSpace: "x" })]) {
        equal(nameOf(make), "TypeError");
    }
});

test("a_copy_of_an_image_has_pixels_of_its_own", () => {
    const image = new ImageData(1, 1, { colorSpace: "display-p3" });
    image.data.set([1, 2, 3, 4]);
    const copy = structuredClone([image, image])[1];
    ok(copy instanceof ImageData && copy !== image && copy.data !== image.data);
    same([...copy.data], [1, 2, 3, 4]);
    equal(copy.colorSpace, "display-p3");
    structuredClone(0, { transfer: [image.data.buffer] });
    equal(nameOf(() => structuredClone(image)), "DataCloneError");
});

test("an_object_that_only_says_it_is_an_image_is_an_object", () => {
    for (const name of ["ImageData", "ImageBitmap", "FileList", "File"]) {
        same(structuredClone({ [Symbol.toStringTag]: name, a: 1 }), { a: 1 });
    }
});

test("a_bitmap_is_cut_out_of_pixels_and_moves_with_them", async () => {
    const image = new ImageData(2, 2);
    image.data.fill(7);
    const bitmap = await createImageBitmap(image, 1, 1, -3, 2);
    same([bitmap.width, bitmap.height], [3, 2]);
    const copy = structuredClone(bitmap);
    ok(copy instanceof ImageBitmap && copy.width === 3 && bitmap.width === 3);
    const moved = structuredClone({ bitmap }, { transfer: [bitmap] }).bitmap;
    same([moved.width, bitmap.width, bitmap.height], [3, 0, 0]);
    equal(nameOf(() => structuredClone(0, { transfer: [bitmap] })), "DataCloneError");
    equal(nameOf(() => structuredClone(bitmap)), "DataCloneError");
    equal(nameOf(() => structuredClone(0, { transfer: [moved, moved] })), "DataCloneError");
    moved.close();
    moved.close();
    equal(moved.width, 0);
    equal(await createImageBitmap(moved).catch((error) => error.name), "InvalidStateError");
});

test("a_bitmap_is_made_of_an_image_only", async () => {
    equal(nameOf(() => new ImageBitmap()), "TypeError");
    const image = new ImageData(1, 1);
    for (const [given, name] of [[[{}], "TypeError"], [[], "TypeError"], [[image, 0, 0], "TypeError"],
        [[image, 0, 0, 0, 1], "RangeError"], [[image, { resizeWidth: 5 }], "NotSupportedError"]]) {
        equal(await createImageBitmap(...given).catch((error) => error.name), name);
    }
});
