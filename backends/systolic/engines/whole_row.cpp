#include "systolic/engines/whole_row.h"

namespace heddle::systolic {

WholeRow whole_row(const Binder& binder, const Instruction& i, const HostOperand& operand) {
  WholeRow r;
  r.place = operand.place, r.row_stride = operand.stride[0];
  HostOperand one = operand;
  one.size[0] = 1;
  const bool no = false;
  if (!make_nest({&one, 1}, {&no, 1}, false, r.walk))
    binder.reject(i, "an operand's free dimensions cannot be walked");
  const bool dense = r.walk.stride[0][0] == static_cast<int64_t>(size_of(operand.dtype)) || r.walk.row() == 1;
  r.load = row_loader(operand.dtype, dense, Arithmetic::float32);
  r.store = row_storer(operand.dtype, dense, Arithmetic::float32);
  r.elements = one.elements();
  if (static_cast<size_t>(r.elements) > whole_row_max)
    binder.reject(i, "a row of " + std::to_string(r.elements) + " elements is too long");
  return r;
}

}  // namespace heddle::systolic
