/* What the scripts beside this one are written with.  Groups run one after the other. */
"use strict";
const groups = [];
const fail = (message, note) => {
    throw new Error(note === undefined ? message : `${message} (${note})`);
};
self.test = (name, run) => groups.push({ name, run });
self.ok = (value, note) => value || fail("is not true", note);
self.equal = (got, expected, note) => Object.is(got, expected) || fail(`got ${got}, not ${expected}`, note);
self.same = (got, expected) => equal(JSON.stringify(got), JSON.stringify(expected));
const check = (error, type) => {
    const right = error === type || (typeof type === "string" ? error?.name === type : error?.constructor === type);
    return right ? error : fail(`threw ${error}, not ${type?.name ?? type}`);
};
self.throws = (type, run) => {
    try {
        run();
    } catch (error) {
        return check(error, type);
    }
    return fail(`did not throw ${type?.name ?? type}`);
};
self.rejects = async (type, promise) => {
    try {
        await promise;
    } catch (error) {
        return check(error, type);
    }
    return fail(`did not reject with ${type?.name ?? type}`);
};
self.go = async () => {
    for (const { name, run } of groups) {
        try {
            await run();
            console.log(`ok: ${name}`);
        } catch (error) {
            console.log(`FAILED: ${name}: ${error}\n${error?.stack}`);
        }
    }
    console.log("done");
};
