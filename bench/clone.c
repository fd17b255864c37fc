/* bench/clone.c - structured clone in C: a flat object of ten fields, out and in.
 *
 * Nanoseconds for writing it with the writer, encoding it from a muster_value, decoding it and reading
 * each field by its name, and decoding it into a muster_value; then a thousand such objects in an array,
 * for each object, and one megabyte transferred.  The limit beside it copies the same bytes into fresh
 * memory.  `--json` prints one line of JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/clone.h"

#define ROUNDS 200000
#define MANY 1000

static const char *const keys[] = {"id",    "name",  "email", "age",   "score",
                                   "admin", "city",  "zip",   "since", "note"};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void write_fields(struct muster_clone_writer *writer)
{
    muster_clone_begin_object(writer);
    muster_clone_write_key(writer, keys[0]);
    muster_clone_write_number(writer, 123456);
    muster_clone_write_key(writer, keys[1]);
    muster_clone_write_text(writer, "Ada Lovelace");
    muster_clone_write_key(writer, keys[2]);
    muster_clone_write_text(writer, "ada@example.org");
    muster_clone_write_key(writer, keys[3]);
    muster_clone_write_number(writer, 36);
    muster_clone_write_key(writer, keys[4]);
    muster_clone_write_number(writer, 99.5);
    muster_clone_write_key(writer, keys[5]);
    muster_clone_write_boolean(writer, true);
    muster_clone_write_key(writer, keys[6]);
    muster_clone_write_text(writer, "London");
    muster_clone_write_key(writer, keys[7]);
    muster_clone_write_text(writer, "W1");
    muster_clone_write_key(writer, keys[8]);
    muster_clone_write_number(writer, 1833);
    muster_clone_write_key(writer, keys[9]);
    muster_clone_write_null(writer);
    muster_clone_end(writer);
}

static struct muster_clone *finish(struct muster_clone_writer *writer)
{
    struct muster_clone *clone = NULL;
    must(muster_clone_writer_finish(writer, &clone, NULL) == MUSTER_OK);
    return clone;
}

static struct muster_clone_document *decode(const struct muster_clone *clone)
{
    struct muster_clone_document *document = NULL;
    must(muster_clone_decode(clone, NULL, &document, NULL) == MUSTER_OK);
    return document;
}

static void read_fields(const struct muster_clone_node *object)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        must(muster_clone_get(object, keys[i]) != NULL);
}

static double time_writer(struct muster_clone_writer *writer)
{
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        write_fields(writer);
        muster_clone_release(finish(writer));
    }
    return (now_ns() - start) / ROUNDS;
}

static double time_reader(const struct muster_clone *clone)
{
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct muster_clone_document *document = decode(clone);
        read_fields(muster_clone_root(document));
        muster_clone_document_destroy(document);
    }
    return (now_ns() - start) / ROUNDS;
}

static double time_from_value(const struct muster_value *value)
{
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct muster_clone *clone = NULL;
        must(muster_clone_from_value(value, NULL, &clone, NULL) == MUSTER_OK);
        muster_clone_release(clone);
    }
    return (now_ns() - start) / ROUNDS;
}

static double time_to_value(const struct muster_clone *clone)
{
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct muster_clone_document *document = decode(clone);
        struct muster_value *value = NULL;
        must(muster_clone_to_value(document, NULL, NULL, &value, NULL) == MUSTER_OK);
        muster_clone_document_destroy(document);
        muster_value_release(value);
    }
    return (now_ns() - start) / ROUNDS;
}

static double time_copy(struct muster_bytes bytes)
{
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        char *copy = malloc(bytes.length);
        must(copy != NULL);
        memcpy(copy, bytes.data, bytes.length);
        __asm__ volatile("" : : "r"(copy) : "memory");
        free(copy);
    }
    return (now_ns() - start) / ROUNDS;
}

static void time_many(struct muster_clone_writer *writer, double *ret_out, double *ret_in)
{
    *ret_out = *ret_in = 0;
    for (int round = 0; round < ROUNDS / MANY; round++) {
        double start = now_ns();
        muster_clone_begin_array(writer);
        for (int i = 0; i < MANY; i++)
            write_fields(writer);
        muster_clone_end(writer);
        struct muster_clone *clone = finish(writer);
        double middle = now_ns();
        struct muster_clone_document *document = decode(clone);
        for (size_t i = 0; i < MANY; i++)
            read_fields(muster_clone_item(muster_clone_root(document), i));
        muster_clone_document_destroy(document);
        *ret_out += (middle - start) / ROUNDS;
        *ret_in += (now_ns() - middle) / ROUNDS;
        muster_clone_release(clone);
    }
}

static double time_transfer(struct muster_clone_writer *writer)
{
    static char megabyte[1 << 20];
    double start = now_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct muster_clone_buffer buffer = {.data = megabyte, .length = sizeof megabyte};
        muster_clone_write_transferred_buffer(writer, &buffer);
        struct muster_clone *clone = finish(writer);
        muster_clone_document_destroy(decode(clone));
        muster_clone_release(clone);
    }
    return (now_ns() - start) / ROUNDS;
}

int main(int count, char **arguments)
{
    struct muster_clone_writer *writer = muster_clone_writer_new(NULL);
    must(writer != NULL);
    write_fields(writer);
    struct muster_clone *clone = finish(writer);
    struct muster_clone_document *document = decode(clone);
    struct muster_value *value = NULL;
    must(muster_clone_to_value(document, NULL, NULL, &value, NULL) == MUSTER_OK);
    double many_out;
    double many_in;
    double out = time_writer(writer);
    double in = time_reader(clone);
    double from_value = time_from_value(value);
    double to_value = time_to_value(clone);
    time_many(writer, &many_out, &many_in);
    double transfer = time_transfer(writer);
    double limit = time_copy(muster_clone_bytes(clone));
    const char *format =
        count > 1 && strcmp(arguments[1], "--json") == 0
            ? "{\"bytes\":%zu,\"write_ns\":%.0f,\"read_ns\":%.0f,\"from_value_ns\":%.0f,"
              "\"to_value_ns\":%.0f,\"many_write_ns\":%.0f,\"many_read_ns\":%.0f,"
              "\"transfer_1mb_ns\":%.0f,\"copy_ns\":%.0f}\n"
            : "ten fields, %zu bytes: write %.0f ns, read %.0f ns, from a value %.0f ns, to a value %.0f ns\n"
              "of a thousand in an array, each: write %.0f ns, read %.0f ns\n"
              "1 MB transferred, out and in: %.0f ns; limit, a copy of the ten fields' bytes: %.0f ns\n";
    printf(format, muster_clone_bytes(clone).length, out, in, from_value, to_value, many_out, many_in,
           transfer, limit);
    muster_value_release(value);
    muster_clone_document_destroy(document);
    muster_clone_release(clone);
    muster_clone_writer_destroy(writer);
    return 0;
}
