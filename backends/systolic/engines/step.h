// A bound instruction: what the execution plan is made of. Everything that can be decided before a run has
// been.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "heddle/dtype.h"

namespace heddle::systolic {

// What data can do wrong, found while an instruction computes; the plan turns it into an Error with the
// kernel line.
enum class Fault : uint8_t {
  ok,
  function_range,  // an argument outside the table of a scalar-engine function
  index_range,     // an index outside its table
  not_onezero,     // an operand promised to hold only 0 and 1 holds something else
};

// What a step may use. `base[0]` is on-chip memory, `base[1 + v]` the memory of HBM value v.
struct Context {
  std::byte* const* base;
  std::byte* scratch;  // scratch_bytes, 64-byte aligned; contents mean nothing between steps
};
inline constexpr size_t scratch_bytes = size_t{3} << 20;

// Where an operand begins: resolved to a pointer by one addition, so that the same plan serves every binding.
struct Place {
  uint32_t base = 0;
  int64_t offset = 0;  // bytes
  std::byte* in(const Context& c) const { return c.base[base] + offset; }
};

inline constexpr int axes_max = 6;  // partition and four free dimensions, or a region of HBM, behind a 1

// A strided box of elements in memory, outermost dimension first; strides in bytes.
struct HostOperand {
  Place place;
  DType dtype = DType::float32;
  int rank = 0;
  std::array<int64_t, axes_max> size{};
  std::array<int64_t, axes_max> stride{};

  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= size[static_cast<size_t>(i)];
    return n;
  }
};

using StepFunction = Fault (*)(const void* arguments, const Context& context);

struct Step {
  StepFunction run;
  const void* arguments;
  uint32_t instruction;  // for messages; of a chain of matmuls: the first
};

}  // namespace heddle::systolic
