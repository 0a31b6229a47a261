// A stream bound for execution: a flat list of steps in the order they run.
//
// What binding decides, so that a run does not: where every operand lies, which kernel computes it, loop
// nests merged as far as strides allow. Copies that change nothing disappear (placement.h), and the matmuls
// of a K loop that follow each other become one call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "heddle/systolic/instruction.h"
#include "systolic/engines/placement.h"
#include "systolic/engines/step.h"

namespace heddle::systolic {

// Arguments of steps, one behind the other in the order in which they are read.
class ArgumentStore {
 public:
  ArgumentStore() = default;
  ArgumentStore(const ArgumentStore&) = delete;
  ArgumentStore& operator=(const ArgumentStore&) = delete;
  ~ArgumentStore() {
    for (const Owned& o : owned_) o.destroy(o.object);
  }
  template <class T>
  const T* add(T value) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    T* object = new (take(sizeof(T))) T(std::move(value));
    if constexpr (!std::is_trivially_destructible_v<T>)
      owned_.push_back({object, [](void* p) { static_cast<T*>(p)->~T(); }});
    return object;
  }

 private:
  void* take(size_t bytes) {
    bytes = (bytes + alignof(std::max_align_t) - 1) / alignof(std::max_align_t) * alignof(std::max_align_t);
    if (bytes > left_) {
      left_ = std::max(bytes, block_bytes);
      blocks_.push_back(std::make_unique<std::byte[]>(left_));
      next_ = blocks_.back().get();
    }
    void* const at = next_;
    next_ += bytes, left_ -= bytes;
    return at;
  }
  static constexpr size_t block_bytes = size_t{1} << 18;
  struct Owned {
    void* object;
    void (*destroy)(void*);
  };
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
  std::vector<Owned> owned_;
};

class Plan {
 public:
  // `order`: the instructions in the order in which they run, a permutation that respects dependencies;
  // empty: as emitted. Throws Error naming the instruction whose operands have shapes that cannot be walked
  // together.
  // `stochastic`: the seed of stochastic rounding (program.h), or none.
  Plan(const Stream& stream, std::span<const uint32_t> order, std::optional<uint64_t> stochastic = {});

  // base[0]: on-chip memory of on_chip_bytes(); base[1 + v]: HBM value v. scratch: scratch_bytes. Both
  // 64-byte aligned.
  void run(std::byte* const* base, std::byte* scratch) const;
  uint64_t on_chip_bytes() const { return on_chip_bytes_; }
  std::span<const ValueLife> lives() const { return lives_; }  // of the HBM values
  size_t steps() const { return steps_.size(); }

 private:
  friend class Binder;
  const Stream& stream_;
  std::vector<Step> steps_;
  ArgumentStore arguments_, rare_;  // rare_: read on few runs
  std::optional<uint64_t> stochastic_;
  uint64_t on_chip_bytes_ = 0;
  std::vector<ValueLife> lives_;
};

}  // namespace heddle::systolic
