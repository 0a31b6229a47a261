// What the processor offers.
#pragma once

#include <cstdint>
#include <string>

namespace heddle::cpu {

// Instruction sets that kernel tables distinguish, by rising ability within one architecture.
enum class Isa : uint8_t {
  generic,      // anything else
  neon,         // 64-bit Arm
  avx2,         // x86-64 with AVX2, FMA and F16C
  avx512,       // and AVX-512 F, CD, BW, DQ, VL
  avx512_bf16,  // and the bfloat16 dot product
};

// "AVX-512" and so on, as people write them.
const char* isa_name(Isa isa);

struct Cpu {
  Isa isa = Isa::generic;
  std::string model;          // "AMD EPYC"; "unknown processor" where the system does not say
  int processors = 1;         // that this process may run on
  uint64_t memory_bytes = 0;  // of the machine
};

// This machine; read once. Any thread.
const Cpu& this_cpu();

// One line for people: "AMD EPYC, 2 threads, AVX-512 with bfloat16".
std::string describe(const Cpu& cpu, int threads);

}  // namespace heddle::cpu
