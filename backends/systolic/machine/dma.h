// The DMA engines of a core: each works off what it is given in order; HBM limits them together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "systolic/machine/cost.h"

namespace heddle::systolic {

class DmaEngines {
 public:
  explicit DmaEngines(const DmaDescription& description)
      : partitions_per_engine_(description.partitions_per_engine),
        free_(static_cast<size_t>(description.engines), 0) {}

  struct Span {
    int64_t begin, end;   // from the first byte to the last
    int64_t packet_time;  // summed over the engines
  };
  // A transfer whose descriptors reach the engines at `ready`. Transfers are given in the order they become
  // ready.
  Span take(const DmaCost& cost, int64_t ready) {
    Span span{INT64_MAX, ready, 0};
    const auto engines = static_cast<int>(free_.size());
    const auto use = [&](size_t e, int64_t time) {
      const int64_t begin = std::max(free_[e], ready);
      free_[e] = begin + time;
      span.begin = std::min(span.begin, begin);
      span.end = std::max(span.end, free_[e]);
      span.packet_time += time;
    };
    if (cost.partitions > 0) {
      // Eight partitions to an engine, the engines in turn.
      for (int p = 0, e = 0; p < cost.partitions; p += partitions_per_engine_) {
        use(static_cast<size_t>(e),
            cost.per_partition * std::min(partitions_per_engine_, cost.partitions - p));
        if (++e == engines) e = 0;
      }
    } else {
      for (size_t e = 0; e < free_.size(); ++e) use(e, cost.spread);
    }
    // The domain serves transfers one after the other at its own rate; usually the engines are slower.
    hbm_ = std::max(hbm_, span.begin) + cost.hbm;
    span.end = std::max(span.end, hbm_);
    return span;
  }

 private:
  int partitions_per_engine_;
  std::vector<int64_t> free_;
  int64_t hbm_ = 0;
};

}  // namespace heddle::systolic
