/* Numbers that core, core2 and core_fetch share.  Written once, and in place of the names after bundling: a constant
 * that functions capture costs each start a microsecond. */

/* An event's flags. */
export const BUBBLES = 1, CANCELABLE = 2, COMPOSED = 4, CANCELED = 8, STOPPED = 16, STOPPED_NOW = 32;
export const DISPATCHING = 64, TRUSTED = 128, PASSIVE = 256;

/* Why a request fails, as fail() of the engine counts. */
export const SCRIPT_ERROR = 1, REJECTED = 2, BAD_RESPONSE = 3, NOT_FOUND = 4;

/* What an entry answers: something holds the request; nobody listens. */
export const PENDING = 1, PASSED = 2;

/* Kinds of requests, as the engine has them. */
export const LIFECYCLE = 0, FUNCTIONAL = 2, MESSAGE = 3;
