// Timing several ways to do the same work, in turns, so that a noisy machine is unfair to none of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace heddle::bench {

struct Contender {
  std::string name;
  std::function<void()> run;
  std::vector<double> seconds = {};  // per run, one per round; filled by interleave()
};

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Runs all contenders in turns, the order rotating, for about `budget` seconds and at least `least` rounds. A
// turn is as many runs in a row as take `turn` seconds.
inline void interleave(std::vector<Contender>& contenders, double budget, int least = 11,
                       double turn = 300e-6) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  std::vector<int> runs;
  for (Contender& c : contenders) {
    c.run();  // first touches, code generation
    const auto begin = Clock::now();
    int n = 0;
    for (; n < 3 || (seconds_since(begin) < turn && n < 10000); ++n) c.run();
    runs.push_back(std::max(1, static_cast<int>(turn / (seconds_since(begin) / n))));
  }
  const auto begin = Clock::now();
  for (int round = 0; round < least || seconds_since(begin) < budget; ++round)
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t who = (i + static_cast<size_t>(round)) % contenders.size();
      const auto start = Clock::now();
      for (int n = 0; n < runs[who]; ++n) contenders[who].run();
      contenders[who].seconds.push_back(seconds_since(start) / runs[who]);
    }
}

// How many times faster `ours` is than `theirs`: the median of the rounds' ratios, and the 95 % interval of
// that median.
struct Ratio {
  double median = 0, low = 0, high = 0;
};

inline Ratio paired_ratio(const Contender& ours, const Contender& theirs) {
  std::vector<double> ratios;
  for (size_t i = 0; i < ours.seconds.size(); ++i) ratios.push_back(theirs.seconds[i] / ours.seconds[i]);
  std::sort(ratios.begin(), ratios.end());
  // Order statistics of the binomial distribution.
  const auto n = static_cast<double>(ratios.size());
  const double half = 0.98 * std::sqrt(n);
  const auto at = [&](double rank) { return ratios[static_cast<size_t>(std::clamp(rank, 0.0, n - 1))]; };
  return {at(n / 2), at(n / 2 - half), at(n / 2 + half)};
}

}  // namespace heddle::bench
