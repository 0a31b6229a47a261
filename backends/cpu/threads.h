// Parallel loops over the device's threads (OpenMP).
//
// A kernel takes `Threads` by value and starts its parallel loops from the thread that called it: the
// device's executor thread, or the launching thread when the device has one thread. libgomp keeps one pool
// per starting thread, so nothing else may start a loop with more than one thread.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace heddle::cpu {

// How many threads a kernel may use; at least 1.
struct Threads {
  int count = 1;
};

// The grain for a loop whose every index costs about `elements` elements of streaming work: a range then
// takes some microseconds, several times what starting a thread does.
inline int64_t grain_of(int64_t elements) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, elements));
}

// The number of ranges that parallel_for(threads, n, grain, ...) makes.
inline int64_t parallel_ranges(Threads threads, int64_t n, int64_t grain) {
  return std::min<int64_t>(threads.count, (n + grain - 1) / grain);
}

// Calls body(begin, end) for ranges that cover [0, n) once each. There are at most threads.count of them, and
// each begins at a multiple of `grain` (>= 1), so a loop blocked by `grain` sees the same blocks at any
// thread count. Inline, on the caller, when n <= grain or there is one thread. The body must not throw.
template <class Body>
void parallel_for(Threads threads, int64_t n, int64_t grain, Body&& body) {
  if (n <= 0) return;
  const int64_t ranges = parallel_ranges(threads, n, grain);
  if (ranges <= 1) {
    body(int64_t{0}, n);
    return;
  }
  const int64_t blocks = (n + grain - 1) / grain;
#pragma omp parallel num_threads(static_cast <int>(ranges))
  {
    // OpenMP may give fewer threads than asked for; the ranges stay the same.
    for (int64_t r = omp_get_thread_num(); r < ranges; r += omp_get_num_threads())
      body(blocks * r / ranges * grain, std::min(n, blocks * (r + 1) / ranges * grain));
  }
}

// Calls body(task, thread) for each task in [0, n); a thread takes the next task when it has finished one, so
// put the long tasks first. 0 <= thread < threads.count says whose scratch to use. The body must not throw.
template <class Body>
void parallel_tasks(Threads threads, int64_t n, Body&& body) {
  const int64_t team = std::min<int64_t>(threads.count, n);
  if (team <= 1) {
    for (int64_t task = 0; task < n; ++task) body(task, 0);
    return;
  }
  std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(static_cast <int>(team))
  {
    const int thread = omp_get_thread_num();
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < n;) body(task, thread);
  }
}

}  // namespace heddle::cpu
