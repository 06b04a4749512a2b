// What a function that is called by ctypes begins with; all else stays hidden.
#pragma once

#define EXPORTED extern "C" __attribute__((visibility("default")))
