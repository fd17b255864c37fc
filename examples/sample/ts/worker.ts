// The scope "/ts/": a TypeScript module; what it imports is bundled when it is loaded, and errors still
// name these files.
import { greet, type Greeting } from './greeting';

addEventListener('fetch', (event: any) => {
    const url = new URL(event.request.url);
    if (url.pathname !== '/ts/')
        return;
    const greeting: Greeting = greet(url.searchParams.get('name') ?? 'world');
    event.respondWith(Response.json(greeting));
});
