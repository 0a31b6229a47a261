// Reads and writes by index. Indices beyond both ends are among them: reads give NaN (0 for integers), writes
// are skipped, and memory outside the operands is never touched.
#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Place {
  Shape shape;
  int64_t axis;
  Shape indices;
};

const Place places[] = {
    {{1}, 0, {1}},       {{13}, 0, {}},          {{129, 5}, 0, {7}}, {{129, 127}, 0, {3, 11}},
    {{5, 129}, 1, {33}}, {{3, 7, 5}, 1, {2, 3}}, {{13, 4}, 0, {0}},  {{0, 4}, 0, {0}},
    {{7, 0}, 0, {3}},    {{200, 31}, 0, {130}}};

std::string text(const Place& p) {
  return short_name(p.shape) + "/" + numbered("axis", p.axis) + "/at" + short_name(p.indices);
}

// Shape of what gather reads and scatter writes at the indices of `p`.
Shape selected(const Place& p) {
  Shape shape;
  for (int i = 0; i < p.shape.rank(); ++i) {
    if (i != p.axis) {
      shape.push_back(p.shape[i]);
      continue;
    }
    for (const int64_t d : p.indices.dims()) shape.push_back(d);
  }
  return shape;
}

int64_t size(const Place& p) { return p.shape[static_cast<int>(p.axis)]; }

Operand indices(const Place& p, DType dtype, bool outside) {
  if (size(p) == 0) return {dtype, p.indices, fill::constant(0)};
  return {dtype, p.indices, fill::indices(size(p), outside)};
}

void add_gather(CaseList& list, DType dtype) {
  const auto add = [&](const Place& p, DType index, bool outside) {
    list.add({.op = "gather",
              .operands = {{dtype, p.shape, fill::bits()}, indices(p, index, outside)},
              .attributes = {{"axis", p.axis}}},
             {short_name(dtype), text(p), short_name(index), outside ? "outside" : "inside"});
  };
  for (const DType index : {i64, i32}) {
    for (const Place& p : places) add(p, index, false);
    for (const size_t i : {2, 5}) add(places[i], index, true);
  }
}

void add_scatter(CaseList& list, DType dtype) {
  for (const char* mode : {"set", "add"}) {
    const bool adds = mode[0] == 'a';
    if (adds && dtype == boolean) continue;
    const Fill fill = !adds || is_integer(dtype) ? fill::bits() : fill::integers(-3, 3);
    const auto add = [&](const Place& p, DType index, bool outside, const std::string& variant) {
      list.add({.op = "scatter",
                .operands = {{dtype, p.shape, fill}, indices(p, index, outside), {dtype, selected(p), fill}},
                .attributes = {{"axis", p.axis}, {"mode", std::string(mode)}},
                .exact = true},
               {mode, short_name(dtype), text(p), short_name(index), variant});
    };
    for (const DType index : {i64, i32}) {
      for (const Place& p : places) add(p, index, false, "inside");
      for (const size_t i : {2, 5}) add(places[i], index, true, "outside");
      // Many updates of few rows: the last one stays, or all are added.
      add({{3, 17}, 0, {61}}, index, false, "repeated");
      if (adds && is_float(dtype))
        list.add({.op = "scatter",
                  .operands = {{dtype, {3, 17}}, {index, {61}, fill::indices(3)}, {dtype, {61, 17}}},
                  .attributes = {{"axis", int64_t{0}}, {"mode", std::string(mode)}}},
                 {mode, short_name(dtype), "3x17/axis0/at61", short_name(index), "random"});
    }
  }
}

void add_embedding(CaseList& list, DType dtype) {
  struct Table {
    int64_t rows, width;
    Shape at;
  };
  const Table tables[] = {{1, 1, {1}}, {13, 5, {2, 3}}, {129, 127, {4, 33}},
                          {7, 64, {}}, {5, 3, {0}},     {256, 32, {2, 128}}};
  for (const Table& t : tables) {
    Shape rows = t.at;
    rows.push_back(t.width);
    const std::string name =
        "rows" + std::to_string(t.rows) + "x" + std::to_string(t.width) + "/at" + short_name(t.at);
    for (const DType index : {i64, i32}) {
      list.add({.op = "embedding",
                .operands = {{dtype, {t.rows, t.width}, fill::bits()}, {index, t.at, fill::indices(t.rows)}}},
               {short_name(dtype), name, short_name(index)});
      list.add({.op = "embedding_grad",
                .operands = {{dtype, rows, fill::integers(-2, 2)}, {index, t.at, fill::indices(t.rows)}},
                .attributes = {{"rows", t.rows}},
                .exact = true},
               {short_name(dtype), name, short_name(index), "integers"});
    }
    list.add({.op = "embedding_grad",
              .operands = {{dtype, rows}, {i32, t.at, fill::indices(t.rows)}},
              .attributes = {{"rows", t.rows}}},
             {short_name(dtype), name, "i32", "random"});
  }
  for (const DType index : {i64, i32}) {
    list.add({.op = "embedding",
              .operands = {{dtype, {13, 5}, fill::bits()}, {index, {61}, fill::indices(13, true)}}},
             {short_name(dtype), "rows13x5/at61", short_name(index), "outside"});
    list.add({.op = "embedding_grad",
              .operands = {{dtype, {61, 5}, fill::integers(-2, 2)}, {index, {61}, fill::indices(13, true)}},
              .attributes = {{"rows", int64_t{13}}},
              .exact = true},
             {short_name(dtype), "rows13x5/at61", short_name(index), "outside"});
  }
}

void add_one_hot(CaseList& list) {
  for (const DType dtype : all_dtypes)
    for (const DType index : {i64, i32, u8})
      for (const Shape& shape : {Shape{}, Shape{1}, Shape{3, 43}, Shape{0}})
        list.add({.op = "one_hot",
                  .operands = {{index, shape, index == u8 ? fill::integers(0, 20) : fill::integers(-3, 20)}},
                  .attributes = {{"depth", int64_t{17}}, {"dtype", dtype}}},
                 {short_name(dtype), short_name(index), short_name(shape)});
}

}  // namespace

void add_gather_cases(CaseList& list) {
  for (const DType dtype : all_dtypes) {
    add_gather(list, dtype);
    add_scatter(list, dtype);
  }
  for (const DType dtype : compute_floats) add_embedding(list, dtype);
  add_one_hot(list);
}

}  // namespace heddle::conformance
