/* sanitized.h - is this file compiled for a sanitizer? gcc and clang say so in different words. */
#ifndef CEN_SANITIZED_H
#define CEN_SANITIZED_H

#if defined(__has_feature)
#define CEN_HAS_FEATURE(name) __has_feature(name)
#else
#define CEN_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || CEN_HAS_FEATURE(address_sanitizer)
#define CEN_SANITIZED_ADDRESS 1
#else
#define CEN_SANITIZED_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__) || CEN_HAS_FEATURE(thread_sanitizer)
#define CEN_SANITIZED_THREAD 1
#else
#define CEN_SANITIZED_THREAD 0
#endif

#define CEN_SANITIZED (CEN_SANITIZED_ADDRESS || CEN_SANITIZED_THREAD)

#endif
