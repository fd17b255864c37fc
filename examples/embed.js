// examples/embed.js - the worker of examples/embed.c: answers fetch, hears "greet", has a function.
'use strict';

let greeted = 0;

addEventListener('fetch', event => {
    const name = new URL(event.request.url).searchParams.get('name') ?? 'world';
    event.respondWith(new Response(`hello, ${name}`, { headers: { 'x-greeted': String(greeted) } }));
});

addEventListener('greet', event => {
    greeted += 1;
    console.log(`greeting ${event.data.name}`);
});

function add(a, b) {
    return a + b;
}
