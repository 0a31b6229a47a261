#pragma once

#include "heddle/schema.h"

namespace heddle {

const OpSchema& convert_op();

}  // namespace heddle
