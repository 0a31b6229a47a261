// Draws: key and counter are operands, so every device gives the same bits.
#include "conformance/cases/families.h"

namespace heddle::conformance {
namespace {

struct Stream {
  const char* name;
  double key, counter;
};
// A counter beyond 32 bits, so that its upper half counts.
const Stream streams[] = {{"zero", 0, 0}, {"small", 42, 7}, {"large", 0x1p52 + 12345, 0x1p40 - 3}};

Operand word(double value) { return {u64, {1}, fill::constant(value)}; }

}  // namespace

void add_random_cases(CaseList& list) {
  using Ints = std::vector<int64_t>;
  for (const Stream& s : streams)
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{129}, Shape{0, 4}, Shape{127, 13}})
      list.add({.op = "random_bits",
                .operands = {word(s.key), word(s.counter)},
                .attributes = {{"shape", Ints(shape.dims().begin(), shape.dims().end())}}},
               {s.name, short_name(shape)});
  for (const DType dtype : compute_floats)
    for (const double rate : {0.0, 0.1, 0.5, 0.9})
      for (const Shape& shape : {Shape{}, Shape{7}, Shape{0, 4}, Shape{127, 13}, Shape{2, 3, 129}})
        list.add({.op = "dropout",
                  .operands = {{dtype, shape}, word(streams[1].key), word(streams[1].counter)},
                  .attributes = {{"rate", rate}}},
                 {short_name(dtype), short_name(shape), numbered("rate", static_cast<int64_t>(rate * 100))});
  for (const Stream& s : streams)
    list.add({.op = "dropout",
              .operands = {{f32, {3, 43}}, word(s.key), word(s.counter)},
              .attributes = {{"rate", 0.3}}},
             {"f32", "3x43", "rate30", s.name});
}

}  // namespace heddle::conformance
