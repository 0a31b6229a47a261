#include "heddle/schema.h"

namespace heddle {

std::string to_string(const ValueType& type) { return dtype_name(type.dtype) + to_string(type.dims); }

}  // namespace heddle
