// Element by element. Operands broadcast as in NumPy and must have one dtype (use convert); numbers take the
// dtype of the other operand. Each function throws heddle::Error: shape_mismatch when shapes do not
// broadcast, dtype_mismatch for mixed or unsuitable dtypes, invalid_argument for a number that an integer
// dtype cannot hold.
#pragma once

#include "heddle/graph.h"

namespace heddle {

// ---- arithmetic: floats and integers
Value add(Value a, Value b);      // a + b
Value sub(Value a, Value b);      // a - b
Value mul(Value a, Value b);      // a * b
Value div(Value a, Value b);      // a / b; integers truncate toward zero, and x / 0 is 0
Value mod(Value a, Value b);      // a - b * floor(a / b), the sign of b; integers: x mod 0 is 0
Value minimum(Value a, Value b);  // the smaller; NaN when either is. Equal operands share the gradient evenly
Value maximum(Value a, Value b);  // the larger; NaN when either is. Equal operands share the gradient evenly
Value pow(Value a, Value b);      // a^b, floats

Value add(Value a, double b);
Value sub(Value a, double b);
Value sub(double a, Value b);
Value mul(Value a, double b);
Value div(Value a, double b);
Value div(double a, Value b);
Value mod(Value a, double b);
Value minimum(Value a, double b);
Value maximum(Value a, double b);
Value pow(Value a, double b);

inline Value operator+(Value a, Value b) { return add(a, b); }
inline Value operator+(Value a, double b) { return add(a, b); }
inline Value operator+(double a, Value b) { return add(b, a); }
inline Value operator-(Value a, Value b) { return sub(a, b); }
inline Value operator-(Value a, double b) { return sub(a, b); }
inline Value operator-(double a, Value b) { return sub(a, b); }
inline Value operator*(Value a, Value b) { return mul(a, b); }
inline Value operator*(Value a, double b) { return mul(a, b); }
inline Value operator*(double a, Value b) { return mul(b, a); }
inline Value operator/(Value a, Value b) { return div(a, b); }
inline Value operator/(Value a, double b) { return div(a, b); }
inline Value operator/(double a, Value b) { return div(a, b); }

// ---- comparisons: any dtype in, bool out
Value equal(Value a, Value b);
Value not_equal(Value a, Value b);
Value less(Value a, Value b);
Value less_equal(Value a, Value b);
Value greater(Value a, Value b);
Value greater_equal(Value a, Value b);
Value equal(Value a, double b);
Value not_equal(Value a, double b);
Value less(Value a, double b);
Value less_equal(Value a, double b);
Value greater(Value a, double b);
Value greater_equal(Value a, double b);

// ---- bool, and integers bit by bit
Value logical_and(Value a, Value b);
Value logical_or(Value a, Value b);
Value logical_xor(Value a, Value b);
Value logical_not(Value x);
Value bit_and(Value a, Value b);
Value bit_or(Value a, Value b);
Value bit_xor(Value a, Value b);
Value shift_left(Value a, Value b);   // 0 when b is not in [0, width)
Value shift_right(Value a, Value b);  // keeps the sign

// condition ? when_true : when_false. The condition is bool; all three broadcast.
Value select(Value condition, Value when_true, Value when_false);
Value select(Value condition, Value when_true, double when_false);
Value select(Value condition, double when_true, Value when_false);

// ---- one operand
Value operator-(Value x);
Value neg(Value x);
Value abs(Value x);     // gradient 0 at 0
Value sign(Value x);    // -1, 0 or 1
Value square(Value x);  // x * x
Value exp(Value x);
Value log(Value x);
Value sqrt(Value x);
Value rsqrt(Value x);       // 1 / sqrt(x)
Value reciprocal(Value x);  // 1 / x
Value sin(Value x);
Value cos(Value x);
Value tanh(Value x);
Value erf(Value x);
Value floor(Value x);
Value ceil(Value x);
Value round(Value x);                           // halves to even
Value is_nan(Value x);                          // bool out
Value clamp(Value x, double low, double high);  // min(max(x, low), high)

// ---- activations
Value sigmoid(Value x);   // 1 / (1 + exp(-x))
Value relu(Value x);      // max(x, 0); gradient 0 at 0
Value silu(Value x);      // x * sigmoid(x)
Value softplus(Value x);  // ln(1 + exp(x))
// x * (1 + erf(x / sqrt(2))) / 2, or with `approximate`
// x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2. D. Hendrycks, K. Gimpel, arXiv:1606.08415.
Value gelu(Value x, bool approximate = false);

}  // namespace heddle
