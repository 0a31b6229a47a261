// The reference of attention and of its gradient in double precision, and the magnitudes of their error
// bounds.
#pragma once

#include "heddle/schema.h"

namespace heddle::kernels {

// Float32's rounding enters through the scores (a dot product of D, scaled), which the exponential makes
// relative, the exponential 2, the sum, the product with v and the division: 8 of unit magnitude beside two
// sums.
inline constexpr double attention_c = 8;
// Two more products and two more sums than attention.
inline constexpr double attention_grad_c = 12;

double attention_depth(const CostCall& call);
void reference_attention(const ReferenceCall& call);
void magnitude_attention(const ReferenceCall& call);

double attention_grad_depth(const CostCall& call);
void reference_attention_grad(const ReferenceCall& call);
void magnitude_attention_grad(const ReferenceCall& call);

}  // namespace heddle::kernels
