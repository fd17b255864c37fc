/* The types of errors that have a number in docs/clone.md, by it. */
export const ERROR_TYPES = [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError,
    URIError, AggregateError];
export const ERROR_NAMES = ["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError",
    "TypeError", "URIError", "AggregateError"];
