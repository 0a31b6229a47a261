#include <cmath>
#include <tuple>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

using Ints = std::vector<int64_t>;

std::string text(const Ints& axes) {
  std::string s = "axes";
  for (const int64_t a : axes) s += (s.size() > 4 ? "-" : "") + std::to_string(a);
  return s;
}

struct Place {
  Shape shape;
  Ints axes;
};

const std::vector<Place> places = {{{1}, {0}},
                                   {{13}, {0}},
                                   {{129}, {0}},
                                   {{1031}, {0}},
                                   {{3, 5}, {}},
                                   {{127, 129}, {0}},
                                   {{127, 129}, {1}},
                                   {{128, 130}, {0, 1}},
                                   {{7, 1, 5}, {1}},
                                   {{5, 7, 11}, {0, 2}},
                                   {{5, 7, 11}, {1}},
                                   {{2, 3, 4, 5}, {1, 3}},
                                   {{2, 3, 4, 5}, {0, 1}},
                                   {{0, 5}, {0}},
                                   {{0, 5}, {1}},
                                   {{5, 0}, {1}},
                                   {{200, 31}, {1}}};

NodeCase reduction(const char* kind, DType dtype, const Place& p, bool keepdims, const Fill& fill,
                   bool exact) {
  return {.op = "reduce",
          .operands = {{dtype, p.shape, fill}},
          .attributes = {{"kind", std::string(kind)}, {"axes", p.axes}, {"keepdims", keepdims}},
          .exact = exact};
}

void add_reductions(CaseList& list) {
  for (const char* kind : {"sum", "mean", "max", "min", "prod"}) {
    const bool chosen = kind[0] == 'm' && kind[1] != 'e';
    const bool product = kind[0] == 'p';
    // Products stay near 1, or a long one leaves the range of float16.
    const Fill fill = product ? fill::uniform(0.98, 1.02) : fill::uniform(-1, 1);
    for (const DType dtype : compute_floats) {
      for (const Place& p : places) {
        // The mean of no elements is 0 / 0, and the others are their neutral element.
        list.add(reduction(kind, dtype, p, false, fill, chosen),
                 {kind, short_name(dtype), short_name(p.shape), text(p.axes)});
      }
      list.add(reduction(kind, dtype, places[6], true, fill, chosen),
               {kind, short_name(dtype), "127x129", "axes1", "keepdims"});
      list.add(reduction(kind, dtype, places[9], true, fill, chosen),
               {kind, short_name(dtype), "5x7x11", "axes0-2", "keepdims"});
      const Fill whole = product ? fill::values({1, 2, 1, -1, 0.5}) : fill::integers(-2, 2);
      if (kind[0] != 'm' || chosen)
        list.add(reduction(kind, dtype, {{5, 7, 11}, {0, 2}}, false, whole, true),
                 {kind, short_name(dtype), "5x7x11", "axes0-2", "integers"});
      list.add(reduction(kind, dtype, {{9, 14}, {1}}, false, fill::sprinkled(fill, NAN, 37), chosen),
               {kind, short_name(dtype), "9x14", "axes1", "nan"});
      list.add(reduction(kind, dtype, {{9, 14}, {0}}, false, fill::sprinkled(fill, -INFINITY, 25), chosen),
               {kind, short_name(dtype), "9x14", "axes0", "infinity"});
    }
    if (kind[0] == 'm' && !chosen) continue;
    for (const DType dtype : integers)
      for (const size_t p : {2, 8, 9, 13, 16})
        list.add(reduction(kind, dtype, places[p], false, fill::bits(), true),
                 {kind, short_name(dtype), short_name(places[p].shape), text(places[p].axes)});
  }
}

void add_argmax(CaseList& list) {
  const Place places_of_one[] = {{{1}, {0}},        {{129}, {0}},      {{127, 129}, {0}},
                                 {{127, 129}, {1}}, {{5, 7, 11}, {1}}, {{0, 5}, {1}}};
  const auto add = [&](const char* kind, DType dtype, const Place& p, bool keepdims, const Fill& fill,
                       const char* fill_name) {
    list.add({.op = "argmax",
              .operands = {{dtype, p.shape, fill}},
              .attributes = {{"axis", p.axes[0]}, {"keepdims", keepdims}, {"kind", std::string(kind)}}},
             {kind, short_name(dtype), short_name(p.shape),
              numbered("axis", p.axes[0]) + (keepdims ? "/keepdims" : ""), fill_name});
  };
  for (const char* kind : {"max", "min"}) {
    for (const DType dtype : compute_floats) {
      for (const Place& p : places_of_one) {
        add(kind, dtype, p, false, fill::uniform(-1, 1), "random");
        add(kind, dtype, p, true, fill::integers(-2, 2), "ties");
      }
      add(kind, dtype, {{9, 14}, {1}}, false, fill::sprinkled(fill::uniform(-1, 1), NAN, 37), "nan");
      add(kind, dtype, {{9, 14}, {0}}, false, fill::special(), "special");
    }
    for (const DType dtype : integers) add(kind, dtype, {{5, 7, 11}, {1}}, false, fill::bits(), "random");
  }
}

void add_cumsum(CaseList& list) {
  const Place places_of_one[] = {{{1}, {0}},        {{129}, {0}},  {{31, 129}, {0}}, {{31, 129}, {1}},
                                 {{5, 7, 11}, {1}}, {{0, 5}, {0}}, {{5, 0}, {1}}};
  for (const auto& [exclusive, reverse, name] :
       {std::tuple(false, false, "forward"), std::tuple(true, false, "exclusive"),
        std::tuple(false, true, "reverse"), std::tuple(true, true, "exclusive-reverse")}) {
    const auto add = [&, e = exclusive, r = reverse, n = name](DType dtype, const Place& p, const Fill& fill,
                                                               bool exact, const char* fill_name) {
      list.add({.op = "cumsum",
                .operands = {{dtype, p.shape, fill}},
                .attributes = {{"axis", p.axes[0]}, {"exclusive", e}, {"reverse", r}},
                .exact = exact},
               {short_name(dtype), short_name(p.shape), numbered("axis", p.axes[0]), n, fill_name});
    };
    for (const DType dtype : compute_floats) {
      for (const Place& p : places_of_one) add(dtype, p, fill::integers(-2, 2), true, "integers");
      add(dtype, places_of_one[3], fill::uniform(-1, 1), false, "random");
    }
    for (const DType dtype : integers) add(dtype, places_of_one[4], fill::bits(), true, "random");
  }
}

}  // namespace

void add_reduce_cases(CaseList& list) {
  add_reductions(list);
  add_argmax(list);
  add_cumsum(list);
}

}  // namespace heddle::conformance
