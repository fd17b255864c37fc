/* coordinator/url_pattern_match.c - a component's program is run: through all its positions at once.  Thread: any. */
#include "coordinator/url_pattern_internal.h"

#include <string.h>

struct threads {
    uint16_t at[URL_PROGRAM_MAX];
    size_t count;
    uint64_t seen[URL_PROGRAM_MAX / 64];
};

static bool was_seen(struct threads *threads, uint16_t at)
{
    uint64_t bit = 1ull << at % 64;
    bool seen = threads->seen[at / 64] & bit;
    threads->seen[at / 64] |= bit;
    return seen;
}

/* With all that it reaches without a byte: the list is its own stack, those behind `count` are still to follow. */
static void add_thread(const struct url_program *program, struct threads *threads, uint16_t at)
{
    size_t from = threads->count;
    if (was_seen(threads, at))
        return;
    threads->at[threads->count++] = at;
    for (; from < threads->count; from++) {
        uint16_t here = threads->at[from];
        const struct url_op *op = &program->ops[here];
        if (op->kind != OP_SPLIT && op->kind != OP_JUMP)
            continue;
        if (!was_seen(threads, op->to))
            threads->at[threads->count++] = op->to;
        if (op->kind == OP_SPLIT && !was_seen(threads, here + 1))
            threads->at[threads->count++] = here + 1;
    }
}

static bool takes(const struct url_op *op, uint8_t byte)
{
    return op->kind == OP_ANY || (op->kind == OP_BYTE && op->byte == byte) ||
           (op->kind == OP_NOT && op->byte != byte);
}

static void clear_threads(const struct url_program *program, struct threads *threads)
{
    threads->count = 0;
    memset(threads->seen, 0, ((size_t)program->count + 63) / 64 * sizeof(*threads->seen));
}

static bool simulate(const struct url_program *program, const char *text, size_t length)
{
    struct threads lists[2], *now = &lists[0], *next = &lists[1];
    clear_threads(program, now);
    add_thread(program, now, program->literal);
    for (size_t i = 0; i < length && now->count; i++) {
        uint8_t byte = program->ignore_case ? lower((uint8_t)text[i]) : (uint8_t)text[i];
        clear_threads(program, next);
        for (size_t k = 0; k < now->count; k++)
            if (takes(&program->ops[now->at[k]], byte))
                add_thread(program, next, now->at[k] + 1);
        struct threads *swap = now;
        now = next;
        next = swap;
    }
    for (size_t k = 0; k < now->count; k++)
        if (program->ops[now->at[k]].kind == OP_MATCH)
            return true;
    return false;
}

static bool begins_with_literal(const struct url_program *program, struct muster_bytes text)
{
    if (text.length < program->literal)
        return false;
    for (size_t i = 0; i < program->literal; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        if ((program->ignore_case ? lower(byte) : byte) != program->ops[i].byte)
            return false;
    }
    return true;
}

bool muster__url_pattern_run(const struct url_program *program, struct muster_bytes text)
{
    if (!begins_with_literal(program, text))
        return false;
    if (program->ends_any)
        return true;
    if (program->ops[program->literal].kind == OP_MATCH)
        return text.length == program->literal;
    return simulate(program, text.data + program->literal, text.length - program->literal);
}
