#include "cpu/isa.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace heddle::cpu {
namespace {

Isa detect_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // The f16c bit has no name in __builtin_cpu_supports of older compilers; every AVX2 processor has it.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::generic;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512cd") ||
      !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return Isa::avx2;
  return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
#elif defined(__aarch64__)
  return Isa::neon;
#else
  return Isa::generic;
#endif
}

std::string detect_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t at = line.find(": ");
    if (at != std::string::npos) return line.substr(at + 2);
  }
  return "unknown processor";
}

uint64_t detect_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && bytes > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(bytes) : 0;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::neon:
      return "NEON";
    case Isa::avx2:
      return "AVX2";
    case Isa::avx512:
      return "AVX-512";
    case Isa::avx512_bf16:
      return "AVX-512 with bfloat16";
    case Isa::generic:
      break;
  }
  return "no vector instructions used";
}

const Cpu& this_cpu() {
  static const Cpu cpu{detect_isa(), detect_model(), std::max(1, omp_get_num_procs()), detect_memory()};
  return cpu;
}

std::string describe(const Cpu& cpu, int threads) {
  return cpu.model + ", " + std::to_string(threads) + (threads == 1 ? " thread, " : " threads, ") +
         isa_name(cpu.isa);
}

}  // namespace heddle::cpu
