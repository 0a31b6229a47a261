#include "plan/refusal.h"

#include <algorithm>

namespace heddle::plan {
namespace {

constexpr size_t shown_types = 4, shown_names = 3, shown_entries = 12;

std::string more(size_t all, size_t shown) {
  return all > shown ? " and " + std::to_string(all - shown) + " more" : "";
}

bool same(const Explanation::Declined& a, const Explanation::Declined& b) {
  return a.device == b.device && a.what == b.what && a.reason == b.reason;
}

struct Entry {
  const Refusal* first;
  std::vector<std::string> names;
};

std::vector<Entry> grouped(const std::vector<Refusal>& refusals) {
  std::vector<Entry> entries;
  for (const Refusal& r : refusals) {
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) {
      const Refusal& first = *e.first;
      return first.op == r.op && std::equal(first.declined.begin(), first.declined.end(), r.declined.begin(),
                                            r.declined.end(), same);
    });
    if (at != entries.end())
      at->names.push_back(r.name);
    else
      entries.push_back({&r, {r.name}});
  }
  return entries;
}

std::string entry_text(const Entry& entry) {
  const size_t n = entry.names.size();
  std::string text = "\n  " + (n == 1 ? "" : std::to_string(n) + " nodes of ") + entry.first->op + ": ";
  for (size_t i = 0; i < std::min(n, shown_names); ++i) text += (i ? ", " : "") + entry.names[i];
  text += more(n, shown_names);
  text += std::string("\n    ") + (n == 1 ? "" : "the first: ") + entry.first->types;
  for (const Explanation::Declined& d : entry.first->declined)
    text += (d.what.empty() ? "\n    " + d.device : "\n      " + d.device + ", " + d.what) + ": " + d.reason;
  return text;
}

}  // namespace

void add_answer(std::vector<Explanation::Declined>& declined, Explanation::Declined answer) {
  const bool known = std::any_of(declined.begin(), declined.end(),
                                 [&](const Explanation::Declined& d) { return same(d, answer); });
  if (!known) declined.push_back(std::move(answer));
}

std::string types_text(const NodeType& node) {
  std::string text;
  for (size_t i = 0; i < std::min(node.outputs.size(), shown_types); ++i)
    text += (i ? ", " : "") + to_string(node.outputs[i]);
  text += more(node.outputs.size(), shown_types) + " <- ";
  for (size_t i = 0; i < std::min(node.inputs.size(), shown_types); ++i)
    text += (i ? ", " : "") +
            (node.inputs[i] ? to_string(ValueType{node.inputs[i]->dtype, node.inputs[i]->dims}) : "none");
  return text + more(node.inputs.size(), shown_types);
}

std::string refusals_text(const std::vector<Refusal>& refusals) {
  const std::vector<Entry> entries = grouped(refusals);
  std::string text;
  size_t left = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i < shown_entries)
      text += entry_text(entries[i]);
    else
      left += entries[i].names.size();
  }
  if (left > 0) text += "\n  and " + std::to_string(left) + " more nodes";
  return text;
}

}  // namespace heddle::plan
