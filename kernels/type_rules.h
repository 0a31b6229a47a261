// What the operands of fused ops must be, with the reason in the message: shape_rules.h continued.
#pragma once

#include "heddle/schema.h"
#include "kernels/shape_rules.h"

namespace heddle {

// dtype_mismatch unless `type` has dtype `wanted`.
void expect_dtype(const char* name, const ValueType& type, DType wanted, const char* why);
// shape_mismatch; sizes are equal only when they are the same number or polynomial.
void expect_rank(const char* name, const ValueType& type, int rank);
void expect_dims(const char* name, const ValueType& type, const Dims& wanted, const char* why);
void expect_broadcast(const char* name, const ValueType& type, const Dims& to, const char* why);
// The attribute `layout`: "bhsd" or "bshd", else invalid_argument. True for bshd.
bool positions_before_heads(const Attributes& attributes);

// `axis` of `x` counted from the front, for the builder of `op`; invalid_argument outside the rank.
int64_t axis_from_front(const char* op, int64_t axis, Value x);

// What sums over a dtype are kept in: float64 for float64, else float32.
inline DType accumulation_dtype(DType d) { return d == DType::float64 ? d : DType::float32; }

// `dims` without the last size, and with another one in its place.
Dims without_last(const Dims& dims);
Dims with_last(const Dims& dims, const Dim& last);

}  // namespace heddle
