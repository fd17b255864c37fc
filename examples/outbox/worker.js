// examples/outbox/worker.js - the whole life of a service worker: muster serve --state state examples/outbox
//
//   curl -d 'hello' http://127.0.0.1:8080/messages    takes a message, and answers before it is sent
//   curl http://127.0.0.1:8080/messages               what was sent
//
// A worker ends when it is idle, and what it has in variables ends with it; what must not be lost belongs elsewhere.
'use strict';

const waiting = [], sent = [];

// Once for each version of this script, before it may answer anything.
addEventListener('install', event => {
    console.log('installed');
    event.waitUntil(skipWaiting()); // it need not wait until the version before it is unused
});

// When it takes over from the version before it.
addEventListener('activate', event => {
    console.log('activated');
    event.waitUntil(clients.claim()); // whoever is open already is its client as well
});

async function take(request) {
    waiting.push(await request.text());
    await registration.sync.register('send'); // a sync event follows, now or later
    return new Response('taken\n', { status: 202 });
}

addEventListener('fetch', event => {
    const { method, url } = event.request;
    if (new URL(url).pathname !== '/messages')
        event.respondWith(new Response('there are only /messages\n', { status: 404 }));
    else
        event.respondWith(method === 'POST' ? take(event.request) : Response.json(sent));
});

// If this fails it comes again, later each time; after the last time the messages are given up.
addEventListener('sync', event => {
    console.log(`sync ${event.tag}`);
    sent.push(...waiting.splice(0));
});

// At three o'clock each night, as muster.json says.
addEventListener('scheduled', event => {
    console.log(`scheduled by ${event.data.cron}: forgets ${sent.length}`);
    sent.length = 0;
});
