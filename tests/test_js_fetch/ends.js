// as: file, web
/* A worker that closes in the midst of everything leaves nothing behind, and waits for nothing. */
importScripts("support.js");
const [app] = muster.args;

test("a_worker_closes_with_fetches_in_flight", async () => {
    fetch(`${app}/hang?never`).then(() => console.log("FAILED: it was answered"), () => {});
    const upload = new ReadableStream({
        pull(controller) {
            controller.enqueue(new Uint8Array(100000));
        },
    });
    fetch(`${app}/hang?upload`, { method: "POST", body: upload, duplex: "half" }).catch(() => {});
    const response = await fetch(`${app}/wait?rest`);
    const reader = response.body.getReader();
    equal((await reader.read()).value.length, 3);
    reader.read().catch(() => {});
    self.unread = await fetch(`${app}/large?${8 << 20}`);
    self.kept = URL.createObjectURL(new Blob(["x"]));
    fetch(`${app}/echo`); /* whose head comes when nobody is there any more */
    for (let i = 0; i < 200; i++) {
        await fetch(`${app}/echo?${i}`); /* garbage that nobody read */
    }
});

go().then(close);
