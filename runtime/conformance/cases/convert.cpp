#include "conformance/cases/families.h"

namespace heddle::conformance {

void add_convert_cases(CaseList& list) {
  for (const DType from : all_dtypes) {
    for (const DType to : all_dtypes) {
      const auto add = [&](const Shape& shape, const Fill& fill, const char* fill_name) {
        list.add({.op = "convert", .operands = {{from, shape, fill}}, .attributes = {{"dtype", to}}},
                 {std::string(short_name(from)) + "-" + short_name(to), short_name(shape), fill_name});
      };
      // Halves, so that rounding and truncation differ; and numbers beyond the range of narrow dtypes.
      add({3, 129}, is_float(from) ? fill::uniform(-300, 300) : fill::bits(), "random");
      add({2, fill::special_count}, fill::special(), "special");
      if (is_float(from)) add({131}, fill::bits(), "bits");
    }
  }
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{0, 3}, Shape{127, 1, 5}, Shape{200, 130}}) {
    list.add(
        {.op = "convert", .operands = {{f32, shape, fill::uniform(-8, 8)}}, .attributes = {{"dtype", bf16}}},
        {"f32-bf16", short_name(shape), "shapes"});
    list.add(
        {.op = "convert", .operands = {{bf16, shape, fill::uniform(-8, 8)}}, .attributes = {{"dtype", f32}}},
        {"bf16-f32", short_name(shape), "shapes"});
  }
}

}  // namespace heddle::conformance
