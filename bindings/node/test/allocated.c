/*
 * allocated.c - a module of Node's for the tests of memory: how many bytes of the heap the process
 * has allocated now, by the address sanitizer's count where that is preloaded, else by glibc's. Any
 * thread may ask.
 */
#include <malloc.h>
#include <node_api.h>

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static napi_value allocated(napi_env env, napi_callback_info info)
{
  (void)info;
  double bytes;
  if (__sanitizer_get_current_allocated_bytes != NULL) {
    bytes = (double)__sanitizer_get_current_allocated_bytes();
  } else {
    struct mallinfo2 of_all = mallinfo2(); /* of every thread's arena */
    bytes = (double)(of_all.uordblks + of_all.hblkhd);
  }
  napi_value answer = NULL;
  return napi_create_double(env, bytes, &answer) == napi_ok ? answer : NULL;
}

NAPI_MODULE_INIT()
{
  napi_value function = NULL;
  if (napi_create_function(env, NULL, 0, allocated, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, "allocated", function) != napi_ok) {
    return NULL;
  }
  return exports;
}
