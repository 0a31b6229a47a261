// Every op Heddle knows, family by family. A family is one file here and the same name in every backend.
#pragma once

#include <span>
#include <string_view>

#include "heddle/schema.h"

namespace heddle {

using OpList = std::span<const OpSchema* const>;

// Sorted by family, then in the order of the family's file.
OpList all_ops();
// nullptr when there is no such op.
const OpSchema* find_op(std::string_view name);

// One list per family; catalogue.cpp puts them together.
OpList attention_ops();
OpList convert_ops();
OpList gather_ops();
OpList layout_ops();
OpList loss_ops();
OpList matmul_ops();
OpList normalize_ops();
OpList optimizer_ops();
OpList pointwise_ops();
OpList random_ops();
OpList reduce_ops();
OpList rope_ops();
OpList softmax_ops();
OpList sort_ops();

}  // namespace heddle
