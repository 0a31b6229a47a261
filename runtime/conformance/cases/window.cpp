// Parts and paddings of tensors: bit for bit, in every dtype.
#include <cmath>
#include <limits>

#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

using Ints = std::vector<int64_t>;

std::string text(const char* word, const Ints& numbers) {
  std::string s = word;
  for (size_t i = 0; i < numbers.size(); ++i) s += (i ? "," : "") + std::to_string(numbers[i]);
  return s;
}

void add_slice(CaseList& list, DType dtype) {
  struct Window {
    Shape shape;
    Ints begin, end, step;
  };
  static const Window windows[] = {{{129}, {0}, {129}, {1}},
                                   {{129}, {5}, {6}, {1}},
                                   {{129}, {7}, {7}, {1}},
                                   {{129}, {1}, {129}, {3}},
                                   {{127, 129}, {3, 0}, {100, 129}, {1, 1}},
                                   {{127, 129}, {0, 17}, {127, 81}, {1, 1}},
                                   {{127, 129}, {1, 2}, {126, 128}, {5, 7}},
                                   {{5, 7, 11}, {1, 0, 3}, {4, 7, 10}, {1, 2, 1}},
                                   {{3, 0}, {1, 0}, {3, 0}, {1, 1}},
                                   {{2, 3, 1, 2, 5}, {1, 0, 0, 1, 1}, {2, 3, 1, 2, 4}, {1, 2, 1, 1, 1}}};
  for (const Window& w : windows)
    list.add({.op = "slice",
              .operands = {{dtype, w.shape, fill::bits()}},
              .attributes = {{"begin", w.begin}, {"end", w.end}, {"step", w.step}}},
             {short_name(dtype), short_name(w.shape), text("begin", w.begin), text("end", w.end),
              text("step", w.step)});
}

void add_concat(CaseList& list, DType dtype) {
  struct Joined {
    std::vector<Shape> shapes;
    int64_t axis;
  };
  static const Joined all[] = {{{{5}}, 0},
                               {{{5}, {1}, {127}}, 0},
                               {{{5}, {0}, {3}}, 0},
                               {{{3, 129}, {7, 129}}, 0},
                               {{{127, 3}, {127, 129}, {127, 1}}, 1},
                               {{{2, 3, 5}, {2, 1, 5}}, 1},
                               {{{2, 3, 5}, {2, 3, 7}}, 2},
                               {{{0, 3}, {0, 4}}, 1},
                               {{{1, 4}, {1, 4}, {1, 4}, {1, 4}, {1, 4}, {1, 4}, {1, 4}, {1, 4}, {1, 4}}, 0}};
  for (const Joined& j : all) {
    NodeCase node{.op = "concat", .operands = {}, .attributes = {{"axis", j.axis}}};
    std::string shapes;
    for (const Shape& s : j.shapes) {
      node.operands.push_back({dtype, s, fill::bits()});
      shapes += (shapes.empty() ? "" : "+") + short_name(s);
    }
    list.add(std::move(node), {short_name(dtype), shapes, numbered("axis", j.axis)});
  }
}

void add_pad(CaseList& list, DType dtype) {
  struct Padding {
    Shape shape;
    Ints before, after;
    double value;
  };
  const double odd = is_float(dtype) ? -INFINITY : dtype == boolean ? 1 : 7;
  const Padding all[] = {{{5}, {0}, {0}, 0},
                         {{5}, {1}, {123}, odd},
                         {{127, 13}, {1, 0}, {2, 3}, 0},
                         {{127, 13}, {0, 2}, {0, 0}, 1},
                         {{2, 3, 5}, {1, 2, 0}, {0, 1, 4}, odd},
                         {{0, 3}, {2, 0}, {1, 0}, 1}};
  for (const Padding& p : all)
    list.add({.op = "pad",
              .operands = {{dtype, p.shape, fill::bits()}},
              .attributes = {{"before", p.before}, {"after", p.after}, {"value", p.value}}},
             {short_name(dtype), short_name(p.shape), text("before", p.before), text("after", p.after)});
}

// Starts inside, before and beyond the tensor: the window is moved to fit.
void add_dynamic(CaseList& list, DType dtype) {
  struct Window {
    Shape shape, size;
    Ints start;
  };
  constexpr int64_t far = std::numeric_limits<int64_t>::max() / 1024;  // a double holds it
  static const Window windows[] = {{{129}, {5}, {17}},
                                   {{129}, {129}, {0}},
                                   {{129}, {5}, {127}},
                                   {{129}, {5}, {-3}},
                                   {{129}, {0}, {4}},
                                   {{127, 33}, {1, 33}, {126, 0}},
                                   {{127, 33}, {100, 7}, {20, 30}},
                                   {{2, 3, 64, 5}, {2, 3, 1, 5}, {0, 0, 63, 0}},
                                   {{3, 4, 5}, {2, 2, 2}, {-far, far, 1}}};
  for (const Window& w : windows) {
    const std::vector<double> numbers(w.start.begin(), w.start.end());
    const Operand start{i64, {static_cast<int64_t>(w.start.size())}, fill::values(numbers)};
    list.add({.op = "dynamic_slice",
              .operands = {{dtype, w.shape, fill::bits()}, start},
              .attributes = {{"size", Ints(w.size.dims().begin(), w.size.dims().end())}}},
             {short_name(dtype), short_name(w.shape), "size" + short_name(w.size), text("start", w.start)});
    list.add({.op = "dynamic_update_slice",
              .operands = {{dtype, w.shape, fill::bits()}, {dtype, w.size, fill::bits()}, start}},
             {short_name(dtype), short_name(w.shape), "update" + short_name(w.size), text("start", w.start)});
  }
}

}  // namespace

void add_window_cases(CaseList& list) {
  for (const DType dtype : all_dtypes) {
    add_slice(list, dtype);
    add_concat(list, dtype);
    add_pad(list, dtype);
    add_dynamic(list, dtype);
  }
}

}  // namespace heddle::conformance
