/* The conformance suite on the fake driver, so that tests above drivers stand on firm ground. */
#include "driver/conformance.h"
#include "driver/fake_driver.h"

static struct fake_script script;

static const char *fake_url(void)
{
  return "fake:";
}

static const struct subject subject = {
#ifdef FAKE_BLOCKING
    .driver = &fake_driver_blocking,
#else
    .driver = &fake_driver,
#endif
    .has = HAS_BOOLEANS,
    .url = fake_url,
    .context = &script,
    .casts = {"", "", "", "", "", ""},
    .rows_10000 = "rows 10000",
    .slow = "sleep 30000",
    .brief = "sleep 1",
    .wrong = "SELEC 1",
    .fail_transaction = "error 23505",
    .dirt = {{"set something", NULL}, {NULL, NULL}},
};

int main(void)
{
  int failed;
  fake_script_init(&script);
  script.holds_back = true;
  failed = conformance_run(&subject);
  if (script.created != script.destroyed || script.open_now != 0) {
    print_error("connections are left\n");
    failed++;
  }
  fake_script_deinit(&script);
  return failed;
}
