// OpenBLAS in its OpenMP build, opened at run time.
#pragma once

#include <cstdint>
#include <string>

#include "cpu/kernels/matmul.h"

namespace heddle::cpu::openblas {

// What opening it found; done once, on first use, for the life of the process.
//
// The library is opened by its own path with local symbols: the name libopenblas.so.0 may lead to the pthread
// build, whose threads would compete with the device's, and the host process may have an OpenBLAS of its own.
// A library that does not report OpenMP is refused. OpenBLAS does not know every AVX-512 processor as one and
// then runs its AVX2 kernels at half the speed; so, where the processor has AVX-512 and the user has not set
// OPENBLAS_CORETYPE, it is set to SkylakeX while the library loads, and then removed. Not so when the process
// has already loaded an OpenBLAS. Changing the environment is not safe while other threads read it: open the
// cpu device before starting such threads.
struct Status {
  bool available = false;
  std::string path;           // of the library
  std::string configuration;  // its own description: "OpenBLAS 0.3.21 ... SkylakeX MAX_THREADS=64"
  std::string reason;         // why it is not available
};
const Status& status();

// y = a' @ b', one batch after the other, float32 or float64. Requires status().available and a shape without
// zeros.
void matmul(const MatmulShape& shape, Threads threads, const void* a, const void* b, void* y);

}  // namespace heddle::cpu::openblas
