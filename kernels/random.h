#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& random_bits_op();
const OpSchema& dropout_op();

}  // namespace heddle
