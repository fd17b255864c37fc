/* runtime/jsc_private.h - what JavaScriptCore exports though its headers declare it for its own use only.
 *
 * The build probes that each of these links.  Included by the JavaScript engine's files alone. */
#ifndef MUSTER_JSC_PRIVATE_H
#define MUSTER_JSC_PRIVATE_H

#include <JavaScriptCore/JavaScript.h>

/* Called on the thread that runs the script, with the VM's lock.  True ends the script. */
typedef bool muster__jsc_should_terminate_fn(JSContextRef context, void *user_data);

/* `seconds` of CPU time of one outermost call.  A callback that answers false must set the limit again, or
 * it is not called any more in this call. */
JS_EXPORT void JSContextGroupSetExecutionTimeLimit(JSContextGroupRef group, double seconds,
                                                   muster__jsc_should_terminate_fn *callback,
                                                   void *user_data);
/* `function` is called with (promise, reason) when the microtasks are done and nobody handled it. */
JS_EXPORT void JSGlobalContextSetUnhandledRejectionCallback(JSGlobalContextRef context,
                                                            JSObjectRef function,
                                                            JSValueRef *exception);
/* An object with heapSize, heapCapacity, extraMemorySize, ...; it walks the heap: not cheap. */
JS_EXPORT JSObjectRef JSGetMemoryUsageStatistics(JSContextRef context);
/* A full collection, now; JSGarbageCollect() is only a hint. */
JS_EXPORT void JSSynchronousGarbageCollectForDebugging(JSContextRef context);

/* So that what is called in between need not take the engine's lock each time. */
JS_EXPORT void JSLock(JSContextRef context);
JS_EXPORT void JSUnlock(JSContextRef context);

/* Runs the microtasks; with the lock held.  A group is the engine's VM, of which this is a method.  NULL: this
 * version of the engine does not export it. */
extern void muster__jsc_drain_microtasks(JSContextGroupRef group) __asm__("_ZN3JSC2VM15drainMicrotasksEv")
    __attribute__((weak));

#endif
