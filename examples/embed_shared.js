// examples/embed_shared.js - the shared worker of examples/embed_shared.c: a guest book.
'use strict';

const guests = []; // {name, port}, for as long as somebody holds the worker

addEventListener('connect', event => {
    const [port] = event.ports;
    port.onmessage = ({ data: name }) => {
        const before = guests.map(guest => guest.name);
        for (const guest of guests)
            guest.port.postMessage(`${name} is here, too`);
        guests.push({ name, port });
        port.postMessage(before.length ? `welcome ${name}; ${before.join(', ')} came before` : `welcome ${name}`);
    };
});
