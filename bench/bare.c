/* bench/bare.c - the JavaScript engine alone: what figures of muster's are compared with.
 *
 * `bare bare-vm` prints one line of JSON, as workers.c does; `bare bare-process` exits at once after making one VM, for
 * timing from outside. */
#include <JavaScriptCore/JavaScript.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VMS 101

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int bench_vm(void)
{
    double values[VMS];
    JSGlobalContextRef contexts[VMS];
    for (int i = 0; i < VMS; i++) { /* all stay, as workers do: memory that is new costs more */
        double start_ms = now_ms();
        contexts[i] = JSGlobalContextCreate(NULL);
        values[i] = now_ms() - start_ms;
    }
    for (int i = 0; i < VMS; i++)
        JSGlobalContextRelease(contexts[i]);
    double *later = values + 1; /* the first of a process loads the engine */
    qsort(later, VMS - 1, sizeof(double), compare);
    printf("{\"name\": \"bare-vm\", \"median\": %.4f, \"min\": %.4f, \"max\": %.4f, \"n\": %d, \"unit\": \"ms\"}\n",
           later[(VMS - 1) / 2], later[0], later[VMS - 2], VMS - 1);
    return 0;
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    if (strcmp(name, "bare-vm") == 0)
        return bench_vm();
    if (strcmp(name, "bare-process") != 0)
        return fprintf(stderr, "usage: bare bare-vm|bare-process\n"), 1;
    JSGlobalContextRelease(JSGlobalContextCreate(NULL));
    return 0;
}
