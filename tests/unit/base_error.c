/* base_error.c - the caller's error struct: never past its size, cut between characters. */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_name_and_text(void **state)
{
  (void)state;
  for (int i = 0; i < CENOTE_STATUS_COUNT; i++) {
    assert_int_equal(strncmp(cenote_status_name((cenote_status)i), "CENOTE_", 7), 0);
    assert_true(strlen(cenote_status_text((cenote_status)i)) > 0);
  }
  assert_string_equal(cenote_status_name(CENOTE_TIMEOUT), "CENOTE_TIMEOUT");
  assert_string_equal(cenote_status_name(CENOTE_INTERNAL), "CENOTE_INTERNAL");
  assert_string_equal(cenote_status_name(CENOTE_STATUS_COUNT), "CENOTE_UNKNOWN");
  assert_string_equal(cenote_status_name((cenote_status)-1), "CENOTE_UNKNOWN");
  assert_true(cen_status_retryable(CENOTE_CONNECTION_LOST));
  assert_false(cen_status_retryable(CENOTE_OUTCOME_UNKNOWN));
  assert_false(cen_status_retryable((cenote_status)1000));
}

static void setting_an_error_forgets_the_one_before(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, CENOTE_DATABASE, "first");
  cen_error_sqlstate(&error, "23505");
  cen_error_statement(&error, 7);
  cen_error_details(&error, "line %d\n", 1);
  cenote_error_add_field(&error, 'D', "a detail");
  cenote_status status = cenote_error_set(&error, CENOTE_TIMEOUT, "second %s", "one");
  assert_int_equal(status, CENOTE_TIMEOUT);
  assert_int_equal(error.status, CENOTE_TIMEOUT);
  assert_true(error.retryable);
  assert_string_equal(error.message, "second one");
  assert_string_equal(error.sqlstate, "");
  assert_int_equal(error.statement, -1);
  assert_string_equal(error.details, "");
  assert_null(cenote_error_field(&error, 'D'));
}

static void a_message_may_quote_the_message_it_replaces(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, CENOTE_CONNECT, "refused");
  cenote_error_set(&error, CENOTE_TIMEOUT, "timeout, last: %s", error.message);
  assert_string_equal(error.message, "timeout, last: refused");
}

static void null_errors_are_fine(void **state)
{
  (void)state;
  assert_int_equal(cenote_error_set(NULL, CENOTE_IO, "%d", 1), CENOTE_IO);
  cenote_error_add_field(NULL, 'D', "x");
  cen_error_clear(NULL);
  cen_error_sqlstate(NULL, "00000");
  cen_error_statement(NULL, 1);
  cen_error_details(NULL, "x");
  cen_error_copy(NULL, NULL);
  assert_null(cenote_error_field(NULL, 'D'));
}

/* Every size from none to the whole struct, on the heap, with a guard behind it: nothing is
 * written past `size`, and what lies inside is terminated. */
static void no_byte_past_the_callers_size_is_written(void **state)
{
  (void)state;
  char text[600];
  memset(text, 'x', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  cenote_error source = CENOTE_ERROR_INIT;
  cenote_error_set(&source, CENOTE_DATABASE, "%s", text);
  cen_error_details(&source, "%s%s%s%s%s", text, text, text, text, text);
  cenote_error_add_field(&source, 'M', text);
  for (size_t size = 0; size <= sizeof(cenote_error); size += size < 700 ? 1 : 37) {
    unsigned char *memory = malloc(sizeof(cenote_error) + 16);
    memset(memory, 0xA5, sizeof(cenote_error) + 16);
    cenote_error *error = (cenote_error *)(void *)memory;
    error->size = size;
    cenote_error_set(error, CENOTE_DATABASE, "%s", text);
    cen_error_sqlstate(error, "23505");
    cen_error_statement(error, 3);
    cen_error_details(error, "%s%s%s%s%s", text, text, text, text, text);
    cenote_error_add_field(error, 'D', text);
    cenote_error_add_field(error, 'H', "hint");
    cen_error_copy(error, &source);
    cen_error_clear(error);
    cenote_error_set(error, CENOTE_DATABASE, "%s", text);
    for (size_t i = size < sizeof(size_t) ? sizeof(size_t) : size; i < sizeof(cenote_error) + 16;
         i++) {
      assert_int_equal(memory[i], 0xA5);
    }
    if (size > offsetof(cenote_error, message)) {
      assert_int_equal(error->status, CENOTE_DATABASE);
      size_t room = size - offsetof(cenote_error, message);
      assert_true(strnlen(error->message, room) < room);
    }
    assert_int_equal(error->size, size);
    free(memory);
  }
}

static void a_message_is_cut_between_characters(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char text[600];
  /* 509 letters and a character of three bytes: two of them would fit */
  memset(text, 'a', 509);
  memcpy(text + 509, "\xE2\x82\xAC end", 8);
  cenote_error_set(&error, CENOTE_IO, "%s", text);
  assert_int_equal(strlen(error.message), 509);
  /* and one that fits exactly */
  memset(text, 'a', 508);
  memcpy(text + 508, "\xE2\x82\xAC", 4);
  cenote_error_set(&error, CENOTE_IO, "%s", text);
  assert_int_equal(strlen(error.message), 511);
  for (int i = 0; i < 2000; i++) {
    cen_error_details(&error, "\xE2\x82\xAC");
  }
  assert_int_equal(strlen(error.details), 2046); /* 682 × 3; one byte more is no character */
}

static void fields_are_found_by_their_letter(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  assert_null(cenote_error_field(&error, 'S'));
  cenote_error_add_field(&error, 'S', "ERROR");
  cenote_error_add_field(&error, 'D', "");
  cenote_error_add_field(&error, 'n', "users_email_key");
  cenote_error_add_field(&error, 'S', "again"); /* the first one stays */
  cenote_error_add_field(&error, 'H', NULL);
  cenote_error_add_field(&error, '\0', "x");
  assert_string_equal(cenote_error_field(&error, 'S'), "ERROR");
  assert_string_equal(cenote_error_field(&error, 'D'), "");
  assert_string_equal(cenote_error_field(&error, 'n'), "users_email_key");
  assert_null(cenote_error_field(&error, 'H'));
  assert_null(cenote_error_field(&error, 'E'));
  assert_null(cenote_error_field(&error, '\0'));
}

static void a_long_field_leaves_room_for_the_others(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  char text[4000];
  memset(text, 'd', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  cenote_error_add_field(&error, 'D', text);
  cenote_error_add_field(&error, 'W', text);
  cenote_error_add_field(&error, 'n', "users_email_key");
  assert_string_equal(cenote_error_field(&error, 'n'), "users_email_key");
  assert_true(strlen(cenote_error_field(&error, 'D')) > 500);
  for (int letter = 'A'; letter <= 'Z'; letter++) {
    cenote_error_add_field(&error, (char)letter, text);
  }
  assert_string_equal(cenote_error_field(&error, 'n'), "users_email_key");
}

/* Whatever the memory held before, what is begun so reads as CENOTE_ERROR_INIT does. */
static void an_error_may_begin_in_memory_that_holds_anything(void **state)
{
  (void)state;
  cenote_error error;
  memset(&error, 0xA5, sizeof(error));
  cen_error_begin(&error);
  assert_int_equal(error.size, sizeof(error));
  assert_int_equal(error.status, CENOTE_OK);
  assert_int_equal(error.statement, -1);
  assert_string_equal(error.message, "");
  assert_string_equal(error.details, "");
  assert_string_equal(error.sqlstate, "");
  for (int letter = 1; letter < 256; letter++) {
    assert_null(cenote_error_field(&error, (char)letter));
  }
  cenote_error_add_field(&error, 'D', "first");
  cenote_error_add_field(&error, 'H', "second");
  cenote_error copy;
  memset(&copy, 0x5A, sizeof(copy));
  cen_error_begin(&copy);
  cen_error_copy(&copy, &error);
  assert_string_equal(cenote_error_field(&copy, 'D'), "first");
  assert_string_equal(cenote_error_field(&copy, 'H'), "second");
  assert_null(cenote_error_field(&copy, 'S'));
  cen_error_clear(&copy);
  assert_null(cenote_error_field(&copy, 'D'));
}

static void fields_overwritten_by_a_host_are_not_read_past_their_end(void **state)
{
  (void)state;
  cenote_error *error = malloc(sizeof(*error)); /* the sanitizer guards its end */
  *error = (cenote_error)CENOTE_ERROR_INIT;
  memset(error->fields, 'x', sizeof(error->fields));
  assert_null(cenote_error_field(error, 'y'));
  cenote_error_add_field(error, 'y', "more");
  cenote_error copy = CENOTE_ERROR_INIT;
  cen_error_copy(&copy, error);
  assert_null(cenote_error_field(&copy, 'x'));
  memset(error->message, 'x', sizeof(error->message));
  memset(error->details, 'x', sizeof(error->details));
  cen_error_copy(&copy, error);
  assert_int_equal(strlen(copy.message), sizeof(copy.message) - 1);
  free(error);
}

static void a_copy_has_all_that_the_original_has(void **state)
{
  (void)state;
  cenote_error from = CENOTE_ERROR_INIT, to = CENOTE_ERROR_INIT;
  cenote_error_set(&from, CENOTE_DATABASE, "duplicate key");
  cen_error_sqlstate(&from, "23505");
  cen_error_statement(&from, 4);
  cen_error_details(&from, "the server said so");
  cenote_error_add_field(&from, 'n', "users_email_key");
  cen_error_copy(&to, &from);
  assert_memory_equal(&to, &from, offsetof(cenote_error, message));
  assert_string_equal(to.message, "duplicate key");
  assert_string_equal(to.details, "the server said so");
  assert_string_equal(cenote_error_field(&to, 'n'), "users_email_key");
}

static void an_sqlstate_has_five_characters(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cen_error_sqlstate(&error, "23505");
  assert_string_equal(error.sqlstate, "23505");
  cen_error_sqlstate(&error, "235050");
  assert_string_equal(error.sqlstate, "");
  cen_error_sqlstate(&error, "23505");
  cen_error_sqlstate(&error, NULL);
  assert_string_equal(error.sqlstate, "");
}

static void a_secret_is_hidden_wherever_an_error_has_it(void **state)
{
  (void)state;
  cenote_error error = CENOTE_ERROR_INIT;
  cenote_error_set(&error, CENOTE_IO, "it said: abcdef, and abcdefabcdef");
  cen_error_details(&error, "one abcdef\ncut off: abcde\nabcd");
  cenote_error_add_field(&error, 'M', "abcdef");
  cenote_error_add_field(&error, 'D', "xabcdefx");
  cen_error_hide(&error, "abcdef");
  assert_string_equal(error.message, "it said: ******, and ************");
  assert_string_equal(error.details, "one ******\ncut off: *****\nabcd");
  assert_string_equal(cenote_error_field(&error, 'M'), "******");
  assert_string_equal(cenote_error_field(&error, 'D'), "x******x");
  cenote_error_set(&error, CENOTE_IO, "abcd");
  cen_error_hide(&error, "abcd"); /* too short to hide */
  cen_error_hide(&error, "");
  cen_error_hide(&error, NULL);
  cen_error_hide(NULL, "abcdef");
  cen_error_hide(&error, "abcdefgh");
  assert_string_equal(error.message, "abcd");
  memset(error.fields, 'x', sizeof error.fields); /* a host's doing */
  cen_error_hide(&error, "xxxxxx");
}

static void the_version_is_the_headers(void **state)
{
  (void)state;
  char expected[32];
  snprintf(expected, sizeof(expected), "%d.%d.%d", CENOTE_VERSION_MAJOR, CENOTE_VERSION_MINOR,
           CENOTE_VERSION_PATCH);
  assert_string_equal(cenote_version(), expected);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_status_has_name_and_text),
      cmocka_unit_test(setting_an_error_forgets_the_one_before),
      cmocka_unit_test(a_message_may_quote_the_message_it_replaces),
      cmocka_unit_test(null_errors_are_fine),
      cmocka_unit_test(no_byte_past_the_callers_size_is_written),
      cmocka_unit_test(a_message_is_cut_between_characters),
      cmocka_unit_test(fields_are_found_by_their_letter),
      cmocka_unit_test(a_long_field_leaves_room_for_the_others),
      cmocka_unit_test(an_error_may_begin_in_memory_that_holds_anything),
      cmocka_unit_test(fields_overwritten_by_a_host_are_not_read_past_their_end),
      cmocka_unit_test(a_copy_has_all_that_the_original_has),
      cmocka_unit_test(an_sqlstate_has_five_characters),
      cmocka_unit_test(a_secret_is_hidden_wherever_an_error_has_it),
      cmocka_unit_test(the_version_is_the_headers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
