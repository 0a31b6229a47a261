// The scalar engine: out = f(in*scale + bias), and the sum of out.
#include "systolic/engines/binder.h"

namespace heddle::systolic {

void bind_activation(Binder& binder, const Instruction& i) {
  MapBuilder map(binder.operand(i, Role::out), Arithmetic::float32);
  Register x = map.read(binder.operand(i, Role::in0));
  const bool scales = binder.has(i, Role::scalar0), shifts = binder.has(i, Role::scalar1);
  if (scales || shifts || i.imm0 != 1.0f || i.imm1 != 0.0f) {
    const Register scale = scales ? map.read_scalar(binder.operand(i, Role::scalar0)) : map.number(i.imm0);
    const Register bias = shifts ? map.read_scalar(binder.operand(i, Role::scalar1)) : map.number(i.imm1);
    const bool last = i.function == Function::copy || i.function == Function::identity;
    const Register to = last ? register_out : register_temp0;
    if (!shifts && i.imm1 == 0.0f)
      map.binary(to, AluOp::multiply, x, scale);
    else if (!scales && i.imm0 == 1.0f)
      map.binary(to, AluOp::add, x, bias);
    else
      map.scale_bias(to, x, scale, bias);
    x = to;
  }
  if (x != register_out)
    map.unary(register_out, i.function, i.engine == Engine::act, x,
              i.function == Function::prelu ? map.number(i.imm2) : x);
  if (i.opcode == Opcode::activation_reduce) map.reduce(AluOp::add, binder.operand(i, Role::result));
  binder.add_map(i, map);
}

}  // namespace heddle::systolic
