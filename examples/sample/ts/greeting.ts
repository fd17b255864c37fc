export interface Greeting {
    text: string;
    letters: number;
}

export function greet(name: string): Greeting {
    const text = `Hello, ${name}!`;
    return { text, letters: text.length };
}
