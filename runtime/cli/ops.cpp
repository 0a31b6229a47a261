// heddle ops: every op, what it computes, and which devices have a kernel for it.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/device_options.h"
#include "cli/output.h"
#include "heddle/conformance.h"
#include "kernels/catalogue.h"
#include "kernels/document.h"
#include "plan/text_table.h"

namespace heddle::cli {
namespace {

struct Options {
  DeviceOptions devices;
  std::string family;
  bool markdown = false, json = false;
};

bool is_wanted(const OpSchema& op, const Options& options) {
  return options.family.empty() || options.family == op.family;
}

// What each device offers of each op, asked with the cases of the conformance kit.
struct Offers {
  std::string device;
  std::vector<conformance::OfferCount> counts;
  const conformance::OfferCount* of(std::string_view op) const {
    for (const conformance::OfferCount& count : counts)
      if (count.op == op) return &count;
    return nullptr;
  }
};

std::vector<Offers> offers_of(const Options& options) {
  std::vector<Offers> offers;
  for (const Device& device : open_devices(options.devices.devices))
    offers.push_back({device.spec(), conformance::count_offers(device)});
  return offers;
}

std::string table_of(const Options& options) {
  const std::vector<Offers> offers = offers_of(options);
  std::vector<plan::TextTable::Column> columns = {{"op"}, {"family"}, {"kind"}};
  for (const Offers& device : offers) columns.push_back({device.device});
  columns.push_back({offers.empty() ? "what it computes" : "most common refusal"});
  plan::TextTable table(columns);
  for (const OpSchema* op : all_ops()) {
    if (!is_wanted(*op, options)) continue;
    std::vector<std::string> row = {op->name, op->family, op->is_composite() ? "composite" : "core"};
    std::string reasons;
    for (const Offers& device : offers) {
      const conformance::OfferCount* count = device.of(op->name);
      row.push_back(count == nullptr ? "-"
                                     : std::to_string(count->offered) + "/" + std::to_string(count->cases));
      if (count != nullptr && !count->reason.empty())
        reasons += (reasons.empty() ? "" : "; ") + device.device + ": " + count->reason;
    }
    row.push_back(offers.empty() ? std::string(op->summary) : reasons);
    table.row(row);
  }
  return table.text();
}

nlohmann::ordered_json document_of(const Options& options) {
  using nlohmann::ordered_json;
  const std::vector<Offers> offers = offers_of(options);
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
    for (const Offers& device : offers)
      if (const conformance::OfferCount* count = device.of(op->name))
        ops.back()["offers"].push_back({{"device", device.device},
                                        {"offered", count->offered},
                                        {"cases", count->cases},
                                        {"reason", count->reason}});
  }
  return {{"ops", ops}};
}

void run(const Options& options) {
  load_plugins(options.devices);
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
  CLI::App* command = app.add_subcommand(
      "ops", "List every op and what it computes; with --device, what a device offers of it");
  auto options = std::make_shared<Options>();
  add_device_options(*command, options->devices,
                     "Also how many of the op's conformance cases this device offers (repeatable)");
  CLI::Option* family =
      command->add_option("--family", options->family, "Only this family: matmul, attention, ...")
          ->type_name("NAME");
  CLI::Option* markdown =
      command->add_flag("--markdown", options->markdown, "Print the whole reference, docs/ops.md")
          ->excludes(family);
  command->add_flag("--json", options->json, "Print one JSON document")->excludes(markdown);
  command->footer("Example: heddle ops --family attention --device cpu --device trn1");
  command->callback([options] { run(*options); });
}

}  // namespace heddle::cli
