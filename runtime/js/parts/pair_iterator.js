/* Iterators as Web IDL wants them for what is a list of pairs: live, each step
 * looks at the list as it is then. */
const IteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));

class State {
    constructor(target, member) {
        this.target = target;
        this.member = member; /* 0 for keys, 1 for values, 2 for both */
        this.at = 0;
    }
}

/* Adds entries, keys, values, forEach and Symbol.iterator to the class; pairsOf
 * returns the pairs of an object, or throws if it is not one of the class. */
export function makePairIterable(constructor, name, pairsOf) {
    const states = new WeakMap();
    const iteratorPrototype = Object.create(IteratorPrototype, {
        next: {
            value: function next() {
                const state = states.get(this);
                if (state === undefined) {
                    throw new TypeError(`not an iterator of ${name}`);
                }
                const pairs = pairsOf(state.target);
                if (state.at >= pairs.length) {
                    return { value: undefined, done: true };
                }
                const pair = pairs[state.at++];
                return { value: state.member === 2 ? [pair[0], pair[1]] : pair[state.member],
                    done: false };
            },
            writable: true, enumerable: true, configurable: true,
        },
        [Symbol.toStringTag]: { value: `${name} Iterator`, configurable: true },
    });
    const iterate = (target, member) => {
        pairsOf(target);
        const iterator = Object.create(iteratorPrototype);
        states.set(iterator, new State(target, member));
        return iterator;
    };
    const members = {
        entries() {
            return iterate(this, 2);
        },
        keys() {
            return iterate(this, 0);
        },
        values() {
            return iterate(this, 1);
        },
        forEach(callback) {
            let pairs = pairsOf(this);
            if (typeof callback !== "function") {
                throw new TypeError(`${name}.forEach: the callback is not a function`);
            }
            for (let i = 0; i < pairs.length; i++, pairs = pairsOf(this)) {
                callback.call(arguments[1], pairs[i][1], pairs[i][0], this);
            }
        },
    };
    for (const key of Object.keys(members)) {
        Object.defineProperty(constructor.prototype, key,
            { value: members[key], writable: true, enumerable: true, configurable: true });
    }
    Object.defineProperty(constructor.prototype, Symbol.iterator,
        { value: members.entries, writable: true, configurable: true });
    return members.entries;
}
