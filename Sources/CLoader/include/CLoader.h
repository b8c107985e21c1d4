#ifndef SWIFTLET_CLOADER_H
#define SWIFTLET_CLOADER_H

// Loads system libraries when they are first used, so that a program runs where they are not installed and does without
// what they are for. This target defines their functions (those that we call), which hand calls on to the library.

typedef enum { loader_cairo, loader_zip, loader_curl, loader_crypto } loader_library;

// NULL if the library is loaded, otherwise why it cannot be. Loads it on the first call.
// The library's functions do nothing and return zero where it cannot be loaded: ask first.
const char *loader_failure(loader_library library);

#endif
