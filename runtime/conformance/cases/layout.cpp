// Data movement: bit for bit, in every dtype.
#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

using Ints = std::vector<int64_t>;

struct Moved {
  const char* op;
  Shape shape;
  Attributes attributes;
  std::string name;  // of the variant
};

Ints ints(const Shape& shape) { return Ints(shape.dims().begin(), shape.dims().end()); }

Moved reshape(const Shape& from, const Shape& to) {
  return {"reshape", from, {{"shape", ints(to)}}, "to" + short_name(to)};
}
Moved transpose(const Shape& shape, const Ints& order) {
  std::string name = "order";
  for (const int64_t axis : order) name += std::to_string(axis);
  return {"transpose", shape, {{"order", order}}, name};
}
Moved broadcast(const Shape& from, const Shape& to) {
  return {"broadcast", from, {{"shape", ints(to)}}, "to" + short_name(to)};
}
Moved contiguous(const Shape& shape) { return {"contiguous", shape, {}, "copy"}; }

const std::vector<Moved>& moves() {
  static const std::vector<Moved> all = {
      reshape({}, {1}),
      reshape({1, 1, 1}, {}),
      reshape({127, 6}, {2, 127, 3}),
      reshape({0, 5}, {3, 0}),
      reshape({200, 130}, {26000}),
      transpose({}, {}),
      transpose({13}, {0}),
      transpose({1, 129}, {1, 0}),
      transpose({127, 129}, {1, 0}),
      transpose({128, 128}, {1, 0}),
      transpose({200, 130}, {1, 0}),
      transpose({3, 5, 7}, {0, 2, 1}),
      transpose({3, 5, 7}, {2, 1, 0}),
      transpose({3, 5, 7}, {1, 2, 0}),
      transpose({2, 17, 3, 19}, {0, 2, 1, 3}),
      transpose({2, 17, 3, 19}, {0, 2, 3, 1}),
      transpose({2, 1, 3, 1, 2}, {4, 3, 2, 1, 0}),
      transpose({2, 2, 2, 2, 2, 2, 2, 3}, {7, 1, 6, 3, 2, 5, 4, 0}),
      transpose({0, 5, 3}, {2, 0, 1}),
      broadcast({}, {}),
      broadcast({}, {129}),
      broadcast({129}, {3, 129}),
      broadcast({127, 1}, {127, 129}),
      broadcast({1, 1}, {5, 7}),
      broadcast({3, 1, 5}, {2, 3, 7, 5}),
      broadcast({1, 5}, {0, 5}),
      contiguous({}),
      contiguous({1}),
      contiguous({127, 129}),
      contiguous({0, 3}),
      contiguous({200, 130}),
  };
  return all;
}

void add_iota(CaseList& list) {
  struct Place {
    Shape shape;
    int64_t axis;
  };
  const Place places[] = {{{1}, 0},        {{129}, 0},  {{5, 7, 11}, 0}, {{5, 7, 11}, 1},
                          {{5, 7, 11}, 2}, {{0, 3}, 0}, {{3, 0}, 0},     {{127, 101}, 1}};
  for (const DType dtype : all_dtypes) {
    if (dtype == boolean) continue;
    for (const Place& p : places)
      list.add({.op = "iota",
                .operands = {},
                .attributes = {{"shape", ints(p.shape)}, {"axis", p.axis}, {"dtype", dtype}}},
               {short_name(dtype), short_name(p.shape), numbered("axis", p.axis)});
  }
}

}  // namespace

void add_layout_cases(CaseList& list) {
  for (const DType dtype : all_dtypes)
    for (const Moved& move : moves())
      list.add(
          {.op = move.op, .operands = {{dtype, move.shape, fill::bits()}}, .attributes = move.attributes},
          {short_name(dtype), short_name(move.shape), move.name});
  add_iota(list);
}

}  // namespace heddle::conformance
