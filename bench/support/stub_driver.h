/* stub_driver.h - a driver that does nothing: what is left is the pool. */
#ifndef BENCH_STUB_DRIVER_H
#define BENCH_STUB_DRIVER_H

#include <cenote/driver.h>

extern const cenote_driver bench_stub_driver;

#endif
