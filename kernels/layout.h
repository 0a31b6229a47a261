#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& reshape_op();
const OpSchema& transpose_op();
const OpSchema& broadcast_op();
const OpSchema& contiguous_op();
const OpSchema& iota_op();
const OpSchema& slice_op();
const OpSchema& concat_op();
const OpSchema& pad_op();
const OpSchema& dynamic_slice_op();
const OpSchema& dynamic_update_slice_op();

}  // namespace heddle
