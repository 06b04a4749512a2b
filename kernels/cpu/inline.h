// For small functions on vectors: passed in memory, these would cost more than the arithmetic.
#pragma once

#define INLINE inline __attribute__((always_inline))
