/* stepped_atomics.h - included before everything else in the simulation's build of the core:
 * each atomic access becomes a step where the scheduler may switch to another thread. Without it
 * only moves of a slot's word would be such points, and a race at a stamp would stay unseen. */
#ifndef SIM_STEPPED_ATOMICS_H
#define SIM_STEPPED_ATOMICS_H

#include <stdatomic.h>

void sim_step_at(const char *file, int line);

#define SIM_HERE() sim_step_at(__FILE__, __LINE__)

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_compare_exchange_strong_explicit

/* Another step after a store or a CAS: what follows need not be atomic to matter. */
#ifdef __clang__

#define atomic_load_explicit(object, order) (SIM_HERE(), __c11_atomic_load((object), (order)))
#define atomic_store_explicit(object, value, order) \
  (SIM_HERE(), __c11_atomic_store((object), (value), (order)), SIM_HERE())
#define atomic_compare_exchange_strong_explicit(object, expected, value, success, failure)         \
  __extension__({                                                                                  \
    SIM_HERE();                                                                                    \
    const _Bool sim_done =                                                                         \
        __c11_atomic_compare_exchange_strong((object), (expected), (value), (success), (failure)); \
    SIM_HERE();                                                                                    \
    sim_done;                                                                                      \
  })

#else

#define atomic_load_explicit(object, order)         \
  __extension__({                                   \
    SIM_HERE();                                     \
    __auto_type sim_object = (object);              \
    __typeof__((void)0, *sim_object) sim_value;     \
    __atomic_load(sim_object, &sim_value, (order)); \
    sim_value;                                      \
  })
#define atomic_store_explicit(object, value, order)       \
  __extension__({                                         \
    SIM_HERE();                                           \
    __auto_type sim_object = (object);                    \
    __typeof__((void)0, *sim_object) sim_value = (value); \
    __atomic_store(sim_object, &sim_value, (order));      \
    SIM_HERE();                                           \
  })
#define atomic_compare_exchange_strong_explicit(object, expected, value, success, failure)      \
  __extension__({                                                                               \
    SIM_HERE();                                                                                 \
    __auto_type sim_object = (object);                                                          \
    __typeof__((void)0, *sim_object) sim_value = (value);                                       \
    const _Bool sim_done =                                                                      \
        __atomic_compare_exchange(sim_object, (expected), &sim_value, 0, (success), (failure)); \
    SIM_HERE();                                                                                 \
    sim_done;                                                                                   \
  })

#endif

#endif
