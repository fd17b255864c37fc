/* tests/test_url_pattern.c - URL patterns: what they match, what is refused, and that hostile ones cost little. */
#include "coordinator/url_pattern.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BASE "https://example.org/app/sw.js"

static struct muster_bytes bytes(const char *text)
{
    return (struct muster_bytes){text, strlen(text)};
}

static bool matches(const struct muster__url_pattern_options *options, const char *url)
{
    struct muster__url_pattern *pattern = NULL;
    struct muster_error error = {0};
    enum muster_status status = muster__url_pattern_new(options, &pattern, &error);
    ck_assert_msg(status == MUSTER_OK, "%s: %s", url, error.message ? error.message : "");
    bool answer = muster__url_pattern_matches(pattern, bytes(url));
    muster__url_pattern_destroy(pattern);
    return answer;
}

static const struct {
    const char *pattern, *url;
    bool expected;
} texts[] = {
    {"/api/:id", "https://example.org/api/7", true},
    {"/api/:id", "https://example.org/api/", false},
    {"/api/:id", "https://example.org/api/7/8", false},
    {"/api/:id", "https://example.com/api/7", false},
    {"/api/:id?", "https://example.org/api", true},
    {"/api/:id?", "https://example.org/api/7", true},
    {"/api/:id*", "https://example.org/api/1/2/3", true},
    {"/api/:id+", "https://example.org/api", false},
    {"/api/:id+", "https://example.org/api/1/2", true},
    {"/api/:id+", "https://example.org/api/1//2", false},
    {"/static/*", "https://example.org/static/a/b.css", true},
    {"/static/*", "https://example.org/static", false},
    {"/static/*?", "https://example.org/static", true},
    {"/a{b}?c", "https://example.org/ac", true},
    {"/a{b}+c", "https://example.org/abbbc", true},
    {"/a{b}+c", "https://example.org/ac", false},
    {"/a{b}*c", "https://example.org/ac", true},
    {"/{:name.}?index.html", "https://example.org/de.index.html", true},
    {"/{:name.}?index.html", "https://example.org/index.html", true},
    {"/{:name.}+end", "https://example.org/a.b.end", true},
    {"/a{\\:}b", "https://example.org/a:b", true},
    {"/a\\*", "https://example.org/ab", false},
    {"asset.png", "https://example.org/app/asset.png", true},
    {"../x", "https://example.org/x", true},
    {"./x", "https://example.org/app/x", true},
    {"/x?q=*", "https://example.org/x?q=7", true},
    {"/x?q=*", "https://example.org/x", false},
    {"/x#top", "https://example.org/x#top", true},
    {"?v=1", "https://example.org/app/sw.js?v=1", true},
    {"https://*.example.com/*", "https://a.b.example.com/x", true},
    {"https://*.example.com/*", "https://example.com/x", false},
    {"https://:shop.example.com/*", "https://a.example.com/x", true},
    {"https://:shop.example.com/*", "https://a.b.example.com/x", false},
    {"http{s}?://example.com/", "http://example.com/", true},
    {"http{s}?://example.com/", "https://example.com/", true},
    {"http{s}?://example.com/", "ftp://example.com/", false},
    {"https://example.com:8080/*", "https://example.com:8080/x", true},
    {"https://example.com:8080/*", "https://example.com/x", false},
    {"https://example.com:443/", "https://example.com/", true},
    {"https://EXAMPLE.com/", "https://example.com/", true},
    {"https://u\\:p@example.com/", "https://u:p@example.com/", true},
    {"https://[\\:\\:1]/", "https://[::1]/", true},
    {"https://[:address]/", "https://[::1]/", true},
    {"/caf\xc3\xa9", "https://example.org/caf%C3%A9", true},
    {"/a b", "https://example.org/a%20b", true},
};

START_TEST(a_pattern_matches_the_urls_it_says)
{
    const struct muster__url_pattern_options options = {.text = texts[_i].pattern, .base_url = BASE};
    ck_assert_msg(matches(&options, texts[_i].url) == texts[_i].expected, "%s and %s", texts[_i].pattern,
                  texts[_i].url);
}
END_TEST

START_TEST(components_that_are_not_said_match_anything)
{
    const struct muster__url_pattern_options options = {.components[MUSTER__URL_PATHNAME] = "/x/*"};
    ck_assert(matches(&options, "https://anyone.example:81/x/y?q#h"));
    ck_assert(matches(&options, "ws://anyone.example/x/"));
    ck_assert(!matches(&options, "https://anyone.example/y"));
}
END_TEST

START_TEST(components_take_from_the_base_what_stands_before_them)
{
    const struct muster__url_pattern_options options = {.components[MUSTER__URL_PATHNAME] = "*.css", .base_url = BASE};
    ck_assert(matches(&options, "https://example.org/app/a.css"));
    ck_assert(matches(&options, "https://example.org/app/a.css?v=1"));
    ck_assert(!matches(&options, "https://example.org/a.css"));
    ck_assert(!matches(&options, "https://example.com/app/a.css"));
}
END_TEST

START_TEST(case_is_ignored_in_path_search_and_hash_if_it_shall_be)
{
    const struct muster__url_pattern_options options = {.text = "/Images/*\\?Size=*", .base_url = BASE, .ignore_case = true};
    ck_assert(matches(&options, "https://example.org/iMAGES/a?sIZE=3"));
    ck_assert(!matches(&options, "https://example.org/image/a?size=3"));
}
END_TEST

static const char *const refused[] = {
    "/(\\d+)", "/:id(a)", "/{a", "/a}", "/{a{b}}", "/:a/:a", "https://exa mple.org/", "https://b\xc3\xbc" "cher.example/",
    "/x\\",
};

START_TEST(what_is_no_pattern_is_refused_with_a_reason)
{
    struct muster__url_pattern *pattern = NULL;
    struct muster_error error = {0};
    const struct muster__url_pattern_options options = {.text = refused[_i], .base_url = BASE};
    ck_assert_msg(muster__url_pattern_new(&options, &pattern, &error) == MUSTER_INVALID_ARGUMENT, "%s", refused[_i]);
    ck_assert_ptr_nonnull(error.message);
    ck_assert_ptr_null(pattern);
    muster_error_clean_up(&error);
}
END_TEST

START_TEST(a_text_without_a_protocol_needs_a_base)
{
    struct muster__url_pattern *pattern = NULL;
    const struct muster__url_pattern_options options = {.text = "/x"}, whole = {.text = "https://example.org/x"};
    ck_assert_int_eq(muster__url_pattern_new(&options, &pattern, NULL), MUSTER_INVALID_ARGUMENT);
    ck_assert(matches(&whole, "https://example.org/x"));
}
END_TEST

START_TEST(a_pattern_that_is_too_long_is_refused)
{
    static char text[MUSTER__URL_PATTERN_LENGTH_MAX + 2];
    struct muster__url_pattern *pattern = NULL;
    const struct muster__url_pattern_options options = {.text = text, .base_url = BASE};
    memset(text, 'a', sizeof(text) - 1);
    text[0] = '/';
    ck_assert_int_eq(muster__url_pattern_new(&options, &pattern, NULL), MUSTER_INVALID_ARGUMENT);
}
END_TEST

/* A matcher that goes back would take for ever. */
START_TEST(a_pattern_of_many_stars_takes_no_longer_than_its_length_times_the_urls)
{
    struct timespec begun, ended;
    char text[512] = "/", url[2048] = "https://example.org/";
    for (int i = 0; i < 60; i++)
        strcat(text, "*a");
    strcat(text, "b");
    for (int i = 0; i < 1500; i++)
        strcat(url, "a");
    const struct muster__url_pattern_options options = {.text = text, .base_url = BASE};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
    ck_assert(!matches(&options, url));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    ck_assert_int_le(ended.tv_sec - begun.tv_sec, 1);
}
END_TEST

static const struct {
    const char *url, *parts[MUSTER__URL_COMPONENT_COUNT];
} splits[] = {
    {"https://u:p@h.example:8/p/q?s?t#f?g", {"https", "u", "p", "h.example", "8", "/p/q", "s?t", "f?g"}},
    {"http://[::1]:80/", {"http", "", "", "[::1]", "80", "/", "", ""}},
    {"http://[::1]/", {"http", "", "", "[::1]", "", "/", "", ""}},
    {"data:text/plain,x", {"data", "", "", "", "", "text/plain,x", "", ""}},
    {"file:///a/b", {"file", "", "", "", "", "/a/b", "", ""}},
    {"http://h", {"http", "", "", "h", "", "", "", ""}},
};

START_TEST(a_url_is_split_into_its_components)
{
    struct muster_bytes parts[MUSTER__URL_COMPONENT_COUNT];
    ck_assert(muster__url_split(bytes(splits[_i].url), parts));
    for (size_t i = 0; i < MUSTER__URL_COMPONENT_COUNT; i++) {
        const char *expected = splits[_i].parts[i];
        ck_assert_msg(parts[i].length == strlen(expected) && memcmp(parts[i].data, expected, parts[i].length) == 0,
                      "%s of %s is %.*s", muster__url_component_name((enum muster__url_component)i), splits[_i].url,
                      (int)parts[i].length, parts[i].data);
    }
}
END_TEST

START_TEST(what_is_no_absolute_url_is_not_split)
{
    struct muster_bytes parts[MUSTER__URL_COMPONENT_COUNT];
    ck_assert(!muster__url_split(bytes("/path"), parts));
    ck_assert(!muster__url_split(bytes(""), parts));
    ck_assert(!muster__url_split(bytes("no protocol:x"), parts));
    ck_assert(!muster__url_split(bytes("7up:x"), parts));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("url_pattern");
    TCase *all = tcase_create("patterns");
    tcase_add_loop_test(all, a_pattern_matches_the_urls_it_says, 0, sizeof(texts) / sizeof(*texts));
    tcase_add_test(all, components_that_are_not_said_match_anything);
    tcase_add_test(all, components_take_from_the_base_what_stands_before_them);
    tcase_add_test(all, case_is_ignored_in_path_search_and_hash_if_it_shall_be);
    tcase_add_loop_test(all, what_is_no_pattern_is_refused_with_a_reason, 0, sizeof(refused) / sizeof(*refused));
    tcase_add_test(all, a_text_without_a_protocol_needs_a_base);
    tcase_add_test(all, a_pattern_that_is_too_long_is_refused);
    tcase_add_test(all, a_pattern_of_many_stars_takes_no_longer_than_its_length_times_the_urls);
    tcase_add_loop_test(all, a_url_is_split_into_its_components, 0, sizeof(splits) / sizeof(*splits));
    tcase_add_test(all, what_is_no_absolute_url_is_not_split);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
