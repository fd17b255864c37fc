/* URLPattern, from the package urlpattern-polyfill. */
import { URLPattern as Package } from "urlpattern-polyfill/urlpattern";
import { finishInterface } from "./parts/webidl.js";

const folding = new WeakSet();

/* The package does not say of a pattern that it ignores case, and static routes want to know. */
export const URLPattern = new Proxy(finishInterface(Package, "URLPattern"), {
    construct(target, given, made) {
        const pattern = Reflect.construct(target, given, made);
        const options = typeof given[1] === "object" ? given[1] : given[2];
        if (options?.ignoreCase) {
            folding.add(pattern);
        }
        return pattern;
    },
});
URLPattern.prototype.constructor = URLPattern;

export const ignoresCase = (pattern) => folding.has(pattern);
