#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& sort_op();
const OpSchema& topk_op();

}  // namespace heddle
