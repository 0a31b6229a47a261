#include "cpu/executor.h"

#include <chrono>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace heddle::cpu {
namespace {

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready`, for at most `limit`; returns whether it became ready. The clock is read seldom: a read
// costs as much as several pauses.
template <class Ready>
bool spin(std::chrono::nanoseconds limit, Ready ready) {
  if (ready()) return true;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      relax();
      if (ready()) return true;
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// A waiting caller holds a core that the device's workers may need: it gives up soon. The executor stays
// awake a little longer, so that a caller who launches again at once does not pay for waking it.
constexpr std::chrono::nanoseconds caller_spin{5'000};
constexpr std::chrono::nanoseconds executor_spin{20'000};

}  // namespace

Executor::Executor() : thread_([this] { loop(); }) {}

Executor::~Executor() {
  wait(submit(nullptr, nullptr));
  thread_.join();
}

uint64_t Executor::submit(Job job, void* argument) {
  const uint64_t tick = issued_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (tick > capacity) wait(tick - capacity);  // the slot's last job has run
  Slot& slot = slots_[tick % capacity];
  slot.job = job;
  slot.argument = argument;
  // Sequentially consistent, as is loop's `asleep_` store and re-check: either we see it asleep, or it sees
  // the job.
  slot.filled.store(tick, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst)) {
    bell_.fetch_add(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // before notify looks for waiters
    bell_.notify_one();
  }
  return tick;
}

void Executor::wait(uint64_t tick) {
  if (spin(caller_spin, [&] { return reached(tick); })) return;
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  for (uint64_t done; (done = done_.load(std::memory_order_seq_cst)) < tick;) done_.wait(done);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void Executor::loop() {
  for (uint64_t tick = 1;; ++tick) {
    Slot& slot = slots_[tick % capacity];
    const auto filled = [&] { return slot.filled.load(std::memory_order_acquire) == tick; };
    if (!spin(executor_spin, filled)) {
      for (;;) {
        const uint32_t bell = bell_.load(std::memory_order_acquire);
        asleep_.store(true, std::memory_order_seq_cst);
        if (slot.filled.load(std::memory_order_seq_cst) == tick) break;
        bell_.wait(bell);
        if (filled()) break;
      }
      asleep_.store(false, std::memory_order_relaxed);
    }
    const bool last = slot.job == nullptr;
    if (!last) slot.job(slot.argument);
    done_.store(tick, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      std::atomic_thread_fence(std::memory_order_seq_cst);
      done_.notify_all();
    }
    if (last) return;
  }
}

}  // namespace heddle::cpu
