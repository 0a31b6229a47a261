#include <cmath>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Place {
  Shape shape;
  int64_t axis;
};

const Place places[] = {{{1}, 0},        {{129}, 0},  {{31, 129}, 0}, {{31, 129}, 1},
                        {{5, 7, 11}, 1}, {{0, 5}, 1}, {{5, 0}, 1}};

void add_sort(CaseList& list) {
  for (const bool descending : {false, true}) {
    const auto add = [&](DType dtype, const Place& p, const Fill& fill, const char* fill_name) {
      list.add({.op = "sort",
                .operands = {{dtype, p.shape, fill}},
                .attributes = {{"axis", p.axis}, {"descending", descending}}},
               {short_name(dtype), short_name(p.shape), numbered("axis", p.axis),
                descending ? "descending" : "ascending", fill_name});
    };
    for (const DType dtype : compute_floats) {
      for (const Place& p : places) {
        add(dtype, p, fill::permutation(), "distinct");
        add(dtype, p, fill::integers(-2, 2), "ties");
      }
      add(dtype, {{9, 14}, 1}, fill::sprinkled(fill::uniform(-1, 1), NAN, 37), "nan");
    }
    for (const DType dtype : integers) add(dtype, places[4], fill::bits(), "random");
  }
}

void add_topk(CaseList& list) {
  for (const bool largest : {true, false}) {
    const auto add = [&](DType dtype, const Place& p, int64_t k, const Fill& fill, const char* fill_name) {
      list.add({.op = "topk",
                .operands = {{dtype, p.shape, fill}},
                .attributes = {{"axis", p.axis}, {"k", k}, {"largest", largest}}},
               {short_name(dtype), short_name(p.shape), numbered("axis", p.axis), numbered("k", k),
                largest ? "largest" : "smallest", fill_name});
    };
    for (const DType dtype : compute_floats) {
      for (const int64_t k : {1, 5, 31}) {
        add(dtype, places[2], k, fill::permutation(), "distinct");
        add(dtype, places[3], k, fill::integers(-9, 9), "ties");
      }
      add(dtype, places[0], 1, fill::permutation(), "distinct");
      add(dtype, places[4], 7, fill::permutation(), "distinct");
      add(dtype, places[4], 0, fill::permutation(), "distinct");
      add(dtype, places[5], 2, fill::permutation(), "distinct");
      add(dtype, {{9, 14}, 1}, 5, fill::sprinkled(fill::uniform(-1, 1), NAN, 37), "nan");
    }
    for (const DType dtype : integers) add(dtype, places[4], 3, fill::bits(), "random");
  }
}

}  // namespace

void add_sort_cases(CaseList& list) {
  add_sort(list);
  add_topk(list);
}

}  // namespace heddle::conformance
