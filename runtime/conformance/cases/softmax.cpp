#include <cmath>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Place {
  Shape shape;
  int64_t axis;
};

const Place places[] = {{{1}, 0},        {{13}, 0},       {{3, 1}, 1},        {{1, 129}, 1},
                        {{3, 127}, 1},   {{128, 129}, 1}, {{128, 129}, 0},    {{200, 130}, 1},
                        {{2, 3, 17}, 0}, {{2, 3, 17}, 1}, {{2, 3, 5, 64}, 3}, {{0, 5}, 1},
                        {{5, 0}, 0},     {{3, 1031}, 1}};

}  // namespace

void add_softmax_cases(CaseList& list) {
  for (const DType dtype : compute_floats) {
    for (const Place& p : places) {
      const auto id = [&](const char* variant) {
        return std::string(short_name(dtype)) + "/" + short_name(p.shape) + "/" + numbered("axis", p.axis) +
               "/" + variant;
      };
      for (const char* op : {"softmax", "log_softmax"}) {
        list.add({.op = op,
                  .operands = {{dtype, p.shape, fill::uniform(-4, 4)}},
                  .attributes = {{"axis", p.axis}}},
                 {id("random")});
        // Without subtracting the maximum, exp leaves the range.
        list.add({.op = op,
                  .operands = {{dtype, p.shape, fill::uniform(900, 1000)}},
                  .attributes = {{"axis", p.axis}}},
                 {id("large")});
      }
      list.add({.op = "softmax_grad",
                .operands = {{dtype, p.shape, fill::uniform(0, 1)}, {dtype, p.shape}},
                .attributes = {{"axis", p.axis}}},
               {id("random")});
    }
    for (const char* op : {"softmax", "log_softmax"}) {
      // Hidden positions are minus infinity; a NaN makes its line NaN and no other.
      list.add({.op = op,
                .operands = {{dtype, {9, 14}, fill::sprinkled(fill::uniform(-2, 2), -INFINITY, 5)}},
                .attributes = {{"axis", int64_t{1}}}},
               {short_name(dtype), "9x14", "axis1", "hidden"});
      list.add({.op = op,
                .operands = {{dtype, {9, 14}, fill::sprinkled(fill::uniform(-2, 2), NAN, 50)}},
                .attributes = {{"axis", int64_t{1}}}},
               {short_name(dtype), "9x14", "axis1", "nan"});
    }
  }
}

}  // namespace heddle::conformance
