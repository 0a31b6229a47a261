#pragma once

#include "heddle/graph.h"

namespace heddle {

// x as another dtype; x itself when it has that dtype. Float to integer truncates toward zero, saturates and
// takes NaN to 0; to bool is x != 0; to a float rounds once to nearest even; integer to integer keeps the low
// bits.
Value convert(Value x, DType dtype);

}  // namespace heddle
