// Elements become unsigned keys in the same order, so that one stable radix sort, byte by byte, serves every
// dtype; a heap serves the few largest or smallest of many.
#include "cpu/kernels/sort.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/element.h"

namespace heddle::cpu {
namespace {

struct Item {
  uint64_t key;
  int64_t index;
  bool operator<(const Item& other) const { return key != other.key ? key < other.key : index < other.index; }
};

// Unsigned numbers of as many bits as T, in the order of the elements.
template <class T>
uint64_t key_of(const T& x) {
  if constexpr (std::is_same_v<T, bool>) {
    return load_as_double(x) != 0;
  } else if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    constexpr U sign = std::is_signed_v<T> ? static_cast<U>(U{1} << (sizeof(T) * 8 - 1)) : U{0};
    return static_cast<U>(static_cast<U>(x) ^ sign);
  } else {
    using U = std::conditional_t<
        sizeof(T) == 8, uint64_t,
        std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
    constexpr U sign = static_cast<U>(U{1} << (sizeof(T) * 8 - 1)), all = static_cast<U>(~U{0});
    const double value = load_as_double(x);
    if (std::isnan(value)) return all;
    if (value == 0) return sign;
    U bits;
    std::memcpy(&bits, &x, sizeof(T));
    return static_cast<U>((bits & sign) != 0 ? ~bits : bits | sign);
  }
}

void insertion_sort(Item* items, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const Item item = items[i];
    int64_t at = i;
    for (; at > 0 && item < items[at - 1]; --at) items[at] = items[at - 1];
    items[at] = item;
  }
}

// Sorts items, whose indices ascend, by the lowest `bytes` bytes of their keys; `other` has room for as many.
// Returns where the result is.
Item* radix_sort(Item* items, Item* other, int64_t n, int bytes) {
  for (int shift = 0; shift < bytes * 8; shift += 8) {
    std::array<int64_t, 256> start{};
    for (int64_t i = 0; i < n; ++i) ++start[items[i].key >> shift & 255];
    if (start[items[0].key >> shift & 255] == n) continue;  // all alike in this byte
    int64_t total = 0;
    for (int64_t& s : start) total += std::exchange(s, total);
    for (int64_t i = 0; i < n; ++i) other[start[items[i].key >> shift & 255]++] = items[i];
    std::swap(items, other);
  }
  return items;
}

// The `keep` smallest, sorted, in front of items.
void select(Item* items, int64_t n, int64_t keep) {
  std::make_heap(items, items + keep);
  for (int64_t i = keep; i < n; ++i) {
    if (!(items[i] < items[0])) continue;
    std::pop_heap(items, items + keep);
    items[keep - 1] = items[i];
    std::push_heap(items, items + keep);
  }
  std::sort_heap(items, items + keep);
}

const Item* first_in_order(Item* items, int64_t n, int64_t keep, int bytes) {
  constexpr int64_t few = 48;
  if (n <= few) {
    insertion_sort(items, n);
    return items;
  }
  if (keep < n / 8) {
    select(items, n, keep);
    return items;
  }
  return radix_sort(items, items + n, n, bytes);
}

}  // namespace

Sort::Sort(DType dtype, const Shape& x, int axis, bool descending, int64_t keep)
    : dtype_(dtype), descending_(descending), keep_(keep) {
  for (int i = 0; i < x.rank(); ++i) (i < axis ? outer_ : i == axis ? length_ : inner_) *= x[i];
}

uint64_t Sort::scratch_bytes(Threads threads) const {
  return 2 * static_cast<uint64_t>(length_ * threads.count) * sizeof(Item);
}

void Sort::run(const void* x, void* values, int64_t* indices, void* scratch, Threads threads) const {
  if (keep_ == 0) return;
  visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
    const auto* source = static_cast<const T*>(x);
    auto* target = static_cast<T*>(values);
    constexpr uint64_t width = sizeof(T) == 8 ? ~uint64_t{0} : (uint64_t{1} << (sizeof(T) * 8 % 64)) - 1;
    const uint64_t flip = descending_ ? width : 0;
    // Several short lines to a task.
    const int64_t lines = outer_ * inner_,
                  together = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, length_));
    parallel_tasks(threads, (lines + together - 1) / together, [&](int64_t task, int thread) {
      auto* items = static_cast<Item*>(scratch) + 2 * thread * length_;
      for (int64_t line = task * together; line < std::min(lines, (task + 1) * together); ++line) {
        const T* from = source + line / inner_ * length_ * inner_ + line % inner_;
        for (int64_t i = 0; i < length_; ++i) items[i] = {key_of(from[i * inner_]) ^ flip, i};
        const Item* sorted = first_in_order(items, length_, keep_, static_cast<int>(sizeof(T)));
        const int64_t to = line / inner_ * keep_ * inner_ + line % inner_;
        for (int64_t i = 0; i < keep_; ++i) {
          target[to + i * inner_] = from[sorted[i].index * inner_];
          indices[to + i * inner_] = sorted[i].index;
        }
      }
    });
  });
}

}  // namespace heddle::cpu
