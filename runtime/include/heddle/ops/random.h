// Random bits are a function of a key and a counter, both values of the graph: the same key and counter give
// the same bits on every device, and nothing is drawn twice unless the counter is used twice.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// uint32 of the given sizes. Element i is word i % 4 of Philox4x32-10 (Salmon et al., SC 2011) at counter + i
// / 4. key, counter: uint64 [1].
Value random_bits(Value key, Value counter, const Dims& dims);

// y = x / (1 - rate) where the element's random bits are at least rate * 2^32, else 0. 0 <= rate < 1.
Value dropout(Value x, double rate, Value key, Value counter);

}  // namespace heddle
