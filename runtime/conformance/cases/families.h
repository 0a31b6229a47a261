// The cases of each op family, one file per family, and the lists they share.
#pragma once

#include "conformance/case.h"

namespace heddle::conformance {

void add_convert_cases(CaseList& list);
void add_gather_cases(CaseList& list);
void add_layout_cases(CaseList& list);
void add_window_cases(CaseList& list);
void add_matmul_cases(CaseList& list);
void add_matmul_pointwise_cases(CaseList& list);
void add_pointwise_cases(CaseList& list);
void add_program_cases(CaseList& list);
void add_random_cases(CaseList& list);
void add_reduce_cases(CaseList& list);
void add_sort_cases(CaseList& list);
void add_softmax_cases(CaseList& list);
void add_normalize_cases(CaseList& list);
void add_attention_cases(CaseList& list);
void add_rope_cases(CaseList& list);
void add_loss_cases(CaseList& list);
void add_optimizer_cases(CaseList& list);
void add_partition_cases(CaseList& list);

// What models compute in; float8 is for storage, and has its cases where an op stores or converts.
inline constexpr DType compute_floats[] = {f32, bf16, f16, f64};
inline constexpr DType integers[] = {i8, i16, i32, i64, u8, u16, u32, u64};

// float32 for everything but float64: what sums over a dtype and statistics are kept in.
constexpr DType wide(DType dtype) { return dtype == f64 ? f64 : f32; }

// "axis1"
inline std::string numbered(const char* word, int64_t number) { return word + std::to_string(number); }

}  // namespace heddle::conformance
