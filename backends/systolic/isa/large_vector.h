// Vectors of a whole stream: tens of megabytes that are written once. In pages of 4 KiB, asking the system
// for them takes longer than filling them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace heddle::systolic {

// Asks for large pages in [begin, begin + bytes), where there are any and nothing else is concerned. A wish:
// what the system answers changes no result.
inline void prefer_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t page = uintptr_t{1} << 21;
  const auto first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

// reserve(), in large pages.
template <class T>
void reserve_large(std::vector<T>& vector, size_t n) {
  if (n <= vector.capacity()) return;
  std::vector<T> grown;
  grown.reserve(n);
  prefer_large_pages(grown.data(), n * sizeof(T));
  grown.assign(vector.begin(), vector.end());
  vector.swap(grown);
}

// push_back() of a vector that may become large. A large one grows by more at a time: room that is not used
// is not there yet, and what is copied less often is cleared less often.
template <class T>
void append(std::vector<T>& vector, const T& value) {
  if (vector.size() == vector.capacity()) {
    const T copy = value;  // it may lie in the vector
    const size_t bytes = vector.capacity() * sizeof(T);
    const bool is_large = bytes >= size_t{1} << 20 && bytes < size_t{1} << 28;
    reserve_large(vector, std::max<size_t>(256, (is_large ? 16 : 2) * vector.capacity()));
    vector.push_back(copy);
  } else {
    vector.push_back(value);
  }
}

}  // namespace heddle::systolic
