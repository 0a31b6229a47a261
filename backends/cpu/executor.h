// One thread that runs a device's work in order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

namespace heddle::cpu {

// The thread from which every parallel loop of a device starts (libgomp keeps one pool of workers per
// starting thread). Jobs run one after another in the order of their ticks.
//
// Threads: submit, wait and reached may be called from any thread but the executor's own. None of them
// allocates.
class Executor {
 public:
  using Job = void (*)(void* argument);  // must not throw

  Executor();
  // Finishes the jobs submitted so far, then joins the thread.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Enqueues job(argument); `argument` must live until the returned tick is reached. Ticks count up from 1.
  // Blocks while `capacity` jobs are already waiting.
  uint64_t submit(Job job, void* argument);

  // Returns when the job of `tick` and all before it have run. Spins for some microseconds, then sleeps.
  // What the jobs wrote is visible to the caller.
  void wait(uint64_t tick);

  // Whether wait(tick) would return at once.
  bool reached(uint64_t tick) const { return done_.load(std::memory_order_acquire) >= tick; }

  static constexpr uint64_t capacity = 256;

 private:
  struct Slot {
    std::atomic<uint64_t> filled{0};  // the tick whose job the slot holds
    Job job = nullptr;
    void* argument = nullptr;
  };

  void loop();

  alignas(64) std::atomic<uint64_t> issued_{0};  // the last tick handed out
  alignas(64) std::atomic<uint64_t> done_{0};    // the last tick reached
  alignas(64) std::atomic<uint32_t> bell_{0};    // rung by submit when the executor sleeps
  std::atomic<bool> asleep_{false};
  std::atomic<uint32_t> sleepers_{0};  // threads asleep in wait
  std::array<Slot, capacity> slots_;
  std::thread thread_;
};

}  // namespace heddle::cpu
