#include "conformance/cases/families.h"

namespace heddle::conformance {

void add_rope_cases(CaseList& list) {
  struct Sizes {
    int64_t batch, heads, positions, size;
  };
  const Sizes shapes[] = {{1, 1, 1, 2},    {2, 3, 7, 10}, {1, 2, 129, 64},
                          {2, 1, 31, 130}, {0, 2, 3, 4},  {1, 5, 127, 32}};
  for (const DType dtype : compute_floats)
    for (const Sizes& s : shapes)
      for (const char* layout : {"bhsd", "bshd"})
        for (const bool interleaved : {false, true})
          for (const bool inverse : {false, true}) {
            const Shape x = layout[1] == 's' ? Shape{s.batch, s.positions, s.heads, s.size}
                                             : Shape{s.batch, s.heads, s.positions, s.size};
            // cos and sin need not lie on a circle for the op to be defined.
            const Operand table{f32, {s.positions, s.size / 2}};
            list.add({.op = "rope",
                      .operands = {{dtype, x}, table, table},
                      .attributes = {{"layout", std::string(layout)},
                                     {"interleaved", interleaved},
                                     {"inverse", inverse}}},
                     {short_name(dtype), short_name(x), layout, interleaved ? "interleaved" : "halves",
                      inverse ? "inverse" : "forward"});
          }
}

}  // namespace heddle::conformance
