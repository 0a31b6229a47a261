// Float32 operators of the vector engine on vectors. Included once per instruction set.
#if defined(HEDDLE_SYSTOLIC_FLOAT_OPERATORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_SYSTOLIC_FLOAT_OPERATORS_INL_H
#undef HEDDLE_SYSTOLIC_FLOAT_OPERATORS_INL_H
#else
#define HEDDLE_SYSTOLIC_FLOAT_OPERATORS_INL_H
#endif

#include "heddle/systolic/operation.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::systolic::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;

HWY_INLINE V one_if(M m) { return hn::IfThenElseZero(m, hn::Set(D(), 1.0f)); }
HWY_INLINE M nonzero(V a) { return hn::Not(hn::Eq(a, hn::Zero(D()))); }

struct Bypass {
  HWY_INLINE V operator()(V a, V) const { return a; }
};
struct Add {
  HWY_INLINE V operator()(V a, V b) const { return hn::Add(a, b); }
};
struct Subtract {
  HWY_INLINE V operator()(V a, V b) const { return hn::Sub(a, b); }
};
struct Multiply {
  HWY_INLINE V operator()(V a, V b) const { return hn::Mul(a, b); }
};
struct Divide {
  HWY_INLINE V operator()(V a, V b) const { return hn::Div(a, b); }
};
// x86 minimum and maximum give the second operand when one is NaN; the first is looked at as well.
struct Maximum {
  HWY_INLINE V operator()(V a, V b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::IsNaN(b), b, hn::Max(a, b)));
  }
};
struct Minimum {
  HWY_INLINE V operator()(V a, V b) const {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::IfThenElse(hn::IsNaN(b), b, hn::Min(a, b)));
  }
};
struct Equal {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Eq(a, b)); }
};
struct NotEqual {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Not(hn::Eq(a, b))); }
};
struct Greater {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Gt(a, b)); }
};
struct GreaterEqual {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Ge(a, b)); }
};
struct Less {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Lt(a, b)); }
};
struct LessEqual {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Le(a, b)); }
};
struct LogicalAnd {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::And(nonzero(a), nonzero(b))); }
};
struct LogicalOr {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Or(nonzero(a), nonzero(b))); }
};
struct LogicalXor {
  HWY_INLINE V operator()(V a, V b) const { return one_if(hn::Xor(nonzero(a), nonzero(b))); }
};

// f(operator) for the operators that have a vector form; whether there is one.
template <class F>
HWY_INLINE bool with_operator(AluOp op, const F& f) {
  switch (op) {
    case AluOp::bypass:
      f(Bypass());
      return true;
    case AluOp::add:
      f(Add());
      return true;
    case AluOp::subtract:
      f(Subtract());
      return true;
    case AluOp::multiply:
      f(Multiply());
      return true;
    case AluOp::divide:
      f(Divide());
      return true;
    case AluOp::maximum:
      f(Maximum());
      return true;
    case AluOp::minimum:
      f(Minimum());
      return true;
    case AluOp::equal:
      f(Equal());
      return true;
    case AluOp::not_equal:
      f(NotEqual());
      return true;
    case AluOp::greater:
      f(Greater());
      return true;
    case AluOp::greater_equal:
      f(GreaterEqual());
      return true;
    case AluOp::less:
      f(Less());
      return true;
    case AluOp::less_equal:
      f(LessEqual());
      return true;
    case AluOp::logical_and:
      f(LogicalAnd());
      return true;
    case AluOp::logical_or:
      f(LogicalOr());
      return true;
    case AluOp::logical_xor:
      f(LogicalXor());
      return true;
    default:
      return false;  // power and mod have no vector form; bitwise operators are integer
  }
}

}  // namespace heddle::systolic::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
