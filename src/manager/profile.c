/* profile.c - where this process runs, which decides the defaults: a serverless platform is
 * recognised by the variables it sets; everything else is `local` unless told otherwise. */
#include "manager/settings_table.h"

#include "base/text.h"

#include <cenote/driver.h>
#include <string.h>

static const char *const profile_names[] = {
    [CEN_PROFILE_VERCEL] = "vercel", [CEN_PROFILE_NETLIFY] = "netlify",
    [CEN_PROFILE_LAMBDA] = "lambda", [CEN_PROFILE_LOCAL] = "local",
    [CEN_PROFILE_SERVER] = "server",
};

const char *cen_profile_name(cen_profile profile)
{
  return profile_names[profile];
}

bool cen_profile_from_name(const char *name, cen_profile *profile)
{
  for (size_t i = 0; i < sizeof(profile_names) / sizeof(profile_names[0]); i++) {
    if (strcmp(name, profile_names[i]) == 0) {
      *profile = (cen_profile)i;
      return true;
    }
  }
  return false;
}

cenote_status cen_profile_parse(const char *name, const char *where, cen_profile *profile,
                                cenote_error *error)
{
  char shown[80];
  if (cen_profile_from_name(name, profile)) {
    return CENOTE_OK;
  }
  cen_text_escape(shown, sizeof(shown), name);
  return cenote_error_set(
      error, CENOTE_CONFIG,
      "%sprofile = \"%s\": allowed are vercel, netlify, lambda, local and server", where, shown);
}

static bool variable_is_true(cen_getenv getenv_fn, void *context, const char *name)
{
  const char *text = cen_environment(getenv_fn, context, name);
  bool value = false;
  return text != NULL && cen_text_to_bool(text, &value) && value;
}

/* Vercel and Netlify run on Lambda, so they are asked for first. */
cen_profile cen_profile_detect(cen_getenv getenv_fn, void *context)
{
  if (variable_is_true(getenv_fn, context, "VERCEL")) {
    return CEN_PROFILE_VERCEL;
  }
  if (variable_is_true(getenv_fn, context, "NETLIFY")) {
    return CEN_PROFILE_NETLIFY;
  }
  if (cen_environment(getenv_fn, context, "AWS_LAMBDA_FUNCTION_NAME") != NULL) {
    return CEN_PROFILE_LAMBDA;
  }
  return CEN_PROFILE_LOCAL;
}
