#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& reduce_op();
const OpSchema& argmax_op();
const OpSchema& cumsum_op();

}  // namespace heddle
