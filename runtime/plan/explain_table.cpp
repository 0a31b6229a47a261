#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "heddle/explain.h"
#include "plan/text_table.h"

namespace heddle {
namespace {

using plan::bytes_text;
using plan::count_text;
using plan::TextTable;
constexpr TextTable::Align right = TextTable::Align::right;

// "8 flop", "2.50 Mflop"
std::string flops_text(double flops) {
  const std::string text = count_text(flops);
  return text + (std::isdigit(static_cast<unsigned char>(text.back())) ? " flop" : "flop");
}

std::string counted(size_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

// An optimizer step has hundreds of operands: the document has them all, the table what fits a wide window.
std::string shortened(const std::string& types) {
  constexpr size_t longest = 120;
  return types.size() <= longest ? types : types.substr(0, longest - 3) + "...";
}

std::string nodes_table(const Explanation& explanation) {
  TextTable table({{"node"},
                   {"op"},
                   {"device"},
                   {"kernel"},
                   {"part", right},
                   {"flop", right},
                   {"bytes", right},
                   {"types"}});
  std::set<std::string> told;  // answers about a composite stand once, under its first part
  for (const Explanation::NodeRow& node : explanation.nodes) {
    table.row({node.name, node.op, node.device, node.kernel.empty() ? "(fused)" : node.kernel,
               std::to_string(node.partition), count_text(node.flops), bytes_text(node.bytes),
               shortened(node.types)});
    for (const Explanation::Declined& declined : node.declined) {
      const std::string note = "    not on " + declined.device + ": " +
                               (declined.what.empty() ? "" : declined.what + ": ") + declined.reason;
      if (declined.what.empty() || told.insert(note).second) table.note(note);
    }
  }
  return table.text();
}

std::string copies_table(const Explanation& explanation) {
  TextTable table({{"copy"}, {"from"}, {"to"}, {"bytes", right}, {"why"}});
  for (const Explanation::CopyRow& copy : explanation.copies)
    table.row({copy.value, copy.from, copy.to, bytes_text(static_cast<double>(copy.bytes)), copy.why});
  return table.text();
}

std::string memory_table(const Explanation& explanation) {
  TextTable table({{"memory"},
                   {"intermediates", right},
                   {"at least", right},
                   {"variables", right},
                   {"constants", right}});
  for (const Explanation::MemoryRow& memory : explanation.memory) {
    table.row({memory.device, bytes_text(static_cast<double>(memory.arena_bytes)),
               bytes_text(static_cast<double>(memory.lower_bound_bytes)),
               bytes_text(static_cast<double>(memory.variable_bytes)),
               bytes_text(static_cast<double>(memory.constant_bytes))});
  }
  return table.text();
}

std::string totals(const Explanation& explanation) {
  struct Total {
    size_t nodes = 0;
    double flops = 0;
  };
  std::map<std::string, Total> per_device;
  for (const Explanation::NodeRow& node : explanation.nodes) {
    Total& total = per_device[node.device];
    ++total.nodes;
    total.flops += node.flops;
  }
  std::string text = counted(explanation.nodes.size(), "node", "nodes") + " in " +
                     counted(explanation.partitions.size(), "partition", "partitions");
  for (const auto& [device, total] : per_device)
    text += "; " + device + ": " + counted(total.nodes, "node", "nodes") + ", " + flops_text(total.flops);
  uint64_t bytes = 0;
  for (const Explanation::CopyRow& copy : explanation.copies) bytes += copy.bytes;
  text +=
      "; " + counted(explanation.copies.size(), "copy", "copies") +
      (explanation.copies.empty() ? std::string()
                                  : " (" + std::to_string(explanation.crossings()) + " between devices)") +
      ", " + bytes_text(static_cast<double>(bytes));
  return text + '\n';
}

}  // namespace

size_t Explanation::crossings() const {
  return static_cast<size_t>(std::count_if(copies.begin(), copies.end(), [](const CopyRow& copy) {
    return copy.from != copy.to && copy.from != "host" && copy.to != "host";
  }));
}

std::string Explanation::table() const {
  std::string text;
  for (const std::string& part :
       {nodes_table(*this), copies_table(*this), memory_table(*this), totals(*this)}) {
    if (!text.empty() && !part.empty()) text += '\n';
    text += part;
  }
  return text;
}

std::string Explanation::json() const {
  using nlohmann::ordered_json;
  ordered_json document = {{"nodes", ordered_json::array()},
                           {"copies", ordered_json::array()},
                           {"memory", ordered_json::array()},
                           {"partitions", partitions}};
  for (const NodeRow& node : nodes) {
    ordered_json declined = ordered_json::array();
    for (const Declined& entry : node.declined)
      declined.push_back({{"device", entry.device}, {"what", entry.what}, {"reason", entry.reason}});
    document["nodes"].push_back({{"name", node.name},
                                 {"op", node.op},
                                 {"types", node.types},
                                 {"device", node.device},
                                 {"kernel", node.kernel},
                                 {"partition", node.partition},
                                 {"flops", node.flops},
                                 {"bytes", node.bytes},
                                 {"declined", declined}});
  }
  for (const CopyRow& copy : copies) {
    document["copies"].push_back({{"value", copy.value},
                                  {"from", copy.from},
                                  {"to", copy.to},
                                  {"bytes", copy.bytes},
                                  {"why", copy.why}});
  }
  for (const MemoryRow& row : memory) {
    document["memory"].push_back({{"device", row.device},
                                  {"arena_bytes", row.arena_bytes},
                                  {"lower_bound_bytes", row.lower_bound_bytes},
                                  {"variable_bytes", row.variable_bytes},
                                  {"constant_bytes", row.constant_bytes}});
  }
  // Names may come from files and plugins: what is not UTF-8 is replaced, never thrown over.
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

}  // namespace heddle
