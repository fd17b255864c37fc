// The scope "/": a service worker as in a browser, but it answers HTTP.

// Lives as long as this worker: after an idle end the count begins again.
let count = 0;

const page = (host) => `<!doctype html>
<meta charset="utf-8">
<title>muster: the sample</title>
<style>body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>It works</h1>
<p>This page comes from the <code>fetch</code> event of a service worker in <code>worker.js</code>.
<ul>
<li><a href="/stream">/stream</a> sends its answer piece by piece
<li><a href="/count">/count</a> counts in a global; when the worker was idle for a while, it ends, and a
    new one begins at 1
<li><code>curl -d '{"hello": "world"}' http://${host}/echo</code> gives JSON back
<li><a href="/lua/">/lua/</a> is a worker in Lua
<li><a href="/ts/?name=you">/ts/</a> is one in TypeScript, of two files
</ul>
`;

addEventListener('install', (event) => event.waitUntil(skipWaiting()));

addEventListener('fetch', (event) => {
    const { pathname } = new URL(event.request.url);
    const handler = routes[pathname];
    if (handler)
        event.respondWith(handler(event.request));
    // Without respondWith() the request passes, and the client gets 404.
});

const routes = {
    '/': (request) => new Response(page(new URL(request.url).host), {
        headers: { 'content-type': 'text/html; charset=utf-8' },
    }),
    '/count': () => Response.json({ count: ++count }),
    '/echo': echo,
    '/stream': () => new Response(lines(5), { headers: { 'content-type': 'text/plain; charset=utf-8' } }),
};

async function echo(request) {
    if (request.method !== 'POST')
        return new Response('POST some JSON here\n', { status: 405, headers: { allow: 'POST' } });
    try {
        return Response.json({ you_sent: await request.json() });
    } catch (error) {
        return Response.json({ error: error.message }, { status: 400 });
    }
}

// A body that is made while it is sent: the stream asks for the next line when there is room for it.
function lines(total) {
    const encoder = new TextEncoder();
    let line = 0;
    return new ReadableStream({
        async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 100));
            controller.enqueue(encoder.encode(`line ${++line} of ${total}\n`));
            if (line === total)
                controller.close();
        },
    });
}
