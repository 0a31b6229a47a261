// Rules that the infer functions of several families share. All of them work on named sizes: two sizes are
// equal when they are the same polynomial of names.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "heddle/error.h"
#include "heddle/schema.h"

namespace heddle {

[[noreturn]] void refuse(ErrorCode code, const std::string& text);
[[noreturn]] void refuse_shape(const std::string& text);
[[noreturn]] void refuse_dtype(const std::string& text);
[[noreturn]] void refuse_argument(const std::string& text);

// Operand `i`, which the schema does not declare optional.
const ValueType& operand(const InferCall& call, size_t i);

// NumPy's broadcasting: sizes are aligned at the end and must be equal or 1. Throws shape_mismatch naming the
// axis.
Dims broadcast_dims(const Dims& a, const Dims& b);
// Whether `from` broadcasts to exactly `to`.
bool broadcasts_to(const Dims& from, const Dims& to);

// Throws dtype_mismatch naming both operands unless they have one dtype.
void expect_same_dtype(const char* name_a, const ValueType& a, const char* name_b, const ValueType& b);
void expect_float(const char* name, const ValueType& type);
void expect_integer(const char* name, const ValueType& type);
void expect_rank_at_least(const char* name, const ValueType& type, int rank);
void expect_dims(const char* name, const ValueType& type, const Dims& dims);

// Counted from the end when negative. Throws invalid_argument outside the rank.
int normalise_axis(int64_t axis, int rank);
// Each normalised, sorted; duplicates are refused.
std::vector<int64_t> normalise_axes(std::span<const int64_t> axes, int rank);
// For infer rules, where axes are stored non-negative: throws invalid_argument unless 0 <= axis < rank.
int checked_axis(const Attributes& attributes, const char* name, int rank);

// `dims` without the axes, or with 1 in their place.
Dims reduced_dims(const Dims& dims, std::span<const int64_t> axes, bool keepdims);

// The same sizes without axis `axis`.
Dims without_axis(const Dims& dims, int axis);

// Where a sum is needed for a value that was broadcast from `from` to `to`: the axes of `to` along which it
// was.
std::vector<int64_t> broadcast_axes(const Dims& from, const Dims& to);

// Cost of moving every operand and result once, with `flops` operations.
Cost streaming_cost(const CostCall& call, double flops = 0);
double elements_of(const ValueType& type);

}  // namespace heddle
