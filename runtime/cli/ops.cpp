// heddle ops: every op and what it computes.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "cli/output.h"
#include "kernels/catalogue.h"
#include "kernels/document.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

struct Options {
  std::string family;
  bool markdown = false, json = false;
};

bool is_wanted(const OpSchema& op, const Options& options) {
  return options.family.empty() || options.family == op.family;
}

std::string table_of(const Options& options) {
  plan::TextTable table({{"op"}, {"family"}, {"kind"}, {"what it computes"}});
  for (const OpSchema* op : all_ops())
    if (is_wanted(*op, options))
      table.row({op->name, op->family, op->is_composite() ? "composite" : "core", op->summary});
  return table.text();
}

nlohmann::ordered_json document_of(const Options& options) {
  using nlohmann::ordered_json;
  ordered_json ops = ordered_json::array();
  for (const OpSchema* op : all_ops()) {
    if (!is_wanted(*op, options)) continue;
    const auto names = [](const auto& documented) {
      ordered_json list = ordered_json::array();
      for (const auto& entry : documented) list.push_back(entry.name);
      return list;
    };
    ops.push_back({{"name", op->name},
                   {"family", op->family},
                   {"summary", op->summary},
                   {"composite", op->is_composite()},
                   {"differentiable", op->gradient != nullptr},
                   {"inputs", names(op->inputs)},
                   {"outputs", names(op->outputs)},
                   {"attributes", names(op->attributes)}});
  }
  return {{"ops", ops}};
}

void run(const Options& options) {
  bool known = options.family.empty();
  std::string families;
  for (const OpSchema* op : all_ops()) {
    known = known || options.family == op->family;
    if (families.find(op->family) == std::string::npos)
      families += (families.empty() ? "" : ", ") + std::string(op->family);
  }
  if (!known) throw UsageError("there is no family of ops '" + options.family + "'; there are: " + families);
  if (options.json) {
    print_document(document_of(options));
  } else {
    print(options.markdown ? ops_markdown() : table_of(options));
  }
}

}  // namespace

void add_ops(CLI::App& app) {
  CLI::App* command = app.add_subcommand("ops", "List every op: operands, equation, gradient");
  auto options = std::make_shared<Options>();
  command->add_option("--family", options->family, "Only this family: matmul, attention, ...")
      ->type_name("NAME");
  CLI::Option* markdown =
      command->add_flag("--markdown", options->markdown, "Print the whole reference, docs/ops.md");
  command->add_flag("--json", options->json, "Print one JSON document")->excludes(markdown);
  command->footer("Example: heddle ops --family attention");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
