#include "kernels/document.h"

#include <algorithm>
#include <vector>

#include "ir/number_text.h"
#include "ir/scalar_program.h"
#include "kernels/catalogue.h"

namespace heddle {
namespace {

// A bar would end the cell of a table.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string operand_rows(const std::vector<OperandDoc>& operands, const char* role) {
  std::string text;
  for (const OperandDoc& o : operands) {
    const char* arity = o.arity == OperandDoc::Arity::one        ? ""
                        : o.arity == OperandDoc::Arity::optional ? " (optional)"
                                                                 : "...";
    text += std::string("| ") + role + " | `" + o.name + "`" + arity + " | " + cell(o.doc) + " |\n";
  }
  return text;
}

std::string attribute_rows(const OpSchema& op) {
  std::string text;
  for (const AttributeDoc& a : op.attributes) {
    text += std::string("| ") + a.kind + " | `" + a.name + "`";
    if (a.fallback != nullptr) text += std::string(" = ") + (*a.fallback ? a.fallback : "\"\"");
    text += " | " + cell(a.doc) + " |\n";
  }
  return text;
}

std::string op_section(const OpSchema& op) {
  std::string text = std::string("### ") + op.name + "\n\n`" + op.summary + "`\n\n";
  text += op.is_composite() ? "Composite: where no device offers it, it is made of core ops. " : "Core. ";
  text += op.gradient ? "Differentiable." : std::string("Not differentiable: ") + op.no_gradient + ".";
  text += op.accuracy.exact ? " Exact.\n\n" : "\n\n";
  text += "| kind | name | meaning |\n|---|---|---|\n";
  return text + operand_rows(op.inputs, "operand") + attribute_rows(op) + operand_rows(op.outputs, "result") +
         "\n";
}

// Register `reg` as nested steps: "mul(x, sigmoid(x))".
std::string expression(const ScalarProgram& p, uint32_t reg) {
  if (reg < p.inputs.size()) return "x";
  const ScalarStep& s = p.steps[reg - p.inputs.size()];
  const ScalarOpInfo& info = scalar_op_info(s.op);
  if (s.op == ScalarOp::constant) return number_text(static_cast<float>(s.value));
  std::string text = std::string(info.name) + "(";
  for (int k = 0; k < info.operands; ++k) text += (k > 0 ? ", " : "") + expression(p, s.operand[k]);
  return text + ")";
}

std::string expansion(ScalarOp op) {
  ScalarProgram p;
  p.outputs = {p.add(op, p.input(DType::float32))};
  p = expand_compounds(p);
  return "`" + expression(p, p.outputs[0]) + "`";
}

const char* steps_introduction =
    "## Scalar steps\n\n"
    "The body of `pointwise` and `matmul_pointwise` is a straight line of these. Operands of a step have one "
    "dtype, which\n"
    "the result has too; comparisons and `is_nan` give bool, `select` takes a bool and two values of one "
    "dtype. Floats\n"
    "compute in float32 (float64 for float64); narrower ones are widened when read and rounded at casts and "
    "at the\n"
    "program's outputs only. Integers wrap. A device may refuse a compound step; its expansion is then used "
    "instead.\n\n"
    "| step | operands | meaning | expansion |\n|---|---|---|---|\n";

}  // namespace

std::string ops_markdown() {
  std::vector<const OpSchema*> ops(all_ops().begin(), all_ops().end());
  std::stable_sort(ops.begin(), ops.end(), [](const OpSchema* a, const OpSchema* b) {
    return std::string_view(a->family) < std::string_view(b->family);
  });
  std::string text =
      "# Ops\n\n"
      "Written by `heddle ops --markdown` from the schemas in `kernels/`; do not edit. Values are dense and "
      "row-major. Axes\n"
      "in nodes are not negative. `...` marks zero or more operands.\n\n";
  std::string_view family;
  for (const OpSchema* op : ops) {
    if (op->family != family) {
      family = op->family;
      text += "## " + std::string(family) + "\n\n";
    }
    text += op_section(*op);
  }
  text += steps_introduction;
  for (const ScalarOpInfo& s : all_scalar_ops()) {
    text += std::string("| `") + s.name + "` | " + number_text(s.operands) + " | " + cell(s.equation) +
            " | " + (s.compound ? cell(expansion(s.op)) : "") + " |\n";
  }
  return text;
}

}  // namespace heddle
