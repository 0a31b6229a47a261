#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& gather_op();
const OpSchema& scatter_op();
const OpSchema& embedding_op();
const OpSchema& embedding_grad_op();
const OpSchema& one_hot_op();

// bool, the sizes of `indices`: whether each is in [-size, size).
Value in_range(Value indices, const Dim& size);

}  // namespace heddle
