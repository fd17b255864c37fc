/* tests/test_core_rules.c - the life of a registration as scripts are promised it, a rule at a time.
 *
 * The ids are those of the requirements that were drawn from the Service Workers specification: REG register,
 * JOB job queues, UPD update, INS install, ACT activate, SKIP skipWaiting, UNR unregister, CLI clients, MAP the
 * map of registrations, SOFT soft update, PERSIST restarts. */
#include "test_core_say.h"

#include <stdlib.h>

static void set_up_notes(void)
{
    struct muster__core_options options = short_times;
    options.notes = true;
    options.load_us = 2000000;
    now_us = 0;
    core = muster__core_new(&options);
    ck_assert_ptr_nonnull(core);
}

/* Version 1 of "/", of a script's, from the fetch to OPEN; instance 1 too. */
static void bring_up(void)
{
    say("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    say("ACTIVATE_ENDED instance=1");
}

/* Two clients of version 1, and version 2 waits. */
static void bring_second(void)
{
    bring_up();
    say("USE version=1");
    say("USE version=1");
    say("UPDATE job=2 scope=\"/\" early=1");
    say("LOADED job=2 version=2 changed=1");
    say("PLACED instance=2");
    say("STARTED instance=2");
    say("INSTALL_ENDED instance=2");
}

static void bring_plain(void)
{
    say("REGISTER job=1 version=1 scope=\"key\" script=\"a\" plain=1");
    say("PLACED instance=1");
    say("STARTED instance=1 ok=1");
}

static void put_slot(char *text, size_t size, const char *name, uint32_t version,
                     enum muster__version_state state)
{
    size_t length = strlen(text);
    if (version != 0) {
        snprintf(text + length, size - length, " %s %u %s", name, version, muster__version_state_word(state));
    } else {
        snprintf(text + length, size - length, " %s - -", name);
    }
}

/* Of "/". */
static const char *view_text(void)
{
    static char text[256];
    struct muster__core_scope_view view;
    ck_assert(muster__core_scope_view(core, "/", &view) && view.registered);
    snprintf(text, sizeof(text), "%d:", (int)view.registration);
    put_slot(text, sizeof(text), "installing", view.installing, view.installing_state);
    put_slot(text, sizeof(text), "waiting", view.waiting, view.waiting_state);
    put_slot(text, sizeof(text), "active", view.active, view.active_state);
    size_t length = strlen(text);
    snprintf(text + length, sizeof(text) - length, "; controller %u; users %zu", view.controller, view.users);
    return text;
}

#define VIEW(expected) ck_assert_str_eq(view_text(), expected)

/* ---- jobs and fetches ---- */

/* SW-REG-3 */
START_TEST(an_equal_registration_settles_without_a_fetch)
{
    bring_up();
    SAY("REGISTER job=2 scope=\"/\" script=\"a\" load=1 early=1",
        "SETTLE_JOB job=2 version=1 registration=1 scope=\"/\"");
    SAY("REGISTER job=3 scope=\"/\" script=\"a\" load=1 early=1 via=all",
        "LOAD job=3 version=1 registration=1 scope=\"/\"");
    SAY("LOADED job=3", "SETTLE_JOB job=3 version=1 registration=1 scope=\"/\"");
    SAY("REGISTER job=4 scope=\"/\" script=\"a\" load=1 early=1 via=all",
        "SETTLE_JOB job=4 version=1 registration=1 scope=\"/\"");
}
END_TEST

/* SW-JOB-2, SW-JOB-3 */
START_TEST(an_equal_job_joins_the_last_one_and_no_other)
{
    bring_up();
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    SAY("UPDATE job=3 scope=\"/\" early=1", "");
    SAY("UPDATE job=4 scope=\"/\" script=\"a\" early=1", "");
    SAY("UPDATE job=5 scope=\"/\" early=1", "");
    SAY("LOADED job=2",
        "SETTLE_JOB job=2 version=1 registration=1 scope=\"/\"; "
        "SETTLE_JOB job=3 version=1 registration=1 scope=\"/\"; "
        "LOAD job=4 version=1 registration=1 scope=\"/\"");
    SAY("LOADED job=4",
        "SETTLE_JOB job=4 version=1 registration=1 scope=\"/\"; "
        "LOAD job=5 version=1 registration=1 scope=\"/\"");
    SAY("LOADED job=5 status=LOAD_FAILED",
        "SETTLE_JOB job=5 status=LOAD_FAILED registration=1 scope=\"/\"");
}
END_TEST

/* SW-JOB-2 */
START_TEST(a_job_that_was_settled_is_not_joined)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1",
        "NOTE_SLOTS registration=1 installing=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=1 registration=1 scope=\"/\"; INSTALL version=1 instance=1");
    SAY("REGISTER job=2 scope=\"/\" script=\"a\" load=1 early=1", "");
    SAY("INSTALL_ENDED instance=1",
        "PUBLISH version=1 scope=\"/\"; NOTE_SLOTS registration=1 waiting=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installed scope=\"/\"; "
        "NOTE_SLOTS registration=1 active=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=activating scope=\"/\"; "
        "ACTIVATE version=1 instance=1; SETTLE_JOB job=2 version=1 registration=1 scope=\"/\"");
}
END_TEST

/* SW-UPD-1 */
START_TEST(an_update_of_what_is_gone_or_another_script_fails)
{
    SAY("UPDATE job=1 scope=\"/\" early=1", "SETTLE_JOB job=1 status=NOT_FOUND");
    bring_up();
    SAY("UPDATE job=2 scope=\"/\" script=\"b\" early=1", "SETTLE_JOB job=2 status=NOT_FOUND scope=\"/\"");
    SAY("UPDATE job=3 scope=\"/\" script=\"a\" early=1", "LOAD job=3 version=1 registration=1 scope=\"/\"");
}
END_TEST

/* SW-UPD-6 */
START_TEST(a_fetch_that_changed_nothing_settles_with_the_newest_version)
{
    bring_second();
    SAY("UPDATE job=3 scope=\"/\" early=1", "LOAD job=3 version=2 registration=1 scope=\"/\"");
    SAY("LOADED job=3 checked=77", "SETTLE_JOB job=3 version=2 registration=1 scope=\"/\"");
}
END_TEST

/* SW-UPD-6 */
START_TEST(a_fetch_that_failed_removes_a_registration_without_versions)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    SAY("LOADED job=1 status=LOAD_FAILED version=1",
        "DISPOSE version=1 scope=\"/\"; WITHDRAW registration=1 scope=\"/\"; "
        "SETTLE_JOB job=1 status=LOAD_FAILED registration=1 scope=\"/\"");
    SAY("REGISTER job=2 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=2 registration=2 scope=\"/\"");
    SAY("LOADED job=2",
        "WITHDRAW registration=2 scope=\"/\"; "
        "SETTLE_JOB job=2 status=LOAD_FAILED registration=2 scope=\"/\"");
}
END_TEST

/* SW-UPD-6 */
START_TEST(a_fetch_that_failed_leaves_the_active_version_alone)
{
    bring_up();
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    SAY("LOADED job=2 status=LOAD_FAILED version=2",
        "DISPOSE version=2 scope=\"/\"; SETTLE_JOB job=2 status=LOAD_FAILED registration=1 scope=\"/\"");
}
END_TEST

/* SW-UPD-7 */
START_TEST(a_script_that_throws_rejects_the_job_and_drops_the_registration)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1 status=SCRIPT_ERROR",
        "FAIL_QUEUED version=1 status=SCRIPT_ERROR scope=\"/\"; "
        "WITHDRAW version=1 reason=INSTALL_FAILED registration=1 scope=\"/\"; "
        "VACATE version=1 instance=1 reason=START_FAILED; STOP version=1 instance=1 reason=START_FAILED; "
        "SETTLE_JOB job=1 version=1 status=SCRIPT_ERROR registration=1 scope=\"/\"");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=START_FAILED; "
        "DISPOSE version=1 reason=INSTALL_FAILED scope=\"/\"");
}
END_TEST

START_TEST(a_fetch_has_a_bound_and_what_comes_later_is_given_back)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    at(2000);
    SAY("TICK",
        "WITHDRAW registration=1 scope=\"/\"; "
        "SETTLE_JOB job=1 status=TIMED_OUT registration=1 scope=\"/\"");
    SAY("LOADED job=1 version=1 changed=1", "DISPOSE version=1");
    SAY("LOADED job=1", "");
}
END_TEST

/* ---- install ---- */

/* SW-INS-1 */
START_TEST(installing_is_told_in_order_slot_state_promise_updatefound_event)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    SAY("REGISTER job=2 scope=\"/\" script=\"a\" load=1 early=1", "");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1",
        "NOTE_SLOTS registration=1 installing=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"; "
        "SETTLE_JOB job=2 version=1 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=1 registration=1 scope=\"/\"; INSTALL version=1 instance=1");
    SAY("STARTED instance=1", "");
}
END_TEST

/* SW-INS-2 */
START_TEST(a_failed_install_is_redundant_and_its_promise_was_kept_before)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1",
        "NOTE_SLOTS registration=1 installing=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=1 registration=1 scope=\"/\"; INSTALL version=1 instance=1");
    SAY("INSTALL_ENDED instance=1 status=REJECTED",
        "FAIL_QUEUED version=1 status=REJECTED scope=\"/\"; "
        "NOTE_SLOTS registration=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "WITHDRAW version=1 reason=INSTALL_FAILED registration=1 scope=\"/\"; "
        "VACATE version=1 instance=1 reason=INSTALL_FAILED; "
        "STOP version=1 instance=1 reason=INSTALL_FAILED");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=INSTALL_FAILED; "
        "DISPOSE version=1 reason=INSTALL_FAILED scope=\"/\"");
}
END_TEST

/* SW-INS-2 */
START_TEST(a_failed_update_is_redundant_and_the_active_one_goes_on)
{
    bring_up();
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    say("LOADED job=2 version=2 changed=1");
    say("PLACED instance=2");
    SAY("STARTED instance=2",
        "NOTE_SLOTS registration=1 installing=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=2 version=2 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=2 registration=1 scope=\"/\"; INSTALL version=2 instance=2");
    SAY("INSTALL_ENDED instance=2 status=REJECTED",
        "FAIL_QUEUED version=2 status=REJECTED scope=\"/\"; "
        "NOTE_SLOTS registration=1 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=redundant scope=\"/\"; "
        "VACATE version=2 instance=2 reason=INSTALL_FAILED; "
        "STOP version=2 instance=2 reason=INSTALL_FAILED");
}
END_TEST

/* SW-INS-1 */
START_TEST(an_install_that_was_lost_with_its_host_is_told_once)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1",
        "NOTE_SLOTS registration=1 installing=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=1 registration=1 scope=\"/\"; INSTALL version=1 instance=1");
    SAY("GONE instance=1 status=RETRY",
        "VACATE version=1 instance=1 reason=DIED; FORGET version=1 instance=1 reason=DIED; "
        "PLACE version=1 instance=2");
    say("PLACED instance=2");
    SAY("STARTED instance=2", "INSTALL version=1 instance=2");
    SAY("INSTALL_ENDED instance=2",
        "PUBLISH version=1 scope=\"/\"; NOTE_SLOTS registration=1 waiting=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installed scope=\"/\"; "
        "NOTE_SLOTS registration=1 active=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=activating scope=\"/\"; ACTIVATE version=1 instance=2");
}
END_TEST

/* SW-INS-3 */
START_TEST(the_job_ends_when_it_is_installed_and_the_next_one_begins)
{
    bring_up();
    SAY("USE version=1", "");
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    SAY("UNREGISTER job=3 scope=\"/\"", "");
    say("LOADED job=2 version=2 changed=1");
    say("PLACED instance=2");
    SAY("STARTED instance=2",
        "NOTE_SLOTS registration=1 installing=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=2 version=2 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=2 registration=1 scope=\"/\"; INSTALL version=2 instance=2");
    SAY("INSTALL_ENDED instance=2",
        "NOTE_SLOTS registration=1 waiting=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installed scope=\"/\"; "
        "WITHDRAW registration=1 scope=\"/\"; SETTLE_JOB job=3 registration=1 scope=\"/\"");
}
END_TEST

/* SW-INS-3 */
START_TEST(a_newer_one_that_is_installed_makes_the_waiting_one_redundant)
{
    bring_second();
    SAY("UPDATE job=3 scope=\"/\" early=1", "LOAD job=3 version=2 registration=1 scope=\"/\"");
    say("LOADED job=3 version=3 changed=1");
    say("PLACED instance=3");
    SAY("STARTED instance=3",
        "NOTE_SLOTS registration=1 installing=3 waiting=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=3 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=3 version=3 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=3 registration=1 scope=\"/\"; INSTALL version=3 instance=3");
    SAY("INSTALL_ENDED instance=3",
        "VACATE version=2 instance=2 reason=REPLACED; STOP version=2 instance=2 reason=REPLACED; "
        "NOTE_SLOTS registration=1 installing=3 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=redundant scope=\"/\"; "
        "NOTE_SLOTS registration=1 waiting=3 active=1 scope=\"/\"; "
        "NOTE_STATE version=3 registration=1 state=installed scope=\"/\"");
}
END_TEST

/* SW-INS-1 */
START_TEST(how_scripts_are_cached_changes_when_installing_begins)
{
    struct muster__core_scope_view view;
    bring_up();
    say("REGISTER job=2 scope=\"/\" script=\"b\" load=1 early=1 via=none");
    say("LOADED job=2 version=2 changed=1");
    say("PLACED instance=2");
    ck_assert(muster__core_scope_view(core, "/", &view));
    ck_assert_int_eq(view.via, MUSTER__VIA_IMPORTS);
    ck_assert_uint_eq(view.installing, 0); /* it is not seen before */
    ck_assert_uint_eq(view.newest, 2);
    say("STARTED instance=2");
    ck_assert(muster__core_scope_view(core, "/", &view));
    ck_assert_int_eq(view.via, MUSTER__VIA_NONE);
    ck_assert_uint_eq(view.installing, 2);
}
END_TEST

/* ---- activate ---- */

/* SW-ACT-1, SW-ACT-3 */
START_TEST(a_waiting_version_activates_when_the_last_client_is_gone)
{
    bring_second();
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=1", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; ACTIVATE version=2 instance=2");
    SAY("UNUSE version=1", "");
    SAY("ACTIVATE_ENDED instance=2",
        "NOTE_STATE version=2 registration=1 state=activated scope=\"/\"; OPEN version=2 instance=2");
}
END_TEST

/* SW-ACT-1 */
START_TEST(what_the_active_one_works_on_is_finished_first)
{
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1 holds=1 alive_until=2000000", "");
    at(20);
    SAY("TICK", "SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2");
}
END_TEST

/* SW-ACT-1 */
START_TEST(it_waits_for_clients_though_the_active_one_sleeps)
{
    bring_second();
    SAY("GONE instance=1",
        "VACATE version=1 instance=1 reason=DIED; FORGET version=1 instance=1 reason=DIED");
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=1",
        "PUBLISH version=2 scope=\"/\"; NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; ACTIVATE version=2 instance=2");
}
END_TEST

/* SW-ACT-1 */
START_TEST(nothing_takes_over_from_a_version_that_activates)
{
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2");
    SAY("UPDATE job=3 scope=\"/\" early=1", "LOAD job=3 version=2 registration=1 scope=\"/\"");
    say("LOADED job=3 version=3 changed=1");
    say("PLACED instance=3");
    SAY("SKIP_WAITING instance=3", "");
    SAY("STARTED instance=3",
        "NOTE_SLOTS registration=1 installing=3 active=2 scope=\"/\"; "
        "NOTE_STATE version=3 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=3 version=3 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=3 registration=1 scope=\"/\"; INSTALL version=3 instance=3");
    SAY("INSTALL_ENDED instance=3",
        "NOTE_SLOTS registration=1 waiting=3 active=2 scope=\"/\"; "
        "NOTE_STATE version=3 registration=1 state=installed scope=\"/\"");
    SAY("ACTIVATE_ENDED instance=2",
        "NOTE_STATE version=2 registration=1 state=activated scope=\"/\"; OPEN version=2 instance=2; "
        "PUBLISH version=3 scope=\"/\"; SAMPLE version=2 instance=2");
}
END_TEST

/* SW-ACT-1 */
START_TEST(no_version_installs_while_another_takes_over)
{
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    SAY("UPDATE job=3 scope=\"/\" early=1", "");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2; "
        "LOAD job=3 version=2 registration=1 scope=\"/\"");
}
END_TEST

/* SW-ACT-1 */
START_TEST(none_takes_over_from_a_busy_one_while_a_newer_one_installs)
{
    bring_second();
    say("UPDATE job=3 scope=\"/\" early=1");
    say("LOADED job=3 version=3 changed=1");
    say("PLACED instance=3");
    say("STARTED instance=3");
    say("UNUSE version=1");
    SAY("UNUSE version=1", ""); /* else two would be in line for its place */
    SAY("INSTALL_ENDED instance=3",
        "VACATE version=2 instance=2 reason=REPLACED; STOP version=2 instance=2 reason=REPLACED; "
        "NOTE_SLOTS registration=1 installing=3 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=redundant scope=\"/\"; "
        "NOTE_SLOTS registration=1 waiting=3 active=1 scope=\"/\"; "
        "NOTE_STATE version=3 registration=1 state=installed scope=\"/\"; "
        "PUBLISH version=3 scope=\"/\"; SAMPLE version=1 instance=1");
}
END_TEST

/* SW-ACT-1 */
START_TEST(a_version_that_a_script_did_not_register_lets_the_active_one_end_by_itself)
{
    bring_up();
    SAY("REGISTER job=2 version=2 scope=\"/\" script=\"b\"", "PLACE version=2 instance=2");
    say("PLACED instance=2");
    SAY("STARTED instance=2",
        "NOTE_SLOTS registration=1 installing=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installing scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=2 registration=1 scope=\"/\"; INSTALL version=2 instance=2");
    SAY("INSTALL_ENDED instance=2",
        "NOTE_SLOTS registration=1 waiting=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installed scope=\"/\"; "
        "SETTLE_JOB job=2 version=2 registration=1 scope=\"/\"");
    at(1000);
    SAY("TICK", "SAMPLE version=1 instance=1; SAMPLE version=2 instance=2");
}
END_TEST

/* SW-CLI-2 */
START_TEST(a_client_that_comes_while_one_takes_over_is_the_new_ones)
{
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    VIEW("1: installing - - waiting 2 installed active 1 activated; controller 2; users 2");
    SAY("USE version=2", "");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2");
    VIEW("1: installing - - waiting - - active 2 activating; controller 2; users 3");
}
END_TEST

/* SW-ACT-2 */
START_TEST(activating_is_told_in_order_and_moves_the_clients)
{
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2");
    SAY("ACTIVATE_ENDED instance=2 status=REJECTED",
        "NOTE_STATE version=2 registration=1 state=activated scope=\"/\"; OPEN version=2 instance=2");
    VIEW("1: installing - - waiting - - active 2 activated; controller 2; users 2");
}
END_TEST

/* SW-ACT-2 */
START_TEST(a_death_while_it_activates_does_not_prevent_activated)
{
    SAY("REGISTER job=1 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=1 registration=1 scope=\"/\"");
    say("LOADED job=1 version=1 changed=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1",
        "NOTE_SLOTS registration=1 installing=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=1 registration=1 scope=\"/\"; INSTALL version=1 instance=1");
    SAY("INSTALL_ENDED instance=1",
        "PUBLISH version=1 scope=\"/\"; NOTE_SLOTS registration=1 waiting=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=installed scope=\"/\"; "
        "NOTE_SLOTS registration=1 active=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=activating scope=\"/\"; ACTIVATE version=1 instance=1");
    SAY("GONE instance=1 status=TURN_LIMIT",
        "VACATE version=1 instance=1 reason=DIED; "
        "NOTE_STATE version=1 registration=1 state=activated scope=\"/\"; "
        "FORGET version=1 instance=1 reason=DIED");
}
END_TEST

/* SW-ACT-2 */
START_TEST(a_version_that_cannot_be_started_for_its_activation_is_activated)
{
    bring_second();
    SAY("GONE instance=2",
        "VACATE version=2 instance=2 reason=DIED; FORGET version=2 instance=2 reason=DIED");
    SAY("GONE instance=1",
        "VACATE version=1 instance=1 reason=DIED; FORGET version=1 instance=1 reason=DIED");
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=1",
        "PUBLISH version=2 scope=\"/\"; NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; PLACE version=2 instance=3");
    SAY("PLACED instance=3 status=REFUSED",
        "FAIL_QUEUED version=2 status=REFUSED scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activated scope=\"/\"; "
        "VACATE version=2 instance=3 reason=START_FAILED; FORGET version=2 instance=3 reason=START_FAILED");
    SAY("WANT version=2", "PLACE version=2 instance=4");
    say("PLACED instance=4");
}
END_TEST

/* SW-SKIP-1 */
START_TEST(skip_waiting_that_was_said_while_installing_counts_when_it_is_installed)
{
    bring_up();
    SAY("USE version=1", "");
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    say("LOADED job=2 version=2 changed=1");
    say("PLACED instance=2");
    SAY("STARTED instance=2",
        "NOTE_SLOTS registration=1 installing=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installing scope=\"/\"; "
        "SETTLE_JOB job=2 version=2 registration=1 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=2 registration=1 scope=\"/\"; INSTALL version=2 instance=2");
    SAY("SKIP_WAITING instance=2", "");
    SAY("INSTALL_ENDED instance=2",
        "NOTE_SLOTS registration=1 waiting=2 active=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=installed scope=\"/\"; PUBLISH version=2 scope=\"/\"; "
        "SAMPLE version=1 instance=1");
}
END_TEST

/* ---- unregister ---- */

/* SW-UNR-1, SW-UNR-2 */
START_TEST(unregister_is_true_once_and_clears_what_nobody_uses)
{
    bring_up();
    SAY("UNREGISTER job=2 scope=\"/\"",
        "WITHDRAW registration=1 scope=\"/\"; SAMPLE version=1 instance=1; "
        "SETTLE_JOB job=2 registration=1 scope=\"/\"");
    SAY("UNREGISTER job=3 scope=\"/\"", "SETTLE_JOB job=3 status=NOT_FOUND scope=\"/\"");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=UNREGISTERED; "
        "NOTE_SLOTS registration=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"");
    SAY("GONE instance=1", "FORGET version=1 instance=1 reason=UNREGISTERED");
    at(20);
    SAY("TICK", "DISPOSE version=1 reason=UNREGISTERED scope=\"/\"");
}
END_TEST

/* SW-UNR-2 */
START_TEST(an_unregistered_version_serves_its_clients_until_the_last_is_gone)
{
    bring_up();
    SAY("USE version=1", "");
    SAY("UNREGISTER job=2 scope=\"/\"",
        "WITHDRAW registration=1 scope=\"/\"; SETTLE_JOB job=2 registration=1 scope=\"/\"");
    at(1000);
    SAY("TICK", "SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1", "STOP version=1 instance=1 reason=IDLE");
    SAY("GONE instance=1", "FORGET version=1 instance=1 reason=IDLE");
    SAY("WANT version=1", "PLACE version=1 instance=2");
    SAY("UNUSE version=1", "");
    say("PLACED instance=2");
    SAY("STARTED instance=2", "OPEN version=1 instance=2; SAMPLE version=1 instance=2");
    SAY("SAMPLED instance=2", "TRY_RETIRE version=1 instance=2");
    SAY("RETIRED instance=2 ok=1",
        "STOP version=1 instance=2 reason=UNREGISTERED; "
        "NOTE_SLOTS registration=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"");
    SAY("GONE instance=2", "FORGET version=1 instance=2 reason=UNREGISTERED");
    at(1020);
    SAY("TICK", "DISPOSE version=1 reason=UNREGISTERED scope=\"/\"");
}
END_TEST

/* SW-MAP-3 */
START_TEST(a_scope_that_is_registered_again_has_another_registration)
{
    bring_up();
    SAY("USE version=1", "");
    SAY("UNREGISTER job=2 scope=\"/\"",
        "WITHDRAW registration=1 scope=\"/\"; SETTLE_JOB job=2 registration=1 scope=\"/\"");
    SAY("REGISTER job=3 scope=\"/\" script=\"a\" load=1 early=1", "LOAD job=3 registration=2 scope=\"/\"");
    say("LOADED job=3 version=3 changed=1");
    say("PLACED instance=2");
    SAY("STARTED instance=2",
        "NOTE_SLOTS registration=2 installing=3 scope=\"/\"; "
        "NOTE_STATE version=3 registration=2 state=installing scope=\"/\"; "
        "SETTLE_JOB job=3 version=3 registration=2 scope=\"/\"; "
        "NOTE_UPDATE_FOUND version=3 registration=2 scope=\"/\"; INSTALL version=3 instance=2");
    SAY("INSTALL_ENDED instance=2",
        "PUBLISH version=3 scope=\"/\"; NOTE_SLOTS registration=2 waiting=3 scope=\"/\"; "
        "NOTE_STATE version=3 registration=2 state=installed scope=\"/\"; "
        "NOTE_SLOTS registration=2 active=3 scope=\"/\"; "
        "NOTE_STATE version=3 registration=2 state=activating scope=\"/\"; ACTIVATE version=3 instance=2");
    VIEW("2: installing - - waiting - - active 3 activating; controller 3; users 0");
    struct muster__core_scope_view old;
    ck_assert(muster__core_version_view(core, 1, &old));
    ck_assert(!old.registered && old.registration == 1 && old.active == 1 && old.users == 1);
    SAY("UNUSE version=1", "SAMPLE version=1 instance=1");
}
END_TEST

/* SW-UNR-2, SW-SKIP-1 */
START_TEST(a_version_of_an_unregistered_registration_can_still_take_over_its_clients)
{
    bring_second();
    SAY("UNREGISTER job=3 scope=\"/\"",
        "WITHDRAW registration=1 scope=\"/\"; SETTLE_JOB job=3 registration=1 scope=\"/\"");
    SAY("SKIP_WAITING instance=2", "SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "STOP version=1 instance=1 reason=REPLACED; "
        "NOTE_SLOTS registration=1 active=2 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=activating scope=\"/\"; "
        "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; ACTIVATE version=2 instance=2");
    SAY("ACTIVATE_ENDED instance=2",
        "NOTE_STATE version=2 registration=1 state=activated scope=\"/\"; OPEN version=2 instance=2");
    SAY("UNUSE version=2", "");
    SAY("UNUSE version=2", "SAMPLE version=2 instance=2");
}
END_TEST

/* SW-UNR-2 */
START_TEST(clearing_makes_the_waiting_one_redundant_too)
{
    bring_second();
    SAY("UNREGISTER job=3 scope=\"/\"",
        "WITHDRAW registration=1 scope=\"/\"; SETTLE_JOB job=3 registration=1 scope=\"/\"");
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=1",
        "SAMPLE version=1 instance=1; VACATE version=2 instance=2 reason=UNREGISTERED; "
        "STOP version=2 instance=2 reason=UNREGISTERED");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1", /* both at a time, when the active one has finished its work */
        "STOP version=1 instance=1 reason=UNREGISTERED; "
        "NOTE_SLOTS registration=1 scope=\"/\"; "
        "NOTE_STATE version=2 registration=1 state=redundant scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=redundant scope=\"/\"");
}
END_TEST

/* ---- plain versions ---- */

START_TEST(a_plain_version_settles_when_its_script_was_evaluated)
{
    SAY("REGISTER job=1 version=1 scope=\"key\" script=\"a\" plain=1",
        "PUBLISH version=1 scope=\"key\"; PLACE version=1 instance=1");
    SAY("REGISTER job=2 version=2 scope=\"key\" script=\"a\" plain=1", "DISPOSE version=2 scope=\"key\"");
    say("PLACED instance=1");
    SAY("STARTED instance=1 ok=1",
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"key\"; "
        "SETTLE_JOB job=2 version=1 registration=1 scope=\"key\"");
    SAY("REGISTER job=3 version=3 scope=\"key\" script=\"a\" plain=1",
        "DISPOSE version=3 scope=\"key\"; SETTLE_JOB job=3 version=1 registration=1 scope=\"key\"");
    SAY("REGISTER job=4 version=4 scope=\"key\" script=\"b\" plain=1",
        "DISPOSE version=4 scope=\"key\"; SETTLE_JOB job=4 status=EXISTS scope=\"key\"");
    SAY("REGISTER job=5 version=5 scope=\"key\" script=\"a\"",
        "DISPOSE version=5 scope=\"key\"; SETTLE_JOB job=5 status=EXISTS scope=\"key\"");
    SAY("UPDATE job=6 scope=\"key\" early=1", "SETTLE_JOB job=6 status=UNSUPPORTED scope=\"key\"");
}
END_TEST

START_TEST(a_plain_version_never_idles_and_does_not_move)
{
    bring_plain();
    at(100000);
    SAY("TICK", "");
    SAY("MOVE instance=1", "");
}
END_TEST

START_TEST(a_plain_version_that_dies_frees_its_key_at_once)
{
    bring_plain();
    SAY("GONE instance=1 status=CRASHED",
        "VACATE version=1 instance=1 reason=DIED; "
        "WITHDRAW version=1 reason=DIED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=TERMINATED reason=DIED scope=\"key\"; "
        "FORGET version=1 instance=1 reason=DIED; DISPOSE version=1 reason=DIED scope=\"key\"");
    SAY("WANT version=1", "");
    SAY("REGISTER job=2 version=2 scope=\"key\" script=\"a\" plain=1",
        "PUBLISH version=2 scope=\"key\"; PLACE version=2 instance=2");
}
END_TEST

START_TEST(a_plain_version_that_closes_itself_frees_its_key_before_it_is_gone)
{
    bring_plain();
    SAY("CLOSE_SELF instance=1",
        "VACATE version=1 instance=1 reason=CLOSED_SELF; "
        "WITHDRAW version=1 reason=DIED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=TERMINATED reason=DIED scope=\"key\"; "
        "STOP version=1 instance=1 reason=CLOSED_SELF");
    SAY("REGISTER job=2 version=2 scope=\"key\" script=\"a\" plain=1",
        "PUBLISH version=2 scope=\"key\"; PLACE version=2 instance=2");
    SAY("WANT version=1", "FAIL_QUEUED version=1 status=NOT_FOUND reason=DIED scope=\"key\"");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=CLOSED_SELF; DISPOSE version=1 reason=DIED scope=\"key\"");
}
END_TEST

START_TEST(a_plain_version_whose_script_fails_fails_its_job_and_frees_its_key)
{
    SAY("REGISTER job=1 version=1 scope=\"key\" script=\"a\" plain=1",
        "PUBLISH version=1 scope=\"key\"; PLACE version=1 instance=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1 status=SYNTAX_ERROR",
        "WITHDRAW version=1 reason=START_FAILED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=SYNTAX_ERROR reason=START_FAILED scope=\"key\"; "
        "VACATE version=1 instance=1 reason=START_FAILED; STOP version=1 instance=1 reason=START_FAILED; "
        "SETTLE_JOB job=1 version=1 status=SYNTAX_ERROR registration=1 scope=\"key\"");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=START_FAILED; "
        "DISPOSE version=1 reason=START_FAILED scope=\"key\"");
}
END_TEST

START_TEST(a_plain_version_is_not_started_twice_even_when_its_host_was_lost)
{
    SAY("REGISTER job=1 version=1 scope=\"key\" script=\"a\" plain=1",
        "PUBLISH version=1 scope=\"key\"; PLACE version=1 instance=1");
    say("PLACED instance=1");
    SAY("GONE instance=1 status=CRASHED",
        "WITHDRAW version=1 reason=START_FAILED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=CRASHED reason=START_FAILED scope=\"key\"; "
        "VACATE version=1 instance=1 reason=DIED; FORGET version=1 instance=1 reason=DIED; "
        "SETTLE_JOB job=1 version=1 status=CRASHED registration=1 scope=\"key\"; "
        "DISPOSE version=1 reason=START_FAILED scope=\"key\"");
}
END_TEST

START_TEST(a_lazy_plain_version_starts_when_it_is_wanted)
{
    SAY("REGISTER job=1 version=1 scope=\"key\" script=\"a\" plain=1 lazy=1",
        "PUBLISH version=1 scope=\"key\"; SETTLE_JOB job=1 version=1 registration=1 scope=\"key\"");
    SAY("WANT version=1", "PLACE version=1 instance=1");
    SAY("PLACED instance=1 status=REFUSED",
        "WITHDRAW version=1 reason=START_FAILED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=REFUSED reason=START_FAILED scope=\"key\"; "
        "VACATE version=1 instance=1 reason=START_FAILED; "
        "FORGET version=1 instance=1 reason=START_FAILED; "
        "DISPOSE version=1 reason=START_FAILED scope=\"key\"");
}
END_TEST

START_TEST(a_plain_version_that_nobody_holds_ends_cleanly)
{
    bring_plain();
    SAY("RELEASE version=1",
        "WITHDRAW version=1 reason=RELEASED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=TERMINATED reason=RELEASED scope=\"key\"; "
        "VACATE version=1 instance=1 reason=RELEASED; STOP version=1 instance=1 reason=RELEASED");
    SAY("RELEASE version=1", "");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=RELEASED; DISPOSE version=1 reason=RELEASED scope=\"key\"");
}
END_TEST

START_TEST(a_plain_version_that_is_released_by_force_is_interrupted)
{
    bring_plain();
    SAY("RELEASE version=1 force=1",
        "WITHDRAW version=1 reason=RELEASED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=TERMINATED reason=RELEASED scope=\"key\"; "
        "VACATE version=1 instance=1 reason=RELEASED; STOP version=1 instance=1 reason=RELEASED; "
        "CANCEL version=1 instance=1 reason=RELEASED");
}
END_TEST

START_TEST(a_plain_version_that_is_released_before_its_turn_never_starts)
{
    bring_plain();
    SAY("STOP job=2 scope=\"key\"",
        "VACATE version=1 instance=1 reason=ASKED; "
        "WITHDRAW version=1 reason=DIED registration=1 scope=\"key\"; "
        "FAIL_QUEUED version=1 status=TERMINATED reason=DIED scope=\"key\"; "
        "STOP version=1 instance=1 reason=ASKED");
    SAY("REGISTER job=3 version=3 scope=\"key\" script=\"b\" plain=1", "");
    SAY("RELEASE version=3", "");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=ASKED; SETTLE_JOB job=2 registration=1 scope=\"key\"; "
        "DISPOSE version=3 scope=\"key\"; SETTLE_JOB job=3 status=CANCELED scope=\"key\"; "
        "DISPOSE version=1 reason=DIED scope=\"key\"");
}
END_TEST

START_TEST(an_unregistered_plain_version_finishes_what_it_has)
{
    bring_plain();
    SAY("UNREGISTER job=2 scope=\"key\"",
        "WITHDRAW registration=1 scope=\"key\"; SAMPLE version=1 instance=1; "
        "SETTLE_JOB job=2 registration=1 scope=\"key\"");
    SAY("SAMPLED instance=1 holds=1", "");
    at(20);
    SAY("TICK", "SAMPLE version=1 instance=1");
    SAY("SAMPLED instance=1", "TRY_RETIRE version=1 instance=1");
    SAY("RETIRED instance=1 ok=1",
        "FAIL_QUEUED version=1 status=TERMINATED reason=UNREGISTERED scope=\"key\"; "
        "STOP version=1 instance=1 reason=UNREGISTERED");
    SAY("GONE instance=1",
        "FORGET version=1 instance=1 reason=UNREGISTERED; "
        "DISPOSE version=1 reason=UNREGISTERED scope=\"key\"");
}
END_TEST

/* ---- the rest ---- */

/* SW-PERSIST-1 */
START_TEST(a_restored_version_is_active_without_any_event)
{
    SAY("REGISTER job=1 version=1 scope=\"/\" script=\"a\" restored=1 checked=5",
        "NOTE_SLOTS registration=1 active=1 scope=\"/\"; "
        "NOTE_STATE version=1 registration=1 state=activated scope=\"/\"; PUBLISH version=1 scope=\"/\"; "
        "SETTLE_JOB job=1 version=1 registration=1 scope=\"/\"");
    SAY("WANT version=1", "PLACE version=1 instance=1");
    say("PLACED instance=1");
    SAY("STARTED instance=1 ok=1", "");
    SAY("REGISTER job=2 version=2 scope=\"/\" script=\"b\" restored=1", "PLACE version=2 instance=2");
}
END_TEST

START_TEST(what_is_fetched_when_everything_closes_is_given_back)
{
    bring_up();
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    SAY("CLOSE",
        "SETTLE_JOB job=2 status=SHUTDOWN registration=1 scope=\"/\"; "
        "FAIL_QUEUED version=1 status=SHUTDOWN scope=\"/\"; VACATE version=1 instance=1 reason=SHUTDOWN; "
        "STOP version=1 instance=1 reason=SHUTDOWN");
    SAY("LOADED job=2 version=2 changed=1", "DISPOSE version=2");
    SAY("GONE instance=1", "FORGET version=1 instance=1 reason=SHUTDOWN; CLOSED");
    ck_assert_uint_eq(muster__core_deadline(core), UINT64_MAX); /* nothing waits for the fetch */
}
END_TEST

START_TEST(a_client_of_nothing_and_one_that_goes_twice_change_nothing)
{
    bring_up();
    SAY("USE version=9", "");
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=9", "");
    SAY("RELEASE version=1", "");
    SAY("CHECKED version=9 checked=1", "");
    SAY("USE version=1", "");
    SAY("UNUSE version=1", "");
    SAY("UNUSE version=1", "");
    VIEW("1: installing - - waiting - - active 1 activated; controller 1; users 0");
}
END_TEST

/* SW-MAP-4 */
START_TEST(scripts_are_stale_a_day_after_they_were_checked)
{
    const uint64_t day_us = 86400000000, then_us = 1000;
    ck_assert(!muster__core_is_stale(core, "/", then_us));
    bring_up();
    ck_assert(!muster__core_is_stale(core, "/", UINT64_MAX)); /* never checked */
    say("CHECKED version=1 checked=1000");
    ck_assert(!muster__core_is_stale(core, "/", then_us + day_us));
    ck_assert(muster__core_is_stale(core, "/", then_us + day_us + 1));
    ck_assert(muster__core_is_stale(core, "/", then_us - 1)); /* the clock was set back */
    say("UPDATE job=2 scope=\"/\" early=1");
    say("LOADED job=2 status=LOAD_FAILED checked=2000"); /* it answered, and was refused */
    ck_assert(!muster__core_is_stale(core, "/", 2000 + day_us));
}
END_TEST

static void list(const struct muster__core_scope_view *view, void *user_data)
{
    size_t length = strlen(user_data);
    snprintf((char *)user_data + length, 256 - length, "%s %d %s %llu;", view->scope,
             (int)view->registration, muster__via_word(view->via), (unsigned long long)view->checked_us);
}

/* SW-MAP-1 */
START_TEST(registrations_are_listed_in_their_order)
{
    char text[256] = "";
    say("REGISTER job=1 version=1 scope=\"/a\" script=\"a\" restored=1 via=all checked=7");
    say("REGISTER job=2 version=2 scope=\"/b\" script=\"a\" restored=1");
    say("REGISTER job=3 scope=\"/c\" script=\"a\" load=1 early=1 via=none");
    say("UNREGISTER job=4 scope=\"/a\"");
    say("REGISTER job=5 version=5 scope=\"/a\" script=\"a\" restored=1");
    muster__core_each_registration(core, list, text);
    ck_assert_str_eq(text, "/b 2 imports 0;/c 3 none 0;/a 4 imports 0;");
}
END_TEST

/* SW-SOFT-1: a job of nobody's. */
START_TEST(an_embedders_version_can_be_updated_by_a_fetch)
{
    say("REGISTER job=1 version=1 scope=\"/\" script=\"a\" restored=1");
    SAY("UPDATE job=2 scope=\"/\" early=1", "LOAD job=2 version=1 registration=1 scope=\"/\"");
    SAY("LOADED job=2 version=2 changed=1", "PLACE version=2 instance=1");
    say("PLACED instance=1");
    say("STARTED instance=1");
    say("INSTALL_ENDED instance=1");
    VIEW("1: installing - - waiting - - active 2 activating; controller 2; users 0");
}
END_TEST

START_TEST(without_notes_scripts_are_told_nothing_and_clients_are_moved)
{
    muster__core_destroy(core);
    core = muster__core_new(&short_times);
    bring_second();
    SAY("SKIP_WAITING instance=2", "PUBLISH version=2 scope=\"/\"; SAMPLE version=1 instance=1");
    say("SAMPLED instance=1");
    SAY("RETIRED instance=1 ok=1", "STOP version=1 instance=1 reason=REPLACED; "
                                   "CONTROL version=2 registration=1 old=1 users=2 scope=\"/\"; "
                                   "ACTIVATE version=2 instance=2");
}
END_TEST

START_TEST(an_event_that_lacks_something_is_refused)
{
    static const char *const bad[] = {
        "REGISTER job=1 scope=\"/\" script=\"a\"",
        "REGISTER job=1 version=1 scope=\"/\" script=\"a\" load=1",
        "REGISTER job=1 scope=\"/\" load=1",
        "REGISTER job=1 scope=\"/\" script=\"a\" load=1 lazy=1",
        "REGISTER job=1 scope=\"/\" script=\"a\" load=1 plain=1",
        "REGISTER job=1 version=1 scope=\"/\" script=\"a\" plain=1 restored=1",
        "UPDATE scope=\"/\"",
        "UPDATE job=1",
        "LOADED version=1 changed=1",
        "LOADED job=1 changed=1",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[128];
        struct muster__core_event event;
        struct muster__core_actions actions;
        uint64_t ignored;
        snprintf(line, sizeof(line), "0 %s", bad[i]);
        ck_assert_int_eq(muster__core_event_parse(line, &event, &ignored), MUSTER_OK);
        ck_assert_msg(muster__core_step(core, &event, now_us, &actions) == MUSTER_INVALID_ARGUMENT, "%s",
                      bad[i]);
    }
}
END_TEST

static void add_jobs_and_fetches(Suite *suite)
{
    TCase *tc = tcase_create("jobs and fetches");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, an_equal_registration_settles_without_a_fetch);
    tcase_add_test(tc, an_equal_job_joins_the_last_one_and_no_other);
    tcase_add_test(tc, a_job_that_was_settled_is_not_joined);
    tcase_add_test(tc, an_update_of_what_is_gone_or_another_script_fails);
    tcase_add_test(tc, a_fetch_that_changed_nothing_settles_with_the_newest_version);
    tcase_add_test(tc, a_fetch_that_failed_removes_a_registration_without_versions);
    tcase_add_test(tc, a_fetch_that_failed_leaves_the_active_version_alone);
    tcase_add_test(tc, a_script_that_throws_rejects_the_job_and_drops_the_registration);
    tcase_add_test(tc, a_fetch_has_a_bound_and_what_comes_later_is_given_back);
    suite_add_tcase(suite, tc);
}

static void add_install(Suite *suite)
{
    TCase *tc = tcase_create("install");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, installing_is_told_in_order_slot_state_promise_updatefound_event);
    tcase_add_test(tc, a_failed_install_is_redundant_and_its_promise_was_kept_before);
    tcase_add_test(tc, a_failed_update_is_redundant_and_the_active_one_goes_on);
    tcase_add_test(tc, an_install_that_was_lost_with_its_host_is_told_once);
    tcase_add_test(tc, the_job_ends_when_it_is_installed_and_the_next_one_begins);
    tcase_add_test(tc, how_scripts_are_cached_changes_when_installing_begins);
    tcase_add_test(tc, a_newer_one_that_is_installed_makes_the_waiting_one_redundant);
    suite_add_tcase(suite, tc);
}

static void add_activate(Suite *suite)
{
    TCase *tc = tcase_create("activate");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, a_waiting_version_activates_when_the_last_client_is_gone);
    tcase_add_test(tc, what_the_active_one_works_on_is_finished_first);
    tcase_add_test(tc, it_waits_for_clients_though_the_active_one_sleeps);
    tcase_add_test(tc, nothing_takes_over_from_a_version_that_activates);
    tcase_add_test(tc, no_version_installs_while_another_takes_over);
    tcase_add_test(tc, none_takes_over_from_a_busy_one_while_a_newer_one_installs);
    tcase_add_test(tc, a_version_that_a_script_did_not_register_lets_the_active_one_end_by_itself);
    tcase_add_test(tc, a_client_that_comes_while_one_takes_over_is_the_new_ones);
    tcase_add_test(tc, activating_is_told_in_order_and_moves_the_clients);
    tcase_add_test(tc, a_death_while_it_activates_does_not_prevent_activated);
    tcase_add_test(tc, a_version_that_cannot_be_started_for_its_activation_is_activated);
    tcase_add_test(tc, skip_waiting_that_was_said_while_installing_counts_when_it_is_installed);
    suite_add_tcase(suite, tc);
}

static void add_unregister(Suite *suite)
{
    TCase *tc = tcase_create("unregister");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, unregister_is_true_once_and_clears_what_nobody_uses);
    tcase_add_test(tc, an_unregistered_version_serves_its_clients_until_the_last_is_gone);
    tcase_add_test(tc, a_scope_that_is_registered_again_has_another_registration);
    tcase_add_test(tc, a_version_of_an_unregistered_registration_can_still_take_over_its_clients);
    tcase_add_test(tc, clearing_makes_the_waiting_one_redundant_too);
    suite_add_tcase(suite, tc);
}

static void add_plain_versions(Suite *suite)
{
    TCase *tc = tcase_create("plain versions");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, a_plain_version_settles_when_its_script_was_evaluated);
    tcase_add_test(tc, a_plain_version_never_idles_and_does_not_move);
    tcase_add_test(tc, a_plain_version_that_dies_frees_its_key_at_once);
    tcase_add_test(tc, a_plain_version_that_closes_itself_frees_its_key_before_it_is_gone);
    tcase_add_test(tc, a_plain_version_whose_script_fails_fails_its_job_and_frees_its_key);
    tcase_add_test(tc, a_plain_version_is_not_started_twice_even_when_its_host_was_lost);
    tcase_add_test(tc, a_lazy_plain_version_starts_when_it_is_wanted);
    tcase_add_test(tc, a_plain_version_that_nobody_holds_ends_cleanly);
    tcase_add_test(tc, a_plain_version_that_is_released_by_force_is_interrupted);
    tcase_add_test(tc, a_plain_version_that_is_released_before_its_turn_never_starts);
    tcase_add_test(tc, an_unregistered_plain_version_finishes_what_it_has);
    suite_add_tcase(suite, tc);
}

static void add_the_rest(Suite *suite)
{
    TCase *tc = tcase_create("the rest");
    tcase_add_checked_fixture(tc, set_up_notes, teardown);
    tcase_add_test(tc, a_restored_version_is_active_without_any_event);
    tcase_add_test(tc, what_is_fetched_when_everything_closes_is_given_back);
    tcase_add_test(tc, a_client_of_nothing_and_one_that_goes_twice_change_nothing);
    tcase_add_test(tc, scripts_are_stale_a_day_after_they_were_checked);
    tcase_add_test(tc, registrations_are_listed_in_their_order);
    tcase_add_test(tc, an_embedders_version_can_be_updated_by_a_fetch);
    tcase_add_test(tc, without_notes_scripts_are_told_nothing_and_clients_are_moved);
    tcase_add_test(tc, an_event_that_lacks_something_is_refused);
    suite_add_tcase(suite, tc);
}

int main(void)
{
    Suite *suite = suite_create("core, by the rules");
    add_jobs_and_fetches(suite);
    add_install(suite);
    add_activate(suite);
    add_unregister(suite);
    add_plain_versions(suite);
    add_the_rest(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
