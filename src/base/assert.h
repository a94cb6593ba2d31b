#pragma once

#include "base/error.h"

/// A mistake of ours, never of the user's: throws Internal with the place. Input cannot trigger it.
#define CANDELA_ASSERT(condition, what)                                           \
  do {                                                                            \
    if (!(condition)) {                                                           \
      ::candela::fail(::candela::ErrorKind::Internal, ::candela::Subject::Device, \
                      "Internal error at {}:{}: {}.", __FILE__, __LINE__, what);  \
    }                                                                             \
  } while (false)
