// Parallel loops cover their range once; the executor runs jobs in order and wakes from sleep.
#include "cpu/threads.h"

#include <chrono>
#include <thread>
#include <vector>

#include "cpu/executor.h"
#include "cpu/isa.h"
#include "tests/catch.h"

using namespace heddle::cpu;

TEST_CASE("parallel_for covers each index once in blocks of the grain", "[cpu][threads]") {
  for (int threads : {1, 2, 3, 7})
    for (int64_t n : {0, 1, 2, 63, 64, 65, 1000})
      for (int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> hits(static_cast<size_t>(n));
        std::atomic<int> ranges{0}, unaligned{0};
        parallel_for({threads}, n, grain, [&](int64_t begin, int64_t end) {
          ++ranges;
          if (begin % grain != 0 || (end != n && end % grain != 0)) ++unaligned;
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        INFO(threads << " threads, n " << n << ", grain " << grain);
        CHECK(hits == std::vector<int>(static_cast<size_t>(n), 1));
        CHECK(ranges <= threads);
        CHECK(unaligned == 0);
      }
}

TEST_CASE("parallel_tasks runs each task once", "[cpu][threads]") {
  for (int threads : {1, 2, 5})
    for (int64_t n : {0, 1, 4, 100}) {
      std::vector<int> hits(static_cast<size_t>(n));
      std::atomic<int> strangers{0};
      parallel_tasks({threads}, n, [&](int64_t task, int thread) {
        if (thread < 0 || thread >= threads) ++strangers;
        ++hits[static_cast<size_t>(task)];
      });
      CHECK(hits == std::vector<int>(static_cast<size_t>(n), 1));
      CHECK(strangers == 0);
    }
}

TEST_CASE("the executor runs jobs in order, awake or asleep", "[cpu][executor]") {
  struct Log {
    std::vector<int> seen;
  };
  struct Item {
    Log* log;
    int value;
  };
  Log log;
  std::vector<Item> items;
  for (int i = 0; i < 1000; ++i) items.push_back({&log, i});
  Executor executor;
  uint64_t tick = 0;
  for (Item& item : items) {
    tick = executor.submit(
        [](void* p) {
          auto* it = static_cast<Item*>(p);
          it->log->seen.push_back(it->value);
        },
        &item);
    if (item.value % 333 == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // let it fall asleep
  }
  executor.wait(tick);
  CHECK(executor.reached(tick));
  REQUIRE(log.seen.size() == 1000);
  for (int i = 0; i < 1000; ++i) REQUIRE(log.seen[static_cast<size_t>(i)] == i);
}

TEST_CASE("several threads may submit to one executor", "[cpu][executor]") {
  int count = 0;  // only the executor touches it
  {
    Executor executor;
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t)
      callers.emplace_back([&] {
        for (int i = 0; i < 2000; ++i) {
          const uint64_t tick = executor.submit([](void* p) { ++*static_cast<int*>(p); }, &count);
          if (i % 7 == 0) executor.wait(tick);
        }
      });
    for (auto& caller : callers) caller.join();
  }  // the destructor finishes what is waiting
  CHECK(count == 8000);
}

TEST_CASE("a waiting caller sleeps through a long job", "[cpu][executor]") {
  Executor executor;
  const uint64_t tick =
      executor.submit([](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(30)); }, nullptr);
  CHECK_FALSE(executor.reached(tick));
  executor.wait(tick);
  CHECK(executor.reached(tick));
}

TEST_CASE("a hot round trip through the executor", "[cpu][executor][.benchmark]") {
  Executor executor;
  std::vector<double> ns;
  for (int i = 0; i < 20000; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    executor.wait(executor.submit([](void*) {}, nullptr));
    ns.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(ns.begin(), ns.begin() + 10000, ns.end());
  WARN("median round trip " << ns[10000] << " ns on " << describe(this_cpu(), 1));
}
