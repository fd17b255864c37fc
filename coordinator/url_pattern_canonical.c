/* coordinator/url_pattern_canonical.c - literals of a pattern in the form in which URL parsers write them.
 * Thread: any. */
#include "coordinator/url_pattern_internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_in_set(uint8_t c, const char *more)
{
    return c < 0x20 || c > 0x7e || (more && c && strchr(more, c));
}

static void put_encoded(struct url_maker *maker, struct url_buffer *to, uint8_t c, const char *set)
{
    static const char digits[] = "0123456789ABCDEF";
    if (!is_in_set(c, set)) {
        muster__url_pattern_put(maker, to, (char)c);
        return;
    }
    muster__url_pattern_put(maker, to, '%');
    muster__url_pattern_put(maker, to, digits[c >> 4]);
    muster__url_pattern_put(maker, to, digits[c & 15]);
}

static void put_protocol(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length)
{
    if (length && !is_letter(text[0]))
        muster__url_pattern_fail(maker, "a protocol begins with a letter");
    for (size_t i = 0; i < length; i++) {
        if (!is_letter(text[i]) && !is_digit(text[i]) && !memchr("+-.", text[i], 3))
            muster__url_pattern_fail(maker, "a protocol has letters, digits, and + - .");
        muster__url_pattern_put(maker, to, (char)lower((uint8_t)text[i]));
    }
}

static void put_hostname(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x80)
            muster__url_pattern_fail(maker, "a host's name is ASCII here: write it with xn--");
        else if (c <= 0x20 || c == 0x7f || strchr("#%/:<>?@[\\]^|", c))
            muster__url_pattern_fail(maker, "a host's name has no such character");
        muster__url_pattern_put(maker, to, (char)lower(c));
    }
}

static void put_address(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = (char)lower((uint8_t)text[i]);
        if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !memchr("[]:", c, 3))
            muster__url_pattern_fail(maker, "an address has hexadecimal digits and colons in brackets");
        muster__url_pattern_put(maker, to, c);
    }
}

static const struct {
    const char *name, *port;
} special_schemes[] = {{"http", "80"}, {"https", "443"}, {"ws", "80"}, {"wss", "443"}, {"ftp", "21"}, {"file", ""}};

const char *muster__url_pattern_default_port(const char *protocol)
{
    for (size_t i = 0; i < sizeof(special_schemes) / sizeof(*special_schemes); i++)
        if (strcmp(special_schemes[i].name, protocol) == 0)
            return special_schemes[i].port;
    return "";
}

bool muster__url_pattern_matches_special(const struct url_program *protocol)
{
    for (size_t i = 0; i < sizeof(special_schemes) / sizeof(*special_schemes); i++) {
        const char *name = special_schemes[i].name;
        if (muster__url_pattern_run(protocol, (struct muster_bytes){name, strlen(name)}))
            return true;
    }
    return false;
}

static void put_port(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length)
{
    unsigned long port = 0;
    while (length > 1 && *text == '0') {
        text++;
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_digit(text[i])) {
            muster__url_pattern_fail(maker, "a port has digits");
            return;
        }
        port = port > 65535 ? port : port * 10 + (unsigned long)(text[i] - '0');
    }
    if (port > 65535)
        muster__url_pattern_fail(maker, "a port is not above 65535");
    muster__url_pattern_put_text(maker, to, text, length);
}

/* "." or ".."'s number of dots, also written %2e; 0: neither. */
static int dots_of(const char *segment, size_t length)
{
    int dots = 0;
    for (size_t i = 0; i < length; dots++) {
        if (segment[i] == '.')
            i++;
        else if (length - i >= 3 && segment[i] == '%' && segment[i + 1] == '2' && lower((uint8_t)segment[i + 2]) == 'e')
            i += 3;
        else
            return 0;
    }
    return dots <= 2 ? dots : 0;
}

static void drop_segment(struct url_buffer *path, size_t least)
{
    while (path->length > least && path->data[path->length - 1] != '/')
        path->length--;
    if (path->length > least)
        path->length--;
}

/* A piece that does not begin with a slash is seen as the end of a segment: its first is not one of dots. */
static void put_path(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length)
{
    struct url_buffer path = {0};
    size_t at = 0;
    bool leads = length && text[0] == '/';
    while (at < length && maker->status == MUSTER_OK) {
        bool slash = text[at] == '/' || text[at] == '\\';
        size_t begins = at + slash, ends = begins;
        while (ends < length && text[ends] != '/' && text[ends] != '\\')
            ends++;
        int dots = slash || leads ? dots_of(text + begins, ends - begins) : 0;
        if (dots == 2)
            drop_segment(&path, 0);
        if (dots) {
            if (ends == length)
                muster__url_pattern_put(maker, &path, '/');
        } else {
            if (slash)
                muster__url_pattern_put(maker, &path, '/');
            for (size_t i = begins; i < ends; i++)
                put_encoded(maker, &path, (uint8_t)text[i], " \"#<>?^`{}");
        }
        at = ends;
    }
    muster__url_pattern_put_text(maker, to, path.data, path.length);
    free(path.data);
}

void muster__url_pattern_put_canonical(struct url_maker *maker, struct url_buffer *to, const char *text, size_t length,
                                       bool address)
{
    static const char userinfo[] = " \"#<>?^`{}/:;=@[\\]|";
    const char *set = NULL;
    switch (maker->component) {
    case MUSTER__URL_PROTOCOL: put_protocol(maker, to, text, length); return;
    case MUSTER__URL_HOSTNAME: (address ? put_address : put_hostname)(maker, to, text, length); return;
    case MUSTER__URL_PORT: put_port(maker, to, text, length); return;
    case MUSTER__URL_PATHNAME:
        if (maker->is_special) {
            put_path(maker, to, text, length);
            return;
        }
        break;
    case MUSTER__URL_USERNAME:
    case MUSTER__URL_PASSWORD: set = userinfo; break;
    case MUSTER__URL_SEARCH: set = " \"#<>"; break;
    case MUSTER__URL_HASH: set = " \"<>`"; break;
    case MUSTER__URL_COMPONENT_COUNT: MUSTER_CHECK(false);
    }
    for (size_t i = 0; i < length; i++)
        put_encoded(maker, to, (uint8_t)text[i], set);
}
