// Rows for instructions that see a whole partition at once.
#pragma once

#include "systolic/engines/binder.h"

namespace heddle::systolic {

// A row of any length and layout as floats, and back.
struct WholeRow {
  Place place;
  int64_t row_stride = 0;
  Nest walk;
  RowLoader load = nullptr;
  RowStorer store = nullptr;
  int64_t elements = 0;

  void read(const Context& c, int64_t p, float* to) const {
    std::array<std::byte*, nest_operands_max> at{};
    at[0] = place.in(c) + p * row_stride;
    for_each_row(walk, at, [&](const auto& row) {
      load(to, row[0], walk.stride[0][0], static_cast<size_t>(walk.row()));
      to += walk.row();
    });
  }
  void write(const Context& c, int64_t p, const float* from) const {
    std::array<std::byte*, nest_operands_max> at{};
    at[0] = place.in(c) + p * row_stride;
    for_each_row(walk, at, [&](const auto& row) {
      store(row[0], walk.stride[0][0], from, static_cast<size_t>(walk.row()));
      from += walk.row();
    });
  }
};

// A row may have as many elements; three of them fit the scratch memory of a step.
inline constexpr size_t whole_row_max = scratch_bytes / sizeof(float) / 4;
// Rejects an operand whose free dimensions cannot be walked, and longer rows.
WholeRow whole_row(const Binder& binder, const Instruction& i, const HostOperand& operand);

}  // namespace heddle::systolic
